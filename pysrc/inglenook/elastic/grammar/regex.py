r"""Regular expressions to expressions: the part of ECMA-262's syntax that says which texts, and not how to find them.

    alternatives a|b      groups (…) (?:…) (?<name>…) (?P<name>…)      quantifiers * + ? {n} {n,} {n,m}, lazy ones too
    classes [a-z] [^…]    . \d \D \w \W \s \S as in ECMA-262           escapes \t \n \v \f \r \0 \xhh \uhhhh \u{h…}
    anchors ^ and $ at the ends of the pattern or of one of its alternatives

There are no back references, no looking around, no word borders and no flags: NookError("regex") says where. `{` must
be escaped where it stands for itself. Lazy quantifiers accept the same texts as others do.
"""

from __future__ import annotations

import string
from dataclasses import dataclass, field

from inglenook.elastic.grammar import text
from inglenook.elastic.grammar.expression import EPSILON, Arena
from inglenook.elastic.grammar.text import ANY, Lower, Ranges, invert, ranges
from inglenook.errors import NookError

DEEPEST = 50  # groups in groups
MOST = 65_535  # repetitions

_DIGIT = ranges([(0x30, 0x39)])
_WORD = ranges([(0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A)])
_SPACE = ranges([(9, 13), (32, 32), (0xA0, 0xA0), (0x1680, 0x1680), (0x2000, 0x200A), (0x2028, 0x2029),
                 (0x202F, 0x202F), (0x205F, 0x205F), (0x3000, 0x3000), (0xFEFF, 0xFEFF)])  # fmt: skip
_ENDS = ranges([(0x0A, 0x0A), (0x0D, 0x0D), (0x2028, 0x2029)])
_CLASSES = {"d": _DIGIT, "D": invert(_DIGIT), "w": _WORD, "W": invert(_WORD), "s": _SPACE, "S": invert(_SPACE)}
_CONTROLS = {"t": 9, "n": 10, "v": 11, "f": 12, "r": 13, "0": 0}


@dataclass(slots=True)
class Part:
    """A part of a pattern that begins at `at`; `kind` is "set", "seq", "alt", "repeat", "^" or "$"."""

    kind: str
    at: int
    parts: list[Part] = field(default_factory=list)
    of: Ranges = ()
    least: int = 0
    most: int | None = None


def compile(arena: Arena, pattern: str, lower: Lower = text.utf8, *, search: bool = False) -> int:
    """The texts that the whole pattern matches; with `search`, those in which it matches somewhere.

    `lower` tells how a character is written. Raises NookError("regex") with the position of what is wrong.
    """
    part = _Parser(pattern).whole()
    around = arena.repeat(lower(arena, ANY))

    def anchored(part: Part, start: bool = not search, stop: bool = not search) -> int:
        if part.kind == "alt":
            return arena.alt([anchored(branch, start, stop) for branch in part.parts])
        inside = part.parts if part.kind == "seq" else [part]
        while inside and inside[0].kind == "^":
            inside, start = inside[1:], True
        while inside and inside[-1].kind == "$":
            inside, stop = inside[:-1], True
        if len(inside) == 1 and inside[0].kind in ("alt", "seq"):
            return anchored(inside[0], start, stop)
        ends = EPSILON if start else around, EPSILON if stop else around
        return arena.seq(ends[0], *[lowered(part) for part in inside], ends[1])

    def lowered(part: Part) -> int:
        match part.kind:
            case "set":
                return lower(arena, part.of)
            case "seq":
                return arena.seq(*[lowered(part) for part in part.parts])
            case "alt":
                return arena.alt([lowered(part) for part in part.parts])
            case "repeat":
                return arena.repeat(lowered(part.parts[0]), part.least, part.most)
        raise _bad(f"{part.kind} stands inside", part.at, "Anchors may stand at the ends of an alternative only.")

    return anchored(part)


def _bad(what: str, at: int, hint: str = "") -> NookError:
    hint = hint or "Use the syntax that JSON Schema recommends."
    return NookError("regex", f"The pattern cannot be used: {what} at position {at}.", hint)


class _Parser:
    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._at = 0
        self._deep = 0

    def whole(self) -> Part:
        part = self._alternatives()
        if self._at < len(self._pattern):
            raise _bad("a ) without its (", self._at)
        return part

    def _peek(self) -> str:
        return self._pattern[self._at : self._at + 1]

    def _take(self, wanted: str) -> bool:
        """Step over `wanted` if it comes next."""
        if not self._pattern.startswith(wanted, self._at):
            return False
        self._at += len(wanted)
        return True

    def _alternatives(self) -> Part:
        at, parts = self._at, [self._sequence()]
        while self._take("|"):
            parts.append(self._sequence())
        return parts[0] if len(parts) == 1 else Part("alt", at, parts)

    def _sequence(self) -> Part:
        at, parts = self._at, []
        while self._peek() not in ("", "|", ")"):
            parts.append(self._quantified())
        return Part("seq", at, parts)

    def _quantified(self) -> Part:
        at = self._at
        part = self._atom()
        bounds = self._quantifier()
        if bounds is None:
            return part
        if part.kind in "^$":
            raise _bad("an anchor that is repeated", at)
        self._take("?")
        if self._peek() in ("*", "+", "?", "{"):
            raise _bad("a quantifier of a quantifier", self._at, "Put the inner one into a group.")
        return Part("repeat", at, [part], least=bounds[0], most=bounds[1])

    def _quantifier(self) -> tuple[int, int | None] | None:
        at = self._at
        for mark, bounds in (("*", (0, None)), ("+", (1, None)), ("?", (0, 1))):
            if self._take(mark):
                return bounds
        if not self._take("{"):
            return None
        least = self._number()
        comma = self._take(",")
        most = self._number() if comma else least
        if least is None or not self._take("}"):
            raise _bad("{ without a number and }", at, "Write \\{ for the character.")
        if most is not None and most < least:
            raise _bad("a largest number below the smallest", at)
        if max(least, most or 0) > MOST:
            raise _bad(f"more than {MOST} repetitions", at)
        return least, most

    def _number(self) -> int | None:
        start = self._at
        while self._peek() and self._peek() in string.digits:
            self._at += 1
        return int(self._pattern[start : self._at][:9]) if self._at > start else None

    def _atom(self) -> Part:
        at = self._at
        mark = self._peek()
        if mark in "*+?{":
            raise _bad(f"nothing before {mark}", at, f"Write \\{mark} for the character.")
        self._at += 1
        match mark:
            case "^" | "$":
                return Part(mark, at)
            case ".":
                return Part("set", at, of=invert(_ENDS))
            case "(":
                return self._group(at)
            case "[":
                return Part("set", at, of=self._class(at))
            case "\\":
                return Part("set", at, of=self._escape(at, inside=False))
        return Part("set", at, of=self._one(mark, at))

    def _group(self, at: int) -> Part:
        if self._take("?") and not self._take(":"):
            if not (self._take("<") or self._take("P<")) or self._peek() in ("=", "!"):
                raise _bad("a group that looks around or sets flags", at)
            name, found, _ = self._pattern[self._at :].partition(">")
            if not found or not name.isidentifier():
                raise _bad("a group's name", self._at)
            self._at += len(name) + 1
        self._deep += 1
        if self._deep > DEEPEST:
            raise _bad(f"groups more than {DEEPEST} deep", at)
        part = self._alternatives()
        self._deep -= 1
        if not self._take(")"):
            raise _bad("a ( without its )", at)
        return part

    def _class(self, at: int) -> Ranges:
        inverted = self._take("^")
        found: list[tuple[int, int]] = []
        while not self._take("]"):
            if not self._peek():
                raise _bad("a [ without its ]", at)
            start = self._at
            first = self._member(at)
            if self._peek() == "-" and self._pattern[self._at + 1 : self._at + 2] not in ("", "]"):
                self._at += 1
                last = self._member(at)
                if not (_single(first) and _single(last) and first[0][0] <= last[0][0]):
                    raise _bad("a range whose ends are not in order", start)
                found.append((first[0][0], last[0][0]))
            else:
                found += first
        if not found:
            raise _bad("an empty class", at)
        return invert(ranges(found)) if inverted else ranges(found)

    def _member(self, at: int) -> Ranges:
        mark = self._peek()
        if not mark:
            raise _bad("a [ without its ]", at)
        self._at += 1
        return self._escape(self._at - 1, inside=True) if mark == "\\" else self._one(mark, self._at - 1)

    def _escape(self, at: int, inside: bool) -> Ranges:
        mark = self._peek()
        self._at += 1
        if mark in _CLASSES and mark:
            return _CLASSES[mark]
        if inside and mark == "b":
            return ((8, 8),)
        if mark in _CONTROLS and not (mark == "0" and self._peek() and self._peek() in string.digits):
            return ((_CONTROLS[mark], _CONTROLS[mark]),)
        if mark == "x":
            return self._code(self._hex(2, at), at)
        if mark == "u":
            return self._code(self._unicode(at), at)
        if not mark or mark.isalnum():
            raise _bad(f"\\{mark}", at, "No back references, word borders or properties here.")
        return self._one(mark, at)

    def _unicode(self, at: int) -> int:
        if self._take("{"):
            digits, found, _ = self._pattern[self._at :].partition("}")
            if not found or not 0 < len(digits) <= 6 or not {*digits} <= {*string.hexdigits}:
                raise _bad("\\u{", at)
            self._at += len(digits) + 1
            return int(digits, 16)
        high = self._hex(4, at)
        if 0xD800 <= high < 0xDC00 and self._take("\\u"):
            low = self._hex(4, at)
            if 0xDC00 <= low < 0xE000:
                return 0x10000 + (high - 0xD800) * 0x400 + low - 0xDC00
        return high

    def _hex(self, count: int, at: int) -> int:
        digits = self._pattern[self._at : self._at + count]
        if len(digits) < count or not {*digits} <= {*string.hexdigits}:
            raise _bad(f"{count} hexadecimal digits are missing", at)
        self._at += count
        return int(digits, 16)

    def _one(self, mark: str, at: int) -> Ranges:
        return self._code(ord(mark), at)

    def _code(self, code: int, at: int) -> Ranges:
        if 0xD800 <= code < 0xE000 or code > 0x10FFFF:
            raise _bad("half a character", at, "Write both halves, or \\u{…}.")
        return ((code, code),)


def _single(of: Ranges) -> bool:
    return len(of) == 1 and of[0][0] == of[0][1]
