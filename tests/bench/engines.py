"""Workers of the sharing bench: processes with real torch engines, each held to one core, that run the loop on a clock.

Weights are random, of three shapes, so what is written means nothing; how long it takes is real. A trace says where an
answer ends, and the worker puts a stop there: the loop hears of it when it happens. Time is the schedule's: a request's
latency counts from when it should have come, so a worker that is late is not forgiven (no coordinated omission).
"""

from __future__ import annotations

import multiprocessing as mp
import os
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import numpy as np
from inglenook.elastic.shape import Shape
from inglenook.fleet import calibrate
from inglenook.fleet.arena import token_bytes
from inglenook.fleet.calibrate import Measured
from inglenook.fleet.loop import Loop
from inglenook.fleet.profile import Work
from inglenook.fleet.service import Service
from inglenook.fleet.simulate import OTHER, STOP, Arrival, ending

SHAPES = {
    "small": Shape(4, 256, 704, 4, 2, 2048, 2048, 1e4, 1e-5),
    "middle": Shape(8, 448, 1216, 7, 7, 2048, 2048, 1e4, 1e-5),
    "large": Shape(12, 576, 1536, 9, 3, 2048, 2048, 1e4, 1e-5),
}
PAGE = 1 << 16
MEASURES = [
    (decodes, prompts, prefill, start)
    for decodes in (0, 1, 2, 4, 8, 16)
    for prompts, prefill in ((0, 0), (1, 16), (1, 128), (4, 128), (1, 512), (4, 512))
    for start in (16, 160) if decodes + prompts
]  # fmt: skip


class Row(NamedTuple):
    """What became of a request: when its first token was there, when its last, and what was written."""

    id: str
    first: float
    ended: float
    tokens: tuple[int, ...]


class Engine:
    """All services of a process over one memory."""

    def __init__(self, shapes: Mapping[str, str], pages: int) -> None:
        import torch
        from inglenook.fleet.torch.executor import Executor
        from inglenook.fleet.torch.memory import Cache, Memory
        from inglenook.fleet.torch.stage import Stage
        from inglenook.fleet.weights import tensor_shape

        torch.set_num_threads(1)
        self.executor, memory, self.pages, self.names = Executor(), Memory(pages, PAGE), pages, [*shapes]
        for name, kind in shapes.items():
            shape = SHAPES[kind]
            cache = Cache(memory, shape, 0, shape.layers)
            stage = Stage(shape, 0, shape.layers, cache, embeds=True, heads=True, tied=True)
            rng = np.random.default_rng(len(kind))
            for tensor in [*stage.missing]:
                stage.load(tensor, rng.standard_normal(tensor_shape(shape, tensor), dtype=np.float32) * 0.05)
            self.executor.add(name, [stage])

    def measure(self, name: str, kind: str, rounds: int) -> list[Measured]:
        """Iterations of several sizes, each after one of another model and after its own; of each the median."""
        per_page = PAGE // token_bytes(SHAPES[kind], 4)
        return calibrate.measure(
            self.executor, name, pages=self.pages, per_page=per_page, context=SHAPES[kind].context,
            seconds=float("inf"), rounds=rounds, among=MEASURES, others=[one for one in self.names if one != name],
        )  # fmt: skip

    def drive(self, loop: Loop, asked: Sequence[Arrival], began: float) -> tuple[list[Row], Spent]:
        """Run until all are answered. `began`: the schedule's beginning, by `time.monotonic`. What became of them, and
        the seconds that went by; between two iterations only where there was no wait."""
        known = {arrival.request.id: arrival for arrival in asked}
        left = sorted(asked, key=lambda arrival: -arrival.at)
        rows, between, ended = [], [0.0], 0.0
        really, profiled, before = 0.0, 0.0, ""
        while left or loop.waiting:
            now = time.monotonic() - began
            while left and left[-1].at <= now:
                arrival = left.pop()
                self.executor.admit(arrival.request.id, arrival.request.sampling)
                loop.arrive(arrival.request, arrival.at)
            iteration = loop.next(now)
            if iteration is None:
                time.sleep(max(left[-1].at - now, 0.0))  # nothing to do until then
                ended = 0.0
                continue
            started = time.perf_counter()
            if ended:
                between.append(started - ended)
            tokens = self.executor.run(iteration)
            ended = time.perf_counter()
            really += ended - started
            work = Work.of(iteration.pieces, before not in ("", iteration.model))
            profiled += loop.services[iteration.model].profile.seconds(work)
            before = iteration.model
            for id, token in ending(iteration, known).items():
                tokens[id] = STOP if token == STOP else max(tokens[id], OTHER)
            for done in loop.ran(iteration, tokens, ended - started, time.monotonic() - began):
                self.executor.release(done.request.id)
                rows.append(Row(done.request.id, done.first or 0.0, done.ended, done.tokens))
        return rows, Spent(really, profiled, statistics.fmean(between))


def work(pipe: Connection, core: int, shapes: Mapping[str, str], pages: int) -> None:
    """A worker's process: answers commands until its pipe is closed."""
    os.sched_setaffinity(0, {core})
    engine = Engine(shapes, pages)
    pipe.send("ready")
    while True:
        try:
            command, *args = pipe.recv()
        except EOFError:
            return
        if command == "measure":
            pipe.send(engine.measure(*args))
        else:
            arm, setting, services, asked, own, began = args
            pipe.send(engine.drive(made(arm, setting, services, pages, own), asked, began))


def made(arm: str, setting: str, services: Sequence[Service], pages: int, own: Sequence[str]) -> Loop:
    """The loop of the process that has the services `own`."""
    from sharing_real import ARMS

    loops = [loop for loop, _ in ARMS[arm][setting](services, pages, PAGE)]
    return next(loop for loop in loops if {*loop.services} == {*own})


class Spent(NamedTuple):
    """Seconds of a run: in iterations, in iterations by the profiles, and a pause between two of them in the mean."""

    really: float
    profiled: float
    between: float


class Worker(NamedTuple):
    """A process, seen from outside."""

    pipe: Connection
    services: tuple[str, ...]

    def ask(self, *command: Any) -> None:
        self.pipe.send(command)

    def hear(self) -> Any:
        return self.pipe.recv()


@contextmanager
def workers(
    wanted: Sequence[tuple[int, Sequence[str]]], shapes: Mapping[str, str], pages: int
) -> Iterator[list[Worker]]:
    """A process for each (core, its services), ready."""
    context = mp.get_context("spawn")
    started = []
    try:
        for core, names in wanted:
            here, there = context.Pipe()
            own = {name: shapes[name] for name in names}
            process = context.Process(target=work, args=(there, core, own, pages), daemon=True)
            process.start()
            there.close()
            started.append((process, Worker(here, tuple(names))))
        for _, worker in started:
            worker.hear()
        yield [worker for _, worker in started]
    finally:
        for process, worker in started:
            worker.pipe.close()
            process.join(10)
            if process.is_alive():
                process.kill()
