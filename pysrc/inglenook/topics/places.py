"""Documents by collection and folder: the map that needs no vectors."""

from __future__ import annotations

import numpy as np

from inglenook.index.entry import Entry
from inglenook.topics import layout
from inglenook.topics.drawn import MOST, Drawn, event
from inglenook.wire import messages as wire


def by_place(entries: list[Entry]) -> wire.Topics:
    """A disc for each collection and folder in it, the smallest on one; a document a point, by title."""
    groups: dict[tuple[str, str], list[Entry]] = {}
    for entry in sorted(entries, key=lambda entry: (entry.card.title or entry.card.path, entry.card.document)):
        folder = entry.card.path.rpartition("/")[0].partition("/")[0]
        groups.setdefault((entry.card.collection, folder), []).append(entry)
    ranked = sorted(groups.items(), key=lambda group: (-len(group[1]), group[0]))
    kept = [([folder or collection], some) for (collection, folder), some in ranked[: MOST - 1]]
    if rest := [entry for _, some in ranked[MOST - 1 :] for entry in some]:
        kept.append((["other"], rest))
    if not kept:
        nothing = np.zeros(0, np.intp)
        return event("place", Drawn([], [], nothing, nothing, np.zeros((0, 2))), entries)
    sizes = np.array([len(some) for _, some in kept], np.intp)
    topic = np.repeat(np.arange(len(kept)), sizes)
    centres, radii = layout.discs(layout.spiral(len(kept)), sizes)
    where = np.concatenate(
        [c + layout.scatter(layout.spiral(n), np.arange(n)) for c, n in zip(centres, sizes.tolist())]
    )
    topics = [
        wire.Topic(words, len(some), float(x), float(y), float(radius))
        for (words, some), (x, y), radius in zip(kept, centres, radii)
    ]
    spans = [(entry, 0, 0) for _, some in kept for entry in some]
    return event("place", Drawn(topics, spans, np.zeros(len(spans), np.intp), topic, where), entries)
