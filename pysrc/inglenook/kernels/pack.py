"""Weights in panels of 8 rows, as wasm/panel.h reads them, and back.

A matrix (rows, columns) is cut into panels of 8 rows and these into blocks of columns. A block holds its 8 scales, for
Q4 its 8 minima (half floats), and then for each group of 4 columns the values of all 8 rows:

    format  columns  value of a weight        bytes of a block
    q4      32       scale * q + minimum      16 + 16 +  8 * 16   (low nibbles rows 0..3, high nibbles rows 4..7)
    q7      64       scale * (q - 64)         16      + 16 * 32
    q8      32       scale * (q - 128)        16      +  8 * 32

"q4b" and "q8b" are the same in bands: the first BAND blocks of all panels, then the next of all panels, and so on, so
that a prefix of the columns is a prefix of the bytes, but for a part of the last band. "q8p" is q8 in two planes: the
scales and high 4 bits of all panels, then the low 4 bits of all, both in groups as those of q4.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Bytes = NDArray[np.uint8]

ROWS, GROUP, BAND = 8, 4, 6
BLOCK = {"q4": 32, "q4b": 32, "q7": 64, "q8": 32, "q8b": 32, "q8p": 32}
ZERO = {"q7": 64, "q8": 128, "q8b": 128, "q8p": 128}
"""The q that stands for a weight of zero, where there is no minimum."""
LANE = 32767 // 63
"""What the |q - 64| of a q7 block may sum to in each lane: columns 0, 1, 4, 5, 8, 9 … of a row, and the others. So the
kernel's sums fit in 16 bits, with activations of up to 63."""


def pack(form: str, q: Bytes, scale: NDArray[np.float16], minimum: NDArray[np.float16] | None = None) -> Bytes:
    """Panels of `form` from q (rows, columns), scale and minimum (rows, columns // block): uint8, one row per panel, or
    in bands flat."""
    block = BLOCK[form]
    panels, blocks = q.shape[0] // ROWS, q.shape[1] // block
    if q.shape != (panels * ROWS, blocks * block):
        raise ValueError(f"{q.shape} does not fill panels of {ROWS} rows and blocks of {block} columns")
    values = q.reshape(panels, ROWS, blocks, block // GROUP, GROUP).transpose(0, 2, 3, 1, 4)
    values = values.reshape(panels, blocks, block // GROUP, ROWS * GROUP)
    if form == "q8p":
        high, low = (_nibbles(plane).reshape(panels, blocks, -1) for plane in np.divmod(values, np.uint8(16)))
        return np.concatenate([np.concatenate([_heads(scale, panels), high], axis=2).ravel(), low.ravel()])
    if form not in ZERO:
        values = _nibbles(values)
    parts = [_heads(scale, panels)] + ([] if minimum is None else [_heads(minimum, panels)])
    whole = np.concatenate([*parts, values.reshape(panels, blocks, -1)], axis=2)
    if form.endswith("b"):
        return np.concatenate([whole[:, at : at + BAND].reshape(-1) for at in range(0, blocks, BAND)])
    return whole.reshape(panels, -1)


def unpack(form: str, packed: Bytes, rows: int, columns: int) -> Array:
    """The weights of `packed` as float32 (rows, columns): what the kernel multiplies with."""
    block, heads = BLOCK[form], 1 if form in ZERO else 2
    panels, blocks = rows // ROWS, columns // block
    if form.endswith("b"):
        bands = np.split(packed.reshape(-1), np.arange(BAND, blocks, BAND) * (packed.size // blocks))
        whole = np.concatenate([band.reshape(panels, -1, packed.size // (panels * blocks)) for band in bands], axis=1)
    elif form == "q8p":
        high, low = np.split(packed.reshape(-1), [panels * blocks * (2 * ROWS + block * ROWS // 2)])
        high = high.reshape(panels, blocks, -1)
        both = _values(high[..., 2 * ROWS :]) * np.uint8(16) + _values(low.reshape(panels, blocks, -1))
        whole = np.concatenate([high[..., : 2 * ROWS], both], axis=-1)
    else:
        whole = packed.reshape(panels, blocks, -1)
    split = whole[..., : heads * 2 * ROWS].copy().view("<f2").astype(np.float32).reshape(panels, blocks, heads, ROWS)
    values = whole[..., heads * 2 * ROWS :]
    if form not in ZERO:
        values = _values(values)
    q = values.reshape(panels, blocks, block // GROUP, ROWS, GROUP).astype(np.float32)
    scale = split[:, :, 0, None, :, None]
    weights = (q - ZERO[form]) * scale if form in ZERO else q * scale + split[:, :, 1, None, :, None]
    return np.ascontiguousarray(weights.transpose(0, 3, 1, 2, 4)).reshape(rows, columns).astype(np.float32)


def quantise(form: str, weights: Array) -> Bytes:
    """Panels of `form` from float32 (rows, columns); rows are filled up with zeros to a multiple of 8."""
    weights = np.pad(weights, ((0, -len(weights) % ROWS), (0, 0)))
    cut: dict[str, Callable[[Array], tuple[Any, ...]]] = {"q4": cut_q4, "q7": cut_q7, "q8": cut_q8}
    return pack(form, *cut[form[:2]](weights))


def cut_q4(weights: Array) -> tuple[Bytes, NDArray[np.float16], NDArray[np.float16]]:
    """(q, scale, minimum) as `pack` takes them: each row of a block uses the whole range of 4 bits, 0..15."""
    rows, columns = weights.shape
    cut = weights.reshape(rows, columns // BLOCK["q4"], BLOCK["q4"])
    low = cut.min(axis=2)
    scale = ((cut.max(axis=2) - low) / 15).astype(np.float16)
    minimum = low.astype(np.float16)
    step = np.where(scale == 0, 1, scale).astype(np.float32)[..., None]
    q = np.rint((cut - minimum.astype(np.float32)[..., None]) / step).clip(0, 15).reshape(rows, columns)
    return q.astype(np.uint8), scale, minimum


def value_q4(q: Bytes, scale: NDArray[np.float16], minimum: NDArray[np.float16]) -> Array:
    """What (q, scale, minimum) stand for, float32 (rows, columns)."""
    cut = q.reshape(*scale.shape, BLOCK["q4"]).astype(np.float32)
    values: Array = cut * scale.astype(np.float32)[..., None] + minimum.astype(np.float32)[..., None]
    return values.reshape(q.shape)


def cut_q7(weights: Array) -> tuple[Bytes, NDArray[np.float16]]:
    """(q, scale) as `pack` takes them: 7 bits, -63..63 about 64, in steps that keep every lane's sum within `LANE`."""
    block = BLOCK["q7"]
    rows, columns = weights.shape
    lanes = weights.reshape(rows, columns // block, block // GROUP, 2, 2)
    step = np.abs(lanes).max(axis=(2, 3, 4)) / 63
    while True:
        scale = step.astype(np.float16)
        q = np.rint(lanes / np.where(scale == 0, 1, scale).astype(np.float32)[..., None, None, None]).clip(-63, 63)
        over = np.abs(q).sum(axis=(2, 4)).max(axis=2) / LANE
        if over.max(initial=0) <= 1:
            return (q + ZERO["q7"]).astype(np.uint8).reshape(rows, columns), scale
        step = np.where(over > 1, step * np.maximum(over, 1.001), step)


def cut_q8(weights: Array) -> tuple[Bytes, NDArray[np.float16]]:
    """(q, scale) as `pack` takes them: 8 bits, of which a block's largest value is the last, 1 or 255."""
    rows, columns = weights.shape
    cut = weights.reshape(rows, columns // BLOCK["q8"], BLOCK["q8"])
    scale = (np.abs(cut).max(axis=2) / 127).astype(np.float16)
    step = np.where(scale == 0, 1, scale).astype(np.float32)[..., None]
    q = np.rint(cut / step).clip(-127, 127) + ZERO["q8"]
    return q.astype(np.uint8).reshape(rows, columns), scale


def _nibbles(values: Bytes) -> Bytes:
    """Groups of 32 values of 4 bits (…, 32) in 16 bytes: rows 0..3 below rows 4..7."""
    half = ROWS * GROUP // 2
    return (values[..., :half] | (values[..., half:] << 4)).astype(np.uint8)


def _values(nibbles: Bytes) -> Bytes:
    """The values (…, 2 n) of 4 bits that stand in n bytes (…, n), group by group."""
    groups = nibbles.reshape(*nibbles.shape[:-1], -1, ROWS * GROUP // 2)
    return np.concatenate([groups & 15, groups >> 4], axis=-1).reshape(*nibbles.shape[:-1], -1)


def _heads(values: NDArray[np.float16], panels: int) -> Bytes:
    """(rows, blocks) half floats as bytes (panels, blocks, 16)."""
    by_block = values.astype("<f2").reshape(panels, ROWS, -1).transpose(0, 2, 1)
    return np.ascontiguousarray(by_block).view(np.uint8)
