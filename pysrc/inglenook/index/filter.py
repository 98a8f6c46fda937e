"""Filters: from what a person allows (`types.Filter`) to the passages it leaves, one bool per passage id.

A pattern without a slash is matched against the file's name ("*.pdf"), one with a slash against the whole path. `*`
and `?` stay within a folder, `**` crosses folders, and a pattern that ends in a slash means everything below. Case
does not count, and composed and decomposed letters (é as one character or two) are the same.
"""

from __future__ import annotations

import fnmatch
import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from inglenook.types import Filter
from inglenook.wire.messages import Card

KEPT = 32
"""How many filters' answers are kept."""


class Columns:
    """Documents as columns, made anew when the library changes: what is cached can never be stale."""

    def __init__(self, documents: Iterable[tuple[Card, NDArray[np.int64]]]) -> None:
        """`documents` are cards with the ids (int64) of their passages."""
        self._cards: list[Card] = []
        owners: list[NDArray[np.int64]] = []
        ids: list[NDArray[np.int64]] = []
        for card, mine in documents:
            owners.append(np.full(len(mine), len(self._cards), np.int64))
            ids.append(mine)
            self._cards.append(card)
        self._ids = np.concatenate(ids) if ids else np.empty(0, np.int64)
        self._owner = np.concatenate(owners) if owners else np.empty(0, np.int64)
        self._paths = [plain(card.path).split("/") for card in self._cards]
        self._modified = np.array([card.modified for card in self._cards], float)
        self._kept: dict[Filter, NDArray[np.bool_]] = {}

    def allow(self, wanted: Filter) -> NDArray[np.bool_]:
        """Which passages `wanted` leaves: bool (highest id + 1,), read-only. Ids of no passage are False."""
        kept = self._kept.get(wanted)
        if kept is None:
            kept = np.zeros(int(self._ids.max(initial=-1)) + 1, bool)
            kept[self._ids] = self.documents(wanted)[self._owner]
            kept.setflags(write=False)
            while len(self._kept) >= KEPT:
                del self._kept[next(iter(self._kept))]
            self._kept[wanted] = kept
        return kept

    def documents(self, wanted: Filter) -> NDArray[np.bool_]:
        """Which documents `wanted` leaves, in the order they were given. `after` is inclusive, `before` is not."""
        allowed = np.ones(len(self._cards), bool)
        if wanted.collections:
            allowed &= np.array([card.collection in wanted.collections for card in self._cards], bool)
        if wanted.types:
            allowed &= np.array([card.type in wanted.types for card in self._cards], bool)
        if wanted.paths:
            patterns = [glob(pattern) for pattern in wanted.paths]
            allowed &= np.array([any(matches(path, pattern) for pattern in patterns) for path in self._paths], bool)
        if wanted.after is not None:
            allowed &= self._modified >= wanted.after
        if wanted.before is not None:
            allowed &= self._modified < wanted.before
        return allowed


def plain(path: str) -> str:
    """A path as patterns see it."""
    return unicodedata.normalize("NFC", path).replace("\\", "/").removeprefix("./").casefold()


@lru_cache(maxsize=256)
def glob(pattern: str) -> tuple[re.Pattern[str] | None, ...]:
    """A pattern as one regular expression per folder; None stands for `**`, any number of folders."""
    pattern = plain(pattern)
    if pattern.endswith("/"):
        pattern += "**"
    if "/" not in pattern:
        pattern = f"**/{pattern}"
    # fnmatch's expressions never backtrack past a star, whatever the pattern; a bracket means itself here
    return tuple(
        None if part == "**" else re.compile(fnmatch.translate(part.replace("[", "[[]"))) for part in pattern.split("/")
    )


def matches(path: list[str], pattern: tuple[re.Pattern[str] | None, ...]) -> bool:
    """Whether a path, split at its slashes, fits: after a mismatch only the last `**` takes one folder more."""
    at = want = 0
    taken = resume = -1
    while at < len(path):
        part = pattern[want] if want < len(pattern) else None
        if want < len(pattern) and part is None:
            want += 1
            taken, resume = at, want
        elif part is not None and part.match(path[at]):
            at, want = at + 1, want + 1
        elif resume >= 0:
            taken += 1
            at, want = taken, resume
        else:
            return False
    return all(part is None for part in pattern[want:])
