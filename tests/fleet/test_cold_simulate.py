"""The simulation of cold starts: each time can be reckoned by hand, and nobody is forgotten."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inglenook.fleet.cold.plan import Host, Model, Wanted, expected
from inglenook.fleet.cold.simulate import BATCH, Arrival, local, pipelined, simulate, single

MODEL = Model(size=8e9, prefill=0.5, token=0.05, reserve=2e9, start=1.0, settle=2.0)
MODELS = dict.fromkeys("abcd", MODEL)
WANTED = Wanted(ttft=6, tpot=0.5)
LOCAL = local(start=3.0, load=1e-10)


def hosts(n, memory=10e9):
    return [Host(f"h{i}", 2e9, memory) for i in range(n)]


def ttfts(arrivals, strategy, n=4, *, memory=10e9, **more):
    return simulate([Arrival(*arrival) for arrival in arrivals], MODELS, hosts(n, memory), strategy, **more)


def test_one_start_takes_what_the_planner_expects():
    assert ttfts([(0, "a", 5)], pipelined(WANTED)) == [pytest.approx(expected(MODEL, 2, 1, 2e9)[0])]
    assert ttfts([(0, "a", 5)], single()) == [pytest.approx(4 + 2 + 0.5)]
    assert ttfts([(0, "a", 5)], LOCAL) == [pytest.approx(3 + 4 + 0.8 + 0.5)]


def test_a_warm_worker_answers_at_once_and_an_idle_one_ends():
    first, warm, cold = ttfts([(0, "a", 5), (20, "a", 5), (200, "a", 5)], single(), keep=60)
    assert warm == pytest.approx(0.5) and cold == pytest.approx(first)


def test_weights_in_the_cache_are_not_fetched():
    _, near = ttfts([(0, "a", 5), (200, "a", 5)], LOCAL, keep=60, cache=8e9)
    assert near == pytest.approx(3 + 0.8 + 0.5)
    _, _, far = ttfts([(0, "a", 5), (100, "b", 5), (200, "a", 5)], LOCAL, n=1, keep=60, cache=8e9)
    assert far == pytest.approx(3 + 4 + 0.8 + 0.5), "another model has taken its place"


def test_more_than_a_batch_starts_another_worker_and_shares_of_a_network_are_equal():
    many = ttfts([(0, "a", 5)] * (BATCH + 1), single(), n=1, memory=20e9)
    assert many == [pytest.approx(8 + 2 + 0.5)] * (BATCH + 1), "two fetches over one network"


def test_idle_workers_make_room_and_busy_ones_are_waited_for():
    _, second = ttfts([(0, "a", 5), (20, "b", 5)], single(), n=1)
    assert second == pytest.approx(6.5)
    _, waits = ttfts([(0, "a", 100), (5, "b", 5)], single(), n=1)
    assert waits == pytest.approx(6.5 + 100 * 0.05 - 5 + 6.5)


def test_low_memory_workers_give_way_when_the_pipeline_has_merged():
    strategy = pipelined(WANTED)
    soon, later = ttfts([(0, "a", 400), (1, "b", 5)], strategy, n=2)
    assert soon < 6
    assert later < 20, "b fits on the second host once a's pipeline is one worker, while a still writes"


@given(
    st.lists(st.tuples(st.floats(0, 100), st.sampled_from("abcd"), st.integers(1, 300)), max_size=30),
    st.sampled_from(["pipelined", "single", "local"]),
    st.integers(1, 5),
    st.sampled_from([0.0, 5.0, 60.0]),
)
def test_everybody_is_served(drawn, kind, n, keep):
    strategy = {"pipelined": pipelined(WANTED), "single": single(), "local": LOCAL}[kind]
    for first in ttfts(sorted(drawn), strategy, n, keep=keep, cache=16e9):
        assert math.isfinite(first) and first >= MODEL.prefill - 1e-9  # times are sums of floats
