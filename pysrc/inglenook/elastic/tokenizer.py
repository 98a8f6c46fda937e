"""SmolLM2's tokenizer and its kin: byte-level BPE over words cut by GPT-2's pattern, every digit on its own.

    tokenizer = Tokenizer.load(path.read_bytes())
    ids = tokenizer.encode("Hello <|im_end|>", special=False)  # what people write never becomes a control token
    tokenizer.decode(ids)                                      # "Hello <|im_end|>"

Byte-pair encoding: Sennrich et al. (1508.07909); over bytes, with the printable stand-ins for them: Radford et al.,
"Language Models are Unsupervised Multitask Learners" (2019, section 2.2) and its published encoder.
The result is that of `tokenizers` for HuggingFaceTB/SmolLM2: Digits(individual_digits=True), then ByteLevel.

The file is one JSON object made by `convert.export` or `tokenizer_json.convert`; tokens and merges are one string each,
since splitting a string is the fastest way to a list of 49,000 in Pyodide.
"""

from __future__ import annotations

import codecs
import heapq
import json
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, Protocol

from inglenook.elastic.pattern import SMOLLM, compiled
from inglenook.errors import NookError

FORMAT = 1
_CACHED_WORDS = 50_000
_CACHED_LENGTH = 64  # characters; longer words hardly ever come again


class Chat(Protocol):
    """How a model is told a chat, where that is not ChatML: as `template.Template`."""

    def encode(self, messages: Sequence[tuple[str, str]], generate: bool = True) -> list[int]: ...


class Tokenizer:
    """Text to token ids and back. `specials` maps a control token's text to its id; any of `ends` ends a text.

    `cut` is the pattern of the words that are merged, each on its own (`pattern`); `composed`: text is brought to NFC.
    `names` are control tokens as the chat's `template` calls them ("bos_token"); `chat`, once it is set, renders it.
    """

    def __init__(
        self, tokens: list[str], merges: list[str], special: Iterable[int], ends: Iterable[int] = (),
        template: str = "", *, cut: str = SMOLLM, composed: bool = False, names: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        self.tokens = tokens
        self.ends = frozenset(ends)
        self.template, self.names = template, dict(names or {})
        self.chat: Chat | None = None
        self.specials = {tokens[index]: index for index in special}
        self._cut, self._composed = compiled(cut), composed
        self._controls = frozenset(self.specials.values())
        self._ids = dict(zip(tokens, range(len(tokens)), strict=True))
        self._ranks = dict(zip(merges, range(len(merges)), strict=True))
        by_length = sorted(self.specials, key=len, reverse=True)
        self._special = re.compile("|".join(map(re.escape, by_length)) or r"(?!)")
        self.longest = max(map(len, tokens), default=0)  # bytes of a token
        self._words: dict[str, list[int]] = {}

    @classmethod
    def load(cls, data: bytes | dict[str, Any]) -> Tokenizer:
        """Read what `export` wrote. Raises NookError("model-corrupt") if it is something else."""
        try:
            file = data if isinstance(data, dict) else json.loads(data)
            if file["format"] != FORMAT:
                raise ValueError(file["format"])
            tokens, merges = file["tokens"].split("\n"), file["merges"].split("\n")
            how = {"cut": file.get("cut", SMOLLM), "composed": file.get("composed", False), "names": file.get("names")}
            return cls(tokens, merges, file["special"], file["ends"], file["template"], **how)
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            raise NookError("model-corrupt", "The tokenizer's file is damaged.", "Download it again.") from error

    def __len__(self) -> int:
        return len(self.tokens)

    def encode(self, text: str, special: bool = True) -> list[int]:
        """Token ids of `text`. With `special`, control tokens in it count as such; without, they are plain text."""
        if not special:
            return self._plain(text)
        ids: list[int] = []
        at = 0
        for match in self._special.finditer(text):
            ids += self._plain(text[at : match.start()])
            ids.append(self.specials[match.group()])
            at = match.end()
        return ids + self._plain(text[at:])

    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids`, control tokens included; bytes that are no UTF-8 become U+FFFD."""
        return b"".join(map(self.piece, ids)).decode("utf-8", "replace")

    def piece(self, token: int) -> bytes:
        """The bytes that a token stands for: perhaps only a part of a character."""
        text = self.tokens[token]
        return text.encode() if token in self._controls else bytes(map(_bytes().__getitem__, text))

    def is_special(self, token: int) -> bool:
        """Whether this is a control token rather than text."""
        return token in self._controls

    def _plain(self, text: str) -> list[int]:
        ids: list[int] = []
        words = self._words
        if self._composed:
            text = unicodedata.normalize("NFC", text)
        for word in self._cut.findall(text):
            known = words.get(word)
            if known is None:
                known = self._merge(word)
                if len(word) <= _CACHED_LENGTH:
                    if len(words) >= _CACHED_WORDS:
                        words.clear()
                    words[word] = known
            ids += known
        return ids

    def _merge(self, word: str) -> list[int]:
        """One word's ids: the adjacent pair of the lowest rank is merged, the leftmost first, until none is left.

        A heap of candidates over a linked list, so that a "word" of 100,000 characters takes n log n steps.
        """
        letters = _letters()
        ids, ranks = self._ids, self._ranks
        parts = [letters[byte] for byte in word.encode("utf-8", "replace")]
        parts = [part for part in parts if part in ids]  # the vocabulary lacks bytes it has never seen
        after = [*range(1, len(parts)), -1]
        before = [*range(-1, len(parts) - 1)]
        heap: list[tuple[int, int, str]] = []

        def offer(at: int) -> None:
            if at >= 0 and after[at] >= 0:
                pair = f"{parts[at]} {parts[after[at]]}"
                rank = ranks.get(pair)
                if rank is not None:
                    heapq.heappush(heap, (rank, at, pair))

        for at in range(len(parts) - 1):
            offer(at)
        while heap:
            _, at, pair = heapq.heappop(heap)
            right = after[at]
            if right < 0 or pair != f"{parts[at]} {parts[right]}":
                continue  # one of the two has been merged away since
            parts[at] += parts[right]
            parts[right] = ""
            after[at] = after[right]
            if after[at] >= 0:
                before[after[at]] = at
            after[right] = -1
            offer(before[at])
            offer(at)
        return [ids[part] for part in parts if part]


class Stream:
    """Decodes ids one by one and never hands out half a character; one that is never completed is never handed out."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, token: int) -> str:
        """The text that is complete now ("" inside a character). Control tokens have no text."""
        return "" if self._tokenizer.is_special(token) else self._decoder.decode(self._tokenizer.piece(token))


@cache
def _letters() -> list[str]:
    """GPT-2's printable stand-in for each byte: itself where it shows, else the next free one from U+0100 on."""
    shown = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    spare = iter(range(0x100, 0x200))
    return [chr(byte if byte in shown else next(spare)) for byte in range(256)]


@cache
def _bytes() -> dict[str, int]:
    return {letter: byte for byte, letter in enumerate(_letters())}
