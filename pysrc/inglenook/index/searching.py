"""How a live index is searched: every part for candidates by codes, then the exact vectors of the best of all, read in
*one* batch, put them in order. Codes that do not fit in memory are read in one batch before that. Where all there is
lies in memory, kernels do all of it at once.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from inglenook.flow import Flow
from inglenook.index import planner
from inglenook.index.attributes import Attributes
from inglenook.index.form import Scores, Vectors
from inglenook.index.head import Head
from inglenook.index.kind import NOTHING, Allow, Found, Listed, Pieces, Rows
from inglenook.index.live import NONE, Ids, Live
from inglenook.index.manifest import Manifest
from inglenook.index.nearest import Nearest
from inglenook.index.paper import WIDE, Paper
from inglenook.index.reading import Late, Reading
from inglenook.index.recent import EACH
from inglenook.index.segment import Segment

Filter = Callable[[Ids], NDArray[np.bool_]]
"""Which of some ids are allowed."""
Allowed = Filter | Mapping[str, Any]
"""That, or a condition on metadata (`index/where.py`)."""

TOGETHER = 16
"""Queries whose pages are read in one batch."""


class Hits(NamedTuple):
    """The nearest of one query: ids and scores (`index/form.py`), best first, equal scores by id."""

    ids: Ids
    scores: Scores


class Ask(NamedTuple):
    """A query, how many rows it wants to have confirmed for its k neighbours, and what `Kind` calls effort."""

    query: Vectors
    want: int
    k: int
    effort: int


class Open(NamedTuple):
    """A part in a search: its rows that may be found (None: all), and how many they are."""

    part: Head | Segment
    mask: Allow | None
    allowed: int
    listed: Listed | None
    """Its kind, where its codes are in storage."""

    def few(self, want: int) -> bool:
        """Whether so few are allowed that all are confirmed, without a look at codes."""
        return self.mask is not None and self.allowed <= min(want, planner.FEW)


class Look(NamedTuple):
    """Lists that a query looks into: list i begins at byte offsets[i] of the page keys[which[i]]."""

    lists: Rows
    keys: list[str]
    which: NDArray[np.integer]
    offsets: NDArray[np.int64]


class Searched(Live):
    """An index that can be searched."""

    def __init__(
        self, name: str, *, budget: int | None = None, durable: bool = True, target_ms: float | None = None
    ) -> None:
        super().__init__(name, budget=budget, durable=durable)
        self.target_ms = target_ms
        self.trips: Counter[int] = Counter()
        """Queries by the batches that were read from storage for them."""

    def _begin(self, found: Manifest, attributes: Attributes | None = None) -> None:
        super()._begin(found, attributes)
        self._nearest = Nearest(found.form)

    def _memory(self) -> dict[str, int]:
        held = super()._memory()
        return held | {"head": held["head"] + self._nearest.memory}

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
        """`search` without its ado where all there is lies in memory, [] elsewhere. None for a query where a row of
        lists that is left out might be as near as the last one."""
        parts = self._parts()
        views = [(part, view) for part in parts if (view := part.view())]
        lists = [part for part in parts if isinstance(part, Segment) and part.confirming]
        if k < 1 or not parts or len(views) + len(lists) < len(parts) or (views and not self._nearest.works):
            return []
        allow = self.attributes.choose(allow) if isinstance(allow, Mapping) else allow
        want = want or planner.candidates(k, True)
        masks = [part.masked(allow) for part, _ in views]
        listed: list[tuple[Segment, Allow | None, int]] = []
        for segment in lists:
            mask = segment.masked(allow)
            allowed = segment.count if mask is None else int(np.count_nonzero(mask))
            if mask is not None and allowed <= min(want, planner.FEW):
                return []
            listed.append((segment, mask, min(want, allowed)))
        answers: list[Hits | None] = []
        for query in self.form.asked(queries):
            found: list[tuple[Ids, Scores]] = []
            line = NOTHING
            if views:
                found.append(self._nearest.search([view for _, view in views], masks, query, k, want))
            for segment, mask, most in listed:
                rows, scores = segment.confirming.nearest(query, k, most, allow=mask, effort=effort)  # type: ignore[union-attr]
                if len(rows) > k and scores[k] == scores[k - 1]:
                    line = max(line, float(scores[k]))
                found.append((segment.ids[rows[:k]], scores[:k]))  # type: ignore[index]
            hits = Hits(*found[0]) if views and not lists else _best(found, k)
            answers.append(None if line > NOTHING and len(hits.ids) == k and line >= hits.scores[-1] else hits)
        self.trips[0] += sum(hits is not None for hits in answers)
        return answers

    def _search(self, queries: Vectors, k: int, allow: Filter | None, effort: int, want: int) -> Flow:
        answers: list[Hits] = [Hits(NONE, np.empty(0, np.float32))] * len(queries)
        if k < 1:
            return answers
        self._enough()
        open_: list[Open] = []
        for part in self._parts():
            one = yield from _opened(part, allow)
            open_.append(one)
        walked = [one for one in open_ if isinstance(one.part.kind, Paper)]
        open_ = [one for one in open_ if not isinstance(one.part.kind, Paper)]
        resident = all(one.part.resident is not None for one in open_)
        first = want or planner.candidates(k, resident)
        step = TOGETHER if self.budget is None else max(1, min(TOGETHER, self._spare // max(self._reading, 1)))
        todo, trips = [(n, first) for n in range(len(queries))], [0] * len(queries)
        widest = k
        while todo:
            asked, todo = todo, []
            widest = max(widest, *(most for _, most in asked))
            for start in range(0, len(asked), step):
                some = [Ask(queries[n], most, k, effort) for n, most in asked[start : start + step]]
                began, done = self.clock(), list[Reading]()
                with Reading(self) as reading:
                    chosen = yield from _chosen(open_, some, reading)
                    done.append(reading)
                trip = 0
                near: list[list[tuple[Ids, Scores]]] = [[] for _ in some]
                for ask, found in zip(some, near):
                    for one in walked:
                        ids, scores, more = yield from _walked(one, ask)
                        found.append((ids, scores))
                        trip += more
                for number, pages in enumerate(_loads(open_, chosen, self.room)):
                    with Reading(self) as reading:
                        yield from reading.fetch(pages)
                        done.append(reading)
                        for ask, (rows, _), found in zip(some, chosen, near):
                            for one, here in zip(open_, rows):
                                if len(here) and (one.part.resident is None or not number):
                                    _, ids, raw = one.part.vectors_of(here, reading.pages)
                                    found.append((ids, self.form.scores(ask.query, self.form.floats(raw))))
                trip += sum(reading.trips for reading in done)
                self._adapted(len(some), done, began)
                for (n, most), (_, ceiling), found in zip(asked[start : start + step], chosen, near):
                    answers[n] = hits = _best(found, k)
                    trips[n] += trip
                    if ceiling > NOTHING and (len(hits.ids) < k or ceiling >= hits.scores[-1]):
                        todo.append((n, most * 8))  # something left out might be nearer
        self.trips.update(trips)
        if widest > self._widest:
            self._weigh(widest)
        return answers

    def _adapted(self, queries: int, done: list[Reading], began: float) -> None:
        """Let the cache learn from some queries."""
        if self.adapt is not None:
            looked, read = sum(len(one.pages) for one in done), sum(one.read for one in done)
            took, reading = (self.clock() - began) * 1e3, sum(one.ms for one in done)
            if self.adapt.note(looked // queries, read // queries, took / queries, reading / queries):
                self.squeeze(0)


def _loads(open_: Sequence[Open], chosen: list[tuple[list[Rows], float]], room: float) -> list[dict[str, int]]:
    """The pages of vectors of all chosen rows: all together if there is room for them; one load at least."""
    loads: list[dict[str, int]] = [{}]
    size = 0
    for at, one in enumerate(open_):
        for rows, _ in chosen:
            for key, bytes_ in one.part.pages_of(rows[at]).items():
                if size + bytes_ > room and loads[-1]:
                    loads.append({})
                    size = 0
                if key not in loads[-1]:
                    loads[-1][key] = bytes_
                    size += bytes_ + EACH
    return loads


def _best(found: list[tuple[Ids, Scores]], k: int) -> Hits:
    """The k best of what was found."""
    if not found:
        return Hits(NONE, np.empty(0, np.float32))
    ids, scores = found[0] if len(found) == 1 else (np.concatenate(column) for column in zip(*found))
    best = np.lexsort((ids, -scores))[:k]
    return Hits(ids[best], scores[best])


def _chosen(open_: list[Open], asked: list[Ask], reading: Reading) -> Flow:
    """Of each query rows to confirm of each part, and a bound of all others' scores. Codes that are in storage are read
    in one batch."""
    lists = {
        (at, n): one.listed.lists(ask.query, k=ask.k, allow=one.mask, effort=ask.effort)
        for at, one in enumerate(open_)
        if one.listed is not None
        for n, ask in enumerate(asked)
        if not one.few(ask.want)
    }
    looks: dict[tuple[int, int], Look] = {}
    share, size = 1.0, 0
    while lists and (not looks or size > reading.room):  # more than there is room for: without the least promising
        wanted: dict[str, int] = {}
        for (at, n), some in lists.items():
            part = open_[at].part
            assert isinstance(part, Segment)
            some = some[: math.ceil(len(some) * share)]
            keys, which, offsets = part.codes_of(some)
            looks[at, n] = Look(some, list(keys), which, offsets)
            wanted |= keys
        size = sum(wanted.values()) + EACH * len(wanted)
        share = share * 0.9 if share > 0.01 else 0
    if looks:
        yield from reading.fetch(wanted)
    return [
        _candidates(open_, ask, [looks.get((at, n)) for at in range(len(open_))], reading.pages)
        for n, ask in enumerate(asked)
    ]


def _candidates(
    open_: list[Open], ask: Ask, looks: list[Look | None], pages: dict[str, bytes]
) -> tuple[list[Rows], float]:
    """Rows to confirm of each part, and a bound of all others' scores."""
    query, want, k, effort = ask
    rows: list[Rows] = []
    scores: list[Scores] = []
    ceiling, most = NOTHING, want
    for one, look in zip(open_, looks):
        if one.few(want):
            assert one.mask is not None
            rows.append(np.flatnonzero(one.mask).astype(np.int32))
            scores.append(np.full(len(rows[-1]), np.inf, np.float32))
            continue
        if look is None:
            found = one.part.kind.candidates(query, min(want, one.allowed), k=k, allow=one.mask, effort=effort)
        else:
            found = _among(one, look, ask, pages)
        rows.append(found.rows)
        scores.append(found.scores)
        most = max(most, len(found.rows))
        if len(found.rows) < one.allowed:
            ceiling = max(ceiling, found.ceiling)
    if len(open_) > 1 and sum(map(len, rows)) > most:
        told = np.concatenate(scores)
        told = told[told < np.inf]  # rows that no code has judged are confirmed whatever the others are
        line = np.partition(told, -most)[-most] if len(told) > most else NOTHING
        for n, one in enumerate(open_):
            below = scores[n] < line
            if below.any():
                if one.part.kind.exact:
                    ceiling = max(ceiling, float(scores[n][below].max()))
                rows[n] = rows[n][~below]
    return rows, ceiling


def _among(one: Open, look: Look, ask: Ask, pages: dict[str, bytes]) -> Found:
    """Candidates by codes that were read. Of a list whose codes are damaged every row is one."""
    assert one.listed is not None
    found = [pages.get(key, b"") for key in look.keys]
    whole = np.array([len(page) > 0 for page in found], np.bool_)[look.which]
    pieces = Pieces(look.lists[whole], found, look.which[whole], look.offsets[whole])
    near = one.listed.among(ask.query, min(ask.want, one.allowed), pieces, k=ask.k, allow=one.mask)
    if whole.all():
        return near
    starts = one.listed.starts
    lost = np.concatenate([np.arange(starts[n], starts[n + 1], dtype=np.int32) for n in look.lists[~whole].tolist()])
    lost = lost if one.mask is None else lost[one.mask[lost]]
    scores = np.concatenate([near.scores, np.full(len(lost), np.inf, np.float32)])
    return Found(np.concatenate([near.rows, lost]), scores)


def _walked(one: Open, ask: Ask) -> Flow:
    """The nearest of a part whose kind reads by itself, and how often it read."""
    part = one.part
    assert isinstance(part, Segment) and isinstance(part.kind, Paper)
    most = ask.k if one.mask is None else max(ask.k, ask.effort or WIDE)
    rows, scores, trips = yield from part.kind.walk(ask.query, most, ask.effort, part.key, part.vector)
    if one.mask is not None:
        rows, scores = rows[one.mask[rows]][: ask.k], scores[one.mask[rows]][: ask.k]
    ids = yield from part.ids_of(rows)
    return ids, scores, trips


def _opened(part: Head | Segment, allow: Filter | None) -> Flow:
    """A part under a filter."""
    listed = part.listed if isinstance(part, Segment) else None
    mask: Allow | None = (yield from part.opened(allow)) if isinstance(part, Segment) else part.masked(allow)
    return Open(part, mask, part.live if allow is None or mask is None else int(np.count_nonzero(mask)), listed)
