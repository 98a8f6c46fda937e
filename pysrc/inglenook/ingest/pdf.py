"""PDF through PDFium: the text of each page in reading order, and which character of the page each one is.

A page's text depends on that page alone, so `page.py` can find a passage's characters again from the file. PDFium is
not safe to use from several threads; `LOCK` is held around every use.
"""

from __future__ import annotations

import ctypes
import re
import threading
import unicodedata
from array import array
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from inglenook.errors import NookError
from inglenook.ingest.block import Writer, one_line

LOCK = threading.RLock()
GENERATED = -1  # a character that is not on the page

_BULLETS = dict.fromkeys("\uf0b7\uf0a7\uf0d8\uf076\uf0fc\u25cf\u25aa\u25a0", "•")
_CHARS = "[!-~\xa1-\xac\xae-\u05ff\u2011-\u2027\u3001-\ud7ff]"
_SIMPLE = re.compile(f"{_CHARS}++(?: {_CHARS}++)*+")
_ASTRAL = re.compile("[\ud800-\udfff\U00010000-\U0010ffff]")
_FULL = 36  # characters of a line that goes on below; half of it will do before a small letter


@dataclass(slots=True)
class Line:
    """Characters `start` to `end` of a page's text, the height of its letters, and its baselines' ends."""

    start: int
    end: int
    size: float
    top: float
    bottom: float


@dataclass(slots=True)
class PageText:
    """A page's text; `source[i]` is character i's index among PDFium's characters of the page, or GENERATED."""

    text: str = ""
    source: array[int] = field(default_factory=lambda: array("i"))
    paragraphs: list[Line] = field(default_factory=list)


@contextmanager
def opened(data: bytes, path: str) -> Iterator[Any]:
    """The PDFium document of these bytes. Raises NookError("encrypted" | "broken" | "pdf-missing")."""
    try:
        import pypdfium2
    except ImportError as error:
        raise NookError("pdf-missing", "Reading PDF needs pypdfium2.", "Install it: pip install pypdfium2.") from error
    with LOCK:
        try:
            document = pypdfium2.PdfDocument(data)
        except pypdfium2.PdfiumError as error:
            if getattr(error, "err_code", None) == 4 or "password" in str(error).lower():
                raise NookError(
                    "encrypted", f"{path} is protected by a password.", "Save a copy without it and add that."
                ) from error
            raise broken(path) from error
    try:
        yield document
    finally:
        with LOCK:
            document.close()


def broken(path: str) -> NookError:
    """The error for a file that says it is a PDF and can't be read as one."""
    return NookError("broken", f"{path} is not a readable PDF.", "Download it again, or print it to a new PDF.")


def parse(data: bytes, path: str, writer: Writer) -> Iterator[tuple[int, int]]:
    """Blocks of a PDF, its pages one after the other. Yields (pages done, pages).

    Raises NookError("encrypted" | "broken" | "no-text").
    """
    import pypdfium2

    found: list[tuple[int, PageText]] = []
    with opened(data, path) as document:
        with LOCK:
            count = len(document)
            writer.title = one_line(document.get_metadata_value("Title"))
        bad = 0
        for number in range(count):
            with LOCK:
                try:
                    page = read_page(document, number)
                except pypdfium2.PdfiumError:
                    page, bad = PageText(), bad + 1
            writer.page()
            found.append((writer.append(page.text), page))
            yield number + 1, count
    if not count or bad == count:
        raise broken(path)
    if bad:
        writer.warnings.append(f"{bad} of {count} pages could not be read.")
    if not any(page.text for _, page in found):
        raise NookError(
            "no-text",
            f"{path} holds pictures of pages, no text.",
            "Run text recognition (OCR) over it, for example with ocrmypdf, and add the result.",
        )
    empty = sum(not page.text for _, page in found) - bad
    if empty > 0:
        writer.warnings.append(f"{empty} of {count} pages hold no text.")
    _mark(found, writer)


def _mark(found: list[tuple[int, PageText]], writer: Writer) -> None:
    """Blocks of all pages: lines in letters larger than the body's are headings, the larger the higher."""
    sizes: Counter[float] = Counter()
    for _, page in found:
        for line in page.paragraphs:
            sizes[line.size] += line.end - line.start
    body = sizes.most_common(1)[0][0] if sizes else 0.0
    large = sorted((size for size in sizes if size > 1.12 * body), reverse=True)
    levels = {size: min(level, 6) for level, size in enumerate(large, 1)}
    pages, writer.pages = writer.pages, []
    for begin, (start, page) in zip(pages, found):
        writer.pages.append(begin)
        for line in page.paragraphs:
            level = levels.get(line.size, 0)
            text = page.text[line.start : line.end]
            heading = level and len(text) < 160 and any(map(str.isalpha, text))
            kind = "heading" if heading else "list" if text.startswith("•") else "text"
            writer.mark(start + line.start, start + line.end, kind, level=level or 1, title=one_line(text))


def read_page(document: Any, number: int) -> PageText:
    """The text of page `number` (from 0). The caller holds LOCK. Raises pypdfium2.PdfiumError."""
    page = document[number]
    try:
        chars = page.get_textpage()
        try:
            return _text(chars)
        finally:
            chars.close()
    finally:
        page.close()


def _text(chars: Any) -> PageText:
    import pypdfium2.raw as pdfium

    count = chars.count_chars()
    raw = chars.get_text_range() if count else ""
    if len(raw) != count or _ASTRAL.search(raw):  # only then may PDFium's two lists of characters differ
        raw = "".join(chr(pdfium.FPDFText_GetUnicode(chars, at)) for at in range(count))
    out = _Maker()
    lines = list(_lines(raw))
    measured = [_measure(chars, raw, start, end) for start, end in lines]
    leading = _leading(measured)
    above: Line | None = None
    for (_, end), line in zip(lines, measured):
        if line is None:
            continue
        begin, size = len(out.source), line.size
        if above is not None and _same_paragraph(above, line, leading):
            begin, size = above.start, above.size
            out.go_on(raw[line.start], above.end)
        elif above is not None:
            out.close(above)
            begin = len(out.source)
        out.line(raw, line.start, end)
        above = Line(begin, end - line.start, size, line.top, line.bottom)
    if above is not None:
        out.close(above)
    return out.page()


class _Maker:
    """A page's text in the making. Of the line above, `Line.end` here is how many characters it had."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.source = array("i")
        self.paragraphs: list[Line] = []

    def put(self, text: str, source: int) -> None:
        """Write text that stands for one character of the page."""
        self.parts.append(text)
        self.source.extend([source] * len(text))

    def drop(self) -> None:
        """Take the last character back."""
        self.parts[-1] = self.parts[-1][:-1]
        self.source.pop()
        if not self.parts[-1]:
            self.parts.pop()

    def go_on(self, first: str, width: int) -> None:
        """Go on with a paragraph's next line: no space after a word's hyphen or where the script has none."""
        self._trim()
        tail = "".join(self.parts[-2:])[-2:]
        last = tail[-1:]
        if last in ("-", "\u2010") and tail[:-1].isalpha() and first.islower():
            self.drop()
        elif not ("\u3000" <= last <= "\u9fff" and "\u3000" <= first <= "\u9fff"):
            full = width >= (_FULL / 2 if first.islower() else _FULL)
            self.put(" " if full and first not in "•-–*" else "\n", GENERATED)

    def close(self, line: Line) -> None:
        """End a paragraph, which is listed if anything is in it."""
        self._trim()
        if len(self.source) > line.start:
            self.paragraphs.append(Line(line.start, len(self.source), line.size, line.top, line.bottom))
            self.put("\n\n", GENERATED)

    def page(self) -> PageText:
        """All of it."""
        self._trim()
        return PageText("".join(self.parts), self.source, self.paragraphs)

    def line(self, raw: str, start: int, end: int) -> None:
        """Write a line, cleaned: ligatures taken apart, hyphenated words joined, blanks made one."""
        if _SIMPLE.fullmatch(raw, start, end):
            self.parts.append(raw[start:end])
            self.source.extend(range(start, end))
            return
        blank = True
        for at in range(start, end):
            char = raw[at]
            if char.isspace():
                if not blank:
                    self.put(" ", at)
                blank = True
            elif char in "\x02\ufffe\u00ad":  # PDFium's mark of a hyphen at a line's end, or a soft hyphen
                after = raw[at + 1] if at + 1 < end else ""
                if not after or (char != "\u00ad" and not after.islower()):
                    self.put("-", at)
            elif not (char < " " or "\x7f" <= char < "\xa0" or char == "\uffff"):
                blank = False
                self.put(_plain(char), at)

    def _trim(self) -> None:
        while self.parts and (not self.parts[-1] or self.parts[-1][-1].isspace()):
            if self.parts[-1]:
                self.drop()
            else:
                self.parts.pop()


def _lines(raw: str) -> Iterator[tuple[int, int]]:
    start = 0
    for at, char in enumerate(raw):
        if char in "\r\n":
            if at > start:
                yield start, at
            start = at + 1
    if len(raw) > start:
        yield start, len(raw)


def _measure(chars: Any, raw: str, start: int, end: int) -> Line | None:
    """Height of a line's letters and the baselines of its first and last; None for a blank one."""
    import pypdfium2.raw as pdfium

    while start < end and not _visible(raw[start]):
        start += 1
    while end > start and not _visible(raw[end - 1]):
        end -= 1
    if start == end:
        return None
    box = pdfium.FS_RECTF()
    x, top, bottom = ctypes.c_double(), ctypes.c_double(), ctypes.c_double()
    pdfium.FPDFText_GetLooseCharBox(chars, start, box)
    pdfium.FPDFText_GetCharOrigin(chars, start, x, top)
    pdfium.FPDFText_GetCharOrigin(chars, end - 1, x, bottom)
    return Line(start, end, round(abs(box.top - box.bottom) * 2) / 2, top.value, bottom.value)


def _visible(char: str) -> bool:
    return not char.isspace() and char not in "\x00\x02\ufffe"


def _leading(lines: list[Line | None]) -> float:
    """The usual distance from a line to the next; 0 if there is none."""
    gaps: Counter[float] = Counter()
    for one, two in pairwise(lines):
        if one is not None and two is not None and one.size == two.size and 0 < one.bottom - two.top < 4 * one.size:
            gaps[round((one.bottom - two.top) * 2) / 2] += 1
    return gaps.most_common(1)[0][0] if gaps else 0.0


def _same_paragraph(above: Line, below: Line, leading: float) -> bool:
    gap = above.bottom - below.top
    if abs(gap) < 0.3 * below.size:  # the same line, after a gap
        return True
    usual = min(leading, 2.2 * below.size) if leading else 1.3 * below.size
    return abs(above.size - below.size) <= 0.08 * above.size and 0 < gap <= max(1.25 * usual, 1.05 * below.size)


def _plain(char: str) -> str:
    if char in _BULLETS:
        return _BULLETS[char]
    if "\ud800" <= char <= "\udfff":
        return "\ufffd"
    if "\ufb00" <= char <= "\ufb06" or "\ufb50" <= char <= "\ufdff" or "\ufe70" <= char <= "\ufefc":
        return "".join(c for c in unicodedata.normalize("NFKC", char) if not c.isspace())
    return char
