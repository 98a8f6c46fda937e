"""An object that lives in a process of its own: calls come in, answers and streams go out, between calls it works on.

    class Counter:
        def add(self, n): ...                  # a call has one answer
        def count(self, out, to): ...          # a streaming call is given where its items go: out.send(…), out.end()
        def step(self) -> bool: ...            # if there is one: a piece of work; whether there is more to do

One thread does all of it, so the object needs no locks, and a call waits for one step at most. Runtimes carry `Call`
and `Reply` between processes; this module knows neither pipes nor clusters.
"""

from __future__ import annotations

import queue
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from inglenook.errors import NookError

READY = 0
"""The number of the reply that says that the object is made, or why not."""
PING = "?"
"""The method of a call that only wants an answer: an object that works between calls gives one after each step."""


@dataclass(frozen=True, slots=True)
class Call:
    """Call `method` with `args`. `streams`: the first argument is where items go. Without a method it says that nobody
    listens to call `number` any more."""

    number: int
    method: str
    args: tuple[Any, ...] = ()
    streams: bool = False


@dataclass(frozen=True, slots=True)
class Reply:
    """What comes of a call: its "value", an "item" of its stream, the "end" of it, or an "error" (code, message,
    hint)."""

    number: int
    kind: Literal["value", "item", "end", "error"]
    value: Any = None


class Out:
    """Where a streaming call's items go. `closed` once it has ended or nobody listens; then `on_close` was called, if
    it was the listener who went."""

    def __init__(self, number: int, emit: Callable[[Reply], None]) -> None:
        self.closed = False
        self.on_close: Callable[[], None] = lambda: None
        self._number, self._emit = number, emit

    def send(self, item: Any) -> None:
        """One more item."""
        self._say("item", item)

    def end(self, result: Any = None) -> None:
        """That was all; `result` is what came of it as a whole."""
        self._say("end", result)
        self.closed = True

    def fail(self, error: Exception) -> None:
        """Something went wrong."""
        self._say("error", told(error))
        self.closed = True

    def _say(self, kind: Literal["item", "end", "error"], value: Any) -> None:
        if not self.closed:
            self._emit(Reply(self._number, kind, value))


class Actor:
    """Makes the object and runs it until `post(None)`. `emit` is given the replies."""

    def __init__(self, make: Callable[[], Any], emit: Callable[[Reply], None]) -> None:
        self._make, self._emit = make, emit
        self._inbox: queue.SimpleQueue[Call | None] = queue.SimpleQueue()
        self._streams: dict[int, Out] = {}

    def post(self, call: Call | None) -> None:
        """Hand in a call, from any thread."""
        self._inbox.put(call)

    def run(self) -> None:
        """Work until told to stop. What goes wrong in a call is its answer; in a step, the end of all."""
        try:
            target = self._make()
        except Exception as error:
            self._emit(Reply(READY, "error", told(error)))
            return
        self._emit(Reply(READY, "value"))
        step: Callable[[], bool] | None = getattr(target, "step", None)
        busy = False
        while True:
            try:
                call = self._inbox.get(block=not busy)
            except queue.Empty:
                busy = bool(step and step())
                continue
            if call is None:
                return
            self._answer(target, call)
            busy = step is not None

    def _answer(self, target: Any, call: Call) -> None:
        if not call.method:
            if (out := self._streams.pop(call.number, None)) and not out.closed:
                out.closed = True
                out.on_close()
            return
        if call.method == PING:
            self._emit(Reply(call.number, "value"))
            return
        self._streams = {number: out for number, out in self._streams.items() if not out.closed}
        out = Out(call.number, self._emit)
        try:
            if call.streams:
                self._streams[call.number] = out
                getattr(target, call.method)(out, *call.args)
            else:
                self._emit(Reply(call.number, "value", getattr(target, call.method)(*call.args)))
        except Exception as error:
            out.fail(error)


def told(error: Exception) -> tuple[str, str, str]:
    """An error as it crosses to another process."""
    if isinstance(error, NookError):
        return error.code, error.message, error.hint
    return "worker-failed", f"{type(error).__name__}: {error}", "This is a defect: report it."
