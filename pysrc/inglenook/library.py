"""A library: the documents of one nook, where their passages are, and what may be asked of it.

All methods that need the outside are flows (`flow.py`). The library keeps in memory what every search needs (cards,
chunk tables, postings, and vectors as far as `meaning.py` does); texts and files stay in pages until somebody looks at
them.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from importlib import import_module
from typing import Any

import numpy as np

import inglenook
from inglenook.elastic.resident import Resident
from inglenook.embed import encoder, hashing
from inglenook.errors import NookError
from inglenook.flow import Commit, Flow, Get, Load, Loaded, Measure, Scan, Stored
from inglenook.index import filter, pages, planner
from inglenook.index.entry import Entry
from inglenook.index.flat import Flat
from inglenook.meaning import PAGES, Meaning
from inglenook.search.lexical import Lexical
from inglenook.types import Filter
from inglenook.wire import messages as wire

LATELY = 2_000  # pieces of texts that are kept at hand
CONTEXT = 2048  # positions a session of the language model has where memory is not short
HASH = hashing.SPACE
MODEL = encoder.SPACE

ROOMS: dict[type[wire.Request], tuple[str, str]] = {
    wire.Add: ("intake", "add"),
    wire.Prepare: ("intake", "prepare"),
    wire.Search: ("find", "search"),
    wire.Ask: ("answer", "ask"),
    wire.Write: ("answer", "write"),
    wire.Chat: ("answer", "chat"),
    wire.List: ("show", "documents"),
    wire.Look: ("show", "status"),
    wire.Show: ("show", "show"),
    wire.Inspect: ("show", "inspect"),
    wire.Map: ("topics.survey", "survey"),
    wire.Levels: ("pace", "levels"),
    wire.Plan: ("pace", "plan"),
    wire.Export: ("carry", "export"),
    wire.Import: ("carry", "import_"),
    wire.Remove: ("carry", "remove"),
}
"""Which module and function answers a request. They are imported at the first such request: a search needs no model."""


def document_id(collection: str, path: str) -> str:
    """The id of the document at `path` of `collection`: adding the same place again replaces it."""
    return hashlib.sha256(f"{collection}\0{path}".encode()).hexdigest()[:16]


def passages(entry: Entry, text: str) -> list[str]:
    """What is searched and embedded of each passage of a document with this `text`."""
    return [encoder.passage(chunk.heading, text[chunk.start : chunk.end]) for chunk in entry.chunks]


class Library:
    """The documents of one nook."""

    def __init__(self, where: str = "tab", model: Resident | None = None) -> None:
        """`where` the engine runs ("tab", "machine", "server"), as answers tell it. Libraries of one engine share its
        `model`."""
        self.name, self.where = "", where
        self.entries: dict[str, Entry] = {}
        self.lexical = Lexical()
        self.meaning = Meaning(planner.MEANING if where == "tab" else None)
        self.hashed = Flat(hashing.DIMENSIONS)
        """Vectors that need no model, of passages that have no others yet."""
        self.tokenizers: dict[str, Any] = {}
        self.model = model or Resident()
        self.owed: dict[str, bytes] = {}  # pages there was no room for yet: they go with the first document
        self.embedding: set[str] = set()  # documents some flow is embedding right now
        self.topics: tuple[str, wire.Topics] | None = None  # the last map, and the state of the library it is of
        self._firsts: list[int] = []
        self._owners: list[str] = []
        self._next = 0
        self._columns: filter.Columns | None = None
        self._texts: dict[str, str] = {}  # pieces of texts by key that were read lately, the last used at the end
        self._ahead: dict[str, bytes] = {}  # pages of pieces that were read ahead and not asked for yet

    # ── opening, changing ─────────────────────────────────────────────────────────────────────────────────────────

    def open(self, name: str) -> Flow:
        """Read everything a search needs. Events: Progress, Status."""
        self.name = name
        [meta] = yield Get([pages.META])
        if meta is None:
            self.owed = {pages.META: pages.meta(name)}
            try:
                yield from self.store({}, [])
            except NookError as error:
                if error.code != "quota":
                    raise
        else:
            puts, deletes = yield from pages.migrate(meta)
            if puts or deletes:
                yield Commit(puts, deletes)
        yield wire.Progress("open", 0, 1, "", name)
        cards = yield Scan("d/")
        postings = yield Scan("l/")
        vectors = yield Scan("v/")
        yield from self.meaning.open(vectors.values())
        self._take(
            (pages.read_document(card), postings.get(f"l/{key[2:]}"), vectors.get(f"v/{key[2:]}"))
            for key, card in cards.items()
        )
        yield wire.Progress("open", 1, 1, "", name)
        yield self.status((yield Measure()))

    def store(self, puts: dict[str, bytes], stale: list[str]) -> Flow:
        """Commit pages of documents, and with them what there was no room for when the nook was opened."""
        yield Commit(self.owed | puts, stale)
        self.owed = {}

    def refresh(self, keys: Iterable[str]) -> Flow:
        """Another writer changed these pages: read them again. Events: Added, Removed."""
        keys = list(keys)
        if any(key.startswith(PAGES) for key in keys):
            yield from self.meaning.refresh()
        documents = sorted({key[2:] for key in keys if key[:2] in ("d/", "v/")})
        wanted = [f"{kind}/{document}" for document in documents for kind in "dlv"]
        found: list[bytes | None] = yield Get(wanted)
        triples = [found[i : i + 3] for i in range(0, len(found), 3)]
        yield from self.meaning.open(page for *_, page in triples)
        gone = [document for document, (card, *_) in zip(documents, triples) if card is None]
        for document in gone:
            self.displace(document)
        taken = self._take((pages.read_document(c), p, v) for c, p, v in triples if c is not None)
        for entry in taken:
            yield wire.Added(entry.card, replaced=True)
        if gone:
            yield wire.Removed(gone)

    def _take(self, found: Iterable[tuple[Entry, bytes | None, bytes | None]]) -> list[Entry]:
        """Place documents with their postings and vectors pages; all vectors go into the index at once."""
        placed = []
        for entry, postings, page in found:
            self.place(entry, b"" if postings is None else pages.unseal(postings))
            entry.card = replace(entry.card, vectors=0)
            placed.append((entry, page))
        for entry in self.meaning.take(placed):
            entry.card = replace(entry.card, vectors=len(entry.chunks))
        return [entry for entry, _ in placed]

    def place(self, entry: Entry, postings: bytes) -> None:
        """Make a document findable by its words, in place of the one with its id."""
        document = entry.card.document
        self.displace(document)
        entry.first = self._next
        self._next += len(entry.chunks)
        self._firsts.append(entry.first)
        self._owners.append(document)
        self.entries[document] = entry
        self.lexical.add(entry.ids, postings)
        self._columns = None

    def embed(self, entry: Entry, vectors: np.ndarray) -> None:
        """Make a document findable by meaning: `vectors` is float32 (chunks, dimensions of the model's space)."""
        self.meaning.add(entry, vectors)
        self.hashed.mark_deleted(entry.ids)
        entry.card = replace(entry.card, vectors=len(entry.chunks))

    def settle(self) -> Flow:
        """See to it that memory does not hold more vectors than it should. Events: Progress."""
        current = lambda entry: self.entries.get(entry.card.document) is entry
        yield from self.meaning.settle(current, lambda: list(self.entries.values()))

    def displace(self, document: str) -> Entry | None:
        """Forget a document in memory."""
        entry = self.entries.pop(document, None)
        if entry:
            for key in pages.text_keys(document, 0, entry.length):
                self._texts.pop(key, None)
                self._ahead.pop(key, None)
            self.lexical.remove(entry.ids)
            self.meaning.drop(entry)
            self.hashed.mark_deleted(entry.ids)
            self._columns = None
        return entry

    # ── looking ───────────────────────────────────────────────────────────────────────────────────────────────────

    def handle(self, request: wire.Request) -> Flow:
        """The flow that answers a request; its events are the stream's, without the end."""
        try:
            room, name = ROOMS[type(request)]
        except KeyError:
            raise NookError("protocol", f"{type(request).__name__} is not a request with a stream.") from None
        answer: Callable[[Library, wire.Request], Flow] = getattr(import_module(f"inglenook.{room}"), name)
        return answer(self, request)

    def entry(self, document: str) -> Entry:
        """The document with this id. Raises NookError("no-document")."""
        try:
            return self.entries[document]
        except KeyError:
            hint = "It may have been removed in another tab."
            raise NookError("no-document", f"There is no document {document}.", hint) from None

    def locate(self, chunk_id: int) -> tuple[Entry, int] | None:
        """The document and the ordinal of a passage id; None if it was replaced or removed since."""
        entry = self.entries.get(self._owners[bisect_right(self._firsts, chunk_id) - 1])
        if entry is None or not 0 <= chunk_id - entry.first < len(entry.chunks):
            return None
        return entry, chunk_id - entry.first

    def allow(self, wanted: Filter) -> np.ndarray | None:
        """Which passage ids a filter lets through: bool of shape (highest id + 1,), None for all."""
        if wanted == Filter():
            return None
        if self._columns is None:
            self._columns = filter.Columns((entry.card, entry.ids) for entry in self.entries.values())
        return self._columns.allow(wanted)

    def quotes(self, spans: Sequence[tuple[Entry, int, int]]) -> Flow:
        """The texts from character to character of documents, None for one that is gone; all in one batched read."""
        wanted = [pages.text_keys(entry.card.document, start, min(end, entry.length)) for entry, start, end in spans]
        needed = dict.fromkeys(key for keys in wanted for key in keys)
        found = {key: self._texts[key] for key in needed if key in self._texts}
        found |= {key: pages.read_text(self._ahead.pop(key)) for key in needed if key in self._ahead}
        if missing := [key for key in needed if key not in found]:
            read: list[bytes | None] = yield Get(missing)
            found |= {key: pages.read_text(page) for key, page in zip(missing, read) if page is not None}
        for (entry, _, _), keys in zip(spans, wanted, strict=True):
            if self.entries.get(entry.card.document) is entry:  # not replaced or removed meanwhile
                for key in keys:
                    if key in found:
                        self._texts.pop(key, None)
                        self._texts[key] = found[key]  # at the end: used last
        _shorten(self._texts)
        return [
            None if any(key not in found for key in keys) else _cut([found[key] for key in keys], start, end)
            for (_, start, end), keys in zip(spans, wanted, strict=True)
        ]

    def ahead(self, places: Sequence[tuple[Entry, int]]) -> Flow:
        """Read what may be quoted next, passages as (document, ordinal), in one batch: people type on."""
        wanted: dict[str, Entry] = {}
        for entry, ordinal in places:
            chunk = entry.chunks[ordinal]
            for key in pages.text_keys(entry.card.document, chunk.start, min(chunk.end, entry.length)):
                if key not in self._texts and key not in self._ahead:
                    wanted[key] = entry
        read: list[bytes | None] = (yield Get([*wanted])) if wanted else []
        for (key, entry), page in zip(wanted.items(), read, strict=True):
            if page is not None and self.entries.get(entry.card.document) is entry:
                self._ahead[key] = page
        _shorten(self._ahead)

    def text(self, document: str) -> Flow:
        """The whole text of a document, None if it is gone. Raises NookError("no-document")."""
        [text] = yield from self.texts([self.entry(document)])
        return text

    def texts(self, entries: Sequence[Entry]) -> Flow:
        """The whole texts of documents, None for one that is gone; all in one batched read."""
        wanted = [pages.text_keys(entry.card.document, 0, entry.length) for entry in entries]
        found: list[bytes | None] = yield Get([key for keys in wanted for key in keys])
        read = iter(found)
        return [_joined([next(read) for _ in keys]) for keys in wanted]

    def tokenizer(self, model: str) -> Flow:
        """The tokenizer of a model, which is loaded if it was not. Events: Progress."""
        loaded: Loaded = yield Load(model)
        if model not in self.tokenizers:
            self.tokenizers[model] = _load_tokenizer(model, loaded.tokenizer)
        if model == "lm" and self.model.loads(loaded) and loaded.context < CONTEXT:
            yield wire.Progress("load", 0, 0, "", f"There is little memory: {loaded.context} tokens are read at most.")
        return self.tokenizers[model]

    def pending(self) -> Iterator[Entry]:
        """Documents that the model has not embedded yet."""
        return (e for e in self.entries.values() if e.card.vectors < e.card.chunks)

    def status(self, stored: Stored = Stored(0)) -> wire.Status:  # noqa: B008
        """Counts and sizes; `stored` is the answer of a `Measure`."""
        cards = [entry.card for entry in self.entries.values()]
        collections: dict[str, int] = {}
        for card in cards:
            collections[card.collection] = collections.get(card.collection, 0) + 1
        return wire.Status(
            name=self.name,
            documents=len(cards),
            chunks=sum(card.chunks for card in cards),
            vectors=sum(card.vectors for card in cards),
            collections=collections,
            stored=stored.size,
            memory=self.lexical.memory + self.meaning.memory + self.hashed.memory,
            encoder=MODEL if "encoder" in self.tokenizers else HASH,
            models={model: "ready" if model in self.tokenizers else "absent" for model in ("encoder", "lm")},
            version=inglenook.__version__,
            where=self.where,
            kept=stored.kept,
            reason=stored.reason,
        )


def _shorten(pieces: dict[str, Any]) -> None:
    """Let go of what was used longest ago."""
    while len(pieces) > LATELY:
        del pieces[next(iter(pieces))]


def _cut(pieces: list[str], start: int, end: int) -> str:
    """The characters `start` to `end` of a text, whose pieces from the one with `start` on are given."""
    first = start // pages.PIECE * pages.PIECE
    return "".join(pieces)[start - first : max(start, end) - first]


def _joined(pieces: list[bytes | None]) -> str | None:
    return "".join(pages.read_text(page) for page in pieces if page is not None) if None not in pieces else None


def _load_tokenizer(model: str, data: bytes) -> Any:
    if model == "encoder":
        from inglenook.embed.tokenizer import WordPiece

        return WordPiece.load(data)
    from inglenook.elastic.tokenizer import Tokenizer

    return Tokenizer.load(data)
