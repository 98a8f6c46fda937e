"""A request, and how far it is.

waiting ─→ running ─→ finished
            │   ↑
            ↓   │        (its keys and values were dropped to make room; they are computed again)
           evicted                     any of them ─→ cancelled
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

from inglenook.fleet.iteration import Sampling

GREEDY = Sampling()


class State(Enum):
    WAITING = "waiting"
    RUNNING = "running"
    EVICTED = "evicted"
    FINISHED = "finished"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Request:
    """What a service is asked. `prompt`: its tokens. The answer ends with one of `stops`, or after `most` tokens."""

    id: str
    service: str
    prompt: Sequence[int]
    most: int
    stops: frozenset[int] = frozenset()
    sampling: Sampling = GREEDY


@dataclass(slots=True, eq=False)
class Answer:
    """An answer in the making. `tokens` are those of the prompt and of the answer so far; keys and values of the first
    `computed` of them lie in `pages`."""

    request: Request
    arrived: float
    order: int = 0  # of arrival: who came first where times are equal
    state: State = State.WAITING
    tokens: list[int] = field(default_factory=list)
    computed: int = 0
    pages: tuple[int, ...] = ()
    used: float = 0.0  # seconds of the iterations it took part in
    first: float | None = None  # when its first token was there
    last: float = 0.0  # when it last ran, or arrived
    evicted: int = 0  # how often
    budget: float = 0.0  # tokens it is taken to have, by a policy that reckons so
    weight: float = 0.0  # what a second costs it, likewise

    def __post_init__(self) -> None:
        self.tokens = list(self.request.prompt)
        self.last = self.arrived

    @property
    def service(self) -> str:
        return self.request.service

    @property
    def missing(self) -> int:
        """Tokens whose keys and values are not computed: one while it decodes, more of a prompt."""
        return len(self.tokens) - self.computed

    @property
    def written(self) -> int:
        """Tokens of the answer so far."""
        return len(self.tokens) - len(self.request.prompt)


@dataclass(frozen=True, slots=True)
class Finished:
    """An answer that ended, by a `stop`, by its `length`, or `cancelled`. Times are those that the loop was told."""

    request: Request
    tokens: tuple[int, ...]
    reason: str
    arrived: float
    first: float | None
    ended: float
    used: float
    evicted: int

    @property
    def normalised(self) -> float:
        """Seconds per token from arrival to the end (Orca, OSDI'22; vLLM, 2309.06180)."""
        return (self.ended - self.arrived) / max(len(self.tokens), 1)
