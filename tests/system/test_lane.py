"""Many flows at once on one model, in an event loop: order, queueing, cancelling."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from inglenook.elastic.turns import App, Ticket, Turns
from inglenook.errors import NookError
from inglenook.platform.lane import Lane
from inglenook.wire.messages import Progress, Slo


class Model:
    """A model whose passes take as long as the test says; it notices if two run at once."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.busy = False
        self.gates: list[asyncio.Event] = []

    async def work(self, name: str, gate: asyncio.Event | None = None) -> str:
        assert not self.busy, "two passes at once"
        self.busy = True
        self.ran.append(name)
        await (gate.wait() if gate else asyncio.sleep(0))
        self.busy = False
        return name


def heard(events: list[Any]) -> list[float]:
    return [event.total for event in events if isinstance(event, Progress) and event.stage == "queue"]


async def admitted(lane: Lane, app: str, slo: Slo = Slo()) -> Ticket:  # noqa: B008
    return await lane.admit(app, slo, 10, lane.turns.clock(), lambda event: None)


def test_the_most_urgent_pass_goes_first_and_each_flow_has_its_say_before_the_next() -> None:
    async def main() -> None:
        lane, model = Lane(Turns()), Model()
        slow, fast = await admitted(lane, "slow"), await admitted(lane, "fast", Slo(first=1, token=1))

        async def stream(ticket: Ticket, name: str, passes: int) -> None:
            for at in range(passes):
                ticket.written = at
                assert await lane.run(ticket, (1, at, 0), lambda at=at: model.work(f"{name}{at}")) == f"{name}{at}"
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
        first = asyncio.create_task(lane.run(holder, (64, 0, 0), lambda: model.work("first", gate)))
        await asyncio.sleep(0)

        async def whole(app: str) -> None:
            ticket = await admitted(lane, app)
            try:
                await lane.run(ticket, (1, 0, 0), lambda: model.work("stopped"))
            finally:
                ticket.leave()

        stopped = first if when == "running" else asyncio.create_task(whole("a" if when == "queued" else "c"))
        await asyncio.sleep(0)
        last = asyncio.create_task(lane.run(other, (1, 0, 0), lambda: model.work("last")))
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
        one, two = await admitted(lane, "one"), await admitted(lane, "two")

        async def broken() -> None:
            raise NookError("worker-died", "It is gone.", "Again.")

        failing = asyncio.create_task(lane.run(one, (1, 0, 0), broken))
        fine = asyncio.create_task(lane.run(two, (1, 0, 0), lambda: model.work("fine")))
        with pytest.raises(NookError):
            await failing
        assert await fine == "fine"

    asyncio.run(main())
