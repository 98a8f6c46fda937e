"""The simulator: what it says of cases that can be reckoned by hand, and that it says it twice."""

from __future__ import annotations

import pytest
from fleet.sharing import PAGE, POLICIES, load, processes, services
from hypothesis import given, settings
from hypothesis import strategies as st
from inglenook.fleet.arena import Arena
from inglenook.fleet.loop import Loop
from inglenook.fleet.metrics import Outcome, Summary
from inglenook.fleet.policy.fcfs import FirstCome
from inglenook.fleet.profile import Profile
from inglenook.fleet.request import Request
from inglenook.fleet.service import Service
from inglenook.fleet.simulate import STOP, Arrival, simulate

EVERY = [*POLICIES, "spatial"]


def one(name: str, seconds: float = 1.0) -> Service:
    return Service(name, Profile(seconds, 0.0, 0.0), 16, 64)


def arrival(id: str, at: float, output: int, service: str = "a") -> Arrival:
    return Arrival(at, Request(id, service, (5, 6), 20, frozenset({STOP})), output)


def alone(*names: str) -> tuple[Loop, float]:
    return Loop(FirstCome(4, 32), Arena(64, PAGE), [one(name) for name in names]), 1.0


def test_a_batch_and_a_late_comer_by_hand():
    """Iterations of a second: the second request joins at the next one, whatever it does."""
    first, second = simulate([alone("a")], [arrival("x", 0.0, 3), arrival("y", 0.5, 3)])
    assert (first.first, first.ended, first.alone) == (1.0, 3.0, 3.0)
    assert (second.first, second.ended) == (2.0, 4.0)


def test_a_change_of_the_model_costs_what_its_profile_says():
    loop, share = alone("a", "b")
    asked = [arrival("x", 0.0, 1), arrival("y", 0.5, 2, "b"), arrival("z", 9.0, 1)]
    changing = {name: Profile(1.0, 0.0, 0.0, change=0.25) for name in "ab"}
    rows = simulate([(loop, share)], asked, profiles=changing)
    assert [row.ended for row in rows] == [1.0, 3.25, 10.25]  # b's after a's, and a's after b's


@pytest.mark.parametrize(("strict", "ends"), [(False, [6.0, 7.0]), (True, [6.0, 8.0])])
def test_processes_share_a_worker(strict, ends):
    """Three and four seconds of work, halves of a worker: when one is done the other speeds up, or does not."""
    sharing = [(alone("a")[0], 0.5), (alone("b")[0], 0.5)]
    rows = simulate(sharing, [arrival("x", 0.0, 3), arrival("y", 0.0, 4, "b")], strict=strict)
    assert [row.ended for row in rows] == pytest.approx(ends)


def test_what_is_unfinished_is_a_miss_and_counts():
    rows = simulate([alone("a")], [arrival("x", 0.0, 3), arrival("y", 0.5, 9), arrival("z", 50.0, 1)], until=4.5)
    assert [(row.id, row.first, row.ended) for row in rows] == [("x", 1.0, 3.0), ("y", 2.0, None)]
    said = Summary.of(rows, 4.5)
    assert (said.mean, said.attained, said.unfinished) == (pytest.approx((1 + 4 / 9) / 2), 0.5, 1)


def test_the_objective_is_a_multiple_of_the_time_alone():
    rows = [Outcome(str(n), "a", 0.0, 10, 1.0, 0.5, ended) for n, ended in enumerate((2.9, 3.1, None))]
    said = Summary.of(rows, until=40.0, slack=3)
    assert said.attained == pytest.approx(1 / 3)
    assert said.p99 == pytest.approx(4.0, rel=0.03)
    assert said.first == pytest.approx(0.5)


@pytest.mark.parametrize("name", EVERY)
@settings(max_examples=5)
@given(st.integers(0, 1000))
def test_every_request_is_answered_once_and_by_seed(name, seed):
    asked = load(40, seed, cv=3)
    rows = simulate(processes(name), asked)
    assert [row.id for row in rows] == [one.request.id for one in asked]
    for row, one_ in zip(rows, asked):
        assert row.tokens == one_.output
        assert row.ended and row.first
        assert row.arrived < row.first <= row.ended
        assert row.ended - row.arrived >= row.alone * 0.999
    assert simulate(processes(name), load(40, seed, cv=3)) == rows


@pytest.mark.parametrize("name", EVERY)
def test_how_long_an_answer_will_be_changes_nothing_before_it_ends(name):
    asked = [Arrival(one.at, one.request, max(one.output, 3)) for one in load(30, 5, pace=4.0)]
    until = min(row.ended for row in simulate(processes(name), asked)) - 1e-9
    longer = [Arrival(one.at, one.request, 40) for one in asked]
    seen, said = (simulate(processes(name), some, until=until) for some in (asked, longer))
    assert [row.first for row in seen] == [row.first for row in said]
    assert any(row.first for row in seen)


def test_real_iterations_may_take_what_no_profile_says():
    rows = simulate([alone("a")], [arrival("x", 0.0, 3)], profiles={"a": Profile(2.0, 0.0, 0.0)})
    assert (rows[0].ended, rows[0].alone) == (6.0, 6.0)
    assert services()[0].profile.base == 0.01
