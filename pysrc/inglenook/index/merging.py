"""How a live index gets a fresh segment while searches and changes go on: it is made of the living rows of others, its
pages are written while the manifest says that they may be garbage, and one commit lets it take their place. What nobody
finishes is swept away.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from inglenook.errors import NookError
from inglenook.flow import Flow, Get, Hold, Pause
from inglenook.index import draft, planner
from inglenook.index import kind as kinds
from inglenook.index import segment as segments
from inglenook.index.form import Raw, Vectors
from inglenook.index.graves import Graves
from inglenook.index.head import Head
from inglenook.index.journal import Batch
from inglenook.index.kind import Arrays, Rows
from inglenook.index.live import NO_ROWS, NONE, Ids, Live, alive_in
from inglenook.index.manifest import Part
from inglenook.index.segment import Segment
from inglenook.index.table import Table
from inglenook.wire.messages import Progress

WRITE = 4 << 20
"""Bytes of a segment that are committed at once."""


class Made(NamedTuple):
    """What a fresh segment was made of: the rows of `old` that were `living`; its row i was row place[i] of
    old[origin[i]]. `head`: the rows of the head and the last batch that are in it. `replaces`: it has new vectors, and
    older rows of their ids die; `facts` are what is told of these."""

    old: list[Head | Segment]
    living: list[NDArray[np.bool_]]
    origin: NDArray[np.integer]
    place: NDArray[np.integer]
    head: tuple[int, int] | None
    replaces: bool
    facts: Table | None


class Merged(Live):
    """An index that can be merged."""

    def __init__(self, name: str, *, budget: int | None = None, durable: bool = True) -> None:
        super().__init__(name, budget=budget, durable=durable)
        self._building: set[str] = set()
        self._swept = False

    def _build(
        self, sources: list[Segment], ids: Ids = NONE, rows: Raw | None = None, head: bool = False,
        facts: Table | None = None,
    ) -> Flow:  # fmt: skip
        """A new segment of the living rows of `sources`, of the head, and of `rows` under `ids`, which replace what is
        here under them and have `facts`; then it takes the place of its sources. False if another tab came in
        between."""
        form, now, upto, last = self.form, self.head, self.head.count, self._next - 1
        old: list[Head | Segment] = [*sources, *([now] if head else [])]
        living = [alive_in(part) for part in old]  # before anything waits; who dies later is dead in the fresh segment
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
        kind_name = planner.kind(len(ids), form.dim, self.manifest.kind, self.budget)
        mark, state = "", Arrays()
        if self.durable and kind_name in kinds.GOES_ON:
            mark = draft.mark(form, self.manifest.options, ids, raw)
            left, state = draft.read((yield Get([self.keys.draft]))[0])
            state = state if left == mark else {}
        name = ""
        try:
            built, mark = yield from self._steps(kind_name, form.floats(raw), mark, state)
            if built.order is not None:
                ids, raw, origin, place = (array[built.order] for array in (ids, raw, origin, place))
            part = yield from self._reserve(replace(segments.plan(form, kind_name, built.kind, ""), draft=mark))
            name = part.name
            fresh = Segment(self.keys, form, part, built.kind, ids, resident=None if self.durable else raw)
            if self.durable:
                yield from self._write(fresh, ids, raw)
            made = Made(old, before, origin, place, (upto, last) if head else None, rows is not None, facts)
            done = yield from self._switch(fresh, made)
            del raw, built
            yield from self._settle()
            return done
        except BaseException:
            self._swept = False  # what was written is garbage: the next housekeeping takes it away
            self._building.discard(name)
            raise

    def _steps(self, name: str, vectors: Vectors, mark: str, state: Arrays) -> Flow:
        """The index kind `name` of vectors: what `kinds.build` returns. With a mark, how far it is, `state`, is stored;
        the mark is returned, too, if all of it was."""
        steps, stage = kinds.build(name, self.form, vectors, self.manifest.options, state), draft.stage(state)
        while True:
            try:
                done, total = next(steps)
            except StopIteration as stop:
                return stop.value, mark if stage == draft.DONE else ""
            yield Progress("index", done, total, "vectors", name)
            yield Pause()
            if mark and draft.stage(state) > stage:
                with suppress(NookError):  # what cannot be stored is made again
                    page = {self.keys.draft: draft.page(mark, state)}
                    yield from self._commit(page, [], {self.keys.manifest: self._page})
                    stage = draft.stage(state)

    def _reserve(self, part: Part) -> Flow:
        """A name for a segment; the manifest says that its pages may be garbage until it is switched to. Where a build
        with the same mark was stopped while it wrote, its pages are taken over."""
        release = yield Hold(f"index/{self.keys.collection}")
        try:
            while True:
                old = self.manifest
                left = [one for one in old.pending if part.draft and replace(part, name=one.name, turn=one.turn) == one]
                name = left[0].name if left else f"{old.next:06x}"
                part = replace(part, name=name, turn=old.next)
                others = tuple(one for one in old.pending if one not in left[:1])
                new = old.switched(pending=(*others, part), next=old.next + 1)
                if (yield from self._adopt(new, {}, [])):
                    self._building.add(part.name)
                    return part
        finally:
            release()

    def _write(self, fresh: Segment, ids: Ids, raw: Raw) -> Flow:
        """Store the pages of a segment, as long as the manifest says that it is being written."""
        total, done = fresh.count * (self.form.width + 8), 0
        puts: dict[str, bytes] = {}
        for batch in chain(in_batches(fresh.pages(ids, raw), puts), [puts]):
            last = next(reversed(batch), "")
            vectors = self.keys.of(fresh.name, "vectors")
            known = fresh.part.draft and last.startswith(vectors) and (yield Get([last]))[0] is not None
            while fresh.part in self.manifest.pending:
                try:
                    if (
                        not known
                    ):  # pages of vectors are written in order, and first: what came before the last is there
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
                if (
                    not all(part in (self.head, *self.segments) for part in old)
                    or fresh.part not in self.manifest.pending
                ):
                    yield from self._discard(fresh)  # another tab has merged these before
                    return False
                alive = np.ones(fresh.count, np.bool_)
                revived = False
                for n, (part, then) in enumerate(zip(old, made.living)):
                    now, mine = alive_in(part), origin == n
                    alive[mine] = now[place[mine]]
                    revived = revived or bool((now[: len(then)] & ~then).any())
                if revived:  # a deletion was taken back meanwhile
                    yield from self._discard(fresh)
                    return False
                fresh.renew(fresh.part)
                fresh.kill(np.flatnonzero(~alive))
                dying, lost = {}, NO_ROWS
                if made.replaces:
                    parts, places = yield from self._places((yield from fresh.all_ids()))
                    found = {part.name: rows[rows >= 0] for part, rows in zip(parts, places)}
                    lost, dying = found.pop(self.head.name, NO_ROWS), found
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
            rows = dying.get(segment.name, NO_ROWS)
            part = replace(segment.part, born=number - 1, dead=bool(segment.dead or len(rows)), draft="", turn=0)
            if segment.changed or len(rows):
                puts[self.keys.dead(segment.name)] = segment.dead_page(rows)
            parts.append(part)
        gone = [key for part in made.old if isinstance(part, Segment) for key in self.keys.all(part.part)]
        if fresh.part.draft:
            gone.append(self.keys.draft)
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
        facts = self.attributes.of((yield from fresh.all_ids()) if made.replaces else NONE, made.facts)
        told = self.attributes.due(facts, fresh.live + self.head.live + sum(segment.live for segment in kept))
        if told is not None:
            here = yield from self._here(told)
            mine = yield from fresh.locate(told)
            told = told[here | (fresh.living(mine) >= 0)]
        if turn := self.attributes.turn(self.keys, f"{new.next:06x}", number - 1, facts, told):
            new = replace(new, runs=turn.runs, next=new.next + 1)
            puts, gone = puts | turn.puts, gone + turn.gone
        if not (yield from self._adopt(new, puts, gone, expect)):
            return False
        if turn:
            self.attributes.turned(turn)
        for segment in kept:
            segment.kill(dying.get(segment.name, NO_ROWS))
        for segment, part in zip((*kept, fresh), parts):
            segment.part, segment.changed = part, False
        if len(lost):
            self.head.kill(lost)
        self._next = number
        self._batches = number - log
        self.segments = [*kept, fresh] if fresh.live else kept
        if head:
            self.head = self.head.after(head[0])
        self.graves = Graves()
        return True

    def _discard(self, fresh: Segment) -> Flow:
        """Take away the pages of a segment that nobody wants any more."""
        while True:
            old = self.manifest
            new = old.switched(pending=tuple(part for part in old.pending if part != fresh.part))
            mine = list(self.keys.all(fresh.part)) if fresh.part in old.pending else []  # or another writer's by now
            if (yield from self._adopt(new, {}, mine)):
                self._building.discard(fresh.name)
                return

    def _sweep(self, everything: bool = False) -> Flow:
        """Delete what a writer that died, or was stopped, has left: once, and of `everything` also what the next build
        might go on from."""
        if self._swept and not everything:
            return False
        release = yield Hold(f"index/{self.keys.collection}")
        try:
            while True:
                left = draft.read((yield Get([self.keys.draft]))[0])[0] if self.durable else ""
                spared = "" if everything else left
                pending = self.manifest.pending
                kept = tuple(one for one in pending if one.name in self._building or (spared and one.draft == spared))
                gone = [key for part in pending if part not in kept for key in self.keys.all(part)]
                gone += [self.keys.draft] if left and not spared else []
                self._swept = True
                if not gone:
                    return False
                if (yield from self._adopt(self.manifest.switched(pending=kept), {}, gone)):
                    return True
        finally:
            release()


def in_batches(written: Iterable[tuple[str, bytes]], rest: dict[str, bytes]) -> Iterator[dict[str, bytes]]:
    """Pages in batches of about WRITE bytes; what is left at the end, and what was in it before, is in `rest`."""
    size = 0
    for key, page in written:
        rest[key] = page
        size += len(page)
        if size >= WRITE:
            yield dict(rest)
            rest.clear()
            size = 0
