"""One iteration of one model: what a loop asks an executor to run, and what it hears back.

Iteration-level scheduling is Orca's (Yu et al., OSDI'22, section 3): after each pass of the model the loop decides
anew. Prompts may come in several chunks, mixed with decoding tokens (Sarathi-Serve, 2403.02310, section 4).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Piece:
    """A request's share of an iteration: a chunk of its prompt, or the one token it wrote last.

    `tokens` stand at positions `start` on; `pages` are all pages of its positions up to the last of them, in order.
    `wants`: the token that comes after the last one is asked for.
    """

    request: str
    tokens: tuple[int, ...]
    start: int
    pages: tuple[int, ...]
    wants: bool


@dataclass(frozen=True, slots=True)
class Iteration:
    """One pass of `model` over pieces of different requests."""

    model: str
    pieces: tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a request's tokens are chosen: `temperature` 0 takes the best, 1 draws by the model's own odds among the most
    likely tokens that hold `top_p` of them. What is drawn depends on `seed` and the token's position alone, so a
    request that is run again goes on as before."""

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0


class Executor(Protocol):
    """What runs iterations. All methods raise NookError."""

    def admit(self, request: str, sampling: Sampling) -> None:
        """Say how the request's tokens are to be chosen, before its first piece."""

    def run(self, iteration: Iteration) -> dict[str, int]:
        """Run it; the next token of each request whose piece wants one."""

    def release(self, request: str) -> None:
        """Forget a request that is done."""
