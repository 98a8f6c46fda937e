"""What was deleted and may still come back."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from inglenook.index.head import Head
from inglenook.index.segment import Segment

Ids = NDArray[np.int64]


class Graves:
    """Ids, and where their vectors lie."""

    def __init__(self) -> None:
        self._dug: list[tuple[Head | Segment, Ids, NDArray[np.int32]]] = []  # ids ascending; row -1: no longer

    @property
    def nbytes(self) -> int:
        return sum(ids.nbytes + rows.nbytes + 200 for _, ids, rows in self._dug)

    def dig(self, part: Head | Segment, ids: Ids, rows: NDArray[np.int32]) -> None:
        """Rows of a part have died, of so many ids."""
        if len(ids):
            order = np.argsort(ids)
            self._dug.append((part, ids[order], rows[order]))

    def find(self, id_: int) -> tuple[Head | Segment, int] | None:
        """Where the vector of an id lies that may come back."""
        for part, ids, rows in reversed(self._dug):
            at = int(np.searchsorted(ids, id_))
            if at < len(ids) and ids[at] == id_ and rows[at] >= 0:
                return part, int(rows[at])
        return None

    def close(self, ids: Ids) -> None:
        """Ids that are back or have new vectors: the old ones do not come back."""
        for _, known, rows in self._dug:
            rows[np.isin(known, ids)] = -1
