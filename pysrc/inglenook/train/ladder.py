"""The sizes of the sub-models: what gives the least for its milliseconds goes first, over all layers at once.

    steps = ladder(shape, importance, Latency(), [1.0, 0.8, 0.5])    # list[Size], each within the one before
    ratio(shape, steps[1])                                           # share of the elastic parameters that is active

Units go in blocks of 32 neurons and in key-value groups, from the end of each layer's order. A ranking over all layers
beat the same ratio in every layer below 80 % (measured; LOG.md); anchor layers stay whole (ELMS, 2409.09071).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from inglenook.depth import parse
from inglenook.elastic import levels
from inglenook.elastic.shape import Shape
from inglenook.errors import NookError
from inglenook.train.importance import Importance
from inglenook.train.model import Size

BLOCK = 32
"""Neurons that go together: a block of columns in the kernel's panels."""


@dataclass(frozen=True)
class Latency:
    """Milliseconds a token that a unit costs: 32 neurons or a key-value group, reading a prompt (`prefill`) or writing.

    The defaults were measured in Chromium with relaxed SIMD, one thread, on SmolLM2-135M. `writing` is how much of the
    weight writing has in the mix of both, from 0 to 1.
    """

    prefill_block: float = 0.00165
    prefill_group: float = 0.0155
    decode_block: float = 0.0057
    decode_group: float = 0.022
    writing: float = 0.5

    @classmethod
    def read(cls, path: Path) -> Latency:
        """From a JSON file with any of the fields above. Raises NookError("latency")."""
        try:
            said = parse(path.read_text())
            latency = cls(**{name: float(value) for name, value in said.items()})
            *costs, writing = (getattr(latency, f.name) for f in fields(cls))
            if not (all(0 < cost < math.inf for cost in costs) and 0 <= writing <= 1):
                raise ValueError("nothing takes no time")
        except (OSError, ValueError, TypeError, AttributeError) as error:
            known = ", ".join(f.name for f in fields(cls))
            raise NookError("latency", f"{path.name} is no table of latencies.", f"Give {known} in ms.") from error
        return latency

    def costs(self, shape: Shape) -> tuple[float, float]:
        """(32 neurons, a group) in shares of what the whole model's units cost, reading and writing mixed."""
        blocks, groups = shape.layers * (shape.hidden // BLOCK), shape.layers * shape.kv_heads
        whole = [
            self.prefill_block * blocks + self.prefill_group * groups,
            self.decode_block * blocks + self.decode_group * groups,
        ]
        weights = (1 - self.writing) / whole[0], self.writing / whole[1]
        return (
            weights[0] * self.prefill_block + weights[1] * self.decode_block,
            weights[0] * self.prefill_group + weights[1] * self.decode_group,
        )


def ratio(shape: Shape, size: Size) -> float:
    """The share of the parameters of attention and FFN that is active."""
    return levels.ratio(shape, size.hidden, size.groups)


def ladder(
    shape: Shape, importance: Importance, latency: Latency, ratios: Iterable[float], anchors: Iterable[int] = ()
) -> list[Size]:
    """A size for each of `ratios` (falling), the largest whose ratio is not above it.

    Units of `importance` are in order; `anchors` are layers that stay whole as long as others can go.
    """
    drops = _drops(shape, importance, latency, set(anchors))
    size = Size.whole(shape)
    steps: list[Size] = []
    for wanted in ratios:
        while ratio(shape, size) > wanted + 1e-9:
            if not drops:
                raise NookError("ratio", f"No sub-model is as small as {wanted}.", "Ask for larger ratios.")
            part, layer = drops.pop()
            counts = list(getattr(size, part))
            counts[layer] -= BLOCK if part == "hidden" else 1
            size = Size(counts, size.groups) if part == "hidden" else Size(size.hidden, counts)
        steps.append(size)
    return steps


def _drops(shape: Shape, importance: Importance, latency: Latency, anchors: set[int]) -> list[tuple[str, int]]:
    """Which part of which layer loses a unit, the first to go last. Worth falls along a layer, whatever it was."""
    block, group = latency.costs(shape)
    entries: list[tuple[bool, float, str, int]] = []
    for layer in range(shape.layers):
        blocks = importance.neurons[layer].reshape(-1, BLOCK).sum(1)
        for part, worth, cost in (("hidden", blocks, block), ("groups", importance.groups[layer], group)):
            falling = np.minimum.accumulate(worth / cost)
            entries += [(layer in anchors, float(value), part, layer) for value in falling]
    entries.sort(key=lambda entry: entry[:2], reverse=True)
    return [(part, layer) for _, _, part, layer in entries]
