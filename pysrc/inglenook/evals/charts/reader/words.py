"""Texts as a reader takes them: numbers, and names that are the same though a character was misread."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher

_NUMBER = re.compile(
    r"[~≈<>]?\s*(?P<open>\()?(?P<sign>[-+−–])?\s*(?:US|HK|A|C)?[$€£¥]?\s*(?P<digits>\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d*\.?\d+)"
    r"\s*(?P<unit>%|bps?|bn|mn|[kKmMbBxX])?(?(open)\))\s*"
)
_SCALES = {"k": 1e3, "m": 1e6, "mn": 1e6, "b": 1e9, "bn": 1e9}
_ASKING = {"what", "which", "how", "when", "who", "where"}
LIKE, NEARLY = 0.78, 0.8


def number(text: str) -> float | None:
    """The number that a text is and nothing beside it ("1,200", "−3.5%", "(7)" below zero, "2k"), or None."""
    match = _NUMBER.fullmatch(text.strip().replace("，", ",").replace("％", "%"))
    if not match:
        return None
    value = float(match["digits"].replace(",", "")) * _SCALES.get((match["unit"] or "").lower(), 1.0)
    return -value if match["open"] or (match["sign"] or "+") in "-−–" else value


def plain(text: str) -> str:
    """Without what recognition loses first: spaces, case, the width of characters."""
    wide = {ord("（"): "(", ord("）"): ")", ord("，"): ",", ord("："): ":", ord("−"): "-", ord("–"): "-"}
    return re.sub(r"[\s_]+", "", text.translate(wide)).casefold()


def alike(one: str, other: str) -> float:
    """How far two texts are the same, 0 to 1. Digits tell things apart, so they have to be the same."""
    one, other = plain(one), plain(other)
    if one == other:
        return 1.0
    if _digits(one) != _digits(other) or not one or not other:
        return 0.0
    return SequenceMatcher(None, one, other, autojunk=False).ratio()


def best(name: str, names: Iterable[str]) -> str | None:
    """The name among `names` that is meant by `name`."""
    ranked = sorted(((alike(name, other), other) for other in names), key=lambda pair: -pair[0])
    return ranked[0][1] if ranked and ranked[0][0] >= LIKE else None


def mentioned(text: str, names: Sequence[str]) -> list[str]:
    """The names that stand in a text as words of their own, in their order there; of names within one another the
    longest. A capital in a name is one in the text ("Value" is not in "what value"). Names that are not found so may
    be spelt a little otherwise."""
    found: list[tuple[int, int, str]] = []
    for name in sorted(dict.fromkeys(names), key=lambda name: -len(plain(name))):
        for match in spelt(name).finditer(text) if plain(name) else ():
            small = name[0].isupper() and text[match.start()].islower()
            if not small and not any(match.start() < end and start < match.end() for start, end, _ in found):
                found.append((*match.span(), name))
                break
    missing = [name for name in dict.fromkeys(names) if len(name) >= 4 and name not in {one for _, _, one in found}]
    for start, end in _windows(text) if missing else ():
        if any(start < e and s < end for s, e, _ in found):
            continue
        score, name = max((alike(text[start:end], name), name) for name in missing)
        if score >= NEARLY and all(name != one for _, _, one in found):
            found.append((start, end, name))
    return [name for _, _, name in sorted(found)]


def spelt(name: str) -> re.Pattern[str]:
    """A name with spaces anywhere, in either case, no part of a longer word or number."""
    letters = r"\s*".join(re.escape(letter) for letter in name if not letter.isspace())
    return re.compile(rf"(?<!\w)(?<!\d[.,]){letters}(?!\w)(?![.,]\d)", re.IGNORECASE)


def _windows(text: str) -> list[tuple[int, int]]:
    """Places of one to three words that begin with a capital or a digit, the longer first."""
    words = [match.span() for match in re.finditer(r"[^\s(),;?]+", text)]
    places = [
        (words[at][0], words[at + count][1])
        for count in (2, 1, 0)
        for at in range(len(words) - count)
        if (text[words[at][0]].isupper() or text[words[at][0]].isdigit())
        and text[slice(*words[at])].casefold() not in _ASKING
    ]
    return places[:60]


def _digits(text: str) -> str:
    return "".join(letter for letter in text if letter.isdigit())
