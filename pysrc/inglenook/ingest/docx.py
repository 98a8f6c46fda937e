"""DOCX: paragraphs, headings by their style, lists, tables and notes of a Word file (ISO/IEC 29500, part 1, 17).

A DOCX is a zip of XML. Sizes are checked before anything is unpacked, and document types (hence entities, inside or
outside) are refused, which Word never writes.
"""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from collections.abc import Iterator
from xml.parsers import expat

from inglenook.errors import NookError
from inglenook.ingest.block import Writer, clean, one_line
from inglenook.ingest.table import row

LARGEST = 300_000_000  # bytes of XML
UNREADABLE = (zipfile.BadZipFile, zlib.error, expat.ExpatError, EOFError, OSError, ValueError, NotImplementedError)
RATIO = 250  # times larger than packed; text that people write packs 5 to 20 times
STEP = 65_536

_LIST = re.compile(r"list|liste|lista", re.I)


def parse(data: bytes, path: str, writer: Writer) -> Iterator[int]:
    """Blocks of a DOCX. Yields bytes of its XML read. Raises NookError("bomb" | "broken" | "unsupported")."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = _checked(archive, path)
            styles = _Styles()
            if "word/styles.xml" in names:
                for _ in _feed(archive, "word/styles.xml", styles, path):
                    pass
            if "docProps/core.xml" in names:
                core = _Core()
                for _ in _feed(archive, "docProps/core.xml", core, path):
                    pass
                writer.title = one_line(clean(core.title))
            body = _Body(writer, styles.names)
            for part in ("word/document.xml", "word/footnotes.xml", "word/endnotes.xml"):
                if part in names:
                    yield from _feed(archive, part, body, path)
    except UNREADABLE as error:
        raise broken(path) from error
    except RuntimeError as error:  # zipfile's word for a password
        raise NookError("encrypted", f"{path} is protected by a password.", "Save a copy without it.") from error


def broken(path: str) -> NookError:
    """The error for a file that says it is a Word file and can't be read as one."""
    return NookError("broken", f"{path} is not a readable Word file.", "Open it in Word and save it again as .docx.")


def size(data: bytes) -> int:
    """Bytes of XML that `parse` will read, 0 if it can't be told."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return archive.getinfo("word/document.xml").file_size
    except (zipfile.BadZipFile, KeyError, OSError, ValueError, NotImplementedError):
        return 0


def _checked(archive: zipfile.ZipFile, path: str) -> set[str]:
    names = set(archive.namelist())
    if "word/document.xml" not in names:
        for mark, what in (
            ("xl/workbook.xml", "a spreadsheet"), ("ppt/presentation.xml", "a presentation"),
            ("META-INF/container.xml", "an e-book"), ("content.xml", "an OpenDocument file"),
        ):  # fmt: skip
            if mark in names:
                raise NookError("unsupported", f"{path} is {what}.", "Save it as PDF or as text and add that.")
        if path.lower().endswith(".docx"):
            raise broken(path)
        raise NookError("unsupported", f"{path} is a zip archive.", "Unpack it and add the files in it.")
    for info in archive.infolist():
        if info.file_size > LARGEST or (info.file_size > 1_000_000 and info.file_size > RATIO * info.compress_size):
            raise _bomb(path)
    return names


def _bomb(path: str) -> NookError:
    return NookError(
        "bomb",
        f"{path} would unpack to far more than a document holds.",
        "If you trust it, open it in Word and save it as PDF.",
    )


class _Handler:
    """What a part's reader does at each tag; names come without their namespace."""

    def start(self, tag: str, attributes: dict[str, str]) -> None: ...
    def end(self, tag: str) -> None: ...
    def text(self, text: str) -> None: ...


def _feed(archive: zipfile.ZipFile, part: str, handler: _Handler, path: str) -> Iterator[int]:
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True

    def refuse(*_: object) -> None:
        raise broken(path)

    def bare(name: str) -> str:
        return name.rpartition(" ")[2]

    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = lambda name, attributes: handler.start(
        bare(name), {bare(key): value for key, value in attributes.items()}
    )
    parser.EndElementHandler = lambda name: handler.end(bare(name))
    parser.CharacterDataHandler = handler.text
    done = 0
    with archive.open(part) as stream:
        while block := stream.read(STEP):
            done += len(block)
            if done > LARGEST:  # the zip's directory lied
                raise _bomb(path)
            parser.Parse(block, False)
            yield done
    parser.Parse(b"", True)


class _Styles(_Handler):
    """Names of the styles by their id: ids are translated, names of the built-in styles are not."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}
        self._id = ""

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        if tag == "style":
            self._id = attributes.get("styleId", "")
        elif tag == "name" and self._id:
            self.names[self._id] = attributes.get("val", "").lower()


class _Core(_Handler):
    def __init__(self) -> None:
        self.title = ""
        self._in = False

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self._in = tag == "title"

    def end(self, tag: str) -> None:
        self._in = False

    def text(self, text: str) -> None:
        if self._in:
            self.title += text


class _Body(_Handler):
    """Paragraphs and tables of the document."""

    def __init__(self, writer: Writer, styles: dict[str, str]) -> None:
        self.writer = writer
        self.styles = styles
        self.parts: list[str] = []
        self.items: list[str] = []
        self.rows: list[list[str]] = []
        self.tables = 0
        self.style = ""
        self.level: int | None = None
        self.outline: int | None = None
        self.skip = 0  # depth inside what is not shown
        self.in_text = False

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        if self.skip or tag in ("Fallback", "del", "moveFrom", "pPrChange", "rPrChange", "sectPr"):
            self.skip += 1
        elif tag == "t":
            self.in_text = True
        elif tag == "p":
            if self.parts:  # a text box inside a paragraph
                self._end_paragraph()
            self.style, self.level, self.outline = "", None, None
        elif tag == "pStyle":
            name = attributes.get("val", "")
            self.style = self.styles.get(name, name.lower())
        elif tag == "numPr":
            self.level = 0
        elif tag == "ilvl" and self.level is not None:
            self.level = _number(attributes.get("val", ""), 8)
        elif tag == "numId" and attributes.get("val") == "0":
            self.level = None
        elif tag == "outlineLvl":
            self.outline = _number(attributes.get("val", ""), 9)
        elif tag in ("tab", "br", "cr") and not (tag == "tab" and "pos" in attributes):
            self.parts.append("\t" if tag == "tab" else "\n")
        elif tag == "noBreakHyphen":
            self.parts.append("-")
        elif tag == "tbl":
            if not self.tables:
                self._end_list()
            self.tables += 1
        elif tag == "tr" and self.tables == 1:
            self.rows.append([])
        elif tag == "tc" and self.tables == 1 and self.rows:
            self.rows[-1].append("")

    def end(self, tag: str) -> None:
        if self.skip:
            self.skip -= 1
        elif tag == "t":
            self.in_text = False
        elif tag == "p":
            self._end_paragraph()
        elif tag == "tbl":
            self.tables -= 1
            if not self.tables:
                rows = [line for cells in self.rows if (line := row(cells))]
                self.rows = []
                self.writer.block("\n".join(rows), "table", rows[0] if len(rows) > 1 else "")
        elif tag in ("body", "footnotes", "endnotes"):
            self._end_list()

    def text(self, text: str) -> None:
        if self.in_text and not self.skip:
            self.parts.append(text)

    def _end_paragraph(self) -> None:
        text = clean("".join(self.parts)).strip()
        self.parts = []
        if not text:
            return
        if self.tables:
            if self.rows and self.rows[-1]:
                self.rows[-1][-1] = f"{self.rows[-1][-1]} {text}".strip()
            return
        heading = re.match(r"heading (\d)$", self.style)
        if self.style == "title" and not self.writer.title:
            self.writer.title = one_line(text)
        if heading or self.style == "title" or (self.outline is not None and self.outline < 9 and len(text) < 200):
            self._end_list()
            self.writer.heading(text, int(heading[1]) if heading else 1 + (self.outline or 0))
        elif self.level is not None or _LIST.match(self.style):
            self.items.append("  " * (self.level or 0) + "- " + text)
        else:
            self._end_list()
            self.writer.block(text)

    def _end_list(self) -> None:
        if self.items:
            self.writer.block("\n".join(self.items), "list")
            self.items = []


def _number(text: str, most: int) -> int:
    return min(int(text), most) if text.isdigit() and len(text) < 4 else 0
