"""Calls on an event loop: what the driver of a tab keeps, several at once, and what finds no memory beside others."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from engine.test_evals_runs import asks, call, echo
from inglenook.errors import NookError
from inglenook.evals import targets
from inglenook.evals.calls import Call, Image, Message, Reply, Settings
from inglenook.evals.drive import adrive
from inglenook.wire import messages as wire


class Kept:
    def __init__(self) -> None:
        self.kept: dict[str, Reply] = {}

    async def find(self, calls: Sequence[Call]) -> list[Reply | None]:
        return [self.kept.get(one.key) for one in calls]

    async def put(self, call: Call, reply: Reply) -> None:
        self.kept[call.key] = reply


class Model:
    """Answers when the test says; `most` is how many calls were under way at once."""

    def __init__(self) -> None:
        self.open: dict[str, asyncio.Event] = {}
        self.asked: list[str] = []
        self.most = 0

    async def __call__(self, one: Call) -> Reply:
        text = str(one.messages[0].content)
        self.asked.append(text)
        self.open[text] = asyncio.Event()
        self.most = max(self.most, len(self.open))
        try:
            await self.open[text].wait()
        finally:
            del self.open[text]
        if text == "x":
            raise NookError("no-model", "It is gone.", "Load it.")
        return echo(one)

    async def until(self, *texts: str) -> None:
        """These are under way, and no others."""
        for _ in range(100):
            await asyncio.sleep(0)
        assert sorted(self.open) == sorted(texts)


def test_one_call_at_a_time_and_a_run_that_was_stopped_goes_on() -> None:
    async def main() -> None:
        model, rows = Model(), Kept()
        stopped = asyncio.create_task(adrive(asks("abba", "c"), model, rows))
        for text in "ab":
            await model.until(text)
            model.open[text].set()
        await model.until("c")
        stopped.cancel()
        with pytest.raises(asyncio.CancelledError):
            await stopped
        assert len(rows.kept) == 2 and not model.open and model.most == 1
        resumed = asyncio.create_task(adrive(asks("abba", "c"), model, rows))
        await model.until("c")
        model.open["c"].set()
        assert await resumed == ["re: a", "re: b", "re: b", "re: a", "re: c"]
        assert model.asked == ["a", "b", "c", "c"] and len(rows.kept) == 3

    asyncio.run(main())


def test_as_many_at_once_as_their_shares_leave_room_for() -> None:
    async def main() -> None:
        model, rows = Model(), Kept()
        share = lambda one: {"w": 1.0, "h": 0.5}.get(one.messages[0].content, 1 / 6)
        run = asyncio.create_task(adrive(asks("abcdefghiw", "j"), model, rows, share=share))
        await model.until(*"abcdef")
        model.open["c"].set()  # whichever ends first: the next one takes its place
        await model.until(*"abdefg")
        model.open["a"].set()
        await model.until(*"bdefg")  # half of the model is not free yet
        model.open["b"].set()
        model.open["d"].set()
        await model.until(*"efgh")
        for text in "efgh":
            model.open[text].set()
        await model.until("i")  # the whole model, when nobody else is there
        model.open["i"].set()
        await model.until("w")
        model.open["w"].set()
        await model.until("j")
        model.open["j"].set()
        assert await run == [f"re: {text}" for text in "abcdefghiwj"] and len(rows.kept) == 11

    asyncio.run(main())


def test_what_ends_a_run_stops_what_is_under_way_and_keeps_what_was_answered() -> None:
    async def main() -> None:
        model, rows = Model(), Kept()
        run = asyncio.create_task(adrive(asks("axbc"), model, rows, share=lambda one: 0.25))
        await model.until(*"axbc")
        for text in "axb":  # in one go
            model.open[text].set()
        with pytest.raises(NookError, match="It is gone"):
            await run
        assert {reply.text for reply in rows.kept.values()} == {"re: a", "re: b"} and not model.open

    asyncio.run(main())


def test_a_call_that_finds_no_memory_is_asked_again_when_another_has_ended() -> None:
    async def main() -> None:
        pages, ended = 3, list[str]()

        async def run(request: Any, emit: Any) -> None:
            """A model with room for two at once."""
            nonlocal pages
            needed = len(request.messages[0].content)
            if needed > pages:
                raise NookError("memory", "Other answers use all of it.", "Wait.")
            pages -= needed
            try:
                for _ in range(5):
                    await asyncio.sleep(0)
                emit(wire.Token(request.messages[0].content))
                ended.append(request.messages[0].content)
            finally:
                pages += needed

        model = targets.Resident(run)
        replies = await asyncio.gather(*(model(call(text)) for text in ("a", "bbb", "c", "ddd")))
        assert [reply.text for reply in replies] == ["a", "bbb", "c", "ddd"] and len(ended) == 4
        with pytest.raises(NookError, match="memory"):  # not even alone
            await model(call("eeeeeee"))

    asyncio.run(main())


def test_the_share_of_a_call_grows_with_what_it_may_need() -> None:
    async def run(request: Any, emit: Any) -> None:
        """Never asked."""

    share = targets.Resident(run).share
    few = Settings(max_tokens=16)
    assert share(call("short", settings=few)) == pytest.approx(1 / 6)
    assert share(call("x" * 4500, settings=few)) == pytest.approx((1500 + 16 + 64) / 3000)
    assert share(call("short", settings=Settings(max_tokens=3000))) > 1
    picture = Call("t", (Message("user", ("y" * 3000, Image(b"x" * 99999))),), few)
    assert share(picture) == pytest.approx((1000 + 16 + 64) / 3000)
