"""Workers that are actors of a real Ray, started here; skipped where Ray is not."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fleet import served
from fleet.test_runtime import COUNTER, PATIENCE, broken, caught, counted, use
from fleet.test_serving import write
from inglenook.errors import NookError
from inglenook.fleet.config import Config
from inglenook.fleet.runtime import Spec
from inglenook.fleet.serving import Serving
from inglenook.fleet.supervise import Supervised

HAS_RAY = importlib.util.find_spec("ray") is not None
needs_ray = pytest.mark.skipif(not HAS_RAY, reason="ray is not there: `build.py test cluster` installs it")


@pytest.fixture(scope="module")
def runtime(token: None) -> Iterator[object]:
    from inglenook.fleet.cluster import RayRuntime

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))  # its nodes hand it on to their workers
        with RayRuntime(num_cpus=4, object_store_memory=100 << 20) as made:
            yield made


def spec(*args: object) -> Spec:
    return Spec("a", COUNTER, args, env={"PYTHONPATH": os.pathsep.join(sys.path), "INGLENOOK_TEST": "told"})


@needs_ray
@pytest.mark.slow
def test_actors_do_what_workers_do_and_are_replaced(runtime) -> None:
    worker = runtime.spawn(spec(5))
    use(worker)
    assert worker.call("setting", "INGLENOOK_TEST", timeout=PATIENCE) == "told"
    caught("start", lambda: runtime.spawn(spec(-1)).ready(PATIENCE))
    worker.close()
    caught("worker-lost", lambda: worker.call("add", 1, timeout=PATIENCE))
    with Supervised(runtime, spec()) as kept:
        first = kept.call("where", timeout=PATIENCE)
        items = asyncio.run(counted(kept, 1, lambda: kept.worker().kill(), at=50))
        assert items == [*range(len(items))] and len(items) > 50 and kept.call("where", timeout=PATIENCE) != first
        caught("worker-lost", lambda: asyncio.run(broken(kept, lambda: kept.worker().submit("die"))))


@needs_ray
@pytest.mark.slow
def test_a_fleet_runs_on_it_and_outlives_a_worker(runtime, tmp_path: Path) -> None:
    from inglenook.fleet.cluster import RayRuntime

    served.models(tmp_path)
    (tmp_path / "small" / "slow").write_text("0.05")
    config = Config.load(served.write(tmp_path, "workers = 2\nthreads = 1"))
    with Serving.start(config, engine=served.ENGINE, runtime=RayRuntime()) as fleet:

        async def lose() -> list[str]:
            asked = [asyncio.create_task(write(fleet, name, most=40)) for name in ("small", "wide")]
            while not (tmp_path / "small" / "ran").exists():
                await asyncio.sleep(0.05)
            for worker in fleet._workers:
                worker.supervised.worker().kill()
            return await asyncio.gather(*asked)

        alone = "".join(chr(ord("a") + (1 + n) % 26) for n in range(40))
        assert asyncio.run(lose()) == [alone] * 2


@pytest.mark.skipif(HAS_RAY, reason="ray is there")
def test_without_ray_it_says_what_to_install() -> None:
    from inglenook.fleet.cluster import RayRuntime

    with pytest.raises(NookError) as caught_error:
        RayRuntime()
    assert caught_error.value.code == "no-ray" and "inglenook[cluster]" in caught_error.value.hint
