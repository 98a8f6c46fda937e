"""A segment: vectors that no longer change, laid out so that a search reads little of them, in pages.

    head            a JSON object (count, form, arrays) and the small arrays of the index kind
    ids/<n>         int64 ids by row
    codes/<n>       the large arrays of the kind, one after the other; those of a graph in graph/<n>
    vectors/<n>     `per` rows: their ids, then their vectors, in the kind's order

Each page is sealed with a CRC-32. The pages of vectors hold ids too, so they alone are enough to make the others again:
a damaged page of another sort costs time, one of vectors only its own rows.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator, Mapping
from itertools import count

import numpy as np
from numpy.typing import NDArray

from inglenook.errors import NookError
from inglenook.flow import Flow, Get, Pause
from inglenook.index import kind as kinds
from inglenook.index import pages
from inglenook.index.form import Form, Raw
from inglenook.index.kind import Arrays, Confirming, Kind, Rows
from inglenook.index.manifest import Keys, Part

Ids = NDArray[np.int64]

PAGE = 6144
"""Bytes of a page of vectors, about: one query's rows lie in as many pages as it has candidates, nearly."""
CHUNK = 1 << 18
"""Bytes of a page of any other sort."""
SMALL = 1 << 12
"""Bytes of an array that lies in the head."""
BATCH = 1 << 22
"""Bytes that are read or written at once where a segment is read or written as a whole."""

_LENGTH = struct.Struct("<I")
_SEAL = len(pages.seal(b""))
_MAGIC, _NOW = pages.seal(b"")[:4], pages.seal(b"")[4:8]


class Segment:
    """Rows that may be found: those of `kind`, `alive` (None: all of them). `resident` are all rows where memory
    allows, None where they are read page by page."""

    def __init__(
        self, keys: Keys, form: Form, part: Part, kind: Kind, ids: Ids, *, resident: Raw | None = None,
        unreadable: Rows | None = None,
    ) -> None:  # fmt: skip
        self.keys, self.form, self.part, self.kind, self.ids = keys, form, part, kind, ids
        self.resident: Raw | None = None
        self.confirming: Confirming | None = None
        """The kind, where it confirms by itself."""
        self.alive: NDArray[np.bool_] | None = None
        self.dead = 0
        self.changed = False
        """Whether rows died since their page was written."""
        self._unreadable: Rows = np.empty(0, np.int32) if unreadable is None else unreadable
        self._sorted: tuple[Ids, NDArray[np.intp] | None] | None = None
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

    def held(self) -> dict[str, int]:
        """Bytes held, by sort."""
        ordered, order = self._sorted or (self.ids, None)
        return {
            "codes": self.kind.memory, "ids": self.ids.nbytes + (0 if order is None else ordered.nbytes + order.nbytes),
            "vectors": 0 if self.resident is None else self.resident.nbytes,
            "dead": 0 if self.alive is None else self.alive.nbytes,
        }  # fmt: skip

    @property
    def stored(self) -> int:
        """Bytes of its pages in storage, about."""
        part = self.part
        return part.vectors * (part.per * (self.form.width + 8) + _SEAL) + part.count * 8 + self.kind.memory

    def hold(self, raw: Raw) -> None:
        """Keep all rows (count, width) in memory."""
        self.resident = raw
        if self.form.dtype == "f4" and isinstance(self.kind, Confirming):
            self.kind.attach(self.form.floats(raw))
            self.confirming = self.kind

    def find(self, ids: Ids) -> Rows:
        """The living row of each id, -1 where there is none."""
        if self._sorted is None:
            if (self.ids[1:] > self.ids[:-1]).all():
                self._sorted = self.ids, None
            else:
                by_id = np.argsort(self.ids, kind="stable")
                self._sorted = self.ids[by_id], by_id
        ordered, order = self._sorted
        if not len(ordered) or not len(ids) or ids.max() < ordered[0] or ids.min() > ordered[-1]:
            return np.full(len(ids), -1, np.int32)
        at = np.minimum(np.searchsorted(ordered, ids), len(ordered) - 1)
        rows = at if order is None else order[at]
        there = ordered[at] == ids
        if self.alive is not None:
            there &= self.alive[rows]
        return np.where(there, rows, -1).astype(np.int32)

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

    def key(self, number: int) -> str:
        """The key of a page of vectors."""
        return f"{self._prefix}{number:06x}"

    def rows(self, rows: Rows, numbers: NDArray[np.integer], found: list[bytes]) -> Raw:
        """Rows out of the payloads of the pages `numbers` (ascending, all that are needed)."""
        per, width = self.part.per, self.form.width
        block = np.frombuffer(b"".join(found), np.uint8).reshape(len(numbers), per * (8 + width))
        grid = block[:, 8 * per :].reshape(len(numbers), per, width)
        return grid[np.searchsorted(numbers, rows // per), rows % per]

    def everything(self) -> Flow:
        """All rows, read a few at a time. Returns (rows (n, width), which of them could be read (n,), their ids)."""
        if self.resident is not None:
            return self.resident, np.ones(self.count, np.bool_), self.ids
        return (yield from _everything(self.keys, self.form, self.part))

    def pages(self, raw: Raw) -> Iterator[tuple[str, bytes]]:
        """The pages of this segment, whose rows are `raw`."""
        yield from write(self.keys, self.part, self.kind, self.ids, raw)


def plan(form: Form, kind_name: str, kind: Kind, name: str, *, page: int = 0) -> Part:
    """What a segment of `kind` will consist of."""
    per = max(1, (page or PAGE) // (form.width + 8))
    arrays = kind.arrays()
    sorts = {"codes": 0, "graph": 0}
    for array, values in arrays.items():
        if values.nbytes > SMALL:
            sorts[_sort(array)] += -(-values.nbytes // CHUNK)
    ids, vectors = -(-kind.count * 8 // CHUNK), -(-kind.count // per)
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
    yield from _chunks(keys, part, "ids", 0, ids.astype("<i8"))
    told: list[dict[str, object]] = []
    small: list[bytes] = []
    numbers = {"codes": 0, "graph": 0}
    for name, values in kind.arrays().items():
        values = np.ascontiguousarray(values)
        entry: dict[str, object] = {"name": name, "type": values.dtype.str, "shape": values.shape}
        if values.nbytes <= SMALL:
            small.append(values.tobytes())
        else:
            sort = _sort(name)
            entry["page"] = numbers[sort]
            yield from _chunks(keys, part, sort, numbers[sort], values)
            numbers[sort] += -(-values.nbytes // CHUNK)
        told.append(entry)
    head = json.dumps({"arrays": told}, separators=(",", ":")).encode()
    yield keys.of(part.name, "head"), pages.seal(_LENGTH.pack(len(head)) + head + b"".join(small))


def read(keys: Keys, form: Form, part: Part, damage: set[str], without: frozenset[str] = frozenset()) -> Flow:
    """A segment from its pages, without its vectors and the arrays `without`. Damaged pages are added to `damage`; what
    they held is made again from the vectors, in memory. Returns None where nothing can be read."""
    wanted = [keys.of(part.name, "head")]
    wanted += [keys.of(part.name, "ids", n) for n in range(part.ids)]
    payloads = yield from _payloads(wanted, damage)
    spared = _pages_of(keys, part, payloads.get(wanted[0]), without) if without else set()
    rest = [keys.of(part.name, sort, n) for sort in ("codes", "graph") for n in range(getattr(part, sort))]
    rest = [key for key in rest if key not in spared]
    payloads |= yield from _payloads(rest, damage)
    wanted += rest
    try:
        ids = np.empty(part.count, "<i8")
        _fill(ids.view(np.uint8), payloads, (keys.of(part.name, "ids", n) for n in range(part.ids)))
        kind = kinds.load(part.kind, form, _arrays(keys, part, payloads, without))
        if kind.count != part.count:
            raise _corrupt("it has another number of rows than it says")
        return Segment(keys, form, part, kind, ids.astype(np.int64, copy=False))
    except (KeyError, ValueError, TypeError, struct.error):
        pass
    except NookError as error:
        if error.code != "corrupt":
            raise
    if damage.isdisjoint(wanted):
        damage.add(wanted[0])  # every page is whole, and yet they do not fit together
    raw, there, ids = yield from _everything(keys, form, part, damage)
    if not there.any():
        return None
    made = yield from _made(form, raw)
    return Segment(keys, form, part, made, ids, unreadable=np.flatnonzero(~there).astype(np.int32))


def _payloads(wanted: list[str], damage: set[str]) -> Flow:
    """Payloads of pages by key; those that cannot be read are in `damage`."""
    payloads: dict[str, memoryview] = {}
    step = max(1, BATCH // CHUNK)
    for start in range(0, len(wanted), step):
        some = wanted[start : start + step]
        for key, page in zip(some, (yield Get(some))):
            payload = checked(page)
            if payload is None:
                damage.add(key)
            else:
                payloads[key] = payload
    return payloads


def _pages_of(keys: Keys, part: Part, head: memoryview | None, arrays: frozenset[str]) -> set[str]:
    """The keys of the pages that hold some arrays."""
    out: set[str] = set()
    if head is not None:
        (length,) = _LENGTH.unpack_from(head)
        for entry in json.loads(bytes(head[_LENGTH.size : _LENGTH.size + length]))["arrays"]:
            if entry["name"] in arrays and "page" in entry:
                size = int(np.prod(entry["shape"], dtype=np.int64)) * np.dtype(entry["type"]).itemsize
                numbers = range(entry["page"], entry["page"] + -(-size // CHUNK))
                out.update(keys.of(part.name, _sort(entry["name"]), n) for n in numbers)
    return out


def _made(form: Form, raw: Raw) -> Flow:
    steps = kinds.build("flat", form, form.floats(raw))
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            return stop.value.kind
        yield Pause()


def _everything(keys: Keys, form: Form, part: Part, damage: set[str] | None = None) -> Flow:
    """`Segment.everything` from storage."""
    per, width = part.per, form.width
    raw = np.zeros((part.vectors * per, width), np.uint8)
    ids = np.full(part.vectors * per, -1, np.int64)
    there = np.zeros(part.vectors * per, np.bool_)
    step = max(1, BATCH // (per * (8 + width)))
    for start in range(0, part.vectors, step):
        some = range(start, min(start + step, part.vectors))
        wanted = [keys.of(part.name, "vectors", n) for n in some]
        for n, key, page in zip(some, wanted, (yield Get(wanted))):
            payload = checked(page)
            if payload is None or len(payload) != per * (8 + width):
                if damage is not None:
                    damage.add(key)
                continue
            place = slice(n * per, (n + 1) * per)
            ids[place] = np.frombuffer(payload, "<i8", per)
            raw[place] = np.frombuffer(payload, np.uint8, offset=8 * per).reshape(per, width)
            there[place] = True
        yield Pause()
    return raw[: part.count], there[: part.count], ids[: part.count]


def checked(page: bytes | None) -> memoryview | None:
    """The payload of a page, None where it is damaged or not there. (`pages.unseal` without a copy, and without a
    word: a search looks at fifty of these.)"""
    if page is None or len(page) < _SEAL:
        return None
    payload = memoryview(page)[_SEAL:]
    if page[:4] != _MAGIC or zlib.crc32(payload, zlib.crc32(page[4:8])) != int.from_bytes(page[8:_SEAL], "little"):
        return None
    if page[4:8] != _NOW:
        pages.stamp(page)  # a newer format is no damage
    return payload


def _sort(array: str) -> str:
    return "graph" if array in ("links", "upper") else "codes"


def _chunks(keys: Keys, part: Part, sort: str, first: int, values: NDArray[np.generic]) -> Iterator[tuple[str, bytes]]:
    data = values.tobytes()
    for n, start in enumerate(range(0, len(data), CHUNK)):
        yield keys.of(part.name, sort, first + n), pages.seal(data[start : start + CHUNK])


def _arrays(keys: Keys, part: Part, payloads: Mapping[str, memoryview], without: frozenset[str]) -> Arrays:
    """What `Kind.arrays` gave, some of them left out."""
    head = payloads[keys.of(part.name, "head")]
    (length,) = _LENGTH.unpack_from(head)
    at = _LENGTH.size + length
    arrays: Arrays = {}
    for entry in json.loads(bytes(head[_LENGTH.size : at]))["arrays"]:
        name = entry["name"]
        if name in without and "page" in entry:
            continue
        array = np.empty(tuple(entry["shape"]), entry["type"])
        flat = array.reshape(-1).view(np.uint8)
        if "page" in entry:
            _fill(flat, payloads, (keys.of(part.name, _sort(name), entry["page"] + n) for n in count()))
        else:
            flat[:] = np.frombuffer(head, np.uint8, array.nbytes, at)
            at += array.nbytes
        arrays[name] = array
    return arrays


def _fill(flat: NDArray[np.uint8], payloads: Mapping[str, memoryview], keys: Iterator[str]) -> None:
    """The bytes of an array from its pages. KeyError where one is missing, ValueError where one has another length."""
    for start in range(0, flat.nbytes, CHUNK):
        flat[start : start + CHUNK] = np.frombuffer(payloads[next(keys)], np.uint8)


def _corrupt(why: str) -> NookError:
    return NookError("corrupt", f"A segment of an index is damaged: {why}.", "What can be read is still searched.")
