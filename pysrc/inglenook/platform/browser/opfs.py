"""A nook as one file in the browser's own file system: the log of `index/log.py` over a handle that reads and writes in
place. For the engine's worker; the methods are those of `index.store.Store`, awaited.

Several tabs may have it open. Commits take turns by a Web Lock, and each tab looks, by the file's length, whether
another has written. Compaction writes a new file, with a higher number, beside the use of the old one. Before the new
one is whole, the old one gets some bytes that are no commit, so that a tab which was not told notices, too.
"""

from __future__ import annotations

import asyncio
import errno
from array import array
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pyodide.ffi import JsException, create_proxy, to_js

from inglenook.errors import NookError
from inglenook.index.log import Log, Rewrite
from inglenook.index.store import conflict
from inglenook.platform.browser.store import Release, asked, granted

SMALL = 1 << 20
"""Bytes of garbage that are not worth a compaction."""
SLICE = 1 << 20
"""Bytes that are copied before others may go on."""
MARK = b"moved to a newer"


class OpfsStore:
    """Pages of one nook. NookError("no-opfs") where there is no such file system, NookError("locked") where another tab
    has the nook open and the browser lets only one."""

    def __init__(self, folder: Any) -> None:
        self._folder = folder
        self._log: Log
        self._number = 0
        self._listeners: list[Callable[[list[str]], None]] = []
        self._tasks: set[asyncio.Future[Any]] = set()
        self._compacting = False

    @classmethod
    async def open(cls, name: str, module: Any = None) -> OpfsStore:
        """Open the nook `name`, made if it is not there. `module` is web/lib/opfs.js if it is not registered."""
        store = cls(await asked((module or _module()).openFolder(name)))
        release = await store._lock("commit")
        try:
            await store._find(-1)
        finally:
            release()
        store._folder.changes(create_proxy(store._heard))
        return store

    @staticmethod
    async def preferred(name: str) -> str:
        """Where the nook `name` belongs: "opfs" or "indexeddb"; where it is, or where a new one is read faster."""
        return str(await asked(_module().preferred(name)))

    @staticmethod
    async def delete(name: str) -> bool:
        """Forget the nook `name`; False where another tab has it open."""
        return bool(await asked(_module().deleteFolder(name)))

    async def get(self, keys: list[str]) -> list[bytes | None]:
        return self._log.get(keys)

    async def scan(self, prefix: str) -> dict[str, bytes]:
        return self._log.scan(prefix)

    async def commit(
        self, puts: Mapping[str, bytes], deletes: Iterable[str], expect: Mapping[str, bytes | None] | None = None
    ) -> None:
        """As `Store.commit`. NookError("quota") if there is no more room: the nook is then as it was before."""
        deletes = list(deletes)
        release = await self._lock("commit")
        try:
            await self._latest()
            if expect and self._log.get(list(expect)) != list(expect.values()):
                raise conflict(self._log.name)
            self._log.append(puts, deletes)
        finally:
            release()
        self._folder.tell(to_js([*puts, *deletes]), False)
        if self._log.end > SMALL and self._log.garbage > max(SMALL, self._log.end // 2) and not self._compacting:
            self._later(self.compact())

    def changes(self, listener: Callable[[list[str]], None]) -> None:
        """Call `listener` with the keys that another tab has written or deleted, once they can be read."""
        self._listeners.append(listener)

    async def compact(self) -> bool:
        """Rewrite the file without what was replaced or deleted; reads and commits go on meanwhile. False where it
        cannot be done now: then the old file stays in use."""
        if self._compacting or not (alone := await self.lock("compact", wait=False)):
            return False
        self._compacting = True
        handle: OpfsHandle | None = None
        try:
            release = await self._lock("commit")
            try:
                await self._latest()
                number, log = self._number + 1, self._log
                handle = OpfsHandle(await asked(self._folder.open(number)))
                rewrite = Rewrite(log, handle)
            finally:
                release()
            while not rewrite.copy(SLICE):
                await asyncio.sleep(0)
            release = await self._lock("commit")
            try:
                await self._latest()
                log.handle.write(log.end, MARK)
                log.handle.flush()
                rewrite.finish()
                self._log, self._number = Log(handle, log.name), number
            finally:
                release()
        except (OSError, NookError):
            if handle:
                handle.close()
                await asked(self._folder.remove(number))
            return False
        finally:
            self._compacting = False
            alone()
        log.close()
        await asked(self._folder.remove(number - 1))
        self._folder.tell(to_js([]), True)
        return True

    async def lock(self, what: str, wait: bool = True) -> Release | None:
        """As `BrowserStore.lock`."""
        return await granted(self._folder.lock(what, False, wait))

    async def size(self) -> int:
        return self._log.end

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        self._log.close()
        self._folder.close()

    async def _lock(self, what: str, shared: bool = False) -> Release:
        release = await granted(self._folder.lock(what, shared, True))
        assert release
        return release

    async def _latest(self) -> None:
        """See what other tabs have written. With the lock for commits held."""
        handle, size = self._log.handle, self._log.handle.size()
        if size == self._log.end:
            return
        moved = handle.read(max(0, size - len(MARK)), len(MARK)) == MARK
        if not moved or not await self._find(self._number):
            self._log.refresh()

    async def _find(self, known: int) -> bool:
        """Use the newest file that is whole, if it is newer than `known`; remove the others."""
        numbers = [int(number) for number in await asked(self._folder.list())]
        for number in sorted((n for n in numbers if n > known), reverse=True) or ([0] if known < 0 else []):
            handle = OpfsHandle(await asked(self._folder.open(number)))
            try:
                log = Log(handle, f"The nook “{self._folder.name}”")
                if not log.end and known >= 0:
                    raise NookError("truncated", "A file was only begun.")
            except NookError as error:
                handle.close()
                if error.code != "truncated" or (number == min(numbers, default=0) and known < 0):
                    raise
                await asked(self._folder.remove(number))  # a compaction that was cut off, or is under way elsewhere
                continue
            if known >= 0:
                self._log.close()
            self._log, self._number = log, number
            for other in numbers:
                if other < number:
                    await asked(self._folder.remove(other))
            return True
        return False

    def _heard(self, change: Any) -> None:
        self._later(self._follow(list(change.keys)))

    async def _follow(self, keys: list[str]) -> None:
        """Another tab has written."""
        release = await self._lock("commit", shared=True)
        try:
            await self._latest()
        finally:
            release()
        for listener in self._listeners:
            if keys:
                listener(keys)

    def _later(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class OpfsHandle:
    """A `Handle` on a file of web/lib/opfs.js."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle

    def read(self, offset: int, length: int) -> bytes:
        data: bytes = self._read(self._handle.read, offset, length).to_bytes()
        return data

    def gather(self, spans: list[tuple[int, int]]) -> list[bytes]:
        numbers = array("d", [number for span in spans for number in span])
        run = self._read(self._handle.gather, to_js(numbers)).to_bytes() if spans else b""
        pieces, at = [], 0
        for _, length in spans:
            pieces.append(run[at : at + length])
            at += length
        return pieces

    def write(self, offset: int, data: bytes) -> None:
        self._done(self._handle.write, offset, to_js(memoryview(data)))

    def flush(self) -> None:
        self._done(self._handle.flush)

    def truncate(self, size: int) -> None:
        self._done(self._handle.truncate, size)

    def size(self) -> int:
        return int(self._read(self._handle.size))

    def close(self) -> None:
        self._handle.close()

    def _read(self, method: Any, *arguments: Any) -> Any:
        try:
            return method(*arguments)
        except JsException as error:
            hint = "Import a copy that was exported, or add everything again."
            raise NookError("storage-lost", f"The browser has taken a file away: {error.message}.", hint) from None

    def _done(self, method: Any, *arguments: Any) -> None:
        try:
            method(*arguments)
        except JsException as error:
            full = getattr(error, "name", "") == "QuotaExceededError"
            raise OSError(errno.ENOSPC if full else errno.EIO, str(error.message)) from None


def _module() -> Any:
    import inglenook_opfs  # type: ignore[import-not-found]

    return inglenook_opfs
