"""A fleet that is up: made of a configuration, asked for tokens, closed.

    with Serving.start(Config.load(path)) as fleet:
        async for token in fleet.generate("small", prompt, most=64, stops=ends): ...

`layout` says what each worker is given. Every worker is a `Host`, or vLLM, and supervised: a request whose worker dies
is run again on the next from what it has, twice at most.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from concurrent.futures import Future
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from typing import Self

from inglenook.errors import NookError
from inglenook.fleet.config import Config, Model
from inglenook.fleet.host import Row
from inglenook.fleet.iteration import Sampling
from inglenook.fleet.layout import BEGIN, HOST, PATIENCE, Layout
from inglenook.fleet.placement import Plan
from inglenook.fleet.replacement import Replacement
from inglenook.fleet.request import GREEDY, Request
from inglenook.fleet.runtime import LocalRuntime, Runtime
from inglenook.fleet.service import Service
from inglenook.fleet.supervise import Supervised
from inglenook.fleet.worker import Worker

ENGINE = "inglenook.fleet.torch.engine:Engine"
EVERY = 0.5  # seconds between two ticks
LINK = 3e8  # bytes of weights a second, from the page cache into an engine (LOG.md)
RERUNS = 2  # of a request whose worker died
MOST = 1000  # requests of a model that are under way or wait


@dataclass(slots=True)
class _Worker:
    """A worker, the models that are there, what they were when it last told, and the question that is under way."""

    supervised: Supervised
    models: list[str]
    rows: list[Row]
    asked: Future[list[Row]] | None = None

    def tick(self) -> None:
        """Hear what it told, and ask again."""
        try:
            if self.asked and self.asked.done():
                asked, self.asked = self.asked, None
                self.rows = asked.result()
            if worker := self.supervised.up():
                self.asked = self.asked or worker.submit("tick", self.models)
                return
        except NookError:
            pass
        self.rows = [Row(row.model, "down") for row in self.rows]


class Serving:
    """See above; `start` makes one. Models move between workers as the load does (`replacement`), which is thought over
    in a process of its own. `clock` gives seconds."""

    def __init__(self, layout: Layout, runtime: Runtime, clock: Callable[[], float] = time.monotonic) -> None:
        self.config, self._layout, self._runtime, self._clock = layout.config, layout, runtime, clock
        self.services: Mapping[str, Service] = layout.services
        self._numbers = itertools.count()
        self._open: Counter[str] = Counter()  # requests under way, by model
        self._plan = layout.first()
        self._workers = [
            _Worker(Supervised(runtime, spec), names, [Row(name, "down") for name in names])
            for names, spec in layout.specs(self._plan)
        ]
        self._homes = {name: worker for worker in self._workers for name in worker.models}
        self._replacement = Replacement(LINK)
        self._replacement.at = clock()
        self._looking: tuple[Worker, Future[tuple[Plan, Replacement]]] | None = None
        self._closed = threading.Event()
        self._ticking = threading.Thread(target=self._tick, name="fleet", daemon=True)
        self._ticking.start()

    @classmethod
    def start(
        cls, config: Config, *, engine: str = ENGINE, runtime: Runtime | None = None,
        told: Callable[[str], None] = lambda line: None,
    ) -> Self:  # fmt: skip
        """Measure what is not known yet, place the models, start the workers. `told` hears what takes time.

        Raises NookError("fleet" | "placement" | "model-…" | "worker-…" | "no-ray" | "cluster").
        """
        layout = Layout(config, engine)
        runtime = runtime or _runtime(config, engine)
        try:
            layout.measure(runtime, told)
            made = cls(layout, runtime)
        except BaseException:
            runtime.close()
            raise
        try:
            for worker in made._workers:
                worker.supervised.worker(BEGIN)  # what keeps it from starting is told here; weights are loaded later
        except BaseException:
            made.close()
            raise
        return made

    @property
    def models(self) -> Mapping[str, Model]:
        """What is served, by name."""
        return self.config.models

    async def generate(
        self, model: str, prompt: Sequence[int], *, most: int, stops: Collection[int] = (), sampling: Sampling = GREEDY
    ) -> AsyncGenerator[int]:
        """The tokens of an answer, the stop included. Close it to stop the work, within an iteration.

        Raises NookError("no-model" | "busy" | "context" | "memory" | "worker-lost" | "worker-slow" | "worker-down", …).
        """
        if model not in self._homes:
            raise NookError("no-model", f"There is no model {model!r} here.", f"There is {', '.join(self.models)}.")
        if self._open[model] >= MOST:
            raise NookError("busy", f"{MOST:,} requests wait for {model} already.", "Ask again later.")
        request = Request(f"r{next(self._numbers)}", model, [*prompt], most, frozenset(stops), sampling)
        left = itertools.count(RERUNS, -1)

        def resume(items: list[int]) -> tuple[Request] | None:
            if len(items) >= most or (items and items[-1] in request.stops):
                return None
            if not next(left):
                raise NookError("worker-lost", f"The workers of {model} ended again and again.", "Ask again later.")
            return (replace(request, prompt=[*request.prompt, *items], most=most - len(items)),)

        worker = self._homes[model].supervised
        service, written = self.services[model], 0
        service.arrived(len(request.prompt), self._clock())
        self._open[model] += 1
        try:
            async with aclosing(worker.stream("generate", request, resume=resume, timeout=PATIENCE)) as tokens:
                async for token in tokens:
                    written += 1
                    yield token
            service.finished(written)
        finally:
            self._open[model] -= 1

    def rows(self) -> list[tuple[str, Row]]:
        """Every model with its worker's name, as they were a moment ago."""
        return [(worker.supervised.spec.name, row) for worker in self._workers for row in worker.rows]

    def close(self) -> None:
        """End all workers."""
        self._closed.set()
        self._ticking.join()
        if self._looking:
            self._looking[0].kill()
        for worker in self._workers:
            worker.supervised.close()
        self._runtime.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _tick(self) -> None:
        while not self._closed.wait(EVERY):
            for worker in self._workers:
                worker.tick()
            if len(self._plan) > 1 and self.config.policy != "spatial":
                self._look(self._clock())

    def _look(self, now: float) -> None:
        """Have it thought over where models go, when it is time, and move them when that is done."""
        if self._looking is None:
            if self._replacement.due(now):
                placed = {name: self.services[name].fresh() for group in self._plan for name in group.services}
                thinker = self._runtime.spawn(self._layout.again())
                self._looking = thinker, thinker.submit("replaced", placed, self._plan, self._replacement, now)
        elif self._looking[1].done():
            (thinker, asked), self._looking = self._looking, None
            self._replacement.at = now
            with suppress(NookError):  # that process was lost, or nothing fits: it is looked again later
                self._plan, self._replacement = asked.result()
                for worker, group in zip(self._workers, self._plan):
                    worker.models = [*group.services]
                    self._homes |= dict.fromkeys(group.services, worker)
            thinker.close()


def _runtime(config: Config, engine: str) -> Runtime:
    if config.runtime == "local":
        return LocalRuntime([target.partition(":")[0] for target in (HOST, engine)])
    from inglenook.fleet.cluster import RayRuntime

    return RayRuntime(config.ray or None)
