"""Levels: how much of each layer takes part, from the whole model down. A smaller one is a prefix of the same weights
(ELMS, 2409.09071, section 3.1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from inglenook.elastic.shape import Shape
from inglenook.types import Json

UNIT = 32
"""FFN neurons and ranks come in multiples of this."""


@dataclass(frozen=True, slots=True)
class Level:
    """For each layer the active FFN neurons (`hidden`) and key-value groups with their query heads.

    `ratio` is the share of the weights of attention and FFN that is active, `rank` that of the product that makes up
    for the rest, `perplexity` what was measured on held-out text.
    """

    ratio: float
    hidden: tuple[int, ...]
    groups: tuple[int, ...]
    rank: int = 0
    perplexity: float | None = None

    def json(self) -> Json:
        """As it stands in an artifact's `config["levels"]`."""
        return {
            "ratio": self.ratio, "hidden": list(self.hidden), "groups": list(self.groups), "rank": self.rank,
            "perplexity": self.perplexity,
        }  # fmt: skip


def whole(layers: int, hidden: int, groups: int, perplexity: float | None = None) -> Level:
    """Level 0: everything."""
    return Level(1.0, (hidden,) * layers, (groups,) * layers, 0, perplexity)


def levels_of(config: Json) -> tuple[Level, ...]:
    """The levels that an artifact's `config` tells of, the whole model first."""
    said: Any = config.get("levels")
    if not said:
        sizes: Any = config
        return (whole(int(sizes["layers"]), int(sizes["hidden"]), int(sizes["kv_heads"])),)
    return tuple(
        Level(float(one["ratio"]), tuple(map(int, one["hidden"])), tuple(map(int, one["groups"])),
              int(one.get("rank", 0)), one.get("perplexity"))
        for one in said
    )  # fmt: skip


def smallest(config: Json) -> int:
    """The number of the smallest level; 0 where there is only the whole model."""
    said: Any = config.get("levels") or [None]
    return len(said) - 1


def ratio(shape: Shape, hidden: Sequence[int], groups: Sequence[int]) -> float:
    """The share of the weights of attention and FFN that is active. A neuron has 3 * width of them (gate, up, down); a
    key-value group has its key, its value and the query and output of its `group` heads of `head` channels."""
    neuron, shared = 3 * shape.width, 2 * shape.width * shape.head * (1 + shape.group)
    active = neuron * sum(hidden) + shared * sum(groups)
    return active / (shape.layers * (neuron * shape.hidden + shared * shape.kv_heads))


def words(levels: Sequence[Level]) -> list[int]:
    """The levels as the kernel takes them among its `words`: how many, then rank, hidden and groups of each."""
    return [len(levels), *chain.from_iterable((one.rank, *one.hidden, *one.groups) for one in levels)]
