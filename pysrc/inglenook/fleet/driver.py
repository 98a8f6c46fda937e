"""What a worker does all day: take requests, run the loop's iterations, send each token as it is written.

The target of an `Actor`: `generate` streams tokens, and a listener who goes cancels his request, which leaves the
batch before the next iteration.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

from inglenook.errors import NookError
from inglenook.fleet.actor import Out
from inglenook.fleet.iteration import Executor, Iteration, Sampling


class Request(Protocol):
    """What the driver needs to know of a request."""

    @property
    def id(self) -> str: ...
    @property
    def sampling(self) -> Sampling: ...


class Finished(Protocol):
    """What the loop tells of a request that ended."""

    @property
    def request(self) -> Request: ...
    @property
    def reason(self) -> str: ...


class Loop(Protocol):
    """What decides which iteration comes next: as `fleet.loop.Loop`."""

    def arrive(self, request: Any, now: float) -> None: ...
    def cancel(self, request_id: str, now: float) -> Any: ...
    def next(self, now: float) -> Iteration | None: ...
    def ran(self, iteration: Iteration, tokens: dict[str, int], seconds: float, now: float) -> list[Any]: ...


class Driver:
    """A loop with the executor that runs what it decides. `clock` gives seconds."""

    def __init__(self, loop: Loop, executor: Executor, clock: Callable[[], float] = time.monotonic) -> None:
        self.loop, self.executor, self._clock = loop, executor, clock
        self._outs: dict[str, Out] = {}
        self.iterations = 0

    def generate(self, out: Out, request: Request) -> None:
        """Write an answer: its tokens are the items, the reason why it ended is the result."""
        if request.id in self._outs:
            raise NookError("duplicate", f"A request {request.id} is under way.", "Give each request its own id.")
        self.loop.arrive(request, self._clock())
        try:
            self.executor.admit(request.id, request.sampling)
        except NookError:
            self.loop.cancel(request.id, self._clock())
            raise
        self._outs[request.id] = out
        out.on_close = lambda: self.cancel(request.id)

    def cancel(self, request_id: str) -> None:
        """Stop a request, if it is under way; its stream ends."""
        if out := self._outs.pop(request_id, None):
            self.loop.cancel(request_id, self._clock())
            self.executor.release(request_id)
            out.end("cancelled")

    def status(self) -> dict[str, int]:
        """How many requests are under way, and how many iterations were run."""
        return {"requests": len(self._outs), "iterations": self.iterations}

    def step(self) -> bool:
        """Run one iteration; whether there was one."""
        start = self._clock()
        iteration = self.loop.next(start)
        if iteration is None:
            return False
        try:
            tokens = self.executor.run(iteration)
        except NookError as error:
            self._fail(iteration, error, start)
            return True
        self._ran(iteration, tokens, start)
        return True

    def _ran(self, iteration: Iteration, tokens: dict[str, int], start: float) -> None:
        """Send what an iteration gave. Requests may have been cancelled since `start`."""
        self.iterations += 1
        now = self._clock()
        done = self.loop.ran(iteration, tokens, now - start, now)
        for request, token in tokens.items():
            if out := self._outs.get(request):
                out.send(token)
        for finished in done:
            self.executor.release(finished.request.id)
            self._outs.pop(finished.request.id).end(finished.reason)

    def _fail(self, iteration: Iteration, error: NookError, start: float) -> None:
        """An iteration that could not be run ends the requests that were in it, and no others."""
        now = self._clock()
        for piece in iteration.pieces:
            self.loop.cancel(piece.request, now)
        self.loop.ran(iteration, {}, now - start, now)
        for piece in iteration.pieces:
            self.executor.release(piece.request)
            if out := self._outs.pop(piece.request, None):
                out.fail(error)
