"""Messages to JSON and back. Bytes stay outside the JSON, so that a boundary can move them without copying text.

`dump` gives ``('{"type":"Show","id":"7",…}', blobs)``: each bytes field is replaced by ``{"$bytes": n}``, the n-th of
`blobs`. `load` checks every field against the message's annotations: what comes over a boundary is not trusted.
"""

from __future__ import annotations

import dataclasses
import json
import operator
import sys
import types
import typing
from collections.abc import Callable
from functools import cache
from typing import Any

from inglenook.depth import parse
from inglenook.errors import NookError
from inglenook.wire import messages

LEAST, MOST = -(2**63), 2**64 - 1  # of a whole number
NAMES: dict[str, type[messages.Message]] = {m.__name__: m for m in (*messages.REQUESTS, *messages.EVENTS)}


def dump(message: messages.Message, stream: str) -> tuple[str, list[bytes]]:
    """A message of stream `stream` as JSON text and the bytes it carries."""
    blobs: list[bytes] = []
    plain = {"type": type(message).__name__, "id": stream, **_fields(message, blobs)}
    return json.dumps(plain, ensure_ascii=False, separators=(",", ":")), blobs


def load(text: str, blobs: list[bytes] | tuple[bytes, ...] = ()) -> tuple[messages.Message, str]:
    """The message and its stream. Raises NookError("protocol") for anything that is not exactly a known message."""
    try:
        plain = parse(text)
    except ValueError as error:
        raise _bad(f"not JSON: {error}") from None
    if not isinstance(plain, dict):
        raise _bad("not an object")
    name, stream = plain.pop("type", None), plain.pop("id", None)
    kind = NAMES.get(name) if isinstance(name, str) else None
    if kind is None:
        raise _bad(f"unknown type {name!r}")
    if not isinstance(stream, str) or not 0 < len(stream) <= 64:
        raise _bad("id must be a string of 1 to 64 characters")
    return _build(kind, plain, blobs, kind.__name__), stream


def _fields(value: Any, blobs: list[bytes]) -> dict[str, Any]:
    kind: type = type(value)
    names, get, deep = _layout(kind)
    plain = dict(zip(names, get(value), strict=True))
    for name in deep:
        plain[name] = _plain(plain[name], blobs)
    return plain


def _plain(value: Any, blobs: list[bytes]) -> Any:
    if value is None or isinstance(value, _ATOMS):
        return value
    if isinstance(value, (list, tuple)):
        return [_plain(item, blobs) for item in value]
    if isinstance(value, (bytes, bytearray, memoryview)):
        blobs.append(bytes(value))
        return {"$bytes": len(blobs) - 1}
    if isinstance(value, dict):
        return {key: _plain(item, blobs) for key, item in value.items()}
    return _fields(value, blobs)


_ATOMS = (str, int, float, bool)


@cache
def _layout(kind: type) -> tuple[tuple[str, ...], Callable[[Any], tuple[Any, ...]], tuple[str, ...]]:
    """The names of a dataclass's fields, what reads them all, and the names of those that JSON does not know.

    Lists and dictionaries of atoms are JSON already; a search's answer is hundreds of small values.
    """
    hints = {name: hint for name, (hint, _) in _hints(kind).items()}
    deep = tuple(name for name, hint in hints.items() if not {*(typing.get_args(hint) or [hint])} <= _PLAIN)
    if len(hints) < 2:  # attrgetter gives no tuple then
        return (*hints,), lambda value: tuple(getattr(value, name) for name in hints), deep
    return (*hints,), operator.attrgetter(*hints), deep


_PLAIN = {*_ATOMS, type(None)}


@cache
def _hints(kind: type) -> dict[str, tuple[Any, bool]]:
    """Field name to (annotation, required)."""
    hints = typing.get_type_hints(kind)
    missing = dataclasses.MISSING
    return {
        f.name: (hints[f.name], f.default is missing and f.default_factory is missing) for f in dataclasses.fields(kind)
    }


def _build(kind: type, plain: dict[str, Any], blobs: typing.Sequence[bytes], where: str) -> Any:
    fields = _hints(kind)
    unknown = plain.keys() - fields.keys()
    if unknown:
        raise _bad(f"{where} has no field {sorted(unknown)[0]!r}")
    values = {}
    for name, (hint, required) in fields.items():
        if name in plain:
            values[name] = _value(hint, plain[name], blobs, f"{where}.{name}")
        elif required:
            raise _bad(f"{where} needs {name!r}")
    return kind(**values)


def _value(hint: Any, value: Any, blobs: typing.Sequence[bytes], where: str) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in args:
            return None
        [hint] = [a for a in args if a is not type(None)]
        return _value(hint, value, blobs, where)
    if origin in (list, tuple) and isinstance(value, list):
        items = [_value(args[0], item, blobs, f"{where}[{i}]") for i, item in enumerate(value)]
        return items if origin is list else tuple(items)
    if origin is dict and isinstance(value, dict):
        return {key: _value(args[1], item, blobs, f"{where}.{key}") for key, item in value.items()}
    if hint is bytes and isinstance(value, dict) and value.keys() == {"$bytes"}:
        index = value["$bytes"]
        if type(index) is int and 0 <= index < len(blobs):
            return bytes(blobs[index])
    elif hint is float and type(value) in (int, float):
        if abs(value) <= sys.float_info.max:  # neither infinite nor none, which JSON does not know
            return float(value)
    elif hint is int and type(value) is int:
        if LEAST <= value <= MOST:
            return value
    elif hint in (str, bool) and type(value) is hint:
        return value
    elif dataclasses.is_dataclass(hint) and isinstance(value, dict):
        return _build(typing.cast(type, hint), value, blobs, where)
    raise _bad(f"{where} is not {getattr(hint, '__name__', hint)}")


def _bad(what: str) -> NookError:
    return NookError("protocol", f"A message could not be understood: {what}.", "Are both sides of the same version?")
