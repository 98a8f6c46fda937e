"""Conditions on metadata, written as MongoDB, Chroma and Pinecone write them.

    {"lang": "en", "year": {"$gte": 2020}, "$or": [{"tag": {"$in": ["a", "b"]}}, {"tag": {"$exists": False}}]}

A field's value is compared with values of its own sort: texts, numbers, truths. Of a list of texts one has to fit. A
record without the field fits no comparison; $ne, $nin and $not say the contrary of $eq, $in and what they hold, so it
fits them.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from inglenook.errors import NookError
from inglenook.index.table import LIST, REAL, TEXT, TRUTH, WHOLE, Column, Marks, Table

ORDER = {"$gt": operator.gt, "$gte": operator.ge, "$lt": operator.lt, "$lte": operator.le}
OF_A_FIELD = ("$eq", "$ne", *ORDER, "$in", "$nin", "$exists", "$not")
OF_ALL = ("$and", "$or", "$not")
DEEPEST = 40
"""So many conditions may lie within each other."""


class All(NamedTuple):
    """Every part holds."""

    parts: tuple[Any, ...]

    def marks(self, table: Table) -> Marks:
        """Which rows of a table fit, row 0 (ids of which it knows nothing) among them: bool (size,)."""
        marks = np.ones(table.size, np.bool_)
        for part in self.parts:
            marks &= part.marks(table)
        return marks


class Some(NamedTuple):
    """At least one part holds."""

    parts: tuple[Any, ...]

    def marks(self, table: Table) -> Marks:
        marks = np.zeros(table.size, np.bool_)
        for part in self.parts:
            marks |= part.marks(table)
        return marks


class Not(NamedTuple):
    """The part does not hold."""

    part: Any

    def marks(self, table: Table) -> Marks:
        marks: Marks = ~self.part.marks(table)
        return marks


class Exists(NamedTuple):
    """There is such a field."""

    field: str

    def marks(self, table: Table) -> Marks:
        columns = [column.there[: table.size] for (field, _), column in table.columns.items() if field == self.field]
        marks: Marks = np.logical_or.reduce([np.zeros(table.size, np.bool_), *columns])
        return marks


class Among(NamedTuple):
    """The field is one of these. (True is no number, though Python says it equals 1.)"""

    field: str
    texts: frozenset[str]
    numbers: frozenset[float]
    truths: frozenset[bool]

    def marks(self, table: Table) -> Marks:
        marks = np.zeros(table.size, np.bool_)
        wishes: dict[str, frozenset[Any]] = {
            TEXT: self.texts, LIST: self.texts, TRUTH: self.truths, WHOLE: self.numbers, REAL: self.numbers
        }  # fmt: skip
        for kind, wanted in wishes.items():
            column = table.columns.get((self.field, kind))
            if not wanted or column is None:
                continue
            if kind == LIST:
                fits = (n for n, words in enumerate(column.words) if n and not wanted.isdisjoint(words))
                found = _worded(column, fits)
            elif kind in (WHOLE, REAL):
                exact = [value for value in wanted if kind == REAL or _kept(value, column)]
                found = np.isin(column.at, np.array(exact, np.float64 if kind == REAL else np.int64))
            else:
                found = _worded(column, (column.numbers[word] for word in wanted if word in column.numbers))
            marks |= found[: table.size]
        return marks


class Ordered(NamedTuple):
    """The field lies on one side of a bound. Texts are in the order of their code points."""

    field: str
    how: str
    bound: str | float

    def marks(self, table: Table) -> Marks:
        marks, holds, bound = np.zeros(table.size, np.bool_), ORDER[self.how], self.bound
        for kind in (TEXT, LIST) if isinstance(bound, str) else (WHOLE, REAL):
            column = table.columns.get((self.field, kind))
            if column is None:
                continue
            words = enumerate(column.words[1:], 1)
            if kind == TEXT:
                found = _worded(column, (n for n, word in words if holds(word, bound)))
            elif kind == LIST:
                found = _worded(column, (n for n, listed in words if any(holds(word, bound) for word in listed)))
            elif kind == REAL:
                found = holds(column.at, bound)  # NaN, nothing, is on no side
            elif abs(bound) >= 1 << 63:  # type: ignore[arg-type]
                found = column.there & holds(0, bound)
            else:
                whole = math.floor if self.how in ("$gt", "$lte") else math.ceil
                found = column.there & holds(column.at, np.int64(whole(bound)))  # type: ignore[arg-type]
            marks |= found[: table.size]
        return marks


Condition = All | Some | Not | Exists | Among | Ordered


def read(written: Any, depth: int = 0) -> Condition:
    """A condition from how it is written. It can be hashed. NookError("bad-filter")."""
    if depth > DEEPEST:
        raise _bad("Conditions lie too deep within each other.", "Write it with fewer brackets.")
    if not isinstance(written, Mapping):
        raise _bad(f"A condition is a dict, not {written!r:.60}.", 'Write {"field": value}.')
    parts: list[Condition] = []
    for name, value in written.items():
        if not isinstance(name, str) or not name:
            raise _bad(f"{name!r:.60} cannot be the name of a field.", "Names are texts.")
        if name in ("$and", "$or"):
            if not isinstance(value, list | tuple) or not value:
                raise _bad(
                    f"{name} takes a list of conditions, not {value!r:.60}.", f'Write {{"{name}": [{{…}}, {{…}}]}}.'
                )
            some = tuple(read(part, depth + 1) for part in value)
            parts.append(All(some) if name == "$and" else Some(some))
        elif name == "$not":
            parts.append(Not(read(value, depth + 1)))
        elif name[0] == "$":
            raise _unknown(name, OF_ALL)
        else:
            parts += _of_a_field(name, value, depth + 1)
    return parts[0] if len(parts) == 1 else All(tuple(parts))


def _of_a_field(field: str, written: Any, depth: int) -> list[Condition]:
    """What is asked of one field."""
    if not isinstance(written, Mapping):
        return [_among(field, "$eq", [written])]
    if depth > DEEPEST:
        raise _bad("Conditions lie too deep within each other.", "Write it with fewer brackets.")
    parts: list[Condition] = []
    for how, value in written.items():
        if how in ("$eq", "$ne"):
            one = _among(field, how, [value])
            parts.append(one if how == "$eq" else Not(one))
        elif how in ("$in", "$nin"):
            if not isinstance(value, list | tuple | set | frozenset | np.ndarray):
                raise _bad(
                    f"{how} takes a list of values, not {value!r:.60}.", f'Write {{"{field}": {{"{how}": […]}}}}.'
                )
            some = _among(field, how, value)
            parts.append(some if how == "$in" else Not(some))
        elif how in ORDER:
            bound = _plain(value)
            if isinstance(bound, bool) or not (isinstance(bound, str) or _number(bound)):
                raise _bad(f"{how} takes a text or a number, not {value!r:.60}.", "Nothing else has an order.")
            parts.append(Ordered(field, how, bound))
        elif how == "$exists":
            if not isinstance(_plain(value), bool):
                raise _bad(
                    f"$exists takes True or False, not {value!r:.60}.", f'Write {{"{field}": {{"$exists": True}}}}.'
                )
            parts.append(Exists(field) if value else Not(Exists(field)))
        elif how == "$not":
            parts.append(Not(All(tuple(_of_a_field(field, value, depth + 1)))))
        else:
            raise _unknown(how, OF_A_FIELD)
    if not parts:
        raise _bad(f"Nothing is asked of the field {field!r}.", f"Ask with one of {', '.join(OF_A_FIELD)}.")
    return parts


def _among(field: str, how: str, values: Iterable[Any]) -> Among:
    texts, numbers, truths = set[str](), set[float](), set[bool]()
    for value in map(_plain, values):
        match value:
            case str():
                texts.add(value)
            case bool():
                truths.add(value)
            case _ if _number(value):
                numbers.add(value)
            case _:
                hint = (
                    "Values are texts, numbers, True and False; for lists there is $in, for what is not there $exists."
                )
                raise _bad(f"{how} cannot compare {field!r} with {value!r:.60}.", hint)
    return Among(field, frozenset(texts), frozenset(numbers), frozenset(truths))


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not math.isnan(value)


def _kept(value: float, column: Column) -> bool:
    """Whether a column of whole numbers may have this one."""
    return value == value // 1 and abs(value) < 1 << 63 and value != column.nothing


def _worded(column: Column, fits: Iterable[int]) -> Marks:
    """The rows whose word is one of these numbers."""
    marks = np.zeros(len(column.words), np.bool_)
    marks[list(fits)] = True
    rows: Marks = marks[column.at]
    return rows


def _unknown(how: Any, allowed: tuple[str, ...]) -> NookError:
    return _bad(f"There is no operator {how!r:.40} here.", f"There are {', '.join(allowed)}.")


def _bad(message: str, hint: str) -> NookError:
    return NookError("bad-filter", message, hint)
