"""What runs iterations of one or more models over one memory.

    executor = Executor()
    executor.add("small", [Stage.whole(checkpoint, cache)])
    executor.admit("request 1", Sampling())
    executor.run(Iteration("small", (Piece("request 1", tokens, 0, pages, wants=True),)))   # {"request 1": 1234}

Which pages a request has is said by whoever asks, from its `Arena`; nothing is kept here between iterations but the
keys and values, so a request is put off, or goes on, at any of them.
"""

from __future__ import annotations

from collections.abc import Sequence

from inglenook.errors import NookError
from inglenook.fleet.iteration import Iteration, Sampling
from inglenook.fleet.torch.batch import Batch
from inglenook.fleet.torch.sample import choose
from inglenook.fleet.torch.stage import Stage


class Executor:
    """Models by name, each as stages that share a cache. As `iteration.Executor`."""

    def __init__(self) -> None:
        self._models: dict[str, Sequence[Stage]] = {}
        self._ways: dict[str, Sampling] = {}

    def add(self, model: str, stages: Sequence[Stage]) -> None:
        """Let a model be run: stages in their order, that together have all of its layers, over one cache."""
        ends = [0, *(stage.last for stage in stages)]
        joined = all(stage.first == end and stage.cache is stages[0].cache for stage, end in zip(stages, ends))
        if (
            not stages
            or not joined
            or ends[-1] != stages[0].shape.layers
            or not (stages[0].embeds and stages[-1].heads)
        ):
            raise NookError("stage", f"These stages do not make up {model}.", "Give all layers, in their order.")
        self._models[model] = stages

    def remove(self, model: str) -> None:
        """Forget a model; its memory is free when nobody else holds the stages."""
        self._models.pop(model, None)

    def admit(self, request: str, sampling: Sampling) -> None:
        self._ways[request] = sampling

    def release(self, request: str) -> None:
        self._ways.pop(request, None)

    def run(self, iteration: Iteration) -> dict[str, int]:
        """Raises NookError("no-model" | "iteration" | "context" | "stage" | "memory")."""
        stages = self._models.get(iteration.model)
        if stages is None:
            raise NookError("no-model", f"There is no model {iteration.model} here.", "Ask for one that is served.")
        wanted = [piece for piece in iteration.pieces if piece.wants]
        if unknown := [piece.request for piece in wanted if piece.request not in self._ways]:
            raise NookError("iteration", f"Request {unknown[0]} was not admitted.", "This is a defect: report it.")
        batch = Batch.of(iteration.pieces, stages[0].cache)
        x = batch.tokens
        for stage in stages:
            x = stage.forward(batch, x)
        if not wanted:
            return {}
        ways = [self._ways[piece.request] for piece in wanted]
        tokens = choose(x, ways, [piece.start + len(piece.tokens) for piece in wanted])
        return {piece.request: token for piece, token in zip(wanted, tokens, strict=True)}
