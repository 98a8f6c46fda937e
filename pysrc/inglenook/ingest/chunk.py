"""Cutting a text into passages, along its structure.

A block that is small enough stays whole; one that is not is cut at its best borders (sentences, items, rows,
definitions), the best of them first: where a piece is still too long, the next weaker kind of border cuts it. Small
neighbours under the same heading then join. Passages don't overlap, and no character that is not blank is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

from inglenook.ingest import borders
from inglenook.ingest.block import SEPARATOR, Block, shortened
from inglenook.ingest.outline import Outline
from inglenook.types import Chunk

TARGET = 420
LONGEST = 650

Borders = Callable[[str, int, int], Iterator[int]]

LADDERS: dict[str, tuple[Borders, ...]] = {
    "text": (borders.paragraphs, borders.sentences, borders.clauses, borders.words),
    "heading": (borders.sentences, borders.clauses, borders.words),
    "list": (borders.items, borders.lines, borders.sentences, borders.clauses, borders.words),
    "table": (borders.lines, borders.sentences, borders.clauses, borders.words),
    "code": (borders.definitions, borders.paragraphs, borders.lines, borders.words),
}


@dataclass(slots=True)
class _Piece:
    """A chunk in the making; `section` is where its end lies, `open` that it so far holds headings only."""

    start: int
    end: int
    kind: str
    heading: str
    section: str
    page: int | None
    open: bool = False
    weight: int = 0  # characters of the part that gave the kind


def chunk(text: str, blocks: Iterable[Block], target: int = TARGET, longest: int = LONGEST) -> list[Chunk]:
    """Cut a text into passages of about `target` characters, at most `longest`."""
    return list(chunks(text, blocks, target, longest))


def chunks(text: str, blocks: Iterable[Block], target: int = TARGET, longest: int = LONGEST) -> Iterator[Chunk]:
    """The same, one at a time. `blocks` lie in order, don't overlap, and cover all that is not blank."""
    last: _Piece | None = None
    for block in blocks:
        lead = block.start - last.start if last is not None and _may_join(last, block) and last.open else 0
        for piece in _pieces(text, block, target, longest, lead):
            if last is None:
                last = piece
            elif _join(last, piece, target, longest):
                continue
            else:
                yield _finished(last)
                last = piece
    if last is not None:
        yield _finished(last)


def _may_join(last: _Piece, block: Block) -> bool:
    if last.page != block.page:
        return False
    if block.kind == "heading":
        return last.open and _inside(block.path, last.section)
    return last.section == block.path


def _inside(path: str, section: str) -> bool:
    return path == section or path.startswith(section + SEPARATOR)


def _join(last: _Piece, piece: _Piece, target: int, longest: int) -> bool:
    """Let `last` take `piece` in if they belong together and there is room."""
    if last.page != piece.page:
        return False
    if piece.open:
        if not (last.open and _inside(piece.heading, last.section)):
            return False
    elif last.section != piece.heading:
        return False
    if piece.end - last.start > (longest if last.open else target):
        return False
    size = piece.end - piece.start
    if (last.open and not piece.open) or (last.open == piece.open and size > last.weight):
        last.kind, last.weight = piece.kind, size
    last.end, last.section, last.open = piece.end, piece.section, last.open and piece.open
    return True


def _pieces(text: str, block: Block, target: int, longest: int, lead: int) -> Iterator[_Piece]:
    """A block, whole or cut; `lead` characters of headings will stand before its first piece."""
    start, end = _trimmed(text, block.start, block.end)
    if start == end:
        return
    heading = block.kind == "heading"
    kind = "text" if heading else block.kind
    size = end - start
    if size + lead <= longest:
        yield _Piece(start, end, kind, block.path, block.section, block.page, heading, size)
        return
    outline = Outline(text, start, end) if kind == "code" else None
    header = block.header
    lead = min(lead, longest - target // 2)
    ladder = LADDERS[block.kind] if size < 50_000 else (borders.slabs, *LADDERS[block.kind])
    spans = cut(text, (start, end), ladder, target, longest, lead=lead)
    for at, (left, right) in enumerate(spans):
        path = block.path
        if at and header:
            path = _under(path, shortened(header, 2 * TARGET // 3))
        if outline is not None:
            path = _under(path, *outline.above(left))
        section = block.section if right == end and path == block.path else path
        yield _Piece(left, right, kind, path, section, block.page, heading and right == end, right - left)


def cut(
    text: str, span: tuple[int, int], ladder: tuple[Borders, ...], target: int, longest: int, *, lead: int = 0
) -> Iterator[tuple[int, int]]:
    """Spans of at most `longest` characters (the first `lead` fewer) that hold all of a span that is not blank.

    The span is cut at the borders of the ladder's first step. Short parts are packed to about the same size, near
    `target`; a part too long is cut by itself, one step down.
    """
    start, end = _trimmed(text, *span)
    if end - start <= longest - lead:
        yield from _unblank(text, start, end)
        return
    step = ladder[0](text, start, end) if ladder else borders.graphemes(text, start, end, min(target, longest - lead))
    even = (end - start) / max(2, round((end - start) / target))
    left = right = low = start  # the piece in the making is left…right, the part low…high
    for high in chain(step, (end,)):
        fits = high - left <= longest - lead
        if right > left and not (fits and (high - left) + (right - left) <= 2 * (even - lead)):
            yield from _unblank(text, left, right)
            left, lead = low, 0
            fits = high - left <= longest
        if fits:
            right = high
        else:
            yield from cut(text, (left, high), ladder[1:], target, longest, lead=lead)
            left, right, lead = high, high, 0
        low = high
    yield from _unblank(text, left, right)


def _unblank(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    start, end = _trimmed(text, start, end)
    if start < end:
        yield start, end


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end


def _under(path: str, *names: str) -> str:
    return SEPARATOR.join(name for name in (path, *names) if name)


def _finished(piece: _Piece) -> Chunk:
    return Chunk(piece.start, piece.end, piece.page, piece.heading, piece.kind)
