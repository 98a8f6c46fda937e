"""Int8 codes with a proven error: symmetric, one scale per vector.

A vector v becomes codes c = round(v / scale), scale = max|v| / 127, and the exact length of what was lost,
error = ‖v - scale·c‖. For a query treated the same way, Cauchy–Schwarz gives

    q·v ≤ scale_q·scale_v·(c_q·c_v) + ‖q‖·error_v + error_q·(‖v‖ + error_v)

which is what makes a scan of codes followed by exact confirmation exact, not just probably right.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

BLOCK = 16
"""Rows of codes are padded with zeros to a multiple of this many bytes (one SIMD register)."""


class Codes(NamedTuple):
    """`codes` int8 (n, stride), `scale` and `error` float32 (n,)."""

    codes: NDArray[np.int8]
    scale: NDArray[np.float32]
    error: NDArray[np.float32]


def stride(dim: int) -> int:
    """Bytes of a row of codes for vectors of `dim` numbers."""
    return -(-dim // BLOCK) * BLOCK


def quantise(vectors: NDArray[np.float32]) -> Codes:
    """Codes of vectors (n, dim). `error` is rounded up, so that bounds made of it hold in float32."""
    n, dim = vectors.shape
    peak = np.abs(vectors).max(axis=1, initial=0.0)
    scale = (peak / np.float32(127)).astype(np.float32)
    safe = np.where(scale > 0, scale, np.float32(1))
    codes = np.zeros((n, stride(dim)), np.int8)
    np.clip(np.rint(vectors / safe[:, None]), -127, 127, out=codes[:, :dim], casting="unsafe")
    lost = vectors - codes[:, :dim] * scale[:, None]
    error = np.sqrt(np.einsum("ij,ij->i", lost, lost))
    return Codes(codes, scale, (error * np.float32(1.001) + np.float32(1e-9)).astype(np.float32))
