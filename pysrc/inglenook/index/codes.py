"""Random rotation: what makes the signs of a vector's numbers a good code of it.

`Rotation` takes `dim` numbers to `width`, the next multiple of 64, in four rounds of a random sign for each number, a
Walsh–Hadamard transform of as many numbers as a power of two allows (the first ones and the last ones in turn) and,
where that was not all of them, a 45° turn of the first half with the second. Lengths and products stay what they are.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inglenook.index.kernel import library

Floats = NDArray[np.float32]

ROUNDS = 4
WIDTHS = 64
"""Rotated vectors are as wide as a multiple of this."""
ADDRESS, INT, LONG = ctypes.c_void_p, ctypes.c_int32, ctypes.c_int64


@lru_cache(maxsize=64)
def bind(name: str, result: Any, *arguments: Any) -> Callable[..., Any] | None:
    """A function of the compiled kernels, None where there are none."""
    found = library()
    if found is None:
        return None
    function: Callable[..., Any] = found[name]  # an object of its own: others may declare the same function
    function.restype, function.argtypes = result, list(arguments)  # type: ignore[attr-defined]
    return function


def address(array: NDArray[Any] | None) -> int | None:
    """Where an array's numbers lie."""
    return None if array is None else array.ctypes.data


def width_of(dim: int) -> int:
    """How wide rotated vectors of `dim` numbers are."""
    return -(-dim // WIDTHS) * WIDTHS


class Rotation:
    """A rotation of `dim`-dimensional vectors: `bits`, uint8 (ROUNDS, width / 8), are its signs, random by `seed`."""

    def __init__(self, dim: int, seed: int = 0, bits: NDArray[np.uint8] | None = None) -> None:
        self.dim, self.width = dim, width_of(dim)
        if bits is None:
            bits = np.frombuffer(np.random.default_rng(seed).bytes(ROUNDS * self.width // 8), np.uint8)
        self.bits = bits.reshape(ROUNDS, self.width // 8)
        self.signs = signs(self.bits, self.width)

    def apply(self, vectors: Floats, mean: Floats | None = None, *, plain: bool = False) -> Floats:
        """Vectors (n, dim), less `mean` (dim), rotated: (n, width)."""
        rotate = bind("nook_rotate", None, ADDRESS, INT, INT, INT, ADDRESS, ADDRESS, INT, ADDRESS)
        if rotate is None or plain:
            return rotated(vectors, self.signs, mean)
        vectors = np.ascontiguousarray(vectors, np.float32)
        out = np.empty((len(vectors), self.width), np.float32)
        places = address(mean), address(self.signs), len(self.signs), address(out)
        rotate(address(vectors), len(vectors), self.dim, self.width, *places)
        return out


def power_of(width: int) -> int:
    """How many numbers are transformed at once: the greatest power of two that is not above `width`."""
    return 1 << (width.bit_length() - 1)


def signs(bits: NDArray[np.uint8], width: int) -> Floats:
    """What each round multiplies with, (rounds, width): signs, and what keeps the transform from changing lengths."""
    out = 1 - 2 * np.unpackbits(bits, axis=1).astype(np.float32)
    power = power_of(width)
    for row in range(len(out)):
        start = width - power if row % 2 else 0
        out[row, start : start + power] /= np.sqrt(np.float32(power))
    return out


def rotated(vectors: Floats, factors: Floats, mean: Floats | None = None) -> Floats:
    """`Rotation.apply` in numpy: the oracle."""
    (n, dim), width = vectors.shape, factors.shape[1]
    power, half = power_of(width), width // 2
    out = np.zeros((n, width), np.float32)
    out[:, :dim] = vectors if mean is None else vectors - mean
    for row, factor in enumerate(factors):
        out *= factor
        start = width - power if row % 2 else 0
        part, step = out[:, start : start + power], 1
        while step < power:
            pairs = part.reshape(n, power // (2 * step), 2, step)
            part = np.stack([pairs[:, :, 0] + pairs[:, :, 1], pairs[:, :, 0] - pairs[:, :, 1]], 2).reshape(n, power)
            step *= 2
        out[:, start : start + power] = part
        if power < width:
            a, b = out[:, :half].copy(), out[:, half:].copy()
            out[:, :half], out[:, half:] = (a + b) * np.float32(0.70710678), (a - b) * np.float32(0.70710678)
    return out
