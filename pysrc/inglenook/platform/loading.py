"""A load that any number of callers wait for: one fetch, everybody hears how it goes, and it is stopped when all of
them have given up. The same as `Loading` in web/lib/kernels.js."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from inglenook.platform.session import Report

T = TypeVar("T")


class Loading(Generic[T]):
    """What `start(report)` gives, once. After a failure or a stop the next caller starts it again."""

    def __init__(self, start: Callable[[Report], Awaitable[T]]) -> None:
        self._start = start
        self._task: asyncio.Future[T] | None = None
        self._reports: list[Report] = []
        self._last: tuple[float, float] | None = None

    async def join(self, report: Report) -> T:
        """Wait for it. Raises what `start` raises."""
        if self._task is None:
            self._last, self._task = None, asyncio.ensure_future(self._start(self._tell))
        task = self._task
        if task.done():
            return task.result()
        if self._last:
            report(*self._last)
        self._reports.append(report)
        try:
            return await asyncio.shield(task)
        except BaseException:
            lost = task.cancelled() or task.exception() if task.done() else len(self._reports) == 1
            if lost:
                task.cancel()
                self._task = None if self._task is task else self._task
            raise
        finally:
            self._reports.remove(report)

    def _tell(self, done: float, total: float) -> None:
        self._last = (done, total)
        for report in list(self._reports):
            report(done, total)
