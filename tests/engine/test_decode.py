"""Decoding with a model that says what it is told: the cache, stop strings, whole characters, Stop at any point."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from engine.tiny import Script, run, tokenizer
from hypothesis import given, settings
from hypothesis import strategies as st
from inglenook.elastic import decode
from inglenook.elastic.decode import CHUNK, Generation, generate
from inglenook.elastic.sample import Sampler
from inglenook.errors import Cancelled, NookError
from inglenook.flow import Candidates, Forward
from inglenook.wire.messages import Token

TINY = tokenizer()
END = 2


def write(
    answer: str, prompt: str = "why", *, end: bool = True, cached: list[int] | None = None, **options: Any
) -> tuple[list[str], Generation, Script]:
    """What comes out of a model that answers `answer`: the pieces, the result and the model."""
    asked = TINY.encode(prompt, special=False)
    said = TINY.encode(answer, special=False) + [END] * end
    script = Script(asked, said, None if cached is None else list(cached))
    options = {"max_tokens": 1000, "sampler": Sampler(guard=0), **options}
    events, made = run(generate(asked, TINY, cached=cached, **options), script.answer)
    assert all(isinstance(event, Token) for event in events)
    return [event.text for event in events], made, script


def test_the_answer_comes_out_and_ends() -> None:
    pieces, made, script = write("the abc")
    assert pieces == ["t", "he", " a", "bc"]
    assert made.text == "the abc" and made.stop == "end" and made.ids == TINY.encode("the abc")
    assert made.prompt_tokens == made.prefilled == 3
    assert made.cached == script.held == TINY.encode("why") + made.ids


def test_times_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, answer = [0.0], Script.answer

    def slow(self: Script, effect: Forward) -> Candidates:
        clock[0] += 1.0  # each pass takes a second by this clock; a browser's own is too coarse
        return answer(self, effect)

    monkeypatch.setattr(Script, "answer", slow)
    monkeypatch.setattr(decode, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    _, made, _ = write("abc abc")
    assert (made.prefill_ms, made.first_ms, made.decode_ms) == (1000, 1000, 1000 * len(made.ids))


def test_long_prompts_go_in_pieces() -> None:
    prompt = "xyz" * 60
    _, _, script = write("a", prompt)
    sizes = [len(asked.tokens) for asked in script.asked]
    assert sizes == [CHUNK, CHUNK, 180 - 2 * CHUNK, 1]
    assert [asked.top for asked in script.asked] == [1, 1, 64, 64]


def test_what_the_cache_holds_is_not_computed_again() -> None:
    cached = TINY.encode("xyz" * 50 + "old", special=False)
    _, made, script = write("a", "xyz" * 50 + "new", cached=cached)
    assert script.asked[0] == Forward(TINY.encode("new"), 150) and made.prefilled == 3


def test_the_same_prompt_again_runs_one_token() -> None:
    _, made, script = write("a", "same", cached=TINY.encode("same"))
    assert script.asked[0] == Forward(TINY.encode("e"), 3) and made.prefilled == 1


@given(st.text("ab", min_size=1, max_size=12), st.text("ab", max_size=12))
def test_any_cache_gives_the_same_answer(prompt: str, held: str) -> None:
    pieces, made, script = write("the low", prompt, cached=TINY.encode(held))
    assert "".join(pieces) == "the low" and made.cached == script.held


@pytest.mark.parametrize(("limit", "text"), [(0, ""), (1, "t"), (2, "the"), (3, "the a")])
def test_length(limit: int, text: str) -> None:
    pieces, made, script = write("the abc and more", max_tokens=limit)
    assert "".join(pieces) == made.text == text and made.stop == "length" and len(made.ids) == limit
    assert len(script.asked) == limit  # the last token is never run


def test_the_context_is_a_limit_too() -> None:
    _, made, script = write("abcabcabcabc", "why", context=6)
    assert made.stop == "length" and len(script.held) == 6
    with pytest.raises(NookError) as error:
        write("a", "whyyyy", context=6)
    assert error.value.code == "context" and error.value.hint


def test_an_empty_prompt_is_an_error() -> None:
    with pytest.raises(NookError):
        write("a", "")


@pytest.mark.parametrize("stop", ["STOP", "S", "TOP", "P!"])
def test_stop_strings_across_tokens(stop: str) -> None:
    pieces, made, _ = write("abc the STOP! low", stop=(stop,))
    assert "".join(pieces) == made.text == "abc the STOP! low".split(stop, maxsplit=1)[0] and made.stop == "stop"


def test_the_beginning_of_a_stop_string_comes_out_in_the_end() -> None:
    pieces, made, _ = write("abc ST", stop=("STOP",))
    assert "".join(pieces) == made.text == "abc ST" and made.stop == "end"


def test_the_stop_string_that_is_complete_first_counts() -> None:
    assert write("a B C", stop=("C", "", " B C", "B"))[1].text == "a "


@settings(max_examples=300)
@given(st.text("abS", max_size=20), st.lists(st.text("abS", max_size=4), max_size=3))
def test_stop_strings_as_if_all_text_were_there(answer: str, stops: list[str]) -> None:
    pieces, made, _ = write(answer, stop=tuple(stops))
    ends = [(answer.find(stop) + len(stop), answer.find(stop)) for stop in stops if stop and stop in answer]
    _, cut = min(ends, default=(0, len(answer)))  # the one that is complete first
    assert "".join(pieces) == made.text == answer[:cut]
    assert made.stop == ("stop" if ends else "end")
    assert all(pieces)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_characters_come_out_whole(answer: str) -> None:
    pieces, made, _ = write(answer)
    assert "".join(pieces) == made.text == answer
    assert "\ufffd" in answer or "\ufffd" not in made.text


def test_a_character_cut_off_by_the_limit_is_left_out() -> None:
    assert len(TINY.encode("🙂")) == 4
    assert write("a🙂", max_tokens=3)[1].text == "a"


@pytest.mark.parametrize("error", [Cancelled, NookError("memory", "full"), GeneratorExit])
@pytest.mark.parametrize("at", range(8))
def test_stopped_anywhere_the_cache_is_told_truly(at: int, error: Any) -> None:
    """Throw at the n-th yield, effect or event; the next answer, with the same cache, is right."""
    prompt, answer = "xyz" * 50, "the low"
    cached = TINY.encode("xyz" * 10 + "else")
    script = Script(TINY.encode(prompt), [*TINY.encode(answer), END], list(cached))
    flow = generate(TINY.encode(prompt), TINY, max_tokens=9, sampler=Sampler(), cached=cached)
    item = next(flow)
    for _ in range(at):
        item = flow.send(script.answer(item) if isinstance(item, Forward) else None)
    if error is GeneratorExit:
        flow.close()
    else:
        with pytest.raises(error if isinstance(error, type) else type(error)):
            flow.throw(error)
    assert script.held[: len(cached)] == cached  # the kernel holds at least this
    pieces, made, _ = write("abc", prompt, cached=cached)
    assert "".join(pieces) == "abc" and made.cached is cached
