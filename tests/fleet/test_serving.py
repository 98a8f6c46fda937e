"""A fleet made of a configuration: requests are answered, workers may die, models go and come back."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from engine import tiny
from fleet import served
from fleet.targets import ThreadRuntime
from inglenook.errors import NookError
from inglenook.fleet import serving
from inglenook.fleet.config import Config
from inglenook.fleet.layout import Layout
from inglenook.fleet.runtime import LocalRuntime
from inglenook.fleet.serving import Serving
from inglenook.fleet.worker import retriable


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    served.models(tmp_path)
    return tmp_path


@pytest.fixture
def start(folder: Path) -> Iterator[Callable[..., Serving]]:
    """Starts fleets of threads, or of processes."""
    running: list[Serving] = []

    def begin(top: str = "", each: str = "", *, real: bool = False, told: Callable[[str], None] = print) -> Serving:
        config = Config.load(served.write(folder, top, each))
        runtime = LocalRuntime() if real else ThreadRuntime()
        running.append(Serving.start(config, engine=served.ENGINE, runtime=runtime, told=told))
        return running[-1]

    yield begin
    for one in running:
        one.close()


async def write(fleet: Serving, model: str, prompt: str = "abc", most: int = 5) -> str:
    known = tiny.tokenizer()
    return known.decode([token async for token in fleet.generate(model, known.encode(prompt), most=most)])


def wait(until: Callable[[], object], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < end, "it never came to be"
        time.sleep(0.02)


def state(fleet: Serving, model: str) -> str:
    return next(row.state for _, row in fleet.rows() if row.model == model)


@pytest.mark.parametrize("policy", ["doubling", "fcfs", "roundrobin", "adbs", "spatial"])
def test_models_share_a_worker_under_every_policy(start: Callable[..., Serving], policy: str) -> None:
    fleet = start(f'policy = "{policy}"', "floor = 0.1")

    async def both() -> list[str]:
        return await asyncio.gather(*(write(fleet, name) for name in ("small", "wide", "small")))

    assert asyncio.run(both()) == ["bcdef"] * 3
    assert len({name for name, _ in fleet.rows()}) == (2 if policy == "spatial" else 1)


def test_workers_share_the_models(start: Callable[..., Serving]) -> None:
    fleet = start("workers = 2")
    assert [row.model for _, row in fleet.rows()] in (["small", "wide"], ["wide", "small"])
    assert len({name for name, _ in fleet.rows()}) == 2 and asyncio.run(write(fleet, "wide")) == "bcdef"


def test_speeds_are_measured_once(start: Callable[..., Serving], folder: Path) -> None:
    said: list[str] = []
    start(told=said.append)
    assert said == ["measuring small, wide …"]
    kept = folder / "fleet.profiles.json"
    assert len(json.loads(kept.read_text())) == 2
    start(told=said.append)
    assert len(said) == 1
    fewer = {key: row[:5] for key, row in json.loads(kept.read_text()).items()}  # as profiles were before
    for unfit in ('{"damaged": [1', json.dumps(fewer)):
        kept.write_text(unfit)
        before = len(said)
        start(told=said.append)
        assert len(said) == before + 1 and len(json.loads(kept.read_text())) == 2


def test_what_cannot_be_answered_says_why(start: Callable[..., Serving]) -> None:
    fleet = start()
    for model, prompt, most, code in (
        ("none", "a", 1, "no-model"),
        ("small", "a", 9999, "context"),
        ("small", "", 1, "prompt"),
    ):
        with pytest.raises(NookError) as wrong:
            asyncio.run(write(fleet, model, prompt, most))
        assert wrong.value.code == code and wrong.value.hint


def test_a_configuration_that_does_not_fit(folder: Path) -> None:
    with pytest.raises(NookError, match="context is 99,999 tokens"):
        Layout(Config.load(served.write(folder, each="context = 99999")), served.ENGINE)
    config = Config.of({"arena": "20 KiB", "models": {"wide": {"weights": "wide"}}}, folder / "f.toml")
    with pytest.raises(NookError, match="one request of wide may need") as wrong:
        Layout(config, served.ENGINE)
    assert wrong.value.code == "fleet" and "arena" in wrong.value.hint


def test_an_engine_that_is_not_there_is_told_at_the_start(folder: Path) -> None:
    config = Config.load(served.write(folder))
    with pytest.raises(NookError) as gone:
        Serving.start(config, engine="fleet.nowhere:Engine", runtime=ThreadRuntime())
    assert gone.value.code == "no-torch" and gone.value.hint
    Layout(config, served.ENGINE).measure(ThreadRuntime(), print)  # now all speeds are known
    with pytest.raises(NookError) as gone:
        Serving.start(config, engine="fleet.nowhere:Engine", runtime=ThreadRuntime())
    assert gone.value.code == "no-torch"


def test_more_requests_than_may_wait(start: Callable[..., Serving], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "MOST", 2)
    fleet = start()

    async def three() -> list[str | BaseException]:
        return await asyncio.gather(*(write(fleet, "small") for _ in range(3)), return_exceptions=True)

    *done, refused = asyncio.run(three())
    assert done == ["bcdef"] * 2 and isinstance(refused, NookError) and refused.code == "busy"
    assert asyncio.run(write(fleet, "small")) == "bcdef"


def test_who_leaves_is_out_of_the_batch(start: Callable[..., Serving], folder: Path) -> None:
    (folder / "small" / "slow").write_text("0.02")
    fleet = start()

    async def leave() -> None:
        tokens = fleet.generate("small", [5, 6], most=1000)
        await anext(tokens)
        stays = asyncio.create_task(write(fleet, "small", most=1000))
        while (folder / "small" / "batch").read_text() != "2":
            await asyncio.sleep(0.01)
        await tokens.aclose()
        while (folder / "small" / "batch").read_text() != "1":
            await asyncio.sleep(0.01)
        assert not stays.done()
        stays.cancel()

    asyncio.run(leave())
    wait(lambda: sum(row.running + row.queued + row.used for _, row in fleet.rows()) == 0)


def test_an_idle_model_goes_and_comes_back(start: Callable[..., Serving]) -> None:
    fleet = start(each="idle = 0.3\nfloor = 0.3")
    assert asyncio.run(write(fleet, "small")) == "bcdef"
    wait(lambda: state(fleet, "small") == state(fleet, "wide") == "cold")
    assert asyncio.run(write(fleet, "small")) == "bcdef"
    assert state(fleet, "wide") == "cold"


def test_weights_that_cannot_be_loaded_fail_their_requests_alone(start: Callable[..., Serving], folder: Path) -> None:
    fleet = start(each="idle = 0.3")
    wait(lambda: state(fleet, "small") == "cold")
    (folder / "small" / "broken").touch()
    with pytest.raises(NookError, match="damaged"):
        asyncio.run(write(fleet, "small"))
    assert asyncio.run(write(fleet, "wide")) == "bcdef"
    (folder / "small" / "broken").unlink()
    assert asyncio.run(write(fleet, "small")) == "bcdef"


def test_who_leaves_while_weights_are_loaded(start: Callable[..., Serving]) -> None:
    fleet = start(each="idle = 0.3")
    wait(lambda: state(fleet, "small") == "cold")

    async def leave() -> None:
        task = asyncio.create_task(write(fleet, "small"))
        await asyncio.sleep(0)
        task.cancel()

    asyncio.run(leave())
    assert asyncio.run(write(fleet, "small")) == "bcdef"


def test_a_request_goes_on_when_its_worker_is_lost(start: Callable[..., Serving], folder: Path) -> None:
    (folder / "small" / "slow").write_text("0.01")
    fleet = start()
    wait(lambda: state(fleet, "small") == "ready")

    async def lose() -> str:
        task = asyncio.create_task(write(fleet, "small", most=60))
        wait(lambda: (folder / "small" / "ran").exists())
        await asyncio.sleep(0.1)
        worker = fleet._workers[0].supervised.up()
        assert worker
        worker.kill()
        return await task

    alone = "".join(chr(ord("a") + (1 + n) % 26) for n in range(60))
    assert asyncio.run(lose()) == alone


def test_models_move_as_the_load_does(folder: Path) -> None:
    """On a clock of the test: `a` and `b` share a worker beside `c`, until `a` is asked more than the others."""
    now = [1000.0]
    tables = [f'[models.{name}]\nweights = "{path}"\nshare = {share}\nfloor = 0.3\n' for name, path, share in THREE]
    (folder / "fleet.toml").write_text("\n".join(['arena = "8 MiB"\nworkers = 2', *tables]), "utf-8")
    config = Config.load(folder / "fleet.toml")
    layout = Layout(config, served.ENGINE)
    speeds = {layout._key(service): (0.05, 0.01, 0.001, 0.0, 0.0, 0.0, 0.0) for service in layout.services.values()}
    config.profiles.write_text(json.dumps(speeds), "utf-8")
    runtime = ThreadRuntime()
    layout.measure(runtime, pytest.fail)

    def together(fleet: Serving) -> set[frozenset[str]]:
        found: dict[str, set[str]] = {}
        for worker, row in fleet.rows():
            found.setdefault(worker, set()).add(row.model)
        return {frozenset(models) for models in found.values()}

    async def load(fleet: Serving) -> None:
        for n in range(130):
            now[0] += 0.25
            assert await write(fleet, "b" if n % 7 == 0 else "c" if n % 13 == 0 else "a") == "bcdef"

    async def meanwhile(fleet: Serving) -> list[str]:
        (folder / "small" / "slow").write_text("0.01")
        running = [asyncio.create_task(write(fleet, name, most=300)) for name in ("b", "c")]
        await asyncio.sleep(0.05)
        now[0] += 30  # a minute is over
        await asyncio.to_thread(wait, lambda: together(fleet) == {frozenset("a"), frozenset("bc")})
        return await asyncio.gather(*running, write(fleet, "a"), write(fleet, "b"))

    with closing(Serving(layout, runtime, lambda: now[0])) as fleet:
        wait(lambda: {row.state for _, row in fleet.rows()} == {"ready"})
        assert together(fleet) == {frozenset("ab"), frozenset("c")}
        asyncio.run(load(fleet))
        alone = "".join(chr(ord("a") + (1 + n) % 26) for n in range(300))
        assert asyncio.run(meanwhile(fleet)) == [alone, alone, "bcdef", "bcdef"]
        wait(lambda: sorted(row.model for _, row in fleet.rows()) == ["a", "b", "c"])  # where it was, it is no more


THREE = (("a", "small", 1), ("b", "small", 1), ("c", "wide", 10))


def test_a_request_that_kills_its_workers_is_given_up(start: Callable[..., Serving], folder: Path) -> None:
    """In processes, for it really kills them; the others of the fleet go on."""
    fleet = start("workers = 2", real=True)
    assert asyncio.run(write(fleet, "small")) == "bcdef"
    (folder / "small" / "deadly").touch()
    with pytest.raises(NookError) as lost:
        asyncio.run(write(fleet, "small"))
    assert lost.value.code == "worker-lost" and retriable(lost.value)
    assert asyncio.run(write(fleet, "wide")) == "bcdef"
    (folder / "small" / "deadly").unlink()
    assert asyncio.run(write(fleet, "small")) == "bcdef"
