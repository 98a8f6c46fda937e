"""How long an iteration takes: linear in a few counts, because that is what it is within some per cent.

One iteration of a model reads all of its weights once (`base`), does a token's worth of arithmetic for each sequence
that decodes (`decode`) and for each token of a prompt (`prefill`), reads the keys and values of what came before
(`context`) and multiplies queries with them (`attention`). Each piece of a prompt is some calls more (`piece`), and a
worker whose iteration before was another model's finds no weights in its caches (`change`). `calibrate` fits the seven
from measured iterations; `roofline` derives those of them that a data sheet tells. The simulator runs on them, and
schedulers plan with them.

The first two terms are those of MuxServe (2404.02015, section 3.2) and DistServe (2401.09670, appendix A); the split in
seven is ours.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple, dataclass, replace
from typing import NamedTuple

from inglenook.fleet.iteration import Piece


class Work(NamedTuple):
    """What an iteration consists of. A piece of one token counts as a decode: it costs as much as one."""

    decodes: int = 0
    prefill: int = 0  # tokens
    context: int = 0  # tokens whose keys and values the decodes read
    attention: int = 0  # pairs of a prompt's token and a token before it
    prompts: int = 0  # pieces of prompts
    changed: int = 0  # 1 if the worker's iteration before was another model's

    @classmethod
    def of(cls, pieces: Iterable[Piece], changed: bool = False) -> Work:
        decodes = prefill = context = attention = prompts = 0
        for piece in pieces:
            count = len(piece.tokens)
            if count == 1:
                decodes += 1
                context += piece.start + 1
            else:
                prompts += 1
                prefill += count
                attention += count * piece.start + count * (count + 1) // 2
        return cls(decodes, prefill, context, attention, prompts, int(changed))


@dataclass(frozen=True, slots=True)
class Profile:
    """Seconds of an iteration (`base`), and per unit of each count of `Work`."""

    base: float
    decode: float
    prefill: float
    context: float = 0.0
    attention: float = 0.0
    piece: float = 0.0
    change: float = 0.0

    def seconds(self, work: Work) -> float:
        """Of one iteration."""
        return (
            self.base
            + self.decode * work.decodes
            + self.prefill * work.prefill
            + self.context * work.context
            + self.attention * work.attention
            + self.piece * work.prompts
            + self.change * work.changed
        )

    def alone(self, prompt: int, output: int, chunk: int = 1 << 30) -> float:
        """Of a request that has the worker to itself: its prompt in chunks, then one token at a time."""
        spent = 0.0
        for start in range(0, prompt, chunk):
            count = min(chunk, prompt - start)
            spent += self.seconds(Work(0, count, 0, count * start + count * (count + 1) // 2, 1))
        later = max(output - 1, 0)
        read = later * (prompt + 1) + later * (later - 1) // 2
        return spent + later * (self.base + self.decode) + self.context * read

    def after(self, pause: float) -> Profile:
        """With so many seconds before each iteration, in which its worker does other things."""
        return replace(self, base=self.base + pause)

    def times(self, factor: float) -> Profile:
        """The same work at another speed."""
        return Profile(*(value * factor for value in astuple(self)))

    @classmethod
    def roofline(
        cls, parameters: float, token_bytes: float, *, bandwidth: float, flops: float,
        weight_bytes: float = 2.0, efficiency: float = 0.5, overhead: float = 2e-3,
    ) -> Profile:  # fmt: skip
        """Of a dense model on a device with `bandwidth` bytes/s and `flops` FLOP/s: the weights are read once an
        iteration, the rest is arithmetic at `efficiency`, and `overhead` seconds go for launches. `token_bytes` are the
        keys and values of one token. Twice as many FLOP as parameters a token; attention by the size of its keys."""
        token = 2 * parameters / (flops * efficiency)
        return cls(
            base=overhead + parameters * weight_bytes / bandwidth,
            decode=token,
            prefill=token,
            context=token_bytes / bandwidth,
            attention=token_bytes / (flops * efficiency),
        )
