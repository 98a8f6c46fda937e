"""The command line of it: `inglenook doctor native | FOLDER | FILE | URL`.

Exit codes: 0 all that could be examined is well; 1 an error, told in one line; 4 something is wrong with the engine;
130 stopped.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from inglenook.depth import parse
from inglenook.errors import NookError
from inglenook.evals.command import SECONDS

if TYPE_CHECKING:
    from inglenook.doctor.engine import Engine
    from inglenook.doctor.exam import Told
    from inglenook.doctor.kits import Kit
    from inglenook.doctor.truth import Truth

ILL = 4


def add(command: argparse.ArgumentParser) -> None:
    """The options of `inglenook doctor`."""
    command.set_defaults(command=_doctor)
    command.add_argument(
        "target", metavar="ENGINE",
        help="native (the model of this machine), a folder of an ONNX model, a .gguf or .nkm file, or a URL",
    )  # fmt: skip
    command.add_argument("--json", action="store_true", help="print JSON")
    command.add_argument("--deep", action="store_true", help="longer prompts and all cases, where passes are slow")
    command.add_argument("--probe", action="append", default=[], metavar="NAME", help="only this probe")
    command.add_argument("--case", metavar="JSON", help="only this case, as a report gave it")
    command.add_argument("--model", default="", help="the model's name at a URL")
    command.add_argument(
        "--weights", type=Path, metavar="FILE", help="a .gguf file of the same numbers as an ONNX file"
    )
    command.add_argument("--same-as", action="store_true", help="a URL serves the model of this machine")
    command.add_argument("--key-file", type=Path, metavar="FILE", help="where the key for a URL stands")
    command.add_argument("--seconds", type=SECONDS, default=60.0, help="an answer may take so long (60)")


def _doctor(options: argparse.Namespace) -> int:
    from inglenook.doctor import asks, probes, report, run

    chosen = [probe for probe in probes.PROBES if not options.probe or probe.name in options.probe]
    if unknown := [name for name in options.probe if name not in probes.NAMES]:
        hint = f"One of: {', '.join(probes.NAMES)}."
        raise NookError("no-probe", f"There is no probe {unknown[0]!r}.", hint)
    case = asks.load(_json(options.case)) if options.case else None
    engine, truth = _opened(options)
    slow = truth is not None and len(truth.tokens) > 4096 and not options.deep
    work = run.examine(engine, truth, few=slow, seconds=options.seconds, chosen=chosen, case=case)
    try:
        with _progress() as heard:
            made = run.report(work, heard)
    finally:
        engine.close()
    if options.json:
        print(json.dumps(report.told(made), ensure_ascii=False, indent=2))
    else:
        print(report.text(made, options.target))
    return ILL if made.failed else 0


def _opened(options: argparse.Namespace) -> tuple[Engine, Truth | None]:
    """The engine that is meant, and its truth."""
    from inglenook.doctor.local import Local

    target = options.target
    if target.startswith(("http://", "https://")):
        from inglenook.doctor.remote import Remote

        key = options.key_file.read_text("ascii", "replace").strip() if options.key_file else ""
        truth = _native().truth() if options.same_as else None
        return Remote(target, options.model, key, options.seconds), truth
    kit = _kit(target, options.weights)
    return Local(kit), kit.truth()


def _kit(target: str, weights: Path | None) -> Kit:
    from inglenook.doctor import kits

    path = Path(target)
    if target == "native":
        return _native()
    if not path.exists():
        raise NookError("no-target", f"There is no engine {target!r}.", "Name native, a folder, a file, or a URL.")
    if path.is_dir():
        found = sorted(path.glob("onnx/*.onnx")) or sorted(path.glob("*.onnx"))
        if not found:
            raise NookError("no-target", f"In {target} there is no ONNX model.", "Name the folder of one.")
        return kits.OnnxKit(found[0], weights.read_bytes() if weights else b"")
    if path.suffix == ".onnx":
        return kits.OnnxKit(path, weights.read_bytes() if weights else b"")
    if path.suffix == ".nkm":
        return kits.NativeKit(path, path.with_suffix(".tokenizer.json"))
    if path.suffix == ".gguf":
        return kits.plain_of(path)
    raise NookError("no-target", f"{path.name} is no model the doctor knows.", "Name a .gguf, .nkm or .onnx file.")


def _native() -> Kit:
    from inglenook.doctor.kits import NativeKit
    from inglenook.platform.native.engine import FILES, models_folder

    artifact, tokenizer = (models_folder() / name for name in FILES["lm"])
    if not artifact.is_file():
        hint = "Run `python3 build.py dev` once in the source tree, or set INGLENOOK_MODELS to the folder of models."
        raise NookError("model-missing", f"The model file {artifact.name} is not on this machine.", hint)
    return NativeKit(artifact, tokenizer)


def _json(text: str) -> object:
    try:
        return parse(text)
    except ValueError as error:
        raise NookError("case", f"The case is no JSON: {error}.", "Copy the whole of it.") from None


@contextmanager
def _progress() -> Iterator[Callable[[Told], None]]:
    """Tells on stderr how far it is: a line that changes on a terminal, a line for each probe elsewhere."""
    live = sys.stderr.isatty()

    def heard(told: Told) -> None:
        line = f"{told.stage} {told.done + 1}/{told.total} {told.note}"
        print(f"\r\033[K{line}" if live else line, end="" if live else "\n", file=sys.stderr, flush=True)

    try:
        yield heard
    finally:
        print("\r\033[K" if live else "", end="", file=sys.stderr, flush=True)
