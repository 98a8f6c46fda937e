"""Finding passages: words and meaning, each searched on its own, then fused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from inglenook import clock
from inglenook.embed import hashing
from inglenook.flow import Begin, Encode, Finish, Flow
from inglenook.index.entry import Entry
from inglenook.library import Library
from inglenook.search import cite, hybrid
from inglenook.types import Filter, Hit, Span
from inglenook.wire import messages as wire

AHEAD = 40  # passages behind the hits whose texts are read when the hits are out: the next key may bring them up
Arms = dict[str, tuple[NDArray[np.int64], NDArray[np.float32]]]
"""Ids and scores, best first, by arm."""

LONGEST = 2_000  # characters of a query that are searched; nobody's question is longer, pasted text may be


def search(library: Library, request: wire.Search) -> Flow:
    """Answer a Search. Events: Hits."""
    hits, later = yield from _find(library, request.query, request.k, request.filter, request.mode)
    yield hits
    yield from library.ahead(later)


def find(library: Library, query: str, k: int, wanted: Filter, mode: str = "hybrid") -> Flow:
    """The `k` best passages as a Hits event; scores are fused, the parts are kept beside them."""
    hits, _ = yield from _find(library, query, k, wanted, mode)
    return hits


def _find(library: Library, query: str, k: int, wanted: Filter, mode: str) -> Flow:
    """The Hits, and the passages that come after them."""
    started = clock.now()
    query = query[:LONGEST].strip()
    allow = library.allow(wanted)
    depth = max(hybrid.DEPTH, k)
    arms: Arms = {}
    embed_ms = 0.0
    encoding = None
    begun = clock.now()
    if query and mode != "lexical" and "encoder" in library.tokenizers and library.meaning.count:
        tokens = library.tokenizers["encoder"].encode(query)
        encoding = yield Begin(Encode([tokens], urgent=True))  # words are searched while it is under way
    if query and mode != "vector":
        arms["lexical"] = library.lexical.search(query, depth, allow)
    if query and mode != "lexical" and library.hashed.count:
        arms["hash"] = library.hashed.knn_query(hashing.embed([query])[0], depth, allow)
    if encoding is not None:
        [vector] = yield Finish(encoding)
        embed_ms = clock.since(begun)
        arms["vector"] = yield from library.meaning.nearest(vector, depth, allow)
    ids, scores = hybrid.fuse(arms, k + AHEAD, unseen=_unseen(library, arms))
    later = [place for i in ids[k:].tolist() if (place := library.locate(i))]
    quoted = yield from _quote(library, query, ids[:k].tolist())
    hits = list(_hits(library, ids[:k], scores[:k], arms, quoted))
    return wire.Hits(hits, list(arms), clock.since(started), embed_ms), later


def _unseen(library: Library, arms: Arms) -> dict[str, list[int]]:
    """Passages that words found and the model has not embedded yet."""
    if "vector" not in arms or "lexical" not in arms or library.meaning.count >= len(library.lexical):
        return {}
    places = ((i, library.locate(i)) for i in arms["lexical"][0].tolist())
    return {"vector": [i for i, place in places if place and not place[0].card.vectors]}


class _Quote(NamedTuple):
    """A passage, and which of its words match."""

    entry: Entry
    ordinal: int
    text: str
    marks: tuple[Span, ...]


def _quote(library: Library, query: str, ids: list[int]) -> Flow:
    """Passages by id; without those that were replaced or removed a moment ago."""
    placed = {i: place for i in ids if (place := library.locate(i))}
    chunks = [entry.chunks[ordinal] for entry, ordinal in placed.values()]
    texts = yield from library.quotes([(entry, c.start, c.end) for (entry, _), c in zip(placed.values(), chunks)])
    return {
        i: _Quote(*place, text, tuple(cite.marks(query, text, chunk.start)))
        for (i, place), chunk, text in zip(placed.items(), chunks, texts)
        if text is not None
    }


def _hits(
    library: Library, ids: NDArray[np.int64], scores: NDArray[np.float32], arms: Arms, quoted: dict[int, _Quote]
) -> Iterator[Hit]:
    parts = {arm: dict(zip(found.tolist(), values.tolist(), strict=True)) for arm, (found, values) in arms.items()}
    semantic = {**parts.get("hash", {}), **parts.get("vector", {})}
    lexical = parts.get("lexical", {})
    for i, score in zip(ids.tolist(), scores.tolist(), strict=True):
        if (quote := quoted.get(i)) and library.entries.get(quote.entry.card.document) is quote.entry:
            entry, ordinal, text, marks = quote
            card, chunk = entry.card, entry.chunks[ordinal]
            yield Hit(
                card.document, ordinal, card.path, card.title, card.collection, card.type, chunk.start, chunk.end,
                chunk.page, chunk.heading, text, score, lexical.get(i), semantic.get(i), marks,
            )  # fmt: skip
