"""A model that runs when it is asked for, on a fleet of hosts that models share.

    fleet = Fleet(hosts, memory={"h0": 2e9, …}, bandwidth={"h0": 10e6, …}, zygote=zygote)
    keeper = Keeper("smollm2", source, model, Wanted(ttft=5, tpot=0.5), fleet, pages=256, tokens=16)
    keeper.admit(…); keeper.run(…)      # an `iteration.Executor`: the first request starts it
    keeper.tick()                       # now and then: it merges, and ends when nobody asks any more

A model whose workers have all ended starts anew with the next request.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from inglenook.fleet.cold import plan as plans
from inglenook.fleet.cold.hosts import Host
from inglenook.fleet.cold.network import Network
from inglenook.fleet.cold.pipeline import Pipeline, Source, WorkerLost
from inglenook.fleet.cold.plan import Model, Plan, Wanted
from inglenook.fleet.cold.scale import Demand
from inglenook.fleet.cold.zygote import Zygote
from inglenook.fleet.iteration import Iteration, Sampling


class Fleet:
    """Hosts with `memory` bytes and `bandwidth` bytes/s each, by name."""

    def __init__(
        self, hosts: Iterable[Host], *, memory: Mapping[str, float], bandwidth: Mapping[str, float], zygote: Zygote
    ) -> None:
        self.hosts = {host.name: host for host in hosts}
        self.zygote = zygote
        self.network = Network(bandwidth)
        self._memory = dict(memory)
        self._held: dict[str, Mapping[str, float]] = {}

    def offer(self, now: float) -> list[plans.Host]:
        """What a cold start may use now: hosts with the bandwidth and the memory that are free."""
        return [
            plans.Host(name, self.network.offer(name, now), self.free(name))
            for name in self.hosts
            if self.network.offer(name, now)
        ]

    def free(self, host: str) -> float:
        """Bytes of a host's memory that no model holds."""
        return self._memory[host] - sum(held.get(host, 0.0) for held in self._held.values())

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
        if not self.pipeline:
            raise WorkerLost("The workers of this model have ended.", [piece.request for piece in iteration.pieces])
        tokens = self.pipeline.run(iteration)
        for piece in iteration.pieces:
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
        self.plan = plans.choose(self.model, self.fleet.offer(now), wanted)
        pipeline = Pipeline.start(
            self.source, self.plan, self.fleet.hosts, self.fleet.zygote, pages=self._pages, tokens=self._tokens,
            network=self.fleet.network, deadline=now + wanted.ttft - wanted.waited - self.model.settle,
            clock=self._clock,
        )  # fmt: skip
        self.demand.started(now)
        self._hold(pipeline)
        return pipeline

    def _hold(self, pipeline: Pipeline) -> None:
        """Tell the fleet: full workers hold the whole model and its reserve, others their share."""
        assert self.plan
        degree = self.plan.degree
        held = {place.host: self.model.memory(1 if place.full else degree) for place in pipeline.places}
        self.fleet.hold(self.name, held)
