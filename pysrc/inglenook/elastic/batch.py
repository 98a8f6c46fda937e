"""One token each of several requests in one pass over the weights, which a decoding model reads whole for every pass
(iteration-level batching: Orca, Yu et al., OSDI 2022, section 3.2).

Each gets the bits that it gets alone, so whether passes went together shows in nothing that is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from inglenook.flow import Candidates, Effect, Forward

MOST = 8
"""Passes that go together at most: the kernel's tiles are full then, and a pass takes two to three times as long."""


def kind(effect: Effect) -> tuple[int, int] | None:
    """Passes of one kind may go together; None: this one goes alone."""
    if isinstance(effect, Forward) and len(effect.tokens) == effect.each == 1 and effect.pages:
        return effect.level, effect.top
    return None


@dataclass(frozen=True)
class Batch:
    """Passes of one kind as a kernel takes them: int32 `tokens`, `places` and `masked` (n,), page `tables` (n, most
    pages of one), filled up with -1; `allow` uint8 (n, bytes), which counts for the `masked`."""

    level: int
    top: int
    tokens: np.ndarray
    places: np.ndarray
    tables: np.ndarray
    masked: np.ndarray
    allow: np.ndarray

    @classmethod
    def of(cls, passes: Sequence[Forward]) -> Batch:
        count = len(passes)
        tables = np.full((count, max(len(one.pages) for one in passes)), -1, np.int32)
        masked = np.array([one.allow is not None for one in passes], np.int32)
        allow = np.zeros((count, max(len(one.allow or b"") for one in passes)), np.uint8)
        for n, one in enumerate(passes):
            tables[n, : len(one.pages)] = one.pages
            if one.allow is not None:
                allow[n, : len(one.allow)] = np.frombuffer(one.allow, np.uint8)
        tokens = np.array([one.tokens[0] for one in passes], np.int64).clip(-1, 2**31 - 1).astype(np.int32)
        places = np.array([one.at for one in passes], np.int32)
        return cls(passes[0].level, passes[0].top, tokens, places, tables, masked, allow)


def answers(together: Candidates) -> list[Candidates]:
    """What each is answered, of the rows of all."""
    return [together.row(n) for n in range(len(together.ids))]
