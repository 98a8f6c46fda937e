"""tokenizer.json as exporters write it: patterns of words, added tokens, damage."""

from __future__ import annotations

import json
from typing import Any

import pytest
from engine.tiny import CONTROL, MERGES, tokenizer
from inglenook.elastic.pattern import GPT2, SMOLLM, compiled
from inglenook.elastic.tokenizer import Tokenizer, _letters
from inglenook.elastic.tokenizer_json import convert
from inglenook.errors import NookError

LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
BYTES = {"type": "ByteLevel", "add_prefix_space": False}
SPLIT = {"type": "Split", "pattern": {"Regex": LLAMA3}, "behavior": "Isolated", "invert": False}
DIGITS = {"type": "Digits", "individual_digits": True}


def file(pre: dict[str, Any] | None = None, **changed: Any) -> bytes:
    """The tiny tokenizer as a tokenizer.json whose control tokens are added ones, at the end."""
    tokens = [*_letters(), *(merge.replace(" ", "") for merge in MERGES)]
    model = {
        "type": "BPE", "vocab": {token: i for i, token in enumerate(tokens)},
        "merges": [merge.split(" ") for merge in MERGES],
    }  # fmt: skip
    added = [{"id": len(tokens) + 1 + i, "content": token, "special": True} for i, token in enumerate(CONTROL)]
    whole = {"model": model, "added_tokens": added, "normalizer": None, "pre_tokenizer": pre or BYTES}
    return json.dumps({**whole, **changed}).encode()


def words(text: str, pattern: str) -> list[str]:
    found: list[str] = compiled(pattern).findall(text)
    return found


def test_it_reads_as_our_own_file_does() -> None:
    made = Tokenizer.load(convert(file({"type": "Sequence", "pretokenizers": [DIGITS, BYTES]}), [300], "chat"))
    ours = tokenizer()
    text = "the abc <|im_end|> low 12 é"
    assert [made.piece(i) for i in made.encode(text)] == [ours.piece(i) for i in ours.encode(text)]
    assert made.decode(made.encode(text)) == text and made.specials.keys() == ours.specials.keys()
    assert made.ends == {300} and made.template == "chat" and made.is_special(made.specials["<|im_end|>"])


@pytest.mark.parametrize(
    ("pattern", "text", "pieces"),
    [
        (GPT2, "it's 1234  a\n", ["it", "'s", " 1234", " ", " a", "\n"]),
        (SMOLLM, "it's 12  34 a", ["it", "'s", " ", "1", "2", "  ", "3", "4", " a"]),
        (LLAMA3, "IT'S 12345,\n\n  x ½é", ["IT", "'S", " ", "123", "45", ",\n\n", " ", " x", " ", "½", "é"]),
        (LLAMA3, "a\x1cb\u2003c", ["a", "\x1cb", "\u2003c"]),
    ],
)
def test_words_are_cut_as_the_pattern_says(pattern: str, text: str, pieces: list[str]) -> None:
    assert words(text, pattern) == pieces and "".join(words(text, pattern)) == text


def test_a_pattern_of_its_own_is_taken_over() -> None:
    split = {"type": "Sequence", "pretokenizers": [SPLIT, {**BYTES, "use_regex": False}]}
    made = Tokenizer.load(convert(file(split, normalizer={"type": "NFC"}), [300]))
    assert made.encode("e\u0301") == made.encode("\u00e9")  # composed first
    assert [made.piece(i) for i in made.encode("x12 abc")] == [b"x", b"1", b"2", b" a", b"bc"]


@pytest.mark.parametrize(
    "changed",
    [
        {"model": {"type": "Unigram", "vocab": {}, "merges": []}},
        {"normalizer": {"type": "Lowercase"}},
        {"pre_tokenizer": {"type": "Metaspace"}},
        {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [{**SPLIT, "behavior": "Removed"}, BYTES]}},
        {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {**SPLIT, "pattern": {"Regex": r"\p{Han}+|."}}, {**BYTES, "use_regex": False}]}},
    ],
)  # fmt: skip
def test_what_it_cannot_do_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(NookError) as error:
        convert(file(**changed), [])
    assert error.value.code == "model-unsupported" and error.value.hint


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", file()[:-9], file(added_tokens=[{"id": "x", "content": "y"}])])
def test_damage_is_told(data: bytes) -> None:
    with pytest.raises(NookError) as error:
        convert(data, [])
    assert error.value.code == "model-corrupt"
