"""A weight matrix that is multiplied again and again.

On a processor it is kept in oneDNN's blocked layout, which saves packing it in every product. Elsewhere, and where this
torch lacks the operators, it is a plain tensor.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

ROWS = 16  # the layout is chosen for products of so many rows


class Matrix:
    """x @ weight.T, of a `weight` (outputs, inputs) that does not change any more."""

    def __init__(self, weight: Tensor) -> None:
        self._weight = weight
        self._packed = weight.device.type == "cpu" and weight.dtype == torch.float32 and _packs()
        if self._packed:
            self._weight = torch.ops.mkldnn._reorder_linear_weight(weight, ROWS)

    def __call__(self, x: Tensor) -> Tensor:
        """The product, (rows, outputs)."""
        if self._packed:
            return torch.ops.mkldnn._linear_pointwise(x, self._weight, None, "none", [], "")
        return functional.linear(x, self._weight)


def _packs() -> bool:
    names = ("_reorder_linear_weight", "_linear_pointwise")
    return torch.backends.mkldnn.is_available() and all(hasattr(torch.ops.mkldnn, name) for name in names)
