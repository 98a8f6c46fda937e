"""Small random Llamas for the engine's tests, and a driver of one request after another."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="torch is not there: `build.py test cluster` installs it")

import itertools
from collections.abc import Sequence
from pathlib import Path

import torch
from engine import tiny
from inglenook.elastic.gguf import Gguf
from inglenook.fleet.arena import Arena, token_bytes
from inglenook.fleet.iteration import Iteration, Piece, Sampling
from inglenook.fleet.torch.executor import Executor
from inglenook.fleet.torch.memory import Cache, Memory
from inglenook.fleet.torch.stage import Stage
from inglenook.fleet.weights import Checkpoint

torch.set_num_threads(1)  # what is small is slower on several, and much so on a busy machine


def write(folder: Path, name: str = "tiny", **sizes: int) -> tuple[Gguf, Checkpoint]:
    """A model file of random weights, and the checkpoint read from it."""
    gguf, path = tiny.llama(**sizes), folder / f"{name}.gguf"
    path.write_bytes(gguf._data.tobytes())
    return gguf, Checkpoint.open(path)


class Worker:
    """An arena with its memory, and an executor over both."""

    def __init__(self, pages: int = 64, page_bytes: int = 1 << 12) -> None:
        self.arena = Arena(pages, page_bytes)
        self.memory = Memory(pages, page_bytes)
        self.executor = Executor()
        self.held: dict[str, list[int]] = {}

    def add(self, model: str, checkpoint: Checkpoint, *, cuts: Sequence[int] = (), tokens: int | None = None) -> Cache:
        """Let a model in, cut into stages before the layers `cuts`."""
        shape = checkpoint.shape
        cache = Cache(self.memory, shape, 0, shape.layers, tokens=tokens)
        self.arena.register(model, self.memory.page_bytes // cache.tokens if tokens else token_bytes(shape, 4))
        ends = [0, *cuts, shape.layers]
        stages = []
        for first, last in itertools.pairwise(ends):
            stage = Stage(
                shape, first, last, cache, embeds=first == 0, heads=last == shape.layers, tied=checkpoint.tied
            )
            for name in [*stage.missing]:
                stage.load(name, checkpoint.read(name))
            stages.append(stage)
        self.executor.add(model, stages)
        return cache

    def piece(self, model: str, request: str, tokens: Sequence[int], start: int, wants: bool = True) -> Piece:
        """The next piece of a request, with pages for it."""
        pages = self.held.setdefault(request, [])
        pages += self.arena.take(model, self.arena.pages_for(model, start + len(tokens)) - len(pages))
        return Piece(request, tuple(tokens), start, tuple(pages), wants)

    def write(
        self,
        model: str,
        request: str,
        prompt: Sequence[int],
        count: int,
        *,
        chunk: int = 10**9,
        way: Sampling | None = None,
    ) -> list[int]:
        """Write `count` tokens after `prompt`, which is read in chunks, alone."""
        self.executor.admit(request, way or Sampling())
        written: list[int] = []
        todo, start = list(prompt), 0
        while len(written) < count:
            now, todo = todo[:chunk], todo[chunk:]
            piece = self.piece(model, request, now, start, wants=not todo)
            found = self.executor.run(Iteration(model, (piece,)))
            start += len(now)
            if not todo:
                todo = [found[request]]
                written += todo
        self.executor.release(request)
        return written
