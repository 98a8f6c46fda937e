"""Deep JSON is refused before a parser sees it; all other JSON is what it was."""

from __future__ import annotations

import json

import pytest
from inglenook.depth import DEEPEST, depth, parse, shallow


@pytest.mark.parametrize(
    "value", [None, 3, "text", [], {}, [1, [2, [3]]], {"a": {"b": "[[[{{{"}}, ["\\", '"[', {'\\"': "]"}], [[]] * 500]
)
def test_ordinary_json_is_unchanged(value: object) -> None:
    assert parse(json.dumps(value)) == value == parse(json.dumps(value).encode())


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "[" * 101 + "]" * 101, '["x",' * 5_000, "[{" * 999])
def test_deep_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse(text)


def test_as_deep_as_allowed_is_fine() -> None:
    text = "[" * DEEPEST + "]" * DEEPEST
    assert depth(text) == DEEPEST
    assert shallow(parse(text)) and not shallow([parse(text)]) and not shallow({"a": (parse(text),)})
    assert json.dumps(parse(text), separators=(",", ":")) == text


@pytest.mark.parametrize("text", ["", "[", '"', '"\\', "[" * 200 + '"', b"\xff", "nul", "]" * 300])
def test_what_is_no_json_is_refused(text: str | bytes) -> None:
    with pytest.raises(ValueError):
        parse(text)


def test_text_full_of_quotes_is_looked_through_once() -> None:
    """A string that never ends, of a million escaped quotes: looking for an end from each of them takes 8 seconds for
    20,000, and grows with the square."""
    with pytest.raises(ValueError):
        parse("[" * 101 + '"' + '\\"' * 1_000_000)
