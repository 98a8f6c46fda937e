"""What the collection decides by numbers: when the head becomes a segment, which segments are merged, into what kind,
and what of it all stays in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

HEAD_ROWS, HEAD_BYTES = 4096, 16 << 20
"""A head with more becomes a segment: its scan takes a tenth of a millisecond, its vectors stay in memory."""
BATCHES = 512
"""A journal with more is worth a segment too: opening reads all of it."""
LISTS = 10_000
"""From so many rows on lists are faster than a scan of all codes."""
LEAST_LISTS = 256
"""Fewer rows are scanned, however short memory is."""
FEW = 512
"""So many allowed rows are all confirmed, without a look at codes."""
TIER = 4
"""So many segments of about one size are merged: each row is written again once for each power of it."""
MOST_ROWS = 1 << 19
"""Merged segments have no more rows than this, nor than fit into a third of the budget while they are made."""
CACHE = 32 << 20
"""Bytes of pages that are kept where no budget says otherwise."""
ROW = 200
"""Bytes that a row of the head takes beside its vector and its code."""
BUILD = 64 << 20
"""Vectors of a segment that is being made take a third of the budget, or this much where that is more."""
QUERY = 128
"""Pages of vectors that a query reads at most, but for filters and large k."""
DEAD = 0.3
"""A segment with a larger share of dead rows is written anew."""

NEAR = 1 << 15
"""Vectors of passages that a library has in memory whole, at most; of more, so many move to the live index that half of
this stay."""
MEANING = 96 << 20
"""Bytes of memory that the live index of a library in a tab may take."""


class Sized(Protocol):
    """What is planned about a segment."""

    @property
    def live(self) -> int: ...

    @property
    def count(self) -> int: ...


class Needs(NamedTuple):
    """What of a segment need not be in memory, and the bytes it takes (`Segment.needs`); how many pages of vectors it
    has in storage, and of how many bytes."""

    spare: dict[str, int]
    pages: int
    page: int


def full(rows: int, width: int, dim: int, batches: int, budget: int | None = None) -> bool:
    """Whether the head should become a segment."""
    return rows >= HEAD_ROWS or rows * (width + dim + ROW) >= head(budget) or batches >= BATCHES


def head(budget: int | None) -> int:
    """Bytes that the head may take."""
    return HEAD_BYTES if budget is None else min(HEAD_BYTES, budget // 8)


def kind(rows: int, dim: int, asked: str = "", budget: int | None = None) -> str:
    """The index kind for a segment. A scan needs all codes in memory, lists do not."""
    if asked == "webanns":
        return asked
    if rows < LISTS and (budget is None or rows * (dim + 20) <= budget // 16 or rows < LEAST_LISTS):
        return "flat"
    return asked or "ivf"


def shares(budget: int, least: int, needs: Sequence[Needs]) -> list[set[str]]:
    """What of each segment is in memory, given the bytes of all that has to be: codes of a bit for all before ids for
    any before fine codes, and what a query reads has to have room. What is left is the cache's."""
    taken: list[set[str]] = [set() for _ in needs]
    left = budget - least
    for name in ("blocks", "ids", "fine", "order"):
        for size, n in sorted((need.spare[name], n) for n, need in enumerate(needs) if name in need.spare):
            if name != "order" or "ids" in taken[n]:
                taken[n].add(name)
                if size + max(reading(needs, taken), budget // 16) <= left:
                    left -= size
                else:
                    taken[n].remove(name)
    return taken


def reading(needs: Sequence[Needs], taken: Sequence[set[str]]) -> int:
    """Bytes of what a query reads, about, given what of each segment is in memory: vectors, or before these three
    quarters of the codes that are not in memory (a query looks into a quarter of the lists, and reads their neighbours
    with them)."""
    pages = min(sum(need.pages for need in needs), QUERY) * max((need.page for need in needs), default=0)
    codes = [need.spare["blocks"] for need, here in zip(needs, taken) if "blocks" in need.spare.keys() - here]
    return max(pages, sum(codes) * 3 // 4)


def most_rows(width: int, budget: int | None) -> int:
    """Rows of the largest segment that may be made."""
    return MOST_ROWS if budget is None else min(MOST_ROWS, max(HEAD_ROWS, max(budget // 3, BUILD) // width))


def merge(segments: Sequence[Sized], most: int) -> list[int]:
    """The positions of segments that should become one now, [] if all is well."""
    tiers: dict[int, list[int]] = {}
    for n, segment in enumerate(segments):
        if segment.count and segment.live < (1 - DEAD) * segment.count:
            return [n]
        tiers.setdefault(max(segment.live, 1).bit_length() // 2, []).append(n)
    for _, some in sorted(tiers.items()):
        if len(some) >= TIER:
            taken, rows = [], 0
            for n in some:
                if rows + segments[n].live <= most:
                    taken.append(n)
                    rows += segments[n].live
            if len(taken) > 1:
                return taken
    return []


def all(segments: Sequence[Sized], most: int) -> list[int]:
    """The positions of the segments that should become one where one is wished for."""
    taken, rows = [], 0
    for n, segment in enumerate(segments):
        if rows + segment.live <= most:
            taken.append(n)
            rows += segment.live
    return taken if len(taken) > 1 or any(segments[n].live < segments[n].count for n in taken) else []


def moving(near: int) -> int:
    """How many of the vectors that a library has in memory whole should move to the live index."""
    return near - NEAR // 2 if near > NEAR else 0


def candidates(k: int, resident: bool) -> int:
    """How many rows are confirmed at first."""
    return max(64, 4 * k) if resident else max(40, 4 * k)
