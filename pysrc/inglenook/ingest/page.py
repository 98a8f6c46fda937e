"""Drawing a page of a PDF with a passage marked."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, field
from typing import Any

from inglenook.errors import NookError
from inglenook.ingest import pdf
from inglenook.wire.messages import Box

LARGEST = 24_000_000  # pixels
_FINE = 16  # parts of a pixel that PDFium's whole numbers are told in


@dataclass(frozen=True, slots=True)
class PageImage:
    """A drawn page: `rgba` holds width x height pixels of four bytes, row by row; `boxes` mark the passage."""

    width: int
    height: int
    rgba: bytes
    boxes: list[Box] = field(default_factory=list)


def draw(
    data: bytes,
    page: int,
    width: int,
    start: int = 0,
    end: int = 0,
    *,
    offset: int | None = None,
    path: str = "The file",
) -> PageImage:
    """Draw page `page` (from 1), `width` pixels wide, and tell where characters `start` to `end` of the text lie on it.

    `start` and `end` count from the beginning of the document's text; `offset` is where the page starts in it
    (`Document.pages[page - 1]`). Without it the pages before are read to find out, which takes time.
    Raises NookError("no-page" | "broken" | "encrypted" | "too-large").
    """
    import pypdfium2

    with pdf.opened(data, path) as document, pdf.LOCK:
        try:
            view = _page(document, page, path)
            if offset is None:
                offset = _offset(document, page)
            high, image = _render(view, width)
            boxes: list[Box] = []
            if start < end:
                text = pdf.read_page(document, page - 1)
                chars = view.get_textpage()
                indices = [at for at in text.source[max(0, start - offset) : max(0, end - offset)] if at >= 0]
                boxes = _boxes(view, chars, indices, width, high)
                chars.close()
            view.close()
        except pypdfium2.PdfiumError as error:
            raise pdf.broken(path) from error
    return PageImage(width, high, image, boxes)


def _offset(document: Any, page: int) -> int:
    """Where page `page` starts in the document's text: pages are parted by two line ends, blank ones lead nothing."""
    offset = 0
    for number in range(page - 1):
        length = len(pdf.read_page(document, number).text)
        offset += length + (2 if offset or length else 0)
    return offset


def _page(document: Any, page: int, path: str) -> Any:
    import pypdfium2

    if not 1 <= page <= len(document):
        raise NookError("no-page", f"{path} has no page {page}.", f"It has {len(document)}.")
    try:
        return document[page - 1]
    except pypdfium2.PdfiumError as error:
        raise pdf.broken(path) from error


def _render(view: Any, width: int) -> tuple[int, bytes]:
    """Height and RGBA bytes of the page drawn `width` pixels wide on white."""
    import pypdfium2
    import pypdfium2.raw as pdfium

    wide, high = view.get_size()
    height = max(1, round(width * high / wide)) if wide > 0 else 1
    if width < 1 or width * height > LARGEST:
        raise NookError("too-large", f"{width} x {height} pixels are too many to draw.", "Ask for a smaller width.")
    bitmap = pypdfium2.PdfBitmap.new_native(width, height, pdfium.FPDFBitmap_BGRA)
    bitmap.fill_rect((255, 255, 255, 255), 0, 0, width, height)
    flags = pdfium.FPDF_ANNOT | pdfium.FPDF_REVERSE_BYTE_ORDER
    pdfium.FPDF_RenderPageBitmap(bitmap, view, 0, 0, width, height, 0, flags)
    image = bytes(bitmap.buffer)
    stride = bitmap.stride
    bitmap.close()
    if stride != 4 * width:
        image = b"".join(image[row * stride : row * stride + 4 * width] for row in range(height))
    return height, image


def _boxes(view: Any, chars: Any, indices: list[int], width: int, height: int) -> list[Box]:
    """Rectangles of these characters on the drawn page, those of a line joined."""
    import pypdfium2.raw as pdfium

    lines: list[list[float]] = []  # left, bottom, right, top, in points of the page
    box = pdfium.FS_RECTF()
    for at in dict.fromkeys(indices):
        if not pdfium.FPDFText_GetLooseCharBox(chars, at, box) or box.right <= box.left or box.top <= box.bottom:
            continue
        if lines and _same_line(lines[-1], box):
            last = lines[-1]
            lines[-1] = [
                min(last[0], box.left), min(last[1], box.bottom), max(last[2], box.right), max(last[3], box.top)
            ]  # fmt: skip
        else:
            lines.append([box.left, box.bottom, box.right, box.top])
    x, y = ctypes.c_int(), ctypes.c_int()
    boxes = []
    for left, bottom, right, top in lines:
        corners = []
        for across, up in ((left, top), (right, bottom)):
            pdfium.FPDF_PageToDevice(view, 0, 0, width * _FINE, height * _FINE, 0, across, up, x, y)
            corners.append((x.value / _FINE, y.value / _FINE))
        (x1, y1), (x2, y2) = corners
        boxes.append(Box(min(x1, x2), min(y1, y2), abs(x2 - x1), abs(y2 - y1)))
    return boxes


def _same_line(last: list[float], box: Any) -> bool:
    """Whether a character goes on a line: at its height and beside it."""
    shared = min(box.top, last[3]) - max(box.bottom, last[1])
    lower = min(box.top - box.bottom, last[3] - last[1])
    gap = max(box.left - last[2], last[0] - box.right)
    return bool(shared > 0.5 * lower and gap < 3 * lower)
