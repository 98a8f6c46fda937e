"""The metadata of a live index: a table in memory, and how it lies in storage.

What is told with vectors lies in the journal, in their batch. When the journal is cut, all that was told since the last
whole run goes into a run of pages beside it (the `manifest.Run`s say which); from time to time everything goes into a
whole run, without ids that are gone. So an id costs a few writes in its life, and none of them waits for vectors.
Each page stands for itself: a damaged one takes away what it told, nothing else.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from inglenook.errors import NookError
from inglenook.flow import Flow, Get
from inglenook.index import pages, planner, where
from inglenook.index.manifest import Keys, Run
from inglenook.index.table import Ids, Marks, Table, unpacked

_NONE: Ids = np.empty(0, np.int64)

ROWS = 8192
"""Records in a page."""
STALE = 1.3
"""A table with so many times the records that there are ids is written anew."""
MASKS = 4 << 20
"""Bytes of answers to conditions that are kept, at most."""


class Turn(NamedTuple):
    """What a commit has to do that cuts the journal: pages to write and to delete, the runs from then on, the ids that
    have been told of since the whole run, and the table."""

    puts: dict[str, bytes]
    gone: list[str]
    runs: tuple[Run, ...]
    since: Ids
    table: Table


class Attributes:
    """Records of ids. Of a budget of memory little goes to answers that are kept; the table is as large as it is."""

    def __init__(self, budget: int | None = None) -> None:
        self.table, self.runs = Table(), tuple[Run, ...]()
        self._most = MASKS if budget is None else min(MASKS, budget // 64)
        self._since: list[Ids] = []
        self._kept: dict[where.Condition, Chosen] = {}

    @property
    def memory(self) -> int:
        """Bytes held."""
        since = sum(ids.nbytes for ids in self._since)
        return self.table.memory + since + sum(chosen.memory for chosen in self._kept.values())

    def read(self, keys: Keys, runs: tuple[Run, ...], damage: set[str]) -> Flow:
        """What runs say, instead of what was here."""
        self.table, self.runs, self._since, self._kept = Table(), runs, [], {}
        for run in runs:
            wanted = list(keys.run(run))
            for key, page in zip(wanted, (yield Get(wanted))):
                try:
                    patch = unpacked(pages.unseal(page or b""))
                except NookError as error:
                    if error.code != "corrupt":
                        raise
                    damage.add(key)
                else:
                    self.table.put(patch)
                    if run is not runs[0]:
                        self._since.append(patch.ids)

    def take(self, number: int, ids: Ids, patch: Table | None) -> None:
        """What a batch of the journal says: `ids` get new vectors, and records."""
        if not self.runs or number > self.runs[-1].born:
            self._put(self.of(ids, patch))

    def of(self, ids: Ids, patch: Table | None) -> Table:
        """`patch`, or that ids of which something is known have nothing any more."""
        return Table(ids[self.table.rows(ids) > 0]) if patch is None else patch

    def due(self, patch: Table, count: int) -> Ids | None:
        """All ids, where everything has to be written, `patch` with it, for that few of the ids here, `count` in all,
        are living, or because much was told since. None: a run of what was told since is enough."""
        told = sum(map(len, self._since)) + patch.size - 1
        if not told and self.table.size == 1:
            return None
        few = self.runs and told**2 <= self.runs[0].rows * planner.HEAD_ROWS
        if few and self.table.size <= STALE * (count + patch.size):
            return None
        return np.union1d(self.table.ids, patch.ids)

    def turn(self, keys: Keys, name: str, born: int, patch: Table, kept: Ids | None) -> Turn | None:
        """How to write what was told, `patch` with it, as a run called `name` that knows of batches up to `born`: of
        those ids that `kept` has (ascending, of those that `due` gave), or since the whole run. None where nothing
        was."""
        since = np.unique(np.concatenate([*self._since, patch.ids]))
        if not len(since) and (kept is None or not len(self.table.ids)):
            return None
        ids = since if kept is None else kept
        table, rows = Table(), self.table.rows(ids)
        table.put(self.table.picked(rows[rows > 0] - 1))
        table.put(patch)
        if kept is not None:
            places = table.rows(kept) - 1
            table = table.picked(places[table.filled[places]])
        starts = range(0, table.size - 1, ROWS)
        run = Run(name, table.size - 1, len(starts), born)
        puts = {key: pages.seal(table.pack(start, start + ROWS)) for key, start in zip(keys.run(run), starts)}
        before = self.runs[:1] if kept is None else ()
        gone = [key for old in self.runs if old not in before for key in keys.run(old)]
        return Turn(puts, gone, (*before, run), _NONE if before == () else since, table)

    def turned(self, turn: Turn) -> None:
        """A turn was committed."""
        if len(turn.runs) == 1:
            self.table = turn.table
        else:
            self.table.put(turn.table)
        self.runs, self._since, self._kept = turn.runs, [turn.since] if len(turn.since) else [], {}

    def choose(self, written: Mapping[str, Any]) -> Chosen:
        """Which of some ids a condition leaves, as a filter of the search. NookError("bad-filter")."""
        condition = where.read(written)
        chosen = self._kept.pop(condition, None) or Chosen(self, condition)
        while self._kept and sum(other.memory for other in self._kept.values()) + chosen.memory > self._most:
            del self._kept[next(iter(self._kept))]
        if chosen.memory <= self._most:
            self._kept[condition] = chosen
        return chosen

    def _put(self, patch: Table) -> None:
        if patch.size > 1:
            self.table.put(patch)
            self._since.append(patch.ids)
            self._kept = {}
            if len(self._since) > planner.BATCHES:
                self._since = [np.unique(np.concatenate(self._since))]


class Chosen:
    """Which of some ids a condition leaves, as things are when it is asked; for arrays of ids that do not go away the
    answer is kept."""

    def __init__(self, attributes: Attributes, condition: where.Condition) -> None:
        self._attributes, self._condition = attributes, condition
        self._look()

    def _look(self) -> None:
        self._table, self._version = self._attributes.table, self._attributes.table.version
        self._marks = self._condition.marks(self._table)
        self._seen: dict[int, tuple[weakref.ref[Ids], Marks]] = {}

    @property
    def memory(self) -> int:
        """Bytes held."""
        return self._marks.nbytes + sum(marks.nbytes for _, marks in self._seen.values())

    def __call__(self, ids: Ids) -> Marks:
        if self._table is not self._attributes.table or self._version != self._table.version:
            self._look()
        seen = self._seen.get(id(ids))
        if seen and seen[0]() is ids:
            return seen[1]
        marks: Marks = self._marks[self._table.rows(ids)]
        marks.setflags(write=False)
        if ids.base is None:  # a view is made anew for each search
            self._seen = {key: kept for key, kept in self._seen.items() if kept[0]() is not None}
            self._seen[id(ids)] = weakref.ref(ids), marks
        return marks
