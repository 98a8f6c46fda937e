"""How good a sub-model is: perplexity on held-out text.

Windows do not overlap; each token is given those before it in its window, the first of a window is not counted.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from inglenook.train.model import Model

Array = np.ndarray
States = Callable[[Tensor], Tensor]
"""Normed last states (batch, time, width) of token ids (batch, time): a model at a level, whatever that is."""


def perplexity(model: Model, states: States, windows: Array, batch: int = 4) -> float:
    """exp of the mean negative log-likelihood over windows (count, time) of token ids."""
    total = 0.0
    with torch.no_grad():
        for at in range(0, len(windows), batch):
            tokens = torch.from_numpy(windows[at : at + batch]).to(model.device)
            for row, given in zip(states(tokens)[:, :-1], tokens[:, 1:], strict=True):
                total += functional.cross_entropy(model.logits(row), given, reduction="sum").item()
    return math.exp(total / (windows.shape[0] * (windows.shape[1] - 1)))
