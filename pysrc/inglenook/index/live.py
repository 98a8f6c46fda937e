"""What a live index is in memory, and how that stays what its store says.

Each commit says which manifest it builds on, and the one that is late reads again what another tab did and repeats its
change. What is added or deleted is a batch of the journal, committed before it is acknowledged.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from itertools import takewhile

import numpy as np
from numpy.typing import NDArray

from inglenook.errors import NookError
from inglenook.flow import Flow, Get, Hold, Scan
from inglenook.index import journal, manifest, planner
from inglenook.index import segment as segments
from inglenook.index.adapt import Adapt
from inglenook.index.attributes import Attributes
from inglenook.index.form import Form, Raw
from inglenook.index.graves import Graves
from inglenook.index.head import Head
from inglenook.index.journal import Batch
from inglenook.index.kind import Allow, Rows
from inglenook.index.manifest import Keys, Manifest, Part
from inglenook.index.paper import Paper
from inglenook.index.recent import EACH, Recent
from inglenook.index.segment import Segment
from inglenook.index.store import Change

Ids = NDArray[np.int64]
Where = dict[str, tuple[Ids, Rows]]

NONE: Ids = np.empty(0, np.int64)
NO_ROWS: Rows = np.empty(0, np.int32)


class Live:
    """One index: manifest, head, segments, and the journal since. Where `durable` is False nothing is stored."""

    def __init__(self, name: str, *, budget: int | None = None, durable: bool = True) -> None:
        self.keys, self.budget, self.durable = Keys(name), budget, durable
        self.damage: set[str] = set()
        """Keys of pages that cannot be read. Their rows are not found; everything else is."""
        self._page: bytes | None = None  # the manifest, as stored
        self._batches = 0
        self._next = 0  # number of the next batch
        self.graves = Graves()
        """What `delete` took, until it is merged away."""
        self.cache = Recent(planner.CACHE if budget is None else 0)
        """Pages that searches have read."""
        self.target_ms: float | None = None
        self.adapt: Adapt | None = None
        """What finds the smallest cache, where reading may take `target_ms` of a query's time."""
        self.working = 0
        """Bytes of pages that searches hold just now."""
        self.clock = time.perf_counter
        self.missed: set[str] = set()
        """Keys of pages that should be there and are not."""
        self.attributes = Attributes(budget)
        self.manifest: Manifest
        self.head: Head
        self.segments: list[Segment] = []

    @property
    def form(self) -> Form:
        return self.manifest.form

    @property
    def count(self) -> int:
        """Vectors that can be found."""
        return self.head.live + sum(segment.live for segment in self.segments)

    def open(self) -> Flow:
        """Read what is stored: manifest, codes and journal, no vectors. Returns whether there is such a collection."""
        page, mirror = yield Get([self.keys.manifest, self.keys.mirror])
        found = self._readable(page, mirror)
        if found is None:
            return False
        known = {segment.name: segment for segment in self.segments}
        new = [part for part in found.parts if part.name not in known]
        dead = [part.name for part in found.parts if part.dead]
        wanted = [self.keys.of(part.name, "head") for part in new] + [self.keys.dead(name) for name in dead]
        pages = dict(zip(wanted, (yield Get(wanted)) if wanted else []))
        read: dict[str, Segment | None] = dict(known)
        for part in new:
            head, lean = pages[self.keys.of(part.name, "head")], self.budget is not None
            read[part.name] = yield from segments.read(self.keys, found.form, part, head, self.damage, lean=lean)
        log = yield Scan(self.keys.log)
        batches = [self._read_batch(int(key.rpartition("/")[2], 16), batch, found) for key, batch in log.items()]
        some = [read[part.name] for part in found.parts]
        here = [segment for segment in some if segment is not None]
        where = yield from self._where(batches, here)
        attributes = Attributes(self.budget)
        yield from attributes.read(self.keys, found.runs, self.damage)
        self._begin(found, attributes)  # from here on nothing waits: a search sees all of it or nothing
        self._page = page
        for segment in here:
            part = next(part for part in found.parts if part.name == segment.name)
            segment.renew(part)
            if part.dead and not segment.bury(pages[self.keys.dead(part.name)]):
                self.damage.add(self.keys.dead(part.name))
        self.segments = here
        for number, batch in batches:
            self._apply(number, batch, where)
        yield from self._settle()
        self._enough()
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
            pages = yield Get([self.keys.batch(number) for number in numbers])
            there = list(takewhile(lambda item: item[1] is not None, zip(numbers, pages)))
            batches = [self._read_batch(number, page, self.manifest) for number, page in there]
            where = yield from self._where(batches, self.segments)
            for number, batch in batches:
                if number == self._next:
                    self._apply(number, batch, where)
            if len(there) < len(numbers):
                self._weigh()
                return self._next > before

    def _record(self, batch: Batch) -> Flow:
        """Commit a batch and repeat it on what is in memory."""
        page = batch.page() if self.durable else b""
        release = yield Hold(f"index/{self.keys.collection}")
        try:
            while True:
                key = self.keys.batch(self._next)
                where = yield from self._where([(self._next, batch)], self.segments)
                try:
                    yield from self._commit({key: page}, [], {self.keys.manifest: self._page, key: None})
                except NookError as error:
                    if error.code != "conflict":
                        raise
                    yield from self._reread()
                else:
                    self._apply(self._next, batch, where)
                    self._weigh()
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

    def _begin(self, found: Manifest, attributes: Attributes | None = None) -> None:
        self.manifest, self.attributes = found, attributes or Attributes(self.budget)
        self.head = Head(found.form)
        self.segments = []
        self._next = found.log
        self._batches = 0
        self.graves = Graves()
        self._aside = 0  # bytes that are left free for what is read
        self._widest = 0  # rows that queries asked for, at most: what they work in grows with it
        self._spare = self._reading = 0  # bytes left for the cache, and of what a query reads

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

    def _read_batch(self, number: int, page: bytes, found: Manifest) -> tuple[int, Batch | None]:
        """A batch of the journal, None where it is damaged."""
        try:
            return number, journal.read(page, found.form.width)
        except NookError as error:
            if error.code != "corrupt":
                raise
            self.damage.add(self.keys.batch(number))
            return number, None

    def _where(self, batches: list[tuple[int, Batch | None]], some: list[Segment]) -> Flow:
        """In which rows of segments the ids lie that batches speak of: (ids, rows) by segment. A segment's ids never
        change, so this stays true whatever happens meanwhile."""
        spoken = [ids for _, batch in batches if batch for ids in (batch.gone, batch.ids) if len(ids)]
        ids = np.unique(np.concatenate([NONE, *spoken]))
        where: Where = {}
        for segment in some:
            rows = yield from segment.locate(ids)
            where[segment.name] = ids[rows >= 0], rows[rows >= 0]
        return where

    def _apply(self, number: int, batch: Batch | None, where: Where) -> None:
        """Do in memory what a batch says. `where` is what `_where` told of it."""
        if number < self._next:
            return
        self._next = number + 1
        self._batches += 1
        if batch is None:
            return
        if len(batch.gone) or len(batch.ids):
            for part in self._parts():
                if isinstance(part, Segment) and part.part.born >= number:
                    continue  # it was written when this was known
                for ids in (batch.gone, batch.ids):
                    rows = part.living(_among(ids, *where[part.name])) if isinstance(part, Segment) else part.find(ids)
                    there = rows >= 0
                    if ids is batch.gone:
                        self.graves.dig(part, ids[there], rows[there])
                    part.kill(rows[there])
        for id_ in batch.back.tolist():
            if grave := self.graves.find(id_):
                grave[0].revive(grave[1])
        for ids in (batch.back, batch.ids):
            self.graves.close(ids)
        if len(batch.ids):
            self.head.add(batch.ids, batch.rows)
        self.attributes.take(number, batch.ids, batch.facts)
        if number == self.manifest.cut:
            self.graves = Graves()

    # ── memory ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _memory(self) -> dict[str, int]:
        """Bytes held, by sort."""
        held = Counter({"head": self.head.memory, "cache": self.cache.size + self.working, "dead": self.graves.nbytes})
        held["metadata"] = self.attributes.memory
        for segment in self.segments:
            held.update(segment.held())
        return dict(held)

    def _settle(self) -> Flow:
        """Have in memory what the budget allows, and nothing else."""
        if self.manifest.kind == "webanns":
            for segment in self.segments:
                if isinstance(segment.kind, Paper):
                    part = segment.count / max(sum(other.count for other in self.segments), 1)
                    segment.kind.hold(None if self.budget is None else int(self.budget * part))
                    yield from segment.load(["ids"], self.damage)
            return
        needs = [segment.needs() for segment in self.segments]
        if self.budget is not None:
            held = sum(self._memory().values()) - self.cache.size - self.working
            spare = [(one, *item) for one, need in zip(self.segments, needs) for item in need.spare.items()]
            least = held - sum(size for segment, name, size in spare if segment.has(name))
            shares = planner.shares(self.budget, least, needs)
            for segment, need, share in zip(self.segments, needs, shares):
                segment.drop(need.spare.keys() - share)
            self._reading = planner.reading(needs, shares)
            for segment, share in zip(self.segments, shares):
                yield from segment.load(share, self.damage)
        self._weigh()

    def _weigh(self, widest: int = 0) -> None:
        """Give to the cache what is left. `widest` rows were asked for; 0: as before."""
        self._widest = widest
        if self.budget is None or self.manifest.kind == "webanns":
            return
        held = sum(self._memory().values()) - self.cache.size - self.working
        self._spare = self.budget - held
        if self.target_ms and self.segments and self.adapt is None:
            page = max(segment.page for segment in self.segments) + EACH
            self.adapt = Adapt(self.target_ms, self._spare, page)
        self.squeeze(0)

    @property
    def room(self) -> float:
        """Bytes of pages that a search may read now."""
        return math.inf if self.budget is None else self._spare - self.working

    def squeeze(self, more: int) -> None:
        """Let the cache have what is left when so many bytes more are needed."""
        if self.budget is not None:
            left = self._spare - self.working - more
            most = min(left, self._spare - self._aside)
            self.cache.fit(max(0, most if self.adapt is None else min(most, self.adapt.limit)))

    def read(self, size: int) -> None:
        """So many bytes were read, which there must be room for the next time, too: pages of the cache that are used
        more often shall not go for them."""
        self._aside = max(size, self._aside - self._aside // 64)
        self.squeeze(0)

    def _enough(self) -> None:
        """NookError("budget-too-small") where there is no room for what a query reads."""
        if self.budget is not None and self.manifest.kind != "webanns" and self._spare < self._reading:
            least = self.budget - self._spare + self._reading
            message = f"The index “{self.keys.collection}” needs {least:,} bytes of memory, and has {self.budget:,}."
            raise NookError("budget-too-small", message, f"Give it a budget of {least:,} or more.")

    def _unreadable_parts(self, parts: list[Part]) -> tuple[Part, ...]:
        """Parts for a manifest: those that could not be read at all stay in it, for a better day."""
        read = {segment.name for segment in self.segments}
        return (*(part for part in self.manifest.parts if part.name not in read), *parts)

    def _parts(self) -> list[Head | Segment]:
        return [self.head, *self.segments] if self.head.count else [*self.segments]

    def _places(self, ids: Ids) -> Flow:
        """The living row of each id in each of `_parts`, -1 where there is none: (parts, rows of each)."""
        parts = self._parts()
        located = {}
        for segment in self.segments:
            located[segment.name] = yield from segment.locate(ids)
        return parts, [
            part.living(located[part.name]) if isinstance(part, Segment) else part.find(ids) for part in parts
        ]

    def _here(self, ids: Ids) -> Flow:
        """Which ids can be found."""
        _, places = yield from self._places(ids)
        here = np.zeros(len(ids), np.bool_)
        for rows in places:
            here |= rows >= 0
        return here

    def _no_rows(self) -> Raw:
        return np.empty((0, self.form.width), np.uint8)

    def _unreadable(self) -> NookError:
        message = f"The index “{self.keys.collection}” cannot be read: pages of it are damaged or gone."
        return NookError("corrupt", message, "Build it again, or use a copy of it.")


def alive_in(part: Head | Segment) -> Allow:
    """Which rows of a part are alive."""
    return np.ones(part.count, np.bool_) if part.alive is None else part.alive.copy()


def _among(ids: Ids, known: Ids, rows: Rows) -> Rows:
    """The row of each id, given those of some (ascending); -1 for the others."""
    if not len(known):
        return np.full(len(ids), -1, np.int32)
    at = np.minimum(np.searchsorted(known, ids), len(known) - 1)
    return np.where(known[at] == ids, rows[at], -1).astype(np.int32)
