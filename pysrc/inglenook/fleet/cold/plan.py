"""How a cold start is laid out: pipeline degree, workers that may outlive the pipeline, hosts.

    plan = choose(model, hosts, Wanted(ttft=3.0, tpot=0.2))
    plan.places    # (Place("h2", full=True), Place("h0", full=False)): the stages, in order

A *full* worker has memory for the whole model and can become a worker of its own (consolidation); a low-memory worker
holds its stage only, shares its processor with others, and ends with the pipeline.

Source: Lou et al., HydraServe (2502.15524), section on cluster-level placement, and the rule its artifact runs. Theirs:
the order of the search, the inflation of the time per token, the hop of 1 ms, at most four stages. Ours: the term for a
runtime that starts beside the fetch (`start`; 0 gives their formula), the size of the largest stage in place of
size / degree where it is known, and `met`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from inglenook.errors import NookError

DEEPEST = 4  # stages of a pipeline


@dataclass(frozen=True, slots=True)
class Host:
    """A machine: `bandwidth` bytes/s that a new fetch would get (0: none may begin), `memory` free bytes."""

    name: str
    bandwidth: float
    memory: float


@dataclass(frozen=True, slots=True)
class Model:
    """What is started. Bytes, seconds.

    `prefill` and `token` are the times of a prompt and of a token on one whole worker; `reserve` is memory for KV
    pages; `start` is the runtime's start, beside which the fetch runs, `settle` what follows both; `stages[p - 1]`,
    where known, the bytes of the largest of p stages, of which there are no more then.
    """

    size: float
    prefill: float
    token: float
    reserve: float = 5e9
    start: float = 0.0
    settle: float = 2.0
    hop: float = 1e-3
    stages: tuple[float, ...] = field(default=())

    def stage(self, degree: int) -> float:
        """Bytes that the slowest of `degree` stages fetches."""
        return self.stages[degree - 1] if len(self.stages) >= degree else self.size / degree

    def memory(self, degree: int) -> float:
        """Bytes that a stage of `degree` needs; for 1 what a full worker needs."""
        return math.ceil((self.size + self.reserve) / degree)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Service-level objectives in seconds; `waited`: how long the first request has waited already.

    `workers`: how many stand-alone workers demand calls for; the start makes as many full ones, if it has that many
    stages.
    """

    ttft: float
    tpot: float
    waited: float = 0.0
    workers: int = 1


@dataclass(frozen=True, slots=True)
class Place:
    """One stage's host, and whether it gets memory for the whole model."""

    host: str
    full: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """The stages in order, what they are expected to take, and whether that is what was wanted."""

    places: tuple[Place, ...]
    ttft: float
    tpot: float
    met: bool

    @property
    def degree(self) -> int:
        return len(self.places)

    @property
    def full(self) -> int:
        return sum(place.full for place in self.places)


def inflation(degree: int, full: int) -> float:
    """Time per token of a pipeline, as a multiple of one worker's: low-memory workers have 1/degree of a processor."""
    return degree - full + full / degree


def expected(model: Model, degree: int, full: int, bandwidth: float, waited: float = 0.0) -> tuple[float, float]:
    """(time to first token, time per token) in seconds, with the slowest stage's fetch at `bandwidth` bytes/s."""
    slower = inflation(degree, full)
    fetch = model.stage(degree) / bandwidth if bandwidth > 0 else math.inf
    ttft = waited + max(model.start, fetch) + model.settle + model.prefill * slower
    return ttft, model.token * slower + model.hop * (degree - 1)


def choose(model: Model, hosts: Iterable[Host], wanted: Wanted, deepest: int = DEEPEST) -> Plan:
    """The smallest pipeline that is in time; one worker where none is, or where a whole worker misses `tpot` already.

    Raises NookError("fleet-full") where no host has memory for the whole model.
    """
    hosts = tuple(hosts)
    whole = _fastest(hosts, model.memory(1))
    if not whole:
        raise NookError(
            "fleet-full", f"No host has {model.memory(1):.0f} bytes free for this model.",
            "Stop a model that is idle, or add a host.",
        )  # fmt: skip
    if model.token < wanted.tpot:
        for degree in range(1, min(deepest, len(model.stages) or deepest) + 1):
            for full in range(min(degree, max(wanted.workers, 1)), degree + 1):
                places = place(model, hosts, degree, full)
                if not places:
                    continue
                by_name = {host.name: host.bandwidth for host in hosts}
                bandwidth = min(by_name[at.host] for at in places)
                ttft, tpot = expected(model, degree, full, bandwidth, wanted.waited)
                if tpot <= wanted.tpot and ttft < wanted.ttft:
                    return Plan(places, ttft, tpot, met=True)
    ttft, tpot = expected(model, 1, 1, whole[0].bandwidth, wanted.waited)
    return Plan((Place(whole[0].name, full=True),), ttft, tpot, met=ttft < wanted.ttft and tpot <= wanted.tpot)


def place(model: Model, hosts: Sequence[Host], degree: int, full: int) -> tuple[Place, ...]:
    """`full` workers on the fastest hosts with memory for the whole model, then the rest; () if they do not fit."""
    first = _fastest(hosts, model.memory(1))[:full]
    rest = [host for host in _fastest(hosts, model.memory(degree)) if host not in first][: degree - full]
    if len(first) + len(rest) < degree:
        return ()
    return (*(Place(host.name, full=True) for host in first), *(Place(host.name, full=False) for host in rest))


def _fastest(hosts: Sequence[Host], memory: float) -> list[Host]:
    return sorted((host for host in hosts if host.memory >= memory), key=lambda host: (-host.bandwidth, host.name))
