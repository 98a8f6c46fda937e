"""Who may come in, and how much they may have: origins of pages, a key, tickets that stand for it once.

A browser cannot put a header on a WebSocket, so a page asks for a ticket with the key (`POST /ticket`) and names it
among the subprotocols. A ticket is good once and for a minute; neither stands in a URL, which logs would keep.
"""

from __future__ import annotations

import hmac
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from inglenook.errors import NookError
from inglenook.wire import frames, session

PATIENCE = 30.0  # seconds that a reader may take nothing
KEEP = 60.0  # seconds a client without a connection is waited for, if it asked for that
IDLE = 600.0  # seconds a connection may ask for nothing while nothing is answered
GUARDED = ("/v1/", "/ticket", "/metrics")
LIFE = 60.0  # seconds a ticket is good for
MOST = 4096  # tickets that are good at once
PREFIX = "ticket."
STATUS = {
    "key": 401, "origin": 403, "no-model": 404, "method": 405, "too-large": 413, "busy": 429, "quota": 429,
    "model-missing": 503, "kernel-missing": 503, "memory": 503, "worker-died": 503, "slow": 503, "internal": 500,
    "worker-lost": 503, "worker-slow": 503, "worker-down": 503, "worker-failed": 500, "forward": 500,
    "model-corrupt": 500, "fleet-full": 503, "fleet-down": 503, "network-busy": 503, "fetch": 503,
}  # fmt: skip


@dataclass(frozen=True)
class Rules:
    """Who may do what. `origins` are the pages that may connect ("*": all); programs that name no origin may too. With
    a `key` only who knows it may ask for anything."""

    origins: frozenset[str] = frozenset()
    writable: bool = True
    streams: int = session.MOST
    largest: int = frames.LARGEST
    waiting: int = session.WINDOW
    patience: float = PATIENCE
    keep: float = KEEP
    idle: float = IDLE
    key: str = ""

    def allows(self, origin: str | None) -> bool:
        """Whether a page of this origin may ask for anything."""
        return origin is None or "*" in self.origins or origin.lower() in self.origins

    def knows(self, authorization: str) -> bool:
        """Whether a header's value tells the key. It takes as long for a wrong key as for a right one."""
        scheme, _, told = authorization.partition(" ")
        return not self.key or (
            scheme.lower() == "bearer" and hmac.compare_digest(told.strip().encode(), self.key.encode())
        )


class Tickets:
    """Tickets that were given out and not used yet, with when they end; `clock` in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._good: dict[str, float] = {}  # the oldest first

    def mint(self) -> str:
        """A new one. Raises NookError("busy") if too many are out."""
        now = self._clock()
        for ticket, ends in list(self._good.items()):
            if ends > now:
                break
            del self._good[ticket]
        if len(self._good) >= MOST:
            raise NookError("busy", "Too many tickets are out.", f"Ask again in {LIFE:g} s.")
        ticket = secrets.token_urlsafe(32)
        self._good[ticket] = now + LIFE
        return ticket

    def redeem(self, offered: Iterable[str]) -> bool:
        """Whether a good one is among a WebSocket's subprotocols; it is not any more then."""
        named = [name.removeprefix(PREFIX) for name in offered if name.startswith(PREFIX)]
        return len(named) == 1 and self._good.pop(named[0], 0.0) > self._clock()


def refused(error: NookError) -> JSONResponse:
    """An error in the shape that OpenAI's clients read, with the hint beside the message."""
    status = STATUS.get(error.code, 400)
    kind = "invalid_request_error" if status < 429 else "rate_limit_error" if status == 429 else "server_error"
    message = f"{error.message} {error.hint}".strip()
    told = {"message": message, "type": kind, "param": None, "code": error.code, "hint": error.hint}
    return JSONResponse({"error": told}, status)


class Guard:
    """Lets through to the guarded paths who may come in, and tells browsers which pages may read the answers (CORS)."""

    def __init__(self, app: ASGIApp, rules: Rules) -> None:
        self._app = app
        self._rules = rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(GUARDED):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        origin = headers.get("origin")

        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer = MutableHeaders(scope=message)
                answer["Cache-Control"] = "no-store"
                answer.add_vary_header("Origin")
                if origin is not None and self._rules.allows(origin):
                    answer["Access-Control-Allow-Origin"] = origin
            await send(message)

        await self._answer(scope["method"], origin, headers)(scope, receive, told)

    def _answer(self, method: str, origin: str | None, headers: Headers) -> ASGIApp:
        if not self._rules.allows(origin):
            return refused(NookError("origin", "This page's origin is not allowed.", "Start it with --origin URL."))
        if method == "OPTIONS":
            allowed = {"Access-Control-Allow-Methods": "GET, POST", "Access-Control-Max-Age": "600"}
            asked = headers.get("access-control-request-headers", "")
            return Response(status_code=204, headers={**allowed, "Access-Control-Allow-Headers": asked})
        if not self._rules.knows(headers.get("authorization", "")):
            hint = "Send it as `Authorization: Bearer KEY`; it is what --key of `inglenook serve` names."
            wrong = refused(NookError("key", "The key is missing or wrong.", hint))
            wrong.headers["WWW-Authenticate"] = "Bearer"
            return wrong
        return self._app
