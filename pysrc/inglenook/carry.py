"""Carrying documents out of a nook and into it: one .nook file either way, and forgetting for good."""

from __future__ import annotations

from inglenook.flow import Commit, Flow, Pause, Scan
from inglenook.index import container, pages
from inglenook.library import Library
from inglenook.meaning import Brought
from inglenook.wire import messages as wire

BATCH = 16_000_000  # bytes of pages that one commit carries


def remove(library: Library, request: wire.Remove) -> Flow:
    """Forget documents for good. Events: Removed."""
    gone = [document for document in request.documents if document in library.entries]
    yield Commit({}, [key for document in gone for key in pages.keys(library.entries[document])])
    for document in gone:
        library.displace(document)
    yield wire.Removed(gone)
    yield from library.settle()


def export(library: Library, request: wire.Export) -> Flow:
    """The whole nook as one file. Events: Progress, Blob."""
    yield wire.Progress("export", 0, 1)
    everything = {key: page for key, page in (yield Scan("")).items() if not key.startswith(pages.DEVICE)}
    yield wire.Progress("export", 1, 1)
    yield wire.Blob(f"{library.name}.nook", container.write(everything))


def import_(library: Library, request: wire.Import) -> Flow:
    """Merge a .nook file. All of it is checked before anything is written. Events: Progress, Added."""
    found = pages.upgrade(container.read(request.data))
    documents = {key[2:]: pages.read_document(page) for key, page in found.items() if key.startswith("d/")}
    yield Pause()
    brought = Brought(found)
    wanted = []
    for document, entry in documents.items():
        old = library.entries.get(document)
        richer = f"v/{document}" in found and old and old.card.vectors < old.card.chunks
        if old and old.digest == entry.digest and not richer:
            yield wire.Added(old.card, unchanged=True)
        else:
            wanted.append(document)
    puts: dict[str, bytes] = {}
    size = 0
    batch: list[str] = []
    for n, document in enumerate(wanted):
        mine = {key: found[key] for key in pages.keys(documents[document]) if key in found}
        if (vectors := brought.page(document)) is not None:
            mine[f"v/{document}"] = vectors
        else:
            mine.pop(f"v/{document}", None)
        puts |= mine
        size += sum(map(len, mine.values()))
        batch.append(document)
        if size >= BATCH or n == len(wanted) - 1:
            yield wire.Progress("import", n + 1, len(wanted), "documents")
            replaced = [library.entries[d] for d in batch if d in library.entries]
            stale = [key for entry in replaced for key in pages.keys(entry) if key not in puts]
            yield from library.store(puts, stale)
            yield from library.refresh([f"d/{d}" for d in batch])
            yield from library.settle()
            puts, size, batch = {}, 0, []
