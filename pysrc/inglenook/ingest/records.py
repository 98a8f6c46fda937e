"""JSON and JSON Lines: every value on a line under its path.

The reader is a scanner with its own stack, so depth costs nothing and it can pause anywhere; what is no JSON is read as
text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from inglenook.ingest import plain
from inglenook.ingest.block import SEPARATOR, Writer, clean, shortened

_TOKEN = re.compile(
    r'[ \t\n\r]*+(?:(?P<string>"(?:[^"\\\x00-\x1f]++|\\.)*+")|(?P<mark>[{}\[\],:])'
    r"|(?P<value>-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?|true|false|null|NaN|-?Infinity))"
)
_DEEPEST = 6  # names of a path that are shown


class _NotJsonError(Exception):
    pass


@dataclass(slots=True)
class _Level:
    """An object or a list that is open; `name` is the key or the ordinal of the value at hand."""

    closer: str
    name: str = ""
    count: int = 0


def parse(text: str, writer: Writer) -> Iterator[int]:
    """A block of "path: value" lines for each record. Yields characters done."""
    try:
        yield from _records(text, writer)
    except _NotJsonError:
        writer.__init__()  # type: ignore[misc]
        writer.warnings.append("Not proper JSON; read as text.")
        yield from plain.parse(text, writer)


def _records(text: str, writer: Writer) -> Iterator[int]:
    at = 0
    stack: list[_Level] = []
    lines: list[str] = []
    expect = "value"  # "value", "key", ":", "," (or a closer)

    def flush() -> None:
        writer.block("\n".join(lines), "list", separator="\n\n")
        lines.clear()

    while True:
        match = _TOKEN.match(text, at)
        if match is None:
            if text[at:].strip():
                raise _NotJsonError
            break
        at = match.end()
        kind = match.lastgroup
        mark = match["mark"] or ""
        if kind == "mark" and mark in "}]":
            if not stack or stack[-1].closer != mark or expect == ":" or (stack[-1].count and expect != ","):
                raise _NotJsonError
            stack.pop()
            expect = ","
        elif mark == ",":
            if expect != "," or not stack:
                raise _NotJsonError
            expect = "key" if stack[-1].closer == "}" else "value"
        elif mark == ":":
            if expect != ":":
                raise _NotJsonError
            expect = "value"
            continue
        elif expect == "key":
            if kind != "string":
                raise _NotJsonError
            stack[-1].name = shortened(_string(match["string"]), 60)
            stack[-1].count += 1
            expect = ":"
            continue
        elif expect == "value" or (expect == "," and not stack):
            if stack and stack[-1].closer == "]":
                stack[-1].count += 1
            if mark:
                stack.append(_Level("}" if mark == "{" else "]"))
                expect = "key" if mark == "{" else "value"
            else:
                value = _string(match["string"]) if kind == "string" else match["value"]
                if value.strip() and value != "null":
                    name = _path(stack)
                    lines.append(f"{name}: {value}" if name else value)
                expect = ","
        else:
            raise _NotJsonError
        yield at
        if expect == ",":
            whole = not stack or (len(stack) == 1 and stack[0].closer == "]")  # a record is
            if whole or len(lines) >= 1000:
                flush()
    if stack or expect != ",":
        raise _NotJsonError
    flush()


def _path(stack: list[_Level]) -> str:
    names = [level.name for level in stack[-_DEEPEST:] if level.closer == "}"]
    return SEPARATOR.join(names)


def _string(token: str) -> str:
    if "\\" not in token:
        return token[1:-1]
    try:
        return clean(json.loads(token, strict=False))
    except ValueError:
        raise _NotJsonError from None
