"""The plain way to do what an engine does: no cache, no pieces, no drafts, no heaps; each formula as it is defined.

    truth.encode("Hello")                 # byte-pair merging by its definition: the pair of lowest rank, ever again
    truth.logits(ids)                     # the reference pass over the same dequantised weights, from an empty cache
    truth.unexplained(prompt, ids, how)   # the first written token that the sampler could not have chosen

What was written is explained rather than written again: each token is held against the scores after all before it, so
a tie that falls otherwise ends nothing. Of the engine's modules it uses the reference pass and the tables of how words
are cut, nothing else. Byte-pair encoding: Sennrich et al. (1508.07909); nucleus sampling: Holtzman et al. (1904.09751).
"""

from __future__ import annotations

import json
import random
import re
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from inglenook.elastic.pattern import SMOLLM, compiled

if TYPE_CHECKING:
    from inglenook.doctor.plain import Rounded

TOP = 64
"""A sampler draws among so many of the best tokens."""
GUARD = 8
"""Tokens that are not written a second time in a row of so many."""
LOUD = 60.0
"""So many times larger logits are where sums of exponentials overflow unless the largest is taken off first."""
KEPT = 512  # results of passes that are kept
NOISE = {
    "f32": (1e-4, 3e-4), "f16": (4e-3, 0.03), "int8": (0.02, 0.2), "kernel": (0.6, 2.5), "loud f32": (5e-3, 0.05),
    "loud f16": (0.5, 3.0), "loud int8": (0.5, 3.0),
}  # fmt: skip
"""What scores may differ from the plain pass's, in standard deviations of a row, in the median of rows and in any one:
other orders of summing, and values between two steps of rounding that fall to the other side. "int8" is the plain pass
in other pieces, "kernel" our kernel, where most rows have such a value. Measured on clean engines (LOG.md)."""
SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"


@dataclass(frozen=True, slots=True)
class How:
    """How tokens are chosen."""

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0


class Truth:
    """`made(activations)` gives the reference pass, None where there is none; `tokenizer` is the tokenizer's file as
    `Tokenizer.load` reads it; `told` are the sizes that the model's own file tells."""

    def __init__(
        self,
        made: Callable[[str], Rounded] | None,
        tokenizer: bytes,
        activations: str = "f32",
        context: int = 0,
        *,
        told: dict[str, Any] | None = None,
        noise: str = "",
        layer: Callable[[int, Sequence[int]], np.ndarray] | None = None,
        loud: float = 1.0,
    ) -> None:
        self._made, self._file, self.activations = made, tokenizer, activations
        self.context, self.told, self._loud = context, told or {}, loud
        self.layer = layer
        self._noise = noise or activations
        self.typical, self.slack = NOISE[self._noise]
        self._model: Rounded | None = None
        self._chosen: dict[tuple[tuple[int, ...], int, How], tuple[list[int], bool]] = {}
        file = json.loads(tokenizer)
        self.tokens: list[str] = file["tokens"].split("\n")
        self.specials = {self.tokens[index]: index for index in file["special"]}
        self.ends = frozenset(file["ends"])
        self.template: str = file["template"]
        self._ids = {token: index for index, token in enumerate(self.tokens)}
        self._ranks = {tuple(merge.split(" ")): rank for rank, merge in enumerate(file["merges"].split("\n"))}
        self._cut, self._composed = compiled(file.get("cut", SMOLLM)), bool(file.get("composed", False))
        self._letters = _letters()
        self._bytes = {letter: byte for byte, letter in enumerate(self._letters)}
        self._known: OrderedDict[tuple[int, ...], np.ndarray] = OrderedDict()
        default = re.search(r"<\|im_start\|>system(?:\\n|\n)([^<>{}'\"]+)<\|im_end\|>", self.template)
        self.system = default[1] if default else SYSTEM

    @property
    def computes(self) -> bool:
        """Whether there is a reference pass."""
        return self._made is not None

    def of(self, switches: Sequence[str], factor: float) -> Truth:
        """The truth of an engine with these switches on."""
        activations = "f32" if "fp32" in switches else self.activations
        loud = factor if "loud" in switches else 1.0
        if (activations, loud) == (self.activations, self._loud):
            return self
        noise = self._noise if activations == self.activations else activations
        noise = f"loud {activations}" if loud != 1.0 else noise
        return Truth(
            self._made, self._file, activations, self.context, told=self.told, noise=noise, layer=self.layer, loud=loud
        )

    # ── tokens ────────────────────────────────────────────────────────────────────────────────────────────────────

    def encode(self, text: str, special: bool = False) -> list[int]:
        """Ids of a text; with `special`, control tokens in it count as such, the longest first."""
        if special and self.specials:
            names = sorted(self.specials, key=len, reverse=True)
            parts = re.split("(" + "|".join(map(re.escape, names)) + ")", text)
            return [
                i for part in parts for i in ([self.specials[part]] if part in self.specials else self.encode(part))
            ]
        if self._composed:
            import unicodedata

            text = unicodedata.normalize("NFC", text)
        return [token for word in self._cut.findall(text) for token in self._merged(word)]

    def _merged(self, word: str) -> list[int]:
        parts = [self._letters[byte] for byte in word.encode("utf-8", "replace")]
        parts = [part for part in parts if part in self._ids]
        while True:
            ranked = [(self._ranks[pair], at) for at, pair in enumerate(pairwise(parts)) if pair in self._ranks]
            if not ranked:
                return [self._ids[part] for part in parts]
            _, at = min(ranked)
            parts[at : at + 2] = [parts[at] + parts[at + 1]]

    def piece(self, token: int) -> bytes:
        """The bytes of a token; of a control token those of its name."""
        text = self.tokens[token]
        return text.encode() if text in self.specials else bytes(self._bytes[letter] for letter in text)

    def decode(self, ids: Sequence[int]) -> str:
        return b"".join(map(self.piece, ids)).decode("utf-8", "replace")

    def written(self, ids: Sequence[int]) -> str:
        """What people see of ids: no control tokens, and no character that was begun and not ended."""
        import codecs

        data = b"".join(self.piece(i) for i in ids if self.tokens[i] not in self.specials)
        return codecs.getincrementaldecoder("utf-8")("replace").decode(data)

    def chat(self, messages: Sequence[tuple[str, str]]) -> list[int]:
        """Ids of a chat in ChatML; nothing that people write becomes a control token."""
        start, end = (self.specials[name] for name in ("<|im_start|>", "<|im_end|>"))
        turns = list(messages)
        if turns and turns[0][0] != "system":
            turns = [("system", self.system), *turns]
        ids: list[int] = []
        for role, content in turns:
            ids += [start, *self.encode(f"{role}\n{content}"), end, *self.encode("\n")]
        return [*ids, start, *self.encode("assistant\n")]

    # ── scores ────────────────────────────────────────────────────────────────────────────────────────────────────

    def model(self) -> Rounded:
        """The reference pass."""
        assert self._made
        if self._model is None:
            self._model = self._made(self.activations)
            if self._loud != 1.0:
                self._model.loud(self._loud)
        return self._model

    def logits(self, ids: Sequence[int]) -> np.ndarray:
        """Scores of the next token after each of ids, float32 (len(ids), vocabulary)."""
        key = tuple(ids)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self.model().logits(list(key))
            while len(self._known) > KEPT:
                self._known.popitem(last=False)
        return found

    def unexplained(self, prompt: Sequence[int], ids: Sequence[int], how: How) -> tuple[int, str] | None:
        """Where the first of `ids` stands that could not have been chosen after `prompt` and those before it, and what
        would have been; None if all could."""
        rows = self.logits([*prompt, *ids[:-1]])[len(prompt) - 1 :]
        draws = random.Random(how.seed)
        for at, token in enumerate(ids):
            point = draws.random() if how.temperature > 0 else 0.0
            if wanted := self._refused(rows[at], token, list(ids[:at]), how, point):
                return at, wanted
        return None

    def chosen(self, prompt: Sequence[int], count: int, how: How) -> tuple[list[int], bool]:
        """What is written after `prompt`: up to `count` tokens, and whether it ended by itself before."""
        key = (tuple(prompt), count, how)
        if key not in self._chosen:
            self._chosen[key] = self._choose(list(prompt), count, how)
        return self._chosen[key]

    def _choose(self, prompt: list[int], count: int, how: How) -> tuple[list[int], bool]:
        model, ids, draws = self.model(), list[int](), random.Random(how.seed)
        best = model.best(prompt, 0, TOP)
        while len(ids) < count:
            point = draws.random() if how.temperature > 0 else 0.0
            places, mass = self._odds(best.ids, np.asarray(best.logits, np.float64), ids, how)
            token = int(places[min(int(np.searchsorted(mass, point * mass[-1], side="right")), len(places) - 1)])
            if token in self.ends:
                return ids, True
            ids.append(token)
            if len(ids) < count:
                best = model.best([token], len(prompt) + len(ids) - 1, TOP)
        return ids, False

    def _odds(self, order: np.ndarray, scores: np.ndarray, ids: list[int], how: How) -> tuple[np.ndarray, np.ndarray]:
        """The tokens of `order`, best first, that one may be drawn from, and the sums of their shares."""
        banned = _banned(ids)
        free = np.array([int(token) not in banned for token in order])
        if free.any():
            order, scores = order[free], scores[free]
        if how.temperature == 0:
            return order[:1], np.ones(1)
        with np.errstate(over="ignore", under="ignore"):
            share = np.exp((scores - scores.max()) / how.temperature)
        mass = np.cumsum(share / share.sum())
        kept = min(int(np.searchsorted(mass, how.top_p)) + 1, len(order))
        return order[:kept], mass[:kept]

    def _refused(self, row: np.ndarray, token: int, ids: list[int], how: How, point: float) -> str:
        """What should have been chosen in place of a token that could not be; "" if it could.

        It could be if scores that differ from these by the noise would have had it drawn: its stretch of the odds, made
        as long as those allow, contains the point.
        """
        near = self.slack * float(row.std())
        best = np.argsort(-row, kind="stable")[:TOP]
        order, mass = self._odds(best, row[best].astype(np.float64), ids, how)
        first = int(order[0])
        if how.temperature == 0:
            allowed = token not in _banned(ids) or token == first
            return "" if allowed and row[token] >= row[first] - near else self._name(first)
        banned = _banned(ids) if any(int(one) not in _banned(ids) for one in best) else set[int]()
        pool = np.array([one for one in dict.fromkeys([*best.tolist(), token]) if one not in banned])
        if token in pool and row[token] >= row[best[-1]] - near:
            away = row[pool].astype(np.float64) - float(row[token])
            with np.errstate(over="ignore", under="ignore"):
                share = np.exp((row[pool] - row[pool].max()) / np.float64(how.temperature))
            sure, after = share[away > near].sum(), share[away < -near].sum()
            spread = np.exp(-2 * min(near / how.temperature, 300.0))
            low = sure * spread / max(sure * spread + share.sum() - sure, 1e-300)
            high = (share.sum() - after) / (share.sum() - after + after * spread)
            place = int((away > near).sum())  # how many stand before it for certain
            kept = [m for m in range(len(order) - 1, len(order) + 2) if place < m <= len(pool)]
            if near / how.temperature > 0.1 or how.top_p < 1e-6:  # then top_p may keep many more or fewer
                kept = list(range(place + 1, len(pool) + 1)) if place < len(order) + 1 else []
            points = [point * share[np.argsort(-share)[:m]].sum() / share.sum() for m in kept]
            if any(low - 1e-6 <= at <= high + 1e-6 for at in points):
                return ""
        at = point * mass[-1]
        return self._name(int(order[min(int(np.searchsorted(mass, at, side="right")), len(order) - 1)]))

    def _name(self, token: int) -> str:
        return f"{token} {self.decode([token])!r}"


def _banned(ids: Sequence[int]) -> set[int]:
    """What would complete a run of tokens that was written before."""
    runs = {tuple(ids[at : at + GUARD]) for at in range(len(ids) - GUARD + 1)}
    tail = tuple(ids[len(ids) - GUARD + 1 :]) if len(ids) >= GUARD else None
    return {run[-1] for run in runs if run[:-1] == tail}


def _letters() -> list[str]:
    """GPT-2's stand-in for each byte: itself if it shows, else the next character from U+0100 on."""
    out, spare = [], 0x100
    for byte in range(256):
        if 0x21 <= byte <= 0x7E or 0xA1 <= byte <= 0xAC or 0xAE <= byte <= 0xFF:
            out.append(chr(byte))
        else:
            out.append(chr(spare))
            spare += 1
    return out


def sizes(told: Any) -> dict[str, Any]:
    """The entries of properties that a model's own file tells, too."""
    names = ("layers", "width", "hidden", "heads", "kv_heads", "vocabulary", "theta", "epsilon")
    return {name: told[name] for name in names if name in told}
