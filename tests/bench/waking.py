"""How soon a fleet's model answers that has no weights, or no worker: the time to the first token after each.

All of it by the way a request takes (`fleet.serving`), on SmolLM2-135M-Instruct in fp16 with one worker of one thread:

  ready    the model is there
  woken    it gave its weights up; its file is in the page cache
  killed   its worker is killed as the request is made; what the next one starts from is told
  started  from `Serving.start` on, speeds being known

`spawned` workers import all they need; `forked` ones come from a process that has, and in the first round imports it.
`read` brings the file's bytes into fresh memory once, which is what any way to load them takes; `loaded` is the engine
alone, without a worker around it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from inglenook.fleet.config import Config
from inglenook.fleet.convert import WEIGHTS, convert
from inglenook.fleet.layout import HOST
from inglenook.fleet.runtime import LocalRuntime
from inglenook.fleet.serving import ENGINE, Serving

from buildlib.project import ROOT

MODEL = ROOT / "static/models/SmolLM2-135M-Instruct.Q4_1.gguf"
PROMPT = [*range(100, 132)]
IDLE = 3.0  # seconds: more than a start and two answers are apart
PRELOAD = [target.partition(":")[0] for target in (HOST, ENGINE)]


class Spawned(LocalRuntime):
    """Workers that import all they need."""

    def __init__(self) -> None:
        super().__init__()
        self._context = multiprocessing.get_context("spawn")


RUNTIMES: dict[str, Callable[[], LocalRuntime]] = {"spawned": Spawned, "forked": lambda: LocalRuntime(PRELOAD)}


def run(options: argparse.Namespace) -> dict[str, Any]:
    """All of it in turn, so many times, in a process of its own: workers import the main module, here this one."""
    command = [sys.executable, __file__, "2" if options.quick else "7"]
    made = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    rows: dict[str, list[float]] = json.loads(made.stdout.splitlines()[-1])
    for what, taken in rows.items():
        low, middle, high = statistics.quantiles(taken, n=4)
        print(f"  {what:18} {middle:6.3f} s  ({low:.3f} to {high:.3f}, n = {len(taken)})")
    return {"waking": {what: round(statistics.median(taken), 4) for what, taken in rows.items()}}


def measured(rounds: int) -> dict[str, list[float]]:
    """Seconds of each, by its name."""
    rows: dict[str, list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        convert(MODEL, folder / "small")
        top, table = 'arena = "64 MiB"\nthreads = 1', f'weights = "small"\nidle = {IDLE}\ncontext = 1024'
        (folder / "fleet.toml").write_text(f"{top}\n[models.small]\n{table}\n")
        config = Config.load(folder / "fleet.toml")
        with Serving.start(config, runtime=Spawned()):
            pass  # its speed is known from now on
        for _ in range(rounds):
            for kind, runtime in RUNTIMES.items():
                for what, seconds in _round(config, runtime()).items():
                    rows[what if what in ("ready", "woken") else f"{what}, {kind}"].append(seconds)
            rows["read"].append(_read(folder / "small" / WEIGHTS))
            rows["loaded"].append(_loaded(folder / "small"))
    return rows


def _round(config: Config, runtime: LocalRuntime) -> dict[str, float]:
    began = time.perf_counter()
    with Serving.start(config, runtime=runtime) as fleet:
        _first(fleet)
        found = {"started": time.perf_counter() - began}
        found["ready"] = _first(fleet)
        _until(fleet, "cold")
        _read(config.models["small"].weights / WEIGHTS)  # it is in the page cache, whatever happened meanwhile
        found["woken"] = _first(fleet)
        worker = fleet._workers[0].supervised.worker()
        began = time.perf_counter()
        worker.kill()
        worker._thread.join()  # it is known to be gone
        _first(fleet)
        found["killed"] = time.perf_counter() - began
    return found


def _first(fleet: Serving) -> float:
    """Seconds to the first token."""

    async def ask() -> float:
        began = time.perf_counter()
        tokens = fleet.generate("small", PROMPT, most=2)
        await anext(tokens)
        taken = time.perf_counter() - began
        await tokens.aclose()
        return taken

    return asyncio.run(ask())


def _until(fleet: Serving, state: str) -> None:
    while {row.state for _, row in fleet.rows()} != {state}:
        time.sleep(0.02)


def _read(path: Path) -> float:
    began = time.perf_counter()
    np.fromfile(path, np.uint8)
    return time.perf_counter() - began


def _loaded(folder: Path) -> float:
    import torch
    from inglenook.fleet.torch.engine import Engine

    torch.set_num_threads(1)
    engine = Engine(64, 1 << 20, "cpu", "float32")
    began = time.perf_counter()
    for _ in engine.load("small", folder):
        pass
    return time.perf_counter() - began


if __name__ == "__main__":
    print(json.dumps(measured(int(sys.argv[1]))))
