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

from collections.abc import Awaitable, Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np


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
class Forward(Effect):
    """Run the language model over `tokens` placed from position `at` on; what the cache held from `at` on is dropped.

    Answer: `Candidates` for the token after the last one, the `top` best.
    """

    tokens: list[int]
    at: int
    top: int = 64


@dataclass(frozen=True, slots=True)
class Candidates:
    """The best next tokens: `ids` int32 and `logits` float32, both of shape (top,), logits descending."""

    ids: np.ndarray
    logits: np.ndarray


@dataclass(frozen=True, slots=True)
class Load(Effect):
    """Make a model ready ("encoder" or "lm"); the driver emits Progress meanwhile.

    Answer: the bytes of the model's tokenizer file. Raises NookError("model-missing" | "corrupt" | "memory", …).
    """

    model: str


@dataclass(frozen=True, slots=True)
class Hold(Effect):
    """Wait for the only one of something, such as "lm", whose cache two answers must not share.

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
    step: Callable[[], Any] = lambda: next(flow)
    while True:
        try:
            item = step()
        except StopIteration:
            return
        if isinstance(item, Effect):
            try:
                answer = perform(item, pending.append)
            except BaseException as error:  # thrown into the flow, which decides
                step = _thrower(flow, error)
            else:
                step = _sender(flow, answer)
            yield from pending
            pending.clear()
        else:
            try:
                yield item
            except GeneratorExit:
                flow.close()
                raise
            step = _sender(flow, None)


async def adrive(flow: Flow, perform: Callable[[Effect], Awaitable[Any]], emit: Callable[[object], None]) -> None:
    """Run a flow to its end with an asynchronous driver; events go to `emit`.

    Cancelling the surrounding task throws CancelledError into the flow at the effect it waits for.
    """
    step: Callable[[], Any] = lambda: next(flow)
    while True:
        try:
            item = step()
        except StopIteration:
            return
        if isinstance(item, Effect):
            try:
                answer = await perform(item)
            except BaseException as error:  # CancelledError included: the flow may clean up
                step = _thrower(flow, error)
            else:
                step = _sender(flow, answer)
        else:
            emit(item)
            step = _sender(flow, None)


def _sender(flow: Flow, value: Any) -> Callable[[], Any]:
    return lambda: flow.send(value)


def _thrower(flow: Flow, error: BaseException) -> Callable[[], Any]:
    return lambda: flow.throw(error)


__all__ = [
    "Candidates", "Commit", "Effect", "Encode", "Flow", "Forward", "Get", "Hold", "Load", "Measure", "Pause", "Scan",
    "Stored", "adrive", "drive",
]  # fmt: skip
