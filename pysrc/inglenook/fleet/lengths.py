"""How long prompts and answers of a service are: a histogram that forgets, and what may be expected from it.

Classes are exact up to 16 tokens and then grow by an eighth, so that an answer of 3 tokens is not one of 5, and 2,000
take 60 of them. Each observation weighs a little more than the one before (an exponentially weighted average of
histograms).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from functools import cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

WINDOW = 1000  # observations after which a weight has fallen to 1/e
LONGEST = 1 << 20  # tokens; more are counted as so many
PRIOR = 4.0  # observations that the first guess is worth


@cache
def edges() -> tuple[int, ...]:
    """The longest length of each class."""
    ends = list(range(1, 17))
    while ends[-1] < LONGEST:
        ends.append(max(ends[-1] + 1, ends[-1] * 9 // 8))
    return tuple(ends)


class Lengths:
    """Of one service. `guess`: the mean before anything was seen, taken as that of an exponential distribution."""

    def __init__(self, guess: float = 64.0, window: int = WINDOW) -> None:
        self.growth = 1 + 1 / window
        self._step = 1.0  # what the next observation weighs; divides everything
        ends = np.asarray(edges(), dtype=float)
        starts = np.concatenate(([0.0], ends[:-1]))
        self._weights = PRIOR * (np.exp(-starts / guess) - np.exp(-ends / guess))
        self._tokens = self._weights * (starts + 1 + ends) / 2
        self.version = 0

    def add(self, length: int) -> None:
        """One more observation of `length` ≥ 1 tokens."""
        place = bisect_left(edges(), min(max(length, 1), LONGEST))
        self._weights[place] += self._step
        self._tokens[place] += self._step * max(length, 1)
        self._step *= self.growth
        if self._step > 1e12:
            self._weights, self._tokens, self._step = self._weights / self._step, self._tokens / self._step, 1.0
        self.version += 1

    def extend(self, lengths: Iterable[int]) -> Lengths:
        for length in lengths:
            self.add(length)
        return self

    def copy(self) -> Lengths:
        made = Lengths.__new__(Lengths)
        made.__dict__ = {**self.__dict__, "_weights": self._weights.copy(), "_tokens": self._tokens.copy()}
        return made

    @property
    def mean(self) -> float:
        return float(self._tokens.sum() / self._weights.sum())

    def quantile(self, share: float) -> int:
        """The smallest class end that at least `share` of the lengths do not exceed."""
        summed = np.cumsum(self._weights)
        return edges()[int(np.searchsorted(summed, share * summed[-1] * (1 - 1e-12)))]

    def after(self, length: int) -> tuple[Floats, Floats]:
        """The distribution of a length that is known to exceed `length`: (lengths, their probabilities). Past the
        longest class that was seen, one token more."""
        place = bisect_left(edges(), length + 1)
        weights = self._weights[place:]
        seen = weights > self._step * 1e-9
        total = float(weights[seen].sum())
        if total <= 0:
            return np.array([length + 1.0]), np.array([1.0])
        lengths = self._tokens[place:][seen] / weights[seen]
        return np.maximum(lengths, length + 1.0), weights[seen] / total

    def beyond(self, length: int) -> float:
        """The expected total length of what exceeds `length` already."""
        lengths, shares = self.after(length)
        return float(lengths @ shares)

    def inverse(self, length: int) -> float:
        """The mean of 1 / length, of what is longer than `length`."""
        lengths, shares = self.after(length)
        return float((1 / lengths) @ shares)
