"""Write-ahead batches: what was added and deleted since the head last became a segment. A batch is a page; it is
committed before the change is acknowledged, and opening repeats the batches in order."""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from inglenook.errors import NookError
from inglenook.index import pages
from inglenook.index.form import Raw
from inglenook.index.table import Table, unpacked

Ids = NDArray[np.int64]

_HEAD = struct.Struct("<IIII")  # added, gone, back, bytes of a row
_NONE: Ids = np.empty(0, np.int64)


class Batch(NamedTuple):
    """In this order: `gone` ids are deleted, `back` ids are what they were before, `ids` get the vectors `rows`; and
    `facts` tell of ids what they tell (None: nothing of `ids`)."""

    ids: Ids
    rows: Raw
    gone: Ids = _NONE
    back: Ids = _NONE
    facts: Table | None = None

    def page(self) -> bytes:
        head = _HEAD.pack(len(self.ids), len(self.gone), len(self.back), self.rows.shape[1])
        columns = (self.ids.astype("<i8"), self.gone.astype("<i8"), self.back.astype("<i8"), self.rows)
        facts = b"" if self.facts is None else self.facts.pack()
        return pages.seal(head + b"".join(column.tobytes() for column in columns) + facts)


def read(page: bytes, width: int) -> Batch:
    """A batch whose rows have `width` bytes. NookError("corrupt")."""
    payload = pages.unseal(page)
    try:
        added, gone, back, bytes_each = _HEAD.unpack_from(payload)
        ids = np.frombuffer(payload, "<i8", added + gone + back, _HEAD.size).astype(np.int64)
        at = _HEAD.size + ids.nbytes
        rows = np.frombuffer(payload, np.uint8, added * bytes_each, at).reshape(added, bytes_each)
        at += rows.nbytes
        facts = unpacked(payload[at:]) if at < len(payload) else None
        if bytes_each != width:
            raise ValueError(f"rows of {bytes_each} bytes")
    except (struct.error, ValueError) as error:
        message = f"A batch of an index's journal cannot be read ({error})."
        raise NookError("corrupt", message, "Add its vectors again.") from None
    return Batch(ids[:added], rows, ids[added : added + gone], ids[added + gone :], facts)
