"""A text set on pages: PDF with PDFium, Times on A4, titles, page numbers."""

from __future__ import annotations

import ctypes
import io

import pypdfium2 as pdfium
from pypdfium2 import raw

WIDTH, HEIGHT, MARGIN = 595.0, 842.0, 72.0
TEXT, LEAD, GAP = 11.0, 15.0, 7.0
_FONTS = {"text": b"Times-Roman", "bold": b"Times-Bold"}


class _Book:
    """Pages being filled from the top."""

    def __init__(self) -> None:
        self.document = pdfium.PdfDocument.new()
        self.fonts = {style: raw.FPDFText_LoadStandardFont(self.document, name) for style, name in _FONTS.items()}
        self.page: pdfium.PdfPage | None = None
        self.number, self.y = 0, 0.0

    def room(self, height: float) -> None:
        """Begin a page if less than `height` is left on this one."""
        if self.page is None or self.y - height < MARGIN:
            self.close()
            self.page, self.number = self.document.new_page(WIDTH, HEIGHT), self.number + 1
            self.y = HEIGHT - MARGIN

    def close(self) -> None:
        """End the page with its number."""
        if self.page is not None:
            label = str(self.number)
            self.put(label, (WIDTH - self.wide(label, "text", 9)) / 2, MARGIN / 2, "text", 9)
            self.page.gen_content()
            self.page.close()
            self.page = None

    def wide(self, text: str, style: str, size: float) -> float:
        """The width of a line in points."""
        width, total = ctypes.c_float(), 0.0
        for letter in text:
            raw.FPDFFont_GetGlyphWidth(self.fonts[style], ord(letter), size, width)
            total += width.value
        return total

    def put(self, text: str, x: float, y: float, style: str, size: float) -> None:
        """One line of text with its left end at (x, y)."""
        assert self.page is not None
        thing = raw.FPDFPageObj_CreateTextObj(self.document, self.fonts[style], size)
        wide = (text + "\0").encode("utf-16-le")
        raw.FPDFText_SetText(thing, ctypes.cast(wide, ctypes.POINTER(ctypes.c_ushort)))
        raw.FPDFPageObj_Transform(thing, 1, 0, 0, 1, x, y)
        raw.FPDFPage_InsertObject(self.page, thing)

    def set(self, text: str, style: str = "text", size: float = TEXT, lead: float = LEAD, gap: float = GAP) -> None:
        """A paragraph, broken into lines that fit."""
        line = ""
        space = WIDTH - 2 * MARGIN
        for word in [*text.split(), ""]:
            longer = f"{line} {word}".strip()
            if word and self.wide(longer, style, size) <= space:
                line = longer
                continue
            self.room(lead)
            self.y -= lead
            self.put(line, MARGIN, self.y, style, size)
            line = word
        self.y -= gap


def draw(title: str, sections: list[tuple[str, list[str]]]) -> bytes:
    """A PDF of `title` and of sections: (heading or "", paragraphs)."""
    book = _Book()
    book.set(title, "bold", 18, 24, 14)
    for head, paragraphs in sections:
        if head:
            book.room(3 * LEAD)
            book.y -= GAP
            book.set(head, "bold", 13, 18)
        for paragraph in paragraphs:
            book.set(paragraph)
    book.close()
    out = io.BytesIO()
    book.document.save(out)
    return out.getvalue()
