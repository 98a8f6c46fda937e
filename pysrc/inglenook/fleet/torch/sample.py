"""The next tokens of many requests at once, each chosen its own way.

Nucleus sampling after Holtzman et al. (1904.09751, section 3.1). A draw is the point where one uniform number falls in
the cumulated odds; the number is made of the request's seed and the token's position by Philox (Salmon et al., SC'11),
so the same request draws the same on any device, in any batch, and when it is run again.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from inglenook.fleet.iteration import Sampling


def choose(logits: Tensor, ways: Sequence[Sampling], positions: Sequence[int]) -> list[int]:
    """A token for each row of float32 logits (rows, vocabulary), which stands at `positions` of its request."""
    best: list[int] = logits.argmax(dim=-1).tolist()
    for row, (way, position) in enumerate(zip(ways, positions, strict=True)):
        if way.temperature > 0:
            best[row] = _draw(logits[row], way, position)
    return best


def _draw(logits: Tensor, way: Sampling, position: int) -> int:
    odds = torch.softmax((logits.double() - logits.max()) / way.temperature, dim=-1)
    point = np.random.Generator(np.random.Philox(key=[way.seed, position])).random()
    if way.top_p >= 1:
        mass = odds.cumsum(0)
        return int(torch.searchsorted(mass, point * mass[-1], right=True).clamp(max=len(odds) - 1))
    odds, tokens = odds.sort(descending=True, stable=True)
    mass = odds.cumsum(0)
    kept = min(int(torch.searchsorted(mass, way.top_p)), len(mass) - 1)  # the fewest that hold top_p, less one
    at = torch.searchsorted(mass[: kept + 1], point * mass[kept], right=True).clamp(max=kept)
    return int(tokens[at])
