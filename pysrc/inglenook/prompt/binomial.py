"""Numbers of failures among independent runs: probabilities, and the test of a fixed size that sequential ones are
measured against. In numpy alone, so that it runs in the tab."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from inglenook.errors import NookError

Floats = NDArray[np.float64]

LARGEST = 20_000  # runs of a fixed test: past that the two rates are one for every purpose


def pmf(runs: int, rate: float) -> Floats:
    """The probabilities of 0 … `runs` failures, float64 (runs + 1), of a failure in each run with `rate`."""
    counts = np.arange(runs + 1)
    if rate in (0.0, 1.0):
        return np.asarray(counts == runs * rate, np.float64)
    steps = np.concatenate([[0.0], np.cumsum(np.log(np.arange(runs, 0, -1)) - np.log(np.arange(1, runs + 1)))])
    odds: Floats = np.exp(steps + counts * math.log(rate) + (runs - counts) * math.log1p(-rate))
    return odds


@lru_cache(maxsize=64)
def fixed(good: float, bad: float, alpha: float, beta: float) -> tuple[int, int]:
    """The smallest test of a fixed size: (runs, most failures that pass).

    A prompt that passes with rate `good` fails the test with probability `alpha` at most, one with rate `bad` passes it
    with `beta` at most; both are exact. Raises NookError("test-size") if more than 20,000 runs were needed.
    """
    worst = min(max(good * (1 - good), bad * (1 - bad)), 0.25)
    runs = max(1, int(0.1 * worst * (quantile(1 - alpha) + quantile(1 - beta)) ** 2 / (good - bad) ** 2))
    while runs <= LARGEST:
        allowed = int(np.searchsorted(np.cumsum(pmf(runs, 1 - good)), 1 - alpha))
        if allowed < runs and float(pmf(runs, 1 - bad)[: allowed + 1].sum()) <= beta:
            return runs, allowed
        runs += 1
    message = f"To tell a rate of {good:g} from {bad:g} takes more than {LARGEST:,} runs."
    raise NookError("test-size", message, "Ask for rates that lie further apart.")


def quantile(probability: float) -> float:
    """The quantile of the normal distribution, by halving on the error function: good to 1e-12."""
    low, high = -40.0, 40.0
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if 0.5 * math.erfc(-middle / math.sqrt(2)) < probability else (low, middle)
    return (low + high) / 2
