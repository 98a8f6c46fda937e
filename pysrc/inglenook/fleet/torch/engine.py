"""The engine of a worker whose models come and go: one memory, models loaded tensor by tensor between iterations.

engine = Engine(pages, page_bytes, "cpu", "float32")
for _ in engine.load("small", path): ...          # a tensor each time; then it runs
engine.remove("small")
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from pathlib import Path

import torch

from inglenook.fleet.torch.executor import Executor
from inglenook.fleet.torch.memory import Cache, Memory
from inglenook.fleet.torch.stage import Stage
from inglenook.fleet.weights import Checkpoint


class Engine(Executor):
    """`pages` pages of `page_bytes` bytes on a device; numbers are of `dtype`, by torch's name."""

    def __init__(self, pages: int, page_bytes: int, device: str, dtype: str) -> None:
        super().__init__()
        self._memory, self._dtype = Memory(pages, page_bytes, device), getattr(torch, dtype)

    def load(self, model: str, weights: Path) -> Iterator[None]:
        """Load a model a tensor at a time; after the last it can be run. Raises NookError("model-corrupt" | …)."""
        checkpoint = Checkpoint.open(weights)
        shape = checkpoint.shape
        cache = Cache(self._memory, shape, 0, shape.layers, dtype=self._dtype)
        stage = Stage(shape, 0, shape.layers, cache, embeds=True, heads=True, tied=checkpoint.tied)
        for name in [*stage.missing]:
            stage.load(name, checkpoint.read(name))
            yield
        self.add(model, [stage])
        _trim()

    def remove(self, model: str) -> None:
        super().remove(model)
        _trim()


def _trim() -> None:
    """Give the system what was freed; glibc would keep it, as much as the weights."""
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)):
        trim(0)
