"""Schemas, both ways: what a grammar writes is valid JSON of the schema, and valid values may be written."""

from __future__ import annotations

import json
import re
from datetime import date, datetime
from typing import Any

import pytest
from engine.tiny import tokenizer
from engine.written import valid, write
from hypothesis import assume, given, reject, settings
from hypothesis import strategies as st
from inglenook.elastic.grammar import Grammar, expression
from inglenook.elastic.grammar.expression import TooLarge
from inglenook.elastic.grammar.formats import FORMATS
from inglenook.errors import NookError

TINY = tokenizer()
ANYTHING = Grammar.of_schema(True)

names = st.sampled_from(["a", "b", "ab", 'q"', "é", "n\n"])
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-1200, 1200),
    st.integers(-99, 99).map(lambda n: n / 8),
    st.text('ab"\\\n\x01é🙂/', max_size=4),
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3), max_leaves=6
)


def between(low: Any, high: Any, of: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Any of two bounds, in order where there are both."""
    pairs = st.tuples(of, of).map(sorted).map(lambda pair: {low: pair[0], high: pair[1]})
    picked = st.sampled_from([(), (low,), (high,), (low, high)])
    return st.tuples(pairs, picked).map(lambda told: {word: told[0][word] for word in told[1]})


def joined(kind: str, *parts: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.tuples(*parts).map(lambda told: {"type": kind} | {k: v for part in told for k, v in part.items()})


bounds = st.integers(-130, 130) | st.integers(-99, 99).map(lambda n: n / 8)
strings = joined(
    "string",
    between("minLength", "maxLength", st.integers(0, 4)),
    st.sampled_from([{}, {}, {"pattern": "a|b"}, {"pattern": "^[^a]*$"}, {"format": "date"}]),
)
numbers = st.one_of(
    joined("number", between("minimum", "maximum", bounds)),
    joined("integer", between("minimum", "maximum", bounds)),
    joined("number", between("exclusiveMinimum", "exclusiveMaximum", bounds)),
    joined("integer", between("exclusiveMinimum", "maximum", bounds)),
)
plain = st.one_of(
    strings,
    numbers,
    st.sampled_from([{"type": "null"}, {"type": "boolean"}, {"type": ["string", "null"]}, {"$ref": "#/$defs/node"}]),
    st.lists(values, min_size=1, max_size=3).map(lambda some: {"enum": some}),
    values.map(lambda value: {"const": value}),
)


def grown(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    properties = st.dictionaries(names, inner, max_size=3)
    counts = between("minItems", "maxItems", st.integers(0, 3))
    return st.one_of(
        joined("array", counts, inner.map(lambda item: {"items": item})),
        joined(
            "array",
            counts,
            st.lists(inner, max_size=2).map(lambda items: {"prefixItems": items}),
            st.just({}) | (inner | st.booleans()).map(lambda item: {"items": item}),
        ),
        joined(
            "object",
            properties.map(lambda told: {"properties": told}),
            st.lists(names, max_size=2, unique=True).map(lambda told: {"required": told}),
            st.just({}) | (inner | st.booleans()).map(lambda other: {"additionalProperties": other}),
            st.just({}) | strings.map(lambda name: {"propertyNames": name}),
        ),
        st.lists(inner, min_size=1, max_size=3).map(lambda some: {"anyOf": some}),
        st.tuples(inner, inner).map(lambda pair: {"allOf": [*pair]}),
        st.tuples(inner, inner).map(lambda pair: {"oneOf": [*pair]}),
    )


schemas = st.recursive(plain, grown, max_leaves=5)
NODE = {"type": "object", "properties": {"of": {"type": "array", "items": {"$ref": "#/$defs/node"}}}}


def compiled(schema: dict[str, Any]) -> tuple[dict[str, Any], Grammar]:
    """The schema with its definitions, and its grammar; examples that no value satisfies are passed over."""
    schema = {**schema, "$defs": {"node": NODE}}
    try:
        return schema, Grammar.of_schema(schema)
    except NookError as error:
        assume("No text satisfies" not in error.message and "'oneOf'" not in error.message)
        raise


@settings(max_examples=250, deadline=None)
@given(schemas, st.integers(0, 9))
def test_what_is_written_is_valid(schema: dict[str, Any], seed: int) -> None:
    schema, grammar = compiled(schema)
    try:
        text = write(grammar, TINY, seed, most=25)
    except TooLarge:
        reject()  # the search for the shortest end met more states than an automaton holds: no word on what is valid
    value = json.loads(text)
    assert valid(schema, value), text
    again = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    assert re.search(r"\d[.eE]", text) or '"' in text or again == text


@settings(max_examples=400, deadline=None)
@given(schemas, values)
def test_what_is_valid_may_be_written(schema: dict[str, Any], value: Any) -> None:
    schema, grammar = compiled(schema)
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    if not valid(schema, value):
        assert not grammar.matches(text)
    elif not any(word in json.dumps(schema) for word in ("allOf", "properties", "prefixItems")):
        assert grammar.matches(text)  # elsewhere the order of properties is fixed, or unnamed ones are left out


@settings(max_examples=300, deadline=None)
@given(values)
def test_any_value_may_be_written_in_one_way(value: Any) -> None:
    grammar = ANYTHING
    assert grammar.matches(json.dumps(value, ensure_ascii=False, separators=(",", ":")))
    for other in (json.dumps(value), json.dumps(value, ensure_ascii=False, indent=1)):
        assert grammar.matches(other) == (other == json.dumps(value, ensure_ascii=False, separators=(",", ":")))


@settings(max_examples=300, deadline=None)
@given(numbers, st.decimals(-200, 200, places=3) | st.integers(-200, 200))
def test_numbers_between_bounds(schema: dict[str, Any], number: Any) -> None:
    text = str(number).replace("-0", "0") if number == 0 else str(number)
    schema, grammar = compiled(schema)
    wanted = valid(schema, float(text)) and not (schema["type"] == "integer" and "." in text)
    assert grammar.matches(text) == wanted
    assert grammar.matches("-0") is False and grammar.matches("01") is False


@pytest.mark.parametrize("text", ["1e5", "1.5E-7", "0", "123456789012345", "0.12345678901234", "-3"])
def test_numbers_without_bounds(text: str) -> None:
    assert Grammar.of_schema({"type": "number"}).matches(text)


@pytest.mark.parametrize("text", ["1e999", "1234567890123456", "0.123456789012345", "-0", "+1", "1.", ".5", "1e", "-"])
def test_numbers_that_other_readers_might_take_for_others(text: str) -> None:
    assert not Grammar.of_schema({"type": "number"}).matches(text)


def test_integers_as_large_as_their_bounds() -> None:
    grammar = Grammar.of_schema({"type": "integer", "minimum": -(10**20), "maximum": 10**20})
    assert grammar.matches(str(10**20)) and grammar.matches(str(-(10**20)))
    assert not grammar.matches(str(10**20 + 1)) and not grammar.matches(str(-(10**20) - 1))


PERSON: dict[str, Any] = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 0}, "kids": {"type": "array",
                   "items": {"$ref": "#"}}},
    "required": ["name"],
}  # fmt: skip


@pytest.mark.parametrize(
    ("schema", "yes", "no"),
    [
        (PERSON, ['{"name":"Ada"}', '{"name":"","age":36,"kids":[{"name":"B","kids":[]}]}'],
         ['{}', '{"age":1,"name":"A"}', '{"name":"A","x":1}', '{"name": "A"}', '{"name":"A",}',
          '{"name":"A","age":-1}']),
        ({"type": "object"}, ['{}', '{"a":{"b":[1,null,{"c":""}]}}'], ["[]", "1", '{"a"}', '{"a":}', "{,}"]),
        ({"properties": {"a": True}}, ['{"a":1}', "{}"], ["1", '{"b":1}']),
        ({"type": "object", "required": ["b"], "additionalProperties": {"type": "null"}},
         ['{"b":null}', '{"b":null,"c":null}'], ["{}", '{"c":null}', '{"b":1}']),
        ({"type": "object", "properties": {"a": {"const": 1}}, "additionalProperties": {"const": 2}},
         ['{"a":1,"b":2}', '{"b":2}', '{"ab":2,"":2}'], ['{"a":2}', '{"b":2,"a":2}', '{"b":1}', '{"a":1,"a":2}']),
        ({"type": "object", "propertyNames": {"pattern": "^x"}, "additionalProperties": {"const": 0}},
         ["{}", '{"x":0,"xy":0}'], ['{"y":0}']),
        ({"prefixItems": [{"const": 1}, {"const": 2}]}, ["[]", "[1]", "[1,2]"], ["[2]", "[1,2,3]"]),
        ({"prefixItems": [{"const": 1}], "items": {"const": 3}, "minItems": 1, "maxItems": 3},
         ["[1]", "[1,3]", "[1,3,3]"], ["[]", "[3]", "[1,3,3,3]"]),
        ({"enum": [1, "1", None, True, {"a": [1]}]}, ["1", '"1"', "null", "true", '{"a":[1]}'], ["2", "false"]),
        ({"type": "string", "enum": ["a", 1]}, ['"a"'], ["1"]),
        ({"allOf": [{"properties": {"a": {"type": "integer"}}, "required": ["a"]},
                    {"properties": {"a": {"maximum": 5}, "b": True}, "additionalProperties": False}]},
         ['{"a":5}', '{"a":1,"b":null}'], ['{"a":6}', '{"b":1}', "{}"]),
        ({"type": "object", "properties": {"a": True, "b": True}, "anyOf": [{"required": ["a"]}, {"required": ["b"]}]},
         ['{"a":1}', '{"b":1}', '{"a":1,"b":1}'], ["{}"]),
        ({"oneOf": [{"properties": {"kind": {"const": "a"}}, "required": ["kind"]},
                    {"properties": {"kind": {"const": "b"}, "n": True}, "required": ["kind"]}]},
         ['{"kind":"a"}', '{"kind":"b","n":1}'], ['{"kind":"a","n":1}', "{}"]),
        ({"oneOf": [{"type": "string"}, {"type": "integer"}]}, ['"a"', "1"], ["1.5", "null"]),
        ({"$ref": "#/$defs/a~1b", "$defs": {"a/b": {"type": "null"}}}, ["null"], ["1"]),
        ({"type": "array", "items": False}, ["[]"], ["[1]"]),
        ({"type": "object", "properties": {"a": False, "b": {"const": 1}}}, ["{}", '{"b":1}'], ['{"a":1}']),
    ],
)  # fmt: skip
def test_schemas(schema: Any, yes: list[str], no: list[str]) -> None:
    grammar = Grammar.of_schema(schema)
    for text in yes:
        assert grammar.matches(text), text
    for text in no:
        assert not grammar.matches(text), text


@pytest.mark.parametrize(
    ("schema", "keyword", "path"),
    [
        ({"not": {}}, "'not'", "#"),
        ({"type": "object", "properties": {"a": {"multipleOf": 3}}}, "'multipleOf'", "#/properties/a"),
        ({"type": "array", "items": {"uniqueItems": True}}, "'uniqueItems'", "#/items"),
        ({"anyOf": [{"type": "null"}, {"patternProperties": {}}]}, "'patternProperties'", "#/anyOf/1"),
        ({"type": "thing"}, "'type'", "#"),
        ({"type": []}, "'type'", "#"),
        ({"type": "string", "format": "klingon"}, "'format'", "#"),
        ({"type": "string", "minLength": -1}, "'minLength'", "#"),
        ({"type": "string", "maxLength": 1.5}, "'maxLength'", "#"),
        ({"type": "number", "minimum": "1"}, "'minimum'", "#"),
        ({"enum": []}, "'enum'", "#"),
        ({"properties": []}, "'properties'", "#"),
        ({"required": "a"}, "'required'", "#"),
        ({"prefixItems": {}}, "'prefixItems'", "#"),
        ({"type": "string", "pattern": 5}, "'pattern'", "#"),
        ({"anyOf": {}}, "'anyOf'", "#"),
        ({"$ref": "http://elsewhere/"}, "'$ref'", "#"),
        ({"$ref": "#/$defs/gone"}, "'$ref'", "#"),
        ({"$ref": "#"}, "'$ref'", "#"),
        ({"anyOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": {"allOf": [{"$ref": "#/$defs/a"}]}}}, "'$ref'", "a/allOf/0"),
        ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, "'oneOf'", "#"),
        ({"allOf": [{"anyOf": [{}] * 30}, {"anyOf": [{}] * 30}]}, "alternatives", "#"),
        ("text", "The schema", "#"),
        ({"properties": {"a": 5}}, "The schema", "#/properties/a"),
    ],
)  # fmt: skip
def test_what_is_not_supported_is_named_with_its_path(schema: Any, keyword: str, path: str) -> None:
    with pytest.raises(NookError) as error:
        Grammar.of_schema(schema)
    assert error.value.code == "schema" and error.value.hint
    assert keyword in error.value.message and path in error.value.message


@pytest.mark.parametrize(
    "schema",
    [
        False,
        {"type": "string", "minLength": 3, "maxLength": 2},
        {"type": "string", "pattern": "^a", "maxLength": 0},
        {"type": "integer", "minimum": 1.2, "maximum": 1.8},
        {"type": "object", "properties": {"a": False}, "required": ["a"]},
        {"type": "object", "properties": {"next": {"$ref": "#"}}, "required": ["next"]},  # without end
        {"type": "array", "items": {"$ref": "#"}, "minItems": 1},
        {"allOf": [{"type": "string"}, {"type": "number"}]},
        {"type": "array", "minItems": 2, "maxItems": 1},
    ],
)
def test_schemas_that_no_value_satisfies(schema: Any) -> None:
    with pytest.raises(NookError, match="No text satisfies") as error:
        Grammar.of_schema(schema)
    assert error.value.code == "schema"


@pytest.mark.parametrize("schema", [{"minimum": float("nan")}, {"const": {1, 2}}, {"const": float("inf")}])
def test_what_is_no_json(schema: Any) -> None:
    with pytest.raises(NookError, match="not JSON"):
        Grammar.of_schema(schema)


def test_a_schema_that_asks_for_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expression, "MOST", 10_000)
    deep: Any = {"type": "null"}
    for _ in range(3_000):
        deep = {"anyOf": [deep]}
    for schema in (deep, {"enum": [str(i) * 10 for i in range(1_000)]}):
        with pytest.raises(NookError) as error:
            Grammar.of_schema(schema)
        assert error.value.code == "schema"


def test_a_long_list_of_words() -> None:
    grammar = Grammar.of_schema({"enum": [f"word {i}" for i in range(2_000)]})
    assert grammar.matches('"word 1999"') and not grammar.matches('"word 2000"')


@settings(max_examples=200, deadline=None)
@given(st.dates() | st.text("0123456789-", min_size=10, max_size=10))
def test_dates(told: Any) -> None:
    try:
        date.fromisoformat(str(told))
        real = re.fullmatch(r"\d{4}-\d\d-\d\d", str(told)) is not None
    except ValueError:
        real = False
    assert Grammar.of_schema({"format": "date"}).matches(f'"{told}"') == real


@pytest.mark.parametrize("year", [1600, 1700, 1900, 1996, 2000, 2023, 2024, 2100, 2400])
def test_leap_years(year: int) -> None:
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    assert Grammar.of_schema({"format": "date"}).matches(f'"{year}-02-29"') == leap


@pytest.mark.parametrize(
    ("name", "yes", "no"),
    [
        ("time", "23:59:59Z", "24:00:00Z"),
        ("date-time", "2024-02-29T08:30:00.25+02:00", "2023-02-29T08:30:00Z"),
        ("duration", "P1Y2M3DT4H5M6S", "P1YT"),
        ("duration", "P2W", "P"),
        ("uuid", "123e4567-e89b-12d3-a456-426614174000", "123e4567e89b12d3a456426614174000"),
        ("email", "ada.l+x@example.org", "ada@.org"),
        ("hostname", "a-b.example", "-a.example"),
        ("ipv4", "255.0.10.1", "256.0.0.1"),
        ("uri", "https://example.org:8080/a/b?c=d", "example.org/a"),
    ],
)
def test_formats(name: str, yes: str, no: str) -> None:
    grammar = Grammar.of_schema({"type": "string", "format": name})
    assert grammar.matches(json.dumps(yes)) and not grammar.matches(json.dumps(no))


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([*FORMATS]), st.integers(0, 99))
def test_formats_are_written_to_the_end(name: str, seed: int) -> None:
    text = json.loads(write(Grammar.of_schema({"type": "string", "format": name}), TINY, seed, most=60))
    assert re.fullmatch(FORMATS[name], text, re.ASCII)
    if name == "date":
        date.fromisoformat(text) if text[:4] != "0000" else None
    if name == "date-time" and text[:4] != "0000":
        datetime.fromisoformat(text.replace("Z", "+00:00").split(".")[0][:19])
