"""Where sentences begin and end, in any script, by punctuation and layout."""

from __future__ import annotations

import re

from inglenook.types import Span

_ABBREVIATIONS = frozenset(
    """
    mr mrs ms dr prof rev hon gov sen rep gen col maj capt lt sgt adm st mt ft no nos vs etc eg ie cf al ed eds vol pp
    fig figs eq sec ch art inc ltd co corp bros dept univ assn approx est jan feb mar apr jun jul aug sep sept oct nov
    dec messrs jr sr z.b bzw usw ca nr
    """.split()  # noqa: SIM905
)

_BREAK = re.compile(
    r"""
      [.!?…]+ ["'”’)\]»]* (?:\s+|$)          # Latin, Cyrillic, Greek …: punctuation, closing marks, space
    | [。！？｡؟।॥]+ ["'”’)\]」』）]* \s*         # scripts whose full stop needs no space
    | \s*\n\s*\n\s*                          # a blank line
    | \s*\n(?=\s*(?:[-*•#|>]|\d+[.)])\s)     # a list item, heading or table row
    """,
    re.VERBOSE,
)
_FINAL = frozenset(("no", "co", "inc", "etc", "jr", "sr", "corp", "ltd"))  # abbreviations that often end a sentence
_ACRONYM = re.compile(r"(?:[A-Z]\.)+[A-Z]")
_LAST_WORD = re.compile(r"[^\s(\[\"'“‘]*$")


def sentences(text: str) -> list[Span]:
    """The sentences of `text` in order, white space around them left out. Unbroken text is one sentence."""
    found: list[Span] = []
    start = 0
    for match in _BREAK.finditer(text):
        if match.end() > start and _ends(text, start, match):
            _keep(found, text, start, match.end())
            start = match.end()
    _keep(found, text, start, len(text))
    return found


def _keep(found: list[Span], text: str, start: int, end: int) -> None:
    piece = text[start:end]
    left = len(piece) - len(piece.lstrip())
    if piece.strip():
        found.append(Span(start + left, start + len(piece.rstrip())))


def _ends(text: str, start: int, match: re.Match[str]) -> bool:
    """Whether this punctuation ends a sentence rather than an abbreviation, an initial or an ordinal."""
    mark, after = match.group(), text[match.end() : match.end() + 1]
    if mark[0] not in ".…" or "\n\n" in mark:
        return True
    if after.islower() or (after and after in ",;:"):
        return False
    if not mark.startswith(".") or mark.startswith(".."):
        return True
    word = _LAST_WORD.search(text, start, match.start())
    last = word.group() if word else ""
    if _ACRONYM.fullmatch(last):
        return False
    if last.lower() in _ABBREVIATIONS:
        return last.lower() in _FINAL and after.isupper()
    initial = len(last) == 1 and last.isupper() and last != "I"
    ordinal = last.isdigit() and match.start() - len(last) == start
    return not initial and not ordinal
