"""Pages in memory under a budget in bytes: those that searches have read, as long as there is room for them.

A search takes the pages it uses out and puts them back when it is done, so that what is being used is never counted
twice. Of the few pages that were put back longest ago the one goes that was used least, if not less than the one that
comes ("often"; the idea of TinyLFU, Einziger et al. 2017: uses of all pages, in memory or not, are counted, in a byte
for each of a few thousand places that pages share, and halved from time to time); with "lru" the very oldest goes.
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
            self._counts[hash(key) % PLACES] = min(self._used(key) + 1, 255)
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
        """Keep a page, if it is worth more than what would have to go for it."""
        need = len(page) + EACH
        if key in self._pages or need > self.budget:
            return
        while self.size + need > self.budget:
            victim = self._victim()
            if self.policy == "often" and self._used(victim) > self._used(key):
                return
            self._drop(victim)
        self._pages[key] = page
        self.size += need

    def fit(self, budget: int) -> None:
        """Keep no more than `budget` bytes from now on."""
        self.budget = budget
        while self.size > budget:
            self._drop(self._victim())

    def _victim(self) -> str:
        """The page that goes next."""
        if self.policy == "lru":
            return next(iter(self._pages))
        oldest = sorted(islice(self._pages, LOOKED), key=self._used)
        self._pages.move_to_end(oldest[-1])
        return oldest[0]

    def _used(self, key: str) -> int:
        return self._counts[hash(key) % PLACES]

    def _drop(self, key: str) -> None:
        self.size -= len(self._pages.pop(key)) + EACH
