"""Many flows at once on one model, in an event loop: order, queueing, cancelling."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from inglenook.elastic.turns import App, Ticket, Turns
from inglenook.errors import NookError
from inglenook.flow import Forward, Score
from inglenook.platform.lane import Lane, Pass, Work
from inglenook.wire.messages import Progress, Slo


class Model:
    """A model whose passes take as long as the test says; it notices if two run at once."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.busy = False
        self.gates: list[asyncio.Event] = []

    def work(self, name: str, gate: asyncio.Event | None = None) -> Work:
        """What runs a pass, and answers with this name."""

        async def work(passes: Sequence[Pass]) -> list[str]:
            assert not self.busy, "two passes at once"
            self.busy = True
            self.ran.append(name)
            await (gate.wait() if gate else asyncio.sleep(0))
            self.busy = False
            return [name]

        return work


def heard(events: list[Any]) -> list[float]:
    return [event.total for event in events if isinstance(event, Progress) and event.stage == "queue"]


def one(ticket: Ticket, at: int = 0, tokens: int = 1) -> Forward:
    """A pass of the ticket's."""
    return Forward([1] * tokens, at, pages=(0,), turn=ticket)


async def admitted(lane: Lane, app: str, slo: Slo = Slo()) -> Ticket:  # noqa: B008
    return await lane.admit(app, slo, 10, lane.turns.clock(), lambda event: None)


def test_the_most_urgent_pass_goes_first_and_each_flow_has_its_say_before_the_next() -> None:
    async def main() -> None:
        lane, model = Lane(Turns()), Model()
        slow, fast = await admitted(lane, "slow"), await admitted(lane, "fast", Slo(first=1, token=1))

        async def stream(ticket: Ticket, name: str, passes: int) -> None:
            for at in range(passes):
                ticket.written = at
                assert await lane.run(one(ticket, at), model.work(f"{name}{at}")) == f"{name}{at}"
            ticket.leave()

        await asyncio.gather(stream(slow, "s", 3), stream(fast, "f", 3))
        assert model.ran == ["s0", "f0", "f1", "f2", "s1", "s2"]
        assert not lane.turns.tickets and lane.turns.running is None

    asyncio.run(main())


def test_who_queues_hears_of_it_and_comes_in_when_there_is_room() -> None:
    async def main() -> None:
        lane = Lane(Turns({"a": App(open=1, queue=2)}))
        first = await admitted(lane, "a")
        events: list[list[Any]] = [[], []]
        later = [asyncio.create_task(lane.admit("a", Slo(), 10, 0.0, heard.append)) for heard in events]
        await asyncio.sleep(0)
        with pytest.raises(NookError) as refused:
            await admitted(lane, "a")
        assert refused.value.code == "busy"
        assert heard(events[0]) == [1] and heard(events[1]) == [2]
        first.leave()
        second = await later[0]
        assert not later[1].done()
        second.leave()
        (await later[1]).leave()
        assert heard(events[1]) == [2, 1] and not lane.turns.tickets

    asyncio.run(main())


@pytest.mark.parametrize("when", ["queued", "waiting", "chosen", "running"])
def test_a_stopped_request_holds_nobody_up(when: str) -> None:
    async def main() -> None:
        lane, model = Lane(Turns({"a": App(open=1)})), Model()
        gate = asyncio.Event()
        holder, other = await admitted(lane, "a"), await admitted(lane, "b")
        first = asyncio.create_task(lane.run(one(holder, 0, 64), model.work("first", gate)))
        await asyncio.sleep(0)

        async def whole(app: str) -> None:
            ticket = await admitted(lane, app)
            try:
                await lane.run(one(ticket), model.work("stopped"))
            finally:
                ticket.leave()

        stopped = first if when == "running" else asyncio.create_task(whole("a" if when == "queued" else "c"))
        await asyncio.sleep(0)
        last = asyncio.create_task(lane.run(one(other), model.work("last")))
        await asyncio.sleep(0)
        if when == "chosen":  # cancelled between its turn's coming and its going on
            gate.set()
            while lane.turns.running is holder or lane.turns.running is None:
                await asyncio.sleep(0)
        stopped.cancel()
        if when == "running":  # the pass goes on, and nobody runs beside it
            await asyncio.sleep(0.01)
            assert not stopped.done() and model.ran == ["first"]
            gate.set()
        with pytest.raises(asyncio.CancelledError):
            await stopped
        if when == "running":
            holder.leave()
        gate.set()
        assert await last == "last"
        assert model.ran[-1] == "last" and (when == "chosen" or "stopped" not in model.ran)

    asyncio.run(main())


def test_a_pass_that_fails_fails_its_own_request_only() -> None:
    async def main() -> None:
        lane, model = Lane(Turns()), Model()
        wrong, right = await admitted(lane, "one"), await admitted(lane, "two")

        async def broken(passes: Sequence[Pass]) -> list[Any]:
            raise NookError("worker-died", "It is gone.", "Again.")

        failing = asyncio.create_task(lane.run(one(wrong), broken))
        fine = asyncio.create_task(lane.run(one(right), model.work("fine")))
        with pytest.raises(NookError):
            await failing
        assert await fine == "fine"

    asyncio.run(main())


class Batching:
    """A model that says of each pass which ones ran with it; `gates` are waited for, one a pass."""

    def __init__(self, refuses: int = -1) -> None:
        self.ran: list[list[int]] = []
        self.gates: list[asyncio.Event] = []
        self.refuses = refuses

    async def work(self, passes: Sequence[Pass]) -> list[list[int]]:
        ran = [effect.at for effect in passes]
        self.ran.append(ran)
        await (self.gates.pop(0).wait() if self.gates else asyncio.sleep(0))
        if self.refuses in ran:
            raise NookError("forward", "This one does not continue anything.", "")
        return [[at, *ran] for at in ran]


def together(model: Batching, count: int, limit: int = 4) -> tuple[Lane, list[asyncio.Task[Any]], asyncio.Event]:
    """A pass that waits at a gate, and `count` more that come meanwhile."""
    lane, gate = Lane(Turns(), limit), asyncio.Event()
    model.gates.append(gate)

    async def pass_(at: int) -> Any:
        ticket = await admitted(lane, f"app {at}")
        try:
            return await lane.run(one(ticket, at), model.work)
        finally:
            ticket.leave()

    return lane, [asyncio.create_task(pass_(at)) for at in range(count + 1)], gate


def test_what_waits_runs_together_as_many_as_may() -> None:
    async def main() -> None:
        model = Batching()
        lane, tasks, gate = together(model, 6)
        await asyncio.sleep(0.01)
        assert model.ran == [[0]]
        gate.set()
        assert await asyncio.gather(*tasks) == [
            [0, 0], *([at, 1, 2, 3, 4] for at in (1, 2, 3, 4)), *([at, 5, 6] for at in (5, 6))
        ]  # fmt: skip
        assert not lane.turns.tickets and lane.turns.running is None and not lane.turns.joined
        model = Batching()
        _, tasks, gate = together(model, 2, limit=1)
        gate.set()
        await asyncio.gather(*tasks)
        assert model.ran == [[0], [1], [2]]

    asyncio.run(main())


def test_passes_of_another_kind_go_alone() -> None:
    async def main() -> None:
        model, turns = Batching(), Turns()
        lane, gate = Lane(turns, 8), asyncio.Event()
        model.gates.append(gate)
        ticket = [await admitted(lane, f"app {n}") for n in range(8)]
        effects = [
            one(ticket[0], 0), one(ticket[1], 1), one(ticket[2], 2, tokens=5), replace(one(ticket[3], 3), level=2),
            replace(one(ticket[4], 4), top=5), Score([1, 2], 5, pages=(0,), turn=ticket[5]),
            replace(one(ticket[6], 6), allow=bytes(8)), replace(one(ticket[7], 7), pages=()),
        ]  # fmt: skip
        tasks = [asyncio.create_task(lane.run(effect, model.work)) for effect in effects]
        await asyncio.sleep(0.01)
        gate.set()
        await asyncio.gather(*tasks)
        assert sorted(model.ran) == [[0], [1, 6], [2], [3], [4], [5], [7]]
        assert [len(t.runs) for t in ticket] == [1] * 8 and [t.runs[0].others for t in ticket] == [
            0,
            1,
            0,
            0,
            0,
            0,
            1,
            0,
        ]

    asyncio.run(main())


def test_where_passes_fail_together_each_is_tried_alone() -> None:
    async def main() -> None:
        model = Batching(refuses=2)
        _, tasks, gate = together(model, 3)
        await asyncio.sleep(0.01)
        gate.set()
        _, *told = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(told.pop(1), NookError) and told == [[1, 1], [3, 3]]
        assert model.ran == [[0], [1, 2, 3], [1], [2], [3]]

    asyncio.run(main())


@pytest.mark.parametrize("who", ["the first", "another"])
def test_who_is_stopped_within_a_pass_waits_for_its_end_and_the_others_are_answered(who: str) -> None:
    async def main() -> None:
        model = Batching()
        lane, tasks, gate = together(model, 3)
        second = asyncio.Event()
        model.gates.append(second)
        await asyncio.sleep(0.01)
        gate.set()
        await tasks[0]
        await asyncio.sleep(0.01)
        assert model.ran == [[0], [1, 2, 3]]
        stopped = tasks.pop(1 if who == "the first" else 2)
        stopped.cancel()
        await asyncio.sleep(0.01)
        assert not stopped.done()
        second.set()
        with pytest.raises(asyncio.CancelledError):
            await stopped
        assert [told[1:] for told in await asyncio.gather(*tasks[1:])] == [[1, 2, 3]] * 2
        assert not lane.turns.tickets and lane.turns.running is None and not lane.turns.joined

    asyncio.run(main())
