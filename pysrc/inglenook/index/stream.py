"""A build from a stream: chunks of vectors come one after the other, and nobody knows how many there will be.

Each chunk is stored before the next is asked for, and then how many vectors of the stream that makes: after a reload
its source is told where to go on. A chunk that was stored while its number was not is put again, under the same ids.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from inglenook.errors import NookError
from inglenook.flow import Flow, Get
from inglenook.index import given, pages
from inglenook.index.collection import Collection
from inglenook.wire.messages import Progress

Chunk = ArrayLike | tuple[Any, ...]
"""Vectors (n, dim); or (vectors, ids); or (vectors, ids, metadata), as `Index.add_items` takes them."""


class Stream:
    """A stream into a collection, told from others by its `name`. `taken`: how many of its vectors are stored."""

    def __init__(self, collection: Collection, name: str = "") -> None:
        self._collection, self._name = collection, name
        self._first = self.taken = 0

    def begin(self) -> Flow:
        """See how far it is."""
        told = yield from self._told()
        self._first, self.taken = told.get(self._name, (self._collection.highest + 1, 0))

    def take(self, chunk: Chunk) -> Flow:
        """Store what comes next. Without ids, vectors are numbered on from where the stream began. Events: Progress.
        NookError as `Collection.add`; what was taken before stays."""
        data, ids, metadata = _parts(chunk)
        vectors, labels = given.labelled(data, ids, self._first + self.taken - 1)
        if len(vectors):
            if not self.taken:
                yield from self._note(0)  # where it began
            yield from self._collection.add(vectors, labels, metadata)
            yield from self._note(self.taken + len(vectors))
        yield Progress("add", self.taken, 0, "vectors", self._name)

    def _note(self, taken: int) -> Flow:
        """Store how far it is."""
        collection = self._collection
        while collection.durable:
            told = (yield from self._told()) | {self._name: (self._first, taken)}
            page = pages.seal(json.dumps(told).encode())
            try:
                yield from collection.note({collection.keys.taken: page})
                break
            except NookError as error:
                if error.code != "conflict":  # another tab was faster
                    raise
                yield from collection.refresh()
        self.taken = taken

    def _told(self) -> Flow:
        """Where streams began and how far they are, by name."""
        if not self._collection.durable:
            return {}
        [page] = yield Get([self._collection.keys.taken])
        try:
            return {name: (first, taken) for name, (first, taken) in json.loads(pages.unseal(page or b"")).items()}
        except (NookError, ValueError, TypeError, AttributeError):
            return {}  # not there, or damaged: it is asked for from the start


def rest(chunk: Chunk, skip: int) -> tuple[Chunk, int]:
    """A chunk without its first `skip` vectors, and how many more are to be skipped after it: for sources that cannot
    begin anywhere."""
    if not skip:
        return chunk, 0
    data, ids, metadata = _parts(chunk)
    vectors = np.atleast_2d(np.asarray(data))
    if isinstance(metadata, Mapping):
        metadata = {name: column[skip:] for name, column in metadata.items()}
    elif metadata is not None:
        metadata = metadata[skip:]
    labels = None if ids is None else np.asarray(ids).reshape(-1)[skip:]
    return (vectors[skip:], labels, metadata), max(0, skip - len(vectors))


def _parts(chunk: Chunk) -> tuple[ArrayLike, ArrayLike | None, Any]:
    if not isinstance(chunk, tuple):
        return chunk, None, None
    if not 1 <= len(chunk) <= 3:
        message = f"A chunk is vectors, and perhaps ids and metadata; not {len(chunk)} things."
        raise NookError("bad-shape", message, "Yield vectors, (vectors, ids) or (vectors, ids, metadata).")
    data, ids, metadata = (*chunk, None, None)[:3]
    return data, ids, metadata
