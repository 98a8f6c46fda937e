"""What inverted lists consist of: centroids, which rows are whose, their codes, and how hard to look. `ivf` asks it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from inglenook.errors import NookError
from inglenook.index.codes import Floats, Rotation
from inglenook.index.kmeans import Centroids
from inglenook.index.rabitq import TAIL, Coded, Int32s, firsts

VERSION = 1
SPACES = ("ip", "l2", "cosine")


@dataclass(frozen=True)
class Dials:
    """How hard to look: the share of rows to see and the rows to confirm, for 10 neighbours of the recall wanted."""

    share: float = 1.0
    want: int = 100


class Inverted:
    """Inverted lists over `ntotal` vectors, as arrays. What is public may be read and not changed, but for `dials`."""

    def __init__(
        self, *, dim: int, space: str, rotation: Rotation, mean: Floats, centroids: Centroids, start: Int32s,
        permutation: NDArray[np.int64], coded: Coded, dials: Dials = Dials(), plain: bool = False,
    ) -> None:  # fmt: skip
        self.dim, self.space, self.rotation, self.mean = dim, space, rotation, mean
        self.centroids, self.start, self.permutation, self.coded = centroids, start, permutation, coded
        self.dials, self.first = dials, firsts(start)
        spread = coded.spread
        offset = -(spread**2) - centroids.squares if space == "l2" else np.zeros_like(spread)
        self.centres = np.stack([centroids.spacing, centroids.squares, offset, spread], 1).astype(np.float32)
        self._plain = plain

    @property
    def ntotal(self) -> int:
        """How many vectors there are."""
        return int(self.start[-1])

    @property
    def nlist(self) -> int:
        """How many lists there are."""
        return len(self.start) - 1

    @property
    def block_bytes(self) -> int:
        """Bytes of a block of codes (`BLOCK` rows)."""
        return 4 * self.rotation.width + TAIL

    @property
    def memory(self) -> int:
        """Bytes held, attached vectors not counted."""
        more = self.centres.nbytes + self.first.nbytes + self.rotation.signs.nbytes
        return sum(array.nbytes for array in self.arrays().values()) + more

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything, as arrays; "blocks", "fine" and "permutation" are those that grow with the rows."""
        coded, centroids = self.coded, self.centroids
        numbers = [VERSION, self.dim, SPACES.index(self.space), self.dials.want]
        held: dict[str, NDArray[Any] | None] = {
            "numbers": np.array(numbers, np.int32),
            "dials": np.array([self.dials.share, coded.noise, coded.fine_noise], np.float64),
            "mean": self.mean, "bits": self.rotation.bits, "start": self.start, "permutation": self.permutation,
            "centroids": centroids.codes, "spacing": centroids.spacing, "squares": centroids.squares,
            "factors": coded.factors, "spread": coded.spread, "blocks": coded.blocks, "fine": coded.fine,
        }  # fmt: skip
        return {name: array for name, array in held.items() if array is not None}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], *, plain: bool = False) -> Self:
        """An index of what `arrays` gave. Without "blocks" it answers `lists` and `scan`, without "fine" less exactly,
        and "permutation" it never needs."""
        version, dim, space, want = arrays["numbers"].tolist()
        if version > VERSION:
            raise NookError("newer-format", "This index was written by a newer Inglenook.", "Update Inglenook.")
        share, noise, fine_noise = arrays["dials"].tolist()
        coded = Coded(arrays.get("blocks"), arrays.get("fine"), arrays["factors"], arrays["spread"], noise, fine_noise)
        return cls(
            dim=dim, space=SPACES[space], rotation=Rotation(dim, bits=arrays["bits"]), mean=arrays["mean"],
            centroids=Centroids(arrays["centroids"], arrays["spacing"], arrays["squares"]), start=arrays["start"],
            permutation=arrays.get("permutation", np.zeros(0, np.int64)), coded=coded, dials=Dials(share, want),
            plain=plain,
        )  # fmt: skip
