"""A JSON schema as alternatives without references and combinations: what `schema` writes down.

`$ref`, `allOf`, `anyOf` and `oneOf` are multiplied out until each alternative is a plain object of keywords, all of
which hold at once. `oneOf` is `anyOf` of branches that no value can satisfy two of; it must be seen from the schemas
alone: by their types, by constants, by a property that both require, or by one that the other forbids.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from inglenook.errors import NookError

MOST = 500  # alternatives of one schema
TYPES = ("object", "array", "string", "number", "integer", "boolean", "null")
ABOUT = {
    "object": ("properties", "required", "additionalProperties", "propertyNames"),
    "array": ("items", "prefixItems", "minItems", "maxItems"),
    "string": ("minLength", "maxLength", "pattern", "format"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
}
"""The keywords that speak of one type only."""
NOTES = {
    "$schema", "$id", "$comment", "$defs", "definitions", "title", "description", "default", "examples", "deprecated",
    "readOnly", "writeOnly", "discriminator", "contentEncoding", "contentMediaType",
}  # fmt: skip
"""Keywords that say nothing about which values are allowed."""
_COMBINED = ("$ref", "allOf", "anyOf", "oneOf")
_KNOWN = {*(word for words in ABOUT.values() for word in words), *_COMBINED, *NOTES, "type", "enum", "const"}
_LARGER = ("minItems", "minLength", "minimum", "exclusiveMinimum")
_SMALLER = ("maxItems", "maxLength", "maximum", "exclusiveMaximum")

Plain = dict[str, Any]


def bad(keyword: str, path: str, why: str, hint: str = "") -> NookError:
    """The error for `keyword` of the schema at `path`."""
    hint = hint or "See the keywords of elastic.grammar.schema."
    return NookError("schema", f"{keyword} at {path} {why}.", hint)


def key(value: Any) -> str:
    """The same text for the same JSON value; 1 and 1.0 are the same, 1 and true are not."""
    return json.dumps(_number(value), ensure_ascii=False, separators=(",", ":"))


def flatten(root: Any, schema: Any, path: str, seen: tuple[str, ...] = ()) -> list[Plain]:
    """The alternatives of `schema`, a part of `root`. Raises NookError("schema") for what is not supported."""
    if isinstance(schema, bool):
        return [{}] if schema else []
    if not isinstance(schema, dict):
        raise bad("The schema", path, "is neither an object nor true or false")
    for keyword in schema:
        if keyword not in _KNOWN and not keyword.startswith("x-"):
            if keyword == "uniqueItems" and schema[keyword] is False:
                continue
            raise bad(repr(keyword), path, "is not supported")
    found = [_own(schema, path)]
    if "$ref" in schema:
        target, at = _resolve(root, schema["$ref"], path)
        if at in seen:
            raise bad("'$ref'", path, f"leads back to {at} without anything between", "Break the circle.")
        found = _product(found, flatten(root, target, at, (*seen, at)), path)
    for word in ("allOf", "anyOf", "oneOf"):
        if word not in schema:
            continue
        branches = schema[word]
        if not isinstance(branches, list) or not branches:
            raise bad(f"'{word}'", path, "is not a list of schemas")
        parts = [flatten(root, branch, f"{path}/{word}/{i}", seen) for i, branch in enumerate(branches)]
        if word == "allOf":
            for part in parts:
                found = _product(found, part, path)
            continue
        if word == "oneOf":
            parts = [_product(found, part, path) for part in parts]
            _only_one(root, parts, path)
            found = [plain for part in parts for plain in part]
            continue
        found = _product(found, [plain for part in parts for plain in part], path)
    return found


def conjunction(schemas: Iterable[Any]) -> Any:
    """A schema that says what all of these say."""
    told = [schema for schema in schemas if schema is not True]
    if not told:
        return True
    return told[0] if len(told) == 1 else {"allOf": told}


def _own(schema: Plain, path: str) -> Plain:
    """The schema's own keywords, `const` as `enum`, `type` as a list; lists of patterns and formats."""
    own = {word: value for word, value in schema.items() if word in _KNOWN - NOTES and word not in _COMBINED}
    if "enum" in own and (not isinstance(own["enum"], list) or not own["enum"]):
        raise bad("'enum'", path, "is not a list of values")
    if "const" in own:
        own = _both(own, {"enum": [own.pop("const")]})
    if "type" in own:
        kinds = own["type"] if isinstance(own["type"], list) else [own["type"]]
        if not kinds or any(kind not in TYPES for kind in kinds):
            raise bad("'type'", path, f"is {own['type']!r}, which is no type of JSON Schema")
        own["type"] = [*kinds]
    for word in ("pattern", "format"):
        if word in own:
            if not isinstance(own[word], str):
                raise bad(f"'{word}'", path, "is no string")
            own[word] = [own[word]]
    for word in (*_LARGER, *_SMALLER):
        value = own.get(word, 0)
        whole = word.endswith(("Items", "Length"))
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < float("inf"):
            raise bad(f"'{word}'", path, "is no number")
        if whole and (value != int(value) or value < 0):
            raise bad(f"'{word}'", path, "is no count")
        if whole and word in own:
            own[word] = int(value)
    if not isinstance(own.get("properties", {}), dict):
        raise bad("'properties'", path, "is no object of schemas")
    if not isinstance(own.get("prefixItems", []), list):
        raise bad("'prefixItems'", path, "is not a list of schemas")
    required = own.get("required", [])
    if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
        raise bad("'required'", path, "is not a list of names")
    return own


def _resolve(root: Any, reference: Any, path: str) -> tuple[Any, str]:
    if not isinstance(reference, str) or not (reference == "#" or reference.startswith("#/")):
        raise bad(
            "'$ref'", path, f"is {reference!r}", "References within the schema are possible, such as #/$defs/name."
        )
    at = root
    for step in reference.split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        if isinstance(at, list) and name.isdecimal() and int(name) < len(at):
            at = at[int(name)]
        elif isinstance(at, dict) and name in at:
            at = at[name]
        else:
            raise bad("'$ref'", path, f"leads to {reference}, where nothing is")
    return at, reference


def _product(left: list[Plain], right: list[Plain], path: str) -> list[Plain]:
    if len(left) * len(right) > MOST:
        raise bad("The schema", path, f"has more than {MOST} alternatives", "Use fewer anyOf within allOf.")
    return [_both(a, b) for a in left for b in right]


def _both(left: Plain, right: Plain) -> Plain:
    """The conjunction of two plain schemas."""
    both = {**left, **right}
    for word in left.keys() & right.keys():
        a, b = left[word], right[word]
        if word in _LARGER:
            both[word] = max(a, b)
        elif word in _SMALLER:
            both[word] = min(a, b)
        elif word == "enum":
            both[word] = [value for value in a if key(value) in {*map(key, b)}]
        elif word == "type":
            both[word] = [kind for kind in TYPES if _is(kind, a) and _is(kind, b)]
        elif word in ("pattern", "format", "required"):
            both[word] = [*dict.fromkeys([*a, *b])]
        elif word == "propertyNames":
            both[word] = conjunction((a, b))
    if "properties" in both or "additionalProperties" in both:
        names = dict.fromkeys([*left.get("properties", {}), *right.get("properties", {})])
        if names:
            both["properties"] = {name: conjunction(_property(side, name) for side in (left, right)) for name in names}
        told = [side["additionalProperties"] for side in (left, right) if "additionalProperties" in side]
        if told:
            both["additionalProperties"] = False if False in told else conjunction(told)
    if "prefixItems" in both:
        count = max(len(side.get("prefixItems", [])) for side in (left, right))
        both["prefixItems"] = [conjunction(_item(side, i) for side in (left, right)) for i in range(count)]
    if "items" in left and "items" in right:
        both["items"] = conjunction((left["items"], right["items"]))
    return both


def _property(plain: Plain, name: str) -> Any:
    return plain.get("properties", {}).get(name, plain.get("additionalProperties", True))


def _item(plain: Plain, index: int) -> Any:
    prefix = plain.get("prefixItems", [])
    return prefix[index] if index < len(prefix) else plain.get("items", True)


def _is(kind: str, of: Iterable[str]) -> bool:
    return kind in of or (kind == "integer" and "number" in of)


def kinds(plain: Plain) -> list[str]:
    """The types of which values are written: those told, or those that the keywords speak of, or all."""
    if "enum" in plain:
        told = plain.get("type", TYPES)
        return [kind for kind in TYPES if any(is_a(value, kind) for value in plain["enum"]) and _is(kind, told)]
    spoken = [kind for kind, words in ABOUT.items() if any(word in plain for word in words)]
    return list(plain["type"]) if "type" in plain else spoken or [*TYPES]


def _only_one(root: Any, parts: list[list[Plain]], path: str) -> None:
    """Check that branches exclude each other. From here on they have types: a later conjunction adds none."""
    for i, branch in enumerate(parts):
        for other in parts[:i]:
            if not all(_apart(root, a, b, path) for a in branch for b in other):
                hint = "Use anyOf, or a property that both require, with another constant in each."
                raise bad("'oneOf'", path, "has branches that one value may satisfy together", hint)
    for branch in parts:
        for plain in branch:
            plain.setdefault("type", kinds(plain))


def _apart(root: Any, left: Plain, right: Plain, path: str, deep: int = 0) -> bool:
    """Whether it is plain that no value that is written for one of them satisfies the other."""
    if "enum" in left and "enum" in right:
        return not {*map(key, left["enum"])} & {*map(key, right["enum"])}
    common = _met(left, right) | _met(right, left)
    if not common:
        return True
    if common != {"object"} or deep > 5:
        return False
    for name in left.get("required", []):
        schema = _property(right, name)
        if schema is False:
            return True
        if name in right.get("required", []):
            mine = flatten(root, _property(left, name), path)
            theirs = flatten(root, schema, path)
            if all(_apart(root, a, b, path, deep + 1) for a in mine for b in theirs):
                return True
    return any(_property(left, name) is False for name in right.get("required", []))


def _met(left: Plain, right: Plain) -> set[str]:
    """The types written for the one that the other accepts."""
    accepted = kinds(right) if "enum" in right else right.get("type", TYPES)
    return {kind for kind in kinds(left) if _is(kind, accepted) or (kind == "number" and "integer" in accepted)}


def is_a(value: Any, kind: str) -> bool:
    """Whether a JSON value is of a type."""
    match kind:
        case "object":
            return isinstance(value, dict)
        case "array":
            return isinstance(value, list)
        case "string":
            return isinstance(value, str)
        case "boolean":
            return isinstance(value, bool)
        case "null":
            return value is None
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and (kind == "number" or value == int(value))


def _number(value: Any) -> Any:
    if isinstance(value, float) and abs(value) < 1e15 and value == int(value):
        return int(value)
    if isinstance(value, dict):
        return {name: _number(value[name]) for name in sorted(value)}
    return [*map(_number, value)] if isinstance(value, list) else value
