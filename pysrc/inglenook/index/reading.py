"""The pages that somebody reads: taken out of the cache while they are used, and put back when they are done with."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from inglenook.flow import Flow, Get
from inglenook.index import segment as segments
from inglenook.index.live import Live
from inglenook.index.recent import EACH


class Late(Exception):
    """Pages that were there are gone: another tab has merged their segment."""


class Reading:
    """`pages` are payloads by key, those that are damaged left out."""

    def __init__(self, live: Live) -> None:
        self.pages: dict[str, bytes] = {}
        self.trips = self.read = 0
        """How often storage was asked, and for how many pages."""
        self.ms = 0.0
        """How long that took."""
        self._live, self._lost, self._read = live, set[str](), 0
        self._taken: dict[str, bytes] = {}
        self._new: dict[str, bytes] = {}

    def fetch(self, wanted: dict[str, int]) -> Flow:
        """Read pages, given by key with their bytes, in one batch, as far as they are not in the cache."""
        live = self._live
        new = [key for key in wanted if key not in self.pages and key not in self._lost]
        here = live.cache.take(new)
        self._hold(here)
        self._taken |= here
        missing = [key for key in new if key not in here]
        if not missing:
            return
        size = sum(wanted[key] + EACH for key in missing)
        live.squeeze(size)
        self._read += size
        self.trips += 1
        self.read += len(missing)
        start = live.clock()
        found = yield Get(missing)
        self.ms += (live.clock() - start) * 1e3
        whole = {}
        for key, sealed in zip(missing, found):
            if sealed is None and key not in live.missed:
                live.missed.add(key)  # gone for good if it is not there after a look at the manifest, either
                raise Late
            payload = segments.checked(sealed)
            if payload is None:
                live.damage.add(key)
                self._lost.add(key)
            else:
                whole[key] = bytes(payload)
        self._hold(whole)
        self._new |= whole

    @property
    def room(self) -> float:
        """Bytes of pages that there is room for."""
        return self._live.room

    def _hold(self, pages: dict[str, bytes]) -> None:
        self.pages |= pages
        self._live.working += _size(pages)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        live = self._live
        live.working -= _size(self.pages)
        live.read(self._read)
        live.cache.back(self._taken)
        live.cache.put(self._new)


def _size(pages: dict[str, bytes]) -> int:
    return sum(map(len, pages.values())) + EACH * len(pages)
