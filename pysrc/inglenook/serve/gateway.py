"""The gateway: one nook, and perhaps a fleet, behind a WebSocket, OpenAI's HTTP beside it, the site on the same origin.

The protocol is `wire.session`; this module only moves its frames, `client` runs what they ask for.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

import inglenook
from inglenook.errors import NookError
from inglenook.nook import Nook
from inglenook.serve import metrics, openai
from inglenook.serve.access import LIFE, Guard, Rules, Tickets, refused
from inglenook.serve.client import Away, Client
from inglenook.serve.site import Site
from inglenook.serve.watch import Watch
from inglenook.wire import session

if TYPE_CHECKING:
    from inglenook.serve.fleet import Fleet

GONE = (WebSocketDisconnect, ConnectionError, RuntimeError)  # what sending to a client that left may raise
PAGE = Path(__file__).parent / "page"
TAKEN_OVER = 4001  # of RFC 6455's private range: the client has another connection

log = logging.getLogger("inglenook.serve")


def app(nook: Nook, rules: Rules = Rules(), site: Path | None = None, fleet: Fleet | None = None) -> Starlette:  # noqa: B008
    """The application: `/ws`, OpenAI's `/v1/…`, `/ticket`, `/healthz`, `/metrics`, `/operator`, the files of `site`."""
    watch = Watch(nook, fleet)
    tickets, away = Tickets(), Away(rules.keep)

    async def socket(websocket: WebSocket) -> None:
        await Connection(watch, rules, tickets, away, websocket).run()

    async def told(request: Request) -> Response:
        watch.away = len(away)
        if request.url.path.endswith(".json"):
            return JSONResponse(watch.snapshot())
        return PlainTextResponse(metrics.exposition(watch.families()), media_type=metrics.TYPE)

    async def ticket(_: Request) -> JSONResponse:
        try:
            return JSONResponse({"ticket": tickets.mint(), "seconds": LIFE})
        except NookError as error:
            return refused(error)

    async def health(_: Request) -> JSONResponse:
        status = nook.library.status()
        body = {
            "status": "ok",
            "version": inglenook.__version__,
            "documents": status.documents,
            "chunks": status.chunks,
        }
        return JSONResponse(body, headers={"Cache-Control": "no-store"})

    routes: list[BaseRoute] = [
        WebSocketRoute("/ws", socket),
        Route("/healthz", health),
        Route("/ticket", ticket, methods=["POST"]),
        Route("/metrics", told),
        Route("/metrics.json", told),
        Route("/operator", lambda _: RedirectResponse("./operator/")),
        Mount("/operator", Site(PAGE)),
        *openai.routes(watch, rules),
    ]
    if site is not None:
        routes.append(Mount("/", Site(site)))
    return Starlette(routes=routes, middleware=[Middleware(Guard, rules)])


class Connection:
    """One WebSocket: lets a client in, reads its frames, sends what its session says."""

    def __init__(self, watch: Watch, rules: Rules, tickets: Tickets, away: Away, websocket: WebSocket) -> None:
        self.rules, self.tickets, self.away = rules, tickets, away
        self.websocket = websocket
        self.watch, self.client = watch, Client(watch, rules)
        self._left = False

    async def run(self) -> None:
        """Serve the client until it goes, breaks the protocol or is idle for too long."""
        if not await self._accept():
            return
        self._take(self.client)
        self.watch.connections += 1
        sending = asyncio.create_task(self._send())
        try:
            await self._read()
        except GONE:
            pass
        finally:
            self.watch.connections -= 1
            sending.cancel()
            [error] = await asyncio.gather(sending, return_exceptions=True)
            if isinstance(error, Exception) and not isinstance(error, GONE):
                log.error("a connection failed", exc_info=error)
            if not self._left:
                self.client.leave = None
                self.away.lost(self.client)

    async def _accept(self) -> bool:
        origin, offered = self.websocket.headers.get("origin"), self.websocket.scope["subprotocols"]
        if not self.rules.allows(origin):
            log.warning("refused a page of %s", (origin or "")[:200])
            await self.websocket.close(session.POLICY, "this page's origin is not allowed")
            return False
        try:
            protocol = session.choose(offered)
        except NookError as error:
            await self.websocket.close(session.PROTOCOL_ERROR, error.message[:100])
            return False
        if self.rules.key and not self._knows(offered):
            log.warning("refused a client without a key or ticket")
            await self.websocket.close(session.POLICY, "a ticket is needed")
            return False
        await self.websocket.accept(protocol)
        return True

    def _knows(self, offered: list[str]) -> bool:
        """Programs can send the key itself; pages have a ticket."""
        return self.tickets.redeem(offered) or self.rules.knows(self.websocket.headers.get("authorization", ""))

    def _take(self, client: Client) -> None:
        """From now on this is the client's connection."""
        before, self.client = self.client, client
        client.leave = self._leave
        before.ready.set()  # who sends looks up from it
        client.ready.set()

    def _leave(self) -> None:
        """The client has another connection."""
        self._left = True
        self.client.ready.set()

    async def _read(self) -> None:
        while not self._left:
            try:
                async with asyncio.timeout(self.rules.idle):
                    message = await self.websocket.receive()
            except TimeoutError:
                if self.client.idle:
                    await self.websocket.close(1000, "nothing was asked for a while")
                    return
                continue
            if message["type"] == "websocket.disconnect" or self._left:
                return
            data = message.get("bytes")
            for action in self.client.session.receive(message["text"] if data is None else data):
                if isinstance(action, session.Close):
                    await self.websocket.close(action.code, action.reason)
                    return
                self._act(action)
            self.client.ready.set()
            self.client.moved()
            while self.client.session.crowded:
                await self.client.movement()

    def _act(self, action: session.Start | session.Stop | session.Attach) -> None:
        match action:
            case session.Start(stream, request):
                self.client.start(stream, request)
            case session.Stop(stream):
                self.client.stop(stream)
            case session.Attach(stream, "", _):
                self.client.session.attach(stream, self.away.name(self.client), 1e3 * self.rules.keep)
            case session.Attach(stream, token, seen):
                self._resume(stream, token, seen)

    def _resume(self, stream: str, token: str, seen: dict[str, int]) -> None:
        try:
            client = self.away.back(token)
        except NookError as error:
            self.client.session.fail(stream, error)
            return
        self._take(client)
        for action in client.session.resume(stream, token, seen, 1e3 * self.rules.keep):
            if isinstance(action, session.Stop):
                client.stop(action.stream)

    async def _send(self) -> None:
        while True:
            client = self.client
            if self._left:
                await self.websocket.close(TAKEN_OVER, "another connection has this session")
                return
            frame = client.session.sending()
            if frame is None:
                client.ready.clear()
                await client.ready.wait()
            else:
                if isinstance(frame, str):
                    await self.websocket.send_text(frame)
                else:
                    await self.websocket.send_bytes(frame)
                client.moved()
