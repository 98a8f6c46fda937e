"""Which tokens may come next, while a model writes a text of a grammar.

A mask is never empty: the automaton goes only where a text can still be finished with bytes that are tokens by
themselves, and where it may end here, the tokens that end a text are in the mask. Masks are kept by state, since most
texts pass the same states again and again.
"""

from __future__ import annotations

import numpy as np

from inglenook.elastic.grammar.automaton import Automaton
from inglenook.elastic.grammar.expression import TooLarge
from inglenook.elastic.grammar.grammar import Grammar
from inglenook.elastic.grammar.vocabulary import vocabulary
from inglenook.elastic.tokenizer import Tokenizer
from inglenook.errors import NookError

KEPT = 512  # masks of 6 kB each


class Mask:
    """A place in a text of `grammar`, moved by tokens. Raises NookError(grammar.what) if the vocabulary cannot write
    any text of the grammar, and from `allow` if the grammar needs too many states."""

    def __init__(self, grammar: Grammar, tokenizer: Tokenizer) -> None:
        self._grammar, self._tokenizer = grammar, tokenizer
        self._vocabulary = vocabulary(tokenizer)
        self._automaton: Automaton = grammar.automaton(self._vocabulary.alphabet)
        self._masks = grammar.masks.setdefault(self._vocabulary, {})
        self._state = self._automaton.start
        if not self._state:
            hint = "Allow other characters."
            raise NookError(grammar.what, f"The model has no tokens for any text of the {grammar.what}.", hint)

    @property
    def complete(self) -> bool:
        """Whether the text may end here."""
        return self._automaton.accepts(self._state)

    @property
    def over(self) -> bool:
        """Whether nothing but the end may come."""
        self._automaton.prepare(self._state)
        return not self._automaton.table[self._state].any()

    def allow(self) -> bytes:
        """The tokens that may come next: bit t % 8 of byte t // 8 for token t, of ⌈vocabulary / 8⌉ bytes."""
        known = self._masks.get(self._state)
        if known is None:
            try:
                found = self._vocabulary.allowed(self._automaton, self._state)
            except (TooLarge, RecursionError):
                raise self._grammar.too_large() from None
            found[self._vocabulary.ends] = self.complete
            known = np.packbits(found, bitorder="little").tobytes()
            if len(self._masks) >= KEPT:
                self._masks.clear()
            self._masks[self._state] = known
        return known

    def advance(self, token: int) -> None:
        """Move past a token of `allow()`; one that ends the text leaves it where it is.

        Raises NookError("token") for any other, and stays where it was.
        """
        if not 0 <= token < len(self._tokenizer):
            raise NookError("token", f"There is no token {token}.", "Pass a token of this model's vocabulary.")
        if token in self._tokenizer.ends and self.complete:
            return
        state = 0 if self._tokenizer.is_special(token) else self._state
        for byte in self._tokenizer.piece(token):
            state = self._automaton.step(state, byte)
        if not state:
            raise NookError("token", f"Token {token} may not come here.", "Choose among those of `allow`.")
        self._state = state
