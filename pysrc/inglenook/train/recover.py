"""Recovery in closed form: what a sub-model lost, as far as a linear map of what it kept can bring it back.

Layer by layer, on the sub-model's own activations: the FFN of layer l ought to bring the residual stream to where the
whole model has it, so `target = whole model's stream after l - own stream before the FFN`. What the kept neurons h do
not say of it is regressed on h and 1 (ridge), and the map is cut to rank r where that costs least in the activations'
metric (reduced-rank regression; Izenman, Journal of Multivariate Analysis 5, 1975):

    Δ = R Cᵘ⁻¹,  Δ C^½ = U S Vᵀ,  down_b = U_r,  down_a = U_rᵀ Δ

with C = hhᵀ and R = (target - down h)hᵀ, both about the mean; the bias takes the means along. ELMS (2409.09071) trains
low-rank adapters instead; the closed form is ours, in the vein of SparseGPT's and SliceGPT's layerwise fits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from inglenook.train.model import Model, Recovery, Size

RIDGE = 0.01
"""Added to the diagonal of C, as a share of its mean."""


def fit(
    whole: Model, model: Model, tokens: Tensor, sizes: Sequence[Size], ranks: Sequence[int], *, batch: int = 8,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> list[Recovery]:  # fmt: skip
    """The recovery of `model` at each of `sizes`, towards `whole`, on windows of token ids (count, time).

    `whole` has the same units, in any order. All but what the models multiply is float32. A layer is done for all sizes
    before the next one, so that the whole model is passed once.
    """
    shape, found = whole.shape, [Recovery.none(model) for _ in sizes]
    parts = torch.split(tokens.to(model.device), batch)
    with torch.no_grad():
        goals = [whole.embed(part) for part in parts]
        own = [[x.clone() for x in goals] for _ in sizes]
        for i in range(shape.layers):
            for n in range(len(parts)):
                goals[n] = goals[n] + whole.attend(i, goals[n], shape.kv_heads)
                goals[n] = goals[n] + whole.feed(i, goals[n], shape.hidden)
            for size, rank, recovery, xs in zip(sizes, ranks, found, own, strict=True):
                for n in range(len(parts)):
                    xs[n] = xs[n] + model.attend(i, xs[n], size.groups[i])
                _fit_layer(model, i, goals, xs, size.hidden[i], rank=rank, recovery=recovery)
            report(i + 1, shape.layers)
    return found


def _fit_layer(
    model: Model, i: int, goals: list[Tensor], own: list[Tensor], hidden: int, *, rank: int, recovery: Recovery
) -> None:
    """Fits layer `i` and moves `own` from before its FFN to after it."""
    count = sum(x.shape[0] * x.shape[1] for x in own)
    missing = torch.zeros(model.shape.width, device=model.device)
    mean = torch.zeros(hidden, device=model.device)
    square = torch.zeros(hidden, hidden, device=model.device)
    cross = torch.zeros(model.shape.width, hidden, device=model.device)
    gated = [model.gated(i, x, hidden) for x in own]
    for n, goal in enumerate(goals):
        own[n] = own[n] + model.times(gated[n], model.layers[i]["ffn_down"][:, :hidden]).float()
        rest, h = (goal - own[n]).flatten(0, 1), gated[n].flatten(0, 1).float()
        missing += rest.sum(0) / count
        if hidden and rank:
            mean += h.sum(0) / count
            square += h.T @ h / count
            cross += rest.T @ h / count
    recovery.bias[i] = missing
    if hidden and rank:
        square -= torch.outer(mean, mean)
        cross -= torch.outer(missing, mean)
        square.diagonal().add_(RIDGE * square.diagonal().mean())
        update = torch.linalg.solve(square, cross.T).T  # (width, hidden)
        left = torch.linalg.eigh(update @ square @ update.T)[1][:, -rank:]  # U_r: of Δ C Δᵀ, largest last
        recovery.down_b[i] = left.contiguous()
        recovery.down_a[i] = (left.T @ update).contiguous()
        recovery.bias[i] = missing - left @ (left.T @ (update @ mean))
    for n, values in enumerate(gated):
        own[n] = own[n] + recovery.bias[i]
        a, b = recovery.down_a[i], recovery.down_b[i]
        if a is not None and b is not None:
            own[n] = own[n] + model.times(model.times(values, a), b).float()
