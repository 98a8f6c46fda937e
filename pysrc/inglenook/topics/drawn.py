"""A map as it is drawn, and as the event that carries it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from inglenook.index.entry import Entry
from inglenook.wire import messages as wire

MOST = 24  # topics of a map


class Drawn(NamedTuple):
    """Topics, and of each point: the document and its characters, the ordinal, the topic's number, where it lies."""

    topics: list[wire.Topic]
    spans: list[tuple[Entry, int, int]]
    chunk: NDArray[np.intp]
    topic: NDArray[np.intp]
    where: NDArray[np.floating]


def event(by: str, drawn: Drawn, entries: list[Entry]) -> wire.Topics:
    """The map of a library of `entries`, as a message."""
    documents = list(dict.fromkeys(entry.card.document for entry, _, _ in drawn.spans))
    number = {document: n for n, document in enumerate(documents)}
    rows = [(number[entry.card.document], start, end) for entry, start, end in drawn.spans]
    document, start, end = np.array(rows, "<u4").reshape(-1, 3).T
    x, y = drawn.where.astype("<f4").T
    return wire.Topics(
        by,
        drawn.topics,
        documents,
        sum(len(entry.chunks) for entry in entries),
        sum(len(entry.chunks) - entry.card.vectors for entry in entries),
        document.tobytes(),
        drawn.chunk.astype("<u4").tobytes(),
        start.tobytes(),
        end.tobytes(),
        drawn.topic.astype("<u2").tobytes(),
        x.tobytes(),
        y.tobytes(),
    )
