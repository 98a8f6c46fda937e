"""What a run has found, as a recipe (`elastic.recipe`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from inglenook.elastic.recipe import Recipe, lowered, raised
from inglenook.train.checkpoint import Arrays
from inglenook.train.model import Recovery
from inglenook.train.reorder import Order


def recipe(order: Order, fine: np.ndarray, levels: list[dict[str, Any]], recoveries: Sequence[Recovery]) -> Recipe:
    """`fine` comes from `rounding.finest`; `levels` are what is said of each, the whole first; `recoveries` those of
    the others."""
    arrays: Arrays = {
        "neurons": order.neurons.astype(np.uint16), "groups": order.groups.astype(np.uint8), "fine": fine,
    }  # fmt: skip
    for i, recovery in enumerate(recoveries, 1):
        arrays[f"{i}.bias"] = torch.stack(recovery.bias).cpu().numpy().astype(np.float16)
        for part in ("down_a", "down_b"):
            for layer, value in enumerate(getattr(recovery, part)):
                if value is not None:
                    name = f"{i}.{part}.{layer}"
                    arrays[name], arrays[f"{name}.scale"] = lowered(value.cpu().numpy())
    return Recipe({"levels": levels}, arrays)


def stored(recovery: Recovery) -> Recovery:
    """As a recipe keeps it: biases in half precision, low-rank maps in 4 bits."""

    def low(value: Tensor | None) -> Tensor | None:
        return None if value is None else torch.from_numpy(raised(*lowered(value.cpu().numpy()))).to(value.device)

    return replace(
        recovery, bias=[value.half().float() for value in recovery.bias],
        down_a=[low(value) for value in recovery.down_a], down_b=[low(value) for value in recovery.down_b],
    )  # fmt: skip
