"""A discrete-event simulation of cold starts: many models, few hosts, bursts. Its results are simulated, and to be
called so.

    ttfts = simulate(arrivals, models, hosts, pipelined(wanted), keep=60.0)     # seconds, in the order of arrival

The planner, the network and its promises are the ones that real starts use, on a mock clock. What a start costs beside
its fetches is told by a strategy: `pipelined` is ours (HydraServe's), `single` one worker whose runtime starts beside
the fetch, `local` after ServerlessLLM (Fu et al., OSDI'24): one worker on a host that has the weights in its cache if
there is one, the fetch after the runtime's start. All have the same hosts, batches and time to live.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from inglenook.errors import NookError
from inglenook.fleet.cold.network import Fetch, Network
from inglenook.fleet.cold.plan import Host, Model, Place, Wanted, choose, inflation, place

BATCH = 8  # requests that a worker serves at a time


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request for `model` at time `at`, whose answer will have `tokens` tokens."""

    at: float
    model: str
    tokens: int


@dataclass(frozen=True, slots=True)
class Launch:
    """A start: each place's bytes to fetch; seconds before the fetch, beside it and after both; when the fetches are
    promised to end."""

    places: tuple[Place, ...]
    fetch: float
    before: float
    beside: float
    after: float
    deadline: float = math.inf


Cached = Callable[[str], bool]
Strategy = Callable[[Model, Sequence[Host], float, Cached], Launch]
"""(model, hosts, now, which hosts have it in their cache) → how to start it. Raises NookError("fleet-full")."""


def pipelined(wanted: Wanted) -> Strategy:
    """The planner's choice, with the fetches' deadline promised."""

    def launch(model: Model, hosts: Sequence[Host], now: float, cached: Cached) -> Launch:
        plan = choose(model, hosts, wanted)
        deadline = now + wanted.ttft - model.settle - model.prefill * inflation(plan.degree, plan.full)
        return Launch(plan.places, model.stage(plan.degree), 0.0, model.start, model.settle, deadline)

    return launch


def single() -> Strategy:
    """One worker where most bandwidth is free, its runtime's start beside the fetch."""

    def launch(model: Model, hosts: Sequence[Host], now: float, cached: Cached) -> Launch:
        return Launch(_one(model, hosts), model.size, 0.0, model.start, model.settle)

    return launch


def local(start: float, load: float) -> Strategy:
    """One worker, if possible where the weights are cached; `start` seconds, then the fetch, then `load` seconds a
    byte."""

    def launch(model: Model, hosts: Sequence[Host], now: float, cached: Cached) -> Launch:
        near = [host for host in hosts if cached(host.name) and host.memory >= model.memory(1)]
        fetch = 0.0 if near else model.size
        return Launch(_one(model, near or hosts), fetch, start, 0.0, load * model.size)

    return launch


def _one(model: Model, hosts: Sequence[Host]) -> tuple[Place, ...]:
    if not (places := place(model, hosts, 1, 1)):
        raise NookError("fleet-full", "No host has room for this model.", "Add a host.")
    return places


@dataclass(slots=True, eq=False)
class _Worker:
    """A model's worker, or pipeline of them until it has merged."""

    model: str
    launch: Launch
    fetches: list[Fetch] = field(default_factory=list)
    requests: list[int] = field(default_factory=list)
    began: float = 0.0
    ready: bool = False
    lacks: float = 0.0  # bytes until it is whole
    used: float = 0.0
    gone: bool = False


class Simulation:
    """One run. `cache`: bytes of weights that each host keeps of what it fetched whole."""

    def __init__(
        self, models: Mapping[str, Model], hosts: Sequence[Host], strategy: Strategy, keep: float, cache: float
    ) -> None:
        self.models, self.strategy, self.keep = models, strategy, keep
        self.network = Network({host.name: host.bandwidth for host in hosts})
        self._memory = {host.name: host.memory for host in hosts}
        self._held: dict[str, dict[_Worker, float]] = {host.name: {} for host in hosts}
        self._cache, self._cached = cache, {host.name: OrderedDict[str, float]() for host in hosts}
        self._workers: dict[str, list[_Worker]] = defaultdict(list)
        self._queue: dict[str, list[int]] = defaultdict(list)
        self._events: list[tuple[float, int, Callable[[float], None]]] = []
        self._order = itertools.count()
        self._arrivals: Sequence[Arrival] = ()
        self.first: list[float] = []

    def run(self, arrivals: Sequence[Arrival]) -> list[float]:
        """Seconds from each arrival to its first token; infinite if it never came."""
        self._arrivals, self.first = arrivals, [math.inf] * len(arrivals)
        for number, arrival in enumerate(arrivals):
            self._at(arrival.at, partial(self._arrive, number))
        now = 0.0
        while self._events or self.network.soonest(now):
            ended = self.network.soonest(now)
            if ended and (not self._events or ended[0] <= self._events[0][0]):
                now = max(now, ended[0])
                self.network.progress(ended[1], 0.0, now)
                self.network.end(ended[1], now)
                self._fetched(ended[1], now)
            else:
                now, _, event = heapq.heappop(self._events)
                event(now)
        return self.first

    def _at(self, when: float, event: Callable[[float], None]) -> None:
        heapq.heappush(self._events, (when, next(self._order), event))

    def _arrive(self, number: int, now: float) -> None:
        self._queue[self._arrivals[number].model].append(number)
        self._serve(self._arrivals[number].model, now)

    def _serve(self, name: str, now: float) -> None:
        """Give the waiting to workers with room; start one if there is none."""
        queue = self._queue[name]
        while queue:
            room = [worker for worker in self._workers[name] if len(worker.requests) < BATCH]
            worker = min(room, key=lambda w: (not w.ready, len(w.requests)), default=None) or self._start(name, now)
            if worker is None:
                return
            number = queue.pop(0)
            worker.requests.append(number)
            worker.used = now
            if worker.ready:
                self._begin(worker, number, now)

    def _start(self, name: str, now: float) -> _Worker | None:
        """A new worker; room is made by ending those that have been idle longest. None if there is no room."""
        model = self.models[name]
        while True:
            free = {host: self._memory[host] - sum(held.values()) for host, held in self._held.items()}
            offers = ((host, self.network.offer(host, now)) for host in self._memory)
            hosts = [Host(host, offer, free[host]) for host, offer in offers if offer]
            try:
                launch = self.strategy(model, hosts, now, lambda host: name in self._cached[host])
                break
            except NookError:
                everyone = itertools.chain.from_iterable(self._workers.values())
                idle = min((w for w in everyone if w.ready and not w.requests), key=lambda w: w.used, default=None)
                if idle is None:
                    return None
                self._end(idle, now)
        worker = _Worker(name, launch, used=now, began=now)
        degree = len(launch.places)
        worker.lacks = model.size - launch.fetch if degree > 1 else 0.0
        for at in launch.places:
            self._held[at.host][worker] = model.memory(1 if at.full else degree)
        self._workers[name].append(worker)
        if launch.before:
            self._at(now + launch.before, lambda now: self._fetch(worker, now))
        else:
            self._fetch(worker, now)
        return worker

    def _fetch(self, worker: _Worker, now: float) -> None:
        """All places begin to fetch."""
        launch = worker.launch
        if not launch.fetch:
            return self._loaded(worker, now)
        for at in launch.places:
            worker.fetches.append(self.network.begin(at.host, launch.fetch, launch.deadline, now))

    def _fetched(self, fetch: Fetch, now: float) -> None:
        worker = next(w for row in self._workers.values() for w in row if fetch in w.fetches)
        worker.fetches.remove(fetch)
        if worker.fetches:
            return
        if worker.ready:
            self._merge(worker, now)
        else:
            self._loaded(worker, now)

    def _loaded(self, worker: _Worker, now: float) -> None:
        launch = worker.launch
        ready = max(now, worker.began + launch.beside) + launch.after
        self._at(ready, lambda now: self._ready(worker, now))

    def _ready(self, worker: _Worker, now: float) -> None:
        worker.ready = True
        for number in worker.requests:
            self._begin(worker, number, now)
        if worker.lacks:
            self._complete(worker, now)
        else:
            self._remember(worker)

    def _complete(self, worker: _Worker, now: float) -> None:
        """The first full worker fetches what it lacks, when its network has room."""
        host = worker.launch.places[0].host
        if worker.gone:
            return
        if self.network.offer(host, now):
            worker.fetches.append(self.network.begin(host, worker.lacks, math.inf, now))
        else:
            self._at(now + 1.0, lambda now: self._complete(worker, now))

    def _merge(self, worker: _Worker, now: float) -> None:
        """One whole worker is left; the others' memory is free."""
        worker.lacks = 0.0
        for at in worker.launch.places[1:]:
            self._held[at.host].pop(worker, None)
        self._remember(worker)
        self._retry(now)

    def _begin(self, worker: _Worker, number: int, now: float) -> None:
        """A request's prompt and tokens, at the pace of what serves it now."""
        model, arrival = self.models[worker.model], self._arrivals[number]
        places = worker.launch.places if worker.lacks else worker.launch.places[:1]
        slower = inflation(len(places), sum(at.full for at in places))
        self.first[number] = now + model.prefill * slower - arrival.at
        took = model.prefill * slower + arrival.tokens * (model.token * slower + model.hop * (len(places) - 1))
        self._at(now + took, lambda now: self._done(worker, number, now))

    def _done(self, worker: _Worker, number: int, now: float) -> None:
        worker.requests.remove(number)
        worker.used = now
        self._serve(worker.model, now)
        if not worker.requests:
            self._at(now + self.keep, lambda later: self._expire(worker, now))
            self._retry(now)

    def _expire(self, worker: _Worker, used: float) -> None:
        if not worker.requests and worker.used == used and not worker.gone:
            self._end(worker, used + self.keep)
            self._retry(used + self.keep)

    def _retry(self, now: float) -> None:
        """Somebody's memory is free: models that wait may start."""
        for name in [name for name, queue in self._queue.items() if queue]:
            self._serve(name, now)

    def _end(self, worker: _Worker, now: float) -> None:
        worker.gone = True
        for fetch in worker.fetches:
            self.network.end(fetch, now)
        self._workers[worker.model].remove(worker)
        for held in self._held.values():
            held.pop(worker, None)

    def _remember(self, worker: _Worker) -> None:
        """The host of a whole worker keeps its weights, the longest unused give way."""
        kept, model = self._cached[worker.launch.places[0].host], self.models[worker.model]
        kept[worker.model] = model.size
        kept.move_to_end(worker.model)
        while sum(kept.values()) > self._cache:
            kept.popitem(last=False)


def simulate(
    arrivals: Sequence[Arrival], models: Mapping[str, Model], hosts: Sequence[Host], strategy: Strategy, *,
    keep: float = 60.0, cache: float = 0.0,
) -> list[float]:  # fmt: skip
    """Seconds to the first token of each arrival. `keep`: seconds that an idle worker lives; `cache`: bytes of weights
    that each host keeps."""
    return Simulation(models, hosts, strategy, keep, cache).run(arrivals)
