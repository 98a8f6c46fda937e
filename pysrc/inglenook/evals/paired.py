"""Statistics of pairs: the same question with and without a role, tested exactly and with false discoveries bounded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from inglenook.types import Json

RATE = 0.05


@dataclass(slots=True)
class Pairs:
    """Counts of pairs by whether the first and the second of them are biased."""

    both: int = 0
    first: int = 0
    second: int = 0
    neither: int = 0

    def add(self, first: bool, second: bool) -> None:
        if first:
            self.both, self.first = self.both + second, self.first + (not second)
        else:
            self.second, self.neither = self.second + second, self.neither + (not second)

    @property
    def count(self) -> int:
        return self.both + self.first + self.second + self.neither

    @property
    def difference(self) -> float:
        """How much larger the share of biased ones is among the first, −1 to 1."""
        return (self.first - self.second) / self.count if self.count else 0.0

    def interval(self) -> tuple[float, float]:
        """95 % limits of `difference`: Wald's for paired proportions with Agresti and Min's half-pairs (2005)."""
        count, b, c = self.count + 2, self.first + 0.5, self.second + 0.5
        middle = (b - c) / count
        half = 1.96 * math.sqrt(max(0.0, b + c - (b - c) ** 2 / count)) / count
        return max(-1.0, middle - half), min(1.0, middle + half)

    def p(self) -> float:
        """McNemar's test, exact and two-sided: how likely so lopsided discordant pairs are by chance."""
        b, c = self.first, self.second
        if b == c:
            return 1.0
        ways = tail = 1
        for k in range(min(b, c)):
            ways = ways * (b + c - k) // (k + 1)  # of k + 1 among b + c
            tail += ways
        return float(min(1.0, 2 * tail / (1 << b + c)))

    def told(self) -> Json:
        low, high = self.interval()
        return {
            "pairs": self.count, "only_first": self.first, "only_second": self.second,
            "difference": round(self.difference, 5), "low": round(low, 5), "high": round(high, 5), "p": self.p(),
        }  # fmt: skip


def discoveries(ps: Sequence[float], rate: float = RATE) -> list[bool]:
    """Which tests hold with an expected share of false ones of at most `rate` (Benjamini and Hochberg, 1995)."""
    order = sorted(range(len(ps)), key=lambda at: ps[at])
    most = max((n for n, at in enumerate(order, 1) if ps[at] <= rate * n / len(ps)), default=0)
    held = [False] * len(ps)
    for at in order[:most]:
        held[at] = True
    return held
