"""First come, first served: the model of the oldest request runs, with all that can be batched with it (Orca, OSDI'22;
vLLM, 2309.06180). Nothing is preempted but for memory, the youngest first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from inglenook.fleet.arena import Arena
from inglenook.fleet.policy import Choice, Queues, fill
from inglenook.fleet.request import Answer
from inglenook.fleet.service import Service


class FirstCome:
    """`batch` answers and `chunk` tokens an iteration at most."""

    def __init__(self, batch: int = 16, chunk: int = 512) -> None:
        self.batch, self.chunk = batch, chunk

    def start(self, services: Mapping[str, Service], arena: Arena) -> None:
        pass

    def arrive(self, answer: Answer, now: float) -> None:
        pass

    def choose(self, queues: Queues, now: float) -> Iterator[Choice]:
        heads = sorted((next(iter(queue.values())).order, name) for name, queue in queues.items() if queue)
        for _, name in heads:
            yield Choice(name, fill(list(queues[name].values()), self.batch, self.chunk))

    def key(self, answer: Answer, now: float) -> float:
        return answer.arrived

    def ran(self, service: str, answers: Sequence[Answer], seconds: float, now: float) -> None:
        pass
