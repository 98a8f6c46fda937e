"""The vectors of a library's passages: what is searched by meaning.

Those of late lie in memory, exactly searched in about a millisecond, and in the pages `v/` of their documents; that is
all of a small library. Of a large one, documents move to the live index (`index/collection.py`) in the same store,
where vectors are read as searches need them, within a budget of memory: their rows are added there, then one commit
lets their pages say where the vectors are. A kill in between leaves rows that no page speaks of; these are swept away.

Passages have other ids in the live index than in the library, whose ids end with the session: `_sessions` translates.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from inglenook.embed.encoder import DIMENSIONS, SPACE
from inglenook.errors import NookError
from inglenook.flow import Flow, Get, Hold, Load, Pause
from inglenook.index import pages, planner
from inglenook.index.entry import Entry
from inglenook.index.flat import Flat
from inglenook.index.kernel import Allow
from inglenook.index.pages import Elsewhere
from inglenook.index.store import Change, MemoryStore
from inglenook.wire.messages import Index, Progress

if TYPE_CHECKING:
    from inglenook.index.collection import Collection  # a small library never needs it

Ids = NDArray[np.int64]
Vectors = NDArray[np.float32]

NAME = "meaning"
PAGES = f"i/{NAME}/"
READ = 64
"""Documents whose vectors are read at once."""
SPARE = 28
"""So many more rows of the live index are confirmed than are asked for."""
GONE = ("unknown-id", "corrupt")
"""What is said of vectors that were deleted meanwhile, or are damaged."""
KEPT = 64
"""Answers of filters about pages of ids that are kept."""


class Moved(NamedTuple):
    """A document in the live index: its passages have the ids from `first` on there."""

    entry: Entry
    first: int


class Meaning:
    """`near` is what lies in memory, `far` the live index, opened when there is a document in it. `budget` is the bytes
    of memory that the live index may take, None for no end."""

    def __init__(self, budget: int | None = None) -> None:
        self.near, self.budget = Flat(DIMENSIONS), budget
        self.far: Collection | None = None
        self.trips = Counter[int]()
        self._moved: dict[str, Moved] = {}
        self._gone: dict[int, int] = {}  # firsts and lengths of what is to be deleted from the live index
        self._swept = False
        self._table: tuple[Ids, Ids, Ids] | None = None
        self._filter: tuple[Allow, Callable[[Ids], Allow]] | None = None

    @property
    def count(self) -> int:
        """Passages that can be found."""
        return self.near.count + sum(len(moved.entry.chunks) for moved in self._moved.values())

    @property
    def memory(self) -> int:
        """Bytes held."""
        return self.near.memory + (self.far.memory if self.far else 0)

    # ── documents come and go ─────────────────────────────────────────────────────────────────────────────────────

    def take(self, found: Iterable[tuple[Entry, bytes | None]]) -> list[Entry]:
        """Place documents by their pages `v/`. Returns those that can be found now."""
        placed: list[Entry] = []
        embedded, rows = [], []
        for entry, page in found:
            if page is None or not entry.chunks:
                continue
            if told := pages.elsewhere(page):
                if self.far and told.space == SPACE and told.rows == len(entry.chunks):
                    self._place(entry, told.first)
                    placed.append(entry)
                continue
            space, vectors = pages.read_vectors(page)
            if space == SPACE and len(vectors) == len(entry.chunks):
                embedded.append(entry)
                rows.append(vectors)
        if rows:
            self.near.add_items(np.concatenate(rows), np.concatenate([entry.ids for entry in embedded]))
        return placed + embedded

    def add(self, entry: Entry, vectors: Vectors) -> None:
        """A document's vectors (chunks, dim), which its page has by now."""
        self.near.add_items(vectors, entry.ids)

    def drop(self, entry: Entry) -> None:
        """Forget a document in memory; from the live index `settle` takes it."""
        self.near.mark_deleted(entry.ids)
        if moved := self._moved.pop(entry.card.document, None):
            self._gone[moved.first] = len(moved.entry.chunks)
            self._table = None

    def open(self, found: Iterable[bytes | None]) -> Flow:
        """Open the live index if one of these pages `v/` speaks of it."""
        if self.far is None and any(page is not None and pages.elsewhere(page) for page in found):
            far = self._made()
            if (yield from far.open()):
                self.far = far

    def refresh(self) -> Flow:
        """Another tab has changed the live index."""
        if self.far:
            yield from self.far.refresh()

    def settle(self, current: Callable[[Entry], bool], entries: Callable[[], Sequence[Entry]]) -> Flow:
        """Delete from the live index what is gone; move documents there where memory has too many (`entries` are all
        there are, `current` says whether one still is); merge. Others may search and change the library meanwhile, and
        it may be stopped at any time. What has no room stays where it is. Events: Progress."""
        if not (planner.moving(self.near.count) or self._gone or (self.far and not self._swept)):
            return
        release = yield Hold(f"index/{NAME}/moves")  # one tab at a time
        try:
            if self.far is None:
                yield from self._begin()
            else:
                yield from self.far.refresh()
            assert self.far
            yield from self._sweep()
            if self._gone:
                gone, self._gone = self._gone, {}
                yield from self.far.delete(np.concatenate([np.arange(at, at + n) for at, n in gone.items()]))
            yield Load("threads")
            while most := planner.moving(self.near.count):
                if not (yield from self._move(_first([e for e in entries() if self._is_near(e)], most), current)):
                    break
            yield from self.far.maintain()
        except NookError as error:
            yield Progress("index", 0, 0, "vectors", error.message)
        finally:
            release()

    def _move(self, entries: list[Entry], current: Callable[[Entry], bool]) -> Flow:
        """Move documents to the live index. Returns whether any were."""
        assert self.far
        moving: list[Entry] = []
        rows: list[Vectors] = []
        before: dict[str, bytes | None] = {}
        for start in range(0, len(entries), READ):
            some = entries[start : start + READ]
            read = yield Get([f"{kind}/{entry.card.document}" for entry in some for kind in "dv"])
            for entry, card, page in zip(some, read[::2], read[1::2]):
                if card is None or page is None or not current(entry) or pages.elsewhere(page):
                    continue
                space, vectors = pages.read_vectors(page)
                if space == SPACE and len(vectors) == len(entry.chunks):
                    moving.append(entry)
                    rows.append(vectors)
                    before[f"d/{entry.card.document}"] = card
            yield Pause()
        if not moving:
            return False
        counts = [len(entry.chunks) for entry in moving]
        first = max([self.far.highest, *(one.first + len(one.entry.chunks) for one in self._moved.values())]) + 1
        firsts = (first + np.cumsum([0, *counts[:-1]])).tolist()
        ids = np.arange(first, first + sum(counts))
        yield from self.far.add(np.concatenate(rows), ids)
        del rows
        keep = [current(entry) for entry in moving]
        puts = {
            f"v/{entry.card.document}": pages.moved(Elsewhere(SPACE, at, n))
            for entry, at, n, kept in zip(moving, firsts, counts, keep) if kept
        }  # fmt: skip
        try:
            expect = {key: before[key] for key in (f"d/{name[2:]}" for name in puts)}
            yield Change(puts, [], expect)
        except NookError as error:
            yield from self.far.delete(ids)
            if error.code != "conflict":  # another tab has changed one of them, and is about to say so
                raise
            return False
        for entry, at, n, kept in zip(moving, firsts, counts, keep):
            if kept and current(entry):
                self._place(entry, at)
            else:
                self._gone[at] = n
        return True

    def _place(self, entry: Entry, first: int) -> None:
        self.near.mark_deleted(entry.ids)
        self._gone.pop(first, None)
        self._moved[entry.card.document] = Moved(entry, first)
        self._table = None

    def _is_near(self, entry: Entry) -> bool:
        return entry.card.vectors > 0 and entry.card.document not in self._moved

    def _made(self) -> Collection:
        from inglenook.index.collection import Collection

        return Collection(NAME, budget=self.budget)

    def _begin(self) -> Flow:
        from inglenook.index.form import Form

        far = self._made()
        if not (yield from far.open()):
            yield from far.create(Form(DIMENSIONS, "cosine", "f2"))
        self.far = far

    def _sweep(self) -> Flow:
        """Delete rows that no document speaks of; documents whose rows are gone wait for their vectors again."""
        assert self.far
        if self._swept:
            return
        if self.far.count != sum(len(moved.entry.chunks) for moved in self._moved.values()) + sum(self._gone.values()):
            ids: Ids = yield from self.far.ids()
            ours = self._sessions(ids)
            yield from self.far.delete(ids[ours < 0])
            here = np.sort(ours[ours >= 0])
            for document, (entry, _) in list(self._moved.items()):
                first, last = np.searchsorted(here, [entry.ids[0], entry.ids[-1] + 1])
                if last - first < len(entry.chunks):
                    del self._moved[document]
                    entry.card = replace(entry.card, vectors=0)
            self._table = None
        self._swept = True

    # ── searching ─────────────────────────────────────────────────────────────────────────────────────────────────

    def nearest(self, query: Vectors, k: int, allow: Allow | None = None) -> Flow:
        """The k nearest passages that are allowed (bool by id, None for all): ids and scores, best first."""
        ids, scores = self.near.knn_query(query, k, allow)
        if not self._moved or self.far is None:
            self.trips[0] += 1
            return ids, scores
        only = None if allow is None else self._only(allow)
        [hits] = yield from self.far.search(query, k, allow=only, want=k + SPARE)
        mine = self._sessions(hits.ids)
        ids, scores = np.concatenate([ids, mine[mine >= 0]]), np.concatenate([scores, hits.scores[mine >= 0]])
        ids, at = np.unique(ids, return_index=True)  # one that moved meanwhile was found twice
        best = np.lexsort((ids, -scores[at]))[:k]
        return ids[best], scores[at][best]

    def vectors(self, wanted: Sequence[tuple[Entry, NDArray[np.intp]]]) -> Flow:
        """Vectors of some passages of documents, given by ordinal: an array each, None for a document that is not in
        the live index."""
        there = [self._moved.get(entry.card.document) for entry, _ in wanted]
        ids = [moved.first + rows for moved, (_, rows) in zip(there, wanted) if moved]
        if not ids or self.far is None:
            return [None] * len(wanted)
        try:
            rows = yield from self.far.get(np.concatenate(ids))
        except NookError as error:
            if error.code not in GONE:
                raise
            return [None] * len(wanted)
        parts = iter(np.split(rows, np.cumsum([len(some) for some in ids])[:-1]))
        return [next(parts) if moved else None for moved in there]

    def figures(self) -> Index:
        """What there is, what it holds in memory, and what searches cost."""
        near = self.near.count
        stored = near * DIMENSIONS * 2  # half precision
        kinds, trips = Counter({"flat": near} if near else {}), self.trips
        if self.far is None:
            return Index(near, DIMENSIONS, dict(kinds), stored, self.memory, queries=trips.total())
        stats = self.far.stats()
        kinds.update(stats.kinds)
        told = replace(stats, trips=dict(trips + Counter(stats.trips)))
        return Index(
            self.count, DIMENSIONS, dict(kinds), stored + stats.stored, self.memory,
            (self.budget + self.near.memory) if self.budget else 0, stats.hits, stats.misses, told.queries,
            told.trips_at(0.5), told.trips_at(0.99),
        )  # fmt: skip

    def _sessions(self, ids: Ids) -> Ids:
        """The library's ids of passages in the live index, -1 for those that no document speaks of."""
        if self._table is None:
            moved = sorted(self._moved.values(), key=lambda one: one.first)
            columns = [(one.first, len(one.entry.chunks), one.entry.first) for one in moved]
            starts, counts, firsts = np.array(columns or [(0, 0, 0)], np.int64).T.copy()
            self._table = starts, counts, firsts
            self._filter = None
        starts, counts, firsts = self._table
        at = np.searchsorted(starts, ids, side="right") - 1
        beyond = ids - starts[at]
        return np.where((at >= 0) & (beyond < counts[at]), firsts[at] + beyond, -1)

    def _only(self, allow: Allow) -> Callable[[Ids], Allow]:
        """A filter of the live index's ids. What it says of ids that lie in memory is kept."""
        if self._table is None:
            self._filter = None
        if self._filter is None or self._filter[0] is not allow:
            known: dict[int, tuple[Ids, Allow]] = {}

            def only(ids: Ids) -> Allow:
                kept = known.get(id(ids))
                if kept is None or kept[0] is not ids:
                    mine = self._sessions(ids)
                    inside = (mine >= 0) & (mine < len(allow))
                    kept = ids, inside & allow[np.where(inside, mine, 0)]
                    while len(known) >= KEPT:
                        del known[next(iter(known))]
                    known[id(ids)] = kept
                return kept[1]

            self._filter = allow, only
        return self._filter[1]


class Brought:
    """Vectors of documents in a file's pages that was read whole."""

    def __init__(self, found: dict[str, bytes]) -> None:
        self._found, self._store = found, MemoryStore()
        self._store.pages = found
        self._far: Any = None

    def page(self, document: str) -> bytes | None:
        """The page `v/` of a document with its vectors in it, None where there are none."""
        page = self._found.get(f"v/{document}")
        told = None if page is None else pages.elsewhere(page)
        if told is None:
            return page
        from inglenook.index.collection import Collection
        from inglenook.index.drive import run

        try:
            if self._far is None:
                self._far = Collection(NAME)
                run(self._far.open(), self._store)
            ids = np.arange(told.first, told.first + told.rows)
            return pages.vectors(told.space, run(self._far.get(ids), self._store))
        except NookError as error:  # damaged: it is embedded again
            if error.code not in GONE:
                raise
            return None


def _first(entries: list[Entry], most: int) -> list[Entry]:
    """The first of documents, with `most` passages or a little more."""
    entries.sort(key=lambda entry: entry.first)
    taken, rows = [], 0
    for entry in entries:
        if rows >= most:
            break
        taken.append(entry)
        rows += len(entry.chunks)
    return taken
