"""The drivers of the workbench: they take calls from a core, answer each once, keep what came, and go on.

A call whose reply is kept already is not asked again. What stops a run (Stop, a target that cannot be reached, a full
disk) is thrown into the core where it waits; every reply that had come by then is kept, so the next run resumes there.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol, TypeAlias, TypeVar

from inglenook.errors import Cancelled, NookError
from inglenook.evals.calls import Call, Reply, Work
from inglenook.evals.rows import Kept

R = TypeVar("R")
Answer: TypeAlias = Callable[[Call], Reply]
AsyncAnswer: TypeAlias = Callable[[Call], Awaitable[Reply]]
PATIENCE = 8
FULL = 1 + 1e-9
"""The shares of calls that are under way together: sixths add up to a little more than one."""


class AsyncKept(Protocol):
    """`Kept` where reading and writing are awaited, as in a tab."""

    async def find(self, calls: Sequence[Call]) -> list[Reply | None]: ...

    async def put(self, call: Call, reply: Reply) -> None: ...


@dataclass(frozen=True, slots=True)
class Progress:
    """Calls so far: `asked` anew, `found` among the rows, `failed`. `total` is what was expected, 0 if nobody knows."""

    asked: int = 0
    found: int = 0
    failed: int = 0
    total: int = 0
    seconds: float = 0.0

    @property
    def done(self) -> int:
        return self.asked + self.found


@dataclass(slots=True)
class _Run:
    """What both drivers count, and when they give up."""

    report: Callable[[Progress], None] | None
    patience: int
    progress: Progress
    began: float = field(default_factory=time.perf_counter)
    failing: int = 0

    def count(self, asked: int = 0, found: int = 0, reply: Reply | None = None) -> None:
        """Raises NookError("target-failing") after `patience` failures one after another."""
        failed = bool(reply and reply.error)
        now = self.progress
        self.progress = replace(
            now, asked=now.asked + asked, found=now.found + found, failed=now.failed + failed,
            seconds=time.perf_counter() - self.began,
        )  # fmt: skip
        if self.report:
            self.report(self.progress)
        if reply:
            self.failing = self.failing + 1 if failed else 0
            if self.patience and self.failing >= self.patience:
                raise NookError(
                    "target-failing",
                    f"{self.failing} calls failed one after another, the last with: {reply.error}",
                    "See to the target and run it again: what is finished is kept.",
                )


@dataclass(slots=True)
class _Batch:
    """The calls of a batch, each once, and what is known of them."""

    keys: list[str]
    missing: dict[str, Call]
    replies: dict[str, Reply]

    @classmethod
    def of(cls, calls: Sequence[Call], found: Sequence[Reply | None]) -> _Batch:
        keys = [call.key for call in calls]
        replies = {key: reply for key, reply in zip(keys, found) if reply is not None}
        return cls(keys, {key: call for key, call in zip(keys, calls) if key not in replies}, replies)

    def answered(self) -> list[Reply]:
        return [self.replies[key] for key in self.keys]


def drive(
    work: Work[R],
    answer: Answer,
    rows: Kept | None = None,
    *,
    workers: int = 1,
    total: int = 0,
    report: Callable[[Progress], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
    patience: int = PATIENCE,
) -> R:
    """Run a core to its end and return its result. `answer` is called from `workers` threads at once (from this one
    where it is 1); `stop()` is asked before each call. Raises Cancelled after Stop, NookError("target-failing") when
    `patience` calls failed one after another (0: never), and what `answer`, `rows` and the core raise."""
    run = _Run(report, patience, Progress(total=total))
    pool = ThreadPoolExecutor(workers) if workers > 1 else None
    step: Callable[[], Sequence[Call]] = work.__next__
    try:
        while True:
            calls = step()
            try:
                batch = _Batch.of(calls, rows.find(calls) if rows is not None else [None] * len(calls))
                run.count(found=len(calls) - len(batch.missing))

                def take(key: str, reply: Reply, batch: _Batch = batch) -> None:
                    if rows is not None and not reply.error:
                        rows.put(batch.missing[key], reply)
                    batch.replies[key] = reply
                    run.count(asked=1, reply=reply)

                _ask(batch.missing, answer, pool, workers, stop=stop, take=take)
                step = partial(work.send, batch.answered())
            except BaseException as error:
                step = partial(work.throw, error)
    except StopIteration as end:
        result: R = end.value
        return result
    finally:
        if pool:
            pool.shutdown(cancel_futures=True)
        work.close()


def _ask(
    calls: dict[str, Call],
    answer: Answer,
    pool: ThreadPoolExecutor | None,
    workers: int,
    *,
    stop: Callable[[], bool],
    take: Callable[[str, Reply], None],
) -> None:
    """Hand each reply to `take` as it comes. Whatever ends this early, calls that are under way are taken before."""
    if pool is None:
        for key, call in calls.items():
            if stop():
                raise Cancelled
            take(key, answer(call))
        return
    waiting = iter(calls.items())
    running: dict[Future[Reply], str] = {}
    try:
        while True:
            while len(running) < workers and (item := next(waiting, None)):
                if stop():
                    raise Cancelled
                running[pool.submit(answer, item[1])] = item[0]
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                take(running.pop(future), future.result())
    except BaseException:
        for future in wait(running).done:
            if not future.exception():
                with suppress(NookError):  # the first trouble is the one to tell
                    take(running[future], future.result())
        raise


async def adrive(
    work: Work[R],
    answer: AsyncAnswer,
    rows: AsyncKept | None = None,
    *,
    total: int = 0,
    report: Callable[[Progress], None] | None = None,
    patience: int = PATIENCE,
    share: Callable[[Call], float] = lambda call: 1.0,
) -> R:
    """The same for an event loop. As many calls are under way as their shares leave room for: of what `share` says, one
    at a time, or those that together come to 1. Cancel the task to stop."""
    run = _Run(report, patience, Progress(total=total))
    step: Callable[[], Sequence[Call]] = work.__next__
    try:
        while True:
            calls = step()
            try:
                batch = _Batch.of(calls, await rows.find(calls) if rows is not None else [None] * len(calls))
                run.count(found=len(calls) - len(batch.missing))

                async def take(key: str, reply: Reply, batch: _Batch = batch) -> None:
                    batch.replies[key] = reply
                    if rows is not None and not reply.error:
                        await rows.put(batch.missing[key], reply)
                    run.count(asked=1, reply=reply)

                await _together(batch.missing, answer, share, take)
                step = partial(work.send, batch.answered())
            except BaseException as error:
                step = partial(work.throw, error)
    except StopIteration as end:
        result: R = end.value
        return result
    finally:
        work.close()


async def _together(
    calls: dict[str, Call],
    answer: AsyncAnswer,
    share: Callable[[Call], float],
    take: Callable[[str, Reply], Awaitable[None]],
) -> None:
    """`_ask` for an event loop. Whatever ends this early, calls that are under way are stopped, and what had been
    answered is taken before."""
    waiting, shares = list(reversed(calls)), {key: share(call) for key, call in calls.items()}
    running: dict[asyncio.Task[Reply], str] = {}
    try:
        while waiting or running:
            while waiting and (not running or sum(map(shares.__getitem__, (*running.values(), waiting[-1]))) <= FULL):
                key = waiting.pop()
                running[asyncio.ensure_future(answer(calls[key]))] = key
            done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                reply = task.result()
                await take(running.pop(task), reply)
    except BaseException:
        for task in running:
            task.cancel()
        for key, told in zip(running.values(), await asyncio.gather(*running, return_exceptions=True), strict=True):
            if isinstance(told, Reply):
                with suppress(NookError):  # the first trouble is the one to tell
                    await take(key, told)
        raise
