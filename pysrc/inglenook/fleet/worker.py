"""A worker as whoever uses it sees it: calls with one answer, calls with a stream of them, and that it may die.

    worker = runtime.spawn(Spec("small", "inglenook.fleet.driver:Driver", (config,)))
    worker.ready(timeout=60)
    worker.call("status")                            # or submit: a concurrent.futures.Future
    for item in worker.stream("generate", request): ...

When a worker dies, every call and stream of it ends with NookError("worker-lost"), at once; `retriable` tells such
errors from those that would come again.
"""

from __future__ import annotations

import asyncio
import itertools
import queue
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future, InvalidStateError
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import suppress
from typing import Any, Protocol, TypeGuard

from inglenook.errors import NookError
from inglenook.fleet.actor import READY, Call, Reply

LOST, SLOW = "worker-lost", "worker-slow"


class Link(Protocol):
    """The way to one actor in another process, and back."""

    def post(self, call: Call) -> None:
        """Send a call. Raises OSError or EOFError if the process is gone."""

    def receive(self) -> list[Reply]:
        """Wait for the next replies. Raises OSError or EOFError when the process is gone."""

    def kill(self) -> None:
        """End the process at once."""

    def close(self, timeout: float) -> None:
        """Let the process finish its step and end; after `timeout` seconds, end it."""


class Stream:
    """The items of one call, in the order they were sent, to be iterated over once, with or without `async`. It is as
    long as what was asked for; who does not want the rest calls `close`. `result` is what came with its end.

    What is raised: the worker's NookError, NookError("worker-lost"), and by `next` NookError("worker-slow").
    """

    def __init__(self, close: Callable[[], None]) -> None:
        self.result: Any = None
        self._replies: queue.SimpleQueue[Reply | NookError] = queue.SimpleQueue()
        self._close, self._over, self._lock = close, False, threading.Lock()
        self._give: Callable[[Reply | NookError], None] = self._replies.put

    def __iter__(self) -> Iterator[Any]:
        with suppress(StopIteration):
            while True:
                yield self.next()

    async def __aiter__(self) -> AsyncIterator[Any]:
        loop, replies = asyncio.get_running_loop(), asyncio.Queue[Reply | NookError]()
        with self._lock:
            while not self._replies.empty():
                replies.put_nowait(self._replies.get())
            self._give = lambda reply: _soon(loop, replies.put_nowait, reply)
        while not self._over:
            if self._item(reply := await replies.get()):
                yield reply.value

    def next(self, timeout: float | None = None) -> Any:
        """The next item; NookError("worker-slow") if none comes for `timeout` seconds, StopIteration at the end."""
        if self._over:
            raise StopIteration
        try:
            reply = self._replies.get(timeout=timeout)
        except queue.Empty:
            raise slow(timeout) from None
        if not self._item(reply):
            raise StopIteration
        return reply.value

    def close(self) -> None:
        """Say that nobody listens any more: the worker stops what it does for this stream."""
        if not self._over:
            self._over = True
            self._close()

    def give(self, reply: Reply | NookError) -> None:
        """Take in what came; for the worker's own thread."""
        with self._lock:
            self._give(reply)

    def _item(self, reply: Reply | NookError) -> TypeGuard[Reply]:
        """Whether it is one; else the stream is over."""
        if isinstance(reply, Reply) and reply.kind == "item":
            return True
        self._over = True
        if isinstance(reply, NookError):
            raise reply
        if reply.kind == "error":
            raise NookError(*reply.value)
        self.result = reply.value
        return False


class Worker:
    """One worker behind a link. `on_death` is called once, from another thread, when its process is gone."""

    def __init__(self, name: str, link: Link, on_death: Callable[[], None] = lambda: None) -> None:
        self.name = name
        self._link, self._on_death = link, on_death
        self._numbers = itertools.count(READY + 1)
        self._ready: Future[Any] = Future()
        self._waiting: dict[int, Future[Any] | Stream] = {READY: self._ready}
        self._lock = threading.Lock()
        self._lost = False
        self._thread = threading.Thread(target=self._listen, name=f"worker {name}", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether its process was there when last heard of."""
        return not self._lost

    @property
    def made(self) -> bool:
        """Whether its object is made, or could not be."""
        return self._ready.done()

    def ready(self, timeout: float | None = None) -> None:
        """Wait until its object is made. Raises what went wrong, NookError("worker-slow" | "worker-lost")."""
        _result(self._ready, timeout)

    def call(self, method: str, *args: Any, timeout: float | None = None) -> Any:
        """The answer to one call. Raises the worker's NookError, NookError("worker-slow" | "worker-lost")."""
        return _result(self.submit(method, *args), timeout)

    def submit(self, method: str, *args: Any) -> Future[Any]:
        """Call and do not wait."""
        future: Future[Any] = Future()
        self._send(future, method, args)
        return future

    def stream(self, method: str, *args: Any) -> Stream:
        """Call for a stream."""
        number = next(self._numbers)
        stream = Stream(lambda: self._leave(number))
        self._send(stream, method, args, number)
        return stream

    def kill(self) -> None:
        """End its process at once."""
        self._link.kill()

    def close(self, timeout: float = 10.0) -> None:
        """Let it end by itself, for `timeout` seconds."""
        self._link.close(timeout)
        self._thread.join(timeout)

    def _send(
        self, receiver: Future[Any] | Stream, method: str, args: tuple[Any, ...], number: int | None = None
    ) -> None:
        number = next(self._numbers) if number is None else number
        with self._lock:
            if not self._lost:
                self._waiting[number] = receiver
        if self._lost:
            _fail(receiver, self._gone())
            return
        try:
            self._link.post(Call(number, method, args, isinstance(receiver, Stream)))
        except (OSError, EOFError):
            self._bury()

    def _leave(self, number: int) -> None:
        self._waiting.pop(number, None)
        with suppress(OSError, EOFError):
            self._link.post(Call(number, ""))

    def _listen(self) -> None:
        try:
            while True:
                for reply in self._link.receive():
                    self._hear(reply)
        except (OSError, EOFError):
            self._bury()

    def _hear(self, reply: Reply) -> None:
        receiver = self._waiting.get(reply.number)
        if reply.kind != "item":
            self._waiting.pop(reply.number, None)
        if isinstance(receiver, Stream):
            receiver.give(reply)
        elif receiver is not None:
            with suppress(InvalidStateError):
                if reply.kind == "error":
                    receiver.set_exception(NookError(*reply.value))
                else:
                    receiver.set_result(reply.value)

    def _bury(self) -> None:
        with self._lock:
            first, self._lost = not self._lost, True
            left, self._waiting = [*self._waiting.values()], {}
        for receiver in left:
            _fail(receiver, self._gone())
        if first:
            self._on_death()

    def _gone(self) -> NookError:
        return NookError(LOST, f"The worker {self.name} ended.", "Ask again.")


def retriable(error: NookError) -> bool:
    """Whether the same request may succeed if it is made again."""
    return error.code in (LOST, SLOW)


def slow(timeout: float | None) -> NookError:
    """The error of a worker that does not answer in time."""
    return NookError(SLOW, f"A worker did not answer within {timeout} s.", "Ask again.")


def _result(future: Future[Any], timeout: float | None) -> Any:
    try:
        return future.result(timeout)
    except FutureTimeout:
        raise slow(timeout) from None


def _fail(receiver: Future[Any] | Stream, error: NookError) -> None:
    if isinstance(receiver, Stream):
        receiver.give(error)
    else:
        with suppress(InvalidStateError):
            receiver.set_exception(error)


def _soon(loop: asyncio.AbstractEventLoop, call: Callable[[Any], None], value: Any) -> None:
    with suppress(RuntimeError):  # the loop is closed: nobody listens
        loop.call_soon_threadsafe(call, value)
