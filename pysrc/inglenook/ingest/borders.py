"""Where a text may be cut: sentences, clauses, words, grapheme clusters, lines, definitions.

Each function gives the offsets inside `text[start:end]` at which a new piece may begin, in order. Grapheme clusters are
those of Unicode Annex 29 as far as the standard library's tables tell them.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from inglenook.search.sentences import starts

_CLAUSE = re.compile(r"[;:,،؛—–](?=\s)|[、，；：]|\n")
_SPACE = re.compile(r"\s+")
_BLANK = re.compile(r"\n[ \t]*\n")
_LINE = re.compile(r"\n")
_TOP = re.compile(r"\n[ \t]*\n(?=[^\s}\])])")


def sentences(text: str, start: int, end: int) -> Iterator[int]:
    """Starts of sentences."""
    return (at for at in starts(text, start, end) if text[at - 1].isspace() or is_border(text, at))


def clauses(text: str, start: int, end: int) -> Iterator[int]:
    """Starts of clauses: after commas, colons and the like, and of lines."""
    return _after(_CLAUSE, text, start, end)


def slabs(text: str, start: int, end: int) -> Iterator[int]:
    """Starts of slabs of about 30,000 characters: cut at a blank line, else a line, else a space where there is one.

    A text without structure is cut slab by slab, so that no search runs through all of it.
    """
    while end - start > 40_000:
        for mark in ("\n\n", "\n", ". ", "。", " "):
            at = text.rfind(mark, start + 20_000, start + 40_000)
            if at >= 0:
                start = at + len(mark)
                break
        else:
            start += 30_000
            while not is_border(text, start) and start % 1000:
                start -= 1
        yield start


def words(text: str, start: int, end: int) -> Iterator[int]:
    """Starts of words, where the script has spaces (in Thai these part phrases)."""
    return _after(_SPACE, text, start, end)


def lines(text: str, start: int, end: int) -> Iterator[int]:
    """Starts of lines."""
    return _after(_LINE, text, start, end)


def paragraphs(text: str, start: int, end: int) -> Iterator[int]:
    """Starts of what follows a blank line."""
    return _after(_BLANK, text, start, end)


def definitions(text: str, start: int, end: int) -> Iterator[int]:
    """Starts of what follows a blank line and is not indented: functions, classes, sections of a program."""
    return _after(_TOP, text, start, end)


def items(text: str, start: int, end: int) -> Iterator[int]:
    """Starts of list items of the outermost level (lines indented the least)."""
    at = [start, *lines(text, start, end)]
    indents = [_indent(text, here) for here in at]
    least = min(indents)
    return iter([here for here, indent in zip(at, indents) if here > start and indent == least])


def graphemes(text: str, start: int, end: int, size: int) -> Iterator[int]:
    """Starts of grapheme clusters, about every `size` characters; a cluster longer than that is cut all the same."""
    last = start
    while end - last > size:
        at = last + size
        while at > last and not is_border(text, at):
            at -= 1
        last = at if at > last else last + size
        yield last


def _after(pattern: re.Pattern[str], text: str, start: int, end: int) -> Iterator[int]:
    for match in pattern.finditer(text, start, end):
        if start < match.end() < end:
            yield match.end()


def _indent(text: str, at: int) -> int:
    count = 0
    while at + count < len(text) and text[at + count] in " \t":
        count += 1
    return count


# ── grapheme clusters ─────────────────────────────────────────────────────────────────────────────────────────────

_VIRAMAS = "्্੍્୍்్್്්္្᮫᯲᯳꣄꧀"


def is_border(text: str, at: int) -> bool:
    """Whether a grapheme cluster begins at `at` (0 < at < len(text)); beside white space one always does."""
    before, after = text[at - 1], text[at]
    if before.isspace() or after.isspace():
        return not (before == "\r" and after == "\n")
    if after < "\u0300":
        return before != "\u200d"
    if before == "\u200d" or after == "\u200d" or _extends(after) or _prepends(before):
        return False
    if "\U0001f1e6" <= after <= "\U0001f1ff":  # flags are pairs of regional indicators
        first = at
        while first and "\U0001f1e6" <= text[first - 1] <= "\U0001f1ff":
            first -= 1
        return (at - first) % 2 == 0
    if _jamo(after) and _jamo(before):
        return not _joins(before, after)
    return not (before in _VIRAMAS and unicodedata.category(after) == "Lo")


def _extends(char: str) -> bool:
    return (
        unicodedata.category(char) in ("Mn", "Mc", "Me")
        or "\U0001f3fb" <= char <= "\U0001f3ff"  # skin tones
        or "\U000e0020" <= char <= "\U000e007f"  # tags
        or char in "\u0e33\u0eb3\u200c\uff9e\uff9f"
    )


def _prepends(char: str) -> bool:
    return "\u0600" <= char <= "\u0605" or char in "\u06dd\u070f\u08e2\u0d4e"


def _jamo(char: str) -> bool:
    return "\u1100" <= char <= "\u11ff" or "\uac00" <= char <= "\ud7a3"


def _joins(before: str, after: str) -> bool:
    """Whether two pieces of Hangul are one syllable: L+(L|V|LV|LVT), (V|LV)+(V|T), (T|LVT)+T."""
    if before <= "\u115f":
        return after <= "\u11a7" or after >= "\uac00"
    vowel = "\u1160" <= before <= "\u11a7" or (before >= "\uac00" and (ord(before) - 0xAC00) % 28 == 0)
    return (vowel and "\u1160" <= after <= "\u11ff") or (not vowel and "\u11a8" <= after <= "\u11ff")
