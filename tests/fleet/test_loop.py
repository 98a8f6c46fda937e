"""The loop: nothing is lost, nothing comes twice, pages and batches stay within their bounds, whatever happens when."""

from __future__ import annotations

import random

import pytest
from fleet.sharing import PAGE, POLICIES, services
from hypothesis import given, settings
from hypothesis import strategies as st
from inglenook.errors import NookError
from inglenook.fleet.arena import Arena
from inglenook.fleet.loop import Loop
from inglenook.fleet.request import Finished, Request

STOP = 0


def request(n: int, service: str = "chat", prompt: int = 10, most: int = 8) -> Request:
    return Request(f"r{n}", service, [2 + (n * 7 + k) % 90 for k in range(prompt)], most, frozenset({STOP}))


def made(policy: str, pages: int = 64, floor: int = 0) -> Loop:
    return Loop(POLICIES[policy](), Arena(pages, PAGE), services(floor))


class Model:
    """An executor that keeps, in each page, what was written there: a token that depends on all before it comes out
    only if every page still holds what its request computed."""

    def __init__(self, loop: Loop) -> None:
        self.arena, self.slots = loop.arena, {}

    def run(self, iteration) -> dict[str, int]:
        room = self.arena.tokens_per_page(iteration.model)
        tokens = {}
        for piece in iteration.pieces:
            for n, token in enumerate(piece.tokens, piece.start):
                self.slots[piece.pages[n // room], n % room] = (piece.request, n, token)
            end = piece.start + len(piece.tokens)
            kept = [self.slots[piece.pages[n // room], n % room] for n in range(end)]
            assert [(request, n) for request, n, _ in kept] == [(piece.request, n) for n in range(end)]
            if piece.wants:
                tokens[piece.request] = answer(token for _, _, token in kept)
        return tokens


def answer(tokens) -> int:
    return random.Random(",".join(map(str, tokens))).choice([STOP, *range(2, 12)])


def alone(asked: Request) -> tuple[int, ...]:
    tokens = list(asked.prompt)
    while len(tokens) - len(asked.prompt) < asked.most:
        tokens.append(answer(tokens))
        if tokens[-1] == STOP:
            break
    return tuple(tokens[len(asked.prompt) :])


arriving = st.lists(
    st.tuples(st.sampled_from(["code", "chat", "large"]), st.integers(1, 60), st.integers(1, 20), st.integers(0, 6)),
    min_size=1,
    max_size=14,
)


@pytest.mark.parametrize("policy", POLICIES)
@settings(max_examples=25)
@given(arriving, st.integers(34, 80), st.integers(0, 4), st.sets(st.integers(0, 13), max_size=4))
def test_every_answer_is_the_one_it_would_be_alone(policy, asked, pages, floor, cancelled):
    loop = made(policy, pages, floor)
    model, now, done = Model(loop), 0.0, []
    left = [(wait, request(n, service, prompt, most)) for n, (service, prompt, most, wait) in enumerate(asked)]
    for wait, one in left:
        loop.arrive(one, now)
        for _ in range(wait):
            now = step(loop, model, now, done)
        if int(one.id[1:]) in cancelled and (end := loop.cancel(one.id, now)):
            done.append(end)
    while loop.waiting:
        now = step(loop, model, now, done)
    assert sorted(end.request.id for end in done) == sorted(one.id for _, one in left)
    for end in done:
        whole = alone(end.request)
        assert end.tokens == whole[: len(end.tokens)] if end.reason == "cancelled" else end.tokens == whole
    assert loop.next(now) is None
    assert loop.arena.free == pages


def step(loop: Loop, model: Model, now: float, done: list[Finished]) -> float:
    iteration = loop.next(now)
    if loop.waiting and iteration is None:
        raise AssertionError("there is work, and nothing is proposed")
    if iteration:
        assert 1 <= len(iteration.pieces) <= 4
        assert sum(len(piece.tokens) for piece in iteration.pieces) <= 32
        assert len({piece.request for piece in iteration.pieces}) == len(iteration.pieces)
        now += 0.01
        done += loop.ran(iteration, model.run(iteration), 0.01, now)
    return now


@pytest.mark.parametrize("policy", POLICIES)
def test_who_came_at_once_and_has_no_room_is_served_in_turn(policy):
    loop, now, done = made(policy, pages=32), 0.0, []
    model = Model(loop)
    for n in range(12):
        loop.arrive(request(n, ("large", "chat", "code")[n % 3], 60, 20), 0.0)
    while loop.waiting:
        now = step(loop, model, now, done)
    assert all(end.tokens == alone(end.request) for end in done)
    assert len(done) == 12 and any(end.evicted for end in done)


@pytest.mark.parametrize("policy", POLICIES)
def test_who_came_is_served_while_others_keep_coming(policy):
    """A slow model's one request beside a stream of short ones that fills the worker."""
    loop, now, done = made(policy), 0.0, []
    model = Model(loop)
    loop.arrive(request(0, "large"), now)
    for n in range(1, 1000):
        loop.arrive(request(n, "code", 30, 2), now)
        now = step(loop, model, now, done)
        if any(end.request.id == "r0" for end in done):
            return
    raise AssertionError("starved")


def test_who_is_at_its_own_limit_evicts_nobody_else():
    """With no page free either: what others would give up could not be taken."""
    loop, now, done = made("fcfs", pages=8), 0.0, []
    model = Model(loop)
    loop.arena.adjust("chat", 0, limit=4)
    loop.arrive(request(0, "chat", 64), now)
    loop.arrive(request(1, "code", 60, 4), now)
    while not done:
        now = step(loop, model, now, done)
    assert [(end.request.id, end.evicted) for end in done] == [("r1", 0)]
    assert loop.next(now) is None and loop.arena.held("chat") == 4
    loop.arena.adjust("chat", 0)
    while loop.waiting:
        now = step(loop, model, now, done)
    assert done[1].tokens == alone(done[1].request)


def test_at_its_own_limit_a_younger_one_of_its_own_makes_room():
    """With no page free either: what that gives is enough, so the other service keeps its own."""
    loop, now, done = made("roundrobin", pages=8), 0.0, []
    model = Model(loop)
    loop.arena.adjust("chat", 0, limit=5)
    for one in (request(0, "chat", 60), request(2, "chat", 15), request(5, "code", 33)):
        loop.arrive(one, now)
    while loop.waiting:
        now = step(loop, model, now, done)
    assert {end.request.id: end.evicted for end in done} == {"r0": 0, "r2": 1, "r5": 0}
    assert all(end.tokens == alone(end.request) for end in done)


def test_a_cancel_while_the_answer_runs_keeps_its_pages_until_then():
    loop = made("fcfs")
    loop.arrive(request(0), 0.0)
    loop.arrive(request(1), 0.0)
    iteration = loop.next(0.0)
    end = loop.cancel("r0", 0.1)
    assert end and end.reason == "cancelled" and end.tokens == ()
    held = loop.arena.held("chat")
    assert held == sum(len(piece.pages) for piece in iteration.pieces)
    assert loop.ran(iteration, {"r0": 5, "r1": 5}, 0.1, 0.1) == []
    assert loop.arena.held("chat") == held // 2
    assert loop.cancel("r0", 0.2) is None


def test_answers_end_by_a_stop_or_by_their_length():
    loop = made("fcfs")
    loop.arrive(request(0, most=2), 0.0)
    loop.arrive(request(1), 0.0)
    assert loop.ran(loop.next(0.0), {"r0": 5, "r1": 6}, 0.5, 0.5) == []
    first, second = loop.ran(loop.next(0.5), {"r0": 7, "r1": STOP}, 0.5, 1.0)
    assert (first.tokens, first.reason, first.first, first.ended) == ((5, 7), "length", 0.5, 1.0)
    assert (second.tokens, second.reason, second.normalised) == ((6, STOP), "stop", 0.5)


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        (request(1, "gone"), "model"), (request(0), "duplicate"), (request(1, prompt=0), "prompt"),
        (request(1, most=0), "prompt"), (request(1, prompt=125), "context"), (request(1, "large", 100), "memory"),
    ],
)  # fmt: skip
def test_what_cannot_be_answered_is_refused_at_once(asked, code):
    loop = made("fcfs", pages=20)
    loop.arrive(request(0), 0.0)
    with pytest.raises(NookError) as error:
        loop.arrive(asked, 0.0)
    assert error.value.code == code and error.value.hint
    assert loop.waiting == 1


def test_one_iteration_at_a_time():
    loop = made("fcfs")
    loop.arrive(request(0), 0.0)
    assert loop.next(0.0)
    with pytest.raises(NookError, match="under way"):
        loop.next(0.0)


def test_services_learn_from_what_they_see():
    loop = made("fcfs")
    service = loop.services["chat"]
    before = service.outputs.mean
    for n in range(20):
        loop.arrive(request(n, prompt=32, most=1), n / 10)
        loop.ran(loop.next(n / 10), {f"r{n}": 5}, 0.01, n / 10)
    assert service.outputs.mean < before / 2
    assert service.prompts.mean > 25
    assert service.rate.at(2.0) > 1
