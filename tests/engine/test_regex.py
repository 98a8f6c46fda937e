"""Patterns held to Python's `re`, both ways: what a grammar writes matches, what matches may be written."""

from __future__ import annotations

import re
from json import dumps

import pytest
from engine.tiny import tokenizer
from engine.written import write
from hypothesis import given, settings
from hypothesis import strategies as st
from inglenook.elastic.grammar import Grammar, expression, schema
from inglenook.elastic.grammar.automaton import Automaton
from inglenook.elastic.grammar.expression import Arena
from inglenook.elastic.grammar.text import ANY, Lower, Ranges, invert, json, ranges, utf8
from inglenook.errors import NookError

TINY = tokenizer()

atoms = st.sampled_from(
    ["a", "b", "é", "🙂", ".", r"\d", r"\W", r"\s", r"[a-c]", r"[^a]", r"[\w.-]", r"\.", r"\u00e9", r"\x61", r"[^\d\s]"]
)


def grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    quantifier = st.sampled_from(["*", "+", "?", "{2}", "{1,3}", "{2,}", "*?", "{0,2}?"])
    return st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map("|".join).map("({})".format),
        st.tuples(inner, quantifier).map(lambda pair: f"(?:{pair[0]}){pair[1]}"),
    )


patterns = st.recursive(atoms, grown, max_leaves=6)
texts = st.text("ab1é🙂 .-", max_size=8)


@settings(max_examples=200, deadline=None)
@given(patterns, texts)
def test_what_matches_may_be_written(pattern: str, text: str) -> None:
    assert Grammar.of_regex(pattern).matches(text) == bool(re.fullmatch(pattern, text, re.ASCII))


@settings(max_examples=150, deadline=None)
@given(patterns, st.integers(0, 9))
def test_what_is_written_matches(pattern: str, seed: int) -> None:
    written = write(Grammar.of_regex(pattern), TINY, seed, most=12)
    # ECMA's \s and line ends are more than those of re.ASCII
    odd = re.search("[\x1c-\x1f\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff\r]", written)
    assert odd or re.fullmatch(pattern, written, re.ASCII)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(["", "^"]), patterns, st.sampled_from(["", "$"]), texts)
def test_a_schemas_pattern_is_looked_for(start: str, pattern: str, stop: str, text: str) -> None:
    pattern = f"{start}(?:{pattern}){stop}"
    grammar = Grammar.of_schema({"type": "string", "pattern": pattern})
    found = bool(re.search(pattern.replace("$", r"\Z"), text, re.ASCII))
    assert grammar.matches(f'"{text}"') == found


@pytest.mark.parametrize("pattern", ["^a|b$", "^(a|b$)", "(^a|b)c$", "^", "$", "^$", "", "(^a)|(b$)"])
def test_anchors(pattern: str) -> None:
    if pattern == "(^a|b)c$":
        with pytest.raises(NookError, match=r"inside at position 1\."):
            Grammar.of_regex(pattern)
        return
    grammar = Grammar.of_schema({"type": "string", "pattern": pattern})
    for text in ("", "a", "b", "ab", "ba", "xa", "bx", "c"):
        assert grammar.matches(f'"{text}"') == bool(re.search(pattern, text)), text
        assert Grammar.of_regex(pattern).matches(text) == bool(re.fullmatch(pattern, text)), text


@pytest.mark.parametrize(
    ("pattern", "at"),
    [
        ("a(b", 1), ("ab)", 2), ("[a", 0), ("[]", 0), ("[z-a]", 1), (r"[\d-z]", 1), ("*a", 0), ("a**", 2), ("a{2", 1),
        ("a{3,2}", 1), ("a{99999}", 1), (r"\1", 0), (r"a\b", 1), (r"\p{L}", 0), ("(?=a)", 0), ("(?<!a)", 0),
        ("(?i)a", 0), ("(?<1>a)", 3), (r"\u12", 0), (r"\xg0", 0), (r"\ud83d", 0), (r"\u{110000}", 0), ("a^b", 1),
        ("^*", 0), ("a\\", 1), ("a{,3}", 1), ("(" * 60, 50), ("[a", 0), ("[a-", 0), (r"\u{}", 0), (r"\01", 0),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_place(pattern: str, at: int) -> None:
    with pytest.raises(NookError, match=rf"at position {at}\.") as error:
        Grammar.of_regex(pattern)
    assert error.value.code == "regex" and error.value.hint


@pytest.mark.parametrize("wrong", ["[z-a]", "(?!a)"])
def test_the_pattern_of_a_schema_is_named_with_its_path(wrong: str) -> None:
    schema = {"type": "object", "properties": {"a/b": {"type": "string", "pattern": wrong}}}
    with pytest.raises(NookError, match=r"position \d \(the pattern at #/properties/a~1b\)") as error:
        Grammar.of_schema(schema)
    assert error.value.code == "regex"


def test_a_pattern_that_nothing_matches() -> None:
    with pytest.raises(NookError) as error:
        Grammar.of_regex(r"a[^\d\D]")
    assert error.value.code == "regex"


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("(?:a|b)*a(?:a|b){18}", "b" * 300 + "a" + "b" * 18, "a" + "b" * 300),
        ("a{3,60000}", "a" * 3_000, "aa"),
        ("(?:(?:a?){20}){20}b", "a" * 400 + "b", "a" * 401 + "b"),
    ],
)
def test_bounds_are_counted_and_not_unrolled(pattern: str, yes: str, no: str) -> None:
    grammar = Grammar.of_regex(pattern)
    assert grammar.matches(yes) and not grammar.matches(no)


def test_too_many_ways_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expression, "MOST", 50_000)
    with pytest.raises(NookError, match="too large"):
        Grammar.of_regex("(?:a{1,300}){1,300}b").matches("a" * 2_000 + "b")


def test_alternatives_that_are_looked_at_count_as_much_as_what_is_made() -> None:
    """A pattern in a schema is walked through for a text of it: counting expressions alone, that took 20 seconds."""
    arena = Arena()
    with pytest.raises(expression.TooLarge):
        Automaton(arena, schema.compile(arena, {"type": "string", "pattern": "(a{1000}){1001}"}))
    assert len(arena._nodes) < expression.MOST / 4


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 0x10FFFF), st.integers(0, 0x10FFFF)), max_size=4), st.characters())
def test_sets_of_characters(pairs: list[tuple[int, int]], character: str) -> None:
    of = ranges((min(pair), max(pair)) for pair in pairs)
    inside = any(min(pair) <= ord(character) <= max(pair) for pair in pairs)
    if not 0xD800 <= ord(character) < 0xE000:
        for some, wanted in ((of, inside), (invert(of), not inside), (ANY, True)):
            for lower, text in ((utf8, character), (json, _escaped(character))):
                assert _written_with(lower, some).matches(text) == wanted, (lower, some)


def _written_with(lower: Lower, of: Ranges) -> Grammar:
    """One character of a set, or a byte that begins none."""
    return Grammar("regex", lambda arena: arena.alt([lower(arena, of), arena.literal(b"\xff")]))


def _escaped(character: str) -> str:
    return dumps(character, ensure_ascii=False)[1:-1]


def test_every_text_of_a_complement_and_an_intersection() -> None:
    arena = Arena()
    letters = arena.repeat(arena.bytes_(b"ab"))
    words = arena.alt([arena.literal(b"ab"), arena.literal(b"abba")])
    root = arena.both(letters, arena.complement(words))
    grammar = Grammar("regex", lambda new: new.__dict__.update(arena.__dict__) or root)
    for text in ("", "a", "ab", "abb", "abba", "abbab", "c", "abc"):
        assert grammar.matches(text) == ({*text} <= {*"ab"} and text not in ("ab", "abba")), text
