"""What the library keeps in memory of a document: its card and where its passages lie."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import overload

import numpy as np
from numpy.typing import NDArray

from inglenook.types import Chunk, Json
from inglenook.wire.messages import Card


@dataclass(slots=True)
class Entry:
    """A document as the library keeps it. Its passages have the ids `first` … `first + len(chunks) - 1`.

    `digest` tells whether the file's bytes changed, `pages` holds the character offset at which each page starts,
    `length` is how many characters its text has.
    """

    card: Card
    digest: str
    pages: list[int] = field(default_factory=list)
    chunks: Sequence[Chunk] = ()
    length: int = 0
    first: int = -1

    @property
    def ids(self) -> NDArray[np.int64]:
        """Ids of its passages, int64 of shape (chunks,)."""
        return np.arange(self.first, self.first + len(self.chunks), dtype=np.int64)


class Table(Sequence[Chunk]):
    """A document's passages as columns: a chunk is made when it is asked for, so opening a large nook is quick."""

    __slots__ = ("_ends", "_heading", "_headings", "_kind", "_kinds", "_pages", "_starts")

    def __init__(self, columns: object) -> None:
        """`columns` as `pack` makes them. ValueError, TypeError, KeyError or IndexError if they are not."""
        if not isinstance(columns, dict):
            raise TypeError("no columns")
        steps, lengths = integers(columns["step"]), integers(columns["length"])
        self._starts = list(accumulate(steps))
        self._ends = [start + length for start, length in zip(self._starts, lengths, strict=True)]
        self._headings, self._heading = _strings(columns["headings"]), integers(columns["heading"])
        self._kinds, self._kind = _strings(columns["kinds"]), integers(columns["kind"])
        self._pages = integers(columns["page"])
        sizes = {len(steps), len(self._heading), len(self._kind), len(self._pages) or len(steps)}
        names = (self._heading, self._headings), (self._kind, self._kinds)
        if len(sizes) > 1 or min(lengths + self._starts, default=0) < 0:
            raise ValueError("columns disagree")
        if any(index and not 0 <= min(index) <= max(index) < len(known) for index, known in names):
            raise IndexError("unknown heading or kind")

    def __len__(self) -> int:
        return len(self._starts)

    @overload
    def __getitem__(self, at: int) -> Chunk: ...
    @overload
    def __getitem__(self, at: slice) -> list[Chunk]: ...
    def __getitem__(self, at: int | slice) -> Chunk | list[Chunk]:
        if isinstance(at, slice):
            return [self._chunk(i) for i in range(*at.indices(len(self)))]
        return self._chunk(at)

    def __iter__(self) -> Iterator[Chunk]:
        return map(self._chunk, range(len(self)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def _chunk(self, i: int) -> Chunk:
        page = self._pages[i] if self._pages else 0
        heading, kind = self._headings[self._heading[i]], self._kinds[self._kind[i]]
        return Chunk(self._starts[i], self._ends[i], page or None, heading, kind)


def pack(chunks: Sequence[Chunk]) -> Json:
    """Chunks as columns of small numbers: steps from start to start, lengths, names by index; page 0 is none."""
    headings = list(dict.fromkeys(chunk.heading for chunk in chunks))
    kinds = list(dict.fromkeys(chunk.kind for chunk in chunks))
    by_heading, by_kind = ({name: i for i, name in enumerate(names)} for names in (headings, kinds))
    starts = [chunk.start for chunk in chunks]
    return {
        "step": [start - before for start, before in zip(starts, [0, *starts])],
        "length": [chunk.end - chunk.start for chunk in chunks],
        "page": [chunk.page or 0 for chunk in chunks] if any(chunk.page for chunk in chunks) else [],
        "headings": headings,
        "heading": [by_heading[chunk.heading] for chunk in chunks],
        "kinds": kinds,
        "kind": [by_kind[chunk.kind] for chunk in chunks],
    }


def integers(column: object) -> list[int]:
    """The column, if it is one of whole numbers. TypeError if not."""
    if not isinstance(column, list) or not set(map(type, column)) <= {int}:
        raise TypeError("a column of whole numbers was expected")
    return column


def _strings(column: object) -> list[str]:
    if not isinstance(column, list) or not set(map(type, column)) <= {str}:
        raise TypeError("a column of strings was expected")
    return column
