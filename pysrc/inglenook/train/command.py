"""The command line of the offline pipeline: `inglenook train elastic MODEL -o FOLDER --text PATH …`, `train prompt`."""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from inglenook.elastic.gguf import Gguf, Tensor
from inglenook.errors import NookError
from inglenook.evals.command import positive
from inglenook.train.prompt import command as prompt

if TYPE_CHECKING:
    from inglenook.train.weights import Weights


def add(command: argparse.ArgumentParser) -> None:
    """The options of `inglenook train`."""
    kinds = command.add_subparsers(required=True, metavar="WHAT")
    prompt.add(kinds)
    about = "a model that can be used in part: reordered, measured, recovered, exported with a manifest"
    elastic = kinds.add_parser("elastic", help=about, description=about.capitalize() + ".")
    elastic.set_defaults(command=_elastic)
    elastic.add_argument("model", type=Path, help="a .gguf file, or .safetensors with its config.json beside it")
    elastic.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="checkpoints and results")
    elastic.add_argument("--text", type=Path, nargs="+", required=True, metavar="PATH", help="what to learn from")
    elastic.add_argument("--held-out", type=Path, nargs="+", required=True, metavar="PATH", help="what to measure on")
    elastic.add_argument("--tokenizer", type=Path, help="the tokenizer's .json, where the model is no .gguf")
    elastic.add_argument("--tokens", type=positive, default=400_000, help="the most to read of each --text (400000)")
    elastic.add_argument("--held-out-tokens", type=positive, default=16_384, help="the most to measure on (16384)")
    elastic.add_argument("--ratios", type=_floats, default=None, help="sizes of the sub-models (0.8,0.65,0.5,0.4,0.3)")
    elastic.add_argument("--ranks", type=_ints, default=None, help="ranks that recover them: 0 or multiples of 32")
    elastic.add_argument("--steps", type=_ints, default=None, help="steps of distillation for each (200,…)")
    elastic.add_argument("--latency", type=Path, help="JSON of milliseconds measured where the model will run")
    elastic.add_argument("--rivals", action="store_true", help="measure other ways to the same sizes, too")
    elastic.add_argument("--seed", type=int, default=0)
    elastic.add_argument("--device", default="cpu", help="cpu or cuda")
    elastic.add_argument("--dtype", choices=("float32", "bfloat16"), default="bfloat16", help="of the products")


def _floats(said: str) -> tuple[float, ...]:
    return tuple(map(float, said.split(",")))


def _ints(said: str) -> tuple[int, ...]:
    return tuple(map(int, said.split(",")))


def _elastic(options: argparse.Namespace) -> int:
    if importlib.util.find_spec("torch") is None:
        raise NookError("no-torch", "Training needs PyTorch.", 'Install it: pip install "inglenook[train]"')
    from inglenook.elastic import convert
    from inglenook.elastic.tokenizer import Tokenizer
    from inglenook.train import text
    from inglenook.train.ladder import Latency
    from inglenook.train.pipeline import Options, Pipeline
    from inglenook.train.weights import read

    weights = read(options.model)
    options.output.mkdir(parents=True, exist_ok=True)
    tokens = options.tokenizer or options.output / "tokenizer.json"
    if options.tokenizer is None:
        if options.model.suffix != ".gguf":
            raise NookError("no-tokenizer", "This model file has no tokenizer inside.", "Name one: --tokenizer FILE")
        convert.export(options.model, tokens)
    tokenizer = Tokenizer.load(tokens.read_bytes())
    chosen: dict[str, Any] = {"seed": options.seed, "dtype": options.dtype}
    if options.ratios:
        count = len(options.ratios)
        chosen |= {"ratios": options.ratios, "ranks": (32,) * count, "steps": (200,) * count}
    chosen |= {name: getattr(options, name) for name in ("ranks", "steps") if getattr(options, name)}
    if options.latency:
        chosen["latency"] = Latency.read(options.latency)
    pipeline = Pipeline(
        weights,
        [text.stream(text.documents([path]), tokenizer, options.tokens) for path in options.text],
        text.stream(text.documents(options.held_out), tokenizer, options.held_out_tokens),
        options.output, Options(**chosen), options.device, _reporter(), options.rivals,
    )  # fmt: skip
    recipe = pipeline.run()
    artifact = options.output / f"{options.model.stem}.nkm"
    convert.build(artifact, weights.shape, _tensors(options.model, weights), name=options.model.stem, recipe=recipe)
    manifest = manifest_of(artifact, recipe.config["levels"])
    (options.output / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
    for level in manifest["levels"]:
        print(f"ratio {level['ratio']:.3f}: perplexity {level['perplexity']:.2f} (unrecovered {level['before']:.2f})")
    for name, found in recipe.config.get("rivals", {}).items():
        print(f"{name}: perplexity {', '.join(f'{value:.2f}' for value in found)}")
    print(f"{artifact}: {manifest['size'] / 1e6:.1f} MB")
    return 0


def _tensors(model: Path, weights: Weights) -> Callable[[str], Tensor]:
    """The tensors to make the artifact of: as the file has them, where it has codes of its own."""
    if model.suffix == ".gguf":
        return Gguf.open(model).tensor
    return lambda name: Tensor(name, weights[name].shape, "F32", weights[name].ravel().view(np.uint8))


def manifest_of(artifact: Path, levels: list[dict[str, Any]]) -> dict[str, Any]:
    """What stands in manifest.json: the file's name, size and sha256, and of each level what was measured."""
    with artifact.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"file": artifact.name, "size": artifact.stat().st_size, "sha256": digest, "levels": levels}


def _reporter() -> Callable[[str, int, int, str], None]:
    """Tells on stderr how far a step is: a line that changes on a terminal, each tenth of a step elsewhere."""
    live = sys.stderr.isatty()

    def report(step: str, done: int, total: int, note: str) -> None:
        if live:
            line = f"\r\033[K{step} {done}/{total} {note}" + ("\n" if done == total else "")
            print(line, end="", file=sys.stderr, flush=True)
        elif done * 10 // total != (done - 1) * 10 // total:
            print(f"{step} {done}/{total} {note}".rstrip(), file=sys.stderr, flush=True)

    return report
