"""Pipeline degree and placement: what was published, and what holds for any hosts.

Published times are those of Lou et al. (2502.15524, the artifact's figure 7): of their V100 machines, not of ours.
"""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inglenook.errors import NookError
from inglenook.fleet.cold.plan import Host, Model, Wanted, choose, expected, inflation, place

LLAMA2_7B = Model(size=13.5e9, prefill=0.3, token=0.042)
GBIT16 = 2e9


def hosts(n, bandwidth=GBIT16, memory=22e9):
    return [Host(f"h{i}", bandwidth, memory) for i in range(n)]


def test_the_smallest_pipeline_that_is_in_time():
    fast = choose(LLAMA2_7B, hosts(4), Wanted(ttft=20, tpot=0.2))
    assert (fast.degree, fast.full, fast.met) == (1, 1, True)
    soon = choose(LLAMA2_7B, hosts(4), Wanted(ttft=7.5, tpot=0.2))
    assert soon.degree == 2 and soon.met
    sooner = choose(LLAMA2_7B, hosts(4), Wanted(ttft=5, tpot=0.2))
    assert sooner.degree > soon.degree


def test_a_tight_time_per_token_asks_for_full_workers():
    loose = choose(LLAMA2_7B, hosts(4), Wanted(ttft=7.5, tpot=0.2))
    tight = choose(LLAMA2_7B, hosts(4), Wanted(ttft=7.5, tpot=0.05))
    assert loose.full == 1 and tight.full == tight.degree == 2


def test_what_nothing_meets_is_one_worker_and_says_so():
    late = choose(LLAMA2_7B, hosts(4), Wanted(ttft=1, tpot=0.2))
    assert (late.degree, late.met) == (1, False)
    slow = choose(LLAMA2_7B, hosts(4), Wanted(ttft=5, tpot=0.04))
    assert (slow.degree, slow.met) == (1, False), "a whole worker misses the time per token already"


def test_the_time_waited_counts():
    assert choose(LLAMA2_7B, hosts(4), Wanted(ttft=12, tpot=0.2)).degree == 1
    assert choose(LLAMA2_7B, hosts(4), Wanted(ttft=12, tpot=0.2, waited=4)).degree > 1


def test_demand_for_workers_makes_full_ones():
    plan = choose(LLAMA2_7B, hosts(4), Wanted(ttft=5, tpot=0.2, workers=3))
    assert plan.full == min(3, plan.degree)


def test_no_host_with_memory_is_a_typed_error():
    with pytest.raises(NookError) as error:
        choose(LLAMA2_7B, hosts(4, memory=10e9), Wanted(ttft=5, tpot=0.2))
    assert error.value.code == "fleet-full" and error.value.hint


def test_full_workers_stand_on_the_fastest_hosts_with_memory_for_all():
    mixed = [Host("slow", 1e9, 22e9), Host("fast", 3e9, 22e9), Host("small", 4e9, 10e9)]
    assert [(at.host, at.full) for at in place(LLAMA2_7B, mixed, 2, 1)] == [("fast", True), ("small", False)]
    assert place(LLAMA2_7B, mixed, 3, 3) == ()


@pytest.mark.parametrize(
    ("gigabytes", "one", "four"),
    [
        (5.3, 7.9, 7.9), (13.3, 9.7, 8.2), (26, 17.0, 8.5),
        (13.5, 9.9, 7.7), (26, 17.4, 8.7), (16, 11.7, 8.6), (14.4, 10.2, 8.3),
    ],
)  # fmt: skip
def test_the_formula_fits_what_was_published(gigabytes, one, four):
    """OPT-2.7B, 6.7B, 13B, Llama2-7B, 13B, Llama3-8B, Falcon-7B on V100 at 16 Gbit/s; start and settle are fitted."""
    model = Model(size=gigabytes * 1e9, prefill=0, token=0.04, start=5.3, settle=2.4)
    for degree, published in ((1, one), (4, four)):
        ttft, _ = expected(model, degree, degree, GBIT16)
        assert abs(ttft / published - 1) < 0.13


SIZES = st.floats(1e6, 1e11)
FLEETS = st.lists(
    st.tuples(st.sampled_from([0.0, 1e7, 1e9, 2e9]), st.floats(1e9, 1e11)), min_size=1, max_size=8
).map(lambda drawn: [Host(f"h{i}", *at) for i, at in enumerate(drawn)])  # fmt: skip
OBJECTIVES = st.builds(
    Wanted, ttft=st.floats(0.1, 60), tpot=st.floats(0.01, 1), waited=st.floats(0, 5), workers=st.integers(0, 6)
)


@given(SIZES, st.floats(0, 2), st.floats(0.001, 0.5), FLEETS, OBJECTIVES)
def test_any_plan_fits_and_keeps_its_word(size, prefill, token, fleet, wanted):
    model = Model(size=size, prefill=prefill, token=token)
    try:
        plan = choose(model, fleet, wanted)
    except NookError as error:
        assert error.code == "fleet-full" and not any(host.memory >= model.memory(1) for host in fleet)
        return
    by_name = {host.name: host for host in fleet}
    assert len({at.host for at in plan.places}) == plan.degree <= 4 and plan.full >= 1
    for at in plan.places:
        assert by_name[at.host].memory >= model.memory(1 if at.full else plan.degree)
    slowest = min(by_name[at.host].bandwidth for at in plan.places)
    assert (plan.ttft, plan.tpot) == expected(model, plan.degree, plan.full, slowest, wanted.waited)
    assert plan.met == (plan.ttft < wanted.ttft and plan.tpot <= wanted.tpot)
    if plan.met:
        for degree in range(1, plan.degree):
            for full in range(min(degree, max(1, wanted.workers)), degree + 1):
                places = place(model, fleet, degree, full)
                slow = min((by_name[at.host].bandwidth for at in places), default=0)
                ttft, tpot = expected(model, degree, full, slow, wanted.waited)
                assert not places or ttft >= wanted.ttft or tpot > wanted.tpot, "a smaller one was in time"


@given(st.integers(1, 4), st.integers(1, 4))
def test_inflation_is_one_for_full_workers_alone(degree, full):
    full = min(degree, full)
    assert inflation(degree, full) >= 1 and (inflation(degree, full) == 1) == (full == degree)


def test_no_bandwidth_is_never():
    assert expected(LLAMA2_7B, 2, 1, 0.0)[0] == math.inf
