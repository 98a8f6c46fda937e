"""The tokenizer on a small vocabulary: against the textbook algorithm, on borders, bytes and damage."""

from __future__ import annotations

import json
import re
from itertools import pairwise

import pytest
from engine.tiny import MERGES, tokenizer
from hypothesis import given, settings
from hypothesis import strategies as st
from inglenook.elastic.pattern import SMOLLM, compiled
from inglenook.elastic.tokenizer import Stream, Tokenizer, _letters
from inglenook.errors import NookError

TINY = tokenizer()
RANKS = {tuple(merge.split(" ")): rank for rank, merge in enumerate(MERGES)}


def textbook(word: str) -> list[str]:
    """Sennrich's algorithm as printed: find the best pair, merge its leftmost place, again."""
    parts = [_letters()[byte] for byte in word.encode("utf-8", "replace")]
    while True:
        pairs = [(RANKS[pair], at) for at, pair in enumerate(pairwise(parts)) if pair in RANKS]
        if not pairs:
            return parts
        _, at = min(pairs)
        parts[at : at + 2] = [parts[at] + parts[at + 1]]


def words(text: str) -> list[str]:
    found: list[str] = compiled(SMOLLM).findall(text)
    return found


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("the abc", ["the", " abc"]),
        ("it's we'll I'VE x'd", ["it", "'s", " we", "'ll", " I", "'", "VE", " x", "'d"]),
        ("a1234", ["a", "1", "2", "3", "4"]),
        ("a  12", ["a", "  ", "1", "2"]),
        ("a   b", ["a", "  ", " b"]),
        ("end  ", ["end", "  "]),
        ("x\n\n  y", ["x", "\n\n ", " y"]),
        ("½ ⅷ²", ["½", " ", "ⅷ", "²"]),
        ("foo(bar) -> x!!", ["foo", "(", "bar", ")", " ->", " x", "!!"]),
        ("a\x1cb", ["a", "\x1c", "b"]),
        ("naïve über", ["naïve", " über"]),
        ("日本 語。", ["日本", " 語", "。"]),
        ("👩‍👧 ok", ["👩‍👧", " ok"]),
        ("", []),
    ],
)
def test_words_are_cut_as_gpt2_cuts_them(text: str, pieces: list[str]) -> None:
    assert words(text) == pieces


@given(st.text())
def test_no_character_is_lost_between_words(text: str) -> None:
    assert "".join(words(text)) == text


@settings(max_examples=300)
@given(st.text("thea bciowlé1\n🙂", max_size=40))
def test_merges_as_the_textbook_does(text: str) -> None:
    want = [TINY._ids[part] for word in words(text) for part in textbook(word)]
    assert TINY.encode(text) == want


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_plain_text_comes_back(text: str) -> None:
    ids = TINY.encode(text, special=False)
    assert TINY.decode(ids) == text
    assert not any(TINY.is_special(token) for token in ids)


def test_control_tokens_count_only_when_asked_for() -> None:
    text = "a<|im_end|>b"
    [a] = TINY.encode("a")
    [b] = TINY.encode("b")
    assert TINY.encode(text) == [a, 2, b]
    plain = TINY.encode(text, special=False)
    assert 2 not in plain and TINY.decode(plain) == text
    assert TINY.decode(TINY.encode(text)) == text


def test_long_words_take_no_quadratic_time_and_stay_right() -> None:
    word = "abc" * 40_000
    assert TINY.encode(word) == TINY.encode("abc") * 40_000
    assert word not in TINY._words


def test_lone_surrogates_are_replaced() -> None:
    assert TINY.decode(TINY.encode("a\ud800b")) == "a?b"


def test_bytes_the_vocabulary_lacks_are_left_out() -> None:
    small = Tokenizer(["a", "b", "ab"], ["a b"], special=())
    assert small.decode(small.encode("a\xe9b")) == "ab"


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_stream_gives_the_same_text_in_whole_characters(text: str) -> None:
    stream = Stream(TINY)
    pieces = [stream.push(token) for token in TINY.encode(text, special=False)]
    assert "".join(pieces) == text
    assert "\ufffd" in text or not any("\ufffd" in piece for piece in pieces)


def test_a_stream_skips_control_tokens_and_replaces_wrong_bytes() -> None:
    stream = Stream(TINY)
    byte = {letter: token for token, letter in enumerate(TINY.tokens)}
    ids = [1, byte[_letters()[0xF0]], byte[_letters()[0x41]], 2]
    assert [stream.push(token) for token in ids] == ["", "", "\ufffdA", ""]


def file(**changed: object) -> bytes:
    whole = {
        "format": 1, "tokens": "\n".join(TINY.tokens), "merges": "\n".join(MERGES), "special": [0, 1, 2],
        "ends": [0, 2], "template": "",
    }  # fmt: skip
    return json.dumps({**whole, **changed}).encode()


def test_a_file_loads_as_bytes_and_as_object() -> None:
    for data in (file(), json.loads(file())):
        loaded = Tokenizer.load(data)
        assert loaded.encode("the low<|im_end|>") == TINY.encode("the low<|im_end|>")
        assert loaded.ends == {0, 2} and len(loaded) == len(TINY)


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"[1]", b"\xff\xfe", file()[:-20], file(format=2), file(tokens=3), file(special=[999_999])]
)
def test_a_damaged_file_is_an_error_with_a_hint(data: bytes) -> None:
    with pytest.raises(NookError) as error:
        Tokenizer.load(data)
    assert error.value.code == "model-corrupt" and error.value.hint


def test_every_byte_has_a_printable_letter_of_its_own() -> None:
    letters = _letters()
    assert len(set(letters)) == 256 and not any(re.search(r"\s", letter) for letter in letters)
    assert letters[0x20] == "Ġ" and letters[0x0A] == "Ċ" and letters[0x41] == "A"
