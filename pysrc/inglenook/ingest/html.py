"""HTML as plain text with its structure.

The tokenizer is one loop over the text that never looks back, so no page, however broken, takes more than linear time,
and it can pause anywhere. (The standard library's parser takes quadratic time on some malformed input before 3.13.)
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape

from inglenook.ingest.block import Writer, clean, one_line
from inglenook.ingest.table import row

_TAG = re.compile(
    r"<(/?)([A-Za-z][^\s/>]{0,60})((?:[^>\"']++|\"[^\"]*+\"|'[^']*+')*+)>",
)
_ATTRIBUTE = re.compile(r"([\w:-]{1,60})\s{0,20}(?:=\s{0,20}(?:\"([^\"]*)\"|'([^']*)'|([^\s\"'>]+)))?")

_RAW = frozenset("script style textarea title xmp noembed noframes iframe".split())  # noqa: SIM905
_DROPPED = _RAW - {"textarea", "title", "xmp"} | frozenset(
    "nav template svg object canvas audio video select".split()  # noqa: SIM905
)
_BLOCKS = frozenset(
    """address article aside blockquote body center dd details dialog dir div dl dt fieldset figcaption figure footer
    form h1 h2 h3 h4 h5 h6 head header hgroup hr html legend li main menu ol p pre section summary table tbody tfoot
    thead tr ul caption""".split()  # noqa: SIM905
)
_VOID = frozenset("area base br col embed hr img input link meta param source track wbr".split())  # noqa: SIM905
_HEADINGS = {f"h{level}": level for level in range(1, 7)}


def tokens(text: str) -> Iterator[tuple[str, str, str, int]]:
    """("text" | "open" | "close", tag or text, attributes, end), in order; without comments and the like."""
    at, end = 0, len(text)
    last = text.rfind(">")
    while at < end:
        tag = text.find("<", at)
        if tag < 0 or tag > last:
            yield "text", text[at:], "", end
            return
        if tag > at:
            yield "text", text[at:tag], "", tag
        at = tag
        match = _TAG.match(text, at, at + 4096)
        if match is None and (text[at + 1 : at + 2].isalpha() or text.startswith("</", at)):
            close = text.find(">", at)  # a tag with a quote that doesn't end, or a very long one
            name = re.match(r"</?([A-Za-z][^\s/>]{0,60})", text[at : at + 64])
            if name:
                yield ("close" if text[at + 1] == "/" else "open"), name[1].lower(), text[at:close][:4096], close + 1
            at = close + 1
        elif match is not None:
            name_of, at = match[2].lower(), match.end()
            yield ("close" if match[1] else "open"), name_of, match[3], at
            if name_of in _RAW and not match[1]:
                found = re.compile(rf"</{re.escape(name_of)}", re.I).search(text, at)
                stop = found.start() if found else end
                yield "text", text[at:stop], "", stop
                at = stop
        elif text.startswith("<!--", at):
            close = text.find("-->", at + 2)
            at = close + 3 if close >= 0 else end
        elif text[at + 1 : at + 2] in ("!", "?"):
            close = text.find(">", at)
            at = close + 1 if close >= 0 else end
        else:
            yield "text", "<", "", at + 1
            at += 1


def attributes(text: str) -> dict[str, str]:
    """A tag's attributes."""
    return {
        match[1].lower(): unescape(match[2] or match[3] or match[4] or "") for match in _ATTRIBUTE.finditer(text[:4096])
    }


class _Reader:
    """Turns tokens into blocks."""

    def __init__(self, writer: Writer) -> None:
        self.writer = writer
        self.inline: list[str] = []
        self.dropped: list[str] = []  # open elements that are not read
        self.lists: list[int] = []  # open lists: the next number, 0 for bullets
        self.items: list[str] = []  # lines of the outermost list
        self.rows: list[tuple[bool, list[str]]] = []  # is it a header, its cells
        self.tables = 0
        self.heading = 0
        self.pre = 0
        self.bullet = ""
        self.in_title = False

    def open(self, tag: str, text: str) -> None:
        if self.dropped:
            if tag == self.dropped[-1] and tag not in _VOID:
                self.dropped.append(tag)
            return
        if tag == "html":
            self.writer.language = attributes(text).get("lang", "").strip()[:35]
        hidden = "hidden" in text and "hidden" in (named := attributes(text)) and named["hidden"] != "until-found"
        if tag in _DROPPED or (hidden and tag not in _VOID and not text.endswith("/")):
            self.flush()
            self.dropped.append(tag)
        elif tag == "title":
            self.in_title = not self.writer.title
        elif tag == "br":
            self.inline.append("\n" if self.pre else "\x00")
        elif tag == "img":
            if "alt" in text and (alt := attributes(text).get("alt", "").strip()):
                self.inline.append(f" {alt} ")
        elif tag in ("td", "th"):
            self._end_cell()
            if self.rows:
                self.rows[-1][1].append("")
                if tag == "td":
                    self.rows[-1] = (False, self.rows[-1][1])
        elif tag in _BLOCKS:
            if self.tables:
                self._in_table(tag)
            else:
                self.flush()
            if tag in ("ul", "ol", "menu"):
                self.lists.append(1 if tag == "ol" else 0)
            elif tag == "li":
                self._item()
            elif tag == "pre":
                self.pre += 1
            elif tag == "table":
                self.tables += 1
            elif tag in _HEADINGS:
                self.heading = _HEADINGS[tag]

    def close(self, tag: str) -> None:
        if self.dropped:
            if tag == self.dropped[-1]:
                self.dropped.pop()
            return
        if tag == "title":
            self.in_title = False
        elif tag in ("td", "th"):
            self._end_cell()
        elif tag in _BLOCKS:
            if self.tables:
                if tag == "table":
                    self._end_cell()
                    self.tables -= 1
                    if not self.tables:
                        self._end_table()
                else:
                    self.inline.append(" ")
            else:
                self.flush()
            if tag in ("ul", "ol", "menu") and self.lists:
                self.lists.pop()
                if not self.lists:
                    self._end_list()
            elif tag == "pre":
                self.pre = max(0, self.pre - 1)
            elif tag in _HEADINGS:
                self.heading = 0

    def text(self, text: str) -> None:
        if self.dropped:
            return
        text = clean(unescape(text)) if "&" in text else text
        if self.in_title:
            self.writer.title = one_line(text)
            self.in_title = False
        else:
            self.inline.append(text)

    def flush(self) -> None:
        """End the block in the making."""
        text = "".join(self.inline)
        self.inline.clear()
        if self.pre and not self.lists:
            self.writer.block(text.strip("\n"), "code")
            return
        lines = [one_line(line) for line in text.split("\x00")]
        text = "\n".join(line for line in lines if line)
        if not text:
            return
        if self.lists:
            indent = "  " * min(len(self.lists) - 1, 8)
            self.items.append(f"{indent}{self.bullet or '  '}{text}")
            self.bullet = ""
        elif self.heading:
            self.writer.heading(text, self.heading)
        else:
            self.writer.block(text)

    def end(self) -> None:
        if self.tables:
            self._end_cell()
            self._end_table()
        self.flush()
        self._end_list()

    def _item(self) -> None:
        if not self.lists:
            self.bullet = ""
            return
        if self.lists[-1]:
            self.bullet = f"{self.lists[-1]}. "
            self.lists[-1] += 1
        else:
            self.bullet = "- "

    def _end_list(self) -> None:
        if self.items:
            self.writer.block("\n".join(self.items), "list")
            self.items = []

    def _in_table(self, tag: str) -> None:
        if tag == "tr" and self.tables == 1:
            self._end_cell()
            self.rows.append((True, []))
        else:
            self.inline.append(" ")

    def _end_cell(self) -> None:
        text = one_line("".join(self.inline).replace("\x00", " "))
        self.inline.clear()
        if not text:
            return
        if self.rows and self.rows[-1][1]:
            self.rows[-1][1][-1] = f"{self.rows[-1][1][-1]} {text}".strip()
        elif self.rows:
            self.rows[-1][1].append(text)
        else:  # a caption
            self.rows.append((False, [text]))

    def _end_table(self) -> None:
        rows = [(head, line) for head, cells in self.rows if (line := row(cells))]
        self.rows = []
        if rows:
            header = rows[0][1] if rows[0][0] and len(rows) > 1 else ""
            self.writer.block("\n".join(line for _, line in rows), "table", header)


def parse(text: str, writer: Writer) -> Iterator[int]:
    """Blocks of an HTML page, without scripts, styles and navigation. Yields characters done."""
    reader = _Reader(writer)
    for kind, value, more, at in tokens(text):
        if kind == "text":
            reader.text(value)
        elif kind == "open":
            reader.open(value, more)
        else:
            reader.close(value)
        yield at
    reader.end()
