r"""JSON schemas (draft 2020-12) to expressions: every text is the compact JSON of a value that the schema allows.

    any type       type enum const anyOf oneOf allOf $ref (within the schema), true, false
    objects        properties required additionalProperties propertyNames
    arrays         items prefixItems minItems maxItems
    strings        minLength maxLength pattern format (those of `formats`)
    numbers        minimum maximum exclusiveMinimum exclusiveMaximum

What is written is less than what is allowed, so that a model cannot wander: no white space outside of strings,
properties in the order in which the schema names them (then those that are only required, then others), strings and
numbers in one notation (`text`, `numbers`). Where the schema names properties or first items and says nothing about
others, there are no others. A schema without a type takes the types that its keywords speak of, else any.

Keywords that only describe are passed over; all others are refused, as are schemas that no value satisfies.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from inglenook.depth import DEEPEST, shallow
from inglenook.elastic.grammar import numbers, regex, text
from inglenook.elastic.grammar.expression import EMPTY, EPSILON, Arena
from inglenook.elastic.grammar.flatten import ABOUT, TYPES, Plain, bad, flatten, is_a, kinds
from inglenook.elastic.grammar.formats import FORMATS
from inglenook.errors import NookError


def compile(arena: Arena, schema: Any) -> int:
    """The JSON texts of the values that `schema` allows. Raises NookError("schema") and NookError("regex")."""
    if not shallow(schema):
        raise NookError("schema", f"The schema is nested more than {DEEPEST} deep.", "Use $defs and $ref.")
    try:
        schema = json.loads(json.dumps(schema, allow_nan=False))
    except (ValueError, TypeError) as error:
        raise NookError("schema", f"The schema is not JSON: {error}.", "Pass what json.loads gave.") from None
    return _Compiler(arena, schema).whole()


class _Compiler:
    """The value of a property or an item is a rule of the arena, named by its schema: so schemas may recur."""

    def __init__(self, arena: Arena, root: Any) -> None:
        self._arena, self._root = arena, root
        self._name = json.dumps(root, ensure_ascii=False)
        self._todo: list[tuple[Any, Any, str]] = []

    def whole(self) -> int:
        start = self._value(self._root, "#")
        while self._todo:
            name, schema, path = self._todo.pop()
            self._arena.rules[name] = self._value(schema, path)
        return start

    def _rule(self, schema: Any, path: str) -> int:
        if schema is False:
            return EMPTY
        name = (self._name, json.dumps(schema, ensure_ascii=False))
        if name not in self._arena.rules:
            self._arena.rules[name] = EMPTY
            self._todo.append((name, schema, path))
        return self._arena.rule(name)

    def _value(self, schema: Any, path: str) -> int:
        return self._arena.alt([self._plain(plain, path) for plain in flatten(self._root, schema, path)])

    def _plain(self, plain: Plain, path: str) -> int:
        if "enum" in plain:
            told = plain.get("type", TYPES)
            values = [value for value in plain["enum"] if any(is_a(value, kind) for kind in told)]
            listed = self._arena.alt([self._arena.literal(_text(value)) for value in values])
            if not any(word in plain for words in ABOUT.values() for word in words):
                return listed
            free = {word: said for word, said in plain.items() if word != "enum"}
            return self._arena.both(listed, self._plain({**free, "type": [*TYPES]}, path))
        told = kinds(plain)
        return self._arena.alt([self._type(kind, plain, path) for kind in TYPES if kind in told])

    def _type(self, kind: str, plain: Plain, path: str) -> int:
        match kind:
            case "object":
                return self._object(plain, path)
            case "array":
                return self._array(plain, path)
            case "string":
                return self._string(plain, path)
            case "number" | "integer":
                return self._number(kind == "integer", plain)
            case "boolean":
                return self._arena.alt([self._arena.literal(b"true"), self._arena.literal(b"false")])
        return self._arena.literal(b"null")

    # ── strings and numbers ───────────────────────────────────────────────────────────────────────────────────────

    def _string(self, plain: Plain, path: str) -> int:
        quote = self._arena.literal(b'"')
        return self._arena.seq(quote, self._content(plain, path), quote)

    def _content(self, plain: Plain, path: str) -> int:
        arena = self._arena
        found = arena.repeat(text.json(arena, text.ANY), plain.get("minLength", 0), plain.get("maxLength"))
        if plain.get("minLength", 0) > plain.get("maxLength", float("inf")):
            return EMPTY
        for pattern in plain.get("pattern", []):
            try:
                found = arena.both(found, regex.compile(arena, pattern, text.json, search=True))
            except NookError as error:
                raise NookError("regex", f"{error.message[:-1]} (the pattern at {path}).", error.hint) from None
        for name in plain.get("format", []):
            if name not in FORMATS:
                raise bad("'format'", path, f"is {name!r}", f"Known are {', '.join(FORMATS)}.")
            found = arena.both(found, regex.compile(arena, FORMATS[name], text.json))
        return found

    def _number(self, integer: bool, plain: Plain) -> int:
        def tighter(bound: str, strict: str, pick: Any) -> tuple[Decimal | None, bool]:
            told = [Decimal(str(plain[word])) for word in (bound, strict) if word in plain]
            end = pick(told, default=None)
            return end, strict in plain and end == Decimal(str(plain[strict]))

        low, over = tighter("minimum", "exclusiveMinimum", max)
        high, under = tighter("maximum", "exclusiveMaximum", min)
        return numbers.number(self._arena, integer, low, high, over=over, under=under)

    # ── arrays and objects ────────────────────────────────────────────────────────────────────────────────────────

    def _array(self, plain: Plain, path: str) -> int:
        arena = self._arena
        prefix: list[Any] = plain.get("prefixItems", [])
        least, most = plain.get("minItems", 0), plain.get("maxItems", float("inf"))
        others = EMPTY
        if "items" in plain or not prefix:
            others = self._rule(plain.get("items", True), f"{path}/items")
        comma, count = arena.literal(b","), len(prefix)
        if count:
            room = None if most == float("inf") else max(0, most - count)
            tail = arena.repeat(arena.seq(comma, others), max(0, least - count), room)
        elif most == 0:
            tail = EPSILON
        else:
            room = None if most == float("inf") else most - 1
            tail = arena.seq(others, arena.repeat(arena.seq(comma, others), max(0, least - 1), room))
            tail = tail if least else arena.optional(tail)
        for i, item in reversed([*enumerate(prefix)]):
            more = arena.seq(comma if i else EPSILON, self._rule(item, f"{path}/prefixItems/{i}"), tail)
            tail = arena.alt([more if i < most else EMPTY, EPSILON if i >= least else EMPTY])
        if least > most:
            tail = EMPTY
        return arena.seq(arena.literal(b"["), tail, arena.literal(b"]"))

    def _object(self, plain: Plain, path: str) -> int:
        arena = self._arena
        named: dict[str, Any] = plain.get("properties", {})
        required: list[str] = plain.get("required", [])
        others = plain.get("additionalProperties", "properties" not in plain)
        names = self._names(plain.get("propertyNames", True), f"{path}/propertyNames")
        members = []
        for name in [*named, *(name for name in required if name not in named)]:
            schema = named.get(name, plain.get("additionalProperties", True))
            literal = arena.both(names, arena.literal(_text(name)))
            at = f"{path}/properties/{name.replace('~', '~0').replace('/', '~1')}"
            members.append((self._member(literal, schema, at), name in required))
        known = arena.alt([arena.literal(_text(name)) for name in {*named, *required}])
        other = self._member(arena.both(names, arena.complement(known)), others, f"{path}/additionalProperties")
        comma = arena.literal(b",")
        tail = arena.repeat(arena.seq(comma, other))  # what follows a member
        first = arena.optional(arena.seq(other, tail))  # what follows the brace
        for member, must in reversed(members):
            first = arena.alt([arena.seq(member, tail), EMPTY if must else first])
            tail = arena.alt([arena.seq(comma, member, tail), EMPTY if must else tail])
        return arena.seq(arena.literal(b"{"), first, arena.literal(b"}"))

    def _member(self, name: int, schema: Any, path: str) -> int:
        if EMPTY in (name, rule := self._rule(schema, path)):
            return EMPTY
        return self._arena.seq(name, self._arena.literal(b":"), rule)

    def _names(self, schema: Any, path: str) -> int:
        named = [plain for plain in flatten(self._root, schema, path) if "string" in plain.get("type", TYPES)]
        return self._arena.alt([self._plain({**plain, "type": ["string"]}, path) for plain in named])


def _text(value: Any) -> bytes:
    """The compact JSON of a value, in the one notation of `text`. Lone surrogates become question marks."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
