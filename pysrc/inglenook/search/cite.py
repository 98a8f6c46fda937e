"""From hits to evidence: words to mark, and citations matched to what was written, never parsed from it.

`lead` (the passage that answers), `answerable` (whether anything does) and `sentences` live in modules of their own and
are handed on here, so that callers know one name.
"""

from __future__ import annotations

import itertools
import math
import re
from functools import lru_cache
from itertools import accumulate

from inglenook.search.evidence import answerable, evidence
from inglenook.search.lead import lead
from inglenook.search.lexical import content
from inglenook.search.sentences import sentences
from inglenook.search.terms import analysed, split, terms
from inglenook.types import Hit, Span

COVERED = 0.7  # the share of a written sentence's words, by weight, that a source must hold
FEWEST = 3  # words they must share

_NAME = re.compile(r"(?<![.!?:\"“]\s)(?<!^)\b[A-Z][\w’'-]+")
_NOT = re.compile(r"\b(?:not|no|never|nor|neither|none|nothing|without|cannot|\w+n['’]t)\b", re.IGNORECASE)


def marks(query: str, text: str, start: int = 0) -> list[Span]:
    """The words of `text` that match the query, for highlighting; positions are those of a text that begins at `start`.

    Most words are ruled out by their first letter, without being analysed: from one keystroke to the next the passages
    hardly change, so what is known of them is kept.
    """
    wanted, begun, letters = _asked(query)
    words, ends, firsts = _read(text)
    near = [i for i, letter in enumerate(firsts) if letter in letters]
    return [
        Span(start + ends[i] - len(words[i]), start + ends[i])
        for i in near
        if not wanted.isdisjoint(analysed(words[i])) or (begun and words[i].casefold().startswith(begun))
    ]


@lru_cache(maxsize=8)
def _asked(query: str) -> tuple[frozenset[str], str, frozenset[str]]:
    """What is looked for: terms, how the word that is being typed begins ("" if none is), and first letters."""
    wanted = frozenset(content(query))
    last = re.search(r"\w{2,}$", query.casefold())
    begun = last.group() if last and not wanted.isdisjoint(terms(last.group())) else ""
    return wanted, begun, frozenset((_UNKNOWN, begun[:1], *(term[0] for term in wanted)))


@lru_cache(maxsize=1024)
def _read(text: str) -> tuple[list[str], list[int], str]:
    """The tokens of a passage, where they end, and a letter for each: `_FIRSTS`."""
    pieces = split(text)
    words = pieces[1::2]
    return words, list(accumulate(map(len, pieces)))[1::2], "".join(map(_FIRSTS.__getitem__, words))


class _Firsts(dict[str, str]):
    """The letter that a token's only term begins with, or `_UNKNOWN` where that takes more than a look."""

    def __missing__(self, token: str) -> str:
        plain = token.isascii() and token.isalpha() and (token.istitle() or token.islower() or token.isupper())
        if len(self) >= 50_000:
            self.clear()
        self[token] = first = token[0].lower() if plain else _UNKNOWN
        return first


_UNKNOWN = "?"
_FIRSTS = _Firsts()


def support(answer: str, hits: list[Hit]) -> list[tuple[Span, Hit, Span, float]]:
    """Citations for a written answer: (sentence of the answer, hit, what supports it in the hit's document, score).

    A sentence is cited when one or two neighbouring sentences of a passage hold nearly all it says: at least `COVERED`
    of its words by weight, every number, every name, and a denial only if it denies. A wrong citation is worse than
    none, so whatever falls short is left without. The score is the share covered, up to 1.
    """
    sources = [(hit, span) for hit in hits for span in _windows(hit.text)]
    held = [set(terms(_named(hit, span))) for hit, span in sources]
    found = []
    for said in sentences(answer):
        text = answer[said.start : said.end]
        wanted = set(content(text))
        if len(wanted) < FEWEST:
            continue
        weight = {w: math.log(1 + len(held) / (1 + sum(w in words for words in held))) for w in wanted}
        total = sum(weight.values())
        best: tuple[float, int, int] | None = None
        for i, words in enumerate(held):
            shared = wanted & words
            covered = sum(weight[w] for w in shared) / total
            if covered < COVERED or len(shared) < FEWEST or not _agrees(text, *sources[i]):
                continue
            size = sources[i][1].end - sources[i][1].start
            best = max(best, (round(covered, 6), -size, -i)) if best else (round(covered, 6), -size, -i)
        if best:
            hit, span = sources[-best[2]]
            found.append((said, hit, Span(span.start + hit.start, span.end + hit.start), best[0]))
    return found


def _windows(text: str) -> list[Span]:
    """Each sentence, and each two that follow one another."""
    spans = sentences(text)
    return spans + [Span(one.start, two.end) for one, two in itertools.pairwise(spans)]


def _named(hit: Hit, span: Span) -> str:
    """What a source says, with what it is part of."""
    return f"{hit.title} {hit.heading} {hit.text[span.start : span.end]}"


def _agrees(said: str, hit: Hit, span: Span) -> bool:
    """Whether the source has the names that are said, the numbers beside the same words, and denies the same."""
    source = hit.text[span.start : span.end]
    known = set(terms(_named(hit, span)))
    if not all(known.issuperset(terms(name)) for name in _NAME.findall(said)):
        return False
    mine, theirs = content(said), content(source)
    where: dict[str, list[int]] = {}
    for i, word in enumerate(theirs):
        where.setdefault(word, []).append(i)
    for i, word in enumerate(mine):
        if word[0].isdigit():
            beside = {near for near in mine[max(0, i - 1) : i + 2] if near != word}
            around = {near for at in where.get(word, []) for near in theirs[max(0, at - 2) : at + 3]}
            if word not in (where if beside else known) or (beside and beside.isdisjoint(around)):
                return False
    denied = _denied(source)
    return _denied(said) <= denied and not (denied & set(mine)) - _denied(said)


def _denied(text: str) -> set[str]:
    """The words that negations stand before."""
    return {word for match in _NOT.finditer(text) for word in content(text[match.end() : match.end() + 40])[:1]}


__all__ = ["answerable", "evidence", "lead", "marks", "sentences", "support"]
