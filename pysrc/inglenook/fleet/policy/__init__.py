"""Schedulers of a worker that several models share: whose iteration is next, and who has to make room.

    fcfs        first come, first served, with continuous batching
    roundrobin  models in turn
    adbs        MuxServe's: prompts first, decodes in turn, quotas of memory that follow the load
    spatial     a process for each model, each with a share of worker and memory
    doubling    preemptive, by what an iteration is worth: SeaLLM's idea

The loop asks and counts pages; a policy only ranks. It sees what a server sees: arrivals, prompts, tokens written so
far, and the profile of a service; never how long an answer will be.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol, TypeAlias

from inglenook.fleet.arena import Arena
from inglenook.fleet.request import Answer
from inglenook.fleet.service import Service

Queues: TypeAlias = Mapping[str, Mapping[str, Answer]]
"""The unfinished answers of each service by id, in the order of arrival."""


class Choice(NamedTuple):
    """A proposal for the next iteration: answers of `service`, and how many tokens of each. The loop takes, in this
    order, what finds room."""

    service: str
    shares: Sequence[tuple[Answer, int]]


class Policy(Protocol):
    """What a loop asks. `now` is the loop's clock, in seconds."""

    def start(self, services: Mapping[str, Service], arena: Arena) -> None:
        """Hear, once, what there is."""

    def arrive(self, answer: Answer, now: float) -> None:
        """Hear of a request."""

    def choose(self, queues: Queues, now: float) -> Iterator[Choice]:
        """Proposals, the best first; the loop runs the first for which there is room. Together they hold the answer of
        the lowest key, so that there is always one."""

    def key(self, answer: Answer, now: float) -> float:
        """How late its turn is: where memory is short, answers of higher keys make room for those of lower ones (of
        equal keys, who came later)."""

    def ran(self, service: str, answers: Sequence[Answer], seconds: float, now: float) -> None:
        """Hear what an iteration took; the answers are as they are after it."""


def fill(answers: Sequence[Answer], batch: int, chunk: int) -> list[tuple[Answer, int]]:
    """The first `batch` of `answers`, `chunk` tokens of them in all: one of those that decode, of prompts what is left
    (Sarathi-Serve, 2403.02310, section 4)."""
    shares = []
    for answer in answers[:batch]:
        count = min(answer.missing, chunk)
        if count <= 0:
            break
        shares.append((answer, count))
        chunk -= count
    return shares
