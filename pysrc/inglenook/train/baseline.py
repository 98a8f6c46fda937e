"""What a sub-model has to beat at the same size: units by magnitude, whole layers, other neurons for each token."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from inglenook.elastic.recipe import channels
from inglenook.elastic.shape import Shape
from inglenook.train.importance import Importance
from inglenook.train.ladder import ratio
from inglenook.train.measure import States
from inglenook.train.model import Model, Recovery, Size
from inglenook.train.weights import Weights

Array = np.ndarray


def magnitude(weights: Weights) -> Importance:
    """Importance without text: the sum of squares of a unit's weights (Han et al., 1506.02626, by structure)."""
    shape = weights.shape
    neurons, groups = np.zeros((shape.layers, shape.hidden)), np.zeros((shape.layers, shape.kv_heads))
    for i in range(shape.layers):
        square = {part: np.square(weights[f"blk.{i}.{part}.weight"].astype(np.float64)) for part in
                  ("ffn_gate", "ffn_up", "ffn_down", "attn_q", "attn_k", "attn_v", "attn_output")}  # fmt: skip
        neurons[i] = square["ffn_gate"].sum(1) + square["ffn_up"].sum(1) + square["ffn_down"].sum(0)
        for g in range(shape.kv_heads):
            queries, keys = channels(shape, np.array([g]))
            groups[i, g] = square["attn_q"][queries].sum() + square["attn_output"][:, queries].sum()
            groups[i, g] += square["attn_k"][keys].sum() + square["attn_v"][keys].sum()
    blank = np.zeros(shape.layers)
    return Importance(neurons, groups, blank, blank, np.zeros((shape.layers, shape.width)))


def layers(shape: Shape, importance: Importance, ratios: Iterable[float]) -> list[Size]:
    """Sizes that leave out whole layers, the least important first (ShortGPT, 2403.03853, by our measure of worth).

    A ratio between two numbers of layers is met by FFN neurons of the last layer to go.
    """
    order = [int(i) for i in np.argsort(importance.attention + importance.ffn, kind="stable")]
    size, sizes = Size.whole(shape), []
    for wanted in ratios:
        while ratio(shape, size) > wanted + 1e-9:
            i = order[0]
            hidden, groups = list(size.hidden), list(size.groups)
            hidden[i] -= 32
            if hidden[i] <= 0:
                hidden[i], groups[i] = 0, 0
                order.pop(0)
            size = Size(hidden, groups)
        sizes.append(size)
    return sizes


def contextual(model: Model, size: Size, recovery: Recovery | None = None) -> States:
    """Each token's own best neurons, as many in each layer as `size` has there, chosen by an oracle that has seen them
    all (|h| times the length of its column of down): a bound on Deja Vu (2310.17157), whose predictors must guess.
    Attention is as in `size`."""
    whole = Size([model.shape.hidden] * model.shape.layers, size.groups)
    lengths = [layer["ffn_down"].float().norm(dim=0) for layer in model.layers]

    def see(layer: int, part: str, values: Tensor) -> Tensor:
        if part != "gated" or size.hidden[layer] == values.shape[-1]:
            return values
        worth = values.abs().float() * lengths[layer]
        kept = worth.topk(size.hidden[layer], dim=-1).indices
        return values * torch.zeros_like(values).scatter_(-1, kept, 1.0)

    return lambda tokens: model(tokens, whole, recovery, see)
