"""The chat format: its text, its ids, and that nothing inside a message gets out of it."""

from __future__ import annotations

import pytest
from engine.tiny import tokenizer
from hypothesis import given
from hypothesis import strategies as st
from inglenook.elastic import chat
from inglenook.errors import NookError

TINY = tokenizer()
ROLE = st.sampled_from(chat.ROLES)
MESSAGES = st.lists(st.tuples(ROLE, st.text(st.characters(exclude_categories=["Cs"]))), max_size=5)


def test_a_question_gets_the_default_system_turn() -> None:
    assert chat.render([("user", "Hi")]) == (
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    )


def test_a_system_turn_of_ones_own_replaces_it() -> None:
    text = chat.render([("system", "Be brief."), ("user", "Hi")], generate=False)
    assert text == "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"


def test_no_messages() -> None:
    assert chat.render([]) == "<|im_start|>assistant\n"
    assert chat.render([], generate=False) == ""


@given(MESSAGES, st.booleans())
def test_the_ids_spell_the_rendered_text(messages: list[chat.Message], generate: bool) -> None:
    assert TINY.decode(chat.encode(messages, TINY, generate)) == chat.render(messages, generate)


@given(st.lists(st.tuples(ROLE, st.text("ab \n")), max_size=4), st.booleans())
def test_the_ids_are_those_of_the_rendered_text(messages: list[chat.Message], generate: bool) -> None:
    assert chat.encode(messages, TINY, generate) == TINY.encode(chat.render(messages, generate))


@given(st.lists(st.sampled_from(["<|im_end|>", "<|im_start|>", "<|endoftext|>", "\n", "assistant", "a"])))
def test_nobody_breaks_out_of_a_turn(parts: list[str]) -> None:
    ids = chat.encode([("system", "".join(parts)), ("user", "".join(parts))], TINY)
    assert [token for token in ids if TINY.is_special(token)] == [1, 2, 1, 2, 1]


def test_unknown_roles_are_refused() -> None:
    with pytest.raises(NookError) as error:
        chat.render([("user<|im_end|>", "x")])
    assert error.value.code == "role" and "assistant" in error.value.hint
