"""Metadata as columns: a row for each id, a column for each type that a field has values of.

A field may have values of several types, a row has one of them or none. Row 0 has none of any: it stands for all ids
that were never told of. Texts, lists and truths are kept as numbers of words, one to four bytes a row; whole numbers in
as many bytes as the largest needs, others in eight. An id takes eight bytes besides.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inglenook.errors import NookError

Ids = NDArray[np.int64]
Marks = NDArray[np.bool_]
Places = NDArray[np.intp]
Metadata = Sequence[Mapping[str, Any] | None] | Mapping[str, Sequence[Any]]
"""What a person gives: a dict for each id, or a column (n,) for each field; None where there is nothing."""

TEXT, LIST, TRUTH, WHOLE, REAL, GONE = "slbifn"
"""Types of values. `GONE`, in what is put into a table only, takes away what is there."""
KINDS = {str: TEXT, bool: TRUTH, int: WHOLE, float: REAL, type(None): GONE}
LOOSE = 4096
"""So many ids may lie out of order before the table is put in order."""

_LENGTH = struct.Struct("<I")
_NONE: Ids = np.empty(0, np.int64)


class Column:
    """Values of one type of one field, by row. `at` is the number of a word, or the number itself."""

    def __init__(self, kind: str, room: int) -> None:
        self.kind = kind
        self.at: NDArray[Any] = np.zeros(room, {WHOLE: np.int8, REAL: np.float64}.get(kind, np.uint8))
        self.at[:] = self.nothing
        self.words: list[Any] = [None]
        """What the numbers of words mean."""
        self.numbers: dict[Any, int] = {}

    @property
    def nothing(self) -> Any:
        """What rows without a value have."""
        if self.kind == WHOLE:
            return np.iinfo(self.at.dtype).min
        return np.nan if self.kind == REAL else 0

    @property
    def there(self) -> Marks:
        """Which rows have a value."""
        marks: Marks = ~np.isnan(self.at) if self.kind == REAL else self.at != self.nothing
        return marks

    @property
    def memory(self) -> int:
        """Bytes held; a word and its number take about 120."""
        return self.at.nbytes + 120 * len(self.words)

    def clear(self, rows: Places) -> None:
        self.at[rows] = self.nothing

    def grow(self, room: int) -> None:
        at = np.full(room, self.nothing, self.at.dtype)
        at[: len(self.at)] = self.at
        self.at = at

    def fill(self, rows: Places, values: Sequence[Any] | NDArray[Any]) -> None:
        """Give rows values."""
        if self.kind == REAL:
            self.at[rows] = values
        elif self.kind == WHOLE:
            whole = np.asarray(values, np.int64)
            if len(whole):
                self._widen(_least(int(whole.min()), int(whole.max())))
            self.at[rows] = whole
        else:
            codes = [self._number(value) for value in values]
            self._widen(np.min_scalar_type(len(self.words) - 1))
            self.at[rows] = codes

    def take(self, rows: Places, other: Column, places: Places) -> None:
        """Give rows what `other` has at places."""
        values = other.at[places]
        if self.kind in (WHOLE, REAL):
            self.fill(rows, values)
        else:
            used = np.unique(values)
            known = np.zeros(len(other.words), np.uint32)
            known[used] = [self._number(other.words[code]) for code in used.tolist()]
            self._widen(np.min_scalar_type(len(self.words) - 1))
            self.at[rows] = known[values]

    def told(self, row: int) -> Any:
        """The value of a row that has one."""
        if self.kind in (WHOLE, REAL):
            return self.at[row].item()
        word = self.words[self.at[row]]
        return list(word) if self.kind == LIST else word

    def _number(self, word: Any) -> int:
        number = self.numbers.get(word)
        if number is None:
            number = self.numbers[word] = len(self.words)
            self.words.append(word)
        return number

    def _widen(self, least: np.dtype[Any]) -> None:
        if least.itemsize > self.at.itemsize:
            there, old = self.there, self.at
            self.at = np.zeros(len(old), least)
            self.at[:] = self.nothing
            self.at[there] = old[there]


class Table:
    """Records of ids (ascending, unless they are only to be put into another table). `partly`: put into another, it
    says only what changes."""

    def __init__(self, ids: Ids = _NONE, *, partly: bool = False) -> None:
        self.partly = partly
        self.columns: dict[tuple[str, str], Column] = {}
        self.version = 0
        """Goes up with each change."""
        self._ids = np.concatenate([[np.iinfo(np.int64).min], ids])
        self.size = len(self._ids)
        """Rows, row 0 among them."""
        self._even = self.size
        """Rows before this one are in the order of their ids, `_loose` tells where the others are."""
        self._loose: dict[int, int] = {}

    @property
    def ids(self) -> Ids:
        """The ids of rows 1 …"""
        return self._ids[1 : self.size]

    @property
    def filled(self) -> Marks:
        """Which of rows 1 … have any value."""
        marks = np.zeros(self.size - 1, np.bool_)
        for column in self.columns.values():
            marks |= column.there[1 : self.size]
        return marks

    @property
    def memory(self) -> int:
        """Bytes held, room to grow included."""
        return self._ids.nbytes + 100 * len(self._loose) + sum(column.memory for column in self.columns.values())

    def rows(self, ids: Ids) -> Places:
        """The row of each id, 0 where there is none."""
        even = self._ids[1 : self._even]
        rows = np.zeros(len(ids), np.intp)
        if len(even) and int(even[-1]) - int(even[0]) == len(even) - 1:
            known = (ids >= even[0]) & (ids <= even[-1])
            rows[known] = ids[known] - (even[0] - 1)
        elif len(even):
            at = np.minimum(np.searchsorted(even, ids), len(even) - 1)
            rows = np.where(even[at] == ids, at + 1, 0)
        if self._loose:
            for n in np.flatnonzero(rows == 0).tolist():
                rows[n] = self._loose.get(int(ids[n]), 0)
        return rows

    def put(self, patch: Table) -> None:
        """Let the ids of `patch` (each once) have its records."""
        self.version += 1
        rows = self._placed(patch.ids)
        if not patch.partly:
            for column in self.columns.values():
                column.clear(rows)
        for (field, kind), theirs in patch.columns.items():
            places = np.flatnonzero(theirs.there[: patch.size])
            mine = rows[places - 1]
            if patch.partly:
                for (name, _), column in self.columns.items():
                    if name == field:
                        column.clear(mine)
            if kind != GONE and len(places):
                self._column(field, kind).take(mine, theirs, places)

    def picked(self, places: NDArray[np.integer] | slice) -> Table:
        """The records at some places, counted from 0."""
        rows = np.arange(1, self.size)[places]
        out = Table(self._ids[rows], partly=self.partly)
        for (field, kind), column in self.columns.items():
            there = np.flatnonzero(column.there[rows])
            out._column(field, kind).take(there + 1, column, rows[there])
        return out

    def records(self, ids: Ids) -> list[dict[str, Any]]:
        """What each id has, by field."""
        rows = self.rows(ids)
        out: list[dict[str, Any]] = [{} for _ in rows]
        for (field, _), column in self.columns.items():
            for n in np.flatnonzero(column.there[rows]).tolist():
                out[n][field] = column.told(rows[n])
        return out

    def pack(self, start: int = 0, stop: int | None = None) -> bytes:
        """Some records, counted from 0, as bytes that `unpacked` takes."""
        some = self.picked(slice(start, stop))
        told, parts = [], [some.ids.astype("<i8").tobytes()]
        for (field, kind), column in some.columns.items():
            if column.there.any():
                at = column.at[1:]
                at = at.astype(at.dtype.newbyteorder("<"), copy=False)
                told.append([field, kind, at.dtype.str, column.words[1:]])
                parts.append(at.tobytes())
        head = json.dumps({"rows": some.size - 1, "partly": self.partly, "columns": told}, separators=(",", ":"))
        return _LENGTH.pack(len(head)) + head.encode() + b"".join(parts)

    def _placed(self, ids: Ids) -> Places:
        """The rows of ids, made where there are none."""
        rows = self.rows(ids)
        new = np.flatnonzero(rows == 0)
        if not len(new):
            return rows
        new = new[np.argsort(ids[new])]
        first, self.size = self.size, self.size + len(new)
        if self.size > len(self._ids):
            room = max(self.size, len(self._ids) * 3 // 2, 64)
            self._ids = np.concatenate([self._ids[:first], np.zeros(room - first, np.int64)])
            for column in self.columns.values():
                column.grow(room)
        self._ids[first : self.size] = ids[new]
        rows[new] = np.arange(first, self.size)
        if not self._loose and ids[new[0]] > self._ids[first - 1]:
            self._even = self.size
        elif len(self._loose) + len(new) <= LOOSE:
            self._loose.update(zip(ids[new].tolist(), range(first, self.size)))
        else:
            order = np.argsort(self._ids[: self.size], kind="stable")
            self._ids[: self.size] = self._ids[order]
            for column in self.columns.values():
                column.at[: self.size] = column.at[order]
            self._even, self._loose = self.size, {}
            return self.rows(ids)
        return rows

    def _column(self, field: str, kind: str) -> Column:
        if (field, kind) not in self.columns:
            self.columns[field, kind] = Column(kind, len(self._ids))
        return self.columns[field, kind]


def table(ids: Ids, metadata: Metadata, *, partly: bool = False) -> Table:
    """What a person says of ids (n,): texts, numbers, truths and lists of texts. NookError("bad-metadata")."""
    out = Table(ids, partly=partly)
    cells: dict[tuple[str, str], tuple[list[int], list[Any]]] = {}
    for field, row, value in _cells(metadata, len(ids)):
        kind, kept = _typed(field, value)
        if kind != GONE or partly:
            rows, values = cells.setdefault((field, kind), ([], []))
            rows.append(row)
            values.append(kept)
    for (field, kind), (rows, values) in cells.items():
        out._column(field, kind).fill(np.array(rows), values)
    return out


def unpacked(data: bytes | memoryview) -> Table:
    """What `pack` gave. NookError("corrupt")."""
    try:
        (length,) = _LENGTH.unpack_from(data)
        head, at = json.loads(bytes(data[_LENGTH.size : _LENGTH.size + length])), _LENGTH.size + length
        out = Table(np.frombuffer(data, "<i8", head["rows"], at).astype(np.int64), partly=head["partly"])
        at += 8 * head["rows"]
        for field, kind, dtype, words in head["columns"]:
            column = out._column(field, kind)
            values = np.frombuffer(data, dtype, head["rows"], at)
            column.words += [tuple(word) if kind == LIST else word for word in words]
            column.at = np.concatenate([np.zeros(1, values.dtype), values]).astype(values.dtype.newbyteorder("="))
            column.at[0] = column.nothing
            if kind not in (WHOLE, REAL) and values.max(initial=0) >= len(column.words):
                raise ValueError("a word is missing")
            at += values.nbytes
    except (struct.error, ValueError, TypeError, KeyError) as error:
        message = f"Metadata of an index cannot be read ({error})."
        raise NookError("corrupt", message, "Give it again with update_metadata.") from None
    return out


def _cells(metadata: Metadata, n: int) -> Any:
    """(field, row, value) of all that was given."""
    if isinstance(metadata, Mapping):
        for field, values in metadata.items():
            given = values.tolist() if isinstance(values, np.ndarray) else values
            if isinstance(given, str) or not isinstance(given, Sequence) or len(given) != n:
                raise _bad(f"The column {field!r} is not a list of {n} values.")
            yield from ((field, row, value) for row, value in enumerate(given, 1))
        return
    if isinstance(metadata, str) or not isinstance(metadata, Sequence) or len(metadata) != n:
        raise _bad(f"{n} ids need {n} dicts of metadata, or a column of {n} values for each field.")
    for row, record in enumerate(metadata, 1):
        if record is not None and not isinstance(record, Mapping):
            raise _bad(f"The metadata of a vector is a dict, not {type(record).__name__}.")
        yield from ((field, row, value) for field, value in (record or {}).items())


def _typed(field: Any, value: Any) -> tuple[str, Any]:
    """The type of a value, and the value as it is kept."""
    kind = KINDS.get(type(value), "")
    if not isinstance(field, str) or not field or field[0] == "$":
        raise _bad(f"{field!r} cannot be the name of a field.")
    if not kind and isinstance(value, np.generic):
        return _typed(field, value.item())
    if not kind and isinstance(value, list | tuple) and all(type(word) is str for word in value):
        return LIST, tuple(value)
    if not kind or value != value or (kind == WHOLE and not -(1 << 63) < value < 1 << 63):  # noqa: PLR0124 (NaN)
        raise _bad(f"The field {field!r} cannot be {value!r:.60}.")
    return kind, value


def _least(low: int, high: int) -> np.dtype[Any]:
    """The smallest type that has all of low … high, and one value below."""
    return np.promote_types(np.min_scalar_type(min(low - 1, -1)), np.min_scalar_type(min(-high - 1, -1)))


def _bad(message: str) -> NookError:
    hint = "Values are texts, whole and other numbers, True and False, and lists of texts; names do not begin with $."
    return NookError("bad-metadata", message, hint)
