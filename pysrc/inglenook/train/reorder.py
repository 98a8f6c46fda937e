"""Units in order of importance, so that every smaller model is a prefix; the whole model computes what it did.

Rows of gate and up and columns of down go together (an FFN neuron); rows of queries, keys and values and columns of the
attention's output go together (a key-value group with its query heads): permutation consistency (ELMS, 2409.09071,
section 3.1).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from inglenook.elastic.recipe import channels
from inglenook.train.importance import Importance
from inglenook.train.weights import Weights

Array = np.ndarray


@dataclass(frozen=True)
class Order:
    """Per layer, which unit stands at each place: `neurons` (layers, hidden) and `groups` (layers, kv_heads), int."""

    neurons: Array
    groups: Array

    @classmethod
    def by(cls, importance: Importance) -> Order:
        """The most important first; the same order for the same numbers."""
        neurons, groups = (np.argsort(-worth, 1, kind="stable") for worth in (importance.neurons, importance.groups))
        return cls(neurons, groups)


def reordered(weights: Weights, order: Order) -> Weights:
    """The weights with their units in `order`."""
    changed = dict(weights.tensors)
    for layer in range(weights.shape.layers):
        neurons = order.neurons[layer]
        queries, keys = channels(weights.shape, order.groups[layer])
        for part, rows in (("ffn_gate", neurons), ("ffn_up", neurons), ("attn_q", queries), ("attn_k", keys),
                           ("attn_v", keys)):  # fmt: skip
            changed[f"blk.{layer}.{part}.weight"] = weights[f"blk.{layer}.{part}.weight"][rows]
        for part, columns in (("ffn_down", neurons), ("attn_output", queries)):
            moved = weights[f"blk.{layer}.{part}.weight"][:, columns]
            changed[f"blk.{layer}.{part}.weight"] = np.ascontiguousarray(moved)
    return Weights(weights.shape, changed)


def moved(importance: Importance, order: Order) -> Importance:
    """Importance of units that were put in `order`."""
    return Importance(
        np.take_along_axis(importance.neurons, order.neurons, 1),
        np.take_along_axis(importance.groups, order.groups, 1),
        importance.attention, importance.ffn, importance.slopes,
    )  # fmt: skip
