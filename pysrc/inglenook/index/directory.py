"""What arrays a segment has, and in which pages they lie.

A page holds CHUNK bytes of an array, or, where the array is made of pieces that are read singly (the codes of lists),
as many whole pieces as fit into PIECES bytes, and one at least. Arrays of up to SMALL bytes lie in the head's own page.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from inglenook.index import pages
from inglenook.index.kind import Arrays
from inglenook.index.manifest import Keys

CHUNK = 1 << 18
"""Bytes of a page of most sorts."""
PIECES = 1 << 14
"""Bytes of a page of whole pieces, about."""
SMALL = 1 << 12
"""Bytes of an array that lies in the head."""

Longs = NDArray[np.int64]
_LENGTH = struct.Struct("<I")


class Entry(NamedTuple):
    """An array: `ends` are the bytes where its pages end, the first of which is number `page` of its sort; none and -1
    where it lies in the head."""

    name: str
    type: np.dtype[Any]
    shape: tuple[int, ...]
    page: int
    ends: Longs

    @property
    def sort(self) -> str:
        """What its pages are called."""
        return "graph" if self.name in ("links", "upper") else "codes"

    @property
    def nbytes(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64)) * self.type.itemsize

    def keys(self, keys: Keys, segment: str) -> list[str]:
        """The keys of its pages."""
        return [keys.of(segment, self.sort, self.page + n) for n in range(len(self.ends))]

    def join(self, found: list[memoryview]) -> NDArray[np.generic]:
        """The array, from the payloads of its pages. ValueError where one has another length."""
        array = np.empty(self.shape, self.type)
        flat, start = array.reshape(-1).view(np.uint8), 0
        for end, payload in zip(self.ends.tolist(), found, strict=True):
            flat[start:end] = np.frombuffer(payload, np.uint8)
            start = end
        return array


Directory = dict[str, Entry]


def directory(arrays: Arrays, pieces: Mapping[str, Longs]) -> Directory:
    """Where arrays are to lie; `pieces` are the bytes where those of some end."""
    numbers = {"codes": 0, "graph": 0}
    made: Directory = {}
    for name, values in arrays.items():
        if values.nbytes <= SMALL:
            ends = np.empty(0, np.int64)
        else:
            ends = _whole(pieces[name]) if name in pieces else _even(values.nbytes, CHUNK)
        entry = Entry(name, values.dtype, values.shape, -1, ends)
        if len(ends):
            entry = entry._replace(page=numbers[entry.sort])
            numbers[entry.sort] += len(ends)
        made[name] = entry
    return made


def write(
    keys: Keys, segment: str, arrays: Arrays, where: Directory, more: dict[str, int]
) -> Iterator[tuple[str, bytes]]:
    """The pages of arrays, their head last; `more` is kept in it, too."""
    told, small = [], []
    for name, entry in where.items():
        data, start = np.ascontiguousarray(arrays[name]).tobytes(), 0
        uneven = not np.array_equal(entry.ends, _even(entry.nbytes, CHUNK))
        sizes = np.diff(entry.ends, prepend=0).tolist() if uneven and len(entry.ends) else []
        for key, end in zip(entry.keys(keys, segment), entry.ends.tolist()):
            yield key, pages.seal(data[start:end])
            start = end
        if not len(entry.ends):
            small.append(data)
        type_ = entry.type.str if entry.type.fields is None else entry.type.descr
        told.append({"name": name, "type": type_, "shape": entry.shape, "page": entry.page, "sizes": sizes})
    head = json.dumps({"arrays": told, "chunk": CHUNK, **more}, separators=(",", ":")).encode()
    yield keys.of(segment, "head"), pages.seal(_LENGTH.pack(len(head)) + head + b"".join(small))


def read(head: memoryview) -> tuple[Directory, Arrays, dict[str, int]]:
    """The directory, the arrays in the head, and what else was kept there. ValueError, KeyError or TypeError where it
    does not fit together."""
    (length,) = _LENGTH.unpack_from(head)
    at = _LENGTH.size + length
    more = json.loads(bytes(head[_LENGTH.size : at]))
    where: Directory = {}
    arrays: Arrays = {}
    chunk = more.pop("chunk")
    for told in more.pop("arrays"):
        type_ = told["type"] if isinstance(told["type"], str) else [tuple(field) for field in told["type"]]
        entry = Entry(told["name"], np.dtype(type_), tuple(told["shape"]), told["page"], np.empty(0, np.int64))
        size = entry.nbytes
        if told["page"] < 0:
            array = np.empty(entry.shape, entry.type)
            array.reshape(-1).view(np.uint8)[:] = np.frombuffer(head, np.uint8, size, at)
            arrays[entry.name], at = array, at + size
        else:
            ends = np.cumsum(told["sizes"], dtype=np.int64) if told["sizes"] else _even(size, chunk)
            entry = entry._replace(ends=ends)
        where[entry.name] = entry
    return where, arrays, more


def _even(size: int, chunk: int) -> Longs:
    """Where pages of equal length end."""
    return np.append(np.arange(chunk, size, chunk), size).astype(np.int64)


def _whole(pieces: Longs) -> Longs:
    """Where pages of whole pieces end."""
    ends = [0]
    while ends[-1] < pieces[-1]:
        fit = int(np.searchsorted(pieces, ends[-1] + PIECES, side="right")) - 1
        next_ = int(np.searchsorted(pieces, ends[-1], side="right"))
        ends.append(int(pieces[max(fit, next_)]))
    return np.array(ends[1:], np.int64)
