"""How long a sub-model takes on this device: measured once by a short probe, corrected by every answer since.

A piece of a prompt costs a + b · tokens + c · tokens · (the positions they look back on); a written token costs
d + e · positions. ELMS (2409.09071) takes times to go with the share of prompt and model; measured here, the head and
what a pass costs anyhow do not shrink with the model, so every level has lines of its own. The correction is ours: a
factor common to all levels (a device is busy, or saves its battery) and a smaller one for each, both exponentially
weighted. An answer counts by its median pass, and no further than three usual deviations from what was expected, so
that a tab that was frozen for a minute does not spoil the model. Reading passages to squeeze a prompt (`squeeze.read`)
takes so much for each of their tokens.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

VERSION = 2
PIECE = 64  # tokens of a prompt that are computed in one go
FEW = 16  # a pass over fewer is not worth learning from
FAST, OWN = 0.2, 0.1  # weight of an answer in the common factor, and in that of its level
USUAL = 3.0  # deviations that an answer may differ
LEAST_SPREAD = 0.03
DRIFTS = ("prompt", "writing", "squeezing")
MARGIN = 1.5  # deviations by which a promise is longer than what is expected


class Run(NamedTuple):
    """One pass: `tokens` from position `at` on took `ms` at `level`, together with `others`."""

    tokens: int
    at: int
    ms: float
    level: int = 0
    others: int = 0


@dataclass(frozen=True, slots=True)
class Cost:
    """The lines of one level, in milliseconds: a, b, c and d, e of above."""

    piece: float
    token: float
    look: float
    step: float
    reach: float

    def prefill(self, tokens: int, at: int = 0) -> float:
        """`tokens` of a prompt from position `at` on, in pieces."""
        looks = self.look * tokens * (at + tokens / 2)
        return -(-tokens // PIECE) * self.piece + tokens * self.token + looks

    def decode(self, positions: float) -> float:
        """One token after `positions`."""
        return self.step + self.reach * positions

    def run(self, tokens: int, at: int) -> float:
        """One pass."""
        return self.prefill(tokens, at) if tokens > 1 else self.decode(at)

    @classmethod
    def fit(cls, runs: Sequence[Run], like: Cost | None = None, groups: float = 1.0) -> Cost:
        """The lines through measured passes. What attention adds is seen over many positions only: it may be taken from
        a level `like` this one, of whose attention `groups` (a share) take part."""
        pieces, steps = [r for r in runs if r.tokens > 1], [r for r in runs if r.tokens == 1]
        look = like.look * groups if like else None
        reach = like.reach * groups if like else None
        looks = np.array([r.tokens * (r.at + r.tokens / 2) for r in pieces])
        flat = np.array([[1, r.tokens] for r in pieces], float)
        piece, token, *more = _fit(flat, looks, np.array([r.ms for r in pieces]), look)
        ats = np.array([r.at for r in steps], float)
        step, *far = _fit(np.ones((len(steps), 1)), ats, np.array([r.ms for r in steps]), reach)
        return cls(piece, token, more[0], step, far[0])


def _fit(
    flat: NDArray[np.float64], slope: NDArray[np.float64], ms: NDArray[np.float64], known: float | None
) -> list[float]:
    """Factors of the columns of `flat` and of `slope`, none negative, that differ least from `ms` in proportion."""
    if known is not None:
        left = np.maximum(ms - known * slope, 0.1 * ms)
        return [*_positive(flat / ms[:, None], left / ms), known]
    return _positive(np.column_stack([flat, slope]) / ms[:, None], np.ones(len(ms)))


def _positive(rows: NDArray[np.float64], goal: NDArray[np.float64]) -> list[float]:
    """Least squares without negative factors: while there is one, the most negative stays out."""
    use = list(range(rows.shape[1]))
    while True:
        found = np.linalg.lstsq(rows[:, use], goal, rcond=None)[0]
        if len(use) == 1 or found.min() >= 0:
            out = np.zeros(rows.shape[1])
            out[use] = np.maximum(found, 0)
            return [float(x) for x in out]
        del use[int(found.argmin())]


@dataclass(slots=True)
class Drift:
    """Logarithm of what passes take now by what they took when they were measured; `spread` is the usual deviation."""

    common: float = 0.0
    own: list[float] = field(default_factory=list)
    spread: float = LEAST_SPREAD

    def learn(self, level: int, ratio: float) -> None:
        """An answer took `ratio` times what the lines say."""
        off = math.log(ratio) - self.common - self.own[level]
        most = USUAL * self.spread
        held = min(max(off, -most), most)
        self.common += FAST * held
        self.own[level] += OWN * held
        self.spread = max(LEAST_SPREAD, self.spread + FAST * (abs(held) - self.spread))

    def factor(self, level: int) -> float:
        return math.exp(self.common + self.own[level])


class Latency:
    """What each level takes on the device named `device`; level 0 is the whole model. `passage` are the milliseconds
    that a token of a passage takes to be read before it is squeezed, 0 where that was not measured."""

    def __init__(self, costs: Sequence[Cost], device: str = "", passage: float = 0.0) -> None:
        self.costs, self.device, self.passage = list(costs), device, passage
        self.prompt = Drift(own=[0.0] * len(self.costs))
        self.writing = Drift(own=[0.0] * len(self.costs))
        self.squeezing = Drift(own=[0.0])

    @property
    def levels(self) -> range:
        return range(len(self.costs))

    def prefill(self, level: int, tokens: int, at: int = 0) -> float:
        """Milliseconds expected for `tokens` of a prompt from position `at` on."""
        return self.costs[level].prefill(tokens, at) * self.prompt.factor(level)

    def decode(self, level: int, positions: float) -> float:
        """Milliseconds expected for one more token after `positions`."""
        return self.costs[level].decode(positions) * self.writing.factor(level)

    def squeeze(self, tokens: int) -> float:
        """Milliseconds that reading so many tokens of passages, to squeeze them, may well take."""
        return tokens * self.passage * self.squeezing.factor(0) * math.exp(MARGIN * self.squeezing.spread)

    def current(self, level: int) -> Cost:
        """The lines of a level as they are now."""
        cost, reading, writing = self.costs[level], self.prompt.factor(level), self.writing.factor(level)
        return Cost(cost.piece * reading, cost.token * reading, cost.look * reading, cost.step * writing,
                    cost.reach * writing)  # fmt: skip

    @property
    def margins(self) -> tuple[float, float]:
        """How many times longer than expected a prompt, and a token, may well take."""
        return math.exp(MARGIN * self.prompt.spread), math.exp(MARGIN * self.writing.spread)

    def learn(self, level: int, runs: Sequence[Run]) -> None:
        """Correct by the passes of one answer: their own time, without waiting for others. Passes over few tokens,
        which check drafts, are neither a prompt's nor one token's, and those that ran with others tell nothing."""
        cost, runs = self.costs[level], [r for r in runs if r.level == level and not r.others]
        prompts, steps = [r for r in runs if r.tokens >= FEW], [r for r in runs if r.tokens == 1]
        for drift, mine in ((self.prompt, prompts), (self.writing, steps)):
            ratios = [r.ms / expected for r in mine if r.ms > 0 and (expected := cost.run(r.tokens, r.at)) > 0]
            if ratios:
                drift.learn(level, median(ratios))

    def squeezed(self, tokens: int, ms: float) -> None:
        """Reading so many tokens of passages took so long."""
        if self.passage and tokens and ms > 0:
            self.squeezing.learn(0, ms / (tokens * self.passage))

    def dump(self) -> bytes:
        """To keep for the next start."""
        drifts = {name: asdict(getattr(self, name)) for name in DRIFTS}
        costs = [asdict(cost) for cost in self.costs]
        plain = {"version": VERSION, "device": self.device, "costs": costs, "passage": self.passage, **drifts}
        return json.dumps(plain).encode()

    @classmethod
    def load(cls, data: bytes, device: str) -> Latency | None:
        """What was kept; None if it is of another version or device, or damaged: then it is measured again."""
        try:
            plain = json.loads(data)
            if plain["version"] != VERSION or plain["device"] != device:
                return None
            made = cls([Cost(**cost) for cost in plain["costs"]], device, float(plain["passage"]))
            for name in DRIFTS:
                setattr(made, name, Drift(**plain[name]))
        except (ValueError, KeyError, TypeError):
            return None
        return made
