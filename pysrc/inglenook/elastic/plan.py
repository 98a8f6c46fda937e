"""The plan of an answer: how much of the model and how much of the prompt, so that it comes in the time asked for.

ELMS (2409.09071, section 3) lets a small model decide between pairs (share of the prompt, sub-model). Here the pair is
computed: of all pairs that keep the latency asked for on this device, as it is busy now, the one whose answers were
best when it was measured (`Quality`), or will be by the decision head of `elastic.squeeze` once the passages were
read. Where no pair can keep it, the request is refused and told what could be kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from inglenook.elastic.latency import Latency
from inglenook.errors import NookError
from inglenook.wire.messages import Slo

DULL = 0.3
"""Where nothing was measured, quality goes with the share of the prompt to this power (ours): half keeps 0.81."""
SHARES = (1.0, 0.8, 0.65, 0.5, 0.35)


class Quality:
    """How good answers are, by level and by the share kept of what may be dropped; 1 is the whole model and prompt.

    `shares` fall from 1; `table` is (levels, shares). Between two shares it goes straight, below the last nothing is
    known and so nothing planned.
    """

    def __init__(self, shares: Sequence[float], table: Sequence[Sequence[float]]) -> None:
        self.shares, self.table = tuple(shares), [tuple(row) for row in table]
        if any(len(row) != len(self.shares) for row in self.table) or list(self.shares) != sorted(self.shares)[::-1]:
            raise NookError("model-corrupt", "The model's table of qualities is not whole.", "Build it again.")

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Quality:
        """What an artifact's config says: its measured table, or else of each level how much it knows about the next
        token, relative to the whole model (logarithms of vocabulary and perplexity; ours)."""
        if told := config.get("quality"):
            return cls(told["shares"], told["levels"])
        levels = config.get("levels") or [{}]
        guess = math.log(config.get("vocabulary") or 49152)
        known = [max(0.0, guess - math.log(level.get("perplexity") or 1.0)) for level in levels]
        return cls(SHARES, [[k / (known[0] or 1.0) * share**DULL for share in SHARES] for k in known])

    @property
    def least(self) -> float:
        """The smallest share that was measured."""
        return self.shares[-1]

    def expect(self, level: int, share: float) -> float:
        return float(np.interp(share, self.shares[::-1], self.table[level][::-1]))


@dataclass(frozen=True, slots=True)
class Prompt:
    """Of `tokens`, `fixed` must stay (instructions, the question). `cached` by level: how many from the start on the
    model has read, as long as nothing is dropped. About `answer` tokens will be written."""

    tokens: int
    fixed: int = 0
    cached: Sequence[int] = ()
    answer: int = 64

    def kept(self, share: float) -> int:
        """Tokens, if `share` of what may be dropped is kept."""
        return self.fixed + math.ceil(share * (self.tokens - self.fixed))

    def share(self, kept: int) -> float:
        return (kept - self.fixed) / (self.tokens - self.fixed) if self.tokens > self.fixed else 1.0


@dataclass(frozen=True, slots=True)
class Load:
    """What else the model has to do: `busy` milliseconds that are due earlier, and the `share` of its time that goes to
    streams which were promised a latency."""

    busy: float = 0.0
    share: float = 0.0


@dataclass(frozen=True, slots=True)
class Plan:
    """Run `level` over `kept` tokens of the prompt. The first token is expected after `first_ms` (from now on, with all
    that comes before it), each further one after `token_ms`."""

    level: int
    kept: int
    quality: float
    first_ms: float
    token_ms: float


@dataclass(frozen=True, slots=True)
class Place:
    """Somewhere a prompt can be answered; its messages take `delay` milliseconds there and back. `squeeze_ms` is what
    it takes to find out which of so many tokens to keep."""

    name: str
    latency: Latency
    quality: Quality
    load: Load = Load()
    delay: float = 0.0
    squeeze_ms: Callable[[int], float] = lambda tokens: 0.0

    def pair(self, prompt: Prompt, level: int, kept: int) -> Plan:
        """What to expect of a pair. Streams that were promised their time keep it, so ours takes longer by theirs."""
        cached = prompt.cached[level] if prompt.cached and kept == prompt.tokens else 0
        left = max(1e-3, 1 - self.load.share)
        reading, writing = self.latency.margins
        prefill = self.latency.prefill(level, max(1, kept - cached), cached) * reading / left
        before = self.delay + self.load.busy
        if kept < prompt.tokens:
            before += self.squeeze_ms(prompt.tokens - prompt.fixed)
        token = self.latency.decode(level, kept + prompt.answer / 2) * writing / left
        return Plan(level, kept, self.quality.expect(level, prompt.share(kept)), before + prefill, token)


@dataclass(frozen=True, slots=True)
class Choice:
    """Answer at `place` by `plan`. Where that is not the place named first, `reason` says what that one would have
    needed."""

    place: str
    plan: Plan
    reason: str = ""


def check(slo: Slo) -> Slo:
    """Raises NookError("slo") for a latency that nobody could mean."""
    for name, value in (("first", slo.first), ("token", slo.token)):
        if value is not None and not 0 < value < math.inf:
            message = f"A latency of {value:g} ms ({name}) cannot be asked for."
            raise NookError("slo", message, "Ask for more than 0 ms, or leave it out.")
    return slo


def keeps(plan: Plan, slo: Slo) -> bool:
    """Whether a plan is within a latency."""
    return met(slo, plan.first_ms, plan.token_ms) is not False


def met(slo: Slo, first_ms: float, token_ms: float) -> bool | None:
    """Whether a latency was kept; None where none was asked for."""
    return None if slo == Slo() else first_ms <= (slo.first or math.inf) and token_ms <= (slo.token or math.inf)


def choose(slo: Slo, prompt: Prompt, place: Place) -> Plan:
    """The pair of the highest expected quality within `slo`; the faster one of equals. Raises NookError("slo")."""
    check(slo)
    plans = [plan for level in place.latency.levels for plan in _candidates(slo, prompt, place, level)]
    if not plans:
        raise refusal(slo, [(prompt, place)])
    return max(plans, key=lambda plan: (plan.quality, -plan.first_ms, -plan.token_ms))


def pays(slo: Slo, prompt: Prompt, place: Place) -> bool:
    """Whether squeezing may bring more than it costs: a larger part of the model is in time over the least that may be
    kept of the prompt than over all of it. Where none is, a smaller prompt would be a loss."""
    for level in place.latency.levels:
        if keeps(place.pair(prompt, level, prompt.tokens), slo):
            return False
        if keeps(place.pair(prompt, level, prompt.kept(place.quality.least)), slo):
            return True
    return False


def where(slo: Slo, prompt: Prompt, places: Sequence[Place]) -> Choice:
    """The place whose plan is expected to answer best, and the plan; of equals the one named first (what need not leave
    the tab stays in it). What is cached of the prompt is so at that one. Raises NookError("slo") if none can keep the
    latency."""
    check(slo)
    new = replace(prompt, cached=())
    asked = [(new if i else prompt, place) for i, place in enumerate(places)]
    found: list[tuple[Place, Plan]] = []
    for one, place in asked:
        try:
            found.append((place, choose(slo, one, place)))
        except NookError:
            continue
    if not found:
        raise refusal(slo, asked)
    place, plan = max(found, key=lambda pair: pair[1].quality)
    return Choice(place.name, plan, "" if place is places[0] else _needed(plan, slo, prompt, places[0]))


def _needed(plan: Plan, slo: Slo, prompt: Prompt, place: Place) -> str:
    """What `place` would have needed to answer as well as `plan`, in words."""
    kept = {prompt.kept(share) for share in place.quality.shares}
    pairs = [place.pair(prompt, level, k) for level in place.latency.levels for k in kept]
    as_good = [pair for pair in pairs if pair.quality >= plan.quality]
    if not as_good:
        return f"the {place.name} cannot answer as well"
    pair = min(as_good, key=lambda pair: _excess(pair, slo))
    if pair.first_ms / (slo.first or math.inf) >= pair.token_ms / (slo.token or math.inf):
        return f"the {place.name} would have needed {_told(pair.first_ms)}"
    return f"the {place.name} would have needed {_told(pair.token_ms)} a token"


def _candidates(slo: Slo, prompt: Prompt, place: Place, level: int) -> Iterator[Plan]:
    """The pairs of a level among which its best one is: quality goes straight between two measured shares, so the best
    share is one of those or the largest that keeps the latency; time grows with what is kept, so that one is found by
    halving. The whole prompt stands for itself: it needs no squeezing."""
    whole = place.pair(prompt, level, prompt.tokens)
    if keeps(whole, slo):
        yield whole
    low, high = prompt.kept(place.quality.least), prompt.tokens - 1
    if low > high or not keeps(place.pair(prompt, level, low), slo):
        return
    known = {
        k for share in place.quality.shares for k in (prompt.kept(share) - 1, prompt.kept(share)) if low <= k <= high
    }
    while low < high:
        middle = (low + high + 1) // 2
        if keeps(place.pair(prompt, level, middle), slo):
            low = middle
        else:
            high = middle - 1
    for kept in {low, *(k for k in known if k <= low)}:
        yield place.pair(prompt, level, kept)


def fastest(slo: Slo, prompt: Prompt, place: Place) -> Plan:
    """The pair that comes nearest to `slo`."""
    shares = (place.quality.least, 1.0)
    pairs = (place.pair(prompt, level, prompt.kept(s)) for level in place.latency.levels for s in shares)
    return min(pairs, key=lambda plan: _excess(plan, slo))


def refusal(slo: Slo, tried: Sequence[tuple[Prompt, Place]]) -> NookError:
    """Nothing keeps `slo`; the hint says what could be kept."""
    plan = min((fastest(slo, *one) for one in tried), key=lambda plan: _excess(plan, slo))
    wish, could = [], []
    for name, asked, possible in (("first", slo.first, plan.first_ms), ("token", slo.token, plan.token_ms)):
        if asked:
            wish.append(f"{name}={asked:g}ms")
            could.append(f"{name}={max(asked, _round_up(possible)):g}ms")
    message = f"No part of the model is as fast as {','.join(wish)} here."
    return NookError("slo", message, f"{','.join(could)} could be kept.")


def _excess(plan: Plan, slo: Slo) -> float:
    """How many times longer than asked for a plan takes."""
    return max(plan.first_ms / (slo.first or math.inf), plan.token_ms / (slo.token or math.inf))


def _told(ms: float) -> str:
    """For people."""
    return f"{ms / 1e3:.1f} s" if ms >= 1000 else f"{ms:.0f} ms"


def _round_up(ms: float) -> float:
    """To two digits."""
    unit = 10.0 ** (math.floor(math.log10(ms)) - 1)
    return math.ceil(ms / unit) * unit
