"""The live index: a head of recent vectors and segments behind it, searched as one.

What there is, is what the store says (`live`); it is searched (`searching`), and now and then `maintain` makes the head
a segment and merges segments, beside everything else (`merging`). Here is what is asked of it besides.

All methods that may wait are flows (`flow.py`). Where `durable` is False nothing is stored and no flow asks for
anything but Pause. Two tabs may share a collection.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from inglenook.errors import NookError
from inglenook.flow import Flow, Get, Pause, Scan
from inglenook.index import planner
from inglenook.index import segment as segments
from inglenook.index.form import Form
from inglenook.index.journal import Batch
from inglenook.index.live import NONE, Ids
from inglenook.index.manifest import Keys, Manifest
from inglenook.index.merging import Merged, in_batches
from inglenook.index.paper import Paper
from inglenook.index.reading import Late, Reading
from inglenook.index.searching import Allowed, Hits, Searched
from inglenook.index.stats import Stats
from inglenook.index.table import Metadata, Table, table

GOT = 256
"""Vectors by id whose pages are read at once."""


class Collection(Searched, Merged):
    """One index of a store. Make one with `create` or `open`; both are flows on an object that is empty before."""

    def create(self, form: Form, kind: str = "", options: dict[str, int] | None = None) -> Flow:
        """Begin an empty collection. NookError("conflict") if there is one of this name."""
        self._begin(Manifest(form, log=1, kind=kind, options=options or {}))
        page = self.manifest.page() if self.durable else b""
        yield from self._commit({self.keys.manifest: page, self.keys.mirror: page}, [], {self.keys.manifest: None})
        self._page = page

    def drop(self) -> Flow:
        """Delete the collection."""
        parts = (*self.manifest.parts, *self.manifest.pending)
        log = yield Scan(self.keys.log)
        gone = [key for part in parts for key in self.keys.all(part)]
        gone += [key for run in self.manifest.runs for key in self.keys.run(run)]
        about = [self.keys.draft, self.keys.taken, self.keys.manifest, self.keys.mirror]
        yield from self._commit({}, [*gone, *log, *about], {})
        self._begin(Manifest(self.manifest.form))

    @property
    def memory(self) -> int:
        """Bytes held; while a search runs, with the pages it has read. Not more than the budget, but while vectors are
        added: a segment that is being made takes another three times its vectors, which are a third of the budget or
        `planner.BUILD`."""
        return sum(self._memory().values())

    def stats(self) -> Stats:
        """What there is, what it holds, and what searches cost so far."""
        caches = [one.kind.cache for one in self.segments if isinstance(one.kind, Paper)]
        kinds = Counter({"head": self.head.live} if self.head.live else {})
        for segment in self.segments:
            kinds[segment.part.kind] += segment.live
        return Stats(
            self.count, len(self.segments), dict(kinds), self.budget, self._memory(),
            sum(segment.stored for segment in self.segments), self.cache.hits + sum(cache.hits for cache in caches),
            self.cache.misses + sum(cache.misses for cache in caches), dict(self.trips),
            len(self.damage),
        )  # fmt: skip

    @property
    def highest(self) -> int:
        """No id is higher; -1 at least."""
        return max([-1, int(self.head.ids.max(initial=-1)), *(segment.span[1] for segment in self.segments)])

    def ids(self) -> Flow:
        """All ids, in no order."""
        found = [self.head.ids if self.head.alive is None else self.head.ids[self.head.alive]]
        for segment in list(self.segments):
            ids = yield from segment.all_ids()
            found.append(ids if segment.alive is None else ids[segment.alive])
        return np.concatenate([NONE, *found])

    def get(self, ids: Ids) -> Flow:
        """The vectors (n, dim) of ids, as the space has them. NookError("unknown-id")."""
        for _ in range(3):
            try:
                rows = yield from self._rows_of(ids)
                return self.form.floats(rows)
            except Late:
                yield from self.refresh()
        raise self._unreadable()

    def add(self, vectors: NDArray[np.generic], ids: Ids, metadata: Metadata | None = None) -> Flow:
        """Put vectors (n, dim) under ids, with metadata; those that are here are replaced, and of equal ids the last
        counts. They are stored when this ends. Yields Progress where there are many.
        NookError("bad-vector" | "bad-shape" | "bad-metadata" | "quota")."""
        rows, ids = self.form.rows(vectors), np.asarray(ids, np.int64).reshape(-1)
        if len(rows) != len(ids):
            raise NookError("bad-shape", f"{len(rows)} vectors have {len(ids)} ids.", "Give each vector one id.")
        facts = None if metadata is None else table(ids, metadata)
        if len(ids) > 1 and not (ids[1:] > ids[:-1]).all():
            _, last = np.unique(ids[::-1], return_index=True)
            kept = np.sort(len(ids) - 1 - last)
            rows, ids, facts = rows[kept], ids[kept], facts and facts.picked(kept)
        if not len(ids):
            return
        if planner.full(len(ids), self.form.width, self.form.dim, 0, self.budget):
            most = planner.most_rows(self.form.width, self.budget)
            for start in range(0, len(ids), most):
                some = slice(start, start + most)
                told = facts and facts.picked(some)
                while not (yield from self._build([], ids[some], rows[some], facts=told)):
                    pass  # another tab took the segment for one that nobody finishes
        else:
            yield from self._record(Batch(ids, rows, facts=facts))
            if self.budget is not None and self._head_is_full() and self._spare < self._reading:
                yield from self._build([], head=True)

    def update(self, ids: Ids, metadata: Metadata) -> Flow:
        """Change metadata of ids: what is told takes the place of what was, None takes it away, the rest stays.
        NookError("unknown-id" | "bad-metadata" | "quota")."""
        ids = np.asarray(ids, np.int64).reshape(-1)
        facts = table(ids, metadata, partly=True)
        yield from self._known(ids)
        _, last = np.unique(ids[::-1], return_index=True)
        if len(ids):
            yield from self._record(Batch(NONE, self._no_rows(), facts=facts.picked(len(ids) - 1 - last)))

    def metadata(self, ids: Ids) -> Flow:
        """What ids have: a dict each. NookError("unknown-id")."""
        ids = np.asarray(ids, np.int64).reshape(-1)
        yield from self._known(ids)
        return self.attributes.table.records(ids)

    def note(self, puts: dict[str, bytes]) -> Flow:
        """Store what belongs to the index as this tab knows it. NookError("conflict") where another has changed it."""
        yield from self._commit(puts, [], {self.keys.manifest: self._page})

    def delete(self, ids: Ids) -> Flow:
        """Forget ids. Returns how many there were."""
        ids = np.unique(np.asarray(ids, np.int64))
        known = yield from self._here(ids)
        if not known.all():
            yield from self.refresh()  # another tab may have added them a moment ago
            known = yield from self._here(ids)
        if known.any():
            yield from self._record(Batch(NONE, self._no_rows(), gone=ids[known]))
        return int(np.count_nonzero(known))

    def restore(self, ids: Ids) -> Flow:
        """Take deletions back, as long as nothing was merged since. NookError("unknown-id")."""
        ids = np.unique(np.asarray(ids, np.int64))
        for id_ in ids.tolist():
            if not self.graves.find(id_):
                raise self._unknown(id_)
        if len(ids):
            yield from self._record(Batch(NONE, self._no_rows(), back=ids))

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
                head = self._head_is_full()
                some = [] if head else planner.merge(self.segments, most)
            if not head and not some:
                return ((yield from self._sweep(everything=True)) if everything else False) or did
            yield from self._build([self.segments[n] for n in some], head=head)
            did = True

    def warm(self, most: int) -> Flow:
        """Keep the vectors of segments in memory as far as `most` bytes go, and the budget, the smallest first."""
        if self.budget is not None:
            most = min(most, self._spare - self._reading)
        for segment in sorted(self.segments, key=lambda segment: segment.count):
            need = segment.count * (self.form.width + (8 if segment.ids is None else 0))
            if segment.resident is None and need <= most:
                rows, there, ids = yield from segment.everything()
                if there.all():
                    segment.ids = ids if segment.ids is None else segment.ids
                    segment.hold(rows)
            if segment.resident is not None:
                most -= need
        yield from self._settle()

    def save(self, keep: Callable[[dict[str, bytes]], None], name: str = "") -> Flow:
        """Give all pages of this collection, as one called `name`, to `keep`, some at a time, the manifest last."""
        keys = Keys(name or self.keys.collection)
        parts = []
        puts: dict[str, bytes] = {}
        for segment in list(self.segments):
            if segment.dead:
                puts[keys.dead(segment.name)] = segment.dead_page()
            part = segment.part
            if self.durable and not segment.made:
                for some in segment.batches():
                    copied = zip(some, (yield Get(some)))
                    mine = len(self.keys.collection) + 2
                    keep({f"i/{keys.collection}{key[mine:]}": page for key, page in copied if page is not None})
            else:
                raw, _, ids = yield from segment.everything()
                part = segments.plan(self.form, "flat" if segment.made else part.kind, segment.kind, segment.name)
                for batch in in_batches(segments.write(keys, part, segment.kind, ids, raw), puts):
                    keep(batch)
                    yield Pause()
            parts.append(replace(part, dead=segment.dead > 0, born=0))
        head = np.arange(self.head.count) if self.head.alive is None else np.flatnonzero(self.head.alive)
        if len(head):
            puts[keys.batch(1)] = Batch(self.head.ids[head], self.head.resident[head]).page()
        found = replace(self.manifest, generation=1, log=1, cut=0, parts=tuple(parts), pending=())
        told = self.attributes.table.ids
        here = yield from self._here(told)
        told = np.sort(told[here])
        if turn := self.attributes.turn(keys, f"{found.next:06x}", int(len(head) > 0), Table(), told):
            found, puts = replace(found, runs=turn.runs, next=found.next + 1), puts | turn.puts
        keep(puts | {keys.manifest: found.page(), keys.mirror: found.page()})

    def _rows_of(self, ids: Ids) -> Flow:
        """The stored rows (n, width) of ids."""
        ids = np.asarray(ids, np.int64)
        parts, places = yield from self._places(ids)
        here = np.zeros(len(ids), np.bool_)
        out = np.empty((len(ids), self.form.width), np.uint8)
        for part, rows in zip(parts, places):
            there = np.flatnonzero(rows >= 0)
            here[there] = True
            for start in range(0, len(there), GOT):
                some = there[start : start + GOT]
                with Reading(self) as reading:
                    yield from reading.fetch(part.pages_of(rows[some]))
                    good, _, raw = part.vectors_of(rows[some], reading.pages)
                if not good.all():
                    raise self._unreadable()
                out[some] = raw
        if not here.all():
            raise self._unknown(int(ids[~here][0]))
        return out

    def _known(self, ids: Ids) -> Flow:
        """Let all ids be here. NookError("unknown-id")."""
        if not (yield from self._here(ids)).all():
            yield from self.refresh()  # another tab may have added them a moment ago
            here = yield from self._here(ids)
            if not here.all():
                raise self._unknown(int(ids[~here][0]))

    def _head_is_full(self) -> bool:
        return planner.full(self.head.count, self.form.width, self.form.dim, self._batches, self.budget)

    def _unknown(self, id_: int) -> NookError:
        return NookError("unknown-id", f"There is no vector {id_} in this index.", "Add it, or leave it out.")


__all__ = ["Allowed", "Collection", "Hits", "Ids"]
