"""A model cut into stages of about equal bytes: neighbouring layers, the embedding and the head counted with them.

    cut(checkpoint, 4)     # [Part(0, 7, embeds=True), Part(7, 15), Part(15, 23), Part(23, 30, heads=True)]

HydraServe (2502.15524) balances memory greedily. The largest stage decides the time to the first token, and a tied
embedding is in the first stage and in the last: so we take the best of all cuts, by dynamic programming.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from itertools import pairwise
from typing import Any

from inglenook.errors import NookError
from inglenook.fleet.weights import Checkpoint, part_names


@dataclass(frozen=True, slots=True)
class Part:
    """Layers `first` to `last` (not itself) of a model; with its embedding, with its head."""

    first: int
    last: int
    embeds: bool = False
    heads: bool = False

    def names(self, checkpoint: Checkpoint) -> list[str]:
        """The tensors it needs, in the order it needs them."""
        return part_names(self.first, self.last, embeds=self.embeds, heads=self.heads, tied=checkpoint.tied)

    def size(self, checkpoint: Checkpoint) -> int:
        """Their bytes in the file."""
        places = (checkpoint.places[name] for name in self.names(checkpoint))
        return sum(place.end - place.start for place in places)

    def told(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


def cut(checkpoint: Checkpoint, degree: int) -> list[Part]:
    """`degree` parts, the largest as small as can be. NookError("stages") if the model has fewer layers than that."""
    layers = checkpoint.shape.layers
    if not 1 <= degree <= layers:
        raise NookError("stages", f"A model of {layers} layers makes no {degree} stages.", f"Ask for 1 to {layers}.")
    each = [Part(i, i + 1).size(checkpoint) for i in range(layers)]
    first, last = Part(0, 0, embeds=True).size(checkpoint), Part(0, 0, heads=True).size(checkpoint)
    each[0] += first
    each[-1] += last
    borders = [0, *partition(each, degree)]
    return [Part(start, end, embeds=start == 0, heads=end == layers) for start, end in pairwise(borders)]


def partition(sizes: Sequence[int], parts: int) -> list[int]:
    """Where each of `parts` non-empty runs of `sizes` ends, so that the largest sum is least; of equals, those more
    alike."""
    total = [0]
    for size in sizes:
        total.append(total[-1] + size)

    @cache
    def best(start: int, left: int) -> tuple[int, int, tuple[int, ...]]:
        """(largest, squares, ends) of the runs from `start` on."""
        if left == 1:
            run = total[-1] - total[start]
            return run, run**2, (len(sizes),)
        found = []
        for end in range(start + 1, len(sizes) - left + 2):
            run, (largest, squares, ends) = total[end] - total[start], best(end, left - 1)
            found.append((max(run, largest), run**2 + squares, (end, *ends)))
        return min(found)

    return list(best(0, parts)[2])


def missing(part: Part, layers: int) -> list[Part]:
    """What a worker that has `part` lacks of the whole model of `layers` layers: what lies before, and after."""
    before = [] if part.embeds else [Part(0, part.first, embeds=True)]
    after = [] if part.heads else [Part(part.last, layers, heads=True)]
    return before + after
