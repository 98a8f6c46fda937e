"""What the collection decides by numbers: when the head becomes a segment, which segments are merged, into what kind,
and what of it all stays in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

HEAD_ROWS, HEAD_BYTES = 4096, 16 << 20
"""A head with more becomes a segment: its scan takes a tenth of a millisecond, its vectors stay in memory."""
BATCHES = 512
"""A journal with more is worth a segment too: opening reads all of it."""
LISTS = 10_000
"""From so many rows on lists are faster than a scan of all codes."""
FEW = 512
"""So many allowed rows are all confirmed, without a look at codes."""
TIER = 4
"""So many segments of about one size are merged: each row is written again once for each power of it."""
MOST_ROWS = 1 << 19
"""Merged segments have no more rows than this, nor than fit into a third of the budget while they are made."""
CACHE = 32 << 20
"""Bytes of pages that are kept where no budget says otherwise."""
DEAD = 0.3
"""A segment with a larger share of dead rows is written anew."""


class Sized(Protocol):
    """What is planned about a segment."""

    @property
    def live(self) -> int: ...

    @property
    def count(self) -> int: ...


def full(rows: int, width: int, batches: int) -> bool:
    """Whether the head should become a segment."""
    return rows >= HEAD_ROWS or rows * width >= HEAD_BYTES or batches >= BATCHES


def kind(rows: int, asked: str = "") -> str:
    """The index kind for a segment."""
    if rows < LISTS:
        return "flat"
    return asked or "ivf"


def fine(rows: int, dim: int, budget: int | None) -> bool:
    """Whether lists have fine codes: they save vectors to be read, and take about a byte for each number."""
    return budget is None or rows * dim <= budget // 2


def cache(budget: int | None) -> int:
    """Bytes for pages of vectors that were read lately."""
    return CACHE if budget is None else budget // 4


def most_rows(width: int, budget: int | None) -> int:
    """Rows of the largest segment that may be made."""
    return MOST_ROWS if budget is None else min(MOST_ROWS, max(HEAD_ROWS, budget // 3 // width))


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


def candidates(k: int, resident: bool) -> int:
    """How many rows are confirmed at first."""
    return max(64, 4 * k) if resident else max(40, 4 * k)
