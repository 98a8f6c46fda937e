"""The live index: a head of recent vectors and segments behind it, searched as one.

A search asks every part for candidates by codes, reads the exact vectors of the best of all in *one* batch, and ranks
them. What is added or deleted is a write-ahead batch, committed before it is acknowledged; now and then `maintain`
makes the head a segment and merges segments, beside everything else, and switches to them in one commit.

All methods that may wait are flows (`flow.py`). Where `durable` is False nothing is stored and no flow asks for
anything but Pause. Two tabs may share a collection: each commit says which manifest it builds on, and the one that is
late reads again what the other did (`refresh`) and repeats its change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from inglenook.errors import NookError
from inglenook.flow import Flow, Get, Hold, Pause, Scan
from inglenook.index import journal, manifest, planner
from inglenook.index import kind as kinds
from inglenook.index import segment as segments
from inglenook.index.form import Form, Raw, Scores, Vectors
from inglenook.index.head import Head
from inglenook.index.journal import Batch
from inglenook.index.kind import NOTHING, Allow, Rows
from inglenook.index.manifest import Keys, Manifest, Part
from inglenook.index.recent import Recent
from inglenook.index.segment import Segment
from inglenook.index.store import Change
from inglenook.wire.messages import Progress

Ids = NDArray[np.int64]
Filter = Callable[[Ids], NDArray[np.bool_]]
"""Which of some ids are allowed."""

NONE: Ids = np.empty(0, np.int64)
TOGETHER = 16
"""Queries whose pages are read in one batch."""
WRITE = 4 << 20
"""Bytes of a segment that are committed at once."""


class Pages(Protocol):
    """A cache of pages of vectors, in bytes' worth of memory."""

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


class Made(NamedTuple):
    """What a fresh segment was made of: the rows of `old` that were `living`; its row i was row place[i] of
    old[origin[i]]. `head`: the rows of the head and the last batch that are in it. `replaces`: it has new vectors, and
    older rows of their ids die."""

    old: list[Head | Segment]
    living: list[NDArray[np.bool_]]
    origin: NDArray[np.integer]
    place: NDArray[np.integer]
    head: tuple[int, int] | None
    replaces: bool


class _Late(Exception):
    """Pages that were there are gone: another tab has merged their segment."""


class Collection:
    """One index of a store. Make one with `create` or `open`; both are flows on an object that is empty before."""

    def __init__(
        self, name: str, *, budget: int | None = None, cache: Pages | None = None, durable: bool = True
    ) -> None:
        self.keys, self.budget, self.durable = Keys(name), budget, durable
        self.cache: Pages = cache or Recent(planner.cache(budget))
        self.damage: set[str] = set()
        """Keys of pages that cannot be read. Their rows are not found; everything else is."""
        self.reads = 0
        """Batches that searches have read from storage."""
        self._page: bytes | None = None  # the manifest, as stored
        self._missed: set[str] = set()
        self._batches = 0
        self._next = 0  # number of the next batch
        self._buried: dict[int, tuple[Head | Segment, int]] = {}  # what `delete` took, until it is merged away
        self._building: set[str] = set()
        self._swept = False
        self.manifest: Manifest
        self.head: Head
        self.segments: list[Segment] = []

    # ── life ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def create(self, form: Form, kind: str = "", options: dict[str, int] | None = None) -> Flow:
        """Begin an empty collection. NookError("conflict") if there is one of this name."""
        self._begin(Manifest(form, log=1, kind=kind, options=options or {}))
        page = self.manifest.page() if self.durable else b""
        yield from self._commit({self.keys.manifest: page, self.keys.mirror: page}, [], {self.keys.manifest: None})
        self._page = page

    def open(self) -> Flow:
        """Read what is stored: manifest, codes and journal, no vectors. Returns whether there is such a collection."""
        page, mirror = yield Get([self.keys.manifest, self.keys.mirror])
        found = self._readable(page, mirror)
        if found is None:
            return False
        known = {segment.name: segment for segment in self.segments}
        read: dict[str, Segment | None] = {}
        for part in found.parts:
            old = known.get(part.name)
            lean = not planner.fine(part.count, found.form.dim, self.budget)
            without = frozenset({"fine"}) if lean and part.kind == "ivf" else frozenset[str]()
            read[part.name] = old or (yield from segments.read(self.keys, found.form, part, self.damage, without))
        dead = [part.name for part in found.parts if part.dead]
        buried = dict(zip(dead, (yield Get([self.keys.dead(name) for name in dead])))) if dead else {}
        log = yield Scan(self.keys.log)
        self._begin(found)  # from here on nothing waits: a search sees all of it or nothing
        self._page = page
        for part in found.parts:
            segment = read[part.name]
            if segment is not None:
                segment.renew(part)
                if part.dead and not segment.bury(buried[part.name]):
                    self.damage.add(self.keys.dead(part.name))
                self.segments.append(segment)
        for key, batch in log.items():
            self._repeat(int(key.rpartition("/")[2], 16), batch)
        return True

    def refresh(self) -> Flow:
        """Read again what another tab or process has changed. Returns whether anything was."""
        if not self.durable:
            return False
        release = yield Hold(f"index/{self.keys.collection}")
        try:
            return (yield from self._reread())
        finally:
            release()

    def _reread(self) -> Flow:
        [page] = yield Get([self.keys.manifest])
        if page != self._page or page is None:
            if not (yield from self.open()):
                message = f"The index “{self.keys.collection}” was deleted by another tab."
                raise NookError("storage-lost", message, "Build it again, or use a copy of it.")
            return True
        before = self._next
        while True:
            numbers = range(self._next, self._next + 8)
            batches = yield Get([self.keys.batch(number) for number in numbers])
            for number, batch in zip(numbers, batches):
                if batch is None:
                    return self._next > before
                if number == self._next:
                    self._repeat(number, batch)

    def drop(self) -> Flow:
        """Delete the collection."""
        parts = (*self.manifest.parts, *self.manifest.pending)
        log = yield Scan(self.keys.log)
        gone = [key for part in parts for key in self.keys.all(part)]
        yield from self._commit({}, [*gone, *log, self.keys.manifest, self.keys.mirror], {})
        self._begin(Manifest(self.manifest.form))

    # ── what is in it ─────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def form(self) -> Form:
        return self.manifest.form

    @property
    def count(self) -> int:
        """Vectors that can be found."""
        return self.head.live + sum(segment.live for segment in self.segments)

    @property
    def memory(self) -> int:
        """Bytes held, the cache of pages not counted."""
        return self.head.memory + sum(segment.memory for segment in self.segments)

    def ids(self) -> Ids:
        """All ids, in no order."""
        parts = [part.ids if part.alive is None else part.ids[part.alive] for part in self._parts()]
        return np.concatenate([NONE, *parts])

    def get(self, ids: Ids) -> Flow:
        """The vectors (n, dim) of ids, as the space has them. NookError("unknown-id")."""
        for _ in range(3):
            try:
                rows = yield from self._rows_of(ids)
                return self.form.floats(rows)
            except _Late:
                yield from self.refresh()
        raise self._unreadable()

    # ── change ────────────────────────────────────────────────────────────────────────────────────────────────────

    def add(self, vectors: NDArray[np.generic], ids: Ids) -> Flow:
        """Put vectors (n, dim) under ids; those that are here are replaced, and of equal ids the last counts. They are
        stored when this ends. Yields Progress where there are many. NookError("bad-vector" | "bad-shape" | "quota")."""
        rows, ids = self.form.rows(vectors), np.asarray(ids, np.int64).reshape(-1)
        if len(rows) != len(ids):
            raise NookError("bad-shape", f"{len(rows)} vectors have {len(ids)} ids.", "Give each vector one id.")
        if len(ids) > 1 and not (ids[1:] > ids[:-1]).all():
            _, last = np.unique(ids[::-1], return_index=True)
            kept = np.sort(len(ids) - 1 - last)
            rows, ids = rows[kept], ids[kept]
        if not len(ids):
            return
        if planner.full(len(ids), self.form.width, 0):
            most = planner.most_rows(self.form.width, self.budget)
            for start in range(0, len(ids), most):
                some = slice(start, start + most)
                while not (yield from self._build([], ids[some], rows[some])):
                    pass  # another tab took the segment for one that nobody finishes
        else:
            yield from self._record(Batch(ids, rows))

    def delete(self, ids: Ids) -> Flow:
        """Forget ids. Returns how many there were."""
        ids = np.unique(np.asarray(ids, np.int64))
        known = self._here(ids)
        if not known.all():
            yield from self.refresh()  # another tab may have added them a moment ago
            known = self._here(ids)
        if known.any():
            yield from self._record(Batch(NONE, self._no_rows(), gone=ids[known]))
        return int(np.count_nonzero(known))

    def restore(self, ids: Ids) -> Flow:
        """Take deletions back, as long as nothing was merged since. NookError("unknown-id")."""
        ids = np.unique(np.asarray(ids, np.int64))
        for id_ in ids.tolist():
            if id_ not in self._buried:
                raise self._unknown(id_)
        if len(ids):
            yield from self._record(Batch(NONE, self._no_rows(), back=ids))

    # ── search ────────────────────────────────────────────────────────────────────────────────────────────────────

    def search(
        self, queries: NDArray[np.generic], k: int, *, allow: Filter | None = None, effort: int = 0, want: int = 0
    ) -> Flow:
        """The k nearest of each query (m, dim): a list of `Hits`, shorter where fewer are there or allowed.

        `effort` is what the kind calls nprobe or ef, `want` how many rows are confirmed; 0: as planned.
        """
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
            except _Late:
                yield from self.refresh()
        raise self._unreadable()

    def _search(self, queries: Vectors, k: int, allow: Filter | None, effort: int, want: int) -> Flow:
        parts = self._parts()
        open_ = [_opened(part, allow) for part in parts]
        answers: list[Hits] = [Hits(NONE, np.empty(0, np.float32))] * len(queries)
        if k < 1:
            return answers
        resident = all(part.resident is not None for part in parts)
        first = want or planner.candidates(k, resident)
        todo = [(n, first) for n in range(len(queries))]
        while todo:
            asked, todo = todo, []
            for start in range(0, len(asked), TOGETHER):
                some = [
                    (n, most, self._candidates(open_, queries[n], (most, k), effort))
                    for n, most in asked[start : start + TOGETHER]
                ]
                pages = {} if resident else (yield from self._read(parts, [rows for _, _, (rows, _) in some]))
                for n, most, (rows, ceiling) in some:
                    answers[n] = hits = self._confirm(parts, queries[n], rows, pages, k)
                    if ceiling > NOTHING and (len(hits.ids) < k or ceiling >= hits.scores[-1]):
                        todo.append((n, most * 8))  # something left out might be nearer
        return answers

    def at_once(
        self, queries: NDArray[np.generic], k: int, *, allow: Filter | None = None, effort: int = 0, want: int = 0
    ) -> list[Hits | None]:
        """`search` without its ado where all there is lies in one segment that confirms by itself, [] elsewhere. None
        for a query where a row that is left out might be as near as the last one."""
        if len(self.segments) != 1 or self.head.count or k < 1 or not (nearest := self.segments[0].nearest):
            return []
        segment, mask, allowed = self.segments[0], None, self.segments[0].count
        want = want or planner.candidates(k, True)
        if allow is not None or segment.dead:
            _, mask, allowed = _opened(segment, allow)
            if allowed <= min(want, planner.FEW):
                return []
        answers: list[Hits | None] = []
        asked = self.form.asked(queries)
        for n in range(len(asked)):
            rows, scores = nearest(asked[n], k, min(want, allowed), allow=mask, effort=effort)
            told = scores.tolist()
            ids, scores = segment.ids[rows[:k]], scores[:k]
            if len(set(told)) < len(told):
                by_id = np.lexsort((ids, -scores))
                ids, scores = ids[by_id], scores[by_id]
            answers.append(None if len(told) > k and told[k] == told[k - 1] else Hits(ids, scores))
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
        numbers (ascending) and payloads, None for a damaged one."""
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
            self.reads += 1
            for key, page in zip(missing, (yield Get(missing))):
                if page is None and key not in self._missed:
                    self._missed.add(key)  # gone for good if it is not there after a look at the manifest, either
                    raise _Late
                payload = segments.checked(page)
                if payload is None:
                    self.damage.add(key)
                else:
                    pages[key] = kept = bytes(payload)
                    self.cache.put(key, kept)
        found = iter(pages.values())
        return {n: (numbers, [next(found) for _ in numbers]) for n, numbers in needed.items()}

    def _rows_of(self, ids: Ids) -> Flow:
        """The stored rows (n, width) of ids."""
        ids = np.asarray(ids, np.int64)
        parts = self._parts()
        here = self._here(ids)
        if not here.all():
            raise self._unknown(int(ids[~here][0]))
        where = [part.find(ids) for part in parts]
        pages = yield from self._read(parts, [[rows[rows >= 0] for rows in where]])
        out = np.empty((len(ids), self.form.width), np.uint8)
        for n, (part, rows) in enumerate(zip(parts, where)):
            there = rows >= 0
            if not there.any():
                continue
            if part.resident is not None:
                out[there] = part.resident[rows[there]]
            else:
                assert isinstance(part, Segment)
                numbers, found = pages[n]
                if None in found:
                    raise self._unreadable()
                out[there] = part.rows(rows[there], numbers, found)
        return out

    # ── housekeeping ──────────────────────────────────────────────────────────────────────────────────────────────

    def maintain(self, everything: bool = False) -> Flow:
        """Make the head a segment where it is full, merge segments where there are many, sweep what a writer that died
        left behind. May be stopped at any time, and goes on when it is called again; searches and changes go on beside
        it. `everything`: one segment at the end, if it may be so large. Yields Progress. Returns whether it did
        anything."""
        did = yield from self._sweep()
        most = planner.most_rows(self.form.width, self.budget)
        while True:
            if everything:
                head, some = self._batches > 0, planner.all(self.segments, most - self.head.live)
            else:
                head = planner.full(self.head.count, self.form.width, self._batches)
                some = [] if head else planner.merge(self.segments, most)
            if not head and not some:
                return did
            yield from self._build([self.segments[n] for n in some], head=head)
            did = True

    def warm(self, most: int) -> Flow:
        """Keep the vectors of segments in memory as far as `most` bytes go, the smallest first."""
        for segment in sorted(self.segments, key=lambda segment: segment.count):
            need = segment.count * self.form.width
            if segment.resident is None and need <= most:
                rows, there, _ = yield from segment.everything()
                if there.all():
                    segment.hold(rows)
            if segment.resident is not None:
                most -= need

    def save(self, keep: Callable[[dict[str, bytes]], None], name: str = "") -> Flow:
        """Give all pages of this collection, as one called `name`, to `keep`, some at a time, the manifest last."""
        keys = Keys(name or self.keys.collection)
        parts = []
        puts: dict[str, bytes] = {}
        for segment in list(self.segments):
            if segment.dead:
                puts[keys.dead(segment.name)] = segment.dead_page()
            raw, _, ids = yield from segment.everything()
            part = segments.plan(self.form, segment.part.kind, segment.kind, segment.name)
            parts.append(replace(part, dead=segment.dead > 0))
            for batch in _batches(segments.write(keys, part, segment.kind, ids, raw), puts):
                keep(batch)
                yield Pause()
        head = np.arange(self.head.count) if self.head.alive is None else np.flatnonzero(self.head.alive)
        if len(head):
            puts[keys.batch(1)] = Batch(self.head.ids[head], self.head.resident[head]).page()
        found = replace(self.manifest, generation=1, log=1, cut=0, parts=tuple(parts), pending=())
        keep(puts | {keys.manifest: found.page(), keys.mirror: found.page()})

    def _build(self, sources: list[Segment], ids: Ids = NONE, rows: Raw | None = None, head: bool = False) -> Flow:
        """A new segment of the living rows of `sources`, of the head, and of `rows` under `ids`, which replace what is
        here under them; then it takes the place of its sources. False if another tab came in between."""
        form, now, upto, last = self.form, self.head, self.head.count, self._next - 1
        old: list[Head | Segment] = [*sources, *([now] if head else [])]
        living = [_living(part) for part in old]  # before anything waits; who dies later is dead in the fresh segment
        before = [alive.copy() for alive in living]
        if rows is not None:
            all_ids, all_rows, some = [ids], [rows], [np.arange(len(ids), dtype=np.int32)]
        else:
            all_ids, all_rows, some = [], [], []
        for part, alive in zip(old, living):
            if isinstance(part, Segment):
                raw, readable, part_ids = yield from part.everything()
                alive &= readable
            else:
                raw, part_ids, alive = part.resident[:upto], part.ids[:upto], alive[:upto]
            some.append(np.flatnonzero(alive).astype(np.int32))
            all_ids.append(part_ids[some[-1]])
            all_rows.append(raw[some[-1]])
        ids = np.concatenate([NONE, *all_ids])
        raw = all_rows[0] if len(all_rows) == 1 else np.concatenate([self._no_rows(), *all_rows])
        del all_rows
        origin = np.repeat(np.arange(len(some)) - (rows is not None), [len(one) for one in some])  # -1: `rows`
        place = np.concatenate([np.empty(0, np.int32), *some])
        kind_name = planner.kind(len(ids), self.manifest.kind)
        built = yield from self._steps(kind_name, form.floats(raw))
        if built.order is not None:
            ids, raw, origin, place = (array[built.order] for array in (ids, raw, origin, place))
        try:
            part = yield from self._reserve(segments.plan(form, kind_name, built.kind, ""))
            fresh = Segment(self.keys, form, part, built.kind, ids, resident=None if self.durable else raw)
            if self.durable:
                yield from self._write(fresh, raw)
            made = Made(old, before, origin, place, (upto, last) if head else None, rows is not None)
            return (yield from self._switch(fresh, made))
        except BaseException:
            self._swept = False  # what was written is garbage: the next housekeeping takes it away
            raise

    def _steps(self, name: str, vectors: Vectors) -> Flow:
        """The index kind `name` of vectors: what `kinds.build` returns."""
        options = {"fine": planner.fine(len(vectors), self.form.dim, self.budget)} | self.manifest.options
        steps = kinds.build(name, self.form, vectors, options)
        while True:
            try:
                done, total = next(steps)
            except StopIteration as stop:
                return stop.value
            yield Progress("index", done, total, "vectors", name)
            yield Pause()

    def _reserve(self, part: Part) -> Flow:
        """A name for a segment; the manifest says that its pages may be garbage until it is switched to."""
        release = yield Hold(f"index/{self.keys.collection}")
        try:
            while True:
                old = self.manifest
                part = replace(part, name=f"{old.next:06x}")
                new = old.switched(pending=(*old.pending, part), next=old.next + 1)
                if (yield from self._adopt(new, {}, [])):
                    self._building.add(part.name)
                    return part
        finally:
            release()

    def _write(self, fresh: Segment, raw: Raw) -> Flow:
        """Store the pages of a segment, as long as the manifest says that it is being written."""
        total, done = fresh.count * (self.form.width + 8), 0
        puts: dict[str, bytes] = {}
        for batch in chain(_batches(fresh.pages(raw), puts), [puts]):
            while any(part.name == fresh.name for part in self.manifest.pending):
                try:
                    yield from self._commit(batch, [], {self.keys.manifest: self._page})
                    break
                except NookError as error:
                    if error.code != "conflict":
                        raise
                    yield from self.refresh()
            else:
                return  # another tab took it for dead, and its pages away
            done += sum(map(len, batch.values()))
            yield Progress("store", min(done, total), total, "bytes", fresh.name)

    def _switch(self, fresh: Segment, made: Made) -> Flow:
        """Let the fresh segment take its sources' place, in one commit. False if another tab came in between."""
        old, origin, place = made.old, made.origin, made.place
        release = yield Hold(f"index/{self.keys.collection}")
        try:
            while True:
                if not all(part in (self.head, *self.segments) for part in old) or not (
                    any(part.name == fresh.name for part in self.manifest.pending)
                ):
                    yield from self._discard(fresh)  # another tab has merged these before
                    return False
                alive = np.ones(fresh.count, np.bool_)
                revived = False
                for n, (part, then) in enumerate(zip(old, made.living)):
                    now, mine = _living(part), origin == n
                    alive[mine] = now[place[mine]]
                    revived = revived or bool((now[: len(then)] & ~then).any())
                if revived:  # a deletion was taken back meanwhile
                    yield from self._discard(fresh)
                    return False
                fresh.renew(fresh.part)
                fresh.kill(np.flatnonzero(~alive))
                dying = {segment.name: _found(segment, fresh.ids) for segment in self.segments if made.replaces}
                lost = _found(self.head, fresh.ids) if made.replaces else _NO_ROWS
                if (yield from self._commit_switch(fresh, made, dying, lost)):
                    self._building.discard(fresh.name)
                    return True
        finally:
            release()

    def _commit_switch(self, fresh: Segment, made: Made, dying: dict[str, Rows], lost: Rows) -> Flow:
        """One attempt at a switch; False where another tab was faster, and was read. `dying` are rows of segments,
        `lost` those of the head, that the fresh segment replaces."""
        before, number, head = self.manifest, self._next, made.head
        kept = [segment for segment in self.segments if segment not in made.old]
        puts: dict[str, bytes] = {}
        expect: dict[str, bytes | None] = {self.keys.batch(number): None}
        if len(lost):  # rows of the head are told dead by a batch, those of segments by their page
            puts[self.keys.batch(number)] = Batch(NONE, self._no_rows(), gone=self.head.ids[lost]).page()
            number += 1
        parts = []
        for segment in (*kept, fresh):
            rows = dying.get(segment.name, _NO_ROWS)
            part = replace(segment.part, born=number - 1, dead=bool(segment.dead or len(rows)))
            if segment.changed or len(rows):
                puts[self.keys.dead(segment.name)] = segment.dead_page(rows)
            parts.append(part)
        gone = [key for part in made.old if isinstance(part, Segment) for key in self.keys.all(part.part)]
        log = before.log
        if head:
            log = head[1] + 1
            gone += [self.keys.batch(n) for n in range(before.log, log)]
        if not fresh.live:
            gone += list(self.keys.all(fresh.part))
            puts.pop(self.keys.dead(fresh.name), None)
            parts.pop()
        waiting = tuple(part for part in before.pending if part.name != fresh.name)
        new = before.switched(parts=self._unreadable_parts(parts), pending=waiting, log=log, cut=number - 1)
        if not (yield from self._adopt(new, puts, gone, expect)):
            return False
        for segment in kept:
            segment.kill(dying.get(segment.name, _NO_ROWS))
        for segment, part in zip((*kept, fresh), parts):
            segment.part, segment.changed = part, False
        if len(lost):
            self.head.kill(lost)
        self._next = number
        self._batches = number - log
        self.segments = [*kept, fresh] if fresh.live else kept
        if head:
            self.head = self.head.after(head[0])
        self._buried = {}
        return True

    def _discard(self, fresh: Segment) -> Flow:
        """Take away the pages of a segment that nobody wants any more."""
        while True:
            old = self.manifest
            new = old.switched(pending=tuple(part for part in old.pending if part.name != fresh.name))
            if (yield from self._adopt(new, {}, list(self.keys.all(fresh.part)))):
                self._building.discard(fresh.name)
                return

    def _sweep(self) -> Flow:
        """Delete what a writer that died, or was stopped, has left."""
        if self._swept:
            return False
        release = yield Hold(f"index/{self.keys.collection}")
        try:
            while self.manifest.pending:
                gone = [key for part in self.manifest.pending for key in self.keys.all(part)]
                if (yield from self._adopt(self.manifest.switched(pending=()), {}, gone)):
                    self._swept = True
                    return True
            self._swept = True
            return False
        finally:
            release()

    # ── storage ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _record(self, batch: Batch) -> Flow:
        """Commit a batch and repeat it on what is in memory."""
        page = batch.page() if self.durable else b""
        release = yield Hold(f"index/{self.keys.collection}")
        try:
            while True:
                key = self.keys.batch(self._next)
                try:
                    yield from self._commit({key: page}, [], {self.keys.manifest: self._page, key: None})
                except NookError as error:
                    if error.code != "conflict":
                        raise
                    yield from self._reread()
                else:
                    self._apply(self._next, batch)
                    return
        finally:
            release()

    def _adopt(
        self, new: Manifest, puts: dict[str, bytes], deletes: list[str], expect: dict[str, bytes | None] | None = None
    ) -> Flow:
        """Commit a manifest and what goes with it. False where another tab was faster: what it did has been read."""
        page = new.page() if self.durable else b""
        manifests = {self.keys.manifest: page, self.keys.mirror: page}
        try:
            yield from self._commit(puts | manifests, deletes, (expect or {}) | {self.keys.manifest: self._page})
        except NookError as error:
            if error.code != "conflict":
                raise
            yield from self._reread()
            return False
        self.manifest, self._page = new, page
        return True

    def _commit(self, puts: dict[str, bytes], deletes: list[str], expect: dict[str, bytes | None]) -> Flow:
        if self.durable and (puts or deletes):
            yield Change(puts, deletes, expect)

    def _begin(self, found: Manifest) -> None:
        self.manifest = found
        self.head = Head(found.form)
        self.segments = []
        self._next = found.log
        self._batches = 0
        self._buried = {}

    def _readable(self, page: bytes | None, mirror: bytes | None) -> Manifest | None:
        """The manifest, from the one of its two pages that is whole."""
        problem: NookError | None = None
        for key, one in ((self.keys.manifest, page), (self.keys.mirror, mirror)):
            if one is not None:
                try:
                    return manifest.read(one)
                except NookError as error:
                    self.damage.add(key)
                    problem = error
        if problem:
            raise problem
        return None

    def _repeat(self, number: int, page: bytes) -> None:
        """A batch of the journal, again."""
        if number < self._next:
            return
        try:
            self._apply(number, journal.read(page, self.form.width))
        except NookError as error:
            if error.code != "corrupt":
                raise
            self.damage.add(self.keys.batch(number))
            self._next = number + 1
            self._batches += 1

    def _apply(self, number: int, batch: Batch) -> None:
        """Do in memory what a batch says."""
        for part in self._parts():
            if isinstance(part, Segment) and part.part.born >= number:
                continue  # it was written when this was known
            rows = _found(part, batch.gone)
            self._buried.update((id_, (part, row)) for id_, row in zip(part.ids[rows].tolist(), rows.tolist()))
            part.kill(rows)
            part.kill(_found(part, batch.ids))
        for id_ in batch.back.tolist():
            if grave := self._buried.pop(id_, None):
                grave[0].revive(grave[1])
        if len(batch.ids):
            if self._buried:
                for id_ in batch.ids.tolist():
                    self._buried.pop(id_, None)
            self.head.add(batch.ids, batch.rows)
        if number == self.manifest.cut:
            self._buried = {}
        self._next = number + 1
        self._batches += 1

    def _unreadable_parts(self, parts: list[Part]) -> tuple[Part, ...]:
        """Parts for a manifest: those that could not be read at all stay in it, for a better day."""
        read = {segment.name for segment in self.segments}
        return (*(part for part in self.manifest.parts if part.name not in read), *parts)

    def _parts(self) -> list[Head | Segment]:
        return [self.head, *self.segments] if self.head.count else [*self.segments]

    def _here(self, ids: Ids) -> NDArray[np.bool_]:
        """Which ids can be found."""
        here = np.zeros(len(ids), np.bool_)
        for part in self._parts():
            here |= part.find(ids) >= 0
        return here

    def _no_rows(self) -> Raw:
        return np.empty((0, self.form.width), np.uint8)

    def _unknown(self, id_: int) -> NookError:
        return NookError("unknown-id", f"There is no vector {id_} in this index.", "Add it, or leave it out.")

    def _unreadable(self) -> NookError:
        message = f"The index “{self.keys.collection}” cannot be read: pages of it are damaged or gone."
        return NookError("corrupt", message, "Build it again, or use a copy of it.")


_NO_ROWS: Rows = np.empty(0, np.int32)


def _living(part: Head | Segment) -> Allow:
    """Which rows of a part are alive."""
    return np.ones(part.count, np.bool_) if part.alive is None else part.alive.copy()


def _found(part: Head | Segment, ids: Ids) -> Rows:
    """The living rows of those ids that a part has."""
    if not len(ids):
        return _NO_ROWS
    rows = part.find(ids)
    return rows[rows >= 0]


def _opened(part: Head | Segment, allow: Filter | None) -> Open:
    """A part under a filter."""
    if allow is None:
        return Open(part, part.alive, part.live)
    mask = np.asarray(allow(part.ids), np.bool_)
    mask = mask if part.alive is None else mask & part.alive
    return Open(part, mask, int(np.count_nonzero(mask)))


def _batches(written: Iterable[tuple[str, bytes]], rest: dict[str, bytes]) -> Iterator[dict[str, bytes]]:
    """Pages in batches of about WRITE bytes; what is left at the end, and what was in it before, is in `rest`."""
    size = 0
    for key, page in written:
        rest[key] = page
        size += len(page)
        if size >= WRITE:
            yield dict(rest)
            rest.clear()
            size = 0
