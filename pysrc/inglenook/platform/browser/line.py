"""One user of the engine: messages in, flows on the nook it has opened, events out."""

from __future__ import annotations

import asyncio
import traceback
from typing import Any

import js
from pyodide.ffi import to_js

from inglenook.errors import NookError
from inglenook.flow import eager
from inglenook.library import Library
from inglenook.platform.browser.store import BrowserStore
from inglenook.wire import codec
from inglenook.wire import messages as wire


class Opened:
    """A nook of an `Engine` that is open: its library and store, and who uses it. It closes when nobody does."""

    def __init__(self, engine: Any, name: str) -> None:
        self._engine, self.name = engine, name
        self.library = Library(model=engine.model)
        self.store: BrowserStore | None = None
        self.lines: set[Line] = set()
        self.fresh: asyncio.Task[None] | None = None  # done when all that other tabs announced is read
        self._opening = asyncio.Lock()
        self._read = asyncio.Event()

    async def open(self, line: Line, stream: str) -> None:
        """Open it for a line, whose stream hears Progress and Status. What failed to open is tried again."""
        self.lines.add(line)
        async with self._opening:
            if self.store is None:
                self.store = await BrowserStore.open(self.name)
                self.store.changes(self._changed, self._closed)
            if self._read.is_set():
                await line.drive(self.library.handle(wire.Look()), stream)
                return
            await line.drive(self.library.open(self.name), stream)
            self._read.set()

    def leave(self, line: Line) -> None:
        """A line is gone."""
        self.lines.discard(line)
        if not self.lines and self._engine.nooks.get(self.name) is self:
            del self._engine.nooks[self.name]
            if self.store:
                self.store.close()

    def tell(self, but: Line | None = None) -> None:
        """The library is not what it was: whoever uses it may ask for the list anew."""
        for line in self.lines - {but}:
            line.send('{"type": "Changed"}', to_js([]))  # no stream's

    def _changed(self, keys: list[str]) -> None:
        """Another tab wrote these pages; what is asked from now on waits until they are read."""
        self.fresh = asyncio.ensure_future(self._refresh(keys, self.fresh))

    def _closed(self) -> None:
        """The browser closed the database, perhaps with all that was in it: see what is still there."""
        self._changed([f"d/{document}" for document in self.library.entries])

    async def _refresh(self, keys: list[str], before: asyncio.Task[None] | None) -> None:
        """Read pages again, after those announced earlier. Lost storage is raised here and in all that waits for it."""
        await self._read.wait()
        if before:
            await before
        try:
            await self._engine.drive(self.library.refresh(keys), lambda event: None, self)
        except Exception as error:  # one damaged document: the others go on
            if getattr(error, "code", "") == "storage-lost":
                raise
            js.console.error(traceback.format_exc())
        self.tell()


class Line:
    """One user, and the streams it has started."""

    def __init__(self, engine: Any, send: Any) -> None:
        self._engine, self.send = engine, send
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._opened: asyncio.Event = asyncio.Event()
        self._nook: Opened | None = None

    def receive(self, text: str, blobs: Any) -> None:
        """A message from the page; never raises."""
        try:
            message, stream = codec.load(text, [blob.to_bytes() for blob in blobs])
        except NookError as error:
            stream = str(js.JSON.parse(text).id)
            self._post(wire.Failed(error.code, error.message, error.hint), stream)
            return
        if isinstance(message, wire.Cancel):
            task = self._tasks.get(message.stream)
            if task:
                task.cancel()
        elif isinstance(message, wire.Request):
            task = eager(self._run(message, stream))
            if not task.done():
                self._tasks[stream] = task

    def leave(self) -> None:
        """The user is gone: what is under way for it stops."""
        for task in list(self._tasks.values()):
            task.cancel()
        if self._nook:
            self._nook.leave(self)

    async def drive(self, flow: Any, stream: str) -> None:
        """Run a flow whose events go to a stream."""

        def emit(event: object) -> None:
            assert isinstance(event, wire.Event)
            self._post(event, stream)

        assert self._nook
        await self._engine.drive(flow, emit, self._nook, self)

    async def _run(self, request: wire.Request, stream: str) -> None:
        end: wire.Event
        try:
            if isinstance(request, wire.Open):
                await self._open(request, stream)
            else:
                await self._opened.wait()
                assert self._nook
                if self._nook.fresh:
                    await asyncio.shield(self._nook.fresh)
                await self.drive(self._nook.library.handle(request), stream)
            end = wire.Done()
        except asyncio.CancelledError:
            end = wire.Cancelled()
        except NookError as error:
            end = wire.Failed(error.code, error.message, error.hint)
        except Exception as error:  # a defect of ours: say so, keep the engine up
            js.console.error(traceback.format_exc())
            end = wire.Failed("internal", f"Something in the engine broke: {error}", "Please report this.")
        self._tasks.pop(stream, None)
        self._post(end, stream)

    async def _open(self, request: wire.Open, stream: str) -> None:
        if request.model:
            self._engine.write_with(request.model)
        self._nook = self._engine.nooks.setdefault(request.name, Opened(self._engine, request.name))
        await self._nook.open(self, stream)
        if not self._opened.is_set():
            self._opened.set()
            self._tasks[""] = asyncio.ensure_future(self._run(wire.Prepare("encoder"), ""))  # nobody waits for it

    def _post(self, event: wire.Event, stream: str) -> None:
        if stream:
            text, blobs = codec.dump(event, stream)
            self.send(text, to_js([to_js(blob) for blob in blobs]))
