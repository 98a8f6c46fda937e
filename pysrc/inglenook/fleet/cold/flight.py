"""An iteration under way in pipelines, and what a worker that ends meanwhile takes with it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol

from inglenook.errors import NookError
from inglenook.fleet.cold.channel import Message
from inglenook.fleet.iteration import Iteration, Piece


class WorkerLost(NookError):
    """A worker ended. What `requests` had in its memory is gone: run them again from their beginning. Nothing else of
    the iteration was kept, so run that again, too."""

    def __init__(self, message: str, requests: Iterable[str]) -> None:
        self.requests = tuple(requests)
        super().__init__("worker-lost", message, "The request can be tried again.")


class Runner(Protocol):
    """What a flight knows of a pipeline that has pieces of it."""

    @property
    def merged(self) -> bool: ...

    def ended(self, pieces: Sequence[Piece]) -> None: ...


@dataclass(frozen=True, slots=True)
class Flight:
    """An iteration under way in `pipelines`: its pieces by who runs them, each with what is waited for."""

    iteration: Iteration
    asked: Sequence[tuple[Sequence[Piece], Future[Message]]]
    pipelines: Sequence[Runner]

    @property
    def waiting(self) -> list[Future[Message]]:
        """What has not come yet."""
        return [future for _, future in self.asked if not future.done()]

    def finish(self) -> dict[str, int]:
        """Wait for what came of it. Requests may have been released meanwhile. Raises as `Pipeline.run`."""
        tokens: dict[str, int] = {}
        lost: list[str] = []
        problem: NookError | None = None
        for pieces, future in self.asked:
            try:
                tokens |= future.result()[0]["tokens"]
            except NookError as error:
                if error.code == "worker-lost":
                    lost += [piece.request for piece in pieces]
                problem = error
        for pipeline in self.pipelines:
            pipeline.ended(() if problem else self.iteration.pieces)
        if lost:
            raise WorkerLost(str(problem and problem.message), lost)
        if problem:
            raise problem
        return tokens
