"""What a worker does that has no weights: it runs models as pipelines on other machines, by what is asked of them.

The target of an `Actor`, beside `host.Host` and `vllm.Driver`. All such models have this one worker, since they share
the machines' memory and networks, and who fetches must know of who fetches already. Each has a loop of its own, and an
iteration under way at a time; a step takes in what has come of any of them, so no model waits for another. A request
for which there is no room on the hosts waits for it, and models that nobody asks make room.

What the planner knows of a model's speed is a guess from its size at first, then what its iterations take (ours).
"""

from __future__ import annotations

import math
import socket
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import FIRST_COMPLETED, wait
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from inglenook.errors import NookError
from inglenook.fleet.actor import Out
from inglenook.fleet.arena import Arena
from inglenook.fleet.cold import plan as plans
from inglenook.fleet.cold import split
from inglenook.fleet.cold.channel import Address
from inglenook.fleet.cold.flight import Flight, WorkerLost
from inglenook.fleet.cold.keeper import ROOM, Fleet, Keeper
from inglenook.fleet.cold.machine import There
from inglenook.fleet.cold.pipeline import Source
from inglenook.fleet.cold.plan import Wanted
from inglenook.fleet.cold.scale import Demand
from inglenook.fleet.cold.store import Store
from inglenook.fleet.config import Site
from inglenook.fleet.convert import CHUNKS
from inglenook.fleet.driver import Driver as Lane
from inglenook.fleet.host import Row
from inglenook.fleet.iteration import Iteration, Piece
from inglenook.fleet.loop import Loop
from inglenook.fleet.manifest import Manifest
from inglenook.fleet.policy.fcfs import FirstCome
from inglenook.fleet.profile import Work
from inglenook.fleet.request import Request, State
from inglenook.fleet.service import Service
from inglenook.fleet.weights import Checkpoint

BATCH, CHUNK = 16, 512  # answers, and tokens, of an iteration for each worker; more answers call for another worker
HOLD = 30.0  # seconds that a request waits for room
SLICE = 0.02  # seconds that a step waits for iterations, and so a call for a step
REACH = 5.0  # seconds for the first connections to the machines
SETTLE = 0.2  # seconds of a start beside the fetch: workers are forked and connected
LEARN = 0.2  # what an iteration counts in what is known of the speed


@dataclass(frozen=True, slots=True)
class Piped:
    """A model: its folder as `convert` leaves it, or as `outline` does if its weights are at `url`; `wanted` of it;
    seconds without a request after which its workers end (0: never); pages of `tokens` tokens, and the bytes that all
    of it, keys and values included, takes on one host."""

    service: Service
    folder: Path
    url: str
    wanted: Wanted
    idle: float
    pages: int
    tokens: int
    memory: float


class Driver:
    """Models on machines that have `key`. `clock` gives seconds."""

    def __init__(
        self, key: bytes, sites: Collection[Site], models: Collection[Piped],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        machines = [There(site.name, site.address, key) for site in sites]
        self._fleet = Fleet(
            machines, memory={site.name: site.memory for site in sites},
            bandwidth={site.name: site.bandwidth for site in sites},
        )  # fmt: skip
        here = _here([site.address for site in sites])
        self._lanes = {model.service.name: _Lane(model, _source(model, here), self._fleet, clock) for model in models}
        until = time.monotonic() + REACH
        for machine in machines:
            machine.wait(until - time.monotonic())

    def generate(self, out: Out, request: Request) -> None:
        """Write an answer: its tokens are the items, the reason why it ended is the result."""
        if request.service not in self._lanes:
            raise NookError("no-model", f"There is no model {request.service} here.", "Ask for one that is served.")
        lane = self._lanes[request.service]
        lane.generate(out, request)
        self._let_in(lane)

    def step(self) -> bool:
        """Take in what has come, ask for what is next, and wait a little for some of it; whether there is any."""
        flying = [waiting for lane in self._lanes.values() if (waiting := lane.go_on()) is not None]
        if flying and all(flying):
            wait([future for waiting in flying for future in waiting], SLICE, FIRST_COMPLETED)
        return bool(flying)

    def tick(self, here: Collection[str]) -> list[Row]:
        """Merge, end what is idle, let in who waits for room, then start more workers where requests pile up; how all
        models are, which are always here."""
        for lane in self._lanes.values():
            lane.tick()
        for lane in self._lanes.values():
            self._let_in(lane)
        for lane in self._lanes.values():
            lane.keeper.grow()
        return [lane.row() for lane in self._lanes.values()]

    def _let_in(self, lane: _Lane) -> None:
        """Let in who waits; while there is no memory for that, workers end that are idle where a model has others, then
        the model that was idle longest."""
        while not lane.let_in() and not self._fleet.fits(lane.keeper.model.memory(1)):
            if any(other.keeper.spare() for other in self._lanes.values()):
                continue
            idle = [other for other in self._lanes.values() if other.idle]
            if not idle:
                return
            min(idle, key=lambda other: other.keeper.demand.last).keeper.stop()


class _Lane(Lane):
    """One model: its loop and its keeper. `_held` are requests that wait for room, since when."""

    def __init__(self, model: Piped, source: Source, fleet: Fleet, clock: Callable[[], float]) -> None:
        self._service, checkpoint = model.service.fresh(), source.checkpoint
        self._arena = Arena(model.pages, model.tokens * model.service.token_bytes)
        size = sum(place.end - place.start for place in checkpoint.places.values())
        deepest = min(plans.DEEPEST, checkpoint.shape.layers)
        stages = tuple(
            float(max(source.share([part]).size for part in split.cut(checkpoint, degree)))
            for degree in range(1, deepest + 1)
        )
        self._pace = 1.0  # what iterations take, as a multiple of what the service's profile says
        known = plans.Model(size, 0, 0, reserve=model.memory - size, settle=SETTLE, stages=stages)
        self.keeper = Keeper(
            self._service.name, source, known, model.wanted, fleet, pages=model.pages, tokens=model.tokens,
            demand=Demand(batch=BATCH, idle_after=model.idle or math.inf), clock=clock,
        )  # fmt: skip
        self._policy = FirstCome(BATCH, CHUNK)
        loop = Loop(self._policy, self._arena, [self._service])
        super().__init__(loop, self.keeper, clock)
        self._queue = loop.queues[self._service.name]
        self._held: dict[str, tuple[Out, Request, float]] = {}
        self._flight: Flight | None = None
        self._began = 0.0
        self._learn()

    @property
    def idle(self) -> bool:
        """Whether it has workers and nobody asks."""
        return self.keeper.running and not (self._flight or self._outs or self._held)

    def generate(self, out: Out, request: Any) -> None:
        """As `Driver.generate`, once `let_in` says so."""
        if request.id in self._held or request.id in self._outs:
            raise NookError("duplicate", f"A request {request.id} is under way.", "Give each request its own id.")
        self._held[request.id] = out, request, self._clock()
        out.on_close = lambda: self.cancel(request.id)

    def cancel(self, request_id: str) -> None:
        if waiting := self._held.pop(request_id, None):
            waiting[0].end("cancelled")
        super().cancel(request_id)

    def let_in(self) -> bool:
        """Start those that wait; False if one has to wait on. Who waited too long hears why."""
        for name, (out, request, since) in [*self._held.items()]:
            if not self._whole():
                return True  # its iteration is about to fail
            try:
                super().generate(out, request)
            except NookError as error:
                if error.code in ROOM and self._clock() < since + HOLD:
                    return False
                out.fail(error)
            del self._held[name]
        return True

    def go_on(self) -> list[Any] | None:
        """Take in the iteration that has ended, and ask for the next; what is waited for now, if one is under way."""
        if self._flight and not self._flight.waiting:
            flight, self._flight = self._flight, None
            try:
                tokens = self.keeper.finish(flight)
            except NookError as error:
                self._lose(flight.iteration, error)
                self._whole()
            else:
                if all(pipeline.merged for pipeline in flight.pipelines):
                    self._learn([pieces for pieces, _ in flight.asked], self._clock() - self._began)
                self._ran(flight.iteration, tokens, self._began)
        if self._flight is None:
            self._began, hands = self._clock(), max(self.keeper.crew.hands, 1)
            self._policy.batch, self._policy.chunk = BATCH * hands, CHUNK * hands
            if iteration := self.loop.next(self._began):
                try:
                    self._flight = self.keeper.begin(iteration)
                except NookError as error:
                    self._lose(iteration, error)
        return self._flight.waiting if self._flight else None

    def tick(self) -> None:
        """Merge, or end what is idle."""
        if self._whole():
            self.keeper.tick()

    def row(self) -> Row:
        """How it is now."""
        answers, up = self._queue.values(), self.keeper.running
        running = sum(answer.state is State.RUNNING for answer in answers)
        queued = len(answers) - running + len(self._held)
        state: Literal["ready", "loading", "cold", "down"] = "cold"
        if up:
            state = "ready" if self.keeper.crew.ready else "loading"
        elif all(machine.problem for machine in self.keeper.fleet.machines.values()):
            state = "down"
        used = self._arena.held(self._service.name) if up else 0
        return Row(self._service.name, state, running, queued, used, self._arena.pages)

    def _whole(self) -> bool:
        """Whether no iteration is about to fail. If its workers can't answer any more, all that they had is gone: its
        requests hear why, and the next one starts other workers."""
        crew = self.keeper.crew
        if not self.keeper.running or not crew.broken:
            return True
        if self._flight:
            return False
        now, why = self._clock(), crew.why()
        self.keeper.stop()
        for name, out in [*self._outs.items()]:
            self.loop.cancel(name, now)
            self.keeper.release(name)
            out.fail(why)
        self._outs.clear()
        return True

    def _lose(self, iteration: Iteration, error: NookError) -> None:
        """An iteration that could not be run: who had what was lost hears of it, the others run it again."""
        lost = error.requests if isinstance(error, WorkerLost) else ()
        over = [piece for piece in iteration.pieces if piece.request in lost or piece.request not in self._outs]
        self._fail(replace(iteration, pieces=tuple(over)) if lost else iteration, error, self._began)

    def _learn(self, shares: Sequence[Sequence[Piece]] = (), seconds: float = 0.0) -> None:
        """Tell the planner how fast one whole worker is, by an iteration's shares, which ran at once."""
        guess = self._service.profile
        if shares:
            expected = max(guess.seconds(Work.of(pieces)) for pieces in shares)
            self._pace += LEARN * (seconds / expected - self._pace)
        known, prompt = guess.times(self._pace), round(self._service.prompts.mean)
        self.keeper.model = replace(
            self.keeper.model, prefill=known.alone(prompt, 1), token=known.seconds(Work(1, 0, prompt))
        )


def _source(model: Piped, here: str) -> Source:
    """Where the machines get a model: at its store, or at one of ours."""
    url = model.url or Store(model.folder, (here, 0)).url("")
    manifest = Manifest.parse((model.folder / CHUNKS).read_bytes())
    return Source(Checkpoint.open(model.folder), manifest, url)


def _here(addresses: Collection[Address]) -> str:
    """This machine's address as the others reach it: that from which it would reach them (nothing is sent)."""
    found = []
    for address in addresses:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
            try:
                end.connect(address)
            except OSError:
                continue
            found.append(str(end.getsockname()[0]))
    return min(found, key=lambda own: own.startswith("127."), default="127.0.0.1")
