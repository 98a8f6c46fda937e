"""Turns: who runs next on the one model, decided anew at every written token and every piece of a prompt.

No I/O and no clock of its own: the tab, the native engine, the gateway and a simulator ask the same questions.

    ticket = turns.admit(app, slo, tokens)    # it may have to queue, or be refused
    turns.ask(ticket, tokens, at)             # its next pass is ready to run
    turns.next()                              # whose pass runs now; None while one runs or none is ready
    turns.join()                              # whose passes run together with it
    turns.done(ticket)                        # that pass, and those, are over
    turns.leave(ticket)                       # the request ended, was stopped or failed

Scheduling by iteration is Orca's (Yu et al., OSDI 2022, section 3.2), prompts in pieces Sarathi-Serve's (2403.02310,
section 4), the deadline of token k at first + k · token that of per-token service levels. Of all that are ready the one
with the least slack runs: the latest moment it could start and still be done in time. Ours are the two terms that keep
it fair. A pass is due no earlier than it was asked for, and where no latency was promised `PATIENCE` after it: whoever
waits comes nearer and nearer to the front, and nobody who asks later can stay ahead. And what an app has used above its
share (virtual time of start-time fair queueing, Goyal et al. 1996) puts its passes back by as much, but by no more than
`LAG`.

A pass over one token reads all weights for it, so others of its kind may go along (`elastic.batch`): as many as make
nobody late who would be in time without them, and of apps that have not used more than their share, since they make the
pass longer. Each pays its part of the time.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field

from inglenook.elastic.batch import MOST as TOGETHER
from inglenook.elastic.latency import PIECE, Run
from inglenook.elastic.plan import Load
from inglenook.errors import NookError
from inglenook.wire.messages import Slo

PATIENCE = 2.0  # seconds after which a pass is due that was promised nothing
LAG = 0.5  # seconds that unfairness may put a pass back
MOST = 8  # requests that run at once; each holds pages of the key-value cache
SMALLEST = 16  # tokens of a prompt's piece
GROWTH = 0.25  # of a pass over one token, that another in it costs (measured: 0.15 to 0.27 for 2 to 8)
MINUTE = 60.0


@dataclass(frozen=True, slots=True)
class App:
    """What an app may do: `weight` is its share of a busy model; `open` of its requests run at once, `queue` more may
    wait; prompts and answers together may take `tokens` a minute, 0 for any number. Of those that run so many may be
    `reading` their prompts at once, 0 for any number: one that begins later finds what earlier ones have read."""

    weight: float = 1.0
    open: int = 4
    queue: int = 16
    tokens: float = 0.0
    reading: int = 0


@dataclass(eq=False, slots=True)
class Ticket:
    """One request's place. `left` are the tokens of its prompt after the piece it asks for, `written` those of its
    answer: whoever makes the passes keeps both true. `price(tokens, at)` is what a pass takes, in milliseconds."""

    turns: Turns
    number: int
    app: str
    slo: Slo
    since: float
    reserved: int
    queued: bool = False
    price: Callable[[int, int], float] = lambda tokens, at: 0.0
    left: int = 0
    written: int = 0
    first: float | None = None  # when the first token was there
    runs: list[Run] = field(default_factory=list)
    wants: tuple[int, int] | None = None  # its next pass: tokens, and from where on
    level: int = 0  # of that pass
    kind: Hashable = None  # passes of one kind may run together; None: this one runs alone
    asked: float = 0.0
    due: float = math.inf  # when its pass should have ended
    cost: float = 0.0  # seconds its pass takes
    over: bool = False

    def piece(self) -> int:
        """Tokens that the next piece of its prompt should have, so that streams with a promise keep theirs."""
        return self.turns.piece(self)

    def leave(self) -> None:
        self.turns.leave(self)

    @property
    def crowded(self) -> bool:
        """Whether others write at the same time: a pass over one token is better shared then than spent on drafts."""
        return any(t is not self and not t.queued and t.first is not None for t in self.turns.tickets.values())


class Turns:
    """Least slack first, fair between apps. `apps` are the rules of those that have their own; others have `App()`."""

    def __init__(
        self, apps: Mapping[str, App] | None = None, clock: Callable[[], float] = time.perf_counter, most: int = MOST
    ) -> None:
        self.rules, self.clock, self.most = dict(apps or {}), clock, most
        self.tickets: dict[int, Ticket] = {}  # those that have not left, in the order they came
        self.running: Ticket | None = None
        self.joined: list[Ticket] = []  # whose passes run together with that one
        self.started = 0.0
        self.changed: Callable[[], None] = lambda: None  # called when queued requests may have begun
        self._used: dict[str, float] = {}  # virtual time of apps: seconds of service by weight
        self._virtual = 0.0
        self._spent: dict[str, tuple[float, float]] = {}  # tokens of the last minute, and when that was so
        self._number = 0

    # ── admission ─────────────────────────────────────────────────────────────────────────────────────────────────

    def admit(self, app: str = "", slo: Slo = Slo(), tokens: int = 0, since: float | None = None) -> Ticket:  # noqa: B008
        """A place for a request that will read and write `tokens` at most, made at the clock's time `since`.

        Raises NookError("busy") if too many of the app's requests wait, NookError("quota") if it has no tokens left.
        """
        rule, now = self.rule(app), self.clock()
        mine = [t for t in self.tickets.values() if t.app == app]
        if len(mine) >= rule.open + rule.queue:
            raise NookError(
                "busy", f"{len(mine)} requests of {_name(app)} are under way.", "Wait for one of them to end."
            )
        self._reserve(app, rule, tokens, now)
        if not mine:
            floor = self._floor()
            here = {t.app for t in self.tickets.values()}
            self._used = {a: used for a, used in self._used.items() if a in here or used > floor}
            self._used[app] = max(self._used.get(app, 0.0), floor)
        self._number += 1
        ticket = Ticket(self, self._number, app, slo, now if since is None else since, tokens, queued=True)
        self.tickets[ticket.number] = ticket
        self._promote()
        return ticket

    def ahead(self, ticket: Ticket) -> int:
        """How many requests have to end before a queued one may begin, at most."""
        return sum(other.number < ticket.number for other in self.tickets.values()) if ticket.queued else 0

    def leave(self, ticket: Ticket) -> None:
        """A request is over, at whatever it was; the tokens it did not use are the app's again. A pass of it that runs
        keeps the model until it is done."""
        if self.tickets.pop(ticket.number, None) is None:
            return
        ticket.over = True
        self.withdraw(ticket)
        if ticket.app in self._spent:
            level, when = self._spent[ticket.app]
            unused = ticket.reserved - sum(run.tokens for run in ticket.runs)
            self._spent[ticket.app] = (max(0.0, level - max(0, unused)), when)
        self._promote()
        self.changed()

    def _reserve(self, app: str, rule: App, tokens: int, now: float) -> None:
        if not rule.tokens:
            return
        level, when = self._spent.get(app, (0.0, now))
        level = max(0.0, level - (now - when) * rule.tokens / MINUTE)
        if level + tokens > rule.tokens:
            message = f"{_name(app)} may use {rule.tokens:g} tokens a minute; this needs {tokens}."
            if tokens > rule.tokens:
                raise NookError("quota", message, "Ask for less text.")
            wait = (level + tokens - rule.tokens) * MINUTE / rule.tokens
            raise NookError("quota", message, f"Ask again in {math.ceil(wait)} s.")
        self._spent[app] = (level + tokens, now)

    def _promote(self) -> None:
        """Let queued requests begin, first come first served, where there is room."""
        open_ = [t for t in self.tickets.values() if not t.queued]
        count = {app: sum(t.app == app for t in open_) for app in {t.app for t in self.tickets.values()}}
        reading = {app: sum(t.app == app and t.first is None for t in open_) for app in count}
        room = self.most - len(open_)
        for ticket in self.tickets.values():
            rule, app = self.rule(ticket.app), ticket.app
            if room > 0 and ticket.queued and count[app] < rule.open and reading[app] < (rule.reading or math.inf):
                ticket.queued = False
                count[app] += 1
                reading[app] += 1
                room -= 1

    # ── passes ────────────────────────────────────────────────────────────────────────────────────────────────────

    def ask(self, ticket: Ticket, tokens: int, at: int, level: int = 0, kind: Hashable = None) -> None:
        """A request's next pass is ready: `tokens` from position `at` on, at a level of the model; those of one `kind`
        may run together."""
        if ticket.over:
            raise NookError("closed", "This request has ended.", "Make another one.")
        now = self.clock()
        ticket.wants, ticket.asked, ticket.level, ticket.kind = (tokens, at), now, level, kind
        ticket.cost = ticket.price(tokens, at) / 1e3
        ticket.due = max(now, self._deadline(ticket, tokens, at, now))

    def next(self) -> Ticket | None:
        """Whose pass runs now. None while one is running, or if none is ready."""
        if self.running:
            return None
        self.running = self._first([t for t in self.tickets.values() if not t.queued])
        self.started = self.clock()
        return self.running

    def join(self, most: int = TOGETHER) -> list[Ticket]:
        """Whose passes run together with the one that was next, the most urgent first: `most` in all."""
        leader = self.running
        if leader is None or leader.kind is None:
            return []
        ready = [t for t in self.tickets.values() if t.wants and not t.queued and t is not leader]
        most_lag = self._lag(leader.app) + 2 * leader.cost
        same = sorted((t for t in ready if t.kind == leader.kind and self._lag(t.app) <= most_lag), key=self._rank)
        for count in range(min(len(same), most - 1), 0, -1):
            if not self._makes_late(same[:count], ready):
                self.joined = same[:count]
                leader.cost *= 1 + GROWTH * count
                break
        return self.joined

    def _makes_late(self, joining: list[Ticket], ready: list[Ticket]) -> bool:
        """Whether somebody whose pass would end in time would be late if these joined."""
        leader = self.running
        assert leader
        longer = leader.cost * GROWTH * len(joining)
        if (spare := leader.due - self.started - leader.cost) >= 0 and spare < longer:
            return True
        for t in ready:
            spare = t.due - self.started - leader.cost - (0.0 if t in joining else t.cost)
            if 0 <= spare < longer:
                return True
        return False

    def _first(self, tickets: list[Ticket]) -> Ticket | None:
        """The one of these, oldest first, whose pass is to run."""
        return min((t for t in tickets if t.wants), key=self._rank, default=None)

    def withdraw(self, ticket: Ticket) -> None:
        """A pass that does not run yet is not wanted any more."""
        if self.running is not ticket and ticket not in self.joined:
            ticket.wants = None

    def done(self, ticket: Ticket) -> None:
        """The pass that ran is over, and those that ran together with it."""
        if self.running is not ticket or not ticket.wants:
            return
        now = self.clock()
        took, together = now - self.started, [ticket, *self.joined]
        self.running, self.joined = None, []
        for one in together:
            assert one.wants
            one.runs.append(Run(*one.wants, took * 1e3, one.level, len(together) - 1))
            one.wants = None
            used = took / len(together) / self.rule(one.app).weight
            self._used[one.app] = self._used.get(one.app, self._virtual) + used
            if not one.left and one.first is None:
                one.first = now
                if self.rule(one.app).reading:  # the next may read
                    self._promote()
                    self.changed()

    def _deadline(self, ticket: Ticket, tokens: int, at: int, now: float) -> float:
        """When a pass should have ended: the rest of its prompt has to come in time too."""
        slo, patience = ticket.slo, now + PATIENCE
        if ticket.first is None:
            rest = ticket.price(ticket.left, at + tokens) / 1e3 if ticket.left else 0.0
            return ticket.since + slo.first / 1e3 - rest if slo.first else patience
        return ticket.first + max(1, ticket.written) * slo.token / 1e3 if slo.token else patience

    def _rank(self, ticket: Ticket) -> tuple[float, int]:
        """The least goes first."""
        return ticket.due - ticket.cost + self._lag(ticket.app), ticket.number

    def _lag(self, app: str) -> float:
        return min(LAG, self._used[app] - self._floor())

    def _floor(self) -> float:
        """What the app has used that has been given least of those that are here; it never falls."""
        least = min((self._used[t.app] for t in self.tickets.values()), default=self._virtual)
        self._virtual = max(self._virtual, least)
        return self._virtual

    def rule(self, app: str) -> App:
        return self.rules.get(app, _ANY)

    # ── what others have to know ──────────────────────────────────────────────────────────────────────────────────

    def load(self, due: float, but: Ticket | None = None) -> Load:
        """What the model has to do for others that a pass due at the clock's time `due` has to wait for."""
        now = self.clock()
        busy = max(0.0, self.started + self.running.cost - now) if self.running and self.running is not but else 0.0
        share = 0.0
        for t in self.tickets.values():
            if t is but or t.queued:
                continue
            if t.first is None and t.slo.first and t.since + t.slo.first / 1e3 <= due:
                busy += t.price(t.left + (t.wants[0] if t.wants and t is not self.running else 0), 0) / 1e3
            if t.slo.token:
                share += t.price(1, t.wants[1] if t.wants else 0) / t.slo.token
        return Load(busy * 1e3, share)

    def piece(self, ticket: Ticket) -> int:
        """Tokens that a piece of a prompt may have: a stream that was promised a time per token waits for one piece
        between two of its tokens."""
        most = PIECE
        for t in self.tickets.values():
            if t is not ticket and not t.queued and t.first is not None and t.slo.token:
                spare = t.slo.token - t.price(1, t.wants[1] if t.wants else 0)
                while most > SMALLEST and ticket.price(most, 0) > spare:
                    most -= SMALLEST
        return most


class Fcfs(Turns):
    """First come, first served, one request after the other: the plain way, beside which the other is judged."""

    def _first(self, tickets: list[Ticket]) -> Ticket | None:
        return tickets[0] if tickets and tickets[0].wants else None

    def join(self, most: int = TOGETHER) -> list[Ticket]:
        return []


_ANY = App()


def _name(app: str) -> str:
    return app or "this page"
