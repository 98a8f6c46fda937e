"""Drafts of what comes next, so that one pass over the weights writes several tokens (Leviathan et al., 2211.17192).

What is written stays what it would be without: the model gives its candidates after every drafted token, the sampler
chooses from them as it always does, and where it chooses something else the rest of the draft is forgotten.

Drafts come from the text so far: what followed the same few tokens before (prompt lookup, as in LLMA, Yang et al.,
2304.04487), which costs nothing and is right where an answer quotes; or from a smaller level of the same weights that
reads the key-value pages of the whole model (self-speculation, Zhang et al., 2309.08168), whose own entries the
checking pass writes over. How much to draft, and whether at all, is decided by what it was measured to cost and to
bring (the rule is ours).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

MOST = 7
"""Drafted tokens: with the one before them two tiles of the kernel."""
GRAMS = (4, 3, 2)
"""Tokens that must come again for what followed them to be a draft, the surest first."""
LEARN = 0.2  # weight of the newest measurement
FADE = 0.99  # of what is known of drafts, for each pass: what was switched off is tried again later
HOPED, SEEN = 1.5, 2.0  # drafts that were right, of how many, where nothing is known: so well that they are tried


class Lookup:
    """Where each run of a few tokens came last in a text that grows."""

    def __init__(self) -> None:
        self._text: list[int] = []
        self._after: dict[tuple[int, ...], int] = {}

    def follow(self, text: Sequence[int]) -> None:
        """The text has grown to `text`."""
        for token in text[len(self._text) :]:
            for size in GRAMS:  # known from now on that something follows them
                if len(self._text) >= size:
                    self._after[tuple(self._text[-size:])] = len(self._text)
            self._text.append(token)

    def drafts(self) -> Iterator[tuple[int, list[int]]]:
        """What may follow: how many tokens came again, and what came after them, again and again if that is short."""
        for size in GRAMS:
            at = self._after.get(tuple(self._text[-size:]))
            if at is not None:
                since = self._text[at : at + MOST]
                yield size, (since * MOST)[:MOST]


@dataclass(slots=True)
class _Odds:
    """How often a kind of draft was right, newer ones counting more."""

    right: float = HOPED
    tried: float = SEEN

    @property
    def share(self) -> float:
        return self.right / self.tried

    def learn(self, right: int, wrong: int) -> None:
        self.right += right
        self.tried += right + wrong

    def fade(self) -> None:
        self.right += (HOPED - self.right) * (1 - FADE)
        self.tried += (SEEN - self.tried) * (1 - FADE)


@dataclass(slots=True)
class Plan:
    """`count` tokens are to be drafted: `tokens` of a text that came before, or by the model at `level`. `kind` is what
    the outcome is told with."""

    count: int = 0
    tokens: list[int] = field(default_factory=list)
    level: int = 0
    kind: int = 0


class Speculator:
    """What drafting costs and brings on this device; `level` may draft (0: none does). Times are in seconds."""

    def __init__(self, level: int = 0) -> None:
        self.level = level
        self._odds: dict[int, _Odds] = {}
        self._one = 0.0  # a pass over one token
        self._more = 0.0  # each further token in it
        self._draft = 0.0  # a pass of the level that drafts

    def plan(self, lookup: Lookup, most: int) -> Plan:
        """What to draft now, at most `most` tokens; nothing before the first pass was measured."""
        for odds in self._odds.values():
            odds.fade()
        best, gain = Plan(), 1.0
        if not self._one:
            return best
        for kind, tokens in lookup.drafts():
            count, reached = self._best(kind, min(most, len(tokens)), 0.0)
            if reached > gain:
                best, gain = Plan(count, tokens[:count], 0, kind), reached
        if self.level:
            count, reached = self._best(0, min(most, MOST), self._draft or self._one / 2)
            if reached > gain:
                best = Plan(count, [], self.level, 0)
        return best

    def passed(self, tokens: int, seconds: float) -> None:
        """A pass over so many tokens took so long."""
        if tokens == 1:
            self._one = _mean(self._one, seconds)
        elif self._one:
            self._more = _mean(self._more, max(0.0, seconds - self._one) / (tokens - 1))

    def drafted(self, seconds: float) -> None:
        """A pass of the level that drafts took so long."""
        self._draft = _mean(self._draft, seconds)

    def learn(self, plan: Plan, right: int) -> None:
        """Of a plan's drafts the first `right` were what came."""
        self._odds.setdefault(plan.kind, _Odds()).learn(right, int(right < plan.count))

    def gain(self, kind: int, count: int, draft: float = 0.0) -> float:
        """Tokens a second with `count` drafts, to those without."""
        share = self._odds.setdefault(kind, _Odds()).share
        expected = 1 + sum(share**i for i in range(1, count + 1))
        return expected * self._one / (self._one + count * (self._more + draft))

    def _best(self, kind: int, most: int, draft: float) -> tuple[int, float]:
        """How many drafts bring most, and how much."""
        counts = range(1, most + 1)
        count = max(counts, key=lambda n: self.gain(kind, n, draft), default=0)
        return count, self.gain(kind, count, draft) if count else 0.0


def _mean(old: float, new: float) -> float:
    return old + LEARN * (new - old) if old else new
