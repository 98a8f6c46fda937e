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


@pytest.mark.parametrize(("many", "text"), [(1, "a" * 3_000_000), (100_000, "a")])
@pytest.mark.parametrize("truncate", [False, True])
def test_what_is_far_too_long_is_refused_before_it_is_cut(
    many: int, text: str, truncate: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TINY, "encode", None)
    with pytest.raises(NookError, match=f"{many * len(text):,} characters in {many:,} turns") as error:
        chat.fitted([("user", text)] * many, TINY, 2048, 50, truncate)
    assert error.value.code == "context" and error.value.hint


def test_what_is_a_little_too_long_comes_whole_or_is_shortened() -> None:
    turns = [("user", f"{n} ab") for n in range(60)]
    all_of_it = chat.encode(turns, TINY)
    context = len(all_of_it) - 20
    assert chat.fitted(turns, TINY, context, 50, False) == (all_of_it, len(all_of_it))
    assert chat.fitted(turns, TINY, 2 * len(all_of_it), 50, True) == (all_of_it, len(all_of_it))
    for answer, room in ((50, context - 50), (10 * context, context - context // 2)):
        ids, whole = chat.fitted(turns, TINY, context, answer, True)
        assert whole == len(all_of_it) and len(ids) <= room and TINY.decode(ids).count("user") < 60


def test_as_many_turns_as_fit_stay() -> None:
    """One more would be too many; and a thousand turns are not tokenised a thousand times."""
    turns = [("user" if n % 2 else "assistant", f"turn {n}") for n in range(1000)]
    asked = list[int]()

    class Counted:
        def __getattr__(self, name: str) -> object:
            return getattr(TINY, name)

        def encode(self, text: str, special: bool = True) -> list[int]:
            asked.append(1)
            return TINY.encode(text, special)

    ids = chat.shortened(turns, 400, Counted())  # type: ignore[arg-type]
    kept = TINY.decode(ids).count("turn")
    assert len(ids) <= 400 < len(chat.encode(turns[-kept - 1 :], TINY)) and len(asked) < 20 * 2 * len(turns)
    assert ids == chat.encode(turns[-kept:], TINY)
