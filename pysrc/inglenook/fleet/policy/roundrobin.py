"""Models in turn: each runs `quantum` iterations while it has work, with continuous batching within."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from inglenook.fleet.policy import Choice, Queues, fill
from inglenook.fleet.policy.fcfs import FirstCome
from inglenook.fleet.request import Answer


class RoundRobin(FirstCome):
    """`quantum` iterations of a model, then the next one's turn."""

    def __init__(self, batch: int = 16, chunk: int = 512, quantum: int = 1) -> None:
        super().__init__(batch, chunk)
        self.quantum = quantum
        self._turn, self._left = "", quantum

    def choose(self, queues: Queues, now: float) -> Iterator[Choice]:
        for name in rotated(list(queues), self._turn, keep=self._left > 0):
            if queues[name]:
                yield Choice(name, fill(list(queues[name].values()), self.batch, self.chunk))

    def ran(self, service: str, answers: Sequence[Answer], seconds: float, now: float) -> None:
        self._left = self._left - 1 if service == self._turn else self.quantum - 1
        self._turn = service


def rotated(names: list[str], turn: str, keep: bool = False) -> list[str]:
    """`names` from the one after `turn` on, or with `keep` from `turn` itself."""
    place = names.index(turn) + (not keep) if turn in names else 0
    return names[place:] + names[:place]
