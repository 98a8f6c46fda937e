"""A cache no larger than it has to be: WebANNS' Algorithm 2 (`cache.Fit`) while an index is being used.

Every few queries are a trial. From all the memory there is the cache goes down to the smallest from which reading takes
no more than the time given; queries that read longer later on let it grow again, step by step. Pages take the part
that vectors have in the paper.
"""

from __future__ import annotations

from inglenook.index.cache import Fit, Trial

WINDOW = 48
"""Queries of a trial; the first third of them, which fill a cache that has grown, do not count."""
SLOW = 0.9
"""The share of queries that are to be fast enough."""


class Adapt:
    """`limit` is how many bytes the cache may have now, of `most` for pages of `page` bytes. `target_ms` is what
    reading may take of a query's time."""

    def __init__(self, target_ms: float, most: int, page: int) -> None:
        self._page, self._target_ms = page, target_ms
        self._fit = Fit(max(1, most // page), share=0.0, target_ms=target_ms)
        self._pages = self._fit.best
        self._noted: list[tuple[int, int, float, float]] = []
        self._page_ms = self._trial_ms = 1e-3

    @property
    def limit(self) -> int:
        return self._pages * self._page

    def note(self, looked: int, read: int, query_ms: float, read_ms: float) -> bool:
        """A query looked at some pages, had to read some, and took so long, reading so long. Returns whether `limit`
        is another one now."""
        self._noted.append((looked, read, query_ms, read_ms))
        if len(self._noted) < WINDOW:
            return False
        looks, reads, queries, reading = zip(*self._noted[WINDOW // 3 :])
        self._noted = []
        if sum(reads):
            self._page_ms = max(sum(reading) / sum(reads), 1e-3)
        fetches, before = sorted(reads)[int(SLOW * len(reads))], self._pages
        if self._fit.next is None:
            slower = self._page_ms / self._trial_ms  # than storage was when this size was found
            self._pages = self._fit.overrun(fetches * slower) or self._pages
        elif self._fit.kept or fetches * self._page_ms <= self._target_ms:  # before that it has to be filled
            mean = len(looks)
            self._trial_ms = self._page_ms
            trial = Trial(self._pages, fetches, sum(looks) / mean, sum(queries) / mean, self._page_ms)
            self._pages = self._fit.measured(trial) or self._fit.best
        return self._pages != before


__all__ = ["SLOW", "WINDOW", "Adapt"]
