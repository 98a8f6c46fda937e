"""Sets of characters as bytes: UTF-8 for plain text, UTF-8 with JSON's escapes inside a JSON string.

A set is a sorted tuple of ranges (first, last) of code points; surrogates are in none. A JSON string is written in one
way only, that of Python's `json.dumps(…, ensure_ascii=False)`: what need not be escaped is not, the short escapes are
used where there are any, \\u00xx for the other control characters. So a text and its JSON are one to one, and lengths,
patterns and forbidden words can be told of the bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from inglenook.elastic.grammar.expression import EPSILON, Arena

Ranges = tuple[tuple[int, int], ...]
Lower = Callable[[Arena, Ranges], int]

_SHORT = {0x08: b"b", 0x09: b"t", 0x0A: b"n", 0x0C: b"f", 0x0D: b"r", 0x22: b'"', 0x5C: b"\\"}
_LENGTHS = ((0x80, 0x7FF, 0xC0, 1), (0x800, 0xFFFF, 0xE0, 2), (0x10000, 0x10FFFF, 0xF0, 3))


def _clip(of: Iterable[tuple[int, int]], low: int, high: int) -> list[tuple[int, int]]:
    return [(max(first, low), min(last, high)) for first, last in of if first <= high and last >= low]


def ranges(parts: Iterable[tuple[int, int]]) -> Ranges:
    """Sorted, joined where they touch, without surrogates."""
    joined: list[tuple[int, int]] = []
    for first, last in sorted(parts):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(joined[-1][1], last))
        else:
            joined.append((first, last))
    whole = (*_clip(joined, 0, 0xD7FF), *_clip(joined, 0xE000, 0x10FFFF))
    return tuple(part for part in whole if part[0] <= part[1])


def invert(of: Ranges) -> Ranges:
    """All other characters."""
    edges = [-1, *(edge for pair in of for edge in pair), 0x110000]
    gaps = zip(edges[::2], edges[1::2])
    return ranges((before + 1, after - 1) for before, after in gaps if before + 1 < after)


ANY = invert(())


def _kept(lower: Lower) -> Lower:
    def kept(arena: Arena, of: Ranges) -> int:
        found = arena.lowered.get((lower, of))
        if found is None:
            found = arena.lowered[lower, of] = lower(arena, of)
        return found

    return kept


@_kept
def utf8(arena: Arena, of: Ranges) -> int:
    """One character of the set in UTF-8 (RFC 3629, section 3)."""
    parts = [arena.bytes_(byte for first, last in _clip(of, 0, 0x7F) for byte in range(first, last + 1))]
    for low, high, prefix, more in _LENGTHS:
        inside = [(first, last) for first, last in _clip(of, low, high)]
        parts.append(_split(arena, inside, more, prefix))
    return arena.alt(parts)


@_kept
def json(arena: Arena, of: Ranges) -> int:
    """One character of the set as it stands in a JSON string."""
    raw = _clip(of, 0x20, 0x21) + _clip(of, 0x23, 0x5B) + _clip(of, 0x5D, 0x10FFFF)
    escaped = [
        code for first, last in of for code in range(first, min(last, 0x5C) + 1) if code < 0x20 or code in _SHORT
    ]
    texts = [b"\\" + _SHORT[code] if code in _SHORT else b"\\u%04x" % code for code in escaped]
    return arena.alt([utf8(arena, tuple(raw)), *map(arena.literal, texts)])


def _split(arena: Arena, of: list[tuple[int, int]], more: int, prefix: int) -> int:
    """Code points of which all but the last 6 * `more` bits are in the next byte, beside `prefix`."""
    size = 64**more
    partly: dict[int, list[tuple[int, int]]] = {}
    whole = 0
    for first, last in of:
        start, stop = first // size, last // size
        for lead in {start, stop}:
            inside = (max(first - lead * size, 0), min(last - lead * size, size - 1))
            partly.setdefault(lead, []).append(inside)
        for lead in range(start + 1, stop):
            whole |= 1 << (prefix + lead)
    masks: dict[tuple[tuple[int, int], ...], int] = {((0, size - 1),): whole} if whole else {}
    for lead, parts in partly.items():
        masks[(*parts,)] = masks.get((*parts,), 0) | 1 << (prefix + lead)
    return arena.alt([
        arena.seq(arena.set(mask), EPSILON if more == 0 else _split(arena, list(rest), more - 1, 0x80))
        for rest, mask in masks.items()
    ])  # fmt: skip
