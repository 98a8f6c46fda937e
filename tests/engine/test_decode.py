"""Decoding with a model that says what it is told: the cache, stop strings, whole characters, Stop at any point."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from engine.tiny import Pages, Script, run, tokenizer
from hypothesis import given, settings
from hypothesis import strategies as st
from inglenook import clock
from inglenook.elastic.cache import Cache
from inglenook.elastic.decode import CHUNK, Generation, generate
from inglenook.elastic.sample import Sampler
from inglenook.errors import Cancelled, NookError
from inglenook.flow import Effect, Forward
from inglenook.wire.messages import Token

TINY = tokenizer()
END = 2


class Model:
    """A model's pages, and who knows what they hold."""

    def __init__(self, pages: int = 32) -> None:
        self.pages, self.cache = Pages(), Cache(pages)

    def holding(self, text: str) -> Model:
        """The same after an answer that held `text` and wrote nothing that counts."""
        write("", text, model=self)
        return self


def write(
    answer: str, prompt: str = "why", *, end: bool = True, model: Model | None = None, **options: Any
) -> tuple[list[str], Generation, Script]:
    """What comes out of a model that answers `answer`: the pieces, the result and the model."""
    model = model or Model()
    asked = TINY.encode(prompt, special=False)
    said = TINY.encode(answer, special=False) + [END] * end
    script = Script(asked, said, model.pages)
    options = {"max_tokens": 1000, "sampler": Sampler(guard=0), **options}
    events, made = run(generate(asked, TINY, cache=model.cache, **options), script.answer)
    assert model.cache.free == model.cache.pages
    assert all(isinstance(event, Token) for event in events)
    return [event.text for event in events], made, script


def test_the_answer_comes_out_and_ends() -> None:
    pieces, made, script = write("the abc")
    assert pieces == ["t", "he", " a", "bc"]
    assert made.text == "the abc" and made.stop == "end" and made.ids == TINY.encode("the abc")
    assert made.prompt_tokens == made.prefilled == 3
    assert script.pages.read([0], 3 + len(made.ids), 0) == TINY.encode("why") + made.ids


def test_times_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    now, answer = [0.0], Script.answer

    def slow(self: Script, effect: Forward) -> Any:
        now[0] += 1.0  # each pass takes a second by this clock; a browser's own is too coarse
        return answer(self, effect)

    monkeypatch.setattr(Script, "answer", slow)
    monkeypatch.setattr(clock, "now", lambda: now[0])
    _, made, _ = write("abc abc")
    assert (made.prefill_ms, made.first_ms, made.decode_ms) == (1000, 1000, 1000 * len(made.ids))


def test_long_prompts_go_in_pieces() -> None:
    prompt = "xyz" * 60
    _, _, script = write("a", prompt)
    sizes = [len(asked.tokens) for asked in script.asked]
    assert sizes == [CHUNK, CHUNK, 180 - 2 * CHUNK, 1]
    assert [asked.each for asked in script.asked] == [0, 0, 1, 1]
    assert [len(asked.pages) for asked in script.asked] == [1, 2, 3, 3]


def test_a_ticket_says_how_large_pieces_are_and_hears_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    turn = SimpleNamespace(left=-1, written=0, piece=lambda: 32)
    told, answer = [], Script.answer

    def noting(self: Script, effect: Forward) -> Any:
        told.append((turn.left, turn.written))
        return answer(self, effect)

    monkeypatch.setattr(Script, "answer", noting)
    _, _, script = write("xyz", "xyz" * 30, turn=turn, level=2)
    assert [len(asked.tokens) for asked in script.asked] == [32, 32, 26, 1, 1, 1]
    assert told == [(58, 0), (26, 0), (0, 0), (0, 1), (0, 2), (0, 3)]
    assert {asked.level for asked in script.asked} == {2} and all(asked.turn is turn for asked in script.asked)


def test_what_the_cache_holds_is_not_computed_again() -> None:
    model = Model().holding("xyz" * 50 + "old")
    _, made, script = write("a", "xyz" * 50 + "new", model=model)
    first = script.asked[0]
    assert (first.tokens, first.at, made.prefilled) == (TINY.encode("new"), 150, 3)


def test_the_same_prompt_again_runs_one_token() -> None:
    _, made, script = write("a", "same", model=Model().holding("same"))
    assert (script.asked[0].tokens, script.asked[0].at, made.prefilled) == (TINY.encode("e"), 3, 1)


def test_the_same_prompt_at_the_same_time_runs_one_token_too() -> None:
    model, asked, found = Model(), TINY.encode("same" * 20, special=False), []

    def flow(said: str) -> tuple[Any, Script]:
        script = Script(asked, [*TINY.encode(said, special=False), END], model.pages)
        return generate(asked, TINY, cache=model.cache, max_tokens=9, sampler=Sampler(guard=0)), script

    one, first = flow("the abc")

    def meanwhile(effect: Effect) -> Any:
        if len(effect.tokens) == 1 and not found:  # it is writing
            two, second = flow("xyz")
            found.append((run(two, second.answer)[1], second.asked[0].tokens))
        return first.answer(effect)

    _, made = run(one, meanwhile)
    assert [(other.text, other.prefilled, tokens) for other, tokens in found] == [("xyz", 1, asked[-1:])]
    assert made.text == "the abc" and made.prefilled == len(asked) and model.cache.free == model.cache.pages


def test_another_level_begins_anew() -> None:
    _, made, _ = write("a", "same", model=Model().holding("same"), level=1)
    assert made.prefilled == 4


@given(st.text("ab", min_size=1, max_size=12), st.text("ab", min_size=1, max_size=12))
def test_any_cache_gives_the_same_answer(prompt: str, held: str) -> None:
    pieces, _, _ = write("the low", prompt, model=Model().holding(held))
    assert "".join(pieces) == "the low"


def test_two_answers_at_once_do_not_meet() -> None:
    """Their passes alternate; what they have in common is read by both."""
    model = Model(5)
    whole = "xyz" * 30
    write("", whole, model=model)
    flows = []
    for answer in ("the low", "abcabc"):
        script = Script(TINY.encode(whole + answer[:1]), [*TINY.encode(answer), END], model.pages)
        prompt = TINY.encode(whole + answer[:1])
        flow = generate(prompt, TINY, cache=model.cache, max_tokens=99, sampler=Sampler())
        flows.append((flow, script, [next(flow)]))
    texts = ["", ""]
    while any(items for _, _, items in flows):
        for i, (flow, script, items) in enumerate(flows):
            if not items:
                continue
            item = items.pop()
            texts[i] += item.text if isinstance(item, Token) else ""
            try:
                items.append(flow.send(script.answer(item) if isinstance(item, Effect) else None))
            except StopIteration:
                pass
    assert texts == ["the low", "abcabc"]


def test_a_full_memory_is_an_error_and_the_other_answer_goes_on() -> None:
    model = Model(2)
    flow = generate(TINY.encode("xyz" * 30), TINY, cache=model.cache, max_tokens=9, sampler=Sampler())
    script = Script(TINY.encode("xyz" * 30), [*TINY.encode("abc"), END], model.pages)
    item = script.answer(next(flow))
    item = flow.send(item)
    with pytest.raises(NookError) as error:
        write("a", "other", model=model)
    assert error.value.code == "memory" and error.value.hint
    text = ""
    with pytest.raises(StopIteration):
        while True:
            text += item.text if isinstance(item, Token) else ""
            item = flow.send(script.answer(item) if isinstance(item, Effect) else None)
    assert text == "abc" and write("a", "other", model=model)[1].text == "a"


def test_a_model_that_is_loaded_anew_ends_what_was_written_with_the_old_one() -> None:
    model = Model()
    flow = generate(TINY.encode("why"), TINY, cache=model.cache, max_tokens=9, sampler=Sampler())
    first = Script(TINY.encode("why"), TINY.encode("abc"), model.pages).answer(next(flow))
    model.cache.forget()
    with pytest.raises(NookError) as error:
        flow.send(first)
        next(flow)
    assert error.value.code == "worker-died" and error.value.hint


@pytest.mark.parametrize(("limit", "text"), [(0, ""), (1, "t"), (2, "the"), (3, "the a")])
def test_length(limit: int, text: str) -> None:
    pieces, made, script = write("the abc and more", max_tokens=limit)
    assert "".join(pieces) == made.text == text and made.stop == "length" and len(made.ids) == limit
    assert len(script.asked) == limit  # the last token is never run


def test_the_context_is_a_limit_too() -> None:
    _, made, script = write("abcabcabcabc", "why", context=6)
    assert made.stop == "length" and script.asked[-1].at == 5
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
    model = Model().holding("xyz" * 10 + "else")
    script = Script(TINY.encode(prompt), [*TINY.encode(answer), END], model.pages)
    flow = generate(TINY.encode(prompt), TINY, cache=model.cache, max_tokens=9, sampler=Sampler())
    item = next(flow)
    for _ in range(at):
        item = flow.send(script.answer(item) if isinstance(item, Effect) else None)
    if error is GeneratorExit:
        flow.close()
    else:
        with pytest.raises(error if isinstance(error, type) else type(error)):
            flow.throw(error)
    assert model.cache.free == model.cache.pages
    for text in ("xyz" * 10 + "else", prompt, prompt + "the"):
        pieces, _, _ = write("abc", text, model=model)
        assert "".join(pieces) == "abc"
