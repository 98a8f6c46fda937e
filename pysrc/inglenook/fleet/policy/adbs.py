"""Adaptive batch scheduling after MuxServe (2404.02015, section 3.3): prompts first, one at a time with models in turn;
then decodes, models in turn; and quotas of the arena, in proportion to rate x bytes of a token, that follow the load.

MuxServe runs prompts and decodes of different models side by side on shares of a GPU (MPS). A worker here runs one
iteration at a time, so that part is time-shared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from inglenook.fleet.arena import Arena
from inglenook.fleet.policy import Choice, Queues, fill
from inglenook.fleet.policy.fcfs import FirstCome
from inglenook.fleet.policy.roundrobin import rotated
from inglenook.fleet.request import Answer
from inglenook.fleet.service import Service


class AdaptiveBatches(FirstCome):
    """Quotas are adapted every `every` iterations (MuxServe: 8): who needs more takes half of what others leave
    idle."""

    def __init__(self, batch: int = 16, chunk: int = 512, every: int = 8) -> None:
        super().__init__(batch, chunk)
        self.every = every
        self.quotas: dict[str, int] = {}
        self._ticks = 0
        self._prefill = False
        self._prompts, self._decodes = "", ""

    def start(self, services: Mapping[str, Service], arena: Arena) -> None:
        self._services, self._arena = services, arena
        self._quota(0.0)

    def choose(self, queues: Queues, now: float) -> Iterator[Choice]:
        if self._ticks >= self.every:
            self._ticks = 0
            self._adapt(queues)
        names = list(queues)
        for name in rotated(names, self._prompts):
            prompts = [answer for answer in queues[name].values() if answer.missing > 1]
            running = len(queues[name]) - len(prompts)
            if prompts and running < self.batch:
                self._prefill = True  # true of the proposal that is looked at, so of the one that is run
                yield Choice(name, fill(prompts, 1, self.chunk))
        for name in rotated(names, self._decodes):
            decodes = [answer for answer in queues[name].values() if answer.missing == 1]
            if decodes:
                self._prefill = False
                yield Choice(name, fill(decodes, self.batch, self.batch))

    def ran(self, service: str, answers: Sequence[Answer], seconds: float, now: float) -> None:
        self._ticks += 1
        if self._prefill:
            self._prompts = service
        else:
            self._decodes = service

    def _quota(self, now: float) -> None:
        """The first quotas: all of the arena, by rate x bytes of a token, and a page's worth of an answer at least."""
        wanted = {
            name: max(service.rate.at(now), 1e-6) * service.token_bytes * (service.prompts.mean + service.outputs.mean)
            for name, service in self._services.items()
        }
        total = sum(wanted.values())
        for name, share in wanted.items():
            self._set(name, round(self._arena.pages * share / total))

    def _set(self, name: str, pages: int) -> None:
        service = self._services[name]
        least = max(self._arena.pages_for(name, service.context), service.floor)
        self.quotas[name] = min(max(pages, least), self._arena.pages)
        self._arena.adjust(name, service.floor, self.quotas[name])

    def _adapt(self, queues: Queues) -> None:
        idle = {name: quota - self._arena.held(name) for name, quota in self.quotas.items()}
        short = [
            name for name, queue in queues.items()
            if idle[name] * 10 < self.quotas[name] and any(answer.missing > 1 for answer in queue.values())
        ]  # fmt: skip
        for name in short:
            for other in self.quotas.keys() - set(short):
                before = self.quotas[other]
                self._set(other, before - idle[other] // 2 // len(short))
                self._set(name, self.quotas[name] + before - self.quotas[other])
