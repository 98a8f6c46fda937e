"""A picture as an array, and made larger or smaller."""

from __future__ import annotations

import numpy as np

from inglenook.evals.pictures import opened, pillow


def decoded(data: bytes, where: str = "the picture") -> np.ndarray:
    """The pixels of a PNG, JPEG, GIF or WebP file on white: uint8 (height, width, 3), red first. Raises
    NookError("no-pillow" | "bad-image")."""
    with opened(data, where) as image:
        rgba = image.convert("RGBA")
        ground = pillow().new("RGBA", rgba.size, (255, 255, 255, 255))
        return np.asarray(pillow().alpha_composite(ground, rgba).convert("RGB"))


def resized(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bilinear, corners aligned as in OpenCV (pixel centres at halves): float32 (height, width, channels)."""
    rows = _stretched(pixels.astype(np.float32), height)
    return _stretched(rows.transpose(1, 0, 2), width).transpose(1, 0, 2)


def _stretched(lines: np.ndarray, count: int) -> np.ndarray:
    """The first axis brought to `count` entries; made smaller, each is the mean of what it covers."""
    size = len(lines)
    if size == count:
        return lines
    if count < size:
        ends = np.linspace(0, size, count + 1)
        sums = np.concatenate([np.zeros_like(lines[:1]), np.cumsum(lines, axis=0, dtype=np.float32)])
        whole = np.minimum(ends.astype(int), size - 1)
        at_ends = sums[whole] + (ends - whole).astype(np.float32)[:, None, None] * lines[whole]
        means: np.ndarray = np.diff(at_ends, axis=0) * (count / size)
        return means
    at = np.clip((np.arange(count) + 0.5) * (size / count) - 0.5, 0, size - 1)
    low = np.minimum(at.astype(int), max(0, size - 2))
    share = (at - low).astype(np.float32)[:, None, None]
    high = np.minimum(low + 1, size - 1)
    between: np.ndarray = lines[low] * (1 - share) + lines[high] * share
    return between
