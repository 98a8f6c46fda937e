"""A recipe: what makes a model elastic and cannot be made again from its weights, a few megabytes beside them.

It says in which order the units of each layer stand, which of the reordered down matrices are rounded to 8 bits, and
which levels there are with what recovers each. `inglenook train elastic` writes it once; the build applies it to the
model file, with numpy alone (`convert.convert`). The file is NumPy's `.npz`, deflated; the same recipe gives the same
bytes.

    config          JSON, UTF-8: {"levels": [{ratio, hidden, groups, rank, perplexity, before}, …], "trained": {…}}
    neurons         uint16 (layers, hidden): which neuron stands at each place
    groups          uint8 (layers, kv_heads)
    fine            bool (layers,): whether the down matrix is rounded to 8 bits or to 4
    <level>.bias    float16 (layers, width)
    <level>.down_a.<layer>   int8 (rank, hidden of the layer) in -7..7, of which deflating leaves half, and .scale
                             float16 (rank, hidden // 32), of 8 digits, so that seven of them are a float16,
                             too; so is down_b
"""

from __future__ import annotations

import json
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from inglenook.elastic.levels import Level, levels_of
from inglenook.elastic.shape import Shape
from inglenook.errors import NookError
from inglenook.kernels import pack

Array = np.ndarray
Codes = tuple[Array, Array, Array]
"""A matrix in 4 bits, as `pack.pack` takes it: q (rows, columns), scale and minimum (rows, columns // 32)."""
STEPS = 7
"""Of a low-rank map's values to either side: an error of a tenth in what is a correction."""


@dataclass
class Recipe:
    """The arrays by their names above, and the config."""

    config: dict[str, Any]
    arrays: dict[str, Array] = field(default_factory=dict)

    def save(self, out: Path) -> None:
        """Write the file, whole or not at all."""
        said = np.frombuffer(json.dumps(self.config, separators=(",", ":"), sort_keys=True).encode(), np.uint8)
        part = out.with_suffix(".part")
        with part.open("wb") as file:
            np.savez_compressed(file, **{"config": said, **self.arrays})  # type: ignore[arg-type]
        part.replace(out)

    @classmethod
    def load(cls, path: Path) -> Recipe:
        """Read a file. Raises NookError("model-missing" | "model-corrupt")."""
        if not path.is_file():
            raise NookError("model-missing", f"There is no recipe {path.name}.", "Check the path.")
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            return cls(json.loads(arrays.pop("config").tobytes()), arrays)
        except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise NookError("model-corrupt", f"{path.name} is damaged.", "Get it again.") from error

    def levels(self) -> tuple[Level, ...]:
        """The levels, the whole model first."""
        return levels_of(self.config)

    def placed(self, shape: Shape, layer: int, part: str, codes: Codes) -> Codes:
        """The rows, or the blocks of columns, of a layer's matrix as they stand in the recipe's order, nothing rounded.

        The down matrix's columns do not move in blocks: that one is `down`.
        """
        q, scale, minimum = codes
        queries, keys = channels(shape, self.arrays["groups"][layer])
        rows = {"ffn_gate": self.arrays["neurons"][layer], "ffn_up": self.arrays["neurons"][layer], "attn_q": queries,
                "attn_k": keys, "attn_v": keys}  # fmt: skip
        if part in rows:
            return q[rows[part]], scale[rows[part]], minimum[rows[part]]
        block = pack.BLOCK["q4"]
        if shape.group * shape.head % block:
            raise NookError("model-unsupported", "A key-value group is no multiple of 32 channels.", "")
        places = queries[::block] // block
        return q[:, queries], scale[:, places], minimum[:, places]

    def down(self, layer: int, weights: Array) -> tuple[str, Array]:
        """The format of a layer's down matrix and its float32 values in the recipe's order, from those of the file."""
        return "q8b" if self.arrays["fine"][layer] else "q4b", weights[:, self.arrays["neurons"][layer]]

    def bias(self, level: int, layer: int) -> Array:
        """float32 (width,): added after the FFN."""
        bias: Array = self.arrays[f"{level}.bias"][layer].astype(np.float32)
        return bias

    def low(self, level: int, part: str, layer: int) -> Codes | None:
        """The part "a" or "b" of a layer's low-rank map, or None where there is none."""
        name = f"{level}.down_{part}.{layer}"
        if name not in self.arrays:
            return None
        scale = self.arrays[f"{name}.scale"]
        return (self.arrays[name] + STEPS).astype(np.uint8), scale, scale * np.float16(-STEPS)


def channels(shape: Shape, groups: Array) -> tuple[Array, Array]:
    """Which channels (of queries, of keys) stand at each place when the key-value `groups` do."""

    def spread(width: int) -> Array:
        places: Array = (np.asarray(groups, np.int64)[:, None] * width + np.arange(width)).ravel()
        return places

    return spread(shape.group * shape.head), spread(shape.head)


def lowered(values: Array) -> tuple[Array, Array]:
    """(int8 of -STEPS..STEPS, scale) of float32 (rows, columns): each row of 32 columns has its own scale."""
    cut = values.reshape(len(values), -1, pack.BLOCK["q4"])
    digits, power = np.frexp(np.abs(cut).max(axis=2) / STEPS)
    scale = np.ldexp(np.rint(digits * 256) / 256, power).astype(np.float16)
    step = np.where(scale == 0, 1, scale).astype(np.float32)[..., None]
    return np.rint(cut / step).clip(-STEPS, STEPS).astype(np.int8).reshape(values.shape), scale


def raised(q: Array, scale: Array) -> Array:
    """What `lowered` gave, as float32 again."""
    values: Array = q.astype(np.float32) * np.repeat(scale.astype(np.float32), pack.BLOCK["q4"], axis=1)
    return values
