"""Reading a file: from bytes to a document with its passages."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from itertools import islice
from pathlib import PurePosixPath
from time import perf_counter
from typing import Any

from inglenook.errors import NookError
from inglenook.flow import Pause
from inglenook.ingest import docx, format, html, language, markdown, pdf, plain, records, table
from inglenook.ingest.block import Writer, clean, one_line, shortened
from inglenook.ingest.chunk import chunks
from inglenook.types import Chunk, Document, File
from inglenook.wire.messages import Progress

LARGEST = 500_000_000  # bytes of a file
BREATH = 0.012  # seconds of work between two pauses

_TEXT = {
    "markdown": markdown.parse, "html": html.parse, "text": plain.parse, "code": plain.parse_code,
    "csv": table.parse, "jsonl": records.parse,
}  # fmt: skip


def read(file: File, largest: int = LARGEST) -> Generator[Any, Any, Document]:
    """A flow that reads a file and cuts it: yields Progress("read", …) and Pause effects, returns the Document.

    Progress counts pages for PDF, characters of the source elsewhere. Raises NookError with one of the codes
    "empty", "too-large", "encrypted", "broken", "no-text", "binary", "bomb", "unsupported", "pdf-missing".
    """
    size = len(file.data)
    if size > largest:
        raise NookError(
            "too-large",
            f"{file.path} has {size / 1e6:,.0f} MB; {largest / 1e6:,.0f} MB is the most.",
            "Split it and add the parts.",
        )
    if not file.data.strip(b" \t\r\n\0\f"):
        raise NookError("empty", f"{file.path} is empty.", "Check that it was saved or downloaded completely.")
    writer = Writer()
    kind = yield from _parse(file, writer)
    text = writer.text
    if not text or text.isspace():
        if kind in ("html", "docx"):
            raise NookError("no-text", f"{file.path} holds no text.", "If it shows pictures of text, use OCR on them.")
        raise NookError("empty", f"{file.path} holds no text.", "Check that it was saved or downloaded completely.")
    spoken = _language(writer.language) or (language.guess(text) if kind != "code" else "")
    done: list[Chunk] = []
    pace = _Pace(file.path)
    cutting = chunks(text, writer.blocks)
    while batch := list(islice(cutting, 16)):
        done += batch
        yield from pace.tick()
    name = PurePosixPath(file.path.replace("\\", "/"))
    title = one_line(clean(writer.title)) or ("" if kind in ("csv", "jsonl", "code") else writer.first_heading)
    title = shortened(title, 200) or (name.name if kind == "code" else name.stem) or file.path
    return Document(
        path=file.path, type=kind, title=title, text=text, chunks=done, pages=writer.pages,
        language=writer.language if kind == "code" else spoken, warnings=writer.warnings,
    )  # fmt: skip


def _parse(file: File, writer: Writer) -> Generator[Any, Any, str]:
    """Fill the writer; returns the document's type."""
    pace = _Pace(file.path)
    data, path = file.data, file.path
    kind = format.by_bytes(data)
    if kind == "pdf":
        for done, total in pdf.parse(data, path, writer):
            yield from pace.tick(done, total, "pages", always=True)
        return "pdf"
    if kind == "zip":
        total = docx.size(data)
        for done in docx.parse(data, path, writer):
            yield from pace.tick(min(done, total), total, "bytes")
        return "docx"
    if kind == "encrypted":
        raise NookError("encrypted", f"{path} is protected by a password.", "Save a copy without it and add that.")
    if kind.startswith("foreign"):
        what = kind.removeprefix("foreign ")
        hint = (
            "Use text recognition (OCR) to make a PDF of it."
            if "picture" in what
            else ("Save it as PDF, docx or text and add that.")
        )
        raise NookError("binary" if "file" not in what else "unsupported", f"{path} is {what}.", hint)
    text, warning = format.decode(data, path)
    text = clean(text)
    if warning:
        writer.warnings.append(warning)
    extension = format.extension_of(path)
    if extension in ("pdf", "docx"):
        if "\ufffd" in text or warning:
            raise pdf.broken(path) if extension == "pdf" else docx.broken(path)
        writer.warnings.append(f"The name says {extension.upper()}, the content is text.")
    kind, writer.language = format.by_name(path, text)
    yield from pace.tick(0, len(text), "characters")
    steps: Iterator[int] = _TEXT[kind](text, writer)
    for count, done in enumerate(steps):
        if not count % 8:
            yield from pace.tick(done, len(text), "characters")
    return kind


def _language(tag: str) -> str:
    """The primary part of a language tag, if it is one ("en" of "en-GB")."""
    tag = tag.partition("-")[0].lower()
    return tag if 2 <= len(tag) <= 3 and tag.isalpha() and tag.isascii() else ""


class _Pace:
    """Turns steps into Progress and Pause, no more often than needed."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._last = perf_counter()

    def tick(self, done: float = 0, total: float = 0, unit: str = "", always: bool = False) -> Iterator[Any]:
        if always or perf_counter() - self._last > BREATH:
            if unit:
                yield Progress("read", done, total, unit, self._path)
            yield Pause()
            self._last = perf_counter()
