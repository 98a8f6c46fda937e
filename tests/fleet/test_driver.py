"""The driver between a loop and an executor: tokens go to who asked, and errors end those they belong to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from inglenook.errors import NookError
from inglenook.fleet.actor import Out, Reply
from inglenook.fleet.driver import Driver
from inglenook.fleet.iteration import Iteration, Piece, Sampling


@dataclass
class Request:
    id: str
    prompt: tuple[int, ...]
    most: int
    sampling: Sampling = field(default_factory=Sampling)


@dataclass
class Finished:
    request: Request
    reason: str


class Everybody:
    """A loop that runs all requests in each iteration."""

    def __init__(self) -> None:
        self.requests: dict[str, Request] = {}
        self.tokens: dict[str, list[int]] = {}
        self.heard: list[tuple[float, float]] = []

    def arrive(self, request: Request, now: float) -> None:
        if not request.prompt:
            raise NookError("prompt", "There is nothing to answer.", "Ask something.")
        self.requests[request.id], self.tokens[request.id] = request, []

    def cancel(self, request_id: str, now: float) -> None:
        self.requests.pop(request_id, None)

    def next(self, now: float) -> Iteration | None:
        pieces = [
            Piece(name, tuple(self.tokens[name][-1:]) or request.prompt, 0, (), True)
            for name, request in self.requests.items()
        ]
        return Iteration("m", tuple(pieces)) if pieces else None

    def ran(self, iteration: Iteration, tokens: dict[str, int], seconds: float, now: float) -> list[Finished]:
        self.heard.append((seconds, now))
        done = []
        for name, token in tokens.items():
            self.tokens[name].append(token)
            if len(self.tokens[name]) == self.requests[name].most:
                done.append(Finished(self.requests.pop(name), "length"))
        return done


class Adder:
    """An executor that writes the last token plus one, and fails where that is 13."""

    def __init__(self) -> None:
        self.admitted: dict[str, Sampling] = {}

    def admit(self, request: str, sampling: Sampling) -> None:
        self.admitted[request] = sampling

    def release(self, request: str) -> None:
        del self.admitted[request]

    def run(self, iteration: Iteration) -> dict[str, int]:
        assert all(piece.request in self.admitted for piece in iteration.pieces)
        if any(piece.tokens[-1] == 12 for piece in iteration.pieces):
            raise NookError("memory", "There is no room.", "Wait.")
        return {piece.request: piece.tokens[-1] + 1 for piece in iteration.pieces}


class Ear:
    """Who hears the replies of a driver, on a clock of two ticks an iteration."""

    def __init__(self) -> None:
        self.replies: list[Reply] = []
        self.ticks = iter(range(10**6))
        self.driver = Driver(Everybody(), Adder(), lambda: float(next(self.ticks)))

    def ask(self, number: int, request: Request) -> Out:
        out = Out(number, self.replies.append)
        self.driver.generate(out, request)
        return out

    def heard(self, number: int) -> list[Any]:
        return [(reply.kind, reply.value) for reply in self.replies if reply.number == number]


def test_tokens_go_to_who_asked() -> None:
    ear = Ear()
    ear.ask(1, Request("a", (20,), 3))
    assert ear.driver.step() and ear.driver.status() == {"requests": 1, "iterations": 1}
    ear.ask(2, Request("b", (30, 40), 1))
    while ear.driver.step():
        pass
    assert ear.heard(1) == [("item", 21), ("item", 22), ("item", 23), ("end", "length")]
    assert ear.heard(2) == [("item", 41), ("end", "length")]
    assert ear.driver.status() == {"requests": 0, "iterations": 3} and not ear.driver.executor.admitted
    assert [seconds for seconds, _ in ear.driver.loop.heard] == [1, 1, 1]


def test_who_goes_is_out_of_the_next_iteration() -> None:
    ear = Ear()
    out, _ = ear.ask(1, Request("a", (20,), 30)), ear.ask(2, Request("b", (30,), 2))
    ear.driver.step()
    out.closed = True
    out.on_close()
    ear.driver.step()
    assert ear.heard(1) == [("item", 21)] and ear.heard(2)[-1] == ("end", "length")
    assert not ear.driver.step() and not ear.driver.executor.admitted
    ear.driver.cancel("nobody")


def test_a_cancel_from_elsewhere_ends_the_stream() -> None:
    ear = Ear()
    ear.ask(1, Request("a", (20,), 30))
    ear.driver.step()
    ear.driver.cancel("a")
    assert ear.heard(1) == [("item", 21), ("end", "cancelled")] and not ear.driver.step()


def test_an_iteration_that_fails_ends_who_was_in_it() -> None:
    ear = Ear()
    ear.ask(1, Request("a", (12,), 3))
    assert ear.driver.step()
    assert ear.heard(1) == [("error", ("memory", "There is no room.", "Wait."))]
    assert not ear.driver.step() and not ear.driver.executor.admitted
    ear.ask(2, Request("a", (1,), 1))
    ear.driver.step()
    assert ear.heard(2) == [("item", 2), ("end", "length")]


def test_what_the_loop_refuses_leaves_nothing_behind() -> None:
    ear = Ear()
    ear.ask(1, Request("a", (1,), 3))
    for request, code in ((Request("b", (), 3), "prompt"), (Request("a", (1,), 3), "duplicate")):
        with pytest.raises(NookError) as refused:
            ear.ask(2, request)
        assert refused.value.code == code
    assert ear.driver.status()["requests"] == 1 and set(ear.driver.executor.admitted) == {"a"}
