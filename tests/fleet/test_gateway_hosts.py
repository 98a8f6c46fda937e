"""Models behind the gateway that run on other machines: from nothing, through pipelines, merged, gone, and back."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest

pytest.importorskip("torch", reason="torch is not there: `build.py test cluster` installs it")
pytest.importorskip("openai", reason="the openai client is not here (python3 build.py dev)")

from fleet import llama as engine
from fleet import served as fleets
from fleet.test_cold_host import Running, hosting, wait
from fleet.test_gateway import alone, asked, begun, streamed
from inglenook.errors import NookError
from inglenook.fleet.actor import Out, Reply
from inglenook.fleet.cold import driver as drivers
from inglenook.fleet.cold import hosts as bed
from inglenook.fleet.cold import outline
from inglenook.fleet.cold.channel import GONE
from inglenook.fleet.cold.driver import Driver
from inglenook.fleet.cold.hosts import Hosts
from inglenook.fleet.cold.store import Store
from inglenook.fleet.config import Config
from inglenook.fleet.convert import WEIGHTS
from inglenook.fleet.layout import Layout
from inglenook.fleet.request import Request
from inglenook.fleet.serving import ENGINE
from inglenook.fleet.weights import Checkpoint

SHAPES = {name: {**sizes, "layers": 6} for name, sizes in fleets.SHAPES.items()}
LONG = 1000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("fleet")
    fleets.models(made, SHAPES, 4096)
    (made / "fleet.key").write_text("only for tests of a fleet")
    return made


@contextmanager
def machines(folder: Path, count: int) -> Iterator[list[Running]]:
    with ExitStack() as stack:
        yield [stack.enter_context(hosting(folder / "fleet.key", f"127.0.0.{n + 2}")) for n in range(count)]


@pytest.fixture(scope="module")
def two(folder: Path) -> Iterator[list[Running]]:
    with machines(folder, 2) as hosts:
        yield hosts


def told(
    folder: Path, hosts: list[Running], *, names: tuple[str, ...] = ("small",), idle: float = 0,
    memory: str = "1 GiB", seconds: float = 4, weights: str = "", more: str = "",
) -> Config:  # fmt: skip
    """A configuration in which a host needs so many `seconds` for the small model, and two are in time."""
    rate = 8e-3 * (folder / "small" / WEIGHTS).stat().st_size / seconds
    text = f'key = "fleet.key"\narena = "8 MiB"\nidle = {idle}\n'
    for n, host in enumerate(hosts):
        text += f'[hosts.h{n}]\naddress = "{host.address[0]}:{host.address[1]}"\nmemory = "{memory}"\n'
        text += f'bandwidth = "{rate:.3f} kbit/s"\n'
    for name in names:
        text += f'[models.{name}]\nengine = "pipeline"\nweights = "{weights or name}"\n{more}\n'
        text += f"slo = {{ first = {750 * seconds}, token = 60000 }}\n"
    (folder / "fleet.toml").write_text(text, "utf-8")
    return Config.load(folder / "fleet.toml")


def workers(hosts: list[Running]) -> list[int]:
    return [len(host.workers()) for host in hosts]


def state(host: str, model: str = "small") -> str:
    rows = httpx.get(f"http://{host}/metrics.json").json()["workers"]
    return str(next(row["state"] for row in rows if row["model"] == model))


class Watching:
    """How many workers there were on each host at a time, meanwhile."""

    def __init__(self, hosts: list[Running]) -> None:
        self.seen: set[tuple[int, ...]] = set()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, args=(hosts,), daemon=True)

    def _look(self, hosts: list[Running]) -> None:
        while not self._over.is_set():
            self.seen.add(tuple(workers(hosts)))

    def __enter__(self) -> set[tuple[int, ...]]:
        self._thread.start()
        return self.seen

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


@pytest.mark.slow
def test_from_nothing_through_a_pipeline_to_one_worker_and_back(folder: Path, two: list[Running]) -> None:
    truth = alone(folder, "small", 400)
    with begun(told(folder, two, idle=1), real=True) as host:
        for _ in range(2):
            wait(lambda: workers(two) == [0, 0] and state(host) == "cold")
            with Watching(two) as seen:
                assert streamed(asked(host, max_tokens=400, stream=True)) == truth
            assert (1, 1) in seen, "it began as a pipeline of both"
            wait(lambda: state(host) == "ready" and sum(workers(two)) == 1)  # it was merged
            wait(lambda: state(host) == "cold" and not sum(workers(two)))
    wait(lambda: not sum(workers(two)))


@pytest.mark.slow
def test_a_host_that_dies_in_the_middle_of_answers(folder: Path) -> None:
    truth = {seed: alone(folder, "small", LONG, seed) for seed in (None, 7)}
    found: dict[int | None, str] = {}
    with machines(folder, 3) as hosts, begun(told(folder, hosts), real=True) as host:

        def ask(seed: int | None) -> None:
            way = {} if seed is None else {"temperature": 1, "seed": seed}
            found[seed] = streamed(asked(host, max_tokens=LONG, stream=True, **way))

        threads = [threading.Thread(target=ask, args=(seed,)) for seed in truth]
        for thread in threads:
            thread.start()
        wait(lambda: state(host) == "ready" and sum(workers(hosts)) == 1)
        [victim] = [one for one in hosts if one.workers()]
        assert any(thread.is_alive() for thread in threads)
        victim.process.kill()
        for thread in threads:
            thread.join(60)
        assert found == truth
        for one in hosts:
            one.process.kill()
        began = time.monotonic()
        wait(lambda: state(host) == "down")
        assert time.monotonic() - began < 5


@pytest.mark.slow
def test_across_throttled_networks(folder: Path) -> None:
    if not bed.available():
        pytest.skip("network namespaces need root, ip and tc")
    seconds, rate = 4.0, (folder / "small" / WEIGHTS).stat().st_size / 4.0
    with Hosts.open(2, rate, namespaces=True) as slow, ExitStack() as stack:
        within = [
            hosting(folder / "fleet.key", host.address, "ip", "netns", "exec", Path(host.namespace).name)
            for host in slow
        ]
        hosts = [stack.enter_context(one) for one in within]
        truth = alone(folder, "small", 100)
        with begun(told(folder, hosts, seconds=seconds), real=True) as host:
            began = time.monotonic()
            with Watching(hosts) as seen:
                chunks = asked(host, max_tokens=100, stream=True)
                text = streamed([next(chunks), next(chunks)])
                first = time.monotonic() - began
                text += streamed(chunks)
            assert text == truth and (1, 1) in seen
            assert first > 0.8 * seconds / 2, "half of the weights takes as long"
            wait(lambda: sum(workers(hosts)) == 1)


@pytest.mark.slow
def test_a_cable_that_is_pulled_in_the_middle_of_an_answer(folder: Path) -> None:
    """No connection is closed: what tells is that nothing comes."""
    if not bed.available():
        pytest.skip("network namespaces need root, ip and tc")
    with Hosts.open(2, 50e6, namespaces=True) as cables, ExitStack() as stack:
        within = [
            hosting(folder / "fleet.key", host.address, "ip", "netns", "exec", Path(host.namespace).name)
            for host in cables
        ]
        hosts = [stack.enter_context(one) for one in within]
        truth = alone(folder, "small", 400)
        with begun(told(folder, hosts, seconds=0.001), real=True) as host:
            chunks = asked(host, max_tokens=400, stream=True)
            text, times = streamed([next(chunks) for _ in range(5)]), [time.monotonic()]
            [victim] = [n for n, one in enumerate(hosts) if one.workers()]
            cable = Path(cables[victim].namespace).name.replace("nook", "nv")
            subprocess.run(["ip", "link", "set", cable, "down"], check=True)
            for chunk in chunks:
                text += streamed([chunk])
                times.append(time.monotonic())
            assert text == truth and hosts[1 - victim].workers()
            stood = max(later - before for before, later in pairwise(times))
            assert GONE / 2 < stood < 10
            wait(lambda: not hosts[victim].workers())  # they hear no more of their owner


def test_weights_from_a_store(folder: Path, two: list[Running], tmp_path: Path) -> None:
    with Store(folder) as store:
        config = told(folder, two, weights=store.url("small"))
        outline.bring(config)
        kept = config.models["small"].weights
        assert (kept / WEIGHTS).stat().st_size == (folder / "small" / WEIGHTS).stat().st_size
        assert (kept / WEIGHTS).stat().st_blocks * 512 < 20_000, "its weights are not there"
        with begun(config, real=True) as host:
            assert streamed(asked(host, max_tokens=60, stream=True)) == alone(folder, "small", 60)
        with pytest.raises(NookError, match=r"no config\.json at") as gone:
            outline.bring(told(folder, two, weights=store.url("nothing")))
        assert gone.value.code == "fetch" and gone.value.hint
    with pytest.raises(NookError, match="is not there") as gone:
        outline.bring(config)
    assert gone.value.code == "fetch"


def test_what_does_not_fit(folder: Path, two: list[Running]) -> None:
    with pytest.raises(NookError, match=r"models\.small needs \d+ MiB on one of the hosts") as wrong:
        Layout(told(folder, two, memory="5 MiB"), ENGINE)
    assert wrong.value.code == "fleet" and "memory" in wrong.value.hint
    config = told(folder, two)
    with pytest.raises(NookError, match="one request of small may need") as wrong:
        Layout(Config(**{**{name: getattr(config, name) for name in config.__slots__}, "arena": 1 << 16}), ENGINE)


# ── the worker alone ──────────────────────────────────────────────────────────────────────────────────────────────


class Asking:
    """A driver of pipelines in this thread, and what it says of each request."""

    def __init__(self, config: Config, clock: Callable[[], float]) -> None:
        spec = Layout(config, ENGINE).specs(())[0][1]
        self.driver = Driver(*spec.args, clock=clock)
        self.said: dict[str, list[Reply]] = {}
        self.outs: dict[str, Out] = {}

    def ask(self, model: str, most: int, name: str = "", prompt: tuple[int, ...] = (5, 6, 7)) -> str:
        name = name or f"r{len(self.said)}"
        said = self.said[name] = []
        out = self.outs[name] = Out(1, said.append)
        self.driver.generate(out, Request(name, model, prompt, most))
        return name

    def until(self, done: Callable[[], object], seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while not done():
            assert time.monotonic() < end, "it never came to be"
            self.driver.step()
            self.driver.tick(())

    def over(self, name: str) -> Reply | None:
        return next((reply for reply in self.said[name] if reply.kind != "item"), None)

    def tokens(self, name: str) -> list[Any]:
        return [reply.value for reply in self.said[name] if reply.kind == "item"]

    def close(self) -> None:
        for machine in self.driver._fleet.machines.values():
            machine.close()  # type: ignore[attr-defined]


@pytest.fixture
def asking(folder: Path, two: list[Running]) -> Iterator[Callable[..., Asking]]:
    made: list[Asking] = []

    def begin(clock: Callable[[], float] = time.monotonic, **more: Any) -> Asking:
        config = told(folder, two, **more)
        outline.bring(config)
        made.append(Asking(config, clock))
        return made[-1]

    yield begin
    for one in made:
        one.close()
    wait(lambda: not sum(workers(two)))


def test_models_share_the_hosts_and_none_waits_for_another(asking: Callable[..., Asking]) -> None:
    fleet = asking(names=("small", "wide"), seconds=0.001)
    first = fleet.ask("small", LONG)
    fleet.until(lambda: len(fleet.tokens(first)) > 3)
    other = fleet.ask("wide", 30)
    fleet.until(lambda: fleet.over(other))
    assert not fleet.over(first) and len(fleet.tokens(other)) == 30
    assert fleet.over(other) == Reply(1, "end", "length")
    rows = {row.model: row for row in fleet.driver.tick(())}
    assert rows["small"].running == 1 and rows["small"].used > 0 and rows["wide"].running == 0


def test_an_idle_model_makes_room_for_another(asking: Callable[..., Asking], two: list[Running]) -> None:
    fleet = asking(names=("small", "wide"), memory="10 MiB")  # for one of them on a host
    first = fleet.ask("small", 5)
    fleet.until(lambda: fleet.over(first) and sum(workers(two)) == 1)
    fleet.driver._fleet.hold("somebody", {"h0": 0.0, "h1": 10e6})
    other = fleet.ask("wide", 5)
    assert fleet.driver.tick(())[0].state == "cold"
    fleet.until(lambda: fleet.over(other))
    assert len(fleet.tokens(other)) == 5


def test_who_leaves_leaves_at_once(asking: Callable[..., Asking]) -> None:
    fleet = asking()
    name = fleet.ask("small", LONG)
    fleet.driver.step()  # it is on its way, and its weights are
    fleet.outs[name].on_close()
    assert fleet.over(name) == Reply(1, "end", "cancelled")
    other = fleet.ask("small", 8)
    fleet.until(lambda: fleet.over(other))
    assert len(fleet.tokens(other)) == 8 and not fleet.tokens(name)
    [row] = fleet.driver.tick(())
    assert (row.running, row.queued, row.used) == (0, 0, 0)


def test_mistakes_of_requests(asking: Callable[..., Asking]) -> None:
    fleet = asking()
    with pytest.raises(NookError) as none:
        fleet.ask("huge", 5)
    assert none.value.code == "no-model"
    for name, most, prompt, code in (("a", 9999, (5,), "context"), ("b", 5, (), "prompt")):
        fleet.ask("small", most, name, prompt)
        reply = fleet.over(name)
        assert reply and reply.kind == "error" and reply.value[0] == code
    fleet.ask("small", 5, "c")
    with pytest.raises(NookError) as twice:
        fleet.ask("small", 5, "c")
    assert twice.value.code == "duplicate"


def test_a_store_that_goes_and_comes_back(asking: Callable[..., Asking], folder: Path) -> None:
    with Store(folder) as store:
        fleet = asking(weights=store.url("small"))
        port = store.port
    lost = fleet.ask("small", 5)
    fleet.until(lambda: fleet.over(lost))
    reply = fleet.over(lost)
    assert reply and reply.kind == "error" and reply.value[0] == "fetch"
    with Store(folder, ("127.0.0.1", port)):
        found = fleet.ask("small", 5)
        fleet.until(lambda: fleet.over(found))
    assert len(fleet.tokens(found)) == 5


def test_without_room_a_request_waits_and_then_hears_why(
    asking: Callable[..., Asking], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drivers, "HOLD", 1.0)
    fleet = asking()
    fleet.driver._fleet.hold("somebody", {"h0": 1 << 30, "h1": 1 << 30})
    waits, fails = fleet.ask("small", 5), fleet.ask("small", 5)
    [row] = fleet.driver.tick(())
    assert (row.queued, row.state) == (2, "cold")
    fleet.outs[waits].on_close()
    fleet.until(lambda: fleet.over(fails), 5)
    reply = fleet.over(fails)
    assert reply and reply.kind == "error" and reply.value[0] == "fleet-full"
    late = fleet.ask("small", 5)
    fleet.driver._fleet.hold("somebody", {})
    fleet.until(lambda: fleet.over(late))
    assert len(fleet.tokens(late)) == 5


def test_the_planner_learns_how_fast_a_model_is(asking: Callable[..., Asking]) -> None:
    fleet = asking(seconds=0.001)
    [lane] = fleet.driver._lanes.values()
    before = lane.keeper.model
    name = fleet.ask("small", 200)
    fleet.until(lambda: fleet.over(name))
    assert lane.keeper.model.token != before.token and lane.keeper.model.size == before.size


# ── more workers for a model that runs ────────────────────────────────────────────────────────────────────────────


class Burst:
    """Three requests where a worker takes two at a time, at a time that stands still; the third is written by a worker
    that was added."""

    def __init__(self, asking: Callable[..., Asking], folder: Path, most: int) -> None:
        self.now = 100.0
        self.fleet = asking(lambda: self.now, seconds=0.001, idle=10)
        [lane] = self.fleet.driver._lanes.values()
        self.crew = lane.keeper.crew
        self._truth = engine.Worker(64, 1 << 14)
        self._truth.add("small", Checkpoint.open(folder / "small"))
        self.names = [self.ask(n, most) for n in range(3)]
        one, other, third = self.names
        self.fleet.until(lambda: self.fleet.tokens(one) and self.fleet.tokens(other))
        assert not self.fleet.tokens(third) and len(self.crew.pipelines) == 1
        self.now += 1
        self.fleet.until(lambda: len(self.crew.pipelines) == 2)
        before = len(self.fleet.tokens(one))
        self.fleet.until(lambda: len(self.fleet.tokens(third)) > 3)
        assert len(self.fleet.tokens(one)) > before + 3, "answers went on meanwhile"

    def ask(self, number: int, most: int) -> str:
        return self.fleet.ask("small", most, prompt=(5, 6, 7 + number))

    def right(self, number: int, name: str) -> bool:
        """Whether what was written so far is what one worker writes."""
        written = self.fleet.tokens(name)
        return written == self._truth.write("small", name, (5, 6, 7 + number), len(written))


@pytest.fixture
def burst(asking: Callable[..., Asking], folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Burst]:
    monkeypatch.setattr(drivers, "BATCH", 2)
    return lambda most: Burst(asking, folder, most)


def test_a_burst_has_another_worker_added_which_ends_when_nobody_asks_it(
    burst: Callable[[int], Burst], two: list[Running]
) -> None:
    made = burst(LONG)
    fleet, crew = made.fleet, made.crew
    assert workers(two) == [1, 1] and [one.requests for one in crew.pipelines] == [2, 1]
    late = made.ask(3, 40)
    fleet.until(lambda: fleet.tokens(late))
    assert [one.requests for one in crew.pipelines] == [2, 2]
    fleet.until(lambda: fleet.over(late))
    assert made.right(3, late) and made.right(2, made.names[2])
    fleet.outs[made.names[2]].on_close()
    made.now += 9
    fleet.driver.tick(())
    assert sum(workers(two)) == 2
    made.now += 1
    fleet.until(lambda: sum(workers(two)) == 1)
    before = len(fleet.tokens(made.names[0]))
    fleet.until(lambda: len(fleet.tokens(made.names[0])) > before + 3)
    assert all(made.right(n, made.names[n]) for n in (0, 1)) and not any(map(fleet.over, made.names[:2]))


def test_an_added_worker_that_is_killed_loses_its_own_requests_only(
    burst: Callable[[int], Burst], two: list[Running]
) -> None:
    made = burst(LONG)
    fleet, (one, other, third) = made.fleet, made.names
    [process] = two[1].workers()
    os.kill(process, signal.SIGKILL)
    fleet.until(lambda: fleet.over(third))
    reply = fleet.over(third)
    assert reply and reply.kind == "error" and reply.value[0] == "worker-lost"
    before = len(fleet.tokens(one))
    again = made.ask(2, 20)
    fleet.until(lambda: len(fleet.tokens(one)) > before + 3)
    assert not fleet.tokens(again) and sum(workers(two)) == 1
    made.now += 1
    fleet.until(lambda: fleet.over(again))
    assert made.right(2, again) and workers(two) == [1, 1]
    assert made.right(0, one) and made.right(1, other)
