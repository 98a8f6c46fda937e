"""Whether a JSON value is one that a JSON schema allows, and if not, where (draft 2020-12, within one schema).

`elastic.grammar.schema` writes less than a schema allows, so it cannot judge what others wrote; this reads all of it:
every keyword of validation and applicators but `unevaluated…` and `$dynamicRef`, which are refused.
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Iterator
from typing import Any

from inglenook.elastic.grammar.flatten import NOTES
from inglenook.elastic.grammar.formats import FORMATS
from inglenook.errors import NookError

DEEPEST = 60  # references that may follow one another
_TYPES: dict[str, Any] = {
    "object": dict, "array": list, "string": str, "null": type(None), "boolean": bool, "number": (int, float),
}  # fmt: skip
_SIZES: dict[str, Any] = {
    "minLength": str, "maxLength": str, "minItems": list, "maxItems": list,
    "minProperties": dict, "maxProperties": dict,
}  # fmt: skip
_LIMITS: dict[str, Callable[[float, float], bool]] = {
    "minimum": operator.ge, "maximum": operator.le, "exclusiveMinimum": operator.gt, "exclusiveMaximum": operator.lt,
    "multipleOf": lambda value, step: abs(value / step - round(value / step)) < 1e-9,
}  # fmt: skip
_KNOWN = {
    *NOTES, "$ref", "type", "enum", "const", "allOf", "anyOf", "oneOf", "not", "if", "then", "else", "properties",
    "patternProperties", "additionalProperties", "propertyNames", "required", "dependentRequired", "items",
    "prefixItems",
    "contains", "minContains", "maxContains", "uniqueItems", "pattern", "format", "multipleOf", "minimum", "maximum",
    "exclusiveMinimum", "exclusiveMaximum", *_SIZES,
}  # fmt: skip


def faults(schema: Any, value: Any) -> Iterator[str]:
    """What is wrong with `value`, as "path: why"; nothing if it is allowed. Raises NookError("schema") for what is no
    schema, or has keywords that are not known here."""
    yield from _faults(schema, schema, value, "$", 0)


def _faults(root: Any, schema: Any, value: Any, path: str, depth: int) -> Iterator[str]:
    if isinstance(schema, bool):
        if not schema:
            yield f"{path}: nothing is allowed here"
        return
    if not isinstance(schema, dict) or depth > DEEPEST:
        raise NookError("schema", f"The schema at {path} is no schema, or leads back to itself.", "Write an object.")
    if unknown := [word for word in schema if word not in _KNOWN and not word.startswith("x-")]:
        raise NookError("schema", f"{unknown[0]!r} at {path} is not supported.", "Say it with keywords of 2020-12.")

    def inner(part: Any, at: Any = value, where: str = path) -> Iterator[str]:
        return _faults(root, part, at, where, depth + 1)

    def holds(part: Any, at: Any = value) -> bool:
        return next(inner(part, at), None) is None

    if "$ref" in schema:
        yield from inner(_resolve(root, schema["$ref"]))
    if "type" in schema:
        names = [schema["type"]] if isinstance(schema["type"], str) else schema["type"]
        if not any(_is(value, name) for name in names):
            yield f"{path}: {_short(value)} is not of type {' or '.join(names)}"
            return
    if "enum" in schema and not any(equal(value, one) for one in schema["enum"]):
        yield f"{path}: {_short(value)} is none of {_short(schema['enum'])}"
    if "const" in schema and not equal(value, schema["const"]):
        yield f"{path}: {_short(value)} is not {_short(schema['const'])}"
    for part in schema.get("allOf", []):
        yield from inner(part)
    if "anyOf" in schema and not any(holds(part) for part in schema["anyOf"]):
        yield f"{path}: {_short(value)} fits no branch of anyOf"
    if "oneOf" in schema and (count := sum(holds(part) for part in schema["oneOf"])) != 1:
        yield f"{path}: {_short(value)} fits {count} branches of oneOf"
    if "not" in schema and holds(schema["not"]):
        yield f"{path}: {_short(value)} is what it must not be"
    if "if" in schema:
        yield from inner(schema.get("then" if holds(schema["if"]) else "else", True))
    for name, kind in _SIZES.items():
        limit, least = schema.get(name), name.startswith("min")
        if limit is not None and isinstance(value, kind) and (len(value) < limit if least else len(value) > limit):
            yield f"{path}: {len(value)} is {'less' if least else 'more'} than {limit}"
    if isinstance(value, dict):
        yield from _object(schema, value, path, inner)
    elif isinstance(value, list):
        yield from _array(schema, value, path, inner, holds)
    elif isinstance(value, str):
        if "pattern" in schema and not _search(schema["pattern"], value):
            yield f"{path}: {_short(value)} does not match {schema['pattern']}"
        if (form := FORMATS.get(schema.get("format", ""))) and not re.fullmatch(form, value):
            yield f"{path}: {_short(value)} is no {schema['format']}"
    elif _is(value, "number"):
        yield from _number(schema, value, path)


def _object(schema: Any, value: dict[str, Any], path: str, inner: Any) -> Iterator[str]:
    for name in schema.get("required", []):
        if name not in value:
            yield f"{path}: {name!r} is missing"
    for name, others in schema.get("dependentRequired", {}).items():
        for other in others:
            if name in value and other not in value:
                yield f"{path}: {other!r} is missing, which {name!r} needs"
    for name, item in value.items():
        where, known = f"{path}.{name}", False
        if "propertyNames" in schema:
            yield from inner(schema["propertyNames"], name, where)
        if name in schema.get("properties", {}):
            known = True
            yield from inner(schema["properties"][name], item, where)
        for pattern, part in schema.get("patternProperties", {}).items():
            if _search(pattern, name):
                known = True
                yield from inner(part, item, where)
        if not known and "additionalProperties" in schema:
            if schema["additionalProperties"] is False:
                yield f"{path}: {name!r} is not expected"
            else:
                yield from inner(schema["additionalProperties"], item, where)


def _array(schema: Any, value: list[Any], path: str, inner: Any, holds: Any) -> Iterator[str]:
    first = schema.get("prefixItems", [])
    for i, item in enumerate(value):
        part = first[i] if i < len(first) else schema.get("items", True)
        yield from inner(part, item, f"{path}[{i}]")
    if "contains" in schema:
        count = sum(holds(schema["contains"], item) for item in value)
        if not schema.get("minContains", 1) <= count <= schema.get("maxContains", len(value)):
            yield f"{path}: {count} items are as `contains` says"
    if schema.get("uniqueItems") and any(equal(a, b) for i, a in enumerate(value) for b in value[:i]):
        yield f"{path}: items are not all different"


def _number(schema: Any, value: float, path: str) -> Iterator[str]:
    for word, keeps in _LIMITS.items():
        if word in schema and not keeps(value, schema[word]):
            yield f"{path}: {value:g} breaks {word} {schema[word]}"


def _resolve(root: Any, reference: str) -> Any:
    found = root
    try:
        if not reference.startswith("#"):
            raise KeyError(reference)
        for step in filter(None, reference[1:].split("/")):
            step = step.replace("~1", "/").replace("~0", "~")
            found = found[int(step)] if isinstance(found, list) else found[step]
    except (KeyError, IndexError, ValueError, TypeError):
        hint = "References lead to parts of the same schema: #/$defs/NAME."
        raise NookError("schema", f"{reference!r} leads nowhere in the schema.", hint) from None
    return found


def _is(value: Any, name: str) -> bool:
    if name == "integer":
        return not isinstance(value, bool) and isinstance(value, (int, float)) and value == int(value)
    if name not in _TYPES:
        raise NookError("schema", f"{name!r} is no type.", f"One of: integer, {', '.join(_TYPES)}.")
    return isinstance(value, _TYPES[name]) and (name == "boolean" or not isinstance(value, bool))


def equal(a: Any, b: Any) -> bool:
    """Equal as JSON: 1 and 1.0 are, 1 and true are not, at any depth."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(equal, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(equal(a[name], b[name]) for name in a)
    return bool(a == b)


def _search(pattern: str, text: str) -> bool:
    try:
        return re.search(pattern, text) is not None
    except re.error as error:
        raise NookError("schema", f"{pattern!r} is no pattern: {error}.", "Write a regular expression.") from None


def _short(value: Any) -> str:
    said = json.dumps(value, ensure_ascii=False)
    return said if len(said) <= 60 else said[:57] + "…"
