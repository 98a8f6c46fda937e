"""A load that several wait for: everybody hears how it goes; it ends when nobody waits any more."""

from __future__ import annotations

import asyncio

import pytest
from inglenook.platform.loading import Loading
from inglenook.platform.session import Report


class Fetch:
    """A download that the test moves on."""

    def __init__(self) -> None:
        self.started = self.stopped = 0
        self.report: Report = lambda done, total: None
        self.gate: asyncio.Future[str] | None = None

    async def start(self, report: Report) -> str:
        self.started += 1
        self.report, self.gate = report, asyncio.get_running_loop().create_future()
        try:
            return await self.gate
        except asyncio.CancelledError:
            self.stopped += 1
            raise


async def soon() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_all_hear_how_it_goes_and_have_it_once() -> None:
    async def main() -> None:
        fetch, early, late = Fetch(), [], []
        loading = Loading(fetch.start)
        first = asyncio.create_task(loading.join(lambda *seen: early.append(seen)))
        await soon()
        fetch.report(1, 4)
        second = asyncio.create_task(loading.join(lambda *seen: late.append(seen)))
        await soon()
        fetch.report(4, 4)
        fetch.gate.set_result("model")
        assert await asyncio.gather(first, second) == ["model", "model"]
        assert early == late == [(1, 4), (4, 4)] and fetch.started == 1
        assert await loading.join(lambda *seen: late.append(seen)) == "model"
        assert late == [(1, 4), (4, 4)] and fetch.started == 1

    asyncio.run(main())


def test_it_stops_when_the_last_has_given_up_and_may_begin_again() -> None:
    async def main() -> None:
        fetch = Fetch()
        loading = Loading(fetch.start)
        waiting = [asyncio.create_task(loading.join(lambda *seen: None)) for _ in range(2)]
        await soon()
        waiting[0].cancel()
        await soon()
        assert waiting[0].cancelled() and not fetch.stopped
        waiting[1].cancel()
        again = asyncio.create_task(loading.join(lambda *seen: None))
        await soon()
        assert fetch.stopped == 1
        again.cancel()
        await soon()
        assert fetch.stopped == fetch.started
        once_more = asyncio.create_task(loading.join(lambda *seen: None))
        await soon()
        fetch.gate.set_result("model")
        assert await once_more == "model"

    asyncio.run(main())


def test_all_hear_of_a_failure_and_the_next_tries_again() -> None:
    async def main() -> None:
        fetch = Fetch()
        loading = Loading(fetch.start)
        waiting = [asyncio.create_task(loading.join(lambda *seen: None)) for _ in range(2)]
        await soon()
        fetch.gate.set_exception(OSError("broke off"))
        for one in waiting:
            with pytest.raises(OSError):
                await one
        again = asyncio.create_task(loading.join(lambda *seen: None))
        await soon()
        assert fetch.started == 2
        fetch.gate.set_result("model")
        assert await again == "model"

    asyncio.run(main())
