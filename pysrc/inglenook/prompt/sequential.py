"""Sequential tests: a prompt is run until it is known whether it passes, and no longer.

Every test here is a `Gate`: outcomes are added one by one, and after each the decision stands at `pass`, `fail` or
`undecided`. Looking after each run costs no error, which is what tells these from "run it ten times and look":

    Sprt      passed or not. Wald's test (1945) with an end: bounds in whole failures, their errors computed exactly.
    Bets      scores between 0 and 1. Wealth that grows by betting against a claim (Waudby-Smith and Ramdas, 2024,
              2010.09686); Ville's inequality bounds the chance that a true claim ever loses that much.
    Paired    the same cases and seeds under two versions: lost, gained, the same within a margin (McNemar's counts).
    Drift     for as long as one cares to watch (e-detectors; Shin, Ramdas and Rinaldo, 2203.03532).

`good` is the rate that should pass, `bad` the one that must not; between them either decision is right. `alpha` bounds
the chance that a good prompt fails (a false alarm), `beta` the chance that a bad one passes (a miss).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from inglenook.errors import NookError
from inglenook.prompt.binomial import fixed
from inglenook.prompt.case import Decision

Change: TypeAlias = Literal["lost", "gained", "same", "undecided"]
Floats = NDArray[np.float64]

STRETCH = 1.5  # the longest that a test may take, in sizes of the fixed one (ours)
SCALES = (0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0, 1.1, 1.25, 1.5, 2.0)  # of Wald's bounds: the first to keep the errors
STAKES = (np.arange(24) + 0.5) / 24  # shares of the largest stake that cannot lose more than all


@dataclass(frozen=True, slots=True)
class Claim:
    """What a test is about; see the module. Raises NookError("claim") for rates and errors that mean nothing."""

    good: float = 0.9
    bad: float = 0.75
    alpha: float = 0.05
    beta: float = 0.05

    def __post_init__(self) -> None:
        if not 0 < self.bad < self.good <= 1:
            message = f"A test cannot tell a good rate of {self.good:g} from a bad one of {self.bad:g}."
            raise NookError("claim", message, "Give two rates with 0 < bad < good ≤ 1, such as 0.75 and 0.9.")
        if not (0 < self.alpha < 0.5 and 0 < self.beta < 0.5):
            message = f"Errors of {self.alpha:g} and {self.beta:g} cannot be asked for."
            raise NookError("claim", message, "alpha and beta lie between 0 and 0.5; 0.05 is usual.")


def together(claims: Sequence[Claim]) -> list[Claim]:
    """The claims of tests that decide together: each with its share of the false alarms, as asked for in proportion.

    All must pass, so one alarm fails the whole. The chance of any false one is at most the sum of the shares, which is
    the largest `alpha` asked for: Bonferroni's inequality (Dunn, JASA 56, 1961), under which tests may rest on the same
    runs and end when they like. Holm's step-down (Scand. J. Statist. 6, 1979) would decide the same: its first step is
    this one. Misses need no shares: what is bad passes with its own `beta` at most, and the whole only if it does
    (intersection-union; Berger, Technometrics 24, 1982).
    """
    whole, most = sum(one.alpha for one in claims), max((one.alpha for one in claims), default=0.0)
    return [replace(one, alpha=one.alpha * (most / whole)) for one in claims]


@dataclass(frozen=True, slots=True)
class Verdict:
    """A decision after `runs`, the mean score, and bounds that hold the true mean with 95 % whenever one looks."""

    decision: Decision
    runs: int
    mean: float
    low: float
    high: float


class Gate:
    """What all tests share: scores come in, `decision` tells. A decided gate takes no more scores.

    `most` ends it undecided; `whole` says that scores are 0 or 1.
    """

    whole = False

    def __init__(self, most: int | None = None) -> None:
        self.decision: Decision = "undecided"
        self.most = most
        self.scores: dict[float, int] = {}

    @property
    def runs(self) -> int:
        return sum(self.scores.values())

    @property
    def open(self) -> bool:
        """Whether another run can still change anything."""
        return self.decision == "undecided" and (self.most is None or self.runs < self.most)

    def add(self, score: float) -> Decision:
        """Count one run, 0 … 1."""
        if not 0 <= score <= 1 or (self.whole and score not in (0, 1)):
            wanted = "0 or 1" if self.whole else "between 0 and 1"
            hint = "Test scores with Bets." if self.whole else "Scale scores before testing."
            raise NookError("score", f"A score of {score:g} is not {wanted}.", hint)
        if self.open:
            self.scores[score] = self.scores.get(score, 0) + 1
            self.decision = self._decide(score)
        return self.decision

    def verdict(self) -> Verdict:
        low, high = interval(self.scores)
        total = sum(score * count for score, count in self.scores.items())
        return Verdict(self.decision, self.runs, total / max(1, self.runs), low, high)

    def _decide(self, score: float) -> Decision:
        raise NotImplementedError


# ── passed or not ─────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Bounds:
    """Of each number of runs from 0 on: a test fails with `fail[n]` failures or more, passes with `passed[n]` or fewer.
    At the last number every count decides."""

    fail: tuple[int, ...]
    passed: tuple[int, ...]

    @property
    def most(self) -> int:
        return len(self.fail) - 1

    def operate(self, rate: float) -> tuple[float, float]:
        """Exactly: (probability of failing, mean runs) of a prompt that passes with `rate`."""
        alive = np.zeros(self.most + 2)
        alive[0], failed, runs = 1.0, 0.0, 0.0
        for n in range(1, self.most + 1):
            runs += float(alive.sum())
            alive[1:] = alive[1:] * rate + alive[:-1] * (1 - rate)
            alive[0] *= rate
            failed += float(alive[self.fail[n] :].sum())
            alive[self.fail[n] :] = 0.0
            alive[: self.passed[n] + 1] = 0.0
        return failed, runs


@lru_cache(maxsize=64)
def bounds(claim: Claim) -> Bounds:
    """The narrowest of some bounds around Wald's whose exact errors are within alpha and beta.

    Wald's own hold only about: a step over a bound makes them too wide, an end makes them too narrow. So both are tried
    at several widths, with the end at one and a half sizes of the fixed test, where a count in the middle decides.
    """
    size, allowed = fixed(claim.good, claim.bad, claim.alpha, claim.beta)
    if claim.good == 1:  # one failure tells
        return Bounds((1,) * (size + 1), (-1,) * size + (0,))
    most = math.ceil(STRETCH * size)
    for scale in SCALES:
        found = _around(claim, scale, most, round(allowed * most / size))
        if found.operate(claim.good)[0] <= claim.alpha and 1 - found.operate(claim.bad)[0] <= claim.beta:
            return found
    return Bounds(
        (size + 1,) * size + (allowed + 1,), (-1,) * size + (allowed,)
    )  # the fixed test: nothing before its end


def _around(claim: Claim, scale: float, most: int, allowed: int) -> Bounds:
    """Bounds at `scale` times Wald's, which end after `most` runs and then pass with `allowed` failures."""
    above = scale * math.log((1 - claim.beta) / claim.alpha)
    below = scale * math.log(claim.beta / (1 - claim.alpha))
    calm = math.log(claim.bad / claim.good)  # what a passed run adds to the evidence against the prompt
    alarm = math.log((1 - claim.bad) / (1 - claim.good))
    runs = np.arange(most)
    fail = np.maximum(np.ceil((above - runs * calm) / (alarm - calm) - 1e-9), 1)
    passed = np.maximum(np.floor((below - runs * calm) / (alarm - calm) + 1e-9), -1)
    return Bounds((*fail.astype(int).tolist(), allowed + 1), (*passed.astype(int).tolist(), allowed))


class Sprt(Gate):
    """Wald's sequential probability ratio test with an end, for runs that pass or fail."""

    whole = True

    def __init__(self, claim: Claim, most: int | None = None) -> None:
        super().__init__(most)
        self.bounds = bounds(claim)

    def _decide(self, score: float) -> Decision:
        runs, failures = self.runs, self.scores.get(0, 0)
        if failures >= self.bounds.fail[runs]:
            return "fail"
        return "pass" if failures <= self.bounds.passed[runs] else "undecided"


# ── scores, by betting ────────────────────────────────────────────────────────────────────────────────────────────


class Evidence:
    """Wealth of bets that a mean is above (or below) `null`: if it is not, it reaches 1/e with probability e at most.

    The wealth is a mixture over fixed stakes, so the order of scores does not matter. With `toward`, half of it is
    staked as is best if the mean is there: for runs that pass or fail that half is the likelihood ratio of the SPRT.
    """

    def __init__(self, null: float, side: Literal["above", "below"], toward: float | None = None) -> None:
        self._null, self._sign = null, 1.0 if side == "above" else -1.0
        room = null if side == "above" else 1 - null  # how far a score can fall to the wrong side
        self._stakes, weights = STAKES / max(room, 1e-12), np.full(len(STAKES), 1 / len(STAKES))
        if toward is not None:
            best = abs(toward - null) / max(1 - room, 1e-12) / max(room, 1e-12)
            self._stakes, weights = np.append(self._stakes, best), np.append(weights / 2, 0.5)
        self.weights = np.log(weights)
        self._wealth = self.weights.copy()
        self._grown: dict[float, Floats] = {}  # scores repeat

    def growth(self, score: float) -> Floats:
        """Logarithms of what each stake makes of one unit."""
        if score not in self._grown:
            if len(self._grown) >= 64:  # scores that hardly repeat
                self._grown.clear()
            with np.errstate(divide="ignore"):
                units = np.maximum(0.0, 1 + self._stakes * self._sign * (score - self._null))
                self._grown[score] = np.log(units)
        return self._grown[score]

    def add(self, score: float, times: int = 1) -> float:
        """Logarithm of the wealth after `times` more runs with this score."""
        self._wealth = self._wealth + self.growth(score) * times
        return self.log

    @property
    def log(self) -> float:
        return _logsum(self._wealth)


def _logsum(values: Floats) -> float:
    top = float(values.max())
    return top + math.log(float(np.exp(values - top).sum())) if top > -math.inf else -math.inf


class Bets(Gate):
    """Anytime-valid test of a mean score: passes when nobody would bet on `bad` any more, fails when on `good`."""

    def __init__(self, claim: Claim, most: int | None = None) -> None:
        super().__init__(most)
        self._claim = claim
        self._passes = Evidence(claim.bad, "above", claim.good)
        self._fails = Evidence(claim.good, "below", claim.bad)

    def _decide(self, score: float) -> Decision:
        if self._fails.add(score) >= -math.log(self._claim.alpha):
            return "fail"
        return "pass" if self._passes.add(score) >= -math.log(self._claim.beta) else "undecided"


def evidence(claim: Claim, kept: int, runs: int) -> tuple[float, float]:
    """e-values of runs that pass or fail: against the `good` rate (it is kept too rarely), against the `bad` one."""
    found = Evidence(claim.good, "below", claim.bad), Evidence(claim.bad, "above", claim.good)
    for score, count in ((1.0, kept), (0.0, runs - kept)):
        for one in found if count else ():
            one.add(score, count)
    against_good, against_bad = (math.exp(min(one.log, 700.0)) for one in found)
    return against_good, against_bad


def interval(scores: dict[float, int], error: float = 0.05) -> tuple[float, float]:
    """A confidence sequence: bounds of the means that bets have not refuted, whenever one looks. (0, 1) of nothing."""

    def refuted(mean: float, side: Literal["above", "below"]) -> bool:
        evidence = Evidence(mean, side)
        for score, count in scores.items():
            evidence.add(score, count)
        return evidence.log >= math.log(2 / error)

    ends = []
    for side, inner, outer in (("above", 1.0, 0.0), ("below", 0.0, 1.0)):
        if refuted(outer, side):  # type: ignore[arg-type]
            low, high = outer, inner  # wealth grows as the refuted mean moves outwards
            for _ in range(40):
                middle = (low + high) / 2
                low, high = (middle, high) if refuted(middle, side) else (low, middle)  # type: ignore[arg-type]
            outer = low
        ends.append(outer)
    return ends[0], ends[1]


# ── two versions, side by side ────────────────────────────────────────────────────────────────────────────────────


class Paired(Gate):
    """Two versions over the same cases and seeds: is the new one no worse than the old one by `margin`?

    As a gate it passes when "worse by `margin`" is refuted (with `beta`) and fails when "no worse" is (with `alpha`).
    `change` says more: lost, gained, or the same within the margin on both sides; with `wholly` the gate stays open
    until that is known. Equal pairs carry no weight against "no worse", so there the counts are McNemar's; they do
    count for being the same.
    """

    def __init__(
        self, margin: float = 0.05, alpha: float = 0.05, beta: float = 0.05, most: int | None = None,
        wholly: bool = False,
    ) -> None:  # fmt: skip
        if not 0 < margin < 1:
            raise NookError("claim", f"A margin of {margin:g} cannot be tested.", "Give one between 0 and 1, as 0.05.")
        super().__init__(most)
        self._wholly = wholly
        self._alpha, self._beta = -math.log(alpha), -math.log(beta)
        self._worse, self._better = Evidence(0.5, "below"), Evidence(0.5, "above")
        self._kept = Evidence((1 - margin) / 2, "above", 0.5)
        self._capped = Evidence((1 + margin) / 2, "below", 0.5)
        self.pairs: dict[tuple[float, float], int] = {}

    def pair(self, old: float, new: float) -> Decision:
        """Count one pair of scores, each 0 … 1."""
        if self.open:
            self.pairs[old, new] = self.pairs.get((old, new), 0) + 1
        return self.add((new - old + 1) / 2)

    @property
    def lost(self) -> int:
        """Pairs in which the new version did worse."""
        return sum(count for (old, new), count in self.pairs.items() if new < old)

    @property
    def gained(self) -> int:
        return sum(count for (old, new), count in self.pairs.items() if new > old)

    @property
    def change(self) -> Change:
        """What is known of the difference itself."""
        if self._worse.log >= self._alpha:
            return "lost"
        if self._better.log >= self._alpha:
            return "gained"
        return "same" if min(self._kept.log, self._capped.log) >= self._beta else "undecided"

    def difference(self) -> tuple[float, float, float]:
        """New minus old: the mean, and the bounds of its confidence sequence."""
        verdict = self.verdict()
        return tuple(2 * value - 1 for value in (verdict.mean, verdict.low, verdict.high))  # type: ignore[return-value]

    def _decide(self, score: float) -> Decision:
        for evidence in (self._better, self._capped):
            evidence.add(score)
        worse, kept = self._worse.add(score), self._kept.add(score)
        if worse >= self._alpha:
            return "fail"
        known = self.change != "undecided" if self._wholly else kept >= self._beta
        return "pass" if known else "undecided"


# ── for as long as one watches ────────────────────────────────────────────────────────────────────────────────────


class Drift:
    """Watches scores for a fall below `good`: at each run a new bet begins beside the others (Shiryaev and Roberts).

    While nothing changes, alarms come 1/`alpha` runs apart on average, or further; after a fall one comes soon.
    """

    def __init__(self, good: float, bad: float, alpha: float = 0.001) -> None:
        Claim(good, bad)
        self._evidence = Evidence(good, "below", bad)
        self._wealth = np.full_like(self._evidence.weights, -math.inf)
        self._limit = -math.log(alpha)
        self.runs = 0

    def add(self, score: float) -> bool:
        """Count one run; True is an alarm, after which watching begins anew."""
        self.runs += 1
        self._wealth = np.logaddexp(self._wealth, 0.0) + self._evidence.growth(score)
        alarm = _logsum(self._wealth + self._evidence.weights) >= self._limit
        if alarm:
            self._wealth[:] = -math.inf
        return alarm
