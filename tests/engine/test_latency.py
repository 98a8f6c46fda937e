"""The latency model: what a probe measured is found again, and running answers correct it without being fooled."""

from __future__ import annotations

import math
from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from inglenook.elastic.latency import LEAST_SPREAD, Cost, Latency, Run

WHOLE = Cost(2.0, 3.0, 0.002, 12.0, 0.01)
HALF = Cost(2.0, 1.6, 0.002, 7.0, 0.01)
PASSES = [(16, 0), (64, 16), (64, 80), (64, 144), (1, 16), (1, 17), (1, 208), (1, 209)]


def runs(cost: Cost, passes: list[tuple[int, int]], slower: float = 1.0, level: int = 0) -> list[Run]:
    return [Run(tokens, at, slower * cost.run(tokens, at), level) for tokens, at in passes]


def test_the_lines_go_through_what_was_measured() -> None:
    assert astuple(Cost.fit(runs(WHOLE, PASSES))) == pytest.approx(astuple(WHOLE), rel=1e-6)


def test_a_level_takes_what_attention_costs_from_another_by_its_groups() -> None:
    third = Cost(2.0, 1.1, 0.002 / 3, 5.0, 0.01 / 3)
    fitted = Cost.fit(runs(third, PASSES[:2] + PASSES[4:6]), WHOLE, 1 / 3)
    assert astuple(fitted) == pytest.approx(astuple(third), rel=1e-6)


@given(st.lists(st.floats(0.5, 2.0), min_size=len(PASSES), max_size=len(PASSES)))
def test_no_noise_makes_a_cost_negative(noise: list[float]) -> None:
    noisy = [Run(run.tokens, run.at, run.ms * n) for run, n in zip(runs(WHOLE, PASSES), noise, strict=True)]
    fitted = Cost.fit(noisy)
    assert min(astuple(fitted)) >= 0 and fitted.prefill(256) > 0 and fitted.decode(100) > 0


def test_a_prompt_costs_as_much_whichever_piece_it_is_cut_at() -> None:
    parts = sum(WHOLE.prefill(64, at) for at in range(0, 256, 64))
    assert WHOLE.prefill(256) == pytest.approx(parts)


def test_a_slower_device_is_learnt_for_all_levels_and_most_for_the_one_that_answered() -> None:
    latency = Latency([WHOLE, HALF])
    before = latency.prefill(0, 128), latency.prefill(1, 128)
    for _ in range(60):
        latency.learn(0, runs(WHOLE, PASSES, slower=2.0))
    assert latency.prefill(0, 128) == pytest.approx(2 * before[0], rel=0.05)
    assert 1.4 * before[1] < latency.prefill(1, 128) < 2 * before[1]
    assert latency.decode(0, 100) == pytest.approx(2 * WHOLE.decode(100), rel=0.05)


def test_a_frozen_tab_hardly_counts() -> None:
    latency = Latency([WHOLE])
    for _ in range(20):
        latency.learn(0, runs(WHOLE, PASSES))
    latency.learn(0, [Run(64, 0, 60_000.0), Run(1, 64, 60_000.0)])
    assert latency.prefill(0, 128) < 1.05 * WHOLE.prefill(128)
    frozen = runs(WHOLE, PASSES)
    frozen[5] = Run(1, 17, 60_000.0)  # one token of many
    spread = latency.writing.spread
    latency.learn(0, frozen)
    assert latency.writing.spread < spread


@given(st.floats(0.2, 5.0), st.integers(0, 1))
def test_any_steady_change_is_learnt_in_the_end(slower: float, level: int) -> None:
    latency = Latency([WHOLE, HALF])
    for _ in range(200):
        latency.learn(level, runs([WHOLE, HALF][level], PASSES, slower, level))
    assert latency.decode(level, 50) == pytest.approx(slower * [WHOLE, HALF][level].decode(50), rel=0.02)
    assert latency.margins[1] == pytest.approx(math.exp(1.5 * LEAST_SPREAD), rel=0.02)


def test_noise_widens_the_margin_and_quiet_narrows_it() -> None:
    random, latency = np.random.default_rng(3), Latency([WHOLE])
    for _ in range(100):
        latency.learn(0, runs(WHOLE, PASSES, float(np.exp(random.normal(0, 0.2)))))
    noisy = latency.margins[0]
    for _ in range(100):
        latency.learn(0, runs(WHOLE, PASSES))
    assert noisy > 1.15 > latency.margins[0]


def test_what_was_learnt_is_kept_and_another_device_measures_anew() -> None:
    latency = Latency([WHOLE, HALF], "this")
    latency.learn(1, runs(HALF, PASSES, 1.3, 1))
    again = Latency.load(latency.dump(), "this")
    assert again and again.prefill(1, 100) == latency.prefill(1, 100) and again.decode(0, 9) == latency.decode(0, 9)
    assert Latency.load(latency.dump(), "other") is None
    assert Latency.load(latency.dump().replace(b'"version": 2', b'"version": 1'), "this") is None
    for damaged in (b"", b"[]", b"{}", b"\xff", latency.dump()[:-9], latency.dump().replace(b'"piece"', b'"peace"')):
        assert Latency.load(damaged, "this") is None


def test_reading_passages_is_learnt_too_where_it_was_measured() -> None:
    latency = Latency([WHOLE], "this", 0.2)
    assert 20 < latency.squeeze(100) < 22  # with a margin
    for _ in range(60):
        latency.squeezed(100, 40.0)
    assert latency.squeeze(100) == pytest.approx(40 * math.exp(1.5 * LEAST_SPREAD), rel=0.05)
    again = Latency.load(latency.dump(), "this")
    assert again and again.squeeze(70) == latency.squeeze(70) and again.decode(0, 9) == latency.decode(0, 9)
    never = Latency([WHOLE])
    never.squeezed(100, 40.0)
    assert never.squeeze(100) == 0.0


def test_drafts_by_another_level_and_passes_that_check_them_teach_nothing() -> None:
    latency = Latency([WHOLE, HALF])
    before = latency.dump()
    latency.learn(0, [Run(1, 50, 500.0, 1), Run(5, 50, 500.0, 0)])
    assert latency.dump() == before
