"""A Llama of random weights with levels, as an artifact: what the kernel is held against the plain pass with."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import numpy as np
from inglenook.elastic import convert
from inglenook.elastic.levels import Level, ratio, whole
from inglenook.elastic.shape import Shape
from inglenook.kernels import pack
from inglenook.kernels.artifact import Tensor

SHAPE = Shape(
    layers=3, width=192, hidden=256, heads=6, kv_heads=2, vocabulary=512, context=256, theta=1e4, epsilon=1e-5
)
RANK = 32


def levels(shape: Shape) -> list[Level]:
    """The whole; one of which a layer lost a group and all lost neurons; one where a layer has only its bias left."""
    sizes = (((160, 192, 224), (1, 2, 2), RANK), ((96, 0, 128), (1, 0, 2), 0))
    more = []
    for hidden, groups, rank in sizes:
        hidden, groups = hidden[: shape.layers], groups[: shape.layers]
        more.append(Level(ratio(shape, hidden, groups), hidden, groups, rank))
    return [whole(shape.layers, shape.hidden, shape.kv_heads), *more]


def prompts(count: int) -> list[list[int]]:
    """Random tokens, 1 to 70 of them."""
    rng = np.random.default_rng(12)
    return [rng.integers(0, SHAPE.vocabulary, rng.integers(1, 71)).tolist() for _ in range(count)]


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Row by row."""
    a, b = a.astype(float), b.astype(float)
    found: np.ndarray = (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)
    return found


def make(out: Path, layers: int = SHAPE.layers, fine: Collection[int] = (1,)) -> Path:
    """Write the artifact; the down matrices of the layers `fine` have 8 bits."""
    shape = replace(SHAPE, layers=layers)
    rng = np.random.default_rng(11)

    def random(*shape: int, size: float = 1.0) -> np.ndarray:
        return (rng.standard_normal(shape) * size).astype(np.float32)

    kv = SHAPE.kv_heads * SHAPE.head
    rows = {"q": SHAPE.width, "k": kv, "v": kv, "output": SHAPE.width, "gate": SHAPE.hidden, "up": SHAPE.hidden,
            "down": SHAPE.width}  # fmt: skip

    def read(name: str) -> convert.Weight:
        part = name.split(".")[-2].rsplit("_", maxsplit=1)[-1]
        if part == "norm":
            return 1 + random(SHAPE.width, size=0.1)
        if part == "embd":
            return random(SHAPE.vocabulary, SHAPE.width, size=0.1)
        columns = SHAPE.hidden if part == "down" else SHAPE.width
        values = random(rows[part], columns, size=columns**-0.5)
        if part == "down" and int(name.split(".")[1]) in fine:
            return Tensor(name, "q8b", values.shape, pack.quantise("q8b", values))
        return values

    recovery = {}
    for i, level in enumerate(levels(shape)):
        for layer, hidden in enumerate(level.hidden if i else ()):
            low = level.rank and hidden
            recovery[i, layer] = convert.Recovery(
                random(SHAPE.width, size=0.3),
                random(level.rank, hidden, size=hidden**-0.5) if low else None,
                random(SHAPE.width, level.rank, size=0.3) if low else None,
            )
    convert.write(out, shape, read, name="random", levels=levels(shape), recovery=recovery)
    return out
