"""The nouns every room shares: documents, chunks, hits. All positions are character offsets into `Document.text`."""

from __future__ import annotations

from dataclasses import dataclass, field

Json = dict[str, object]


@dataclass(frozen=True, slots=True)
class Span:
    """Characters `start` (inclusive) to `end` (exclusive) of a document's text."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """A passage small enough to embed and to quote: `text == document.text[start:end]`.

    `page` is 1-based for paged formats and None elsewhere. `heading` is the path of headings above the passage
    joined by " › " ("" if none); it is searched and embedded with the text but is not part of the span.
    `kind` is one of "text", "code", "table", "list".
    """

    start: int
    end: int
    page: int | None = None
    heading: str = ""
    kind: str = "text"


@dataclass(frozen=True, slots=True)
class File:
    """A file as it was handed in: the input of ingest. `modified` is seconds since 1970."""

    path: str
    data: bytes
    modified: float = 0.0
    collection: str = "notes"


@dataclass(slots=True)
class Document:
    """A file that was read: its plain text and where its passages lie.

    `type` is one of "pdf", "markdown", "html", "text", "code", "docx", "csv", "jsonl".
    `pages` holds the character offset at which each page starts (empty if the format has no pages).
    `language` is a BCP 47 tag for prose ("" if unknown) or a programming language's name for code.
    """

    path: str
    type: str
    title: str
    text: str
    chunks: list[Chunk]
    pages: list[int] = field(default_factory=list)
    language: str = ""
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Filter:
    """Which passages may be found. Empty fields allow everything; times are seconds since 1970.

    `paths` are glob patterns ("reports/*.pdf") matched against the document's path.
    """

    collections: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    after: float | None = None
    before: float | None = None


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage that was found.

    `document` is the document's id, `chunk` the passage's ordinal in it. `score` is the fused score; `lexical`
    (BM25) and `vector` (cosine) are the parts, None where that arm did not find the passage. `marks` are spans,
    in the document's characters, of the words that matched.
    """

    document: str
    chunk: int
    path: str
    title: str
    collection: str
    type: str
    start: int
    end: int
    page: int | None
    heading: str
    text: str
    score: float
    lexical: float | None = None
    vector: float | None = None
    marks: tuple[Span, ...] = ()
