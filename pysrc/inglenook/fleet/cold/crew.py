"""The workers of one model that runs: one or more pipelines, each of a start of its own, as one executor.

    crew = Crew()
    crew.pipelines.append(pipeline)                      # the first; later others beside it
    crew.admit("r", Sampling()); flight = crew.begin(iteration); …; flight.finish()

A request is given away with its first piece, to who can answer and has the fewest. So those whose turn has not come go
to a worker that was added meanwhile, and nothing that was computed moves.

Ours. What is added is a start like the first, and so a pipeline where one host is too slow for the SLO; none knows of
the others, or has a second kind of member. What was started together ends together. Pages have one number in all of
them: an added worker computes, but holds no more keys and values.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from inglenook.errors import NookError
from inglenook.fleet.cold.flight import Flight, WorkerLost
from inglenook.fleet.cold.pipeline import Pipeline
from inglenook.fleet.iteration import Iteration, Piece, Sampling


class Crew:
    """See above; all calls come from one thread. `pipelines` are the eldest first."""

    def __init__(self) -> None:
        self.pipelines: list[Pipeline] = []
        self._waiting: dict[str, Sampling] = {}  # admitted, and nothing computed
        self._where: dict[str, Pipeline] = {}

    @property
    def ready(self) -> bool:
        """Whether somebody can answer now."""
        return any(pipeline.ready for pipeline in self.pipelines)

    @property
    def broken(self) -> bool:
        """Whether nobody is left who could answer, now or later."""
        return all(pipeline.broken for pipeline in self.pipelines)

    @property
    def hands(self) -> int:
        """How many answer at once."""
        return sum(pipeline.hands for pipeline in self.pipelines)

    @property
    def workers(self) -> int:
        """How many whole workers run or start."""
        return sum(place.full for pipeline in self.pipelines if not pipeline.broken for place in pipeline.places)

    @property
    def hosts(self) -> set[str]:
        """Where they are."""
        return {place.host for pipeline in self.pipelines for place in pipeline.places}

    def why(self, requests: Iterable[str] = ()) -> NookError:
        """As `Pipeline.why`."""
        return self.pipelines[0].why(requests)

    def admit(self, request: str, sampling: Sampling) -> None:
        """As `Executor.admit`. Raises NookError("worker-lost") if nobody is left to run it."""
        if self.broken:
            raise self.why([request])
        self._waiting[request] = sampling

    def release(self, request: str) -> None:
        """As `Executor.release`."""
        self._waiting.pop(request, None)
        if pipeline := self._where.pop(request, None):
            pipeline.release(request)

    def begin(self, iteration: Iteration) -> Flight:
        """As `Pipeline.begin`, in all at once. Raises WorkerLost for a request whose pipeline was ended."""
        shares: dict[Pipeline, list[Piece]] = {}
        for piece in iteration.pieces:
            shares.setdefault(self._whose(piece.request), []).append(piece)
        flights = [one.begin(replace(iteration, pieces=tuple(pieces))) for one, pieces in shares.items()]
        return Flight(iteration, [asked for flight in flights for asked in flight.asked], [*shares])

    def step(self, now: float) -> None:
        """Go on with merging. Who can't answer yet is in use."""
        for pipeline in self.pipelines:
            pipeline.step()
            if not pipeline.ready:
                pipeline.used = now

    def leave(self, since: float) -> bool:
        """End those, but one, that have no request and had none after `since`, or are of no use; the youngest first.
        Whether there were any."""
        free = [one for one in reversed(self.pipelines) if not one.requests and (one.used <= since or one.broken)]
        gone = sorted(free, key=lambda one: not one.broken)[: len(self.pipelines) - 1]
        for pipeline in gone:
            pipeline.close()
            self.pipelines.remove(pipeline)
        return bool(gone)

    def close(self) -> None:
        """End them all. What was admitted and computed nothing stays admitted."""
        for pipeline in self.pipelines:
            pipeline.close()
        self.pipelines.clear()
        self._where.clear()

    def _whose(self, request: str) -> Pipeline:
        """Who runs a request."""
        if request in self._waiting:
            self._give(request)
        if request not in self._where:
            raise WorkerLost("The worker of this request has ended.", [request])
        return self._where[request]

    def _give(self, request: str) -> None:
        """Give a request away, if there is anybody to take it."""
        able = [one for one in self.pipelines if one.ready] or [one for one in self.pipelines if not one.broken][:1]
        if able:
            chosen = min(able, key=lambda one: one.requests / max(one.hands, 1))
            chosen.admit(request, self._waiting[request])
            del self._waiting[request]
            self._where[request] = chosen
