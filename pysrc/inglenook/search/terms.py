"""From text to search terms, for any language, without a dictionary.

    terms("The nations' e-mail: getUserName() v3.11, 1,250 naïve 東京都")
    → the nation email mail getusername get user name v3.11 v3 11 1250 naive 東京 京都

A token is a run of letters, digits and combining marks, inner `. , ' ’ - _` included. It becomes one or more terms:

- letters are case-folded, compatibility forms and accents folded (NFKC; combining diacritics, Hebrew and Arabic points
  dropped), English endings taken off (`stem`);
- scripts written without spaces (Chinese, Japanese, Thai, Lao, Khmer, Burmese) and Korean become overlapping pairs
  of characters;
- identifiers, versions and hyphenated words yield the whole and its parts: `snake_case`, `camelCase`, `v3.11`, `GPT-4`;
- `1,250` is `1250`, `U.S.` is `us`, `nation's` is `nation`, `don't` is `dont`.

A term has at most `LONGEST` characters.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

LONGEST = 48

# Vowel signs and points that `\w` leaves out: diacritics, Hebrew, Arabic, the Indic scripts, South-East Asia.
_MARKS = "\u0300-\u036f\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u0900-\u0dff\u0e31-\u0e4e\u0eb1-\u0ece"
_MARKS += "\u0f71-\u0f84\u102b-\u103e\u17b4-\u17d3\u200d"
_PAIRED = "\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u3040-\u30ff\u3130-\u318f\u3400-\u9fff\uac00-\ud7a3"
_PAIRED += "\uf900-\ufaff\U00020000-\U0003ffff"

_TOKEN = re.compile(rf"[\w{_MARKS}]+(?:[.,'’\-][\w{_MARKS}]+)*")
_POINTS = re.compile("[\u0300-\u036f\u0591-\u05c7\u0610-\u061a\u0640\u064b-\u065f\u0670\u200d]")
_TOKENS = re.compile(f"({_TOKEN.pattern})")
_SCRIPTS = re.compile(rf"[{_PAIRED}]+|[^{_PAIRED}]+")
_ACRONYM = re.compile(r"(?:[^\W\d_]\.)+[^\W\d_]", re.UNICODE)
_THOUSANDS = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?")
_OWNER = re.compile(r"['’](?:s|ll|re|ve|d|m)$|['’]$", re.IGNORECASE)
_SPLIT = re.compile(r"[.,'’\-_]+")
_JOIN = re.compile(r"[,'’\-_]+")
_CAMEL = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^A-Za-z\d]+")

_WHOLE = frozenset(
    """
    during evening morning nothing something anything everything being king ceiling news species series always perhaps
    hundred sacred naked wicked need unless less business process
    """.split()  # noqa: SIM905
)
_ODD = {"used": "use", "using": "use", "agreed": "agre", "freed": "free", "tied": "tie", "died": "die", "dying": "die"}
_VOWELS = frozenset("aeiouy")


def stem(word: str) -> str:
    """Take English plural, -ed, -ing, final -e and -y off a lower-case ASCII word; anything else is returned as it is.

    Step 1 of Porter, "An algorithm for suffix stripping" (1980), but made uniform by dropping a final e (measure,
    measured, measuring → measur). Endings that change the meaning (-tion, -ness, -ly) stay, so what a person has typed
    of a word so far is nearly always a prefix of its term.
    """
    if len(word) < 4 or not word.isascii() or not word.isalpha() or word in _WHOLE:
        return word
    if word in _ODD:
        return _ODD[word]
    if word[-1] == "s" and word[-2] not in "su" and word[-2:] != "is":
        es = (word.endswith("ies") and len(word) > 4) or word.endswith(("sses", "xes", "ches", "shes", "zes"))
        word = word[: -2 if es else -1]
    root = word[:-3] if word.endswith("ing") else word[:-2] if word.endswith("ed") and word[-3:] != "eed" else ""
    if len(root) > 2 and not _VOWELS.isdisjoint(root):
        word = root
        if root[-1] == root[-2] and root[-1] not in "aeioulsz":
            word = root[:-1]
        elif len(root) == 3 and root[0] not in _VOWELS and root[1] in _VOWELS and root[2] not in "aeiouywx":
            word = root + "e"
    if len(word) > 4 and word[-1] == "e":
        word = word[:-1]
    if len(word) > 3 and word[-1] == "y" and word[-2] not in _VOWELS:
        word = word[:-1] + "i"
    return word


def fold(text: str) -> str:
    """Compatibility forms, accents and points folded; the case stays."""
    if text.isascii():
        return text
    return unicodedata.normalize("NFC", _POINTS.sub("", unicodedata.normalize("NFKD", text)))


class _Memo(dict[str, tuple[str, ...]]):
    """The terms of each token seen, forgotten when there are too many: language repeats itself."""

    def __missing__(self, token: str) -> tuple[str, ...]:
        found = tuple(term[:LONGEST] for run in _SCRIPTS.findall(fold(token)) for term in _analyse(run))
        if len(token) <= LONGEST:
            if len(self) >= 50_000:
                self.clear()
            self[token] = found
        return found


def _analyse(run: str) -> list[str]:
    """The terms of a folded run of one kind of script."""
    if _SCRIPTS.match(run) and re.match(f"[{_PAIRED}]", run):
        return [run[i : i + 2] for i in range(len(run) - 1)] or [run]
    if _ACRONYM.fullmatch(run):
        return [run.replace(".", "").casefold()]
    if _THOUSANDS.fullmatch(run):
        return [run.replace(",", "")]
    run = _OWNER.sub("", run)
    if run[-2:].lower() in ("'t", "’t"):
        return [_JOIN.sub("", run).casefold()]
    pieces = [piece for piece in _SPLIT.split(run) if piece]
    parts = [part for piece in pieces for part in _CAMEL.findall(piece)] if run.isascii() else pieces
    if len(parts) < 2:
        return [stem(part.casefold()) for part in parts]
    whole = _JOIN.sub("", run.strip("_")).casefold()
    found = [stem(part.casefold()) for part in parts if len(part) > 1 or part.isdigit()]
    plain = all(len(part) > 2 and part.isalpha() for part in parts) and len(parts) == len(pieces) and "_" not in run
    return found if plain and found else [stem(whole), *found]


_memo = _Memo()


def tokens(text: str) -> Iterator[tuple[int, int, tuple[str, ...]]]:
    """Each token of `text` as (start, end, its terms), in order."""
    for match in _TOKEN.finditer(text):
        yield match.start(), match.end(), _memo[match.group()]


def split(text: str) -> list[str]:
    """`text` in pieces that join to it: what is between tokens and tokens in turn, so that every second is a token."""
    return _TOKENS.split(text)


def analysed(token: str) -> tuple[str, ...]:
    """The terms of one token."""
    return _memo[token]


def terms(text: str) -> list[str]:
    """The search terms of `text`, in order, repeats included."""
    return [term for token in _TOKEN.findall(text) for term in _memo[token]]
