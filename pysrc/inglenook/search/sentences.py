"""Where sentences begin and end, in any script, by punctuation and layout. Passages, leads, prompts and citations agree
on it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

from inglenook.types import Span

_CLOSERS = "\"'”’»›）」』】〉》\\)\\]"
_STOPS = ".!?…።៖។၊။་།‼⁇⁈⁉۔"
_BREAK = re.compile(
    rf"""
      (?P<stop> (?<![{_STOPS}]) [{_STOPS}]++ [{_CLOSERS}]*+ ) (?=\s)
    | (?P<wide> [。！？｡؟।॥։]++ [{_CLOSERS}]*+ )           # scripts whose full stop needs no space
    | (?P<gap>  \n [^\S\n]* \n )                          # a blank line
    | (?P<item> \n (?= [ \t]* (?: [-*•|>] | \#+ | \d\d?[.)] ) [ \t] ) )  # a list item, heading or table row
    """,
    re.VERBOSE,
)
_ABBREVIATIONS = frozenset(
    """
    mr mrs ms dr prof rev hon gov sen rep pres gen col maj capt lt sgt adm st mt ft messrs jr sr ph.d univ assn bros
    no nos vs etc e.g i.e eg ie cf viz al ed eds vol pp p fig figs eq eqs sec ch art approx dept est inc ltd co corp
    jan feb mar apr jun jul aug sep sept oct nov dec mon tue wed thu fri sat sun a.m p.m
    z.b d.h u.a bzw usw ca nr str hr fr bsp vgl ggf evtl inkl mio mrd abs mme mlle m exp env sra srta ud uds pág núm
    ej sig dott avv ecc pag sz bl blz dhr mevr t.ex bl.a jfr
    г ул им др т.е т.д т.п т.к стр рис табл тыс млн руб
    """.split()  # noqa: SIM905
)
_FINAL = frozenset(("no", "co", "inc", "etc", "jr", "sr", "corp", "ltd", "art", "sat", "sun"))  # they may end one
_ACRONYM = re.compile(r"(?:[A-Z]\.)+[A-Z]")
_OPENERS = "\"'“‘„«‹([{"
_FARTHEST = 20  # characters a word is looked for in


def sentences(text: str) -> list[Span]:
    """The sentences of `text` in order, white space around them left out. Unbroken text is one sentence."""
    cuts = [0, *starts(text, 0, len(text)), len(text)]
    found = []
    for start, end in pairwise(cuts):
        piece = text[start:end]
        if piece.strip():
            left = len(piece) - len(piece.lstrip())
            found.append(Span(start + left, start + len(piece.rstrip())))
    return found


def starts(text: str, start: int, end: int) -> Iterator[int]:
    """Where the sentences of `text[start:end]` begin, but for the first."""
    last = start
    for match in _BREAK.finditer(text, start, end):
        after = match.end()
        while after < end and text[after].isspace():
            after += 1
        if last < after < end and (match.lastgroup != "stop" or _ends(text, last, match, text[after])):
            last = after
            yield after


def _ends(text: str, start: int, match: re.Match[str], after: str) -> bool:
    """Whether these stops end the sentence from `start` on, rather than an abbreviation, an initial or an ordinal."""
    mark = match.group()
    if after.islower():
        return mark[0] not in ".…" and mark[-1] in _STOPS  # not in: "Stop!" he said
    if not mark.startswith(".") or mark.startswith(".."):
        return True
    dot = match.start()
    near = text[max(start, dot - _FARTHEST) : dot]
    if not near or near[-1].isspace():
        return True
    last = near.split()[-1].lstrip(_OPENERS)
    if _ACRONYM.fullmatch(last):
        return False
    if last.lower() in _ABBREVIATIONS:
        return last.lower() in _FINAL and after.isupper()
    if last == "I" or (last.isdigit() and len(last) <= 3):
        return bool(text[start : dot - len(last)].strip())  # at its beginning it numbers the sentence
    return not (len(last) == 1 and last.isupper())  # an initial: "J. Smith"
