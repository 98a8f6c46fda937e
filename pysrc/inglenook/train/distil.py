"""Distillation: a sub-model's own parameters learn the whole model's odds of the next token.

Only what a level has for itself learns: biases and the low-rank maps (LoRA, 2106.09685, as ELMS uses it).
The loss is KL(whole ‖ sub-model) (Hinton et al., 1503.02531) over the tokens that occur in the text; the head's other
rows are left out, which is cheaper by much.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from inglenook.train.model import Model, Recovery, Size

Array = np.ndarray
SAVE_EVERY = 20
WARM = 10
"""Steps in which the rate rises."""


@dataclass(frozen=True)
class Plan:
    """How long and how fast. `rate` is Adam's for the low-rank maps; biases learn at a third of it."""

    steps: int = 100
    rate: float = 1e-3
    batch: int = 4
    seed: int = 0


def teach(model: Model, windows: Array, batch: int = 8, report: Callable[[int, int], None] | None = None) -> Array:
    """The whole model's normed states, float16 (count, time, width), on windows of token ids."""
    out = np.empty((*windows.shape, model.shape.width), np.float16)
    with torch.no_grad():
        for at in range(0, len(windows), batch):
            states = model(torch.from_numpy(windows[at : at + batch]).to(model.device))
            out[at : at + batch] = states.cpu().numpy()
            if report:
                report(min(at + batch, len(windows)), len(windows))
    return out


def vocabulary(windows: Array, most: int = 8192) -> Tensor:
    """The ids of the tokens that occur most often."""
    ids, counts = np.unique(windows, return_counts=True)
    return torch.from_numpy(np.sort(ids[np.argsort(-counts, kind="stable")[:most]]))


def distil(
    model: Model, windows: Array, states: Array, size: Size, start: Recovery, *, plan: Plan, kept: Path,
    report: Callable[[int, int, float], None] = lambda step, total, loss: None,
) -> Recovery:  # fmt: skip
    """Train from `start`; what is under way lies at `kept`, and goes on from there with the same result."""
    named = {name: value.clone().requires_grad_() for name, value in start.tensors().items()}
    recovery = Recovery.of(named, model.shape.layers)
    low = [value for name, value in named.items() if name.startswith("down_")]
    high = [value for name, value in named.items() if not name.startswith("down_")]
    learner = torch.optim.Adam(
        [{"params": low, "share": 1.0}, {"params": high, "share": 0.3}], lr=plan.rate, betas=(0.9, 0.99)
    )
    first, losses = 0, 0.0
    if kept.exists():
        held = torch.load(kept, map_location=model.device)
        first, losses = held["step"], held["loss"]
        learner.load_state_dict(held["learner"])
        with torch.no_grad():
            for name, value in named.items():
                value.copy_(held["named"][name])
    ids = vocabulary(windows).to(model.device)
    for step in range(first, plan.steps):
        for group in learner.param_groups:
            group["lr"] = plan.rate * group["share"] * _pace(step, plan.steps)
        chosen = _batch(len(windows), plan, step)
        taught = torch.from_numpy(states[chosen]).to(model.device).float()
        own = model(torch.from_numpy(windows[chosen]).to(model.device), size, recovery)
        loss = _loss(model.logits(taught, ids), model.logits(own, ids))
        learner.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(list(named.values()), 1.0)
        learner.step()
        losses = loss.item() if not step else 0.95 * losses + 0.05 * loss.item()
        report(step + 1, plan.steps, losses)
        if (step + 1) % SAVE_EVERY == 0 or step + 1 == plan.steps:
            part = kept.with_suffix(".part")
            torch.save({"step": step + 1, "loss": losses, "learner": learner.state_dict(), "named": named}, part)
            part.replace(kept)
    return Recovery.of({name: value.detach() for name, value in named.items()}, model.shape.layers)


def _loss(goal: Tensor, said: Tensor) -> Tensor:
    """The mean divergence of odds, from scores (…, tokens)."""
    goal, said = (functional.log_softmax(scores.flatten(0, -2), -1) for scores in (goal, said))
    return functional.kl_div(said, goal, reduction="batchmean", log_target=True)


def _batch(count: int, plan: Plan, step: int) -> Array:
    """Which windows a step reads: each once, in another order for every time round."""
    each = max(1, count // plan.batch)
    order = np.random.default_rng([plan.seed, step // each]).permutation(count)
    at = step % each * plan.batch
    return order[at : at + plan.batch]


def _pace(step: int, steps: int) -> float:
    """The rate's course: up, then down along a cosine to a tenth."""
    return min(1.0, (step + 1) / WARM) * (0.55 + 0.45 * math.cos(math.pi * step / max(1, steps)))
