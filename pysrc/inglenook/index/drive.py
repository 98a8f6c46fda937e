"""The drivers of a collection's flows: over a store that answers at once, and over one that is awaited."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from inglenook.flow import Commit, Effect, Flow, Get, Hold, Pause, Scan, adrive
from inglenook.index.store import Change, Store

Hear = Callable[[object], None]


class AsyncStore(Protocol):
    """`Store`, awaited."""

    def get(self, keys: list[str]) -> Awaitable[list[bytes | None]]: ...
    def scan(self, prefix: str) -> Awaitable[dict[str, bytes]]: ...
    def commit(self, puts: Any, deletes: Any, expect: Any = None) -> Awaitable[None]: ...


def run(flow: Flow, store: Store, hear: Hear | None = None) -> Any:
    """Run a flow to its end and return its result; `hear` gets its events."""
    answer: Any = None
    error: BaseException | None = None
    while True:
        try:
            item = flow.throw(error) if error else flow.send(answer)
        except StopIteration as stop:
            return stop.value
        answer = error = None
        try:
            match item:
                case Pause():
                    pass
                case Get(keys):
                    answer = store.get(keys)
                case Scan(prefix):
                    answer = store.scan(prefix)
                case Change(puts, deletes, expect):
                    store.commit(puts, deletes, expect)
                case Commit(puts, deletes):
                    store.commit(puts, deletes)
                case Hold():
                    answer = _nothing
                case Effect():
                    raise TypeError(f"no driver for {item}")
                case _ if hear:
                    hear(item)
        except BaseException as raised:  # thrown into the flow, which decides
            error = raised


class Driver:
    """Runs flows on an awaited store, several at a time."""

    def __init__(self, store: AsyncStore) -> None:
        self.store = store
        self._locks: dict[str, asyncio.Lock] = {}

    async def run(self, flow: Flow, hear: Hear | None = None) -> Any:
        """Run a flow to its end and return its result."""
        return await adrive(flow, self.perform, hear or _nothing)

    async def perform(self, effect: Effect) -> Any:
        """Answer an effect."""
        match effect:
            case Pause():
                return await asyncio.sleep(0)
            case Get(keys):
                return await self.store.get(keys)
            case Scan(prefix):
                return await self.store.scan(prefix)
            case Change(puts, deletes, expect):
                return await self.store.commit(puts, deletes, expect)
            case Commit(puts, deletes):
                return await self.store.commit(puts, deletes)
            case Hold(what):
                lock = self._locks.setdefault(what, asyncio.Lock())
                await lock.acquire()
                return lock.release
        raise TypeError(f"no driver for {effect}")


def _nothing(*_: object) -> None:
    pass
