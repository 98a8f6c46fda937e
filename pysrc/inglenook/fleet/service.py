"""A service: one model with a load of its own, and what is known of it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from inglenook.fleet.lengths import Lengths
from inglenook.fleet.profile import Profile

MEMORY = 60.0  # seconds after which an arrival counts 1/e in the rate


class Rate:
    """Arrivals per second: an average that forgets (`memory` seconds)."""

    def __init__(self, guess: float = 0.0, memory: float = MEMORY) -> None:
        self._memory, self._rate, self._at = memory, guess, 0.0

    def add(self, now: float) -> None:
        self._rate = self.at(now) + 1 / self._memory
        self._at = now

    def copy(self) -> Rate:
        made = Rate(self._rate, self._memory)
        made._at = self._at
        return made

    def at(self, now: float) -> float:
        return self._rate * math.exp(-max(now - self._at, 0.0) / self._memory)


@dataclass(slots=True)
class Service:
    """`token_bytes`: keys and values of one token, all layers. `floor`: pages of the arena that are its own.
    `context`: tokens of prompt and answer together, at most. `weights`: bytes of its weights."""

    name: str
    profile: Profile
    token_bytes: int
    context: int = 4096
    floor: int = 0
    weights: int = 0
    prompts: Lengths = field(default_factory=lambda: Lengths(256))
    outputs: Lengths = field(default_factory=Lengths)
    rate: Rate = field(default_factory=Rate)

    def arrived(self, prompt: int, now: float) -> None:
        """Learn from a request."""
        self.prompts.add(prompt)
        self.rate.add(now)

    def finished(self, output: int) -> None:
        """Learn from an answer that ended by itself."""
        self.outputs.add(output)

    def fresh(self) -> Service:
        """A copy that learns apart from this one."""
        return Service(
            self.name, self.profile, self.token_bytes, self.context, self.floor, self.weights,
            self.prompts.copy(), self.outputs.copy(), self.rate.copy(),
        )  # fmt: skip
