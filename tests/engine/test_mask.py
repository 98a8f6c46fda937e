"""Masks over tokens, against trying every token; what may be written can be finished."""

from __future__ import annotations

import random
from typing import Any

import pytest
from engine.tiny import CONTROL, tokenizer
from engine.written import tokens
from hypothesis import given, settings
from hypothesis import strategies as st
from inglenook.elastic.grammar import Grammar, Mask, automaton
from inglenook.elastic.tokenizer import Tokenizer, _letters
from inglenook.errors import NookError

TINY = tokenizer()

words = st.lists(st.text("abcltheow é🙂", min_size=1, max_size=6), min_size=1, max_size=8, unique=True)


@settings(max_examples=100, deadline=None)
@given(words, st.integers(0, 99))
def test_a_list_of_words_against_every_token(listed: list[str], seed: int) -> None:
    """A token is allowed if some word begins with what is there and the token; independent of any automaton."""
    grammar = Grammar.of_regex("|".join(listed))
    mask, data, draw = Mask(grammar, TINY), b"", random.Random(seed)
    whole = [word.encode() for word in listed]
    while True:
        pieces = {t: TINY.piece(t) for t in range(len(TINY)) if not TINY.is_special(t)}
        wanted = {t for t, piece in pieces.items() if any(word.startswith(data + piece) for word in whole)}
        wanted |= TINY.ends if data in whole else set()
        assert {*tokens(mask)} == wanted and mask.complete == (data in whole)
        token = draw.choice(sorted(wanted))
        mask.advance(token)
        if token in TINY.ends:
            break
        data += TINY.piece(token)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([{"type": "object"}, {"type": "string"}, {"type": "array", "items": {"type": "number"}}]),
       st.integers(0, 999))  # fmt: skip
def test_the_tree_of_tokens_against_byte_by_byte(schema: Any, seed: int) -> None:
    grammar, draw = Grammar.of_schema(schema), random.Random(seed)
    mask = Mask(grammar, TINY)
    states = mask._automaton
    for _ in range(8):
        wanted = set(TINY.ends) if mask.complete else set()
        for token in range(len(TINY)):
            state = 0 if TINY.is_special(token) else mask._state
            for byte in TINY.piece(token):
                state = states.step(state, byte)
            wanted |= {token} if state else set()
        assert {*tokens(mask)} == wanted
        text = [token for token in wanted if token not in TINY.ends]
        if not text:
            break
        mask.advance(draw.choice(sorted(text)))


def test_the_order_of_bits() -> None:
    mask = Mask(Grammar.of_regex("a"), TINY)
    allow = mask.allow()
    [a] = TINY.encode("a")
    assert len(allow) == -(-len(TINY) // 8)
    assert [i for i, byte in enumerate(allow) if byte] == [a // 8] and allow[a // 8] == 1 << a % 8
    mask.advance(a)
    assert mask.complete and mask.allow()[0] == 0b101  # the two tokens that end a text


def test_masks_are_kept_by_state() -> None:
    grammar = Grammar.of_regex("(?:ab)*")
    mask = Mask(grammar, TINY)
    first = mask.allow()
    for token in TINY.encode("ab" * 5):
        mask.allow()
        mask.advance(token)
    assert mask.allow() is first and Mask(grammar, TINY).allow() is first


def test_tokens_that_may_not_come() -> None:
    mask = Mask(Grammar.of_regex("ab"), TINY)
    for token in (-1, len(TINY), 0, 1, *TINY.encode("b")):
        with pytest.raises(NookError) as error:
            mask.advance(token)
        assert error.value.code == "token"
    mask.advance(*TINY.encode("ab"))  # and it stays where it was
    assert mask.complete
    with pytest.raises(NookError):
        mask.advance(1)  # a control token that ends nothing


def lacking(text: str) -> Tokenizer:
    """The tiny tokenizer without the bytes of `text`, but with a token that holds them and more."""
    letters = [letter for byte, letter in enumerate(_letters()) if byte not in text.encode()]
    whole = "".join(_letters()[byte] for byte in (text + "!").encode())
    return Tokenizer([*CONTROL, *letters, whole], [], special=range(3), ends=(0, 2))


def test_a_vocabulary_without_some_bytes() -> None:
    tokenizer = lacking("é")
    with pytest.raises(NookError, match="has no tokens") as error:
        Mask(Grammar.of_regex("caf(?:é|é!)"), tokenizer)
    assert error.value.code == "regex"
    mask = Mask(Grammar.of_regex("caf[e-é]|tü"), tokenizer)  # ü shares a byte with é: nothing leads there
    assert {*tokens(mask)} == {*tokenizer.encode("c")}
    for letter in "caf":
        mask.advance(*tokenizer.encode(letter))
    assert {tokenizer.decode([token]) for token in tokens(mask)} >= {"e", "z"}
    assert all(tokenizer.piece(token)[0] < 0xC3 for token in tokens(mask))


def test_a_grammar_that_needs_too_many_states_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(automaton, "STATES", 500)
    grammar = Grammar.of_regex("(?:[ab]*a[ab]{17}c)*")
    mask, draw = Mask(grammar, TINY), random.Random(0)
    [a], [b] = TINY.encode("a"), TINY.encode("b")
    with pytest.raises(NookError, match="too large") as error:
        for _ in range(1_000):
            mask.advance(draw.choice((a, b)))
            mask.allow()
    assert error.value.code == "regex" and error.value.hint
