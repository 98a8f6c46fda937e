"""Blocks: the structure of a text before it is cut, and the writer every format puts its text into."""

from __future__ import annotations

import re
from dataclasses import dataclass

SEPARATOR = " › "
WIDEST = 120  # characters of one heading in a path

_CONTROL = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\ufffe\uffff]")
_LONE = re.compile("[\ud800-\udfff]")
_SPACE = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class Block:
    """Characters `start` to `end` of a text that belong together.

    `kind` is "heading", "text", "code", "table" or "list". `path` is the path of headings above the block; a heading's
    own `section` is the path below it. `header` is a table's first row, repeated above every later piece of it.
    """

    start: int
    end: int
    kind: str = "text"
    path: str = ""
    section: str = ""
    page: int | None = None
    header: str = ""


def clean(text: str) -> str:
    """The text with `\\n` line ends and without what no reader sees: NULs, control characters, lone surrogates."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return _LONE.sub("\ufffd", _CONTROL.sub("", text))


def one_line(text: str) -> str:
    """The text with every run of white space as one space."""
    return _SPACE.sub(" ", text).strip()


def shortened(text: str, width: int = WIDEST) -> str:
    """The text on one line, at most `width` characters of it."""
    text = one_line(text[: 4 * width])
    return text if len(text) <= width else text[: width - 1].rstrip() + "…"


class Writer:
    """Collects a document's text and blocks, in order."""

    def __init__(self) -> None:
        self.title = ""
        self.language = ""
        self.blocks: list[Block] = []
        self.warnings: list[str] = []
        self.pages: list[int] = []
        self.length = 0
        self._parts: list[str] = []
        self._path: list[tuple[int, str]] = []

    @property
    def text(self) -> str:
        """All that was written so far."""
        return "".join(self._parts)

    @property
    def first_heading(self) -> str:
        """The first heading of the text, "" if there is none."""
        for block in self.blocks:
            if block.kind == "heading":
                return shortened(block.section.rsplit(SEPARATOR, 1)[-1])
        return ""

    def gap(self, separator: str) -> None:
        """Put white space between what was written and what comes."""
        if self.length:
            self._parts.append(separator)
            self.length += len(separator)

    def page(self) -> None:
        """Begin a new page."""
        self.gap("\n\n")
        self.pages.append(self.length)

    def append(self, text: str) -> int:
        """Write text that needs no separator and no block of its own; returns where it starts."""
        start = self.length
        self._parts.append(text)
        self.length += len(text)
        return start

    def block(self, text: str, kind: str = "text", header: str = "", separator: str = "\n\n") -> None:
        """Write a block; blank ones leave no trace."""
        if text and not text.isspace():
            if not self._at_page_start():
                self.gap(separator)
            start = self.append(text)
            self.mark(start, self.length, kind, header)

    def mark(
        self, start: int, end: int, kind: str = "text", header: str = "", *, level: int = 1, title: str = ""
    ) -> None:
        """Make a block of characters that are written already; a heading opens a section named `title`."""
        page = len(self.pages) or None
        if kind != "heading":
            path = self.path
            self.blocks.append(Block(start, end, kind, path, path, page, header))
            return
        while self._path and self._path[-1][0] >= level:
            self._path.pop()
        above = self.path
        self._path.append((level, shortened(title)))
        self.blocks.append(Block(start, end, kind, above, self.path, page))

    def heading(self, text: str, level: int) -> None:
        """Write a heading and open its section."""
        text = one_line(text)
        if text:
            if not self._at_page_start():
                self.gap("\n\n")
            start = self.append(text)
            self.mark(start, self.length, "heading", level=level, title=text)

    @property
    def path(self) -> str:
        """The headings above what is written next."""
        return SEPARATOR.join(name for _, name in self._path)

    def _at_page_start(self) -> bool:
        return bool(self.pages) and self.pages[-1] == self.length
