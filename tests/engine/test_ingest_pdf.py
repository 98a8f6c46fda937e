"""PDF: text in reading order, pages, headings, and the way back from a passage to its place on the page."""

from __future__ import annotations

import pytest

pytest.importorskip("pypdfium2", reason="pypdfium2 is not here")

from inglenook.errors import NookError
from inglenook.ingest import pdf as reader
from inglenook.ingest.page import draw
from inglenook.wire.messages import Progress

from tests.engine.ingest_files import paragraph, pdf
from tests.engine.test_ingest import chunk_of, run, steps

BODY = """This is the first line of a paragraph that goes on with infor-
mation about the matter, and more text that is well-
Known here. It ends (after all) with a price: 12.50 \\ net."""

PAGES = [
    [
        (72, 720, 22, "Report on ovens"),
        *paragraph(BODY, 72, 680),
        *paragraph("A second paragraph stands apart from the\nfirst and has two lines of its own.", 72, 600),
    ],
    [],
    [
        (72, 720, 16, "Findings"),
        *paragraph("Ovens get hot, which was expected by everyone\nwho has used one.", 72, 690),
    ],
]
DATA = pdf(PAGES, title="Ovens")


def test_text_pages_and_headings() -> None:
    document, seen = steps("report.txt", DATA)
    text = document.text
    assert (document.type, document.title, document.language) == ("pdf", "Ovens", "en")
    assert "with information about the matter, and more text that is well-Known here." in text
    assert "paragraph stands apart from the first and" in text
    assert text.startswith("Report on ovens\n\nThis is the first")
    assert len(document.pages) == 3 and text[document.pages[2] :].startswith("Findings")
    found = chunk_of(document, "Ovens get hot")
    assert (found.page, found.heading) == (3, "Report on ovens")
    assert {one.page for one in document.chunks} == {1, 3}
    assert [(item.done, item.total) for item in seen if isinstance(item, Progress)] == [(1, 3), (2, 3), (3, 3)]
    assert document.warnings == ["1 of 3 pages hold no text."]


def test_two_columns_are_read_one_after_the_other() -> None:
    left = paragraph("Left column line one is here\nleft column line two is here\nleft ends.", 50, 700)
    right = paragraph("Right column line one is here\nright column line two\nright ends.", 330, 700)
    text = run("a.pdf", pdf([left + right])).text
    assert text.index("left ends.") < text.index("Right column")


def test_short_lines_stay_lines() -> None:
    text = run("a.pdf", pdf([paragraph("Dear Ann,\nthanks.\nYours", 72, 700)])).text
    assert text == "Dear Ann,\nthanks.\nYours"


def test_every_character_knows_its_place_on_the_page() -> None:
    import pypdfium2
    import pypdfium2.raw as pdfium

    document = pypdfium2.PdfDocument(DATA)
    page = reader.read_page(document, 0)
    assert len(page.source) == len(page.text)
    chars = document[0].get_textpage()
    for char, source in zip(page.text, page.source):
        if source == reader.GENERATED:
            assert char in " \n"
        else:
            there = chr(pdfium.FPDFText_GetUnicode(chars, source))
            assert there == char or (char == "-" and pdfium.FPDFText_IsHyphen(chars, source) == 1)
    chars.close()
    document.close()


def dark(image: object, box: object) -> int:
    """Pixels of a box that are ink."""
    x1, y1 = int(box.x), int(box.y)  # type: ignore[attr-defined]
    x2, y2 = int(box.x + box.width + 0.99), int(box.y + box.height + 0.99)  # type: ignore[attr-defined]
    width, rgba = image.width, image.rgba  # type: ignore[attr-defined]
    return sum(rgba[4 * (y * width + x)] < 128 for y in range(max(0, y1), y2) for x in range(max(0, x1), x2))


@pytest.mark.parametrize("rotate", [0, 90, 180, 270])
def test_a_passage_is_marked_where_it_is_drawn(rotate: int) -> None:
    data = pdf(PAGES, rotate=rotate)
    document = run("a.pdf", data)
    at = document.text.index("Ovens get hot")
    image = draw(data, 3, 600, at, at + len("Ovens get hot"), offset=document.pages[2])
    wide, high = (612, 792) if rotate % 180 == 0 else (792, 612)
    assert image.width == 600 and image.height == round(600 * high / wide)
    assert len(image.rgba) == 4 * image.width * image.height
    assert set(image.rgba[3::4]) == {255}
    [box] = image.boxes
    scale = 600 / wide
    # The passage stands at x = 72, its baseline at y = 690, in letters of 11 points.
    corner = {0: (72, 792 - 690), 90: (690, 72), 180: (612 - 72, 690), 270: (792 - 690, 612 - 72)}[rotate]
    near = (box.x, box.y, box.x + box.width, box.y + box.height)
    assert near[0] - 3 <= corner[0] * scale <= near[2] + 3
    assert near[1] - 3 <= corner[1] * scale <= near[3] + 3
    length, thickness = max(box.width, box.height), min(box.width, box.height)
    assert 55 * scale < length < 85 * scale and 8 * scale < thickness < 18 * scale
    assert dark(image, box) > 50


def test_the_way_to_the_page_needs_no_offset() -> None:
    for pages in (PAGES, [[], *PAGES], [[], [], *PAGES[::-1]]):
        data = pdf(pages)
        document = run("a.pdf", data)
        at = document.text.index("Ovens get")
        number = next(i for i in range(len(pages), 0, -1) if document.pages[i - 1] <= at)
        with_offset = draw(data, number, 300, at, at + 9, offset=document.pages[number - 1])
        assert draw(data, number, 300, at, at + 9) == with_offset
        assert with_offset.boxes


def test_a_passage_of_several_lines_has_a_box_for_each() -> None:
    document = run("a.pdf", DATA)
    chunk = chunk_of(document, "A second paragraph")
    start = document.text.index("This is the first")
    boxes = draw(DATA, 1, 612, start, chunk.end, offset=0).boxes
    assert len(boxes) == 5
    tops = [box.y for box in boxes]
    assert tops == sorted(tops) and all(box.x == pytest.approx(72, abs=3) for box in boxes)


def test_a_span_on_another_page_marks_nothing() -> None:
    document = run("a.pdf", DATA)
    at = document.text.index("Ovens get hot")
    assert draw(DATA, 1, 100, at, at + 5, offset=0).boxes == []


@pytest.mark.parametrize("page", [0, 4, -1])
def test_a_page_that_is_not_there(page: int) -> None:
    with pytest.raises(NookError) as error:
        draw(DATA, page, 100)
    assert error.value.code == "no-page"


@pytest.mark.parametrize("width", [0, -5, 100_000])
def test_a_picture_too_large_to_draw(width: int) -> None:
    with pytest.raises(NookError) as error:
        draw(DATA, 1, width)
    assert error.value.code == "too-large"


def test_drawing_a_broken_file() -> None:
    with pytest.raises(NookError) as error:
        draw(b"%PDF-1.7 nothing", 1, 100)
    assert error.value.code == "broken"
