"""The flow behind a map: vectors out of storage, topics, their names, and every passage's place."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from inglenook.flow import Flow, Get, Pause
from inglenook.index import pages
from inglenook.index.entry import Entry
from inglenook.library import MODEL, Library
from inglenook.topics import kept, layout, names
from inglenook.topics.cluster import Cluster, Clusters
from inglenook.topics.drawn import MOST, Drawn, event
from inglenook.topics.places import by_place
from inglenook.wire import messages as wire

WAY = 1  # changes with what a map is made of and looks like: those in storage are of that way no more
POINTS = 20_000  # passages on a map; of more every so many is taken
LEARNT = 5_000  # passages that topics are made of; the others join the nearest
TYPICAL = 12  # passages of a topic that tell how its words are written
QUOTE = 280  # characters
SAYS = 80  # characters that say something; less may be a page number
READ = 64  # documents whose vectors are read at once
SLICE = 1_024  # passages placed without a pause


class Points(NamedTuple):
    """Passages, a row each: the entry's number, the ordinal, the vector (half precision)."""

    entries: list[Entry]
    entry: NDArray[np.intp]
    ordinal: NDArray[np.intp]
    vectors: NDArray[np.float16]


class Placed(NamedTuple):
    """Of each passage: its topic, how far it is from the middle of that, and on which side."""

    topic: NDArray[np.intp]
    distance: NDArray[np.float32]
    side: NDArray[np.float32]


def survey(library: Library, request: wire.Map) -> Flow:
    """Answer a Map. Events: Topics, Progress."""
    known = [entry for entry in library.entries.values() if entry.chunks]
    known.sort(key=lambda entry: entry.card.document)  # in whatever order they came, the map is the same
    learnt = [entry for entry in known if entry.card.vectors == len(entry.chunks)]
    state = _state(learnt)
    if learnt and (library.topics is None or library.topics[0] != state) and (before := (yield from kept.find(state))):
        library.topics = state, before
    if learnt and library.topics and library.topics[0] == state:
        yield library.topics[1]
        return
    yield by_place(known)
    if not learnt:
        return
    yield wire.Progress("map", 0, 0)
    points = yield from _read(library, _sampled(learnt))
    if not len(points.ordinal):
        return
    groups = min(MOST, round(len(points.ordinal) ** 0.37))
    step = -(-len(points.ordinal) // LEARNT)
    clusters: Clusters = yield Cluster(points.vectors[::step].astype(np.float32), groups)
    placed = yield from _place(points.vectors, clusters)
    drawn = yield from _drawn(library, points, placed, clusters)
    made = event("meaning", drawn, known)
    library.topics = state, made
    yield made
    yield from kept.keep(state, made)


def _state(entries: list[Entry]) -> str:
    """What a map is of: another library has another, and so does another way of making maps."""
    parts = sorted(f"{entry.card.document} {entry.digest}" for entry in entries)
    return hashlib.sha256("\n".join([f"map {WAY}", *parts]).encode()).hexdigest()


def _sampled(entries: list[Entry]) -> list[tuple[Entry, NDArray[np.intp]]]:
    """Documents and which of their passages are on the map: all, or every so many of all."""
    step = -(-sum(len(entry.chunks) for entry in entries) // POINTS)
    wanted, seen = [], 0
    for entry in entries:
        rows = np.arange(-seen % step, len(entry.chunks), step)
        seen += len(entry.chunks)
        if len(rows):
            wanted.append((entry, rows))
    return wanted


def _read(library: Library, wanted: list[tuple[Entry, NDArray[np.intp]]]) -> Flow:
    """The passages' vectors. Documents that go meanwhile are left out. Answer: `Points`."""
    found, ordinals, rows = [], [np.zeros(0, np.intp)], [np.zeros((0, 1), np.float16)]
    for start in range(0, len(wanted), READ):
        some = wanted[start : start + READ]
        read: list[bytes | None] = yield Get([f"v/{entry.card.document}" for entry, _ in some])
        far = yield from library.meaning.vectors(some)
        for (entry, ordinal), page, vectors in zip(some, read, far):
            if vectors is None and page is not None and not pages.elsewhere(page):
                space, near = pages.read_vectors(page)
                vectors = near[ordinal] if space == MODEL and len(near) == len(entry.chunks) else None
            if vectors is not None:
                found.append(entry)
                ordinals.append(ordinal)
                rows.append(vectors.astype(np.float16))
        yield wire.Progress("map", min(start + READ, len(wanted)), len(wanted), "documents")
        yield Pause()
    owners = np.repeat(np.arange(len(found)), [len(ordinal) for ordinal in ordinals[1:]])
    return Points(found, owners, np.concatenate(ordinals), np.concatenate(rows[min(1, len(found)) :]))


def _place(vectors: NDArray[np.float16], clusters: Clusters) -> Flow:
    """Every passage to the nearest middle. Answer: `Placed`."""
    middles = clusters.centres
    squares = np.square(middles).sum(axis=1)
    parts = []
    for start in range(0, len(vectors), SLICE):
        rows = vectors[start : start + SLICE].astype(np.float32)
        topic = (squares - 2 * rows @ middles.T).argmin(axis=1)
        away = rows - middles[topic]
        parts.append((topic, np.linalg.norm(away, axis=1), away @ clusters.plane.T))
        yield Pause()
    return Placed(*(np.concatenate(part) for part in zip(*parts)))


def _drawn(library: Library, points: Points, placed: Placed, clusters: Clusters) -> Flow:
    """Topics in the order of their size, with names and a quote, and the points on them. Answer: `Drawn`."""
    order, sizes = np.unique(placed.topic, return_counts=True)
    biggest = np.argsort(-sizes, kind="stable")
    order, sizes = order[biggest], sizes[biggest]
    renamed = np.full(len(clusters.centres), -1)
    renamed[order] = np.arange(len(order))
    topic = renamed[placed.topic]
    centres, radii = layout.discs(clusters.centres[order] @ clusters.plane.T, sizes)
    where = np.empty((len(topic), 2))
    for t, centre in enumerate(centres):
        mine = np.flatnonzero(topic == t)
        where[mine] = centre + layout.scatter(placed.side[mine], placed.distance[mine])
        yield Pause()
    spans = list(_spans(points))
    near = np.lexsort((placed.distance, topic))
    typical = [near[topic[near] == t][:TYPICAL] for t in range(len(order))]
    quoted = yield from library.quotes([spans[i] for some in typical for i in some])
    texts = iter(quoted)
    told = [[text for text in (next(texts) for _ in some) if text] for some in typical]
    run, ids = library.lexical.whole()
    yield Pause()
    # By id; the last place is for what was removed, whose id is -1.
    of = np.full(max(int(ids.max(initial=-1)), *(int(e.ids[-1]) for e in points.entries)) + 2, -1)
    of[[points.entries[entry].first + row for entry, row in zip(points.entry.tolist(), points.ordinal.tolist())]] = (
        topic
    )
    found: names.Candidates = yield from names.candidates(run, of[ids], len(order))
    written = []
    for some in told:
        written.append(names.written(some))
        yield Pause()
    words = names.chosen(found, written)
    topics = [
        wire.Topic(name, int(size), float(x), float(y), float(radius), _begun(some))
        for name, size, (x, y), radius, some in zip(words, sizes, centres, radii, told)
    ]
    return Drawn(topics, spans, points.ordinal, topic, where)


def _spans(points: Points) -> Iterator[tuple[Entry, int, int]]:
    for n, row in zip(points.entry.tolist(), points.ordinal.tolist()):
        entry = points.entries[n]
        chunk = entry.chunks[row]
        yield entry, chunk.start, chunk.end


def _begun(texts: list[str]) -> str:
    """How the most typical passage begins, to the end of a word."""
    flat = [" ".join(text.split()) for text in texts]
    text = next((text for text in flat if len(text) >= SAYS), flat[0] if flat else "")
    return text if len(text) <= QUOTE else f"{text[:QUOTE].rsplit(' ', 1)[0]} …"
