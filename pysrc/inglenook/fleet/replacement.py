"""When services are placed anew. SeaLLM (2504.15720) adapts the interval between placements; its rule could not be
read, this one is ours.

At the end of an interval the plan that runs is compared with the best one for the load of late, both by the
simulator. The change is made if what it gains while the load lasts exceeds what moving costs; the load is taken to
last as long as the interval just was. If it was worth it the next look comes in half the time, else in twice the
time.
"""

from __future__ import annotations

from collections.abc import Mapping

from inglenook.fleet.placement import Group, Placement, Plan, parallel
from inglenook.fleet.service import Service


class Replacement:
    """`link`: bytes/s at which weights reach a worker. Seconds: the first `interval`, the `least` and the `most`."""

    def __init__(self, link: float, interval: float = 60.0, least: float = 15.0, most: float = 3600.0) -> None:
        self.link, self.interval, self.least, self.most = link, interval, least, most
        self.at = 0.0  # when it was last looked

    def due(self, now: float) -> bool:
        """Whether it is time to look."""
        return now - self.at >= self.interval

    def consider(self, placement: Placement, services: Mapping[str, Service], current: Plan, now: float) -> Plan:
        """The plan from now on: `current`, or a better one that is worth its move. Sets the next interval. `services`
        are those that are placed, with what moving their weights takes."""
        best = aligned(placement.best(), current)
        saved = placement.estimate(current) - placement.estimate(best)  # seconds a token and request
        coming = sum(service.rate.at(now) for service in services.values()) * self.interval
        change = saved * coming > self.cost(services, current, best, now)
        self.interval = max(self.least, self.interval / 2) if change else min(self.most, self.interval * 2)
        self.at = now
        return best if change else current

    def cost(self, services: Mapping[str, Service], current: Plan, best: Plan, now: float) -> float:
        """What moving costs, as a sum of normalised latencies: of each service that moves, requests that come while its
        weights are under way wait half of that time on average, and those that run begin again."""
        before, after = located(current), located(best)
        total = 0.0
        for name, service in services.items():
            if before.get(name) != after[name]:
                away = service.weights / self.link / after[name][1]
                alone = parallel(service.profile, after[name][1]).alone(
                    round(service.prompts.mean), round(service.outputs.mean)
                )
                rate = service.rate.at(now)
                total += service.outputs.inverse(0) * rate * (away * away / 2 + alone * (away + alone / 2))
        return total


def aligned(plan: Plan, current: Plan) -> Plan:
    """The same groups in the order in which most services stay where they are, one group of `current` after the
    other."""
    left = list(plan)
    made: list[Group] = []
    for group in sorted(plan, key=lambda group: -group.workers):
        here = current[len(made)].services if len(made) < len(current) else ()
        same = [one for one in left if one.workers == group.workers]
        nearest = max(same, key=lambda one: len({*one.services} & {*here}))
        left.remove(nearest)
        made.append(nearest)
    return tuple(made)


def located(plan: Plan) -> dict[str, tuple[int, int]]:
    """Of each service: the first worker of its group, and how many there are."""
    made, first = {}, 0
    for group in plan:
        made.update(dict.fromkeys(group.services, (first, group.workers)))
        first += group.workers
    return made
