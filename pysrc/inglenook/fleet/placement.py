"""Which services share which workers. In two stages, as SeaLLM (2504.15720) does it; by its summaries, so the rest is
ours.

    1. For each service the degrees of parallelism at which its weights and one longest request fit and a request alone
       meets the objective.
    2. For each way to group the workers: services by their load, the largest first, each to the group where the mean
       normalised latency grows least; then single moves and swaps for as long as one of them helps.

What is minimised is not a formula but the simulator (`estimate`): the loop and the policy that will run, on a sample of
the load.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from inglenook.errors import NookError
from inglenook.fleet.arena import Arena
from inglenook.fleet.loop import Loop
from inglenook.fleet.policy import Policy
from inglenook.fleet.profile import Profile
from inglenook.fleet.service import Service
from inglenook.fleet.simulate import Arrival, simulate

EFFICIENCY = 0.9  # what each doubling of the workers of a model keeps of the speed-up (ours)


@dataclass(frozen=True, slots=True)
class Group:
    """`workers` that run all of `services` together, each split over all of them."""

    workers: int
    services: tuple[str, ...] = ()


Plan = tuple[Group, ...]


def parallel(profile: Profile, degree: int) -> Profile:
    """The profile on `degree` workers, a power of two."""
    return profile.times(1 / (degree * EFFICIENCY ** (degree.bit_length() - 1)))


@dataclass
class Placement:
    """Places `services` on `workers` of `memory` bytes each, for the load of which `sample` is a part.

    `objective`: normalised latency, seconds a token, that a mean request alone must meet. `page_bytes`: of the arena
    that takes the memory weights leave. `most`: workers that may run a model together (None: all).
    """

    services: Sequence[Service]
    workers: int
    memory: int
    sample: Sequence[Arrival]
    policy: Callable[[], Policy]
    objective: float = float("inf")
    page_bytes: int = 1 << 18
    most: int | None = None
    _known: dict[Group, float] = field(default_factory=dict)

    @cached_property
    def named(self) -> Mapping[str, Service]:
        return {service.name: service for service in self.services}

    def degrees(self, service: Service) -> list[int]:
        """Stage 1: numbers of workers that may run it."""
        made, degree = [], 1
        while degree <= min(self.workers, self.most or self.workers):
            profile = parallel(service.profile, degree)
            prompt, output = round(service.prompts.mean), round(service.outputs.mean)
            if self._pages(Group(degree, (service.name,))) and profile.alone(prompt, output) <= self.objective * output:
                made.append(degree)
            degree *= 2
        return made

    def best(self) -> Plan:
        """Stage 2: the plan with the least mean normalised latency. Raises NookError("placement") if there is none."""
        degrees = {service.name: self.degrees(service) for service in self.services}
        for name, some in degrees.items():
            if not some:
                hint = "Give it more workers or memory, or a later objective."
                raise NookError("placement", f"No number of workers can run {name} as wanted.", hint)
        plans = (self._placed(sizes, degrees) for sizes in groupings(self.workers, self.most))
        found = [plan for plan in plans if plan]
        if not found:
            raise NookError("placement", "The services do not fit on the workers together.", "Add a worker or memory.")
        return min(found, key=self.estimate)

    def estimate(self, plan: Iterable[Group]) -> float:
        """The mean normalised latency of the sample under a plan, in seconds a token."""
        count = sum(1 for _ in self.sample)
        return sum(self._total(group) for group in plan) / max(count, 1)

    def _placed(self, sizes: Sequence[int], degrees: Mapping[str, list[int]]) -> Plan | None:
        groups = [Group(size) for size in sizes]
        for service in sorted(self.services, key=_load, reverse=True):
            options = []
            for n, group in enumerate(groups):
                with_it = replace(group, services=(*group.services, service.name))
                if group.workers in degrees[service.name] and self._pages(with_it):
                    options.append((self._total(with_it) - self._total(group), n, with_it))
            if not options:
                return None
            _, n, with_it = min(options)
            groups[n] = with_it
        return self._improved(groups, degrees)

    def _improved(self, groups: list[Group], degrees: Mapping[str, list[int]]) -> Plan:
        cost = sum(map(self._total, groups))
        better = True
        while better:
            better = False
            for changed in _neighbours(groups):
                if all(self._allowed(group, degrees) for group in changed):
                    total = sum(map(self._total, changed))
                    if total < cost * (1 - 1e-9):
                        groups, cost, better = changed, total, True
                        break
        return tuple(groups)

    def _allowed(self, group: Group, degrees: Mapping[str, list[int]]) -> bool:
        return all(group.workers in degrees[name] for name in group.services) and self._pages(group) > 0

    def _pages(self, group: Group) -> int:
        """Pages that the weights leave; 0 if one longest request of a service would not fit into them."""
        members = [self.named[name] for name in group.services]
        pages = (self.memory * group.workers - sum(service.weights for service in members)) // self.page_bytes
        least = max((-(-service.context * service.token_bytes // self.page_bytes) for service in members), default=0)
        floors = sum(service.floor for service in members)
        return pages if pages >= max(least + floors, 1) else 0

    def _total(self, group: Group) -> float:
        """The sum of the normalised latencies of the sample's requests to a group, by simulation."""
        group = replace(group, services=tuple(sorted(group.services)))
        if group not in self._known:
            members = [self.named[name].fresh() for name in group.services]
            for service in members:
                service.profile = parallel(service.profile, group.workers)
            asked = [arrival for arrival in self.sample if arrival.request.service in group.services]
            loop = Loop(self.policy(), Arena(max(self._pages(group), 1), self.page_bytes), members)
            rows = simulate([(loop, 1.0)], asked)
            self._known[group] = sum((row.ended - row.arrived) / row.tokens for row in rows if row.ended is not None)
        return self._known[group]


def groupings(workers: int, most: int | None = None) -> Iterator[tuple[int, ...]]:
    """Every way to group `workers` by powers of two, as sizes that do not grow."""
    if not workers:
        yield ()
    size = 1 << (min(workers, most or workers).bit_length() - 1) if workers else 0
    while size:
        for rest in groupings(workers - size, size):
            yield (size, *rest)
        size //= 2


def _load(service: Service) -> float:
    alone = service.profile.alone(round(service.prompts.mean), round(service.outputs.mean))
    return service.rate.at(0.0) * alone


def _neighbours(groups: list[Group]) -> Iterator[list[Group]]:
    """Plans that differ by the move of one service, or the exchange of two."""
    places = [(n, name) for n, group in enumerate(groups) for name in group.services]
    for n, name in places:
        for other in range(len(groups)):
            if other != n:
                yield _moved(groups, [(name, n, other)])
        for other, second in places:
            if other > n:
                yield _moved(groups, [(name, n, other), (second, other, n)])


def _moved(groups: list[Group], moves: Iterable[tuple[str, int, int]]) -> list[Group]:
    made = list(groups)
    for name, source, target in moves:
        made[source] = replace(made[source], services=tuple(one for one in made[source].services if one != name))
        made[target] = replace(made[target], services=(*made[target].services, name))
    return made
