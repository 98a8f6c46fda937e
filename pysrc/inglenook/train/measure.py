"""How good a sub-model is: perplexity on held-out text, and what accuracy on `tasks` needs.

Perplexity: windows that do not overlap, each token given those before it in its window, the first of a window not
counted.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from inglenook.train.model import Model
from inglenook.train.tasks import Score

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


def scorer(model: Model, states: States) -> Score:
    """What tells how likely a choice is after a prompt."""

    def score(prompt: list[int], choice: list[int]) -> tuple[Array, bool]:
        given = torch.tensor(choice, device=model.device)
        with torch.no_grad():
            last = states(torch.tensor([[*prompt, *choice]], device=model.device))[0, -len(choice) - 1 : -1]
            odds = functional.log_softmax(model.logits(last), -1)
        return odds.gather(1, given[:, None])[:, 0].cpu().numpy(), bool((odds.argmax(1) == given).all())

    return score
