"""What is said of a run: normalised latency, time to the first token, attainment of the latency objective.

An answer attains it if it takes at most `slack` times what it takes alone on an idle worker (AlpaServe, 2302.11665,
section 6, and MuxServe count so). What is unfinished at the end is a miss, and enters the means with the time until
then, over its true number of tokens: less than it would have taken, so whoever leaves requests behind is flattered,
if anybody.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a request. `ended`: None if it is unfinished. `alone`: seconds it takes by itself."""

    id: str
    service: str
    arrived: float
    tokens: int
    alone: float
    first: float | None
    ended: float | None


@dataclass(frozen=True, slots=True)
class Summary:
    """Seconds and shares; `mean`, `p50` and `p99` are of normalised latency, in seconds a token."""

    mean: float
    p50: float
    p99: float
    first: float
    first_p99: float
    attained: float
    unfinished: int
    count: int

    @classmethod
    def of(cls, outcomes: Iterable[Outcome], until: float, slack: float = 5.0) -> Summary:
        """`until`: when one stopped looking."""
        rows: Sequence[Outcome] = list(outcomes)
        spent = np.array([(until if row.ended is None else row.ended) - row.arrived for row in rows])
        first = np.array([(until if row.first is None else row.first) - row.arrived for row in rows])
        normalised = spent / np.array([row.tokens for row in rows])
        attained = [
            row.ended is not None and time <= slack * row.alone for row, time in zip(rows, spent.tolist())
        ]  # fmt: skip
        return cls(
            float(normalised.mean()),
            float(np.quantile(normalised, 0.5)),
            float(np.quantile(normalised, 0.99)),
            float(first.mean()),
            float(np.quantile(first, 0.99)),
            float(np.mean(attained)),
            sum(row.ended is None for row in rows),
            len(rows),
        )
