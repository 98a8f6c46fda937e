"""Pages of vectors that were read lately, under a budget in bytes."""

from __future__ import annotations

from collections import OrderedDict


class Recent:
    """Keeps pages; the one that was used longest ago goes first. `hits` and `misses` count what was asked for."""

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self.size = self.hits = self.misses = 0
        self._pages: OrderedDict[str, bytes] = OrderedDict()

    def get(self, key: str) -> bytes | None:
        page = self._pages.get(key)
        if page is None:
            self.misses += 1
        else:
            self.hits += 1
            self._pages.move_to_end(key)
        return page

    def put(self, key: str, page: bytes) -> None:
        if len(page) > self.budget:
            return
        before = self._pages.pop(key, None)
        self.size += len(page) - (len(before) if before else 0)
        self._pages[key] = page
        while self.size > self.budget:
            self.size -= len(self._pages.popitem(last=False)[1])
