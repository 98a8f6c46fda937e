"""What a live index is in memory, and how that stays what its store says.

Each commit says which manifest it builds on, and the one that is late reads again what another tab did and repeats its
change. What is added or deleted is a batch of the journal, committed before it is acknowledged.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from inglenook.errors import NookError
from inglenook.flow import Flow, Get, Hold, Scan
from inglenook.index import journal, manifest, planner
from inglenook.index import segment as segments
from inglenook.index.attributes import Attributes
from inglenook.index.form import Form, Raw
from inglenook.index.head import Head
from inglenook.index.journal import Batch
from inglenook.index.kind import Allow, Rows
from inglenook.index.manifest import Keys, Manifest, Part
from inglenook.index.segment import Segment
from inglenook.index.store import Change

Ids = NDArray[np.int64]

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
        self._buried: dict[int, tuple[Head | Segment, int]] = {}  # what `delete` took, until it is merged away
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
        read: dict[str, Segment | None] = {}
        for part in found.parts:
            old = known.get(part.name)
            lean = not planner.fine(part.count, found.form.dim, self.budget)
            without = frozenset({"fine"}) if lean and part.kind == "ivf" else frozenset[str]()
            read[part.name] = old or (yield from segments.read(self.keys, found.form, part, self.damage, without))
        dead = [part.name for part in found.parts if part.dead]
        buried = dict(zip(dead, (yield Get([self.keys.dead(name) for name in dead])))) if dead else {}
        log = yield Scan(self.keys.log)
        attributes = Attributes(self.budget)
        yield from attributes.read(self.keys, found.runs, self.damage)
        self._begin(found, attributes)  # from here on nothing waits: a search sees all of it or nothing
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

    def _begin(self, found: Manifest, attributes: Attributes | None = None) -> None:
        self.manifest, self.attributes = found, attributes or Attributes(self.budget)
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
            rows = found_in(part, batch.gone)
            self._buried.update((id_, (part, row)) for id_, row in zip(part.ids[rows].tolist(), rows.tolist()))
            part.kill(rows)
            part.kill(found_in(part, batch.ids))
        for id_ in batch.back.tolist():
            if grave := self._buried.pop(id_, None):
                grave[0].revive(grave[1])
        if len(batch.ids):
            if self._buried:
                for id_ in batch.ids.tolist():
                    self._buried.pop(id_, None)
            self.head.add(batch.ids, batch.rows)
        self.attributes.take(number, batch.ids, batch.facts)
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

    def _unreadable(self) -> NookError:
        message = f"The index “{self.keys.collection}” cannot be read: pages of it are damaged or gone."
        return NookError("corrupt", message, "Build it again, or use a copy of it.")


def alive_in(part: Head | Segment) -> Allow:
    """Which rows of a part are alive."""
    return np.ones(part.count, np.bool_) if part.alive is None else part.alive.copy()


def found_in(part: Head | Segment, ids: Ids) -> Rows:
    """The living rows of those ids that a part has."""
    if not len(ids):
        return NO_ROWS
    rows = part.find(ids)
    return rows[rows >= 0]
