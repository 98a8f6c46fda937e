"""How the down matrices are rounded anew once their columns moved: to 8 bits where 4 would cost most, to 4 elsewhere.

A matrix of 4 bits in blocks of 32 columns loses its codes when the columns change places. Rounded to 4 bits again, all
of them cost a model of 135M parameters a tenth of its first choices, nearly all of that in few layers (LOG.md).
"""

from __future__ import annotations

import numpy as np

from inglenook.kernels import pack
from inglenook.train.importance import Importance
from inglenook.train.weights import Weights

Array = np.ndarray


def costs(weights: Weights, squares: Importance, slopes: Array) -> Array:
    """float64 (layers,): about how much the loss grows if a layer's down matrix is rounded to 4 bits.

    That is Σ g² · (E h)² to second order, the squares of the gradients standing for the Hessian as in `importance`.
    `squares` is the importance by "norm", whose neurons are Σ h² about the mean; errors of different columns are taken
    for independent. The formula is ours.
    """
    found = []
    for layer in range(weights.shape.layers):
        down = weights[f"blk.{layer}.ffn_down.weight"]
        error = pack.value_q4(*pack.cut_q4(down)) - down
        found.append(float(slopes[layer] @ (np.square(error) @ squares.neurons[layer])))
    return np.array(found)


def finest(costs: Array, count: int) -> Array:
    """bool (layers,): the `count` layers where 8 bits save most."""
    fine = np.zeros(len(costs), bool)
    fine[np.argsort(-costs, kind="stable")[:count]] = True
    return fine


def rounded(weights: Weights, fine: Array) -> Weights:
    """The weights with their down matrices as they will be stored."""
    changed = dict(weights.tensors)
    for layer, eight in enumerate(fine):
        name = f"blk.{layer}.ffn_down.weight"
        down = weights[name]
        changed[name] = (
            pack.unpack("q8", pack.quantise("q8", down), *down.shape) if eight else pack.value_q4(*pack.cut_q4(down))
        )
    return Weights(weights.shape, changed)
