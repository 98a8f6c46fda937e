"""A model that runs when it is asked for, on a fleet of hosts that models share.

    fleet = Fleet(machines, memory={"h0": 2e9, …}, bandwidth={"h0": 10e6, …})
    keeper = Keeper("smollm2", source, model, Wanted(ttft=5, tpot=0.5), fleet, pages=256, tokens=16)
    keeper.admit(…); keeper.run(…)      # an `iteration.Executor`: the first request starts it
    keeper.tick(); keeper.grow()        # now and then: it merges, ends what nobody asks, and starts what is called for

A model whose workers have all ended starts anew with the next request. One that runs gets more by the same planner when
requests pile up, and gives back those that are idle.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace

from inglenook.errors import NookError
from inglenook.fleet.cold import plan as plans
from inglenook.fleet.cold.crew import Crew
from inglenook.fleet.cold.flight import Flight
from inglenook.fleet.cold.network import Network
from inglenook.fleet.cold.pipeline import Pipeline, Source
from inglenook.fleet.cold.plan import Model, Wanted
from inglenook.fleet.cold.remote import HostLost, Machine
from inglenook.fleet.cold.scale import Demand
from inglenook.fleet.iteration import Iteration, Sampling

ROOM = ("fleet-full", "network-busy", "fleet-down")  # what may be otherwise in a moment


class Fleet:
    """Machines with `memory` bytes and `bandwidth` bytes/s each, by name."""

    def __init__(
        self, machines: Iterable[Machine], *, memory: Mapping[str, float], bandwidth: Mapping[str, float]
    ) -> None:
        self.machines = {machine.name: machine for machine in machines}
        self.network = Network(bandwidth)
        self._memory = dict(memory)
        self._held: dict[str, Mapping[str, float]] = {}

    def offer(self, now: float, but: Collection[str] = ()) -> list[plans.Host]:
        """What a cold start may use now: machines that are up, with the bandwidth and the memory that are free there,
        but for some. Raises NookError("fleet-down") if none is up."""
        up = [name for name, machine in self.machines.items() if not machine.problem and name not in but]
        if not up:
            told = " ".join(machine.problem.message for machine in self.machines.values() if machine.problem)
            raise NookError("fleet-down", f"No host can be reached. {told}", "Start them: inglenook fleet host.")
        shares = {name: self.network.offer(name, now) for name in up}
        return [plans.Host(name, share, self.free(name)) for name, share in shares.items() if share]

    def free(self, host: str) -> float:
        """Bytes of a host's memory that no model holds."""
        return self._memory[host] - sum(held.get(host, 0.0) for held in self._held.values())

    def fits(self, memory: float) -> bool:
        """Whether a machine that is up has so many bytes free."""
        return any(self.free(name) >= memory for name, machine in self.machines.items() if not machine.problem)

    def hold(self, model: str, held: Mapping[str, float]) -> None:
        """A model holds so many bytes, by host."""
        self._held[model] = held


class Keeper:
    """See above. `model` is what the planner knows of it; `pages` of `tokens` tokens are what the arena has that
    numbers its pages."""

    def __init__(
        self, name: str, source: Source, model: Model, wanted: Wanted, fleet: Fleet, *, pages: int, tokens: int,
        demand: Demand | None = None, clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self.name, self.source, self.model, self.wanted, self.fleet = name, source, model, wanted, fleet
        self.demand = demand or Demand()
        self.crew = Crew()
        self._pages, self._tokens, self._clock = pages, tokens, clock

    @property
    def running(self) -> bool:
        return bool(self.crew.pipelines)

    def admit(self, request: str, sampling: Sampling) -> None:
        """As `Executor.admit`; starts workers if there are none. Raises NookError("fleet-full" | "network-busy" |
        "worker-lost")."""
        now = self._clock()
        self.demand.arrived(request, now)
        try:
            if self.crew.broken:
                self.stop()
                self._start(now, self.demand.wanted(now))
            self.crew.admit(request, sampling)
        except BaseException:
            self.demand.ended(request, now)
            raise

    def run(self, iteration: Iteration) -> dict[str, int]:
        """As `Executor.run`, of requests that were admitted. Raises what `Pipeline.run` does."""
        return self.finish(self.begin(iteration))

    def begin(self, iteration: Iteration) -> Flight:
        """As `Crew.begin`."""
        return self.crew.begin(iteration)

    def finish(self, flight: Flight) -> dict[str, int]:
        """As `Flight.finish`; workers may have ended meanwhile."""
        tokens = flight.finish()
        for piece in flight.iteration.pieces:
            self.demand.began(piece.request)
        self._hold()
        return tokens

    def release(self, request: str) -> None:
        """As `Executor.release`."""
        self.demand.ended(request, self._clock())
        self.crew.release(request)

    def tick(self) -> None:
        """Go on with merging; end what is idle, or of no use."""
        now = self._clock()
        if self.demand.idle(now) or self.crew.broken:
            self.stop()
        self.crew.step(now)
        self.crew.leave(now - self.demand.idle_after)
        self._hold()

    def grow(self) -> None:
        """Start what is called for beside those that run, on other hosts, since processors are not to be shared. Where
        there is no room it is tried again after a window."""
        now, workers = self._clock(), self.crew.workers
        if workers and (more := self.demand.wanted(now, workers)):
            try:
                self._start(now, more, self.crew.hosts)
            except NookError as error:
                if error.code not in ROOM:
                    raise

    def spare(self) -> bool:
        """End workers without requests, but one, since others need the room; whether there were any."""
        ended = self.crew.leave(self._clock())
        self._hold()
        return ended

    def stop(self) -> None:
        """End all workers."""
        self.crew.close()
        self._hold()

    def _start(self, now: float, workers: int, but: Collection[str] = ()) -> None:
        wanted = replace(self.wanted, waited=self.demand.waited(now), workers=max(self.wanted.workers, workers))
        without = {*but}
        self.demand.started(now)
        while True:
            plan = plans.choose(self.model, self.fleet.offer(now, without), wanted)
            try:
                pipeline = Pipeline.start(
                    self.source, plan, self.fleet.machines, pages=self._pages, tokens=self._tokens,
                    network=self.fleet.network, deadline=now + wanted.ttft - wanted.waited - self.model.settle,
                    clock=self._clock,
                )  # fmt: skip
                break
            except HostLost as error:
                without.add(error.host)
        self.crew.pipelines.append(pipeline)
        self._hold()

    def _hold(self) -> None:
        """Tell the fleet: full workers hold the whole model and its reserve, others their share; a host has one."""
        held = {
            place.host: self.model.memory(1 if place.full else pipeline.plan.degree)
            for pipeline in self.crew.pipelines for place in pipeline.places
        }  # fmt: skip
        self.fleet.hold(self.name, held)
