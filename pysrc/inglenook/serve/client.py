"""A client of the gateway: its streams and their work, which may outlive its connection for a while.

Each request is a flow on the event loop whose heavy effects run in threads. A stream whose reader is slow stops at its
next effect until the reader has caught up, so what waits to be sent stays small; one that doesn't read at all is ended.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import count

from inglenook.errors import NookError
from inglenook.serve.access import Rules
from inglenook.serve.watch import Watch
from inglenook.wire import messages as wire
from inglenook.wire import session

CHANGES: tuple[type[wire.Request], ...] = (wire.Add, wire.Remove, wire.Import)
AWAY = 256  # clients that are kept without a connection

log = logging.getLogger("inglenook.serve")
_names = count(1)


class Client:
    """Runs the streams of a session. `leave` is called when its connection is to be left to another."""

    def __init__(self, nook: Watch, rules: Rules) -> None:
        self.session = session.Session(rules.streams, rules.largest, () if rules.writable else CHANGES, rules.waiting)
        self.name = f"client {next(_names)}"
        self.token = ""
        self.leave: Callable[[], None] | None = None
        self.ready = asyncio.Event()
        """Something is to be sent."""
        self._nook, self._rules = nook, rules
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._waiting: list[asyncio.Future[None]] = []

    def start(self, stream: str, request: wire.Request) -> None:
        """Answer a request."""
        task = asyncio.create_task(self._answer(stream, request))
        self._tasks[stream] = task
        task.add_done_callback(partial(self._over, stream))

    def stop(self, stream: str) -> None:
        """End a stream's work where it waits."""
        if stream in self._tasks:
            self._tasks[stream].cancel()

    async def end(self) -> None:
        """End all work."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def idle(self) -> bool:
        """Whether nothing is asked, and all answers are on their way."""
        return not self._tasks and not self.session.crowded

    def moved(self) -> None:
        """Something was sent, or has come: whoever waits for room looks again."""
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)
        self._waiting.clear()

    async def movement(self) -> None:
        """Wait until something was sent or has come, or for as long as a reader may take nothing."""
        moved = asyncio.get_running_loop().create_future()
        self._waiting.append(moved)
        await asyncio.wait((moved,), timeout=self._rules.patience)

    async def _answer(self, stream: str, request: wire.Request) -> None:
        """Run a request's flow; its events and its end go to the session."""

        def emit(event: object) -> None:
            if isinstance(event, wire.Event):
                self.session.event(stream, event)
                self.ready.set()

        async def ready() -> None:
            if not self.session.room(stream):
                await self._room(stream)

        end: wire.Event = wire.Done()
        try:
            await self._nook.astream(self._own(request), emit, ready)
        except asyncio.CancelledError:
            end = wire.Cancelled()
            self.session.drop(stream)
        except NookError as error:
            if error.code == "slow":
                self.session.drop(stream)
            end = session.failed(error)
        except Exception as error:
            log.exception("a %s failed", type(request).__name__)
            end = session.failed(error)
        emit(end)

    def _own(self, request: wire.Request) -> wire.Request:
        if isinstance(request, wire.Open):  # a server has one nook, which is open
            return wire.Look()
        if isinstance(request, (wire.Ask, wire.Write, wire.Chat)):  # clients take turns, whatever their apps are called
            return replace(request, app=f"{self.name} {request.app}")
        return request

    async def _room(self, stream: str) -> None:
        """Wait until a stream's reader has caught up. Raises NookError("slow") if it takes nothing for too long; while
        it is away the time does not count."""
        now = asyncio.get_running_loop().time
        taken, since = self.session.taken(stream), now()
        while not self.session.room(stream):
            await self.movement()
            if self.leave is None or taken != (taken := self.session.taken(stream)):
                since = now()
            elif now() - since >= self._rules.patience:
                raise NookError("slow", "The answer was not being read.", "Ask again.")

    def _over(self, stream: str, task: asyncio.Task[None]) -> None:
        if self._tasks.get(stream) is task:
            del self._tasks[stream]


class Away:
    """Clients that may come back, by the token that only they know. One that doesn't come in time is ended."""

    def __init__(self, keep: float) -> None:
        self.keep = keep
        self._clients: dict[str, Client] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}  # of those that are away, the longest first
        self._ending: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._timers)

    def name(self, client: Client) -> str:
        """A new token for a client that has a connection."""
        client.token = secrets.token_urlsafe(32)
        self._clients[client.token] = client
        return client.token

    def back(self, token: str) -> Client:
        """The client of a token; if another connection has it, that is left. Raises NookError("no-session")."""
        client = self._clients.get(token)
        if client is None or client.session.closed:
            hint = "Ask again; the server may have been started anew."
            raise NookError("no-session", "The session is not there any more.", hint)
        if timer := self._timers.pop(token, None):
            timer.cancel()
        if client.leave:
            client.leave()
        return client

    def lost(self, client: Client) -> None:
        """A client's connection is lost: it is waited for if it asked for that."""
        if not client.token or client.session.closed:
            self._end(client)
            return
        self._timers[client.token] = asyncio.get_running_loop().call_later(self.keep, self._end, client)
        if len(self._timers) > AWAY:
            self._end(self._clients[next(iter(self._timers))])

    def _end(self, client: Client) -> None:
        self._clients.pop(client.token, None)
        if timer := self._timers.pop(client.token, None):
            timer.cancel()
        task = asyncio.create_task(client.end())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
