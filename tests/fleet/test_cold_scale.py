"""From nothing and back, by what is asked."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inglenook.fleet.cold.scale import Demand


def test_the_first_request_starts_a_worker_at_once():
    demand = Demand()
    assert demand.wanted(0) == 0
    demand.arrived("a", 5)
    assert demand.wanted(5) == 1 and demand.waited(7) == 2


def test_what_waits_calls_for_a_worker_a_batch_and_four_at_most():
    demand = Demand(batch=8)
    for n in range(17):
        demand.arrived(str(n), 0)
    assert demand.wanted(0) == 3
    for n in range(17, 100):
        demand.arrived(str(n), 0)
    assert demand.wanted(0) == 4


def test_workers_that_start_are_counted_and_the_window_gathers():
    demand = Demand(batch=2, window=1)
    for n in range(4):
        demand.arrived(str(n), 0)
    assert demand.wanted(0) == 2
    demand.started(0)
    assert demand.wanted(0.5, workers=2) == 0
    assert demand.wanted(1.5, workers=2) == 0, "those that started have room for all"
    for n in range(4, 7):
        demand.arrived(str(n), 0.6)
    assert demand.wanted(0.9, workers=2) == 0 and demand.wanted(1.0, workers=2) == 2


def test_idle_only_when_nothing_waits_or_runs():
    demand = Demand(idle_after=10)
    assert demand.idle(0), "nobody has ever asked"
    demand.arrived("a", 0)
    assert not demand.idle(99)
    demand.began("a")
    assert not demand.idle(99) and demand.waited(99) == 0
    demand.ended("a", 100)
    assert not demand.idle(109.9) and demand.idle(110)


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from(["arrived", "began", "ended"])), max_size=40))
def test_never_more_than_called_for_and_none_when_idle(steps):
    demand, now = Demand(batch=2, idle_after=5), 0.0
    for name, step in steps:
        now += 1
        if step == "began":
            demand.began(name)
        else:
            getattr(demand, step)(name, now)
        assert 0 <= demand.wanted(now) <= 4
        if demand.idle(now):
            assert demand.wanted(now) == 0
    for name in "abcdef":
        demand.ended(name, now)
    assert demand.idle(now + 5) and demand.wanted(now) == 0 and demand.waited(now) == pytest.approx(0)
