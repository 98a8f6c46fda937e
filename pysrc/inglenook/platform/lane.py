"""The way to the language model for everybody who wants it at once: asyncio around `elastic.turns`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from inglenook.elastic.turns import Ticket, Turns
from inglenook.wire.messages import Progress, Slo


class Lane:
    """Passes wait here until it is their turn; one runs at a time."""

    def __init__(self, turns: Turns) -> None:
        self.turns = turns
        self._waiting: dict[Ticket, asyncio.Future[None]] = {}  # for their turn
        self._queued: dict[Ticket, asyncio.Future[None]] = {}  # for a place
        turns.changed = self._promoted

    async def admit(self, app: str, slo: Slo, tokens: int, since: float, emit: Callable[[object], None]) -> Ticket:
        """A place, once there is one; meanwhile `emit` hears Progress("queue") with how many are before it.

        Raises NookError("busy" | "quota").
        """
        ticket = self.turns.admit(app, slo, tokens, since)
        try:
            while ticket.queued:
                emit(Progress("queue", 0, self.turns.ahead(ticket), "answer"))
                self._queued[ticket] = asyncio.get_running_loop().create_future()
                await self._queued[ticket]
        except BaseException:
            ticket.leave()
            raise
        finally:
            self._queued.pop(ticket, None)
        return ticket

    async def run(self, ticket: Ticket, pass_: tuple[int, int, int], work: Callable[[], Awaitable[Any]]) -> Any:
        """Do `work`, a pass over (tokens, from which position on, at which level), when it is the ticket's turn.

        Stopping waits for a pass that runs: the model cannot be stopped within one, and it writes to its pages.
        """
        self.turns.ask(ticket, *pass_)
        self._go()
        if self.turns.running is not ticket:
            waiting = self._waiting[ticket] = asyncio.get_running_loop().create_future()
            try:
                await waiting
            except BaseException:
                if self.turns.running is ticket:  # its turn had just come
                    self.turns.done(ticket)
                    self._go()
                self.turns.withdraw(ticket)
                raise
            finally:
                del self._waiting[ticket]
        task, stopped = asyncio.ensure_future(work()), False
        while not task.done():
            try:
                await asyncio.wait([task])
            except asyncio.CancelledError:
                stopped = True
        self.turns.done(ticket)
        asyncio.get_running_loop().call_soon(self._go)  # after this step, which may ask for the most urgent pass of all
        if stopped:
            task.cancelled() or task.exception()
            raise asyncio.CancelledError
        return task.result()

    def _go(self) -> None:
        ticket = self.turns.next()
        waiting = self._waiting.get(ticket) if ticket else None
        if waiting and not waiting.done():
            waiting.set_result(None)

    def _promoted(self) -> None:
        for waiting in self._queued.values():
            if not waiting.done():
                waiting.set_result(None)
