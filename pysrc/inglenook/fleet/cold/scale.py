"""From nothing and back: how many workers the waiting requests call for, and when the last may go.

    demand = Demand(batch=8, window=1.0, idle=60.0)
    demand.arrived("r", now); demand.wanted(now); demand.began("r"); demand.ended("r", now); demand.idle(now)

Source: Lou et al., HydraServe (2502.15524), the rule its artifact runs: requests that nobody serves, gathered over a
window, call for one worker a batch, four at most in one start. Ours: from nothing the first request starts at once.
Sans-I/O: the caller tells the time, in seconds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field


@dataclass(slots=True)
class Demand:
    """What one model is asked. `batch`: requests a worker takes at a time; `window`: seconds between two starts;
    `idle`: seconds without a request after which no worker is needed; `most`: workers of one start; `last`: when a
    request last came or ended."""

    batch: int = 8
    window: float = 1.0
    idle_after: float = 60.0
    most: int = 4
    _waiting: dict[str, float] = field(default_factory=dict)
    _served: set[str] = field(default_factory=set)
    last: float = -math.inf
    _started: float = -math.inf

    def arrived(self, request: str, now: float) -> None:
        """A request waits for a worker."""
        self._waiting[request] = now
        self.last = now

    def began(self, request: str) -> None:
        """A worker serves it."""
        if self._waiting.pop(request, None) is not None:
            self._served.add(request)

    def ended(self, request: str, now: float) -> None:
        """It is done, or given up."""
        self._waiting.pop(request, None)
        self._served.discard(request)
        self.last = now

    def waited(self, now: float) -> float:
        """Seconds that the first of the waiting has waited."""
        return now - min(self._waiting.values(), default=now)

    def wanted(self, now: float, workers: int = 0) -> int:
        """How many workers to start now, beside `workers` that run or start; 0 until the window has passed."""
        if workers and now < self._started + self.window:
            return 0
        unserved = len(self._waiting) - (workers * self.batch - len(self._served) if workers else 0)
        return max(0, min(self.most, math.ceil(unserved / self.batch)))

    def started(self, now: float) -> None:
        """Workers were started, or there was no room for them: the window begins anew."""
        self._started = now

    def idle(self, now: float) -> bool:
        """Whether nobody has asked for long enough."""
        return not self._waiting and not self._served and now >= self.last + self.idle_after
