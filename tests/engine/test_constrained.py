"""Writing under a grammar, with models that know nothing of it; calls held aside; log-probabilities."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from engine.test_decode import TINY, Model, write
from engine.tiny import run
from hypothesis import given, settings
from hypothesis import strategies as st
from inglenook.elastic.decode import CHUNK, Generation, generate
from inglenook.elastic.grammar import Grammar, Mask
from inglenook.elastic.sample import Sampler
from inglenook.flow import Candidates, Copy, Effect, Forward
from inglenook.wire.messages import Logprob, Token

PERSON = Grammar.of_schema(
    {
        "type": "object",
        "properties": {
            "name": {"type": "string", "maxLength": 4},
            "age": {"type": "integer", "minimum": 0, "maximum": 130},
            "kids": {"type": "array", "items": {"$ref": "#"}, "maxItems": 2},
        },
        "required": ["name", "age"],
    }
)
NAMES = Grammar.of_regex("(?:Zoë|Ötzi|🙂)(?:, (?:Zoë|Ötzi|🙂))*")


class Wild:
    """A model that likes tokens at random, the same ones after the same number of tokens; it keeps to `allow`."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.asked: list[Forward] = []
        self.logits: list[np.ndarray] = []

    def answer(self, effect: Effect) -> Any:
        if isinstance(effect, Copy):
            return None
        assert isinstance(effect, Forward)
        self.asked.append(effect)
        if not effect.each:
            return Candidates(np.zeros(0, np.int32), np.zeros(0, np.float32))
        logits = np.random.default_rng([self.seed, effect.at]).normal(0, 3, len(TINY))
        self.logits.append(logits)
        allowed = np.ones(len(TINY), bool)
        if effect.allow is not None:
            allowed = np.unpackbits(np.frombuffer(effect.allow, np.uint8), bitorder="little")[: len(TINY)] != 0
        order = np.argsort(-np.where(allowed, logits, -np.inf))[: min(effect.top, int(allowed.sum()))]
        total = float(np.log(np.exp(logits).sum()))
        return Candidates(order.astype(np.int32), logits[order].astype(np.float32), total)


def wild(seed: int, grammar: Grammar | None = None, **options: Any) -> tuple[list[Token], Generation, Wild]:
    """What a wild model writes under a grammar."""
    model, cache = Wild(seed), Model().cache
    mask = Mask(grammar, TINY) if grammar else None
    options = {"max_tokens": 120, "sampler": Sampler(options.pop("temperature", 0.0), seed=seed), **options}
    events, made = run(generate(TINY.encode("why"), TINY, cache=cache, mask=mask, **options), model.answer)
    return events, made, model


def begins(grammar: Grammar, text: str) -> bool:
    """Whether some text of the grammar begins so."""
    automaton = grammar.automaton()
    state = automaton.start
    for byte in text.encode():
        state = automaton.step(state, byte)
    return bool(state)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 999), st.sampled_from([PERSON, NAMES]), st.sampled_from([0.0, 1.0]), st.sampled_from([1, 7, 120]))
def test_whatever_the_model_likes(seed: int, grammar: Grammar, temperature: float, most: int) -> None:
    events, made, _ = wild(seed, grammar, temperature=temperature, max_tokens=most)
    assert "".join(event.text for event in events) == made.text and "\ufffd" not in made.text
    if made.stop == "end":
        assert grammar.matches(made.text)
    else:
        assert made.stop == "length" and len(made.ids) == most and begins(grammar, made.text)


def stubborn(text: str, mask: Mask | None, **options: Any) -> Generation:
    """What is written if the model wants exactly this text, and else an x."""
    wanted, prompt = TINY.encode(text, special=False), TINY.encode("why")
    x = TINY.encode("x", special=False)[0]

    def answer(effect: Effect) -> Any:
        if isinstance(effect, Copy) or not effect.each:
            return None
        at = effect.at + len(effect.tokens) - len(prompt)
        ids = [wanted[at] if at < len(wanted) else 2, x, *TINY.encode("2", special=False)]
        if effect.allow:
            ids = [token for token in ids if effect.allow[token // 8] >> token % 8 & 1]
        return Candidates(np.array(ids, np.int32), np.linspace(9, 0, len(ids), dtype=np.float32), 9.5)

    options = {"max_tokens": len(wanted) + 5, "sampler": Sampler(), **options}
    _, made = run(generate(prompt, TINY, cache=Model().cache, mask=mask, **options), answer)
    result: Generation = made
    return result


SEVENS = "[" + ",".join(["7"] * 60) + "]"


@pytest.mark.parametrize("text", [SEVENS, '{"rows":[' + ",".join(['{"a":0,"b":null}'] * 20) + "]}"])
def test_what_a_grammar_repeats_is_meant(text: str) -> None:
    assert stubborn(text, None).text != text  # a loop, for all anybody knows
    made = stubborn(text, Mask(Grammar.of_schema(True), TINY))
    assert made.text == text and made.stop == "end" and len(json.loads(text)) == len(json.loads(made.text))


def test_free_text_beside_a_call_goes_round_no_more_than_other_text() -> None:
    grammar = Grammar.of_regex("(?:.|\\n)*")
    assert stubborn("ab " * 60, Mask(grammar, TINY)).text == "ab " * 60
    free = stubborn("ab " * 60, Mask(grammar, TINY), aside="<call>", free=True)
    assert "abx" in free.text.replace(" ", "") and free.text == stubborn("ab " * 60, None).text
    call = stubborn("<call>" + SEVENS, Mask(grammar, TINY), aside="<call>", free=True)
    assert call.aside == "<call>" + SEVENS


def test_cut_off_in_the_middle_it_says_so() -> None:
    _, made, _ = wild(1, PERSON, max_tokens=5)
    assert made.stop == "length" and made.text.startswith("{")
    with pytest.raises(ValueError):
        json.loads(made.text)


def test_stop_strings_count_under_a_grammar_too() -> None:
    _, made, _ = wild(3, PERSON, stop=(',"age"',))
    assert made.stop == "stop" and made.text.startswith('{"name":"') and "age" not in made.text


def test_the_same_seed_writes_the_same() -> None:
    once, again, other = (wild(seed, PERSON, temperature=1.0)[1].text for seed in (5, 5, 6))
    assert once == again != other


def test_nothing_is_run_once_only_the_end_may_come() -> None:
    _, made, model = wild(2, Grammar.of_regex("abc"))
    assert made.text == "abc" and made.stop == "end" and len(model.asked) == len(made.ids)


def test_only_the_last_piece_of_a_prompt_asks_which_tokens() -> None:
    model, cache, mask = Wild(0), Model().cache, Mask(NAMES, TINY)
    prompt = TINY.encode("xyz" * CHUNK, special=False)
    run(generate(prompt, TINY, cache=cache, max_tokens=2, sampler=Sampler(), mask=mask), model.answer)
    first, *others = [effect.allow for effect in model.asked]
    pieces = -(-len(prompt) // CHUNK)
    assert [allow is None for allow in (first, *others)] == [True] * (pieces - 1) + [False] * 2
    assert others[pieces - 2] == Mask(NAMES, TINY).allow()


@pytest.mark.parametrize("answer", ["<call>abc", "<call>", "<call> STOP"])
def test_what_begins_as_a_call_is_held_aside(answer: str) -> None:
    pieces, made, _ = write(answer, aside="<call>", stop=("STOP",))
    assert pieces == [] and made.text == "" and made.aside == answer and made.stop == "end"


@pytest.mark.parametrize("answer", ["abc", "<cal", "<cab>the", "<", " <call>", ""])
def test_what_does_not_comes_out(answer: str) -> None:
    pieces, made, _ = write(answer, aside="<call>")
    assert "".join(pieces) == made.text == answer and made.aside == ""


def test_a_stop_string_after_what_was_no_call() -> None:
    assert write("<cSTOP", aside="<call>", stop=("STOP",))[1].text == "<c"


def joined(told: list[Logprob]) -> bytes:
    return b"".join(bytes(token.codes) for token in told)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 99), st.booleans(), st.integers(0, 5))
def test_log_probabilities_are_the_models(seed: int, held: bool, top: int) -> None:
    events, made, model = wild(seed, NAMES if held else None, logprobs=top, max_tokens=12)
    told = [token for event in events for token in event.logprobs]
    odds = [logits - np.log(np.exp(logits).sum()) for logits in model.logits]
    written = [token for token in made.ids if not TINY.is_special(token)]
    assert joined(told) == b"".join(map(TINY.piece, written))[: len(joined(told))]
    for token, own, row in zip(made.ids, told, odds) if held else ():
        assert own.logprob == pytest.approx(row[token], abs=1e-4)
        assert len(own.top) <= top and [likely.logprob for likely in own.top] == sorted(
            (likely.logprob for likely in own.top), reverse=True
        )
        assert own.token == TINY.piece(token).decode("utf-8", "replace")
        assert not top or own.top[0].logprob >= own.logprob - 1e-6


def test_pieces_tell_of_the_tokens_whose_text_they_hold() -> None:
    model = Model()
    said = TINY.encode("🙂 the STOP", special=False)
    pages = model.pages

    def answer(effect: Any) -> Any:
        held = pages.write(effect)
        following = said[len(held) - 3] if len(held) - 3 < len(said) else 2
        return Candidates(np.array([following, 7], np.int32), np.array([2, 1], np.float32), 2.5)

    flow = generate(
        TINY.encode("why"), TINY, cache=model.cache, max_tokens=50, sampler=Sampler(), stop=("STOP",), logprobs=1
    )
    events, made = run(flow, answer)
    assert made.text == "🙂 the " and made.stop == "stop"
    assert all(joined(event.logprobs) == event.text.encode() for event in events)
    assert [token.logprob for token in events[0].logprobs] == [-0.5] * 4  # one character of four tokens
    assert [len(token.top) for token in events[0].logprobs] == [1] * 4


def test_without_asking_nothing_is_told() -> None:
    events, _, _ = wild(4, NAMES)
    assert events and all(event.logprobs == [] for event in events)
