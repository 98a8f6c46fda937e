"""Flows and their two drivers behave alike."""

from __future__ import annotations

import asyncio

import pytest
from inglenook.errors import Cancelled, NookError
from inglenook.flow import Begin, Effect, Finish, Flow, Get, Pause, adrive, drive


def shout(keys: list[str]) -> Flow:
    yield "begin"
    found = yield Get(keys)
    yield [data.decode().upper() for data in found]
    return "returned"


def careful(log: list[str]) -> Flow:
    try:
        yield Get(["x"])
    except NookError as error:
        log.append(error.code)
        yield "recovered"
    finally:
        log.append("closed")


PAGES = {"a": b"one", "b": b"two"}


def perform(effect: Effect, emit: object = None) -> object:
    assert isinstance(effect, Get)
    if effect.keys == ["x"]:
        raise NookError("missing", "no x")
    return [PAGES[key] for key in effect.keys]


def arun(flow: Flow) -> list[object]:
    events: list[object] = []

    async def answer(effect: Effect) -> object:
        return perform(effect)

    coroutine = adrive(flow, answer, events.append)
    with pytest.raises(StopIteration):  # nothing here suspends, so no event loop is needed
        coroutine.send(None)
    return events


def test_both_drivers_answer_effects_and_deliver_events_in_order() -> None:
    expected = ["begin", ["TWO", "ONE"]]
    assert list(drive(shout(["b", "a"]), perform)) == expected
    assert arun(shout(["b", "a"])) == expected


def test_the_result_of_a_flow_is_that_of_its_driver() -> None:
    def flow() -> Flow:
        yield "an event"
        return (yield Get(["a"]))

    async def answer(effect: Effect) -> object:
        return perform(effect)

    with pytest.raises(StopIteration) as end:
        adrive(flow(), answer, lambda event: None).send(None)
    assert end.value.value == [b"one"]


def test_errors_are_thrown_into_the_flow() -> None:
    for run in (lambda flow: list(drive(flow, perform)), arun):
        log: list[str] = []
        assert run(careful(log)) == ["recovered"]
        assert log == ["missing", "closed"]


def test_an_error_the_flow_does_not_take_comes_out() -> None:
    def careless() -> Flow:
        yield Get(["x"])

    with pytest.raises(NookError):
        list(drive(careless(), perform))


def test_events_emitted_while_an_effect_is_performed_come_before_the_next_of_the_flow() -> None:
    def slow(effect: Effect, emit) -> None:  # type: ignore[no-untyped-def]
        emit("halfway")

    def flow() -> Flow:
        yield Pause()
        yield "after"

    assert list(drive(flow(), slow)) == ["halfway", "after"]


def test_closing_a_driven_flow_runs_its_cleanup() -> None:
    log: list[str] = []

    def flow() -> Flow:
        try:
            yield "one"
            yield "two"
        finally:
            log.append("cleaned")

    driven = drive(flow(), perform)
    assert next(driven) == "one"
    driven.close()
    assert log == ["cleaned"]


def test_cancelling_the_task_reaches_the_flow_where_it_waits() -> None:
    log: list[str] = []

    def flow() -> Flow:
        try:
            yield Pause()
        finally:
            log.append("cleaned")

    class Forever:
        def __await__(self):  # type: ignore[no-untyped-def]
            yield

    async def wait(effect: Effect) -> None:
        await Forever()

    coroutine = adrive(flow(), wait, log.append)
    coroutine.send(None)
    with pytest.raises(asyncio.CancelledError):
        coroutine.throw(asyncio.CancelledError())
    assert log == ["cleaned"]


def test_what_was_begun_is_done_where_it_is_waited_for() -> None:
    def flow() -> Flow:
        begun, bad = (yield Begin(Get(["a"]))), (yield Begin(Get(["x"])))
        other = yield Get(["b"])
        yield [*(yield Finish(begun)), *other]
        try:
            yield Finish(bad)
        except NookError as error:
            yield error.code

    assert list(drive(flow(), perform)) == [[b"one", b"two"], "missing"]


def test_cancelled_is_not_an_error() -> None:
    assert not issubclass(Cancelled, Exception)
