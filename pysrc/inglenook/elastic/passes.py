"""The candidates after each written token: from a pass of its own, or from one that checked a draft (`speculate`)."""

from __future__ import annotations

from typing import Any

from inglenook import clock
from inglenook.elastic.cache import PAGE, Session
from inglenook.elastic.speculate import Lookup, Plan, Speculator
from inglenook.flow import Candidates, Flow, Forward


class Passes:
    """Those of one answer, whose session holds all before the token that was just written."""

    def __init__(self, session: Session, speculator: Speculator | None = None, turn: Any = None) -> None:
        self._session, self._speculator, self._turn = session, speculator, turn
        self._lookup = Lookup()
        self._plan, self._right = Plan(), 0
        self._drafts: list[int] = []  # that may still turn out right,
        self._rows: list[Candidates] = []  # and what comes after each

    def after(self, token: int, left: int) -> Flow:
        """What may come after `token`, of which at most `left` tokens will be written. Effects: Forward."""
        if self._drafts and self._drafts[0] == token:
            self._right += 1
            del self._drafts[0]
            self._session.wrote(len(self._session.tokens), [token])
            return self._rows.pop(0)
        if self._speculator and self._plan.count:
            self._speculator.learn(self._plan, self._right)
        return (yield from self._pass(token, left))

    def _pass(self, token: int, left: int) -> Flow:
        session, at = self._session, len(self._session.tokens)
        session.reserve(at + 1)
        self._plan, self._right = Plan(), 0
        if self._speculator and not (self._turn and self._turn.crowded):
            self._lookup.follow([*session.tokens, token])
            self._plan = self._speculator.plan(self._lookup, min(left - 1, len(session.pages) * PAGE - at - 1))
        drafts = self._plan.tokens
        if self._plan.level > session.level:
            drafts = yield from self._drafted(token)
        pages = tuple(session.pages)
        began = clock.now()
        best: Candidates = yield Forward(
            [token, *drafts], at, level=session.level, pages=pages, each=1 + len(drafts), turn=self._turn
        )
        if self._speculator and session.level == 0 and not (self._turn and self._turn.runs[-1].others):
            self._speculator.passed(1 + len(drafts), self._took(began))
        session.wrote(at, [token])
        self._drafts, self._rows = list(drafts), [best.row(i) for i in range(1, 1 + len(drafts))]
        return best.row(0)

    def _drafted(self, token: int) -> Flow:
        """The plan's tokens by the level that drafts, on the session's own pages: what it leaves there is written over
        when they are checked."""
        session, speculator, drafts = self._session, self._speculator, [token]
        assert speculator
        for at in range(len(session.tokens), len(session.tokens) + self._plan.count):
            began = clock.now()
            best: Candidates = yield Forward(
                drafts[-1:], at, 1, level=self._plan.level, pages=tuple(session.pages), turn=self._turn
            )
            speculator.drafted(self._took(began))
            drafts.append(int(best.ids[0]))
        return drafts[1:]

    def _took(self, began: float) -> float:
        """Seconds of the last pass, without waiting for others where that is known."""
        return self._turn.runs[-1].ms / 1e3 if self._turn else clock.now() - began
