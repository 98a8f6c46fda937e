"""Finding passages: words and meaning, each searched on its own, then fused."""

from __future__ import annotations

import time

import numpy as np

from inglenook.embed import hashing
from inglenook.flow import Begin, Encode, Finish, Flow
from inglenook.library import HASH, MODEL, Library
from inglenook.search import cite, hybrid
from inglenook.types import Filter, Hit
from inglenook.wire import messages as wire

AHEAD = 40  # passages behind the hits whose texts are read when the hits are out: the next key may bring them up
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
    started = time.perf_counter()
    query = query[:LONGEST].strip()
    allow = library.allow(wanted)
    depth = max(hybrid.DEPTH, k)
    arms: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    embed_ms = 0.0
    encoding = None
    begun = time.perf_counter()
    if query and mode != "lexical" and "encoder" in library.tokenizers and library.spaces[MODEL].count:
        tokens = library.tokenizers["encoder"].encode(query)
        encoding = yield Begin(Encode([tokens], urgent=True))  # words are searched while it is under way
    if query and mode != "vector":
        arms["lexical"] = library.lexical.search(query, depth, allow)
    if query and mode != "lexical" and library.spaces[HASH].count:
        arms["hash"] = library.spaces[HASH].knn_query(hashing.embed([query])[0], depth, allow)
    if encoding is not None:
        [vector] = yield Finish(encoding)
        embed_ms = (time.perf_counter() - begun) * 1e3
        arms["vector"] = library.spaces[MODEL].knn_query(vector, depth, allow)
    ids, scores = hybrid.fuse(arms, k + AHEAD)
    later = [library.locate(i) for i in ids[k:].tolist()]
    hits = yield from _hits(library, query, ids[:k], scores[:k], arms)
    return wire.Hits(hits, list(arms), (time.perf_counter() - started) * 1e3, embed_ms), later


def _hits(library: Library, query: str, ids: np.ndarray, scores: np.ndarray, arms: dict) -> Flow:  # type: ignore[type-arg]
    parts = {arm: dict(zip(found.tolist(), values.tolist(), strict=True)) for arm, (found, values) in arms.items()}
    semantic = {**parts.get("hash", {}), **parts.get("vector", {})}
    placed = [(*library.locate(i), i, score) for i, score in zip(ids.tolist(), scores.tolist(), strict=True)]
    chunks = [entry.chunks[ordinal] for entry, ordinal, *_ in placed]
    passages = yield from library.quotes([(entry, c.start, c.end) for (entry, *_), c in zip(placed, chunks)])
    hits = []
    for (entry, ordinal, i, score), chunk, passage in zip(placed, chunks, passages, strict=True):
        card = entry.card
        if passage is None:  # removed in another tab a moment ago
            continue
        hits.append(
            Hit(
                card.document, ordinal, card.path, card.title, card.collection, card.type, chunk.start, chunk.end,
                chunk.page, chunk.heading, passage, score, parts.get("lexical", {}).get(i), semantic.get(i),
                tuple(cite.marks(query, passage, chunk.start)),
            )
        )  # fmt: skip
    return hits
