"""Taking files in: read, cut, store, embed. A file is searchable by its words before it is embedded."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Generator, Iterator

import numpy as np

from inglenook import ingest
from inglenook.embed import encoder, hashing
from inglenook.embed.conveyor import Conveyor
from inglenook.errors import NookError
from inglenook.flow import Commit, Flow, Hold, Load, Pause
from inglenook.index import pages
from inglenook.index.entry import Entry
from inglenook.library import MODEL, Library, document_id, passages
from inglenook.search import lexical
from inglenook.types import File
from inglenook.wire import messages as wire

SLICE = 16  # passages hashed at a time
TOGETHER = 16_384  # characters of texts that are read at once


def add(library: Library, request: wire.Add) -> Flow:
    """Add files one by one, then embed what is new. Events: Progress; Added or Skipped per file."""
    new: list[Entry] = []
    for n, upload in enumerate(request.files):
        yield wire.Progress("read", n, len(request.files), "files", upload.path)
        try:
            entry = yield from _take(library, upload)
        except NookError as error:
            yield wire.Skipped(upload.path, error.code, error.message, error.hint)
        else:
            new += [entry] if entry else []
        yield Pause()
    yield wire.Progress("read", len(request.files), len(request.files), "files")
    yield from embed(library, new)
    yield from library.settle()


def _take(library: Library, upload: wire.Upload) -> Flow:
    """Read and store one file; the entry, or None if these very bytes are there already."""
    document = document_id(upload.collection, upload.path)
    digest = hashlib.sha256(upload.data).hexdigest()
    old = library.entries.get(document)
    if old and old.digest == digest:
        yield wire.Added(old.card, unchanged=True)
        return None
    if b"%PDF-" in upload.data[:1024]:
        yield Load("pdf")
    read = yield from ingest.read(File(upload.path, upload.data, upload.modified, upload.collection))
    card = wire.Card(
        document, upload.path, read.title, upload.collection, read.type, len(upload.data), upload.modified, time.time(),
        len(read.chunks), 0, len(read.pages), read.language,
    )  # fmt: skip
    entry = Entry(card, digest, read.pages, read.chunks, len(read.text))
    texts = passages(entry, read.text)
    postings = yield from _paused(lexical.gathered(texts))
    puts = {f"d/{document}": pages.document(entry), f"l/{document}": pages.seal(postings)}
    for key, page in pages.texts(document, read.text):
        puts[key] = page
        yield Pause()
    if read.type == "pdf":
        puts[f"s/{document}"] = pages.seal(upload.data)
    stale = [key for known in (old, entry) if known for key in pages.keys(known) if key not in puts]
    yield from library.store(puts, list(dict.fromkeys(stale)))
    library.place(entry, postings)
    yield from _hash(library, entry, texts)
    yield wire.Added(card, replaced=old is not None, warnings=read.warnings)
    return entry


def _paused(steps: Generator[None, None, bytes]) -> Flow:
    """What the steps make; others may run between them."""
    while True:
        try:
            next(steps)
        except StopIteration as done:
            return done.value
        yield Pause()


def _hash(library: Library, entry: Entry, texts: list[str]) -> Flow:
    """Vectors that need no model, a few at a time: others may run between."""
    rows = []
    for start in range(0, len(texts), SLICE):
        rows.append(hashing.embed(texts[start : start + SLICE]))
        yield Pause()
    if rows and _holds(library, entry):
        library.hashed.add_items(np.concatenate(rows), entry.ids)


def prepare(library: Library, request: wire.Prepare) -> Flow:
    """Make a model ready; with the encoder, embed what is waiting for it. Events: Progress."""
    if request.model not in ("encoder", "lm"):
        raise NookError("model-missing", f"There is no model {request.model!r}.", "Use encoder or lm.")
    yield from library.tokenizer(request.model)
    if request.model == "encoder":
        release = yield Hold("pending")  # who asks while another is at it is answered when all is done
        try:
            yield from embed(library, list(library.pending()))
            yield from library.settle()
            yield from embed(library, list(library.pending()))  # whose vectors turned out to be lost
        finally:
            release()


def embed(library: Library, entries: list[Entry]) -> Flow:
    """Embed documents with the model and store the vectors as documents are done, so that Stop loses little.

    Where the model cannot be had the hashing vectors go on serving. Events: Progress.
    """
    waiting = [e for e in entries if e.chunks and e.card.document not in library.embedding]
    if not waiting:
        return
    try:
        tokenizer = yield from library.tokenizer("encoder")
    except NookError as error:
        yield wire.Progress("embed", 0, 0, "passages", f"{error.message} Searching by words meanwhile.")
        return
    work = _Embedding(library, sum(len(e.chunks) for e in waiting))
    conveyor: Conveyor[tuple[_Vectors, int]] = Conveyor(tokenizer, work.take)
    mine = {e.card.document for e in waiting}
    library.embedding |= mine
    try:
        yield work.progress(waiting[0])
        for some in _groups(waiting):
            texts = yield from library.texts(some)
            for entry, text in zip(some, texts, strict=True):
                if text is None or not _holds(library, entry):
                    work.done += len(entry.chunks)
                    continue
                vectors = _Vectors(entry)
                for row, passage in enumerate(passages(entry, text)):
                    yield from conveyor.put((vectors, row), passage)
        yield from conveyor.end()
    finally:
        library.embedding -= mine
    yield work.progress()


def _groups(entries: list[Entry]) -> Iterator[list[Entry]]:
    """Documents whose texts are read together: a read costs about what its tokens do."""
    some: list[Entry] = []
    for entry in entries:
        if some and sum(other.length for other in some) + entry.length > TOGETHER:
            yield some
            some = []
        some.append(entry)
    if some:
        yield some


def _holds(library: Library, entry: Entry) -> bool:
    """Whether this is what the library has now: it may be replaced or removed while something is awaited."""
    return library.entries.get(entry.card.document) is entry


class _Vectors:
    """The vectors of a document, of which `missing` are still to come."""

    def __init__(self, entry: Entry) -> None:
        self.entry, self.missing = entry, len(entry.chunks)
        self.rows = np.empty((len(entry.chunks), encoder.DIMENSIONS), np.float32)


class _Embedding:
    """Puts vectors that come passage by passage together and stores them with their documents."""

    def __init__(self, library: Library, total: int) -> None:
        self._library, self._total = library, total
        self.done = 0

    def progress(self, entry: Entry | None = None) -> wire.Progress:
        return wire.Progress("embed", self.done, self._total, "passages", entry.card.path if entry else "")

    def take(self, batch: list[tuple[tuple[_Vectors, int], np.ndarray]]) -> Flow:
        """Vectors, each with its document and row."""
        whole = []
        for (vectors, row), vector in batch:
            vectors.rows[row] = vector
            vectors.missing -= 1
            if not vectors.missing and _holds(self._library, vectors.entry):
                whole.append(vectors)
        if whole:
            yield Commit({f"v/{v.entry.card.document}": pages.vectors(MODEL, v.rows) for v in whole}, [])
        for vectors in whole:
            if _holds(self._library, vectors.entry):
                self._library.embed(vectors.entry, vectors.rows)
            yield from self._library.settle()
        self.done += len(batch)
        yield self.progress(batch[-1][0][0].entry)
