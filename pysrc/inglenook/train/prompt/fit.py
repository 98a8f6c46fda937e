"""Linear heads: ridge regression towards weights that are known to work; logistic regression by Newton's method."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float64]]

STEPS = 30


def ridge(inputs: Array, targets: Array, groups: Array, strength: float, known: Array) -> Array:
    """Weights (signs + 1,), the constant last, for `inputs` (rows, signs) and `targets` (rows,).

    What counts is which row of a group is better, so rows and targets are taken relative to their group's mean; the
    constant then makes all of them right on average. `strength` in rows: so many pull each weight, scaled to signs of
    unit variance, back to its `known` value (Hoerl and Kennard, "Ridge regression", 1970, with a prior mean).
    """
    mean, scale = inputs.mean(axis=0), inputs.std(axis=0) + 1e-9
    z, y = _centred((inputs - mean) / scale, groups), _centred(targets[:, None], groups)[:, 0]
    prior = known * scale
    weights = prior + np.linalg.solve(z.T @ z + strength * np.eye(z.shape[1]), z.T @ (y - z @ prior))
    weights = weights / scale
    return np.append(weights, targets.mean() - inputs.mean(axis=0) @ weights)


def logistic(inputs: Array, targets: Array, strength: float) -> Array:
    """Weights (signs + 1,), the constant last, of log odds that fit `targets` in 0..1; `strength` as for `ridge`."""
    mean, scale = inputs.mean(axis=0), inputs.std(axis=0) + 1e-9
    z = np.c_[(inputs - mean) / scale, np.ones(len(inputs))]
    pull = np.append(np.full(inputs.shape[1], strength), 1e-6)
    weights = np.zeros(z.shape[1])
    for _ in range(STEPS):
        chance = 1 / (1 + np.exp(-z @ weights))
        slope = z.T @ (chance - targets) + pull * weights
        bend = (z * (chance * (1 - chance))[:, None]).T @ z + np.diag(pull)
        weights = weights - np.linalg.solve(bend, slope)
    weights[:-1] /= scale
    weights[-1] -= mean @ weights[:-1]
    return weights


def _centred(values: Array, groups: Array) -> Array:
    _, group = np.unique(groups, return_inverse=True)
    counts = np.bincount(group)
    means = np.stack([np.bincount(group, column) / counts for column in values.T], axis=1)
    return np.asarray(values - means[group])
