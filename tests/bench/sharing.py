"""Sharing of two workers by five services of three shapes, simulated: every policy over utilisation x burstiness.

Loads: lengths of the Azure conversation and code traces (../shared/data/traces) as they are; arrivals are gamma, for
each service by itself. Shapes: models of 1.1, 7 and 13 billion parameters on a device of 1.6 TB/s and 312 TFLOP/s, by
`Profile.roofline`. So these are simulated seconds; `sharing_real` runs the same loop and policies on real engines.

Utilisation: the seconds that the busier worker needs under FCFS if all requests are there at once, over the time in
which they come. Every policy has six settings, tried on smaller loads of other seeds at 60 and 85 %; the one with the
least mean x p99 is kept for all points. One placement for all, made for round robin. No request is left out: each run
goes on until all are answered.
"""

from __future__ import annotations

import math
import multiprocessing
import statistics
from argparse import Namespace
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, TypeVar

import numpy as np
from inglenook.fleet.arena import Arena
from inglenook.fleet.lengths import Lengths
from inglenook.fleet.loop import Loop
from inglenook.fleet.metrics import Outcome, Summary
from inglenook.fleet.placement import Group, Placement, Plan
from inglenook.fleet.policy import Policy, spatial
from inglenook.fleet.policy.adbs import AdaptiveBatches
from inglenook.fleet.policy.doubling import Doubling
from inglenook.fleet.policy.fcfs import FirstCome
from inglenook.fleet.policy.roundrobin import RoundRobin
from inglenook.fleet.profile import Profile
from inglenook.fleet.service import Rate, Service
from inglenook.fleet.simulate import Arrival, simulate
from inglenook.fleet.workload import Row, arrivals, faster, gamma, scaled, trace

from buildlib.project import ROOT

TRACES = ROOT.parent / "shared" / "data" / "traces"
UTILISATIONS = (0.6, 0.75, 0.85, 0.95)
BURSTS = (1.0, 4.0)  # coefficients of variation of the gaps
OURS = "doubling"
TRIED = 400  # requests of a load that settings are tried on

T, R = TypeVar("T"), TypeVar("R")
Processes = Sequence[tuple[Loop, float]]
Make = Callable[[Sequence[Service], int, int], Processes]


def temporal(policy: Callable[[], Policy]) -> Make:
    """One process for all services."""
    return lambda services, pages, page: [(Loop(policy(), Arena(pages, page), services), 1.0)]


def arms(batch: int, chunks: Sequence[int]) -> dict[str, dict[str, Make]]:
    """Of each policy six settings, by what they are."""
    small, large = chunks
    made: dict[str, dict[str, Make]] = {"fcfs": {}, "roundrobin": {}, "adbs": {}, "spatial": {}, OURS: {}}
    for chunk in chunks:
        for most in (batch // 4, batch // 2, batch):
            made["fcfs"][f"{most=} {chunk=}"] = temporal(lambda m=most, c=chunk: FirstCome(m, c))
        for quantum in (1, 2, 8):
            made["roundrobin"][f"{quantum=} {chunk=}"] = temporal(lambda q=quantum, c=chunk: RoundRobin(batch, c, q))
        for power in (0.0, 0.5, 1.0):
            made["spatial"][f"{power=} {chunk=}"] = (
                lambda services, pages, page, p=power, c=chunk:
                spatial.processes(services, pages, page, batch=batch, chunk=c, power=p)
            )  # fmt: skip
    for chunk, every in product((small, large, 4 * large), (8, 64)):
        made["adbs"][f"{every=} {chunk=}"] = temporal(lambda e=every, c=chunk: AdaptiveBatches(batch, c, e))
    for patience, chunk in product((0.6, 0.8, 1.0), chunks):
        made[OURS][f"{patience=} {chunk=}"] = temporal(lambda p=patience, c=chunk: Doubling(batch, c, 0.1, p))
    return made


@dataclass(frozen=True)
class Kind:
    """A service as the bench knows it: its shape, whose lengths its requests have, its part of all requests."""

    profile: Profile
    token_bytes: int
    weights: int
    rows: Sequence[Row]
    part: float


@dataclass(frozen=True)
class World:
    """The services; tokens of prompt and answer together, and of an answer, at most; bytes of a worker, and of a
    page."""

    kinds: Mapping[str, Kind]
    context: int
    most: int
    memory: int
    page: int


@dataclass
class Case:
    """A load at a utilisation, and what it runs on. `plan` says which services share a worker."""

    services: list[Service]
    asked: list[Arrival]
    plan: Plan
    memory: int
    page: int

    def run(self, make: Make) -> list[Outcome]:
        """What becomes of all requests."""
        rows: list[Outcome] = []
        for group in self.plan:
            members = [service.fresh() for service in self.services if service.name in group.services]
            own = [arrival for arrival in self.asked if arrival.request.service in group.services]
            rows += simulate(make(members, self.pages(members), self.page), own)
        return rows

    def pages(self, members: Iterable[Service]) -> int:
        """Pages that the weights leave on a worker."""
        return (self.memory - sum(service.weights for service in members)) // self.page

    def at(self, utilisation: float) -> Case:
        """The same requests at such a rate that the busier worker has this utilisation."""
        at_once = replace(self, asked=[replace(arrival, at=0.0) for arrival in self.asked])
        rows = at_once.run(temporal(lambda: FirstCome(32, 2048)))
        needed = max(row.ended or math.inf for row in rows)
        factor = utilisation * self.asked[-1].at / needed
        services = [replace(service.fresh(), rate=Rate(service.rate.at(0.0) * factor)) for service in self.services]
        return replace(self, services=services, asked=faster(self.asked, factor))


def lengths(scale: float, context: int, most: int) -> tuple[list[Row], list[Row]]:
    """Rows of the conversation and of the code trace, lengths divided by `scale`. Raises NookError("trace")."""
    names = ("AzureLLMInferenceTrace_conv.csv", "AzureLLMInferenceTrace_code.csv")
    chat, code = (scaled(trace(TRACES / name), scale, context - most) for name in names)
    return [row._replace(output=min(row.output, most)) for row in chat], [
        row._replace(output=min(row.output, most)) for row in code
    ]


def simulated() -> World:
    """Five services of three shapes on devices of 40 GiB."""
    chat, code = lengths(1, 5120, 1024)
    made = {}
    for name, rows, parameters, token_bytes, part in (
        ("chat-small", chat, 1.1e9, 22_528, 3.0), ("code-small", code, 1.1e9, 22_528, 3.0),
        ("chat", chat, 7e9, 131_072, 1.0), ("code", code, 7e9, 131_072, 1.0), ("chat-large", chat, 13e9, 204_800, 0.5),
    ):  # fmt: skip
        profile = Profile.roofline(parameters, token_bytes, bandwidth=1.6e12, flops=312e12)
        made[name] = Kind(profile, token_bytes, int(2 * parameters), rows, part)
    return World(made, 5120, 1024, 40 << 30, 1 << 21)


def case(world: World, count: int, cv: float, seed: int) -> Case:
    """`count` requests at one a second, all on one worker as yet. Lengths come from the second half of the traces; what
    the services know of theirs, from the first quarter."""
    rng = np.random.default_rng(seed)
    whole = sum(kind.part for kind in world.kinds.values())
    services, streams = [], {}
    for name, kind in world.kinds.items():
        rate, rows = kind.part / whole, kind.rows
        share = round(count * rate)
        start = int(rng.integers(len(rows) // 2, len(rows) - share))
        streams[name] = gamma(rows[start : start + share], rate, cv, rng)
        seen = rows[: len(rows) // 4]
        prompts, outputs = (Lengths().extend(some) for some in zip(*((row.prompt, row.output) for row in seen)))
        services.append(
            Service(name, kind.profile, kind.token_bytes, world.context, 0, kind.weights, prompts, outputs, Rate(rate))
        )
    group = Group(1, tuple(world.kinds))
    return Case(services, arrivals(streams, world.most), (group,), world.memory, world.page)


def placed(one: Case, workers: int, policy: Callable[[], Policy]) -> Case:
    """The case on its best placement for so many workers, found with a part of the requests at about 85 %."""
    loaded = replace(one, memory=one.memory * workers).at(0.85 * workers)
    sample = loaded.asked[: len(loaded.asked) // 3]
    best = Placement(loaded.services, workers, one.memory, sample, policy, page_bytes=one.page).best()
    return replace(one, plan=best)


def tune(tried: Mapping[str, Mapping[str, Make]], load: Callable[[float, float, int], Case]) -> dict[str, str]:
    """Of each policy the setting with the least mean x p99 (geometric means over loads of seeds that are not
    measured)."""
    trials = [load(utilisation, cv, 2000 + n) for n, (utilisation, cv) in enumerate(product((0.6, 0.85), BURSTS))]

    def cost(make: Make) -> float:
        said = [Summary.of(one.run(make), 0.0) for one in trials]
        return sum(math.log(one.mean) + math.log(one.p99) for one in said)

    chosen = {}
    for name, settings in tried.items():
        costs = dict(zip(settings, spread(cost, settings.values()), strict=True))
        chosen[name] = min(costs, key=lambda said: costs[said])
        print(f"  {name}: {chosen[name]}", flush=True)
    return chosen


def spread(work: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """`work` of each item, in order, on all processors. They are forked, so neither has to be pickled; results do."""
    global _work, _items
    _work, _items = work, list(items)
    with multiprocessing.get_context("fork").Pool() as pool:
        return pool.map(_at, range(len(_items)), chunksize=1)


_work: Callable[[Any], Any]
_items: Sequence[Any]


def _at(place: int) -> Any:
    return _work(_items[place])


def row(name: str, utilisation: float, cv: float, said: Sequence[Summary]) -> dict[str, Any]:
    """A row of the table: medians over the loads of a point. It is printed, too."""

    def median(field: str, factor: float = 1.0) -> float:
        return round(factor * statistics.median(getattr(one, field) for one in said), 4)

    made = {
        "policy": name, "utilisation": utilisation, "cv": cv, "mean_ms": median("mean", 1e3),
        "p99_ms": median("p99", 1e3), "slo": median("attained"), "first_s": median("first"),
        "first_p99_s": median("first_p99"), "mean_ms_iqr": round(1e3 * iqr([one.mean for one in said]), 4),
    }  # fmt: skip
    print(
        f"  {utilisation:.0%} cv {cv:g} {name:<11} mean {made['mean_ms']:8.1f} ms, p99 {made['p99_ms']:9.1f} ms, "
        f"within {made['slo']:.3f}, first {made['first_s']:.2f} s",
        flush=True,
    )
    return made


def iqr(values: Sequence[float]) -> float:
    """The distance of the quartiles."""
    return float(np.subtract(*np.quantile(values, (0.75, 0.25))))


def compared(rows: Sequence[Mapping[str, Any]], prefix: str) -> dict[str, Any]:
    """Ours against the best baseline of each point, and where it loses. Ratios below 1 are in our favour."""
    means, tails, lost, speed = [], [], [], []
    for utilisation, cv in dict.fromkeys((row["utilisation"], row["cv"]) for row in rows):
        here = {row["policy"]: row for row in rows if (row["utilisation"], row["cv"]) == (utilisation, cv)}
        ours = here.pop(OURS)
        for name, ratios in (("mean_ms", means), ("p99_ms", tails)):
            best = min(here.values(), key=lambda row: row[name])
            ratios.append(ours[name] / best[name])
            if ours[name] > best[name]:
                lost.append(f"{name[:-3]} at {utilisation:.0%}, cv {cv:g}: {ratios[-1]:.2f} of {best['policy']}")
        best = max(here.values(), key=lambda row: row["slo"])
        if ours["slo"] < best["slo"]:
            lost.append(f"slo at {utilisation:.0%}, cv {cv:g}: {ours['slo']:.3f}, {best['policy']} {best['slo']:.3f}")
        if utilisation == 0.85:
            speed.append(here["fcfs"]["mean_ms"] / ours["mean_ms"])
    return {
        f"{prefix}": list(rows),
        f"{prefix}_worst_mean_ratio_vs_best": round(max(means), 3),
        f"{prefix}_worst_p99_ratio_vs_best": round(max(tails), 3),
        f"{prefix}_mean_vs_fcfs_85": round(min(speed), 2) if speed else None,
        f"{prefix}_loses": lost,
    }


def run(options: Namespace) -> dict[str, Any]:
    """The part `sharing-sim`."""
    if not TRACES.exists():
        print(f"  skipped: there are no traces at {TRACES}")
        return {"sharing_sim": "skipped: no traces"}
    world = simulated()
    count, seeds = (400, 2) if options.quick else (1000, 5)
    tried = arms(64, (512, 2048))
    first = placed(case(world, count, 2.0, 1000), 2, lambda: RoundRobin(64, 512))
    print(f"  placement: {' | '.join(', '.join(group.services) for group in first.plan)}")

    def load(utilisation: float, cv: float, seed: int, count: int = TRIED) -> Case:
        return replace(case(world, count, cv, seed), plan=first.plan).at(utilisation)

    chosen = {name: tried[name][said] for name, said in tune(tried, load).items()}
    rows = []
    for cv, utilisation in product(BURSTS, UTILISATIONS):
        cases = spread(lambda seed, u=utilisation, c=cv: load(u, c, seed, count), range(seeds))
        pairs = list(product(chosen, cases))
        said = spread(lambda pair: Summary.of(pair[1].run(chosen[pair[0]]), 0.0), pairs)
        for n, name in enumerate(chosen):
            rows.append(row(name, utilisation, cv, said[n * seeds : (n + 1) * seeds]))
    return compared(rows, "sharing_sim")
