"""What a worker of a served fleet does: a driver whose models give their weights up when idle, and get them back.

The target of an `Actor`. A request for a model whose weights are not there waits while they are loaded, a tensor after
each iteration, so that the worker's other models go on. `tick` is called now and then: it lets idle models go, and
tells what is so.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from inglenook.errors import NookError
from inglenook.fleet import calibrate
from inglenook.fleet.actor import Out
from inglenook.fleet.arena import Arena
from inglenook.fleet.calibrate import Measured
from inglenook.fleet.driver import Driver
from inglenook.fleet.iteration import Executor
from inglenook.fleet.loop import Loop
from inglenook.fleet.request import Request, State
from inglenook.fleet.runtime import named
from inglenook.fleet.service import Rate, Service


class Engine(Executor, Protocol):
    """An executor whose models come and go, as `torch.engine.Engine`."""

    def load(self, model: str, weights: Path) -> Iterator[None]:
        """Load a model piece by piece; after the last it can be run."""

    def remove(self, model: str) -> None:
        """Forget a model, and its weights."""


@dataclass(frozen=True, slots=True)
class Lot:
    """What one worker is given. `policy` and `engine` are "module:Class"; `models` are services, each with the path of
    its weights and the seconds after which it gives them up (0: never). Of these it has those that are `here` at first;
    the others may come."""

    policy: str
    engine: str
    pages: int
    page_bytes: int
    device: str
    dtype: str
    models: tuple[tuple[Service, Path, float], ...]
    here: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """A model on its worker now: requests that run and that wait, pages it holds of the arena's `pages`."""

    model: str
    state: Literal["ready", "loading", "cold", "down"]
    running: int = 0
    queued: int = 0
    used: int = 0
    pages: int = 0


@dataclass(slots=True)
class _Home:
    """A model that is `here`, or may come. `held` are the requests that wait for its weights."""

    here: bool
    service: Service
    weights: Path
    idle: float
    floor: int
    used: float
    ready: bool = False
    loading: Iterator[None] | None = None
    held: dict[str, tuple[Out, Request]] = field(default_factory=dict)


class Host(Driver):
    """Begins with its weights on the way. `clock` gives seconds. Raises NookError("no-torch" | "memory")."""

    def __init__(self, lot: Lot, clock: Callable[[], float] = time.monotonic) -> None:
        arena = Arena(lot.pages, lot.page_bytes)
        # copies, since arrays that came by way of Ray cannot be written to
        own = [(service.fresh(), weights, idle) for service, weights, idle in lot.models]
        floors = {service.name: service.floor for service, *_ in own}
        for service, *_ in own:
            if service.name not in lot.here:
                service.floor, service.rate = 0, Rate()
        loop = Loop(named(lot.policy)(), arena, [service for service, *_ in own])
        try:
            engine: Engine = named(lot.engine)(lot.pages, lot.page_bytes, lot.device, lot.dtype)
        except ImportError as error:
            hint = 'Install it where workers run: pip install "inglenook[cluster]"'
            raise NookError("no-torch", f"The engine of a worker is not there: {error}.", hint) from error
        super().__init__(loop, engine, clock)
        self._arena, self._queues, self._engine = arena, loop.queues, engine
        now = clock()
        self._homes = {
            service.name: _Home(False, service, weights, idle, floors[service.name], now)
            for service, weights, idle in own
        }
        self._place(lot.here)

    def generate(self, out: Out, request: Any) -> None:
        """As `Driver.generate`; where the weights are not there, the request waits for them."""
        home = self._homes.get(request.service)
        if home is None or home.ready:
            super().generate(out, request)
        else:
            home.held[request.id] = out, request
            out.on_close = lambda: self.cancel(request.id)
            home.loading = home.loading or self._engine.load(request.service, home.weights)
        if home:
            home.used = self._clock()

    def cancel(self, request_id: str) -> None:
        for home in self._homes.values():
            if waiting := home.held.pop(request_id, None):
                waiting[0].end("cancelled")
        super().cancel(request_id)

    def step(self) -> bool:
        """Run one iteration and load one tensor, where there is one of either."""
        ran = super().step()
        loading = [home for home in self._homes.values() if home.loading]
        if loading:
            self._load(min(loading, key=lambda home: not home.held))
        return ran or bool(loading)

    def tick(self, here: Collection[str]) -> list[Row]:
        """These models are here from now on. Let those go that are not, or that are idle; how all are that are here, or
        not gone yet."""
        self._place(here)
        now = self._clock()
        for name, home in self._homes.items():
            if self._queues[name] or home.held:
                home.used = now
            elif home.ready and not (home.here and (not home.idle or now - home.used < home.idle)):
                self._engine.remove(name)
                home.ready = False
                self._keep(home, 0)
        there = {name: home for name, home in self._homes.items() if home.here or home.ready or home.loading}
        return [self._row(name, home) for name, home in there.items()]

    def measure(self, model: str) -> list[Measured]:
        """How long iterations of a model take, on a worker that does nothing else; it has no weights afterwards."""
        home = self._homes[model]
        home.loading = None
        for _ in self._engine.load(model, home.weights):
            pass
        per_page = self._arena.tokens_per_page(model)
        try:
            return calibrate.measure(
                self._engine, model, pages=self._arena.pages, per_page=per_page, context=home.service.context
            )
        finally:
            self._engine.remove(model)

    def _load(self, home: _Home) -> None:
        """One tensor more; after the last, those that wait for it are let in."""
        assert home.loading
        failed: Exception | None = None
        try:
            next(home.loading)
            return
        except StopIteration:
            home.ready, home.used = True, self._clock()
            self._keep(home, home.floor if home.here else 0)
        except (NookError, OSError, MemoryError) as error:
            failed = error
        held, home.held, home.loading = home.held, {}, None
        for out, request in held.values():
            try:
                if failed:
                    raise failed
                super().generate(out, request)
            except Exception as error:
                out.fail(error)

    def _place(self, here: Collection[str]) -> None:
        """Models come, and begin to load, or go, when nobody waits for them any more."""
        for name, home in self._homes.items():
            if home.here and name not in here:
                home.here = False
                self._keep(home, 0)
                if not home.held:
                    home.loading = None
        for name, home in self._homes.items():
            if name in here and not home.here:
                home.here = True
                if home.ready:
                    self._keep(home, home.floor)
                else:
                    home.loading = home.loading or self._engine.load(name, home.weights)

    def _keep(self, home: _Home, floor: int) -> None:
        """So many pages are its own from now on: none while it has no weights."""
        home.service.floor = floor
        self._arena.adjust(home.service.name, floor)

    def _row(self, name: str, home: _Home) -> Row:
        answers = self._queues[name].values()
        running = sum(answer.state is State.RUNNING for answer in answers)
        queued = len(answers) - running + len(home.held)
        state: Literal["ready", "loading", "cold"] = "ready" if home.ready else "loading" if home.loading else "cold"
        return Row(name, state, running, queued, self._arena.held(name), self._arena.pages)
