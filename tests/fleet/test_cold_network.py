"""Fetches that were promised a deadline meet it, whatever else is asked for; KV pages move alone."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inglenook.errors import NookError
from inglenook.fleet.cold.network import Network


def test_a_fetch_that_would_make_another_late_is_not_offered():
    network = Network({"h": 10.0})
    network.begin("h", 60, deadline=10, now=0)  # alone it ends at 6; with half of the bandwidth at 12
    assert network.offer("h", now=0) == 0
    with pytest.raises(NookError) as error:
        network.begin("h", 1, deadline=99, now=0)
    assert error.value.code == "network-busy" and error.value.hint
    assert network.offer("h", now=5) == 5.0, "10 bytes left, 5 seconds left: half is enough now"


def test_shares_are_equal_and_grow_when_a_fetch_ends():
    network = Network({"h": 10.0})
    small, large = network.begin("h", 10, 100, 0), network.begin("h", 40, 100, 0)
    network.offer("h", now=4)
    assert (small.left, large.left) == (0, 10), "2 s at 5 bytes/s, then 2 s at 10"
    network.end(small, 4)
    assert network.busy("h", 4) == 1


def test_what_a_worker_tells_corrects_the_reckoning():
    network = Network({"h": 10.0})
    fetch = network.begin("h", 60, deadline=10, now=0)
    network.progress(fetch, 55, now=5)
    assert network.offer("h", now=5) == 0, "it is behind: 55 bytes in 5 seconds need it all"


def test_the_next_to_end_is_known():
    network = Network({"a": 10.0, "b": 10.0})
    assert network.soonest(0) is None
    first, second = network.begin("a", 10, 99, 0), network.begin("a", 20, 99, 0)
    third = network.begin("b", 50, 99, 0)
    assert network.soonest(0) == (2, first)
    network.end(first, 2)
    assert network.soonest(2) == (3, second)
    network.end(second, 3)
    assert network.soonest(9) == (9, third), "it has all its bytes and was not ended yet"


def test_pages_move_alone_and_in_turn():
    network = Network({"a": 10.0, "b": 10.0, "c": 10.0})
    fetch = network.begin("a", 10, 5, 0)
    first, second = network.claim(["a", "b"], 0), network.claim(["b", "c"], 0)
    assert not network.granted(first, 0) and not network.granted(second, 0)
    assert network.offer("a", 0) == network.offer("c", 0) == 0, "a claim that waits keeps new fetches away"
    network.end(fetch, 1)
    assert network.granted(first, 1) and not network.granted(second, 1)
    network.release(first)
    assert network.granted(second, 1) and network.offer("a", 1) == 10.0
    network.release(second)
    assert network.offer("b", 1) == 10.0


def test_an_unknown_host_is_a_typed_error():
    with pytest.raises(NookError) as error:
        Network({"a": 1.0}).offer("z", 0)
    assert error.value.code == "host-unknown"


ASKED = st.lists(st.tuples(st.floats(0, 3), st.floats(1, 500), st.floats(0.1, 60)), min_size=1, max_size=12)


@given(ASKED)
def test_every_promise_is_kept(asked):
    """An independent fluid simulation of what was admitted: nobody with a promise ends after the deadline."""
    network, now, rate, admitted = Network({"h": 10.0}), 0.0, 10.0, []
    for pause, size, patience in asked:
        now += pause
        if network.offer("h", now):
            fetch = network.begin("h", size, now + patience, now)
            admitted.append([now, size, fetch.deadline])
    at, under_way, waiting = 0.0, [], sorted(admitted)
    while waiting or under_way:
        ends = at + min(left for left, _ in under_way) * len(under_way) / rate if under_way else math.inf
        moment = min(ends, waiting[0][0] if waiting else math.inf)
        got = (moment - at) * rate / max(len(under_way), 1)
        under_way = [(left - got, deadline) for left, deadline in under_way]
        at = moment
        for left, deadline in under_way:
            assert left > 1e-6 or at <= deadline + 1e-6
        under_way = [(left, deadline) for left, deadline in under_way if left > 1e-6]
        while waiting and waiting[0][0] <= at:
            _, size, deadline = waiting.pop(0)
            under_way.append((size, deadline))
