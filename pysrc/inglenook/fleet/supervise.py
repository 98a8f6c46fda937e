"""A worker that is started again when it dies or hangs, and streams that go on where they broke off.

    small = Supervised(runtime, spec)
    async for token in small.stream("generate", request, resume=lambda written: (request.after(written),)): ...

Without `resume` a call or stream that was under way fails with an error that is `retriable`. A worker that dies more
than `most` times within `within` seconds stays down: NookError("worker-down") then, for everybody. One that answers
nothing for `patience` seconds, in a step or a call that does not end, is killed, so that who waits for it hears of it.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import closing
from typing import Any, Self

from inglenook.errors import NookError
from inglenook.fleet.actor import PING
from inglenook.fleet.runtime import Runtime, Spec
from inglenook.fleet.worker import Worker, retriable, slow

LOOK = 0.02  # seconds between two looks of an event loop at a worker that starts

Resume = Callable[[list[Any]], tuple[Any, ...] | None]
"""Of the items that came: what to call with for the rest, or None if that was all."""


class Supervised:
    """Keeps one worker of `spec` up. `clock` gives seconds."""

    def __init__(
        self, runtime: Runtime, spec: Spec, *, most: int = 5, within: float = 60.0,
        patience: float = 120.0, clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self.spec = spec
        self._runtime, self._most, self._within, self._clock = runtime, most, within, clock
        self._patience = patience
        self._deaths: deque[float] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._worker: Worker | None = None
        self._start()
        threading.Thread(target=self._watch, name=f"watch {spec.name}", daemon=True).start()

    @property
    def restarts(self) -> int:
        """How often it died within the time that counts."""
        return len(self._deaths)

    def worker(self, timeout: float | None = None) -> Worker:
        """The worker that is up, ready for calls. Raises NookError("worker-down" | "worker-slow"), and what its object
        raised when it was made."""
        end = None if timeout is None else self._clock() + timeout
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._up or self._down)
                worker = self._up
            if worker is None:
                raise self._over()
            try:
                worker.ready(None if end is None else max(0.0, end - self._clock()))
            except NookError as error:
                if worker.alive or not retriable(error):
                    raise
                continue
            return worker

    def call(self, method: str, *args: Any, timeout: float | None = None) -> Any:
        """As `Worker.call`, of the worker that is up."""
        return self.worker(timeout).call(method, *args, timeout=timeout)

    async def stream(
        self, method: str, *args: Any, resume: Resume | None = None, timeout: float | None = None
    ) -> AsyncGenerator[Any]:
        """The items of a streaming call. If the worker dies, what `resume` gives is asked of the next one; one that is
        not up within `timeout` seconds is NookError("worker-slow")."""
        items: list[Any] = []
        rest: tuple[Any, ...] | None = args
        while rest is not None:
            end = None if timeout is None else self._clock() + timeout
            while (worker := self.up()) is None:
                if end is not None and self._clock() > end:
                    raise slow(timeout)
                await asyncio.sleep(LOOK)
            with closing(worker.stream(method, *rest)) as stream:
                try:
                    async for item in stream:
                        items.append(item)
                        yield item
                    return
                except NookError as error:
                    if resume is None or not retriable(error):
                        raise
            rest = resume(items)

    def up(self) -> Worker | None:
        """The worker, if it takes calls now; None while it starts. Raises as `worker`."""
        with self._changed:
            worker = self._up
            if worker is None and self._down:
                raise self._over()
        try:
            if worker and worker.made:
                worker.ready(0)
                return worker
        except NookError as error:
            if not retriable(error):
                raise
        return None

    def close(self) -> None:
        """End the worker, for good."""
        with self._changed:
            self._closed, worker = True, self._worker
            self._changed.notify_all()
        if worker:
            worker.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def _up(self) -> Worker | None:
        """The worker, unless it is known to have ended."""
        return self._worker if self._worker and self._worker.alive else None

    @property
    def _down(self) -> bool:
        return self._closed or len(self._deaths) > self._most

    def _over(self) -> NookError:
        hint = "Look at its log, then start it again."
        return NookError("worker-down", f"The worker {self.spec.name} is down.", hint)

    def _start(self) -> None:
        worker = self._runtime.spawn(self.spec, self._died)
        with self._changed:
            self._worker = worker
            self._changed.notify_all()

    def _watch(self) -> None:
        """Ask it now and then whether it is there. What dies meanwhile is not this thread's business."""
        while True:
            with self._changed:
                if self._changed.wait_for(lambda: self._down, self._patience / 4):
                    return
                worker = self._up
            if worker and worker.made:  # making it may take long: weights are read
                try:
                    worker.call(PING, timeout=self._patience)
                except NookError:
                    worker.kill()

    def _died(self) -> None:
        with self._changed:
            now = self._clock()
            self._deaths.append(now)
            while self._deaths[0] < now - self._within:
                self._deaths.popleft()
            self._worker = None
            self._changed.notify_all()
            if self._down:
                return
        self._start()
