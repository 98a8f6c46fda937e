"""Drafts: what is written is what would be written without them, and they are made only where they pay."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import pytest
from engine.tiny import Pages, run, stacked, tokenizer
from hypothesis import given, settings
from hypothesis import strategies as st
from inglenook import clock
from inglenook.elastic.cache import Cache
from inglenook.elastic.decode import Generation, generate
from inglenook.elastic.sample import Sampler
from inglenook.elastic.speculate import GRAMS, MOST, Lookup, Plan, Speculator
from inglenook.flow import Candidates, Copy, Forward

TINY = tokenizer()
LETTERS = TINY.encode("abcdefgh xyz", special=False)


class Babbler:
    """A model whose candidates depend on the last few tokens, so that it repeats itself; a level that drafts is right
    three times of four. Passes of the whole model must find what the whole model wrote, drafts written over."""

    def __init__(self, memory: int, seconds: tuple[float, float, float] = (1.0, 0.1, 0.3), ends: bool = False) -> None:
        self.memory, self.pages, self.passes = memory, Pages(), [0, 0]
        self._tokens = [*LETTERS, 2] if ends else LETTERS
        self.now, self._seconds = 0.0, seconds

    def answer(self, effect: Forward | Copy) -> Candidates | None:
        if isinstance(effect, Copy):
            return self.pages.copy(effect)
        one, more, draft = self._seconds
        self.passes[effect.level] += 1
        self.now += draft if effect.level else one + more * (len(effect.tokens) - 1)
        held = self.pages.write(effect) if not effect.level else self._peek(effect)
        return stacked([self._row(held[: len(held) - effect.each + 1 + i], effect) for i in range(effect.each)])

    def _peek(self, effect: Forward) -> list[int]:
        """A draft: it reads what the whole model wrote, and what it leaves is not the whole model's."""
        held = [self.pages.held.get(page, []) for page in effect.pages]
        before = [token for page in held for token, _ in page][: effect.at]
        self.pages.held.setdefault(effect.pages[effect.at // 64], [])[effect.at % 64 :] = [(effect.tokens[0], 1)]
        return before + effect.tokens

    def _row(self, held: list[int], effect: Forward) -> Candidates:
        seed = zlib.crc32(bytes(token % 256 for token in held[-self.memory :]))
        rng = np.random.default_rng(seed)
        ids = np.array(rng.permutation(self._tokens)[: effect.top], np.int32)
        if effect.level and seed % 4 == 0:
            ids = np.roll(ids, 1)
        return Candidates(ids, np.linspace(3, 0, len(ids), dtype=np.float32), 4.0)


def write(
    prompt: list[int], model: Babbler, monkeypatch: pytest.MonkeyPatch | None, speculator: Speculator | None, **how: Any
) -> Generation:
    if monkeypatch:
        monkeypatch.setattr(clock, "now", lambda: model.now)
    cache = Cache(8)
    options: dict[str, Any] = {"max_tokens": 60, "sampler": Sampler(guard=0), **how}
    _, made = run(generate(prompt, TINY, cache=cache, speculator=speculator, **options), model.answer)
    assert cache.free == 8
    result: Generation = made
    return result


def eager(level: int = 0) -> Speculator:
    """One that believes drafts to be nearly free."""
    made = Speculator(level)
    made.passed(1, 1.0)
    made.passed(5, 1.004)
    made.drafted(1e-3)
    return made


@settings(max_examples=150, deadline=None)
@given(
    prompt=st.lists(st.sampled_from(LETTERS), min_size=1, max_size=150), memory=st.integers(1, 3),
    drawn=st.tuples(st.sampled_from([0.0, 0.3, 1.0]), st.just(0.9), st.integers(0, 9), st.sampled_from([0, 3, 8])),
    most=st.integers(1, 90), level=st.integers(0, 1),
)  # fmt: skip
def test_the_answer_is_the_same_token_for_token(
    prompt: list[int], memory: int, drawn: tuple[float, float, int, int], most: int, level: int
) -> None:
    results = []
    for speculator in (None, eager(level)):
        sampler = Sampler(*drawn)
        made = write(prompt, Babbler(memory, ends=True), None, speculator, sampler=sampler, max_tokens=most)
        results.append((made.ids, made.text, made.stop))
    assert results[0] == results[1]


def test_repetition_takes_fewer_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, drafting = Babbler(1), Babbler(1)
    without = write(LETTERS, plain, monkeypatch, None)
    made = write(LETTERS, drafting, monkeypatch, Speculator())
    assert made.ids == without.ids and len(made.ids) == 60
    assert drafting.passes[0] < plain.passes[0] / 2 and drafting.now < plain.now / 2


def test_a_level_drafts_where_nothing_repeats(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, drafting = Babbler(6), Babbler(6)
    without = write(LETTERS, plain, monkeypatch, None)
    made = write(LETTERS, drafting, monkeypatch, Speculator(1))
    assert made.ids == without.ids
    assert drafting.passes[1] > 10 and drafting.now < plain.now * 0.9


def test_what_costs_more_than_it_brings_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checking is as dear as writing, and the level that drafts is as dear as the whole."""
    plain, drafting = Babbler(6, (1.0, 1.0, 1.0)), Babbler(6, (1.0, 1.0, 1.0))
    write(LETTERS, plain, monkeypatch, None, max_tokens=200)
    speculator = Speculator(1)
    write(LETTERS, drafting, monkeypatch, speculator, max_tokens=200)
    assert drafting.now <= plain.now * 1.05


def test_what_is_often_wrong_is_left_and_tried_again_later() -> None:
    speculator, lookup = eager(), Lookup()
    speculator._more = 0.3
    lookup.follow([1, 2, 3, 4, 5, 6, 1, 2, 3])
    plan = speculator.plan(lookup, 9)
    assert plan.tokens == [4, 5, 6][: plan.count] and plan.count
    for _ in range(8):
        for kind in GRAMS:
            speculator.learn(Plan(3, [4, 5, 6], 0, kind), 0)
    assert not speculator.plan(lookup, 9).count
    assert any(speculator.plan(lookup, 9).count for _ in range(300))


def test_drafts_fit_what_is_left() -> None:
    speculator, lookup = eager(), Lookup()
    lookup.follow(list(range(20)) * 2)
    assert speculator.plan(lookup, 99).tokens == list(range(MOST))
    assert speculator.plan(lookup, 2).tokens == [0, 1]
    assert not speculator.plan(lookup, 0).count
    assert not Speculator().plan(lookup, 9).count  # nothing was measured yet


@given(st.lists(st.integers(0, 3), max_size=60), st.integers(0, 60))
def test_what_followed_before_is_found(text: list[int], cut: int) -> None:
    """Against looking at every place of the text, the last first."""
    lookup = Lookup()
    lookup.follow(text[:cut])
    lookup.follow(text)
    expected = []
    for size in GRAMS:
        ends = [at for at in range(size, len(text)) if text[at - size : at] == text[len(text) - size :]]
        if ends:
            expected.append((size, (text[ends[-1] :] * MOST)[:MOST]))
    assert list(lookup.drafts()) == expected
