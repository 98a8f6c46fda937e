"""Tables of text: CSV and TSV files, and how a row of any table is written."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator

from inglenook.ingest import plain
from inglenook.ingest.block import Writer, one_line

_QUOTED = re.compile(r'"(?:[^"]|"")*+"')
_NUMBER = re.compile(r"[-+($€£¥]?\d[\d.,:/%\s-]*\)?$")


def row(cells: Iterable[str]) -> str:
    """A row on one line; "" if all its cells are blank."""
    line = " | ".join(one_line(cell) for cell in cells)
    return "" if not line.strip(" |") else line.strip()


def parse(text: str, writer: Writer) -> Iterator[int]:
    """One block for the whole file, with its first row as the header if it reads like one. Yields characters done."""
    stream = io.StringIO(text, newline="")
    reader = csv.reader(stream, delimiter=delimiter(text))
    header, start, count = "", 0, 0
    lines: list[str] = []
    try:
        for cells in reader:
            line = row(cells)
            if line:
                if not count and is_header(cells):
                    header = line
                count += 1
                lines.append(line)
            yield stream.tell()
    except csv.Error:
        writer.warnings.append("Not a proper table; read as text.")
        yield from plain.parse(text, writer)
        return
    start = writer.append("\n".join(lines))
    writer.mark(start, writer.length, "table", header if count > 1 else "")


def delimiter(text: str) -> str:
    """The character that parts cells: the one that most of the first lines have most evenly."""
    sample = _QUOTED.sub("", text[:20_000]).split("\n")[:30]
    if len(sample) > 1:
        sample.pop()
    sample = [line for line in sample if line.strip()]

    def evenness(char: str) -> tuple[int, int]:
        counts = [line.count(char) for line in sample]
        usual = max(set(counts), key=counts.count, default=0)
        return (counts.count(usual) if usual else 0, usual)

    return max(",;\t|", key=evenness)


def is_header(cells: list[str]) -> bool:
    """Whether these cells name columns: different words, none of them a number."""
    names = [cell.strip() for cell in cells]
    filled = [name for name in names if name]
    return (
        bool(filled)
        and len(set(filled)) == len(filled)
        and not any(_NUMBER.match(name) or len(name) > 60 for name in filled)
    )
