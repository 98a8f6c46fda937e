"""4-bit codes for a matrix whose columns were put in another order, so that its blocks of 32 columns are new ones.

Rounding to the nearest code as it stands costs a seventh of the perplexity (measured; LOG.md). Two things help:

- **Exponents**: a neuron's output may be halved and its column of down doubled, as often as one likes. Columns that
  meet large activations are made larger, by the square root of these, so that they are rounded more finely (after AWQ;
  Lin et al., 2306.00978, section 3.2). Powers of two go into the half-float scales of `up` and round nothing there.
- **Nudges**: each column's rounding error is made good by the columns after it, in the metric of the activations they
  meet: optimal brain surgeon for quantisation (GPTQ; Frantar et al., 2210.17323, algorithm 1). Scales and minima stay
  those of plain rounding (`pack.cut_q4`), so that only the nudges, steps off the nearest code, have to be kept.
"""

from __future__ import annotations

import numpy as np

from inglenook.kernels import pack

Array = np.ndarray
DAMP = 0.01
"""Added to the metric's diagonal, as a share of its mean."""
BATCH = 128
"""Columns whose errors are handed on at once."""
LARGEST = 6
"""Of the exponents: half floats still have all their digits there."""
MOST = 1
"""The furthest a code may lie off the nearest one: further ones gain next to nothing and would need more bytes."""


def exponents(square: Array) -> Array:
    """int8 (columns,): the powers of two that columns are to be multiplied with; `square` is the mean of h hᵀ."""
    sizes = np.log2(np.maximum(np.diagonal(square).astype(np.float64), 1e-20)) / 2
    powers: Array = np.rint((sizes - np.median(sizes)) / 2).clip(-LARGEST, LARGEST).astype(np.int8)
    return powers


def nudges(weights: Array, square: Array) -> Array:
    """int8 (rows, columns) in -MOST..MOST for `weights` (rows, columns); `square` is the mean of h hᵀ."""
    nearest, scale, minimum = pack.cut_q4(weights)
    rows, columns = weights.shape
    step = np.repeat(scale.astype(np.float64), pack.BLOCK["q4"], axis=1)
    low = np.repeat(minimum.astype(np.float64), pack.BLOCK["q4"], axis=1)
    safe = np.where(step == 0, 1, step)
    damped = square.astype(np.float64) + np.eye(columns) * (DAMP * np.trace(square) / columns + 1e-12)
    upper = np.linalg.cholesky(np.linalg.inv(damped)).T  # rows of H⁻¹ as each column finds them
    left = weights.astype(np.float64)
    codes = np.zeros((rows, columns))
    for start in range(0, columns, BATCH):
        end = min(start + BATCH, columns)
        errors = np.zeros((rows, end - start))
        for c in range(start, end):
            base = nearest[:, c].astype(np.float64)
            q = np.rint((left[:, c] - low[:, c]) / safe[:, c])
            codes[:, c] = q.clip(np.maximum(base - MOST, 0), np.minimum(base + MOST, 15))
            error = (left[:, c] - codes[:, c] * step[:, c] - low[:, c]) / upper[c, c]
            left[:, c + 1 : end] -= np.outer(error, upper[c, c + 1 : end])
            errors[:, c - start] = error
        left[:, end:] -= errors @ upper[start:end, end:]
    return (codes - nearest).astype(np.int8)
