"""A discrete-event simulator of one worker. It drives the very `Loop` that real workers drive; only the executor is
another: iterations take what a profile says, and answers end at lengths that the loop is not told.

Processes that share a worker (spatial sharing) slow each other down in proportion to their shares; `strict` shares
are lost when idle, others go to whoever has work, as the kernel's fair scheduler does it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from inglenook.fleet.iteration import Iteration
from inglenook.fleet.loop import Loop
from inglenook.fleet.metrics import Outcome
from inglenook.fleet.profile import Profile, Work
from inglenook.fleet.request import Request

STOP = 0
"""The token with which simulated answers end; requests name it among their stops."""
OTHER = 1


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request that comes at `at` and whose answer will have `output` tokens, which nobody knows before."""

    at: float
    request: Request
    output: int


@dataclass(slots=True)
class _Flight:
    iteration: Iteration
    left: float  # seconds at full speed
    began: float


def ending(iteration: Iteration, arrivals: Mapping[str, Arrival]) -> dict[str, int]:
    """The tokens of an iteration: `STOP` for what is as long as it is to be."""
    tokens = {}
    for piece in iteration.pieces:
        if piece.wants:
            arrival = arrivals[piece.request]
            written = piece.start + len(piece.tokens) - len(arrival.request.prompt) + 1
            tokens[piece.request] = STOP if written >= arrival.output else OTHER
    return tokens


def simulate(
    processes: Sequence[tuple[Loop, float]],
    arrivals: Iterable[Arrival],
    *,
    until: float = math.inf,
    strict: bool = False,
    profiles: Mapping[str, Profile] | None = None,
) -> list[Outcome]:
    """What becomes of `arrivals` on one worker, until all are done, or `until`; in the order of arrival.

    `processes`: loops, and their shares of the worker; one loop with share 1 has it to itself. `profiles`: how long
    iterations really take, if not what the services' own profiles say.
    """
    waiting = sorted(arrivals, key=lambda arrival: arrival.at)
    known = {arrival.request.id: arrival for arrival in waiting}
    home = {name: n for n, (loop, _) in enumerate(processes) for name in loop.services}
    costs = dict(profiles or {})
    for loop, _ in processes:
        for service in loop.services.values():
            costs.setdefault(service.name, service.profile)
    flights: list[_Flight | None] = [None] * len(processes)
    models = [""] * len(processes)  # whose iteration each ran last
    done: dict[str, tuple[float | None, float | None]] = {}
    now, place = 0.0, 0
    while True:
        for n, (loop, _) in enumerate(processes):
            if flights[n] is None and loop.waiting and (iteration := loop.next(now)):
                work = Work.of(iteration.pieces, models[n] not in ("", iteration.model))
                flights[n] = _Flight(iteration, costs[iteration.model].seconds(work), now)
                models[n] = iteration.model
        shares = [share if flight else 0.0 for flight, (_, share) in zip(flights, processes)]
        total = 1.0 if strict else sum(shares)
        ends = [(flight.left * total / share, n) for n, (flight, share) in enumerate(zip(flights, shares)) if flight]
        coming = waiting[place].at if place < len(waiting) else math.inf
        soonest, n = min(ends, default=(math.inf, -1))
        then = min(coming, now + soonest)
        if then == math.inf or then > until:
            break
        for flight, share in zip(flights, shares):
            if flight:
                flight.left -= (then - now) * share / total
        now = then
        if now == coming:
            arrival = waiting[place]
            processes[home[arrival.request.service]][0].arrive(arrival.request, now)
            place += 1
            continue
        flight = flights[n]
        assert flight is not None
        flights[n] = None
        tokens = ending(flight.iteration, known)
        for answer in processes[n][0].ran(flight.iteration, tokens, now - flight.began, now):
            done[answer.request.id] = (answer.first, answer.ended)
    for loop, _ in processes:
        for queue in loop.queues.values():
            done.update((id, (answer.first, None)) for id, answer in queue.items())
    made = []
    for arrival in waiting:
        request = arrival.request
        if arrival.at <= until:
            alone = costs[request.service].alone(len(request.prompt), arrival.output)
            row = done[request.id]
            made.append(Outcome(request.id, request.service, arrival.at, arrival.output, alone, *row))
    return made
