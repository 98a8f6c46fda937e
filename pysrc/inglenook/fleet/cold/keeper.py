"""A model that runs when it is asked for, on a fleet of hosts that models share.

    fleet = Fleet(machines, memory={"h0": 2e9, …}, bandwidth={"h0": 10e6, …})
    keeper = Keeper("smollm2", source, model, Wanted(ttft=5, tpot=0.5), fleet, pages=256, tokens=16)
    keeper.admit(…); keeper.run(…)      # an `iteration.Executor`: the first request starts it
    keeper.tick()                       # now and then: it merges, and ends when nobody asks any more

A model whose workers have all ended starts anew with the next request.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace

from inglenook.errors import NookError
from inglenook.fleet.cold import plan as plans
from inglenook.fleet.cold.network import Network
from inglenook.fleet.cold.pipeline import Flight, Pipeline, Source, WorkerLost
from inglenook.fleet.cold.plan import Model, Plan, Wanted
from inglenook.fleet.cold.remote import HostLost, Machine
from inglenook.fleet.cold.scale import Demand
from inglenook.fleet.iteration import Iteration, Sampling


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
        self.pipeline: Pipeline | None = None
        self.plan: Plan | None = None
        self._pages, self._tokens, self._clock = pages, tokens, clock

    @property
    def running(self) -> bool:
        return self.pipeline is not None

    def admit(self, request: str, sampling: Sampling) -> None:
        """As `Executor.admit`; starts workers if there are none. Raises NookError("fleet-full" | "network-busy" |
        "worker-lost")."""
        now = self._clock()
        self.demand.arrived(request, now)
        try:
            if self.pipeline is None or self.pipeline.broken:
                self.stop()
                self.pipeline = self._start(now)
            self.pipeline.admit(request, sampling)
        except BaseException:
            self.demand.ended(request, now)
            raise

    def run(self, iteration: Iteration) -> dict[str, int]:
        """As `Executor.run`, of requests that were admitted. Raises what `Pipeline.run` does."""
        return self.finish(self.begin(iteration))

    def begin(self, iteration: Iteration) -> Flight:
        """As `Pipeline.begin`."""
        if not self.pipeline:
            raise WorkerLost("The workers of this model have ended.", [piece.request for piece in iteration.pieces])
        return self.pipeline.begin(iteration)

    def finish(self, flight: Flight) -> dict[str, int]:
        """As `Pipeline.finish`."""
        assert self.pipeline
        tokens = self.pipeline.finish(flight)
        for piece in flight.iteration.pieces:
            self.demand.began(piece.request)
        self._hold(self.pipeline)
        return tokens

    def release(self, request: str) -> None:
        """As `Executor.release`."""
        self.demand.ended(request, self._clock())
        if self.pipeline:
            self.pipeline.release(request)

    def tick(self) -> None:
        """Go on with merging; end when it is idle, or what is left of it is of no use."""
        if self.demand.idle(self._clock()) or (self.pipeline and self.pipeline.broken):
            self.stop()
        if self.pipeline:
            self.pipeline.step()
            self._hold(self.pipeline)

    def stop(self) -> None:
        """End all workers."""
        if self.pipeline:
            self.pipeline.close()
        self.pipeline = self.plan = None
        self.fleet.hold(self.name, {})

    def _start(self, now: float) -> Pipeline:
        wanted = replace(
            self.wanted, waited=self.demand.waited(now), workers=max(self.wanted.workers, self.demand.wanted(now))
        )
        lost: set[str] = set()
        while True:
            self.plan = plans.choose(self.model, self.fleet.offer(now, lost), wanted)
            try:
                pipeline = Pipeline.start(
                    self.source, self.plan, self.fleet.machines, pages=self._pages, tokens=self._tokens,
                    network=self.fleet.network, deadline=now + wanted.ttft - wanted.waited - self.model.settle,
                    clock=self._clock,
                )  # fmt: skip
                break
            except HostLost as error:
                lost.add(error.host)
        self.demand.started(now)
        self._hold(pipeline)
        return pipeline

    def _hold(self, pipeline: Pipeline) -> None:
        """Tell the fleet: full workers hold the whole model and its reserve, others their share."""
        assert self.plan
        degree = self.plan.degree
        held = {place.host: self.model.memory(1 if place.full else degree) for place in pipeline.places}
        self.fleet.hold(self.name, held)
