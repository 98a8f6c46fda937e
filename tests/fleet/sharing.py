"""Small services of three shapes, loads for them, and every policy: what the tests of sharing have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from inglenook.fleet.arena import Arena
from inglenook.fleet.lengths import Lengths
from inglenook.fleet.loop import Loop
from inglenook.fleet.policy import Policy, spatial
from inglenook.fleet.policy.adbs import AdaptiveBatches
from inglenook.fleet.policy.doubling import Doubling
from inglenook.fleet.policy.fcfs import FirstCome
from inglenook.fleet.policy.roundrobin import RoundRobin
from inglenook.fleet.profile import Profile
from inglenook.fleet.service import Rate, Service
from inglenook.fleet.simulate import Arrival
from inglenook.fleet.workload import Row, arrivals, gamma

PAGE = 1 << 10
POLICIES: dict[str, Callable[[], Policy]] = {
    "fcfs": lambda: FirstCome(4, 32),
    "roundrobin": lambda: RoundRobin(4, 32, 2),
    "adbs": lambda: AdaptiveBatches(4, 32),
    "doubling": lambda: Doubling(4, 32),
}


def services(floor: int = 0) -> list[Service]:
    """Three shapes: quick and short answers, quick and long ones, slow ones."""
    made = []
    for name, speed, token_bytes, prompt, output, rate in (
        ("code", 1.0, 64, 40, 4, 2.0), ("chat", 1.0, 64, 20, 30, 1.0), ("large", 5.0, 256, 20, 15, 0.3),
    ):  # fmt: skip
        profile = Profile(0.010, 0.001, 0.0004, 1e-7, 1e-8).times(speed)
        made.append(Service(name, profile, token_bytes, 128, floor, 1000, Lengths(prompt), Lengths(output), Rate(rate)))
    return made


def load(count: int, seed: int, cv: float = 1.0, pace: float = 1.0) -> list[Arrival]:
    """`count` requests: lengths drawn from exponential distributions, arrivals from gamma ones."""
    rng = np.random.default_rng(seed)
    streams = {}
    for service in services():
        rate = service.rate.at(0.0)
        prompts = rng.exponential(service.prompts.mean, round(count * rate / 3.3)).astype(int) + 1
        outputs = rng.exponential(service.outputs.mean, len(prompts)).astype(int) + 1
        rows = [Row(0.0, min(a, 80), min(b, 40)) for a, b in zip(prompts.tolist(), outputs.tolist())]
        streams[service.name] = gamma(rows, rate * pace, cv, rng)
    return arrivals(streams, 40)


def processes(name: str, pages: int = 64, floor: int = 0) -> Sequence[tuple[Loop, float]]:
    """The processes of a worker under the policy of that name; `spatial` has several."""
    if name == "spatial":
        return spatial.processes(services(floor), pages, PAGE, batch=4, chunk=32)
    return [(Loop(POLICIES[name](), Arena(pages, PAGE), services(floor)), 1.0)]
