"""The first operation of a pass whose result differs: what comes after it only inherits the difference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Difference:
    """`kind` is the operation's name without its layer, `at` the first position that differs."""

    name: str
    kind: str
    at: int
    text: str


def first_difference(
    found: Mapping[str, np.ndarray], wanted: Mapping[str, np.ndarray], slack: float
) -> Difference | None:
    """Go through the operations in the order of the plain pass, (positions, …) each; None where all are near."""
    for name, right in wanted.items():
        if name not in found:
            continue
        kind, got = name.split(".", 1)[-1], found[name]
        if got.shape != right.shape:
            return Difference(name, kind, 0, f"{name} has the shape {got.shape}, not {right.shape}.")
        size = max(float(right.std()), 1e-6)
        far = np.abs(got - right).reshape(len(right), -1).max(axis=1) / size
        bad = np.flatnonzero(~(far <= slack))
        if len(bad):
            at = int(bad[0])
            text = f"The first operation that differs is {name}, at position {at} by {far[at]:.3g} deviations."
            return Difference(name, kind, at, text)
    return None
