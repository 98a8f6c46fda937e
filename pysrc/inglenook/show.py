"""Showing what is there: the list, the counts, and a source around a span, a PDF page drawn with the span marked."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import replace

from inglenook.errors import NookError
from inglenook.flow import Flow, Get, Load, Measure
from inglenook.index import pages
from inglenook.library import Library
from inglenook.types import Document
from inglenook.wire import messages as wire

WINDOW = 100_000  # characters of a long text that are shown around the span


def show(library: Library, request: wire.Show) -> Flow:
    """Events: Source."""
    entry = library.entry(request.document)
    card = entry.card
    text = (yield from library.text(card.document)) or ""
    start = max(0, min(request.start, len(text)))
    end = max(start, min(request.end, len(text)))
    if not entry.pages:
        offset = max(0, start - WINDOW // 2) if len(text) > WINDOW else 0
        yield wire.Source(card, text[offset : offset + WINDOW], offset, start, end)
        return
    page = max(1, bisect_right(entry.pages, start))
    offset = entry.pages[page - 1]
    stop = entry.pages[page] if page < len(entry.pages) else len(text)
    if not request.width:
        yield wire.Source(card, text[offset:stop], offset, start, end, page)
        return
    [data] = yield Get([f"s/{card.document}"])
    if data is None:
        yield wire.Source(card, text[offset:stop], offset, start, end, page)
        return
    yield Load("pdf")
    from inglenook.ingest import page as pdf

    width = max(64, min(4096, request.width))
    drawn = pdf.draw(pages.unseal(data), page, width, start, end, offset=offset, path=card.path)
    yield wire.Source(
        card, text[offset:stop], offset, start, end, page, drawn.width, drawn.height, drawn.rgba, drawn.boxes
    )


def documents(library: Library, request: wire.List) -> Flow:
    """Events: Documents."""
    yield wire.Documents([entry.card for entry in library.entries.values()])


def status(library: Library, request: wire.Look) -> Flow:
    """Events: Status."""
    yield replace(library.status((yield Measure())), index=library.meaning.figures())


def inspect(library: Library, request: wire.Inspect) -> Flow:
    """Events: Chunks."""
    entry = library.entry(request.document)
    card = entry.card
    text = yield from library.text(card.document)
    if text is None:
        raise NookError("no-document", f"The text of {card.path} is gone.", "It may have been removed in another tab.")
    yield wire.Chunks(Document(card.path, card.type, card.title, text, list(entry.chunks), entry.pages, card.language))
