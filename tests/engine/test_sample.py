"""Sampling: greedy at 0, replay by seed, the nucleus, and the guard against loops."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from inglenook.elastic.sample import GUARD, Sampler
from inglenook.flow import Candidates


def candidates(*logits: float) -> Candidates:
    return Candidates(np.arange(10, 10 + len(logits), dtype=np.int32), np.array(logits, np.float32))


def test_zero_takes_the_best() -> None:
    sampler = Sampler()
    assert [sampler.pick(candidates(3, 3, 1)) for _ in range(20)] == [10] * 20


def test_a_seed_replays_and_another_does_not() -> None:
    flat = candidates(*[0.0] * 32)
    first, again, other = (Sampler(1.0, 1.0, seed) for seed in (7, 7, 8))
    drawn = [[sampler.pick(flat) for _ in range(40)] for sampler in (first, again, other)]
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_draws_follow_the_softmax(temperature: float) -> None:
    logits = np.array([2.0, 1.0, 0.0, -1.0])
    sampler = Sampler(temperature, 1.0, 3)
    drawn = Counter(sampler.pick(candidates(*logits)) for _ in range(4000))
    odds = np.exp(logits / temperature)
    odds /= odds.sum()
    assert [drawn[10 + i] / 4000 for i in range(4)] == pytest.approx(odds, abs=0.03)


@pytest.mark.parametrize(("top_p", "kept"), [(0.0, 1), (0.6, 2), (0.75, 3), (1.0, 4)])
def test_the_nucleus_is_the_fewest_that_hold_the_mass(top_p: float, kept: int) -> None:
    logits = np.log([0.5, 0.2, 0.2, 0.1])  # 0.5 + 0.2 holds 0.6; 0.75 takes one more
    sampler = Sampler(1.0, top_p, 1)
    assert {sampler.pick(candidates(*logits)) for _ in range(600)} == set(range(10, 10 + kept))


@given(st.lists(st.floats(-1e4, 1e4, width=32), min_size=1, max_size=64), st.floats(0, 5), st.floats(0, 1))
def test_any_candidates_yield_one_of_them(logits: list[float], temperature: float, top_p: float) -> None:
    offered = candidates(*sorted(logits, reverse=True))
    assert Sampler(temperature, top_p).pick(offered) in offered.ids


def test_the_guard_ends_a_loop() -> None:
    """A model that always wants to go round in circles of three gets out when it has repeated `GUARD` tokens."""
    sampler, written = Sampler(), list[int]()
    for _ in range(60):
        ids = np.array([len(written) % 3, *range(50, 80)], np.int32)
        written.append(sampler.pick(Candidates(ids, np.linspace(1, 0, len(ids), dtype=np.float32)), written))
    assert written[: 2 + GUARD] == [0, 1, 2, 0, 1, 2, 0, 1, 2, 0] and written[2 + GUARD] == 50
    runs = [tuple(written[at : at + GUARD]) for at in range(len(written) - GUARD + 1)]
    assert len(runs) == len(set(runs))


@given(st.lists(st.integers(0, 2), max_size=60), st.integers(1, 6))
def test_no_run_is_completed_twice_while_there_is_a_choice(written: list[int], guard: int) -> None:
    offered = Candidates(np.arange(4, dtype=np.int32), np.array([4, 3, 2, 1], np.float32))
    token = Sampler(guard=guard).pick(offered, written)
    run = [*written, token][-guard:]
    if len(run) == guard:
        assert all(written[at : at + guard] != run for at in range(len(written) - guard + 1))


def test_short_runs_may_repeat_and_the_guard_can_be_off() -> None:
    assert Sampler().pick(candidates(1, 0), [10, 11, 10, 11, 10, 11]) == 10
    assert Sampler(guard=0).pick(candidates(1, 0), [10] * 50) == 10


def test_a_run_that_cannot_be_avoided_is_written() -> None:
    assert Sampler(guard=2).pick(candidates(1.0), [10, 10, 10]) == 10
