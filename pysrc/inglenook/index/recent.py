"""Pages in memory under a budget in bytes: those that searches have read, as long as there is room for them.

A search takes the pages it uses out and puts them back when it is done, so that what is being used is never counted
twice. When there is no room the page goes that was used least of the few that were put back longest ago ("often"; the
idea of TinyLFU, Einziger et al. 2017: uses of all pages, in memory or not, are counted, in a byte for each of a few
thousand places that pages share, and halved from time to time), or just the one that was put back longest ago ("lru").
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import islice

POLICIES = ("often", "lru")
EACH = 240
"""Bytes that keeping a page takes beside its own."""
PLACES = 1 << 13
"""Places that pages are counted in."""
AGE = 8 * PLACES
"""Uses after which counts are halved."""
LOOKED = 8
"""Pages among which the one is sought that goes."""
HALVED = bytes(n // 2 for n in range(256))


class Recent:
    """Keeps pages. `hits` and `misses` count what was asked for, `size` the bytes of what is here."""

    def __init__(self, budget: int, policy: str = "often") -> None:
        if policy not in POLICIES:
            raise ValueError(f"policy is one of {', '.join(POLICIES)}, not {policy!r}")
        self.budget, self.policy = budget, policy
        self.size = self.hits = self.misses = 0
        self._pages: OrderedDict[str, bytes] = OrderedDict()
        self._uses, self._counts = 0, bytearray(PLACES if policy == "often" else 0)

    def take(self, key: str) -> bytes | None:
        """A page, which is no longer here then."""
        if self.policy == "often":
            place = hash(key) % PLACES
            self._counts[place] = min(self._counts[place] + 1, 255)
            self._uses += 1
            if self._uses > AGE:
                self._counts, self._uses = self._counts.translate(HALVED), 0
        page = self._pages.pop(key, None)
        if page is None:
            self.misses += 1
        else:
            self.hits += 1
            self.size -= len(page) + EACH
        return page

    def put(self, key: str, page: bytes) -> None:
        """Keep a page, if there is room for it among the others that are used as much."""
        if key not in self._pages and len(page) + EACH <= self.budget:
            self._pages[key] = page
            self.size += len(page) + EACH
            self.fit(self.budget)

    def fit(self, budget: int) -> None:
        """Keep no more than `budget` bytes from now on."""
        self.budget = budget
        while self.size > budget:
            oldest = list(islice(self._pages, LOOKED if self.policy == "often" else 1))
            if len(oldest) > 1:
                oldest.sort(key=lambda key: self._counts[hash(key) % PLACES])
                self._pages.move_to_end(oldest[-1])
            self.size -= len(self._pages.pop(oldest[0])) + EACH
