"""Sizes of sub-models: each fits its ratio and lies within the one before, whatever the units are worth."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="torch is not there: `build.py test train` installs it")

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from inglenook.elastic.shape import Shape
from inglenook.errors import NookError
from inglenook.train.importance import Importance
from inglenook.train.ladder import BLOCK, Latency, ladder, ratio
from inglenook.train.model import Size

SHAPE = Shape(3, 64, 128, 4, 2, 50, 64, 10000.0, 1e-5)


def importance(seed: int) -> Importance:
    random = np.random.default_rng(seed)
    neurons = -np.sort(-random.lognormal(0, 2, (SHAPE.layers, SHAPE.hidden)), axis=1)
    groups = -np.sort(-random.lognormal(3, 2, (SHAPE.layers, SHAPE.kv_heads)), axis=1)
    blank = np.zeros(SHAPE.layers)
    return Importance(neurons, groups, blank, blank, np.zeros((SHAPE.layers, SHAPE.width)))


@given(st.integers(0, 2**32 - 1), st.lists(st.floats(0.05, 1), min_size=1, max_size=5, unique=True))
def test_sizes_fit_and_are_nested(seed: int, wanted: list[float]) -> None:
    wanted = sorted(wanted, reverse=True)
    steps = ladder(SHAPE, importance(seed), Latency(), wanted)
    before = Size.whole(SHAPE)
    for share, size in zip(wanted, steps, strict=True):
        assert ratio(SHAPE, size) <= share + 1e-9
        assert all(hidden % BLOCK == 0 for hidden in size.hidden)
        for part in ("hidden", "groups"):
            assert all(0 <= n <= m for n, m in zip(getattr(size, part), getattr(before, part), strict=True))
        before = size
    largest = max(*ladder_units())
    assert ratio(SHAPE, steps[0]) > wanted[0] - largest  # one unit more would have been too much


def ladder_units() -> tuple[float, float]:
    """The ratio that 32 neurons and a group make up."""
    whole = Size.whole(SHAPE)
    fewer, headless = Size([*whole.hidden[:-1], 128 - BLOCK], whole.groups), Size(whole.hidden, [2, 2, 1])
    return 1 - ratio(SHAPE, fewer), 1 - ratio(SHAPE, headless)


@given(st.integers(0, 2**32 - 1))
def test_the_least_worth_a_millisecond_goes_first(seed: int) -> None:
    found = importance(seed)
    (size,) = ladder(SHAPE, found, Latency(), [0.6])
    block, group = Latency().costs(SHAPE)
    worth = [(found.neurons[i].reshape(-1, BLOCK).sum(1) / block, size.hidden[i] // BLOCK) for i in range(SHAPE.layers)]
    worth += [(found.groups[i] / group, size.groups[i]) for i in range(SHAPE.layers)]
    kept = [value for values, count in worth for value in values[:count]]
    gone = [value for values, count in worth for value in values[count:]]
    assert max(gone) <= min(kept)


def test_anchors_stay_as_long_as_others_can_go() -> None:
    found = importance(1)
    (size,) = ladder(SHAPE, found, Latency(), [0.4], anchors=[1])
    assert (size.hidden[1], size.groups[1]) == (128, 2)
    (size,) = ladder(SHAPE, found, Latency(), [0.1], anchors=[1])
    assert sum(size.hidden[::2]) + sum(size.groups[::2]) == 0


def test_costs_are_shares_of_the_whole() -> None:
    block, group = Latency(writing=0.3).costs(SHAPE)
    assert block * SHAPE.layers * SHAPE.hidden / BLOCK + group * SHAPE.layers * SHAPE.kv_heads == pytest.approx(1)
    dear = Latency(prefill_group=1.0, decode_group=1.0).costs(SHAPE)
    assert dear[1] > 10 * dear[0]


def test_latencies_come_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "latency.json"
    path.write_text('{"prefill_block": 0.5, "writing": 1}')
    assert Latency.read(path) == Latency(prefill_block=0.5, writing=1)
    for bad in (
        '{"prefill_block": -1}',
        '{"speed": 1}',
        "[]",
        "no",
        '{"writing": 2}',
        '{"decode_group": NaN}',
        "[" * 99_999,
    ):
        path.write_text(bad)
        with pytest.raises(NookError) as caught:
            Latency.read(path)
        assert caught.value.code == "latency"


def test_a_ratio_that_cannot_be_is_refused() -> None:
    with pytest.raises(NookError) as caught:
        ladder(SHAPE, importance(0), Latency(), [0.5, -0.1])
    assert caught.value.code == "ratio"
