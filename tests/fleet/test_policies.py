"""Policies against each other, against a bound that knows the future, and each against what it promises."""

from __future__ import annotations

import heapq
from itertools import pairwise

import numpy as np
import pytest
from fleet.sharing import PAGE, POLICIES, load, processes, services
from hypothesis import given, settings
from hypothesis import strategies as st
from inglenook.fleet.arena import Arena
from inglenook.fleet.loop import Loop
from inglenook.fleet.metrics import Summary
from inglenook.fleet.policy import fill, spatial
from inglenook.fleet.policy.adbs import AdaptiveBatches
from inglenook.fleet.policy.doubling import Doubling
from inglenook.fleet.policy.fcfs import FirstCome
from inglenook.fleet.policy.roundrobin import RoundRobin
from inglenook.fleet.request import Answer, Request
from inglenook.fleet.simulate import Arrival, simulate


def shortest(asked: list[Arrival]) -> float:
    """The least sum of latencies that one worker can reach which serves one request at a time: preemptive, shortest
    remaining time first, all lengths known (Schrage, 1968)."""
    profiles = {service.name: service.profile for service in services()}
    left = [(arrival.at, profiles[arrival.request.service].alone(len(arrival.request.prompt), arrival.output, 32))
            for arrival in asked]  # fmt: skip
    now, total, waiting = 0.0, 0.0, []
    left.sort(reverse=True)
    while left or waiting:
        if not waiting:
            now = max(now, left[-1][0])
        while left and left[-1][0] <= now:
            at, seconds = left.pop()
            heapq.heappush(waiting, (seconds, at))
        seconds, at = heapq.heappop(waiting)
        until = min(now + seconds, left[-1][0] if left else float("inf"))
        if until < now + seconds:
            heapq.heappush(waiting, (now + seconds - until, at))
        else:
            total += until - at
        now = until
    return total


SINGLE = {
    "fcfs": lambda: FirstCome(1, 32),
    "roundrobin": lambda: RoundRobin(1, 32),
    "adbs": lambda: AdaptiveBatches(1, 32),
    "doubling": lambda: Doubling(1, 32),
}


@pytest.mark.parametrize("name", SINGLE)
@settings(max_examples=10)
@given(st.integers(0, 10_000))
def test_nobody_beats_the_bound(name, seed):
    asked = load(40, seed, cv=2.0, pace=1.5)
    rows = simulate([(Loop(SINGLE[name](), Arena(400, PAGE), services()), 1.0)], asked)
    assert sum(row.ended - row.arrived for row in rows) >= shortest(asked) * (1 - 1e-9)


@pytest.mark.parametrize(("cv", "pace"), [(1.0, 3.0), (4.0, 4.0)])
def test_doubling_is_ahead_in_the_mean(cv, pace):
    """Five loads of sixty requests, medians of the means."""
    loads = [load(60, seed, cv, pace) for seed in range(5)]
    means = {
        name: np.median([Summary.of(simulate(processes(name), asked), 0.0).mean for asked in loads])
        for name in [*POLICIES, "spatial"]
    }
    ours = means.pop("doubling")
    assert ours < min(means.values())
    assert ours < means["fcfs"] / 1.3


def queued(*answers: Answer) -> dict[str, dict[str, Answer]]:
    queues: dict[str, dict[str, Answer]] = {service.name: {} for service in services()}
    for answer in answers:
        queues[answer.service][answer.request.id] = answer
    return queues


def answer(id: str, service: str, arrived: float = 0.0, prompt: int = 10, written: int = 0) -> Answer:
    made = Answer(Request(id, service, range(2, prompt + 2), 60), arrived, int(arrived))
    if written:
        made.tokens += [1] * written
        made.computed = len(made.tokens) - 1
    return made


def started(policy):
    arena, some = Arena(64, PAGE), {service.name: service for service in services()}
    for service in some.values():
        arena.register(service.name, service.token_bytes, service.floor)
    policy.start(some, arena)
    return policy


def test_a_batch_is_filled_in_order_up_to_its_bounds():
    some = [answer("a", "chat", written=3), answer("b", "chat", prompt=50), answer("c", "chat", written=1)]
    assert [(one.request.id, count) for one, count in fill(some, 3, 32)] == [("a", 1), ("b", 31)]
    assert [(one.request.id, count) for one, count in fill(some, 2, 100)] == [("a", 1), ("b", 50)]


def test_first_come_runs_the_model_of_the_oldest():
    policy = started(FirstCome(4, 32))
    queues = queued(answer("a", "chat", 2.0), answer("b", "code", 1.0), answer("c", "code", 3.0))
    first = next(policy.choose(queues, 5.0))
    assert first.service == "code" and [one.request.id for one, _ in first.shares] == ["b", "c"]


def test_round_robin_takes_turns_of_a_quantum():
    policy, queues = started(RoundRobin(4, 32, quantum=2)), queued(answer("a", "chat"), answer("b", "code"))
    turns = []
    for _ in range(6):
        turns.append(next(policy.choose(queues, 0.0)).service)
        policy.ran(turns[-1], [], 0.1, 0.0)
    assert turns in (["code", "code", "chat"] * 2, ["code", "code", "chat", "chat", "code", "code"])
    queues["chat"].clear()
    assert next(policy.choose(queues, 0.0)).service == "code"


def test_adbs_reads_one_prompt_at_a_time_before_it_writes():
    policy = started(AdaptiveBatches(4, 32))
    queues = queued(answer("a", "chat", written=2), answer("b", "chat"), answer("c", "code"), answer("d", "code"))
    first = next(policy.choose(queues, 0.0))
    assert len(first.shares) == 1 and first.shares[0][1] == 10
    policy.ran(first.service, [first.shares[0][0]], 0.1, 0.0)
    assert next(policy.choose(queues, 0.0)).service != first.service
    offered = list(policy.choose(queues, 0.0))
    assert offered[-1].shares[0][0].request.id == "a"


def test_adbs_moves_quotas_to_who_is_short():
    policy = started(AdaptiveBatches(4, 32, every=1))
    before = dict(policy.quotas)
    assert before["code"] > before["chat"]  # twice the rate, nearly as many tokens
    policy._arena.take("chat", before["chat"])
    queues = queued(answer("a", "chat"))
    next(policy.choose(queues, 0.0))
    policy.ran("chat", list(queues["chat"].values()), 0.1, 0.0)
    next(policy.choose(queues, 0.0))
    assert policy.quotas["chat"] > before["chat"]
    assert sum(policy.quotas.values()) <= sum(before.values())
    assert min(policy.quotas.values()) >= 1


def test_spatial_shares_follow_the_load():
    even = [share for _, share in spatial.processes(services(), 200, PAGE, power=0.0)]
    assert even == pytest.approx([1 / 3] * 3)
    made = spatial.processes(services(), 200, PAGE, power=1.0)
    assert sum(share for _, share in made) == pytest.approx(1)
    assert made[1][1] > made[0][1]  # long answers at half the rate
    assert sum(loop.arena.pages for loop, _ in made) <= 200
    assert all(loop.arena.pages * PAGE >= 128 * service.token_bytes for (loop, _), service in zip(made, services()))


def test_a_budget_doubles_and_the_weight_falls():
    policy = started(Doubling(4, 32))
    one = answer("a", "chat")
    policy.arrive(one, 0.0)
    seen = []
    for _ in range(40):
        one.tokens.append(1)
        policy.ran("chat", [one], 0.01, 0.0)
        seen.append((one.budget, one.weight))
        assert one.written <= one.budget
    budgets = list(dict.fromkeys(budget for budget, _ in seen))
    assert len(budgets) >= 2 and all(b == 2 * a for a, b in pairwise(budgets))
    weights = list(dict.fromkeys(weight for _, weight in seen))
    assert weights == sorted(weights, reverse=True) and len(weights) == len(budgets)


def test_who_waits_longer_owes_more_and_goes_first():
    policy = started(Doubling(4, 32))
    early, late = answer("a", "chat"), answer("b", "chat", 9.0)
    for one in (late, early):
        policy.arrive(one, one.arrived)
    assert policy.debt(early, 1.0) < policy.debt(early, 2.0)
    assert [one for one, _ in next(policy.choose(queued(late, early), 9.0)).shares] == [early, late]
    assert policy.key(early, 100.0) < policy.key(late, 100.0)


def test_nobody_starts_by_pushing_somebody_out_and_the_oldest_who_waits_has_its_pages_kept():
    policy, arena = Doubling(4, 32), Arena(10, PAGE)
    for service in services():
        arena.register(service.name, service.token_bytes)
    policy.start({service.name: service for service in services()}, arena)
    held = arena.take("large", 6)
    wide, small, other = answer("a", "chat", prompt=80), answer("b", "chat", 1.0), answer("c", "code", 2.0)
    for one in (wide, small, other):
        policy.arrive(one, one.arrived)
    proposed = [choice.shares for choice in policy.choose(queued(wide, small, other), 3.0)]
    assert proposed[:-1] == [[], []], "four pages are free: five are wanted, and nobody else takes them"
    assert proposed[-1] == [(wide, 32)], "the loop hears of who came first all the same"
    for page, started in zip(held, ({wide}, {wide, small, other})):
        arena.give("large", [page])
        proposed = [choice.shares for choice in policy.choose(queued(wide, small, other), 3.0)]
        assert {one for shares in proposed[:-1] for one, _ in shares} == started


def test_two_who_wait_for_the_same_model_are_worth_more_than_one():
    policy = started(Doubling(4, 32))
    some = [answer(id, service, written=1) for id, service in (("a", "code"), ("b", "chat"), ("c", "chat"))]
    for one in some:
        policy.arrive(one, 0.0)
        one.weight = 0.1
    assert next(policy.choose(queued(*some), 1.0)).service == "chat"
    some[0].last -= 2.0  # three times as long as the others
    assert next(policy.choose(queued(*some), 1.0)).service == "code"
