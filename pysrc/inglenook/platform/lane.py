"""The way to the language model for everybody who wants it at once: asyncio around `elastic.turns`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from inglenook.elastic.batch import kind
from inglenook.elastic.turns import Ticket, Turns
from inglenook.flow import Forward, Score
from inglenook.wire.messages import Progress, Slo

Pass: TypeAlias = Forward | Score
Work: TypeAlias = Callable[[Sequence[Pass]], Awaitable[Sequence[Any]]]


@dataclass(slots=True)
class _Waiting:
    """A pass whose turn has not come. `turn` gets None when it has, or the answer of one that ran with another's;
    `task` is what runs that."""

    effect: Pass
    turn: asyncio.Future[Any] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    task: asyncio.Task[Any] | None = None


class Lane:
    """Passes wait here until it is their turn; one runs at a time, with up to `together` passes in it."""

    def __init__(self, turns: Turns, together: int = 1) -> None:
        self.turns, self.together = turns, together
        self._waiting: dict[Ticket, _Waiting] = {}  # for their turn
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

    async def run(self, effect: Pass, work: Work) -> Any:
        """The answer to a pass, when it is its ticket's turn. `work` gets the passes that run together, and answers
        each; where they fail together each is tried alone.

        Stopping waits for a pass that runs: the model cannot be stopped within one, and it writes to its pages.
        """
        ticket: Ticket = effect.turn
        together = kind(effect) if self.together > 1 else None
        self.turns.ask(ticket, len(effect.tokens), effect.at, effect.level, together)
        self._go()
        if self.turns.running is not ticket:
            waiting = self._waiting[ticket] = _Waiting(effect)
            try:
                told = await waiting.turn
            except BaseException:
                if waiting.task:
                    await to_its_end(waiting.task)
                elif self.turns.running is ticket:  # its turn had just come
                    self.turns.done(ticket)
                    self._go()
                self.turns.withdraw(ticket)
                raise
            finally:
                del self._waiting[ticket]
            if waiting.task:
                return _answer(told)
        others = [self._waiting[one] for one in self.turns.join(self.together)]
        task = asyncio.ensure_future(_each([effect, *(one.effect for one in others)], work))
        for one in others:
            one.task = task
        stopped = await to_its_end(task)
        self.turns.done(ticket)
        asyncio.get_running_loop().call_soon(self._go)  # after this step, which may ask for the most urgent pass of all
        mine, *theirs = [asyncio.CancelledError()] * (1 + len(others)) if task.cancelled() else task.result()
        for one, told in zip(others, theirs, strict=True):
            if not one.turn.done():
                one.turn.set_result(told)
        if stopped:
            raise asyncio.CancelledError
        return _answer(mine)

    def _go(self) -> None:
        ticket = self.turns.next()
        waiting = self._waiting.get(ticket) if ticket else None
        if waiting and not waiting.turn.done():
            waiting.turn.set_result(None)

    def _promoted(self) -> None:
        for waiting in self._queued.values():
            if not waiting.done():
                waiting.set_result(None)


async def _each(effects: Sequence[Pass], work: Work) -> list[Any]:
    """What each is answered, or went wrong."""
    try:
        return list(await work(effects))
    except Exception as error:
        if len(effects) == 1:
            return [error]
        return [one for effect in effects for one in await _each([effect], work)]


async def to_its_end(task: asyncio.Task[Any]) -> bool:
    """Wait for a task, and say whether whoever waits was cancelled meanwhile."""
    stopped = False
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            stopped = True
    return stopped


def _answer(told: Any) -> Any:
    if isinstance(told, BaseException):
        raise told
    return told
