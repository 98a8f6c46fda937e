"""Flows: the engine's work as generators that do no I/O, and the two loops that drive them.

A flow yields two kinds of things. An *effect* (a subclass of `Effect`, below) asks the driver for something and
receives the answer as the value of the `yield`. Anything else is an *event* for whoever asked. So the same flow runs
in the tab, where a driver awaits promises, and under CPython, where a driver simply calls functions; tests drive flows
with dictionaries.

    def shout(key: str) -> Flow[None]:
        [data] = yield Get([key])          # effect: the driver answers
        yield Token(data.decode().upper()) # event: the person sees it
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from inglenook.types import Json


class Effect:
    """Base class of everything a flow may ask its driver for."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Get(Effect):
    """Read pages by key in one batch. Answer: `list[bytes | None]`, in the order of `keys`."""

    keys: list[str]


@dataclass(frozen=True, slots=True)
class Scan(Effect):
    """Read every page whose key starts with `prefix`. Answer: `dict[str, bytes]`, keys in order."""

    prefix: str


@dataclass(frozen=True, slots=True)
class Commit(Effect):
    """Write and delete pages: all of it or none, durable when answered. Answer: None."""

    puts: dict[str, bytes]
    deletes: list[str]


@dataclass(frozen=True, slots=True)
class Encode(Effect):
    """Embed token sequences. Answer: float32 array of shape (len(tokens), dimensions), rows of unit length.

    `urgent` work (a query) goes before waiting passages.
    """

    tokens: list[list[int]]
    urgent: bool = False


@dataclass(frozen=True, slots=True)
class Begin(Effect):
    """Start another effect and go on without its answer. Answer: what `Finish` takes. Drivers never see this one."""

    effect: Effect


@dataclass(frozen=True, slots=True)
class Finish(Effect):
    """Wait for what was begun. Answer: that of its effect."""

    begun: Any


@dataclass(frozen=True, slots=True)
class Forward(Effect):
    """Run the language model over `tokens` placed from position `at` on; what the cache held from `at` on is dropped.

    `level` says how much of the model (`elastic.levels`). `pages` are the key-value pages of the positions up to the
    last token (`elastic.cache`); none given means the first ones in their order, for who has the model alone.
    `allow` is a bit set of tokens, little endian, that may come after the last one. `turn` is the ticket (`Admit`) of
    the request it is for: the driver runs it when it is its turn.
    Answer: `Candidates` after each of the last `each` tokens (0 to 16), the `top` best.
    Raises NookError("forward" | "context" | "tokens" | "worker-died").
    """

    tokens: list[int]
    at: int
    top: int = 64
    level: int = field(default=0, kw_only=True)
    pages: Sequence[int] = field(default=(), kw_only=True)
    each: int = field(default=1, kw_only=True)
    allow: bytes | None = field(default=None, kw_only=True)
    turn: Any = field(default=None, kw_only=True)


@dataclass(frozen=True, slots=True)
class Score(Effect):
    """Run tokens as `Forward` does. Answer: the log-probability of each of `tokens` but the first, given those before
    it, float32 of shape (len(tokens) - 1,). To score what follows a prompt that is cached, begin with its last token.
    """

    tokens: list[int]
    at: int
    level: int = field(default=0, kw_only=True)
    pages: Sequence[int] = field(default=(), kw_only=True)
    turn: Any = field(default=None, kw_only=True)


@dataclass(frozen=True, slots=True)
class Copy(Effect):
    """Make the key-value page `target` hold what `source` holds. Answer: None."""

    source: int
    target: int


@dataclass(frozen=True, slots=True)
class Candidates:
    """The best next tokens: `ids` int32 and `logits` float32, logits descending; `total` is the log-sum-exp of all
    logits, allowed or not, so `logits - total` are log-probabilities. (Below the whole model our kernel knows those
    that are far from the best by their weights' high bits alone, and so the total within a few hundredths.)

    For one row the shapes are (top,), less where fewer are allowed, and a float; for several (each, top), filled up
    with -1 and minus infinity, and float32 (each,).
    """

    ids: np.ndarray
    logits: np.ndarray
    total: Any = 0.0

    def row(self, index: int) -> Candidates:
        """Those after one of several tokens."""
        if self.ids.ndim == 1:
            return self
        found = self.ids[index] >= 0
        return Candidates(self.ids[index][found], self.logits[index][found], float(self.total[index]))


@dataclass(frozen=True, slots=True)
class Load(Effect):
    """Make a model ready ("encoder" or "lm"), or what else is not there from the start ("pdf", "threads"); the driver
    emits Progress meanwhile.

    Answer: `Loaded`. Raises NookError("model-missing" | "model-corrupt" | "memory", …).
    """

    model: str


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model that is ready: the bytes of its tokenizer's file, and what its artifact says of it (`config`).

    A language model has room for `context` positions in a session and `pages` key-value pages for all of them; both may
    be less than usual where memory was refused. `instance` is another number whenever it was loaded anew: its pages are
    empty then. `device` names what it runs on: where that is another one, it is as fast as another one.
    """

    tokenizer: bytes
    config: Json = field(default_factory=dict)
    pages: int = 0
    context: int = 0
    instance: int = 0
    device: str = ""


@dataclass(frozen=True, slots=True)
class Admit(Effect):
    """Come to the language model: a request of `app`, made at `since` (seconds of `time.perf_counter`), that was
    promised the latency `slo` (a `wire.Slo`) and will read and write `tokens` at most.

    Answer: its `elastic.turns.Ticket`; call `leave` in a `finally`. Raises NookError("busy" | "quota").
    """

    app: str
    slo: Any
    tokens: int
    since: float


@dataclass(frozen=True, slots=True)
class Hold(Effect):
    """Wait for the only one of something that two must not do at once.

    Answer: a function that lets go; call it in a `finally`.
    """

    what: str


@dataclass(frozen=True, slots=True)
class Measure(Effect):
    """How much is stored, and whether it stays. Answer: `Stored`."""


@dataclass(frozen=True, slots=True)
class Stored:
    """`size` in bytes. Where pages are only in memory `kept` is False and `reason` says why."""

    size: int
    kept: bool = True
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Pause(Effect):
    """Let others run; this is where Stop takes effect in work that needs nothing from outside. Answer: None."""


Flow = Generator[Any, Any, Any]


def drive(flow: Flow, perform: Callable[[Effect, Callable[[object], None]], Any]) -> Iterator[object]:
    """Run a flow to its end with a synchronous driver, yielding its events.

    `perform(effect, emit)` answers an effect; events it emits meanwhile are delivered before the flow's next one.
    Exceptions from `perform` are thrown into the flow at its `yield`.
    """
    pending: list[object] = []
    step: Callable[[], Any] = flow.__next__
    while True:
        try:
            item = step()
        except StopIteration:
            return
        if isinstance(item, Effect):
            try:
                if isinstance(item, Begin):  # a synchronous driver can do nothing meanwhile: all is done at `Finish`
                    answer = item.effect
                else:
                    answer = perform(item.begun if isinstance(item, Finish) else item, pending.append)
            except BaseException as error:  # thrown into the flow, which decides
                step = partial(flow.throw, error)
            else:
                step = partial(flow.send, answer)
            yield from pending
            pending.clear()
        else:
            try:
                yield item
            except GeneratorExit:
                flow.close()
                raise
            step = flow.__next__


async def adrive(flow: Flow, perform: Callable[[Effect], Awaitable[Any]], emit: Callable[[object], None]) -> Any:
    """Run a flow to its end with an asynchronous driver and return its result; events go to `emit`.

    Cancelling the surrounding task throws CancelledError into the flow at the effect it waits for.
    """
    step: Callable[[], Any] = flow.__next__
    begun: list[asyncio.Task[Any]] = []
    try:
        while True:
            try:
                item = step()
            except StopIteration as end:
                return end.value
            if isinstance(item, Effect):
                try:
                    answer = await _answer(item, perform, begun)
                except BaseException as error:  # CancelledError included: the flow may clean up
                    step = partial(flow.throw, error)
                else:
                    step = partial(flow.send, answer)
            else:
                emit(item)
                step = flow.__next__
    finally:
        for task in begun:
            task.cancel()


async def _answer(effect: Effect, perform: Callable[[Effect], Awaitable[Any]], begun: list[asyncio.Task[Any]]) -> Any:
    match effect:
        case Begin(inner):
            begun.append(eager(_performed(inner, perform)))
            return begun[-1]
        case Finish(task):
            begun.remove(task)
            return await task
    return await perform(effect)


async def _performed(effect: Effect, perform: Callable[[Effect], Awaitable[Any]]) -> Any:
    return await perform(effect)


def eager(work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    """A task that runs at once up to where it waits (since Python 3.12; before, it begins at the next turn)."""
    loop = asyncio.get_running_loop()
    eager = getattr(asyncio, "eager_task_factory", None)
    task: asyncio.Task[Any] = eager(loop, work) if eager else loop.create_task(work)
    task.add_done_callback(lambda done: done.cancelled() or done.exception())  # it may be that nobody waits for it
    return task


__all__ = [
    "Admit", "Begin", "Candidates", "Commit", "Copy", "Effect", "Encode", "Finish", "Flow", "Forward", "Get",
    "Hold", "Load", "Loaded", "Measure", "Pause", "Scan", "Score", "Stored", "adrive", "drive", "eager",
]  # fmt: skip
