"""Pages in memory under a budget in bytes: those that searches have read, as long as there is room for them.

A search takes the pages it uses out and gives them back when it is done, so that what is being used is never counted
twice. Of those that are new and those given back longest ago the ones go that were used least, the others have
another turn ("often"; the idea of TinyLFU, Einziger et al. 2017: uses of all pages, in memory or not, are counted, in a
byte for each of a few thousand places that pages share, and halved from time to time); with "lru" the oldest go.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
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

    def take(self, keys: Iterable[str]) -> dict[str, bytes]:
        """Those of some pages that are here; they no longer are then."""
        pages, counts, found = self._pages, self._counts, dict[str, bytes]()
        asked = gone = 0
        for key in keys:
            asked += 1
            if counts:
                place = hash(key) % PLACES
                if counts[place] < 255:
                    counts[place] += 1
            page = pages.pop(key, None)
            if page is not None:
                found[key] = page
                gone += len(page) + EACH
        self.size -= gone
        self.hits += len(found)
        self.misses += asked - len(found)
        self._uses += asked
        if counts and self._uses > AGE:
            self._counts, self._uses = counts.translate(HALVED), 0
        return found

    def back(self, pages: Mapping[str, bytes]) -> None:
        """Keep again what was taken: there is room for it, and nothing to be weighed."""
        size = sum(map(len, pages.values())) + EACH * len(pages)
        if self.size + size > self.budget:  # which is smaller by now
            self.put(pages)
            return
        self.size += size
        self._pages.update(pages)

    def put(self, pages: Mapping[str, bytes]) -> None:
        """Keep pages that are not here, as far as they are worth more than what would have to go for them."""
        new = dict(pages)
        self.size += sum(map(len, new.values())) + EACH * len(new)
        if self.size > self.budget and self.policy == "often":
            looked = list(islice(self._pages, len(new) + LOOKED))
            for key in sorted([*looked, *new], key=self._used):  # of equals the oldest
                if self.size <= self.budget:
                    break
                page = new.pop(key, None)
                self.size -= len(self._pages.pop(key) if page is None else page) + EACH
            for key in looked:
                if key in self._pages:
                    self._pages.move_to_end(key)
        self._pages |= new
        self.fit(self.budget)

    def fit(self, budget: int) -> None:
        """Keep no more than `budget` bytes from now on."""
        self.budget = budget
        while self.size > budget:
            looked = list(islice(self._pages, LOOKED)) if self.policy == "often" else [next(iter(self._pages))]
            key = min(looked, key=self._used) if len(looked) > 1 else looked[0]
            self.size -= len(self._pages.pop(key)) + EACH

    def _used(self, key: str) -> int:
        return self._counts[hash(key) % PLACES]
