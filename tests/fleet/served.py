"""Fleets for tests: files of tiny models and a configuration of them, and an engine that only counts."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from engine import tiny
from inglenook.elastic.tokenizer import FORMAT
from inglenook.errors import NookError
from inglenook.fleet.convert import TOKENIZER, convert
from inglenook.fleet.iteration import Iteration, Sampling
from inglenook.fleet.manifest import CHUNK

ENGINE = "fleet.served:Counting"
SHAPES: dict[str, dict[str, Any]] = {
    "small": {"layers": 2, "heads": 4, "kv_heads": 2, "seed": 5},
    "wide": {"layers": 3, "heads": 4, "kv_heads": 4, "width": 64, "hidden": 96, "seed": 6},
}
CONTEXT = 2048


def models(folder: Path, shapes: dict[str, dict[str, Any]] = SHAPES, chunk: int = CHUNK) -> None:
    """Tiny Llamas of several shapes, as `inglenook fleet convert` leaves them, with a tokenizer of all bytes."""
    known = tiny.tokenizer()
    for name, sizes in shapes.items():
        gguf = tiny.llama(vocabulary=len(known), **sizes, **{"llama.context_length": CONTEXT})
        (folder / f"{name}.gguf").write_bytes(gguf._data.tobytes())
        convert(folder / f"{name}.gguf", folder / name, "F32", chunk)
        said = {
            "format": FORMAT, "tokens": "\n".join(known.tokens), "merges": "\n".join(tiny.MERGES),
            "special": [0, 1, 2], "ends": [0, 2], "template": "",
        }  # fmt: skip
        (folder / name / TOKENIZER).write_text(json.dumps(said), "utf-8")


def write(folder: Path, top: str = "", each: str = "", names: tuple[str, ...] = tuple(SHAPES)) -> Path:
    """A configuration of those models in a folder."""
    file = folder / "fleet.toml"
    tables = "".join(f'\n[models.{name}]\nweights = "{name}"\n{each}\n' for name in names)
    file.write_text(f'arena = "8 MiB"\n{top}\n{tables}', "utf-8")
    return file


class Counting:
    """An engine whose models write the letters after the last one. Files in the folder of a model's weights make it
    odd: `slow` (seconds an iteration), `broken` (it cannot be loaded), `deadly` (it dies while it writes)."""

    def __init__(self, pages: int, page_bytes: int, device: str, dtype: str) -> None:
        self.loaded: dict[str, Path] = {}
        self.admitted: set[str] = set()

    def load(self, model: str, weights: Path) -> Iterator[None]:
        for _ in range(3):
            yield
        if (weights / "broken").exists():
            raise NookError("model-corrupt", "The weights are damaged.", "Get them again.")
        self.loaded[model] = weights

    def remove(self, model: str) -> None:
        del self.loaded[model]

    def admit(self, request: str, sampling: Sampling) -> None:
        self.admitted.add(request)

    def release(self, request: str) -> None:
        self.admitted.discard(request)

    def run(self, iteration: Iteration) -> dict[str, int]:
        folder = self.loaded[iteration.model]
        assert {piece.request for piece in iteration.pieces} <= self.admitted
        if (folder / "slow").exists():
            time.sleep(float((folder / "slow").read_text()))
        if (folder / "deadly").exists():
            os._exit(9)
        self.note(folder / "batch", str(len(iteration.pieces)))
        self.note(folder / "ran", str(time.monotonic()))
        first = tiny.tokenizer().encode("a")[0]
        return {
            piece.request: first + (piece.start + len(piece.tokens)) % 26 for piece in iteration.pieces if piece.wants
        }

    def note(self, path: Path, text: str) -> None:
        """Write a file that is read meanwhile."""
        part = path.with_suffix(f".{id(self)}.part")  # another worker may write it, too, in a thread of this process
        part.write_text(text)
        part.replace(path)
