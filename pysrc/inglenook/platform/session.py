"""What an ONNX session is on every platform: its tensors' types, and the face the two runtimes are put behind."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

DTYPES: dict[str, np.dtype[Any]] = {
    "tensor(float)": np.dtype(np.float32),
    "tensor(double)": np.dtype(np.float64),
    "tensor(float16)": np.dtype(np.float16),
    "tensor(int8)": np.dtype(np.int8),
    "tensor(int16)": np.dtype(np.int16),
    "tensor(int32)": np.dtype(np.int32),
    "tensor(int64)": np.dtype(np.int64),
    "tensor(uint8)": np.dtype(np.uint8),
    "tensor(uint16)": np.dtype(np.uint16),
    "tensor(uint32)": np.dtype(np.uint32),
    "tensor(uint64)": np.dtype(np.uint64),
    "tensor(bool)": np.dtype(np.bool_),
}
"""onnxruntime's names of element types and the numpy types that hold them."""

Model = bytes | str | os.PathLike[str]
Report = Callable[[float, float], None]
"""Hears how much of how much has come; of 0 where that is not known."""


@dataclass(frozen=True, slots=True)
class NodeArg:
    """An input or output. `type` is a key of DTYPES; a dimension is a number, a name, or None if it is not known."""

    name: str
    type: str
    shape: list[int | str | None]


class Backend(Protocol):
    """A session of one platform."""

    inputs: list[NodeArg]
    outputs: list[NodeArg]
    providers: list[str]

    def run(self, outputs: list[str], feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        """Run and wait."""

    async def run_async(self, outputs: list[str], feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        """Run without keeping others from running."""

    def close(self) -> None:
        """Free the memory."""
