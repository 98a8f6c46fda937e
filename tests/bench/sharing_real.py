"""Sharing on real engines, and how far the simulator is from them.

Two workers, each held to one core; five services of three shapes (random weights); lengths of the Azure traces
divided by 8. Profiles are fitted to 60 % of the iterations that were measured, the error is told of the rest. With
these profiles policies are tuned, by simulation and with the same budget, before anything is measured; then every
policy runs in turn at each point, so often as there are rounds. Each run is simulated, too. What goes by between two
iterations is no part of a profile, nor are the moments in which the machine stands still: both are taken from a load
that is run before and not measured, and added.
"""

from __future__ import annotations

import statistics
import time
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
from engines import PAGE, SHAPES, Spent, Worker, workers
from inglenook.fleet.arena import token_bytes
from inglenook.fleet.calibrate import Measured, errors, fit, split
from inglenook.fleet.metrics import Outcome, Summary
from inglenook.fleet.policy.roundrobin import RoundRobin
from inglenook.fleet.profile import Profile
from sharing import (
    BURSTS,
    OURS,
    TRACES,
    UTILISATIONS,
    Case,
    Kind,
    World,
    arms,
    case,
    compared,
    lengths,
    placed,
    row,
    tune,
)

SCALE, CONTEXT, MOST = 8, 704, 128
PAGES = 4096
SERVICES = {
    "chat-small": ("small", 0, 3.0), "code-small": ("small", 1, 3.0), "chat": ("middle", 0, 1.0),
    "code": ("middle", 1, 1.0), "chat-large": ("large", 0, 0.5),
}  # fmt: skip
ARMS = arms(16, (128, 512))
SPATIAL = "spatial"


def measured(rounds: int) -> dict[str, list[Measured]]:
    """Iterations of each shape, on both cores at once as they run later: the two share caches and memory. Means of
    the two."""
    made = {}
    with workers([(core, SHAPES) for core in range(2)], {name: name for name in SHAPES}, PAGES) as both:
        for name in SHAPES:
            for worker in both:
                worker.ask("measure", name, name, rounds)
            heard = [worker.hear() for worker in both]
            made[name] = [
                Measured(row.work, statistics.fmean((row.seconds, other.seconds)))
                for row, other in zip(*heard, strict=True)
            ]
    return made


def profiles(rows: dict[str, list[Measured]]) -> tuple[dict[str, Profile], dict[str, Any]]:
    """What the simulator needs of each shape, and its errors on the iterations that were held out."""
    made, wrong = {}, []
    for name, some in rows.items():
        fitted, held = split(some)
        made[name] = fit(fitted)
        wrong += errors(made[name], held).tolist()
        print(f"  {name}: {made[name]}")
    figures = {"iteration_error_median": float(np.median(wrong)), "iteration_error_max": max(wrong)}
    return made, {f"simulator_{name}": round(value, 4) for name, value in figures.items()}


def simulator(options: Namespace) -> dict[str, Any]:
    """The part `simulator`: profiles alone."""
    return profiles(measured(3 if options.quick else 7))[1]


def run(options: Namespace) -> dict[str, Any]:
    """The part `sharing`."""
    if not TRACES.exists():
        print(f"  skipped: there are no traces at {TRACES}")
        return {"sharing": "skipped: no traces"}
    known, figures = profiles(measured(3 if options.quick else 7))
    rows = lengths(SCALE, CONTEXT, MOST)
    kinds = {
        name: Kind(known[shape], token_bytes(SHAPES[shape], 4), 0, rows[which], part)
        for name, (shape, which, part) in SERVICES.items()
    }
    world = World(kinds, CONTEXT, MOST, PAGES * PAGE, PAGE)
    count, rounds = (60, 1) if options.quick else (150, 5)
    points = [(0.85, 4.0)] if options.quick else [(u, cv) for cv, u in product(BURSTS, options.at or UTILISATIONS)]
    first = placed(case(world, 400, 2.0, 1000), 2, lambda: RoundRobin(16, 128))
    print(f"  placement: {' | '.join(', '.join(group.services) for group in first.plan)}")

    def load(utilisation: float, cv: float, seed: int) -> Case:
        return replace(case(world, count, cv, seed), plan=first.plan).at(utilisation)

    wanted = [(core, group.services) for core, group in enumerate(first.plan)]
    wanted += [(core, (name,)) for core, group in enumerate(first.plan) for name in group.services]
    made, wrong, texts, same = [], {}, {}, 0
    with workers(wanted, {name: shape for name, (shape, *_) in SERVICES.items()}, PAGES) as all_of_them:
        shared, single = all_of_them[: len(first.plan)], all_of_them[len(first.plan) :]
        pace, between = paced(real(load(0.85, 1.0, 1001), OURS, next(iter(ARMS[OURS])), shared)[2])
        kinds |= {name: replace(kind, profile=kind.profile.times(pace).after(between)) for name, kind in kinds.items()}
        print(f"  an iteration takes {pace:.3f} times what profiles say, {1e3 * between:.3f} ms lie between two")
        chosen = tune(ARMS, load)
        for utilisation, cv in points:
            said: dict[str, list[Summary]] = {name: [] for name in chosen}
            told: dict[str, list[Summary]] = {name: [] for name in chosen}
            for turn in range(rounds):
                one = load(utilisation, cv, turn)
                for name in np.random.default_rng(turn).permutation(list(chosen)).tolist():
                    outcomes, written, _ = real(one, name, chosen[name], single if name == SPATIAL else shared)
                    same += texts.setdefault((utilisation, cv, turn), written) == written
                    said[name].append(Summary.of(outcomes, 0.0))
                    told[name].append(Summary.of(one.run(ARMS[name][chosen[name]]), 0.0))
            for name in chosen:
                made.append(row(name, utilisation, cv, said[name]))
                really, simulated = (statistics.median(one.mean for one in some[name]) for some in (said, told))
                wrong[name, utilisation, cv] = abs(simulated / really - 1)
                print(f"    simulated: {1e3 * simulated:.1f} ms, off by {wrong[name, utilisation, cv]:.1%}")
    figures["simulator_error_max"] = round(max(wrong.values()), 4)
    figures["simulator_error_median"] = round(statistics.median(wrong.values()), 4)
    figures["simulator_error_ours_max"] = round(max(value for (name, *_), value in wrong.items() if name == OURS), 4)
    figures["sharing_texts_equal"] = round(same / (len(chosen) * len(texts)), 3)
    return figures | compared(made, "sharing")


def paced(spent: Sequence[Spent]) -> tuple[float, float]:
    """How many times longer iterations took than by the profiles, which know medians: on a machine that stands still
    now and then they take longer in the mean. And the seconds between two, in the mean."""
    really, profiled, between = np.transpose(spent)
    return float(really.sum() / profiled.sum()), float(between.mean())


def real(
    one: Case, arm: str, setting: str, some: Sequence[Worker]
) -> tuple[list[Outcome], dict[str, tuple[int, ...]], list[Spent]]:
    """A case, run: what became of it, what was written, and the seconds that each worker spent."""
    began = time.monotonic() + 0.5
    for worker in some:
        services = next(
            [service.fresh() for service in one.services if service.name in group.services]
            for group in one.plan if worker.services[0] in group.services
        )  # fmt: skip
        own = [arrival for arrival in one.asked if arrival.request.service in worker.services]
        worker.ask("drive", arm, setting, services, own, worker.services, began)
    done, spent = {}, []
    for worker in some:
        rows, seconds = worker.hear()
        done.update((row.id, row) for row in rows)
        spent.append(seconds)
    alone = {service.name: service.profile for service in one.services}
    outcomes = []
    for arrival in one.asked:
        request, row = arrival.request, done[arrival.request.id]
        best = alone[request.service].alone(len(request.prompt), arrival.output)
        outcomes.append(Outcome(request.id, request.service, arrival.at, arrival.output, best, row.first, row.ended))
    return outcomes, {id: row.tokens for id, row in done.items()}, spent
