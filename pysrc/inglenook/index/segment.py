"""A segment: vectors that no longer change, laid out so that a search reads little of them, in pages.

    head            what arrays the index kind has and where (`index/directory.py`), and the small ones themselves
    ids/<n>         int64 ids by row
    codes/<n>       the large arrays of the kind, one after the other; those of a graph in graph/<n>
    vectors/<n>     `per` rows: their ids, then their vectors, in the kind's order

Each page is sealed with a CRC-32. The pages of vectors hold ids too, so they alone are enough to make the others again:
a damaged page of another sort costs time, one of vectors only its own rows.

What a segment can do without stays in storage where memory is short: its ids, and of lists their codes.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from inglenook.errors import NookError
from inglenook.flow import Flow, Get, Pause
from inglenook.index import directory, pages
from inglenook.index import kind as kinds
from inglenook.index.directory import Directory, Entry
from inglenook.index.form import Form, Raw
from inglenook.index.kind import Allow, Arrays, Confirming, Kind, Listed, Rows
from inglenook.index.linear import Linear
from inglenook.index.manifest import Keys, Part
from inglenook.index.nearest import View, masked
from inglenook.index.planner import Needs

Ids = NDArray[np.int64]

PAGE = 6208
"""Bytes of a page of vectors, about: one query's rows lie in as many pages as it has candidates, nearly."""
IDS = 1 << 15
"""Ids in a page of them."""
BATCH = 1 << 22
"""Bytes that are read or written at once where a segment is read or written as a whole."""
SINGLY = ("webanns",)
"""Kinds whose vectors are stored one by one."""
SPARE: dict[str, tuple[str, ...]] = {"ivf": ("blocks", "fine")}
"""Arrays that a kind can do without, the more useful ones first."""

_NO_IDS: Ids = np.empty(0, np.int64)
_SEAL = len(pages.seal(b""))
_MAGIC, _NOW = pages.seal(b"")[:4], pages.seal(b"")[4:8]
_BEGUN = zlib.crc32(_NOW)


class Segment:
    """Rows that may be found: those of `kind`, `alive` (None: all of them). `resident` are all rows where memory
    allows, None where they are read page by page, and so are `ids`."""

    def __init__(
        self, keys: Keys, form: Form, part: Part, kind: Kind, ids: Ids | None, *, span: tuple[int, int] | None = None,
        where: Directory | None = None, resident: Raw | None = None, unreadable: Rows | None = None,
    ) -> None:  # fmt: skip
        self.keys, self.form, self.part, self.kind, self.ids = keys, form, part, kind, ids
        self.span = span or _span(_NO_IDS if ids is None else ids)
        """The lowest and the highest id."""
        self.where = _directory(kind) if where is None else where
        self.made = unreadable is not None
        """Whether it is what could be read of one whose pages are damaged: then it is in memory only."""
        self.resident: Raw | None = None
        self.confirming: Confirming | None = None
        """The kind, where it confirms by itself."""
        self.alive: NDArray[np.bool_] | None = None
        self.dead = 0
        self.changed = False
        """Whether rows died since their page was written."""
        self._unreadable: Rows = np.empty(0, np.int32) if unreadable is None else unreadable
        self.listed = _listed(kind)
        """The kind, where its codes are in storage."""
        self.sorts = ids is not None
        """Whether ids in their order may be kept, to find some quickly."""
        self._order: tuple[Ids, NDArray[np.int32]] | None = None
        self._prefix = keys.of(part.name, "vectors") + "/"
        self.renew(part)
        if resident is not None:
            self.hold(resident)

    @property
    def name(self) -> str:
        return self.part.name

    @property
    def count(self) -> int:
        return self.part.count

    @property
    def live(self) -> int:
        """Rows that are not dead."""
        return self.count - self.dead

    @property
    def page(self) -> int:
        """Bytes of a page of vectors, its seal not counted."""
        return self.part.per * (self.form.width + 8)

    @property
    def stored(self) -> int:
        """Bytes of its pages in storage, about."""
        arrays = sum(entry.nbytes for entry in self.where.values())
        return self.part.vectors * (self.page + _SEAL) + self.part.count * 8 + arrays

    def held(self) -> dict[str, int]:
        """Bytes held, by sort."""
        order = 0 if self._order is None else self._order[0].nbytes + self._order[1].nbytes
        return {
            "codes": self.kind.memory + sum(400 + entry.ends.nbytes for entry in self.where.values()),
            "ids": (0 if self.ids is None else self.ids.nbytes) + order,
            "vectors": 0 if self.resident is None else self.resident.nbytes,
            "dead": self._unreadable.nbytes + (0 if self.alive is None else self.alive.nbytes),
        }

    # ── what is in memory ─────────────────────────────────────────────────────────────────────────────────────────

    def needs(self) -> Needs:
        """What it can do without, most useful first, and what is read of it."""
        pages = 0 if self.resident is not None else self.part.vectors
        if self.made:
            return Needs({}, pages, self.page)
        spare = {name: self.where[name].nbytes for name in SPARE.get(self.part.kind, ()) if name in self.where}
        spare = {name: size for name, size in spare.items() if size > directory.SMALL}
        order = 0 if self._ascending() else self.count * 12
        ids = {} if self.resident is not None else {"ids": self.count * 8}
        first = {name: spare[name] for name in ("blocks",) if name in spare}
        return Needs(first | ids | spare | ({"order": order} if order else {}), pages, self.page)

    def has(self, name: str) -> bool:
        """Whether something of `needs` is in memory."""
        if name == "ids":
            return self.ids is not None
        if name == "order":
            return self.sorts
        return name in self.kind.arrays()

    def drop(self, names: Collection[str]) -> None:
        """Forget some of what `needs` named."""
        if "order" in names or "ids" in names:
            self.sorts, self._order = False, None
        if "ids" in names:
            self.ids = None
        arrays = self.kind.arrays()
        if any(name in arrays for name in names):
            self._become({name: array for name, array in arrays.items() if name not in names})

    def load(self, names: Collection[str], damage: set[str]) -> Flow:
        """Read what `needs` named. What is damaged stays where it is, and its keys are added to `damage`."""
        if "ids" in names and self.ids is None:
            self.ids = yield from _read_ids(self.keys, self.part, damage)
        arrays = self.kind.arrays()
        wanting = [self.where[name] for name in names if name in self.where and name not in arrays]
        read = yield from _read_arrays(self.keys, self.part, wanting, damage)
        if read:
            self._become(arrays | read)
        self.sorts = self.sorts or "order" in names

    def hold(self, raw: Raw) -> None:
        """Keep all rows (count, width) in memory. Ids are there."""
        self.resident = raw
        if self.form.dtype in ("f4", "f2") and isinstance(self.kind, Confirming):
            self.kind.attach(raw.view(f"<{self.form.dtype}"))
            self.confirming = self.kind

    def view(self) -> View | None:
        """Where the rows lie, for `Nearest`; None where they are not in memory, or of a kind that it does not know."""
        if self.resident is None or self.ids is None or not isinstance(self.kind, Linear):
            return None
        return self.kind.view(self.resident, self.ids)

    def _become(self, arrays: Arrays) -> None:
        self.kind = kinds.load(self.part.kind, self.form, arrays)
        self.listed = _listed(self.kind)
        if self.confirming is not None and self.resident is not None:
            self.hold(self.resident)

    def _ascending(self) -> bool:
        return self.ids is not None and bool((self.ids[1:] > self.ids[:-1]).all())

    # ── which rows are there ──────────────────────────────────────────────────────────────────────────────────────

    def locate(self, ids: Ids) -> Flow:
        """The row of each id, dead or alive, -1 where there is none; reads ids where they are in storage."""
        rows = np.full(len(ids), -1, np.int32)
        if not len(ids) or ids.max() < self.span[0] or ids.min() > self.span[1]:
            return rows
        if self.sorts and self.ids is not None and self._order is None and not self._ascending():
            order = np.argsort(self.ids, kind="stable")
            self._order = self.ids[order], order.astype(np.int32)
        if self._order is not None or self._ascending():
            ordered = self.ids if self._order is None else self._order[0]
            assert ordered is not None
            at = np.minimum(np.searchsorted(ordered, ids), len(ordered) - 1)
            there = ordered[at] == ids
            rows[there] = (at if self._order is None else self._order[1][at])[there]
            return rows
        by_id = np.argsort(ids, kind="stable")
        wanted = ids[by_id]
        for first in range(0, self.count, IDS):
            piece = yield from self.some_ids(first)
            at = np.minimum(np.searchsorted(wanted, piece), len(wanted) - 1)
            hits = np.flatnonzero(wanted[at] == piece)
            rows[by_id[at[hits]]] = hits + first
        return rows

    def ids_of(self, rows: Rows) -> Flow:
        """The ids of rows."""
        ids = yield from self.all_ids()
        return ids[rows]

    def living(self, rows: Rows) -> Rows:
        """Those of some rows, -1 for none, that are alive; -1 for the others."""
        return rows if self.alive is None else np.where((rows >= 0) & self.alive[rows], rows, -1).astype(np.int32)

    def all_ids(self) -> Flow:
        """The ids by row."""
        if self.ids is not None:
            return self.ids
        ids = np.empty(self.count, np.int64)
        for first in range(0, self.count, IDS):
            ids[first : first + IDS] = yield from self.some_ids(first)
        return ids

    def masked(self, allow: Callable[[Ids], Allow] | None) -> Allow | None:
        """Which rows are alive and allowed, where ids are in memory; None: all."""
        assert self.ids is not None
        return masked(self.ids, self.alive, allow)

    def opened(self, allow: Callable[[Ids], Allow] | None) -> Flow:
        """Which rows are alive and allowed; None: all."""
        if allow is None or self.ids is not None:
            return self.alive if allow is None else self.masked(allow)
        mask = np.ones(self.count, np.bool_) if self.alive is None else self.alive.copy()
        for first in range(0, self.count, IDS):
            ids = yield from self.some_ids(first)
            mask[first : first + len(ids)] &= np.asarray(allow(ids), np.bool_)
        return mask

    def some_ids(self, first: int) -> Flow:
        """The ids of rows from `first` on, a multiple of IDS, as many as a page has."""
        if self.ids is not None:
            return self.ids[first : first + IDS]
        key = self.keys.of(self.name, "ids", first // IDS)
        [page] = yield Get([key])
        payload = checked(page)
        if payload is not None:
            return np.frombuffer(payload, "<i8").astype(np.int64, copy=False)
        some = range(first // self.part.per, -(-min(first + IDS, self.count) // self.part.per))
        _, _, ids = yield from _everything(self.keys, self.form, self.part, None, some)
        skip = first - some.start * self.part.per
        return ids[skip : skip + min(IDS, self.count - first)]

    def kill(self, rows: NDArray[np.integer]) -> None:
        """Let living rows be dead."""
        if len(rows):
            if self.alive is None:
                self.alive = np.ones(self.count, np.bool_)
            self.alive[rows] = False
            self.dead += len(rows)
            self.changed = True

    def revive(self, row: int) -> None:
        """Let a dead row live again."""
        assert self.alive is not None
        self.alive[row] = True
        self.dead -= 1
        self.changed = True

    def renew(self, part: Part) -> None:
        """Be as the manifest says, and let all rows live that can be read."""
        self.part, self.alive, self.dead = part, None, 0
        self.kill(self._unreadable)
        self.changed = False

    def dead_page(self, rows: Rows | None = None) -> bytes:
        """The page of dead rows, `rows` among them."""
        alive = np.ones(self.count, np.bool_) if self.alive is None else self.alive.copy()
        if rows is not None:
            alive[rows] = False
        return pages.seal(np.packbits(~alive).tobytes())

    def bury(self, page: bytes | None) -> bool:
        """Take over a page of dead rows; False where it is damaged."""
        payload = checked(page)
        if payload is None or len(payload) != -(-self.count // 8):
            return False
        dead = np.unpackbits(np.frombuffer(payload, np.uint8), count=self.count).astype(np.bool_)
        dead[self._unreadable] = True
        self.alive, self.dead = ~dead, int(np.count_nonzero(dead))
        return True

    # ── vectors ───────────────────────────────────────────────────────────────────────────────────────────────────

    def codes_of(self, lists: Rows) -> tuple[dict[str, int], NDArray[np.intp], NDArray[np.int64]]:
        """The pages of codes that some lists lie in, by key with their bytes, and of each list the number of its page
        among these, and where in it it begins."""
        assert self.listed is not None
        entry, begin = self.where["blocks"], self.listed.bounds[lists]
        page = np.searchsorted(entry.ends, begin, side="right")
        numbers, which = np.unique(page, return_inverse=True)
        starts = np.where(numbers > 0, entry.ends[numbers - 1], 0)
        prefix = self.keys.of(self.name, entry.sort) + "/"
        keys = [f"{prefix}{entry.page + n:06x}" for n in numbers.tolist()]
        return dict(zip(keys, (entry.ends[numbers] - starts).tolist())), which, begin - starts[which]

    def key(self, number: int) -> str:
        """The key of a page of vectors."""
        return f"{self._prefix}{number:06x}"

    def vector(self, page: bytes | None) -> memoryview | None:
        """The vector of a page that has only one; None where it is damaged."""
        payload = checked(page)
        return None if payload is None else payload[8:]

    def pages_of(self, rows: Rows) -> dict[str, int]:
        """The pages of vectors that rows lie in and that have to be read, by key with their bytes."""
        if self.resident is not None:
            return {}
        return {self.key(n): self.page for n in np.unique(rows // self.part.per).tolist()}

    def vectors_of(self, rows: Rows, pages: Mapping[str, bytes]) -> tuple[Allow, Ids, Raw]:
        """Which rows (n,) could be read, and their ids and vectors; `pages` are those of `pages_of`, as far as they are
        whole."""
        if self.resident is not None:
            assert self.ids is not None
            return np.ones(len(rows), np.bool_), self.ids[rows], self.resident[rows]
        per, width = self.part.per, self.form.width
        numbers, page = np.unique(rows // per, return_inverse=True)
        found = [pages.get(self.key(n)) for n in numbers.tolist()]
        good = np.ones(len(rows), np.bool_)
        if None in found:
            good = np.array([one is not None for one in found])[page]
            whole = bytes(self.page)
            found = [whole if one is None else one for one in found]
        block = np.frombuffer(b"".join(found), np.uint8).reshape(len(numbers), self.page)  # type: ignore[arg-type]
        page, slot = page[good], (rows % per)[good]
        ids = block[:, : 8 * per].copy().view("<i8")[page, slot].astype(np.int64, copy=False)
        return good, ids, block[:, 8 * per :].reshape(len(numbers), per, width)[page, slot]

    def everything(self) -> Flow:
        """All rows, read a few at a time. Returns (rows (n, width), which of them could be read (n,), their ids)."""
        if self.resident is not None:
            return self.resident, np.ones(self.count, np.bool_), (yield from self.all_ids())
        return (yield from _everything(self.keys, self.form, self.part))

    def batches(self) -> Iterator[list[str]]:
        """The keys of all its pages but that of dead rows, about BATCH bytes in each batch."""
        keys = [key for key in self.keys.all(self.part) if key != self.keys.dead(self.name)]
        others = len(keys) - self.part.vectors
        for first, last, size in ((0, others, directory.CHUNK), (others, len(keys), self.page)):
            step = max(1, BATCH // size)
            yield from (keys[start : min(start + step, last)] for start in range(first, last, step))

    def pages(self, ids: Ids, raw: Raw) -> Iterator[tuple[str, bytes]]:
        """The pages of this segment, whose rows are `raw` under `ids`."""
        yield from write(self.keys, self.part, self.kind, ids, raw)


def plan(form: Form, kind_name: str, kind: Kind, name: str, *, page: int = 0) -> Part:
    """What a segment of `kind` will consist of."""
    per = max(1, (page or PAGE) // (form.width + 8))
    if kind_name in SINGLY:
        per = 1
    sorts = {"codes": 0, "graph": 0}
    for entry in _directory(kind).values():
        sorts[entry.sort] += len(entry.ends)
    ids, vectors = -(-kind.count // IDS), -(-kind.count // per)
    return Part(name, kind_name, kind.count, per, ids, sorts["codes"], sorts["graph"], vectors, 0)


def write(keys: Keys, part: Part, kind: Kind, ids: Ids, raw: Raw) -> Iterator[tuple[str, bytes]]:
    """Every page of a segment, vectors first: `ids` and `raw` (n, width) in the kind's order."""
    rows, per, width = part.count, part.per, raw.shape[1]
    for n in range(part.vectors):
        some = slice(n * per, min(n * per + per, rows))
        page = np.zeros((per * (8 + width),), np.uint8)
        page[: 8 * per].view("<i8")[:] = -1
        page[: 8 * (some.stop - some.start)] = ids[some].astype("<i8").view(np.uint8)
        page[8 * per : 8 * per + width * (some.stop - some.start)] = raw[some].reshape(-1)
        yield keys.of(part.name, "vectors", n), pages.seal(page.tobytes())
    for n in range(part.ids):
        yield keys.of(part.name, "ids", n), pages.seal(ids[n * IDS : (n + 1) * IDS].astype("<i8").tobytes())
    low, high = _span(ids)
    yield from directory.write(keys, part.name, kind.arrays(), _directory(kind), {"low": low, "high": high})


def read(keys: Keys, form: Form, part: Part, head: bytes | None, damage: set[str], *, lean: bool) -> Flow:
    """A segment from its pages, given its head's, without its vectors, and if `lean` without all it can do without.
    Damaged pages are added to `damage`; what they held is made again from the vectors, in memory. Returns None where
    nothing can be read."""
    at = keys.of(part.name, "head")
    payload = checked(head)
    try:
        if payload is None:
            raise ValueError("its head is damaged")
        where, arrays, more = directory.read(payload)
        span = int(more["low"]), int(more["high"])
        spare = SPARE.get(part.kind, ()) if lean else ()
        wanted = [entry for name, entry in where.items() if name not in arrays and name not in spare]
        arrays |= yield from _read_arrays(keys, part, wanted, damage)
        ids = None if lean else (yield from _read_ids(keys, part, damage))
        kind = kinds.load(part.kind, form, arrays)
        if kind.count != part.count or (ids is None and not lean):
            raise ValueError("it has another number of rows than it says")
        return Segment(keys, form, part, kind, ids, span=span, where=where)
    except (KeyError, ValueError, TypeError, struct.error):
        pass
    except NookError as error:
        if error.code != "corrupt":
            raise
    if damage.isdisjoint(keys.all(part)):
        damage.add(at)  # every other page is whole, and yet they do not fit together
    raw, there, ids = yield from _everything(keys, form, part, damage)
    if not there.any():
        return None
    made = yield from _made(form, raw)
    return Segment(keys, form, part, made, ids, unreadable=np.flatnonzero(~there).astype(np.int32))


def _read_arrays(keys: Keys, part: Part, wanted: list[Entry], damage: set[str]) -> Flow:
    """Arrays by name; those that are damaged are left out."""
    by_entry = {entry.name: entry.keys(keys, part.name) for entry in wanted}
    all_keys = [key for some in by_entry.values() for key in some]
    size = sum(entry.nbytes for entry in wanted) // max(len(all_keys), 1)
    payloads = yield from _payloads(all_keys, size, damage)
    arrays: Arrays = {}
    for entry in wanted:
        found = [payloads[key] for key in by_entry[entry.name] if key in payloads]
        if len(found) == len(entry.ends):
            arrays[entry.name] = entry.join(found)
    return arrays


def _read_ids(keys: Keys, part: Part, damage: set[str]) -> Flow:
    """All ids by row, None where a page of them is damaged."""
    wanted = [keys.of(part.name, "ids", n) for n in range(part.ids)]
    payloads = yield from _payloads(wanted, 8 * IDS, damage)
    if len(payloads) < len(wanted):
        return None
    ids = np.frombuffer(b"".join(payloads[key] for key in wanted), "<i8").astype(np.int64, copy=False)
    if len(ids) != part.count:
        raise ValueError("ids are missing")
    return ids


def _payloads(wanted: list[str], size: int, damage: set[str]) -> Flow:
    """Payloads of pages of about `size` bytes by key; those that cannot be read are in `damage`."""
    payloads: dict[str, memoryview] = {}
    step = max(1, BATCH // max(size, 1))
    for start in range(0, len(wanted), step):
        some = wanted[start : start + step]
        for key, page in zip(some, (yield Get(some))):
            payload = checked(page)
            if payload is None:
                damage.add(key)
            else:
                payloads[key] = payload
    return payloads


def _made(form: Form, raw: Raw) -> Flow:
    steps = kinds.build("flat", form, form.floats(raw))
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            return stop.value.kind
        yield Pause()


def _everything(keys: Keys, form: Form, part: Part, damage: set[str] | None = None, some: range | None = None) -> Flow:
    """`Segment.everything` from storage; of the pages `some` only, where that is given."""
    per, width = part.per, form.width
    numbers = range(part.vectors) if some is None else some
    raw = np.zeros((len(numbers) * per, width), np.uint8)
    ids = np.full(len(raw), -1, np.int64)
    there = np.zeros(len(raw), np.bool_)
    step = max(1, BATCH // (per * (8 + width)))
    for start in range(0, len(numbers), step):
        batch = numbers[start : start + step]
        wanted = [keys.of(part.name, "vectors", n) for n in batch]
        for n, key, page in zip(batch, wanted, (yield Get(wanted))):
            payload = checked(page)
            if payload is None or len(payload) != per * (8 + width):
                if damage is not None:
                    damage.add(key)
                continue
            place = slice((n - numbers.start) * per, (n - numbers.start + 1) * per)
            ids[place] = np.frombuffer(payload, "<i8", per)
            raw[place] = np.frombuffer(payload, np.uint8, offset=8 * per).reshape(per, width)
            there[place] = True
        yield Pause()
    rows = min(part.count - numbers.start * per, len(raw))
    return raw[:rows], there[:rows], ids[:rows]


def checked(page: bytes | None) -> memoryview | None:
    """The payload of a page, None where it is damaged or not there. (`pages.unseal` without a copy, and without a
    word: a search looks at fifty of these.)"""
    if page is None or len(page) < _SEAL:
        return None
    payload = memoryview(page)[_SEAL:]
    begun = _BEGUN if page[4:8] == _NOW else zlib.crc32(page[4:8])
    if page[:4] != _MAGIC or zlib.crc32(payload, begun) != int.from_bytes(page[8:_SEAL], "little"):
        return None
    if page[4:8] != _NOW:
        pages.stamp(page)  # a newer format is no damage
    return payload


def _directory(kind: Kind) -> Directory:
    pieces = {"blocks": kind.bounds[1:]} if isinstance(kind, Listed) else {}
    return directory.directory(kind.arrays(), pieces)


def _listed(kind: Kind) -> Listed | None:
    return kind if isinstance(kind, Listed) and kind.paged else None


def _span(ids: Ids) -> tuple[int, int]:
    return (int(ids.min()), int(ids.max())) if len(ids) else (0, -1)
