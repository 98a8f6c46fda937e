"""The gateway: one nook behind a WebSocket, and the site beside it on the same origin.

The protocol is `wire.session`; this module only moves its frames. Each request is a flow on the event loop whose heavy
effects run in threads. A stream whose reader is slow stops at its next effect until the reader has caught up, so what
waits to be sent stays small; one that doesn't read at all is ended.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

import inglenook
from inglenook.errors import NookError
from inglenook.nook import Nook
from inglenook.serve.site import Site
from inglenook.wire import frames, session
from inglenook.wire import messages as wire

WAITING = 64  # frames of a stream that may wait to be sent
PATIENCE = 30.0  # seconds that a reader may take none
CHANGES: tuple[type[wire.Request], ...] = (wire.Add, wire.Remove, wire.Import)

GONE = (WebSocketDisconnect, ConnectionError, RuntimeError)  # what sending to a client that left may raise

log = logging.getLogger("inglenook.serve")
_clients = count(1)


@dataclass(frozen=True)
class Rules:
    """Who may do what. `origins` are the pages that may connect ("*": all); programs that name no origin may too."""

    origins: frozenset[str] = frozenset()
    writable: bool = True
    streams: int = session.MOST
    largest: int = frames.LARGEST
    waiting: int = WAITING
    patience: float = PATIENCE


def app(nook: Nook, rules: Rules = Rules(), site: Path | None = None) -> Starlette:
    """The application: `/ws`, `/healthz`, and the files of `site`."""

    async def socket(websocket: WebSocket) -> None:
        await Connection(nook, rules, websocket).run()

    async def health(_: Request) -> JSONResponse:
        status = nook.library.status()
        body = {
            "status": "ok",
            "version": inglenook.__version__,
            "documents": status.documents,
            "chunks": status.chunks,
        }
        return JSONResponse(body, headers={"Cache-Control": "no-store"})

    routes: list[BaseRoute] = [WebSocketRoute("/ws", socket), Route("/healthz", health)]
    if site is not None:
        routes.append(Mount("/", Site(site)))
    return Starlette(routes=routes)


class Connection:
    """One client: reads its frames, runs its streams, sends what they say."""

    def __init__(self, nook: Nook, rules: Rules, websocket: WebSocket) -> None:
        self.nook = nook
        self.rules = rules
        self.websocket = websocket
        self.session = session.Session(rules.streams, rules.largest, () if rules.writable else CHANGES)
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self.name = f"client {next(_clients)}"
        self._sending = asyncio.Lock()

    async def run(self) -> None:
        """Serve the client until it goes or breaks the protocol."""
        origin = self.websocket.headers.get("origin")
        if origin is not None and "*" not in self.rules.origins and origin.lower() not in self.rules.origins:
            log.warning("refused a page of %s", origin[:200])
            await self.websocket.close(1008, "this page's origin is not allowed")
            return
        try:
            await self.websocket.accept(session.choose(self.websocket.scope["subprotocols"]))
        except NookError as error:
            await self.websocket.close(1002, error.message[:100])
            return
        try:
            await self._read()
        except GONE:
            pass
        finally:
            tasks = list(self.tasks.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _read(self) -> None:
        while True:
            message = await self.websocket.receive()
            if message["type"] == "websocket.disconnect":
                return
            data = message.get("bytes")
            for action in self.session.receive(message["text"] if data is None else data):
                match action:
                    case session.Start(stream, request):
                        task = asyncio.create_task(self._answer(stream, request))
                        self.tasks[stream] = task
                        task.add_done_callback(partial(self._over, stream))
                    case session.Stop(stream):
                        if stream in self.tasks:
                            self.tasks[stream].cancel()
                    case session.Say(frame):
                        await self._send(frame)
                    case session.Close(code, reason):
                        await self.websocket.close(code, reason)
                        return

    async def _answer(self, stream: str, request: wire.Request) -> None:
        """Run a request's flow and send its events and its end."""
        outlet = Outlet(self._send, self.rules.waiting, self.rules.patience)

        def emit(event: object) -> None:
            if isinstance(event, wire.Event):
                frame = self.session.event(stream, event)
                if frame is not None:
                    outlet.put(frame)

        end: wire.Event
        try:
            await self._work(request, emit, outlet)
            end = wire.Done()
        except asyncio.CancelledError:
            end = (
                wire.Failed("slow", "The answer was not being read.", "Ask again.")
                if outlet.stalled
                else wire.Cancelled()
            )
            outlet.drop()
        except NookError as error:
            end = session.failed(error)
        except Exception as error:
            log.exception("a %s failed", type(request).__name__)
            end = session.failed(error)
        emit(end)
        with suppress(asyncio.CancelledError):
            await outlet.finish()

    async def _work(self, request: wire.Request, emit: Callable[[object], None], outlet: Outlet) -> None:
        if isinstance(request, wire.Open):  # a server has one nook, which is open
            request = wire.Look()
        elif isinstance(
            request, (wire.Ask, wire.Write, wire.Chat)
        ):  # clients take turns, whatever their apps are called
            request = replace(request, app=f"{self.name} {request.app}")

        async def ready() -> None:
            if not outlet.open:
                await outlet.room()

        await self.nook.astream(request, emit, ready)

    def _over(self, stream: str, task: asyncio.Task[None]) -> None:
        if self.tasks.get(stream) is task:
            del self.tasks[stream]

    async def _send(self, frame: str | bytes) -> None:
        async with self._sending:
            if isinstance(frame, str):
                await self.websocket.send_text(frame)
            else:
                await self.websocket.send_bytes(frame)


class Outlet:
    """Frames of one stream on their way out, in order; `room` waits while too many do."""

    def __init__(self, send: Callable[[str | bytes], Any], most: int, patience: float) -> None:
        self._send = send
        self._most = most
        self._patience = patience
        self._frames: deque[str | bytes] = deque()
        self._room = asyncio.Event()
        self._room.set()
        self._pump: asyncio.Task[None] | None = None
        self._gone = False
        self.stalled = False

    def put(self, frame: str | bytes) -> None:
        """Have a frame sent."""
        self._frames.append(frame)
        if len(self._frames) >= self._most:
            self._room.clear()
        if self._pump is None or self._pump.done():
            self._pump = asyncio.create_task(self._run())

    def drop(self) -> None:
        """Forget what has not been sent."""
        self._frames.clear()

    @property
    def open(self) -> bool:
        """Whether there is room."""
        return self._room.is_set()

    async def room(self) -> None:
        """Wait until there is room. Raises CancelledError if the reader takes too long; `stalled` then tells."""
        if self._gone:
            raise asyncio.CancelledError
        try:
            await asyncio.wait_for(self._room.wait(), self._patience)
        except TimeoutError:
            self.stalled = True
            raise asyncio.CancelledError from None

    async def finish(self) -> None:
        """Wait until all has been sent."""
        if self._pump is not None:
            try:
                await self._pump
            finally:
                self._pump.cancel()

    async def _run(self) -> None:
        while self._frames:
            frame = self._frames.popleft()
            if len(self._frames) < self._most and not self._gone:
                self._room.set()
            try:
                await self._send(frame)
            except GONE:  # the work is stopped at its next effect
                self._gone = True
                self._room.clear()
                self.drop()
