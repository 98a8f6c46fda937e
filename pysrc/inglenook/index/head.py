"""The head of a collection: the vectors that came last, in memory, until they become a segment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from inglenook.index.form import Form, Raw
from inglenook.index.kind import Allow, Rows
from inglenook.index.linear import Linear
from inglenook.index.nearest import View, masked

Ids = NDArray[np.int64]
T = TypeVar("T", bound=np.generic)


class Head:
    """Rows are appended and die; they are never replaced. What a search needs of it is what it needs of a `Segment`."""

    name = ""

    def __init__(self, form: Form) -> None:
        self.form, self.kind = form, Linear(form)
        self.count = self.dead = 0
        self._ids: Ids = np.empty(0, np.int64)
        self._raw: Raw = np.empty((0, form.width), np.uint8)
        self._alive: NDArray[np.bool_] = np.empty(0, np.bool_)
        self._row: dict[int, int] = {}

    @property
    def ids(self) -> Ids:
        return self._ids[: self.count]

    @property
    def resident(self) -> Raw:
        return self._raw[: self.count]

    @property
    def alive(self) -> NDArray[np.bool_] | None:
        return self._alive[: self.count] if self.dead else None

    @property
    def live(self) -> int:
        """Rows that are not dead."""
        return self.count - self.dead

    @property
    def memory(self) -> int:
        """Bytes held, room to grow included."""
        return self.kind.memory + self._ids.nbytes + self._raw.nbytes + self._alive.nbytes + 100 * len(self._row)

    def add(self, ids: Ids, rows: Raw) -> None:
        """Append rows under ids that are not here, each once."""
        before, self.count = self.count, self.count + len(ids)
        if self.count > len(self._ids):
            room = max(self.count, len(self._ids) * 3 // 2, 64)
            self._ids, self._alive = _grown(self._ids, room, before), _grown(self._alive, room, before)
            self._raw = _grown(self._raw, room, before)
        self._ids[before : self.count], self._raw[before : self.count] = ids, rows
        self._alive[before : self.count] = True
        self._row.update(zip(ids.tolist(), range(before, self.count)))
        self.kind.extend(self.form.floats(np.ascontiguousarray(rows)))

    def view(self) -> View | None:
        """Where the rows lie, for `Nearest`."""
        return self.kind.view(self._raw, self._ids)

    def masked(self, allow: Callable[[Ids], Allow] | None) -> Allow | None:
        """Which rows are alive and allowed; None: all."""
        return masked(self.ids, self.alive, allow)

    def pages_of(self, rows: Rows) -> dict[str, int]:
        """What has to be read to see rows: nothing."""
        return {}

    def vectors_of(self, rows: Rows, pages: Mapping[str, bytes]) -> tuple[NDArray[np.bool_], Ids, Raw]:
        """As `Segment.vectors_of`."""
        return np.ones(len(rows), np.bool_), self._ids[rows], self._raw[rows]

    def find(self, ids: Ids) -> Rows:
        """The living row of each id, -1 where there is none."""
        if not self._row:
            return np.full(len(ids), -1, np.int32)
        row = self._row.get
        return np.fromiter((row(id_, -1) for id_ in ids.tolist()), np.int32, len(ids))

    def kill(self, rows: NDArray[np.integer]) -> None:
        """Let living rows be dead."""
        self._alive[rows] = False
        self.dead += len(rows)
        for id_ in self._ids[rows].tolist():
            del self._row[id_]

    def revive(self, row: int) -> None:
        """Let a dead row live again."""
        self._alive[row] = True
        self.dead -= 1
        self._row[int(self._ids[row])] = row

    def after(self, row: int) -> Head:
        """A head of the living rows from `row` on."""
        rest = Head(self.form)
        some = np.flatnonzero(self._alive[row : self.count]) + row
        if len(some):
            rest.add(self._ids[some], self._raw[some])
        return rest


def _grown(array: NDArray[T], rows: int, count: int) -> NDArray[T]:
    new = np.empty((rows, *array.shape[1:]), array.dtype)
    new[:count] = array[:count]
    return new
