"""A nook in IndexedDB: the store of the tab, with the methods of `index.store.Store`, awaited.

What is done stands in web/lib/store.js; this turns pages, errors and lists into those of the other language.
web/worker.js registers that module as `inglenook_store` before the engine starts.
"""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import js
from pyodide.ffi import JsException, create_proxy, to_js

from inglenook.errors import NookError

Release = Callable[[], object]
"""Lets go of a lock."""


class BrowserStore:
    """Pages of one nook; `handle` is the JavaScript `Store`. Raises NookError with the codes documented there."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle

    @classmethod
    async def open(cls, name: str, module: Any = None) -> BrowserStore:
        """Open the nook `name`, made if it is not there. `module` is web/lib/store.js if it is not registered."""
        return cls(await asked((module or _module()).openStore(name)))

    @staticmethod
    async def delete(name: str) -> None:
        """Forget the nook `name`; other tabs that have it open lose it."""
        await asked(_module().deleteStore(name))

    @property
    def status(self) -> str:
        """ "stored" in this browser, or "not-stored": in memory, gone with the tab."""
        return str(self._handle.status)

    @property
    def reason(self) -> str:
        """Why nothing is stored, "" if it is."""
        return str(self._handle.reason)

    @property
    def generation(self) -> int:
        """Commits so far, by all tabs, as this one knows."""
        return int(self._handle.generation)

    async def get(self, keys: list[str]) -> list[bytes | None]:
        if not keys:
            return []
        return unjoined(await asked(self._handle.gather("\n".join(keys))))

    async def scan(self, prefix: str) -> dict[str, bytes]:
        found = await asked(self._handle.scan(prefix))
        return {key: page.to_bytes() for key, page in zip(found.keys, found.pages, strict=True)}

    async def commit(
        self, puts: Mapping[str, bytes], deletes: Iterable[str], expect: Mapping[str, bytes | None] | None = None
    ) -> None:
        pages = to_js([memoryview(page) for page in puts.values()])
        await asked(self._handle.commit(to_js(list(puts)), pages, to_js(list(deletes)), _expected(expect)))

    def changes(self, listener: Callable[[list[str]], None], lost: Callable[[], None] | None = None) -> None:
        """Call `listener` with the keys another tab has written or deleted, `lost` if the browser threw all away."""

        def heard(change: Any) -> None:
            if getattr(change, "lost", False):
                if lost:
                    lost()
            else:
                listener(list(change.keys))

        self._handle.changes(create_proxy(heard))

    async def lock(self, what: str, wait: bool = True) -> Release | None:
        """Wait for a lock that all tabs with this nook share. None if it is taken and `wait` is False."""
        return await granted(self._handle.lock(what, wait))

    async def size(self) -> int:
        return int(await asked(self._handle.size()))

    async def persist(self) -> bool:
        """Ask the browser never to clear this nook by itself; whether it agreed."""
        return bool(await asked(self._handle.persist()))

    async def estimate(self) -> tuple[int, int, bool]:
        """Bytes this site takes, bytes it may take, and whether the browser promised not to clear them."""
        found = await asked(self._handle.estimate())
        return int(found.usage), int(found.quota), bool(found.persisted)

    def close(self) -> None:
        self._handle.close()


async def asked(promise: Any) -> Any:
    """What a promise gives; its NookError as ours."""
    try:
        return await promise
    except JsException as error:
        code, hint = getattr(error, "code", None), getattr(error, "hint", "")
        if isinstance(code, str):
            raise NookError(code, str(error.message), str(hint)) from None
        text = f"The browser's storage failed: {error}"
        raise NookError("storage", text, "Reload the page; what was stored is safe.") from None


async def granted(ticket: Any) -> Release | None:
    """The lock that a ticket (web/lib/lock.js) is for. Who is stopped while waiting does not get it any more."""
    try:
        release: Release | None = await asked(ticket.granted)
        return release
    except asyncio.CancelledError:
        ticket.stop()
        raise


async def everywhere(store: Any, what: str, release: Release) -> Release:
    """A lock that this tab has already, in all tabs with this nook: one that lets go of both."""
    try:
        theirs = await store.lock(what)
    except BaseException:
        release()
        raise

    def both() -> None:
        theirs()
        release()

    return both


def _module() -> Any:
    import inglenook_store  # type: ignore[import-not-found]

    return inglenook_store


def unjoined(found: Any) -> list[bytes | None]:
    """Pages out of one run of bytes, which crosses in one piece: a hundred of them cost what one does, nearly."""
    run, lengths = found.bytes.to_bytes(), array("i", found.lengths.to_bytes())
    pages: list[bytes | None] = []
    at = 0
    for length in lengths:
        pages.append(None if length < 0 else run[at : at + length])
        at += max(length, 0)
    return pages


def _expected(expect: Mapping[str, bytes | None] | None) -> Any:
    """`expect` of a commit for JavaScript, where None is undefined."""
    if not expect:
        return None
    pages = to_js([None if page is None else memoryview(page) for page in expect.values()])
    return js.Object.fromEntries(to_js([["keys", list(expect)], ["pages", pages]]))
