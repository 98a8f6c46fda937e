"""Labels: what the language model itself makes of the pieces of a prompt. Nobody judges them but its probabilities."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import numpy as np

from inglenook.elastic import squeeze
from inglenook.elastic.decode import CONTEXT
from inglenook.elastic.tokenizer import Tokenizer
from inglenook.search import prompt
from inglenook.train.prompt.examples import ANSWER, Example

SHARES = (1.0, 0.7, 0.5, 0.35, 0.2)
"""Of what may be dropped of a prompt: how much of it is kept to learn what that costs."""
LIKELY, OTHER = 4, 3  # pieces of a prompt that are judged: those that promise most, and some of the rest

PLAIN = [squeeze.SIGNS.index(name) for name in ("meaning", "words")]

Score = Callable[[list[int], list[int], int], np.ndarray]
"""(prompt, answer, level) to the log-probability of each token of the answer, given those before it."""


class Judge:
    """Asks the language model how likely an answer is after a prompt."""

    def __init__(self, score: Score, tokenizer: Tokenizer) -> None:
        self._score, self._tokenizer = score, tokenizer

    def likelihood(self, tokens: list[int], answer: str, level: int = 0, most: int = ANSWER) -> float:
        """The mean log-probability, in nats, of the first `most` tokens of `answer` after the prompt `tokens`."""
        ids = self._tokenizer.encode(answer, special=False)[:most]
        return float(np.mean(self._score(tokens, ids, level)))

    def gains(self, example: Example, read: squeeze.Read, rng: random.Random) -> list[float | None]:
        """By how many nats a token each piece alone makes the answer likelier than no text; None where not asked.

        Asked are the pieces the answer stands in, those with most of the question's meaning and words, and some others.
        """
        promising = np.argsort(-read.signs[:, PLAIN].sum(axis=1), kind="stable").tolist()
        others = promising[LIKELY:]
        rng.shuffle(others)
        holding = [i for i, piece in enumerate(read.pieces) if self._holds(example, read, piece)]
        taken = {*holding, *promising[:LIKELY], *others[:OTHER]}
        none = self.likelihood(prompt.spell(example.question, [], [], self._tokenizer), example.answer)
        return [self._alone(example, read, i) - none if i in taken else None for i in range(len(read.pieces))]

    def shared(self, example: Example, read: squeeze.Read, level: int, shares: Sequence[float] = SHARES) -> list[float]:
        """How likely the answer is, nats a token, with each share of the pieces' tokens kept."""
        fixed = prompt.fixed(example.question, self._tokenizer)
        whole = prompt.squeezed(example.question, read, self._tokenizer, budget=CONTEXT)
        made = []
        for share in shares:
            budget = fixed + max(2 * prompt.LEAST, round(share * (len(whole.ids) - fixed)))
            squeezed = prompt.squeezed(example.question, read, self._tokenizer, budget=budget)
            made.append(self.likelihood(squeezed.ids, example.answer, level))
        return made

    def _holds(self, example: Example, read: squeeze.Read, piece: squeeze.Piece) -> bool:
        in_source = read.hits[piece.hit].document == example.source
        return in_source and piece.span.start <= example.at < piece.span.end

    def _alone(self, example: Example, read: squeeze.Read, i: int) -> float:
        piece = read.pieces[i]
        tokens = prompt.spell(example.question, [read.hits[piece.hit]], [[piece.span]], self._tokenizer)
        return self.likelihood(tokens, example.answer)
