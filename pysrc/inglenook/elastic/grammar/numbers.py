"""Numbers between bounds, as JSON writes them, so that every JSON reader finds the value that is meant.

An integer is written without exponent, any other number without one if it is bounded. `DIGITS` digits at most, or as
many as the bounds of an integer have: what is written differently are different doubles then (IEEE 754), and what is
within the bounds as decimals is within them as doubles. Zero has no sign.

The bounds are languages of decimals of their own, met by intersection: above and below one decimal, compared digit by
digit from the left.
"""

from __future__ import annotations

from decimal import Decimal

from inglenook.elastic.grammar.expression import ALL, EMPTY, Arena

DIGITS = 15  # decimal digits that a double keeps

_ZERO = range(0x30, 0x31)
_ANY = range(0x30, 0x3A)
_SOME = range(0x31, 0x3A)


def number(
    arena: Arena, integer: bool, low: Decimal | None, high: Decimal | None, *, over: bool = False, under: bool = False
) -> int:
    """Numbers from `low` to `high`, without `low` itself where `over` and without `high` where `under`. None: no bound.

    The result is EMPTY where nothing lies between.
    """
    digits = DIGITS
    if integer:
        digits = max([digits, *(bound.adjusted() + 1 for bound in (low, high) if bound is not None)])
    base = _integers(arena, digits) if integer else _decimals(arena, free=low is None and high is None)
    nothing = arena.repeat(arena.bytes_(b"0."))
    positive = base
    negative = arena.both(base, arena.seq(nothing, arena.bytes_(_SOME), ALL))
    if low is not None and (low > 0 or (low == 0 and over)):
        positive = arena.both(positive, _at_least(arena, low, over))
    if high is not None:
        positive = EMPTY if high < 0 else arena.both(positive, _at_most(arena, high, under))
    if high is not None and high <= 0:
        negative = arena.both(negative, _at_least(arena, -high, under))
    if low is not None:
        negative = EMPTY if low >= 0 else arena.both(negative, _at_most(arena, -low, over))
    return arena.alt((positive, arena.seq(arena.literal(b"-"), negative)))


def _integers(arena: Arena, digits: int) -> int:
    more = arena.seq(arena.bytes_(_SOME), arena.repeat(arena.bytes_(_ANY), 0, digits - 1))
    return arena.alt((arena.literal(b"0"), more))


def _decimals(arena: Arena, free: bool) -> int:
    """`DIGITS` digits at most in all; where `free`, an exponent of two digits."""
    digit = arena.bytes_(_ANY)
    point = arena.literal(b".")
    parts = [_integers(arena, DIGITS)]
    for before in range(1, DIGITS):
        whole = arena.literal(b"0") if before == 1 else EMPTY
        whole = arena.alt((whole, arena.seq(arena.bytes_(_SOME), arena.repeat(digit, before - 1, before - 1))))
        parts.append(arena.seq(whole, point, arena.repeat(digit, 1, DIGITS - before)))
    value = arena.alt(parts)
    if not free:
        return value
    exponent = arena.seq(
        arena.bytes_(b"eE"), arena.optional(arena.bytes_(b"+-")), arena.bytes_(_SOME), arena.optional(digit)
    )
    return arena.seq(value, arena.optional(exponent))


def _split(bound: Decimal) -> tuple[int, str]:
    """The whole part and the digits after the point, without zeros at the end."""
    whole, _, fraction = f"{bound:f}".partition(".")
    return int(whole), fraction.rstrip("0")


def _at_least(arena: Arena, bound: Decimal, strict: bool) -> int:
    """Decimals without sign, not below `bound` ≥ 0."""
    whole, fraction = _split(bound)
    digits, point = arena.repeat(arena.bytes_(_ANY)), arena.literal(b".")
    positive = arena.seq(arena.repeat(arena.bytes_(_ZERO)), arena.bytes_(_SOME), digits)
    rest = positive if strict else digits
    for at in reversed(fraction.encode()):
        rest = arena.alt((arena.seq(arena.set(1 << at), rest), arena.seq(arena.bytes_(range(at + 1, 0x3A)), digits)))
    rest = arena.seq(point, rest)
    if not fraction and not strict:
        rest = arena.optional(rest)
    after = arena.optional(arena.seq(point, digits))
    text = str(whole + 1).encode()
    more = [arena.seq(arena.bytes_(_SOME), arena.repeat(arena.bytes_(_ANY), len(text)))]
    for i, at in enumerate(text):
        least = at if i == len(text) - 1 else at + 1
        rest_digits = arena.repeat(arena.bytes_(_ANY), len(text) - i - 1, len(text) - i - 1)
        more.append(arena.seq(arena.literal(text[:i]), arena.bytes_(range(least, 0x3A)), rest_digits))
    return arena.alt((arena.seq(arena.literal(str(whole).encode()), rest), arena.seq(arena.alt(more), after)))


def _at_most(arena: Arena, bound: Decimal, strict: bool) -> int:
    """Decimals without sign, not above `bound` ≥ 0."""
    whole, fraction = _split(bound)
    digits, point = arena.repeat(arena.bytes_(_ANY)), arena.literal(b".")
    rest = EMPTY if strict else arena.repeat(arena.bytes_(_ZERO))
    for i, at in reversed([*enumerate(fraction.encode())]):
        less = arena.seq(arena.bytes_(range(0x30, at)), digits)
        rest = arena.alt((less, arena.seq(arena.set(1 << at), rest)))
        if i:  # what ends here is smaller
            rest = arena.optional(rest)
    rest = arena.seq(point, rest)
    if fraction or not strict:
        rest = arena.optional(rest)
    same = arena.seq(arena.literal(str(whole).encode()), rest)
    if whole == 0:
        return same
    after = arena.optional(arena.seq(point, digits))
    text = str(whole - 1).encode()
    fewer = [arena.literal(b"0")]
    if len(text) > 1:
        fewer.append(arena.seq(arena.bytes_(_SOME), arena.repeat(arena.bytes_(_ANY), 0, len(text) - 2)))
    for i, at in enumerate(text):
        below = range(0x31 if i == 0 else 0x30, at + (i == len(text) - 1))
        rest_digits = arena.repeat(arena.bytes_(_ANY), len(text) - i - 1, len(text) - i - 1)
        fewer.append(arena.seq(arena.literal(text[:i]), arena.bytes_(below), rest_digits))
    return arena.alt((same, arena.seq(arena.alt(fewer), after)))
