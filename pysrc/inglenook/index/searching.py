"""How a live index is searched: every part for candidates by codes, then the exact vectors of the best of all, read in
*one* batch, put them in order. Where all there is lies in one segment in memory, its kernel does all of it at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from inglenook.flow import Flow, Get
from inglenook.index import planner
from inglenook.index import segment as segments
from inglenook.index.form import Scores, Vectors
from inglenook.index.head import Head
from inglenook.index.kind import NOTHING, Allow, Rows
from inglenook.index.live import NONE, Ids, Live
from inglenook.index.recent import Recent
from inglenook.index.segment import Segment

Filter = Callable[[Ids], NDArray[np.bool_]]
"""Which of some ids are allowed."""
Allowed = Filter | Mapping[str, Any]
"""That, or a condition on metadata (`index/where.py`)."""

TOGETHER = 16
"""Queries whose pages are read in one batch."""


class Pages(Protocol):
    """A cache of pages of vectors, in bytes' worth of memory: `size` of them now."""

    size: int
    hits: int
    misses: int

    def get(self, key: str) -> bytes | None: ...

    def put(self, key: str, page: bytes) -> None: ...


class Hits(NamedTuple):
    """The nearest of one query: ids and scores (`index/form.py`), best first, equal scores by id."""

    ids: Ids
    scores: Scores


class Open(NamedTuple):
    """A part in a search: its rows that may be found (None: all), and how many they are."""

    part: Head | Segment
    mask: Allow | None
    allowed: int


class Late(Exception):
    """Pages that were there are gone: another tab has merged their segment."""


class Searched(Live):
    """An index that can be searched. `cache` keeps pages of vectors that were read lately."""

    def __init__(
        self, name: str, *, budget: int | None = None, cache: Pages | None = None, durable: bool = True
    ) -> None:
        super().__init__(name, budget=budget, durable=durable)
        self.cache: Pages = cache or Recent(planner.cache(budget))
        self.trips: Counter[int] = Counter()
        """Queries by the batches that were read from storage for them."""
        self._missed: set[str] = set()

    def search(
        self, queries: NDArray[np.generic], k: int, *, allow: Allowed | None = None, effort: int = 0, want: int = 0
    ) -> Flow:
        """The k nearest of each query (m, dim): a list of `Hits`, shorter where fewer are there or allowed.

        `effort` is what the kind calls nprobe or ef, `want` how many rows are confirmed; 0: as planned.
        """
        allow = self.attributes.choose(allow) if isinstance(allow, Mapping) else allow
        answers = self.at_once(queries, k, allow=allow, effort=effort, want=want)
        if answers and None not in answers:
            return answers
        asked = self.form.queries(queries)
        if answers:
            asked = asked[[n for n, hits in enumerate(answers) if not hits]]
        for _ in range(3):
            try:
                others = iter((yield from self._search(asked, k, allow, effort, want)))
                return [hits or next(others) for hits in answers] if answers else [*others]
            except Late:
                yield from self.refresh()
        raise self._unreadable()

    def at_once(
        self, queries: NDArray[np.generic], k: int, *, allow: Allowed | None = None, effort: int = 0, want: int = 0
    ) -> list[Hits | None]:
        """`search` without its ado where all there is lies in one segment that confirms by itself, [] elsewhere. None
        for a query where a row that is left out might be as near as the last one."""
        if len(self.segments) != 1 or self.head.count or k < 1 or not (kind := self.segments[0].confirming):
            return []
        allow = self.attributes.choose(allow) if isinstance(allow, Mapping) else allow
        segment, mask, allowed = self.segments[0], None, self.segments[0].count
        want = want or planner.candidates(k, True)
        if allow is not None or segment.dead:
            _, mask, allowed = _opened(segment, allow)
            if allowed <= min(want, planner.FEW):
                return []
        answers: list[Hits | None] = []
        asked = self.form.asked(queries)
        for n in range(len(asked)):
            rows, scores = kind.nearest(asked[n], k, min(want, allowed), allow=mask, effort=effort)
            told = scores.tolist()
            ids, scores = segment.ids[rows[:k]], scores[:k]
            if len(set(told)) < len(told):
                by_id = np.lexsort((ids, -scores))
                ids, scores = ids[by_id], scores[by_id]
            answers.append(None if len(told) > k and told[k] == told[k - 1] else Hits(ids, scores))
        self.trips[0] += sum(hits is not None for hits in answers)
        return answers

    def _search(self, queries: Vectors, k: int, allow: Filter | None, effort: int, want: int) -> Flow:
        parts = self._parts()
        open_ = [_opened(part, allow) for part in parts]
        answers: list[Hits] = [Hits(NONE, np.empty(0, np.float32))] * len(queries)
        if k < 1:
            return answers
        resident = all(part.resident is not None for part in parts)
        first = want or planner.candidates(k, resident)
        todo = [(n, first) for n in range(len(queries))]
        trips = [0] * len(queries)
        while todo:
            asked, todo = todo, []
            for start in range(0, len(asked), TOGETHER):
                some = [
                    (n, most, self._candidates(open_, queries[n], (most, k), effort))
                    for n, most in asked[start : start + TOGETHER]
                ]
                pages, trip = yield from self._read(parts, [rows for _, _, (rows, _) in some])
                for n, most, (rows, ceiling) in some:
                    trips[n] += trip
                    answers[n] = hits = self._confirm(parts, queries[n], rows, pages, k)
                    if ceiling > NOTHING and (len(hits.ids) < k or ceiling >= hits.scores[-1]):
                        todo.append((n, most * 8))  # something left out might be nearer
        self.trips.update(trips)
        return answers

    def _candidates(
        self, open_: list[Open], query: Vectors, wanted: tuple[int, int], effort: int
    ) -> tuple[list[Rows], float]:
        """Rows to confirm of each part, and a bound of all others' scores."""
        want, k = wanted
        rows: list[Rows] = []
        scores: list[Scores] = []
        ceiling = NOTHING
        for part, mask, allowed in open_:
            if mask is not None and allowed <= min(want, planner.FEW):
                rows.append(np.flatnonzero(mask).astype(np.int32))
                scores.append(np.full(len(rows[-1]), np.inf, np.float32))
                continue
            found = part.kind.candidates(query, min(want, allowed), k=k, allow=mask, effort=effort)
            rows.append(found.rows)
            scores.append(found.scores)
            if len(found.rows) < allowed:
                ceiling = max(ceiling, found.ceiling)
        if len(open_) > 1 and sum(map(len, rows)) > want:
            everything = np.concatenate(scores)
            line = np.partition(everything, -want)[-want]
            for n, one in enumerate(open_):
                below = scores[n] < line
                if below.any():
                    if one.part.kind.exact:
                        ceiling = max(ceiling, float(scores[n][below].max()))
                    rows[n] = rows[n][~below]
        return rows, ceiling

    def _confirm(
        self, parts: Sequence[Head | Segment], query: Vectors, chosen: list[Rows],
        pages: dict[int, tuple[NDArray[np.integer], list[bytes | None]]], k: int,
    ) -> Hits:  # fmt: skip
        """The k best of the chosen rows by their exact vectors."""
        ids: list[Ids] = []
        scores: list[Scores] = []
        for n, (part, rows) in enumerate(zip(parts, chosen)):
            if not len(rows):
                continue
            if part.resident is not None:
                raw = part.resident[rows]
            else:
                assert isinstance(part, Segment)
                numbers, found = pages[n]
                if None in found:
                    good = np.array([page is not None for page in found])
                    lost = numbers[~good]
                    rows = rows[~np.isin(rows // part.part.per, lost)]
                    numbers, found = numbers[good], [page for page in found if page is not None]
                    if not len(rows):
                        continue
                raw = part.rows(rows, numbers, found)  # type: ignore[arg-type]
            ids.append(part.ids[rows])
            scores.append(self.form.scores(query, self.form.floats(raw)))
        if not ids:
            return Hits(NONE, np.empty(0, np.float32))
        all_ids, all_scores = (ids[0], scores[0]) if len(ids) == 1 else (np.concatenate(ids), np.concatenate(scores))
        best = np.lexsort((all_ids, -all_scores))[:k]
        return Hits(all_ids[best], all_scores[best])

    def _read(self, parts: Sequence[Head | Segment], chosen: list[list[Rows]]) -> Flow:
        """Pages of vectors that hold the chosen rows of some queries, in one batch: by position of the part, their
        numbers (ascending) and payloads, None for a damaged one; and how often storage was asked, 0 or 1."""
        needed: dict[int, NDArray[np.integer]] = {}
        keys: list[str] = []
        for n, part in enumerate(parts):
            if part.resident is None and isinstance(part, Segment):
                per = part.part.per
                needed[n] = np.unique(np.concatenate([rows[n] for rows in chosen]) // per)
                keys += map(part.key, needed[n].tolist())
        pages: dict[str, bytes | None] = {key: self.cache.get(key) for key in keys}
        missing = [key for key, page in pages.items() if page is None]
        if missing:
            for key, page in zip(missing, (yield Get(missing))):
                if page is None and key not in self._missed:
                    self._missed.add(key)  # gone for good if it is not there after a look at the manifest, either
                    raise Late
                payload = segments.checked(page)
                if payload is None:
                    self.damage.add(key)
                else:
                    pages[key] = kept = bytes(payload)
                    self.cache.put(key, kept)
        found = iter(pages.values())
        return {n: (numbers, [next(found) for _ in numbers]) for n, numbers in needed.items()}, int(bool(missing))


def _opened(part: Head | Segment, allow: Filter | None) -> Open:
    """A part under a filter."""
    if allow is None:
        return Open(part, part.alive, part.live)
    mask = np.asarray(allow(part.ids), np.bool_)
    mask = mask if part.alive is None else mask & part.alive
    return Open(part, mask, int(np.count_nonzero(mask)))
