"""What a grammar lets be written: random texts of it, and a plain judge of values by a schema."""

from __future__ import annotations

import random
import re
from collections import deque
from typing import Any

from inglenook.elastic.grammar import Grammar, Mask
from inglenook.elastic.grammar.formats import FORMATS
from inglenook.elastic.tokenizer import Tokenizer


def tokens(mask: Mask) -> list[int]:
    """What a mask allows."""
    allow = mask.allow()
    return [token for token in range(len(allow) * 8) if allow[token // 8] >> token % 8 & 1]


def write(grammar: Grammar, tokenizer: Tokenizer, seed: int, most: int = 40) -> str:
    """A text of the grammar, token by token at random; after `most` tokens, the shortest way out."""
    draw = random.Random(seed)
    mask, data = Mask(grammar, tokenizer), b""
    for _ in range(most):
        allowed = tokens(mask)
        assert allowed, f"nothing may follow {data!r}"
        assert mask.complete == bool(tokenizer.ends & {*allowed})
        token = draw.choice(allowed)
        if token in tokenizer.ends:
            return data.decode()
        mask.advance(token)
        data += tokenizer.piece(token)
    return (data + shortest(grammar, data)).decode()


def shortest(grammar: Grammar, data: bytes = b"") -> bytes:
    """The fewest bytes that finish a text that begins with `data`."""
    automaton = grammar.automaton()
    state = automaton.start
    for byte in data:
        state = automaton.step(state, byte)
    ways = deque([(state, b"")])
    met = {state}
    while ways:
        state, way = ways.popleft()
        if automaton.accepts(state):
            return way
        for byte in range(256):
            reached = automaton.step(state, byte)
            if reached and reached not in met:
                met.add(reached)
                ways.append((reached, way + bytes([byte])))
    raise AssertionError(f"no way out after {data!r}")


def valid(schema: Any, value: Any, root: Any = None) -> bool:
    """Whether a value satisfies a schema: the keywords that grammars know, one after the other."""
    root = schema if root is None else root
    if isinstance(schema, bool):
        return schema
    told = [valid(part, value, root) for part in schema.get("allOf", [])]
    if "$ref" in schema:
        at = root
        for step in schema["$ref"].split("/")[1:]:
            at = at[step]
        told.append(valid(at, value, root))
    if "anyOf" in schema:
        told.append(any(valid(part, value, root) for part in schema["anyOf"]))
    if "oneOf" in schema:
        told.append(sum(valid(part, value, root) for part in schema["oneOf"]) == 1)
    if "const" in schema:
        told.append(same(schema["const"], value))
    if "enum" in schema:
        told.append(any(same(item, value) for item in schema["enum"]))
    if "type" in schema:
        kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        told.append(any(is_a(value, kind) for kind in kinds))
    if isinstance(value, str):
        told.append(schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", 1e9))
        told.append("pattern" not in schema or re.search(schema["pattern"], value, re.ASCII) is not None)
        told.append("format" not in schema or re.fullmatch(FORMATS[schema["format"]], value, re.ASCII) is not None)
    if is_a(value, "number"):
        told.append(schema.get("minimum", value) <= value <= schema.get("maximum", value))
        told.append("exclusiveMinimum" not in schema or value > schema["exclusiveMinimum"])
        told.append("exclusiveMaximum" not in schema or value < schema["exclusiveMaximum"])
    if isinstance(value, list):
        told.append(schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", 1e9))
        prefix = schema.get("prefixItems", [])
        for i, item in enumerate(value):
            told.append(valid(prefix[i] if i < len(prefix) else schema.get("items", True), item, root))
    if isinstance(value, dict):
        named = schema.get("properties", {})
        told.append({*schema.get("required", [])} <= value.keys())
        for name, item in value.items():
            told.append(valid(named.get(name, schema.get("additionalProperties", True)), item, root))
            told.append(valid(schema.get("propertyNames", True), name, root))
    return all(told)


def is_a(value: Any, kind: str) -> bool:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    kinds = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}
    return (
        number and (kind == "number" or value == int(value))
        if kind in ("number", "integer")
        else isinstance(value, kinds[kind])
    )


def same(left: Any, right: Any) -> bool:
    return left == right and isinstance(left, bool) == isinstance(right, bool)
