"""A model as workers fetch it: a folder of safetensors in the order they are needed, sums of its chunks, a tokenizer.

model/config.json  model.safetensors  model.chunks.json  *tokenizer*.json
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np

from inglenook.elastic import convert as elastic
from inglenook.errors import NookError
from inglenook.fleet import safetensors
from inglenook.fleet.manifest import CHUNK, Manifest
from inglenook.fleet.weights import Checkpoint, config

WEIGHTS, CHUNKS, TOKENIZER = "model.safetensors", "model.chunks.json", "inglenook.tokenizer.json"
BESIDE = ("generation_config.json", "chat_template.jinja")


def convert(source: Path, folder: Path, kind: str = "F16", chunk: int = CHUNK) -> Manifest:
    """Write `source`, a .gguf file or a folder, to `folder` as weights of `kind`, "F16" or "F32".

    Raises NookError("model-missing" | "model-corrupt" | "model-unsupported" | "quota").
    """
    checkpoint = Checkpoint.open(source)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = [(name, kind, place.shape) for name, place in checkpoint.places.items()]
    safetensors.write(folder / WEIGHTS, tensors, _values(checkpoint, kind), format="pt")
    (folder / "config.json").write_text(config(checkpoint.shape, tied=checkpoint.tied, kind=kind), "utf-8")
    if source.suffix == ".gguf":
        with suppress(NookError):  # of another family: the weights are of use all the same
            elastic.export(source, folder / TOKENIZER)
    else:
        for path in [*source.glob("*tokenizer*.json"), *(source / name for name in BESIDE)]:
            if path.is_file():
                shutil.copyfile(path, folder / path.name)
    manifest = Manifest.of(folder / WEIGHTS, chunk)
    (folder / CHUNKS).write_text(manifest.json(), "utf-8")
    return manifest


def _values(checkpoint: Checkpoint, kind: str) -> Iterator[np.ndarray]:
    for name in checkpoint.places:
        values = checkpoint.read(name).astype({"F16": "<f2", "F32": "<f4"}[kind])
        if not np.isfinite(values).all():
            raise NookError("model-unsupported", f"{name} does not fit half precision.", "Convert it to F32.")
        yield values
