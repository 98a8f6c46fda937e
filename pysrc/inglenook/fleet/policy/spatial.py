"""Spatial sharing: a process for each model, each with a share of the worker and a part of its memory, as when
operators start one server a model on the same machine (MuxServe's "spatial" baseline; Linux control groups share CPUs
so).

Each process is first come, first served with continuous batching. Who is idle leaves its share to the others
(`cpu.weight`) or does not (`cpu.max`): the driver decides. Memory does not move.
"""

from __future__ import annotations

from collections.abc import Sequence

from inglenook.fleet.arena import Arena
from inglenook.fleet.loop import Loop
from inglenook.fleet.policy.fcfs import FirstCome
from inglenook.fleet.service import Service


def processes(
    services: Sequence[Service], pages: int, page_bytes: int, *, batch: int = 16, chunk: int = 512, power: float = 1.0
) -> list[tuple[Loop, float]]:
    """A loop for each service, and its share of the worker; shares sum to 1.

    Shares of time are in proportion to the expected load (rate x seconds of a mean request alone) to the `power`, 0
    being equal shares; pages to rate x bytes of a mean request, and what one request of the longest kind needs at
    least.
    """
    loads = [max(_load(service), 1e-9) ** power for service in services]
    least = [-(-service.context // (page_bytes // service.token_bytes)) for service in services]
    wanted = [max(service.rate.at(0.0), 1e-6) * service.token_bytes * _tokens(service) for service in services]
    spare = max(pages - sum(least), 0)
    made = []
    for service, load, floor, want in zip(services, loads, least, wanted):
        arena = Arena(floor + int(spare * want / sum(wanted)), page_bytes)
        made.append((Loop(FirstCome(batch, chunk), arena, [service]), load / sum(loads)))
    return made


def _tokens(service: Service) -> float:
    return service.prompts.mean + service.outputs.mean


def _load(service: Service) -> float:
    return service.rate.at(0.0) * service.profile.alone(round(service.prompts.mean), round(service.outputs.mean))
