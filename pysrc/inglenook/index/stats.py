"""What an index is made of, what it holds in memory, and what its searches cost so far."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Stats:
    """Figures of one collection; sizes are in bytes.

    kinds    living vectors by index kind ("flat", "ivf", "hnsw", "webanns"), the recent ones as "head"
    memory   what is held, by sort: "head", "codes", "ids", "vectors", "dead", "cache"
    stored   its segments' pages in storage
    hits, misses   pages of the cache that searches found there, and that they had to read
    trips    searches by the round trips to storage that they took
    """

    vectors: int
    segments: int
    kinds: dict[str, int]
    budget: int | None
    memory: dict[str, int]
    stored: int
    hits: int
    misses: int
    trips: dict[int, int]
    damaged: int

    @property
    def queries(self) -> int:
        """Searches so far."""
        return sum(self.trips.values())

    @property
    def held(self) -> int:
        """All bytes of memory."""
        return sum(self.memory.values())

    def trips_at(self, share: float) -> int:
        """Round trips that this share of searches did not exceed: 0.5 for the median, 0.99, 1 for the most."""
        return percentile(Counter(self.trips), share)


def percentile(counts: Counter[int], share: float) -> int:
    """The least number that `share` of the counted ones do not exceed; 0 where nothing was counted."""
    left = share * counts.total()
    for number, count in sorted(counts.items()):
        left -= count
        if left <= 0:
            return number
    return 0


__all__ = ["Stats", "percentile"]
