"""Plain text: paragraphs are parted by blank lines. And source code: one block, cut along its definitions later."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain

from inglenook.ingest.block import Writer

_BLANK = re.compile(r"\n[ \t]*+(?=\n)")
_ITEM = re.compile(r"\s*(?:[-*•–]|\d{1,3}[.)])[ \t]+\S")


def parse(text: str, writer: Writer) -> Iterator[int]:
    """Blocks of a plain text, which is kept as it is. Yields characters done."""
    writer.append(text)
    start = 0
    for match in chain(_BLANK.finditer(text), (None,)):
        end = match.start() if match else len(text)
        if text[start : start + 80].strip() or text[start:end].strip():
            writer.mark(start, end, "list" if _ITEM.match(text, start, end) else "text")
        start = end
        yield end


def parse_code(text: str, writer: Writer) -> Iterator[int]:
    """Source code, kept as it is."""
    writer.append(text)
    writer.mark(0, len(text), "code")
    yield len(text)
