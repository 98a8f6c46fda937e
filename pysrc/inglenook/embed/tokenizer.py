"""WordPiece as all-MiniLM-L6-v2 was trained on it: text to token ids, exactly as the `tokenizers` library gives them.

The words: control characters dropped, ideographs and punctuation standing alone, accents stripped, lower case
(BertNormalizer and BertPreTokenizer). The pieces: the longest piece of the vocabulary first, from left to right
(Devlin et al. 2018, arXiv:1810.04805; Wu et al. 2016, arXiv:1609.08144, section 4.1).

Both steps are remembered, per character and per word, so that a text costs one `str.translate` and a look-up per word.
"""

from __future__ import annotations

import re
import unicodedata

LIMIT = 256
"""Most tokens of a text, [CLS] and [SEP] included: what sentence-transformers cuts this model's input to."""

_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_SPECIAL_IN_TEXT = re.compile("(" + "|".join(map(re.escape, _SPECIAL)) + ")")
_LONGEST_WORD = 100
_WORDS_REMEMBERED = 1 << 16

_IDEOGRAPHS = (
    (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x2A6DF), (0x2A700, 0x2B81F), (0x2B920, 0x2CEAF),
    (0x2F800, 0x2FA1F),
)  # fmt: skip

# The reference knows the characters of Unicode 8. Marks, controls and punctuation that came later (here up to
# Unicode 18) are letters to it, whatever this Python's own tables say; four characters changed their category since.
_LATER_RANGES = """
5c8-5c9 61d 7fd 890-891 897-89f 8ca-8e2 9fd-9fe a76 afa-aff b53-b55 c04 c3c c77 c84 d00 d3b-d3c d81 eba ece 180f
1885-1886 1abf-1af0 1b4e-1b4f 1b7d-1b7f 1df6-1dfb 2e43-2e4f 2e52-2e5d 2e60-2e63 a82c a8c5 a8ff a9bd 10d24-10d27
10d69-10d6e 10eab-10ead 10ecb-10ed0 10ef0-10eff 10f46-10f50 10f55-10f59 10f82-10f89 11070 11073-11074 110c2 110cd
111cf 1123e 11241 1133b 113bb-113c0 113ce 113d0 113d2 113d4-113d5 113d7-113d8 113e1-113e2 11438-1143f 11442-11444
11446 1144b-1144f 1145a-1145b 1145d-1145e 11660-1166c 116b9 1182f-11837 11839-1183b 1193b-1193c 1193e 11943-11946
119d4-119d7 119da-119db 119e0 119e2 11a01-11a0a 11a33-11a38 11a3b-11a47 11a51-11a56 11a59-11a5b 11a8a-11a96
11a98-11a9c 11a9e-11aa2 11b00-11b09 11b60 11b62-11b64 11b66 11be1 11c30-11c36 11c38-11c3d 11c3f 11c41-11c45
11c70-11c71 11c92-11ca7 11caa-11cb0 11cb2-11cb3 11cb5-11cb6 11d31-11d36 11d3a 11d3c-11d3d 11d3f-11d45 11d47
11d90-11d91 11d95 11d97 11df0 11ef3-11ef4 11ef7-11ef8 11f00-11f01 11f36-11f3a 11f40 11f42-11f4f 11f5a 11fff
12ff1-12ff2 13430-13440 13447-13455 1611e-16129 1612d-1612f 16d6d-16d6f 16e97-16e9a 16f4f 16fe2 16fe4 1cf00-1cf2d
1cf30-1cf46 1d127-1d128 1d25b-1d25c 1e000-1e006 1e008-1e018 1e01b-1e021 1e023-1e024 1e026-1e02a 1e08f 1e130-1e136
1e2ae 1e2ec-1e2ef 1e4ec-1e4ef 1e5ee-1e5ef 1e5ff 1e6e3 1e6e6 1e6ee-1e6ef 1e6f5 1e944-1e94a 1e95e-1e95f
"""
_LATER = frozenset(
    code
    for item in _LATER_RANGES.split()
    for code in range(int(item.split("-")[0], 16), int(item.split("-")[-1], 16) + 1)
)
_CHANGED = {0x166D: "Po", 0x1734: "Mn", 0x111C9: "Po", 0x1171E: "Mn"}


class WordPiece:
    """A vocabulary, and what has been learned about it so far. One instance serves any number of texts."""

    def __init__(self, pieces: list[str]) -> None:
        self._ids = {piece: number for number, piece in enumerate(pieces)}
        missing = [piece for piece in _SPECIAL if piece not in self._ids]
        if missing:
            raise ValueError(f"not a WordPiece vocabulary: {', '.join(missing)} missing")
        self._start, self._end = self._ids["[CLS]"], self._ids["[SEP]"]
        self._characters = _Characters()
        self._words = _Words(self._ids)

    @classmethod
    def load(cls, vocab: bytes) -> WordPiece:
        """Read a `vocab.txt`: one piece per line, UTF-8. Raises ValueError if it is none."""
        return cls(vocab.decode("utf-8").removesuffix("\n").split("\n"))

    def __len__(self) -> int:
        return len(self._ids)

    def encode(self, text: str, limit: int = LIMIT) -> list[int]:
        """The ids of `text` between [CLS] and [SEP], at most `limit` of them (two at least)."""
        room = limit - 2
        ids = [self._start]
        parts = _SPECIAL_IN_TEXT.split(text) if "[" in text else [text]
        words = self._words
        for number, part in enumerate(parts):
            if number % 2:  # a special token written out in the text, which the reference takes at its word
                ids.append(self._ids[part])
                continue
            for word in part.translate(self._characters).split():
                ids += words[word]
                if len(ids) > room:
                    break
            if len(ids) > room:
                break
        del ids[room + 1 :]
        ids.append(self._end)
        return ids


class _Characters(dict[int, str]):
    """Character code → what it becomes; filled as characters are met. Spaces around it isolate a character."""

    def __missing__(self, code: int) -> str:
        self[code] = result = _normalise(code)
        return result


class _Words(dict[str, list[int]]):
    """Normalised word → ids of its pieces; filled as words are met, emptied when full."""

    def __init__(self, ids: dict[str, int]) -> None:
        super().__init__()
        self._ids = ids
        self._unknown = [ids["[UNK]"]]
        self._longest = max(map(len, ids))

    def __missing__(self, word: str) -> list[int]:
        if len(self) >= _WORDS_REMEMBERED:
            self.clear()
        self[word] = pieces = self._split(word)
        return pieces

    def _split(self, word: str) -> list[int]:
        """Greedy longest match. A word with any part that no piece matches is unknown as a whole."""
        if len(word) > _LONGEST_WORD:
            return self._unknown
        ids, pieces, start, prefix = self._ids, [], 0, ""
        while start < len(word):
            for end in range(min(len(word), start + self._longest), start, -1):
                piece = ids.get(prefix + word[start:end])
                if piece is not None:
                    break
            else:
                return self._unknown
            pieces.append(piece)
            start, prefix = end, "##"
        return pieces


def _normalise(code: int) -> str:
    character = chr(code)
    if character in "\t\n\r":
        return " "
    category = _category(code)
    if category in ("Cc", "Cf", "Co", "Cs") or code == 0xFFFD:
        return ""
    if category[0] == "Z":
        return " "
    result = "".join(
        f" {part} " if _is_punctuation(part) else part.lower()
        for part in unicodedata.normalize("NFD", character)
        if _category(ord(part)) != "Mn"
    )
    return f" {result} " if any(first <= code <= last for first, last in _IDEOGRAPHS) else result


def _category(code: int) -> str:
    return _CHANGED.get(code) or ("Lo" if code in _LATER else unicodedata.category(chr(code)))


def _is_punctuation(character: str) -> bool:
    """ASCII symbols such as $ and + count as punctuation too."""
    ascii_symbol = character.isascii() and character.isprintable() and not character.isalnum() and character != " "
    return ascii_symbol or _category(ord(character))[0] == "P"
