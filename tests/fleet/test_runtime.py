"""Workers: calls, streams, deaths; in threads for what they do, in processes for what only those can show."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from fleet.targets import ThreadRuntime
from inglenook.errors import NookError
from inglenook.fleet.runtime import LocalRuntime, Spec
from inglenook.fleet.supervise import Resume, Supervised
from inglenook.fleet.worker import Stream, Worker, retriable

COUNTER = "fleet.targets:Counter"
PATIENCE = 300.0  # machines that test are busy


@pytest.fixture
def runtime() -> Iterator[ThreadRuntime]:
    made = ThreadRuntime()
    yield made
    made.close()


def caught(code: str, call) -> NookError:
    with pytest.raises(NookError) as error:
        call()
    assert error.value.code == code and error.value.hint
    return error.value


ENDLESS = 10**9


async def counted(kept: Supervised, lives: int, kill: Callable[[], object], at: int = 0) -> list[int]:
    """A count whose worker is killed once in each of so many lives, from item `at` on, and that ends soon after."""
    left, dead = lives, False

    def resume(items: list[int]) -> tuple[int, int]:
        nonlocal left, dead
        left, dead = left - 1, False
        return len(items), ENDLESS if left else len(items) + 10

    items = []
    async for item in kept.stream("count", 0, ENDLESS, resume=resume):
        items.append(item)
        if left and not dead and item >= at:
            dead = True
            kill()
    return items


async def broken(kept: Supervised, kill: Callable[[], object], resume: Resume | None = None) -> list[int]:
    """What comes of a count without an end after its worker was killed, of which `resume` knows no rest."""
    stream = kept.stream("count", 0, ENDLESS, resume=resume)
    assert await anext(stream) == 0
    kill()
    return [item async for item in stream]


def use(worker: Worker) -> None:
    """What any worker does."""
    worker.ready(PATIENCE)
    assert worker.alive
    assert worker.call("add", 2, timeout=PATIENCE) == 7
    assert [worker.submit("add", i).result(PATIENCE) for i in (1, 2)] == [8, 10]
    caught("known", lambda: worker.call("fail", True, timeout=PATIENCE))
    assert (
        "ValueError: unknown" in caught("worker-failed", lambda: worker.call("fail", False, timeout=PATIENCE)).message
    )
    caught("worker-failed", lambda: worker.call("no such method", timeout=PATIENCE))
    streams = [worker.stream("count", 0, 10), worker.stream("count", 5, 8)]
    assert [[*stream] for stream in streams] == [[*range(10)], [5, 6, 7]]
    assert streams[0].result == {"counted": 10} and [*streams[0]] == []
    caught("known", lambda: [*worker.stream("count", 1, 0)])
    long = worker.stream("count", 10**6, 10**9)
    assert long.next(PATIENCE) == 10**6
    caught("worker-slow", lambda: worker.stream("count", 0, 0) and Stream(lambda: None).next(0.01))
    long.close()
    long.close()
    assert [*long] == [] and worker.call("closes", timeout=PATIENCE) == 1  # it was told, within one step


def test_what_a_worker_does(runtime: ThreadRuntime) -> None:
    use(runtime.spawn(Spec("a", COUNTER, (5,))))


def test_a_stream_is_heard_without_a_thread_of_its_own(runtime: ThreadRuntime) -> None:
    worker = runtime.spawn(Spec("a", COUNTER))

    async def hear(stream: Stream) -> list[int]:
        return [item async for item in stream]

    async def both() -> list[list[int]]:
        return await asyncio.gather(*(hear(worker.stream("count", start, 50)) for start in (0, 40)))

    assert asyncio.run(both()) == [[*range(50)], [*range(40, 50)]]
    with pytest.raises(NookError):
        asyncio.run(hear(worker.stream("count", 1, 0)))
    stream = worker.stream("count", 0, ENDLESS)
    worker.kill()
    with pytest.raises(NookError) as gone:
        asyncio.run(hear(stream))
    assert gone.value.code == "worker-lost"


def test_nothing_hangs_when_a_worker_dies(runtime: ThreadRuntime) -> None:
    deaths = []
    worker = runtime.spawn(Spec("a", COUNTER), lambda: deaths.append(1))
    worker.ready(PATIENCE)
    stream = worker.stream("count", 0, ENDLESS)
    assert stream.next(PATIENCE) == 0
    worker.kill()
    error = caught("worker-lost", lambda: [*stream])
    assert retriable(error) and not retriable(NookError("known", ""))
    caught("worker-lost", lambda: worker.call("add", 1, timeout=PATIENCE))
    caught("worker-lost", lambda: [*worker.stream("count", 0, 1)])
    assert not worker.alive and deaths == [1]


def test_an_object_that_cannot_be_made_says_why(runtime: ThreadRuntime) -> None:
    caught("start", lambda: runtime.spawn(Spec("a", COUNTER, (-1,))).ready(PATIENCE))
    caught("worker-failed", lambda: runtime.spawn(Spec("a", "fleet.nowhere:Nobody")).ready(PATIENCE))


def test_a_step_that_fails_ends_the_worker(runtime: ThreadRuntime) -> None:
    worker = runtime.spawn(Spec("a", COUNTER))
    other = worker.stream("count", 0, ENDLESS)
    found = []
    caught("worker-lost", lambda: found.extend(worker.stream("count", -3, 5)))
    assert found == [-3, -2][: len(found)]
    caught("worker-lost", lambda: [*other])


def test_what_dies_is_started_again_and_streams_go_on(runtime: ThreadRuntime) -> None:
    with Supervised(runtime, Spec("a", COUNTER), most=3) as kept:
        kill = lambda: runtime.spawned[-1].kill()
        items = asyncio.run(counted(kept, 2, kill))
        assert items == [*range(len(items))] and kept.restarts == 2
        assert kept.call("add", 1, timeout=PATIENCE) == 1  # a new object: what it held is gone
        caught("worker-lost", lambda: asyncio.run(broken(kept, kill)))
        assert kept.call("add", 1, timeout=PATIENCE) == 1


def test_what_was_all_is_not_asked_for_again(runtime: ThreadRuntime) -> None:
    with Supervised(runtime, Spec("a", COUNTER)) as kept:
        rest = asyncio.run(broken(kept, runtime.spawned[-1].kill, lambda items: None))
        assert rest == [*range(1, 1 + len(rest))]
        kept.worker(PATIENCE)
        assert len(runtime.spawned) == 2


def test_what_dies_too_often_stays_down_unless_it_took_long(runtime: ThreadRuntime) -> None:
    now = [0.0]
    kept = Supervised(runtime, Spec("a", COUNTER), most=2, within=10, clock=lambda: now[0])
    for time_of_death in (0.0, 1.0, 20.0, 21.0):
        worker = kept.worker()
        now[0] = time_of_death
        worker.kill()
        worker._thread.join(PATIENCE)
    assert kept.call("add", 1) == 1
    worker = kept.worker()
    worker.kill()
    worker._thread.join(PATIENCE)
    error = caught("worker-down", lambda: kept.call("add", 1))
    assert not retriable(error)
    caught("worker-down", lambda: asyncio.run(counted(kept, 1, worker.kill)))


def test_processes_do_what_workers_do() -> None:
    with LocalRuntime() as runtime:
        worker = runtime.spawn(Spec("a", COUNTER, (5,), threads=3, env={"INGLENOOK_TEST": "told"}))
        use(worker)
        assert worker.call("where", timeout=PATIENCE) != os.getpid()
        assert worker.call("setting", "OMP_NUM_THREADS", timeout=PATIENCE) == "3"
        assert worker.call("setting", "INGLENOOK_TEST", timeout=PATIENCE) == "told"
        assert "ray" not in sys.modules or "inglenook.fleet.cluster" in sys.modules
    assert not worker.alive
    caught("worker-lost", lambda: worker.call("add", 1, timeout=PATIENCE))


@pytest.mark.parametrize("how", ["killed", "exits", "hangs"])
def test_a_process_that_dies_midway_is_replaced(how: str) -> None:
    patience = 3.0 if how == "hangs" else 120.0
    with LocalRuntime() as runtime, Supervised(runtime, Spec("a", COUNTER), patience=patience) as kept:
        first = kept.call("where", timeout=PATIENCE)
        kills: dict[str, Callable[[], object]] = {
            "killed": lambda: os.kill(first, signal.SIGKILL),
            "hangs": lambda: os.kill(first, signal.SIGSTOP),
            "exits": lambda: kept.worker().submit("die"),
        }
        items = asyncio.run(counted(kept, 1, kills[how], at=50))
        assert items == [*range(len(items))] and len(items) > 50 and kept.restarts == 1
        assert kept.call("where", timeout=PATIENCE) != first


FORKED = """
import os, sys
from inglenook.fleet.runtime import LocalRuntime, Spec
if __name__ == "__main__":
    with LocalRuntime(sys.argv[1:]) as runtime:
        one, two = (runtime.spawn(Spec("a", "fleet.targets:Counter", threads=n)) for n in (1, 3))
        found = [worker.call("forked", sys.argv[1]) for worker in (one, two)]
        assert found[0] == found[1] and found[0][0] != os.getpid() and found[0][1] and sys.argv[1] not in sys.modules
        one.kill()
        one._thread.join()
        assert runtime.spawn(Spec("a", "fleet.targets:Counter")).call("forked", sys.argv[1]) == found[0]
        if sys.argv[1] == "torch":
            assert two.call("threads") == 3
"""


@pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux alone")
@pytest.mark.parametrize("module", ["colorsys", "torch"])
def test_workers_are_forked_from_one_that_has_the_imports(tmp_path: Path, module: str) -> None:
    if not find_spec(module):
        pytest.skip("torch is not there: `build.py test cluster` installs it")
    (tmp_path / "forked.py").write_text(FORKED)
    path = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, tmp_path / "forked.py", module], env=path, check=True, timeout=PATIENCE)


ORPHAN = """
from inglenook.fleet.runtime import LocalRuntime, Spec
if __name__ == "__main__":
    worker = LocalRuntime().spawn(Spec("a", "fleet.targets:Counter"))
    print(worker.call("where"), flush=True)
    [*worker.stream("count", 0, 10**12)]
"""


def test_a_worker_ends_with_whoever_spawned_it(tmp_path: Path) -> None:
    script = tmp_path / "orphan.py"
    script.write_text(ORPHAN)
    path = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, script], env=path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as owner:
        assert owner.stdout
        child = int(owner.stdout.readline())
        owner.kill()
    deadline = time.monotonic() + PATIENCE
    for _ in itertools.takewhile(lambda _: time.monotonic() < deadline, itertools.count()):
        try:
            os.kill(child, 0)
        except ProcessLookupError:
            return
        if Path(f"/proc/{child}/stat").exists() and Path(f"/proc/{child}/stat").read_text().split()[2] == "Z":
            return
        time.sleep(0.05)
    os.kill(child, signal.SIGKILL)
    pytest.fail("the worker outlived its owner")
