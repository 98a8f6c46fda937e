"""What a flow begins goes on beside it, under a real event loop."""

from __future__ import annotations

import asyncio

from engine.test_flow import perform
from inglenook.errors import NookError
from inglenook.flow import Begin, Effect, Finish, Flow, Get, Pause, adrive


def aside(log: list[str]) -> Flow:
    """Begins what takes long, does something else, and waits."""
    begun = yield Begin(Get(["a"]))
    log.append("meanwhile")
    other = yield Get(["b"])
    yield [*(yield Finish(begun)), *other]


def test_what_was_begun_is_under_way_while_the_flow_goes_on() -> None:
    async def main() -> None:
        events: list[object] = []
        let = asyncio.Event()
        log: list[str] = []

        async def slow(effect: Effect) -> object:
            assert isinstance(effect, Get)
            log.append(f"{effect.keys[0]} begins")
            if effect.keys == ["a"]:
                await let.wait()  # which the other one sets: one after the other would never end
            else:
                await asyncio.sleep(0)
                let.set()
            log.append(f"{effect.keys[0]} ends")
            return perform(effect)

        await asyncio.wait_for(adrive(aside(log), slow, events.append), 10)
        assert events == [[b"one", b"two"]]
        assert log.index("a begins") < log.index("b ends") < log.index("a ends")
        if hasattr(asyncio, "eager_task_factory"):
            assert log.index("a begins") < log.index("meanwhile")

    asyncio.run(main())


def test_an_error_of_what_was_begun_comes_where_it_is_waited_for() -> None:
    def flow() -> Flow:
        begun = yield Begin(Get(["x"]))
        yield "still here"
        try:
            yield Finish(begun)
        except NookError as error:
            yield error.code

    async def main() -> None:
        events: list[object] = []

        async def answer(effect: Effect) -> object:
            return perform(effect)

        await adrive(flow(), answer, events.append)
        assert events == ["still here", "missing"]

    asyncio.run(main())


def test_what_was_begun_and_left_is_stopped() -> None:
    def flow() -> Flow:
        yield Begin(Get(["a"]))
        yield Pause()

    async def main() -> None:
        log: list[str] = []

        async def never(effect: Effect) -> object:
            try:
                await asyncio.sleep(0 if isinstance(effect, Pause) else 1000)
            except asyncio.CancelledError:
                log.append("stopped")
                raise
            return None

        await adrive(flow(), never, print)
        await asyncio.sleep(0)
        assert log == ["stopped"]

    asyncio.run(main())
