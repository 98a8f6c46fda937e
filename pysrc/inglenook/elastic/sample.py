"""Choosing the next token among the model's candidates; the same seed chooses the same tokens again.

Nucleus sampling: Holtzman et al., "The Curious Case of Neural Text Degeneration" (1904.09751, section 3.1).

The guard: a model of 135M parameters falls into loops, most of all when it decodes greedily. So a token that would
complete `guard` tokens which the answer contains already is passed over (as in Paulus et al., 1705.04304, section 2.5,
who forbid repeated trigrams). Only the answer counts, never the prompt: quoting a source word for word is fine. What is
held to a grammar does not count either (`decode.generate`): no guard can tell a loop from a list of equal numbers, so
there a schema's bounds and the number of tokens end what goes on too long.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np

from inglenook.flow import Candidates

GUARD = 8


class Sampler:
    """`temperature` 0 takes the best candidate, 1 draws by the model's own odds from the `top_p` most likely mass.

    `guard` is the length of the token runs that must not be written twice, 0 for no such limit.
    """

    def __init__(self, temperature: float = 0.0, top_p: float = 1.0, seed: int = 0, guard: int = GUARD) -> None:
        self.temperature = max(0.0, temperature)
        self.top_p = min(1.0, max(0.0, top_p))
        self.guard = guard
        self._random = random.Random(seed)

    def pick(self, candidates: Candidates, written: Sequence[int] = ()) -> int:
        """One of `candidates.ids`, given the answer's tokens so far. A run that cannot be avoided is written twice."""
        ids, logits = candidates.ids, np.asarray(candidates.logits, np.float64)
        banned = self._banned(written)
        if banned:
            allowed = np.array([int(token) not in banned for token in ids])
            if allowed.any():
                ids, logits = ids[allowed], logits[allowed]
        if self.temperature == 0:
            return int(ids[0])
        with np.errstate(over="ignore"):  # minus infinity is a logit no draw will take
            odds = np.exp((logits - logits[0]) / self.temperature)
        mass = np.cumsum(odds / odds.sum())
        kept = int(np.searchsorted(mass, self.top_p)) + 1  # the fewest candidates that hold top_p
        point = self._random.random() * mass[min(kept, len(mass)) - 1]
        return int(ids[min(int(np.searchsorted(mass, point, side="right")), len(ids) - 1)])

    def _banned(self, written: Sequence[int]) -> set[int]:
        """Tokens that would complete a run of `guard` tokens for the second time."""
        size = self.guard - 1
        if size < 0 or len(written) <= size:
            return set()
        tail = list(written[len(written) - size :])
        return {written[at + size] for at in range(len(written) - size) if list(written[at : at + size]) == tail}
