"""Which texts a model may write: a regular expression's, or the JSON texts of a schema.

grammar = Grammar.of_schema({"type": "object", "properties": {"name": {"type": "string"}}})
grammar.matches('{"name":"Ada"}')     # True
mask = Mask(grammar, tokenizer)       # `mask`: the same over tokens
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from inglenook.elastic.grammar import regex, schema
from inglenook.elastic.grammar.automaton import Automaton
from inglenook.elastic.grammar.expression import BYTES, Arena, TooLarge
from inglenook.errors import NookError

_HINT = "Ask for less: fewer alternatives, shorter lists, smaller bounds."


class Grammar:
    """A set of texts. `what` is the code of the errors it causes: "schema" or "regex".

    `masks` are those that were made, by vocabulary and state (`mask`).
    """

    def __init__(self, what: str, compile: Callable[[Arena], int]) -> None:
        """`compile` makes the expression in an arena. Raises NookError(what) if no text belongs to it, or too much."""
        self.what = what
        self.arena = Arena()
        self.masks: dict[Any, dict[int, bytes]] = {}
        self._automata: dict[int, Automaton] = {}
        try:
            self.root = compile(self.arena)
        except (TooLarge, RecursionError):
            raise self.too_large() from None
        if not self.automaton().start:
            raise NookError(what, f"No text satisfies the {what}.", "Which of its parts contradict each other?")

    @classmethod
    def of_schema(cls, of: Any) -> Grammar:
        """The compact JSON of the values that a JSON schema allows (`schema` says how it is written)."""
        return cls("schema", lambda arena: schema.compile(arena, of))

    @classmethod
    def of_regex(cls, pattern: str) -> Grammar:
        """The texts that the whole of a pattern matches (`regex` says which syntax)."""
        return cls("regex", lambda arena: regex.compile(arena, pattern))

    def automaton(self, alphabet: int = BYTES) -> Automaton:
        """The automaton over a set of bytes, kept while the grammar is."""
        found = self._automata.get(alphabet)
        if found is None:
            try:
                found = Automaton(self.arena, self.root, alphabet)
            except (TooLarge, RecursionError):
                raise self.too_large() from None
            self._automata[alphabet] = found
        return found

    def matches(self, text: str) -> bool:
        """Whether a whole text belongs to it."""
        automaton = self.automaton()
        state = automaton.start
        try:
            for byte in text.encode("utf-8", "surrogatepass"):
                state = automaton.step(state, byte)
        except (TooLarge, RecursionError):
            raise self.too_large() from None
        return automaton.accepts(state)

    def too_large(self) -> NookError:
        """The error of a grammar that asks for more than is possible here."""
        return NookError(self.what, f"The {self.what} is too large to be followed.", _HINT)
