"""What is known of a service: how long iterations take, how long answers are, how fast requests come."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from inglenook.fleet.iteration import Piece
from inglenook.fleet.lengths import Lengths, edges
from inglenook.fleet.profile import Profile, Work
from inglenook.fleet.service import Rate

sizes = st.lists(st.integers(1, 3000), min_size=30, max_size=60)


def test_work_counts_what_pieces_compute():
    pieces = [Piece("a", (1, 2, 3), 4, (0,), False), Piece("b", (9,), 6, (1,), True)]
    pairs = sum(position + 1 for position in (4, 5, 6))
    assert Work.of(pieces) == Work(decodes=1, prefill=3, context=7, attention=pairs, prompts=1)
    assert Work.of(pieces, True) == Work.of(pieces)._replace(changed=1)


@given(st.integers(1, 300), st.integers(1, 40), st.integers(2, 50))
def test_alone_is_the_sum_of_its_iterations(prompt, output, chunk):
    profile = Profile(0.01, 0.002, 0.0003, 1e-5, 1e-6, 0.004, 0.1)
    spent = 0.0
    for start in range(0, prompt, chunk):
        count = min(chunk, prompt - start)
        spent += profile.seconds(Work(0, count, 0, sum(range(start + 1, start + count + 1)), 1))
    spent += sum(profile.seconds(Work(1, 0, prompt + n)) for n in range(1, output))
    assert profile.alone(prompt, output, chunk) == pytest.approx(spent)


def test_a_roofline_reads_weights_once_and_computes_each_token():
    profile = Profile.roofline(7e9, 2 * 32 * 4096 * 2, bandwidth=2e12, flops=312e12, efficiency=0.5, overhead=0.0)
    assert profile.base == pytest.approx(7e-3)  # 14 GB at 2 TB/s
    assert profile.prefill == pytest.approx(14e9 / 156e12)
    assert profile.times(2).seconds(Work(1)) == pytest.approx(2 * profile.seconds(Work(1)))


@given(sizes)
def test_a_histogram_stays_within_its_classes(lengths):
    """Against the plain list, by the width of a class and the little that the first guess weighs."""
    known = Lengths(64, window=10**9).extend(lengths * 20)
    assert known.mean == pytest.approx(np.mean(lengths), rel=0.05, abs=2)
    assert known.inverse(0) == pytest.approx(np.mean(1 / np.array(lengths)), rel=0.15, abs=0.003)
    above = [length for length in lengths if length > 100]
    if len(above) > 5:
        assert known.beyond(100) == pytest.approx(np.mean(above), rel=0.15)
    half = known.quantile(0.5)
    assert np.mean(np.array(lengths) <= half) > 0.44
    assert np.mean(np.array(lengths) < half * 0.85) < 0.56


@given(sizes, st.integers(0, 5000))
def test_what_is_longer_than_something_is_longer(lengths, least):
    known = Lengths().extend(lengths)
    some, shares = known.after(least)
    assert shares.sum() == pytest.approx(1) and (shares > 0).all()
    assert some.min() > least
    assert known.beyond(least) > least
    assert 0 < known.inverse(least) < 1 / least if least else True


def test_a_histogram_forgets():
    known = Lengths(window=100).extend([10] * 1000).extend([200] * 300)
    assert known.mean > 180
    copied = known.copy().extend([10] * 1000)
    assert copied.mean < 20 < known.mean
    assert Lengths().extend([1 << 30]).quantile(1.0) == edges()[-1]


def test_weights_of_a_long_life_stay_numbers():
    known = Lengths(window=2).extend([3, 5] * 500)
    assert 3 < known.mean < 5.1


def test_a_rate_follows_the_arrivals_and_falls_with_silence():
    rate = Rate(memory=20)
    for n in range(1000):
        rate.add(n / 4)
    assert rate.at(250) == pytest.approx(4, rel=0.1)
    assert rate.copy().at(270) == pytest.approx(4 / np.e, rel=0.1)
