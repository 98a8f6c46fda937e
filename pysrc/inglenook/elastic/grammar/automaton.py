"""The automaton of an expression, built where somebody goes: a table of what comes after each byte.

States are numbered as they are met; 0 is the state that nothing leads out of. A state from which no text can be
finished with the bytes at hand is 0, too: so whoever goes from state to state can always go on, or stop.
"""

from __future__ import annotations

import numpy as np

from inglenook.elastic.grammar.expression import ALL, BYTES, EMPTY, EPSILON, Arena, TooLarge

STATES = 32_768


class Automaton:
    """`table` is uint16 of shape (states, 256); a row holds once `ready` says so. `start` is 0 for no text at all."""

    def __init__(self, arena: Arena, root: int, alphabet: int = BYTES) -> None:
        self._arena, self._alphabet = arena, alphabet
        self._states: dict[int, int] = {}
        self._expressions: list[int] = [EMPTY]
        self._live: dict[int, bool] = {EMPTY: False, EPSILON: True, ALL: True}
        self._lists: dict[int, np.ndarray] = {}
        self.table = np.zeros((64, 256), np.uint16)
        self.ready = np.zeros(64, bool)
        self.ready[0] = True
        self._try_rules()
        self.start = self._state(root)

    def accepts(self, state: int) -> bool:
        """Whether the text may end here."""
        return self._arena.nullable(self._expressions[state])

    def step(self, state: int, byte: int) -> int:
        """The state after one more byte."""
        self.prepare(state)
        return int(self.table[state, byte])

    def prepare(self, state: int) -> None:
        """Make the row of a state. Raises TooLarge when there are too many states."""
        if self.ready[state]:
            return
        for mask, rest in self._arena.edges(self._expressions[state]):
            reached = self._state(rest)
            if reached:
                self.table[state, self._members(mask & self._alphabet)] = reached
        self.ready[state] = True

    def _state(self, expression: int) -> int:
        state = self._states.get(expression)
        if state is None:
            state = 0
            if self._alive(expression):
                state = len(self._expressions)
                if state >= STATES:
                    raise TooLarge
                self._expressions.append(expression)
                if state >= len(self.table):
                    self.table = np.concatenate([self.table, np.zeros_like(self.table)])
                    self.ready = np.concatenate([self.ready, np.zeros_like(self.ready)])
            self._states[expression] = state
        return state

    def _members(self, mask: int) -> np.ndarray:
        """The bytes of a set, as an index."""
        found = self._lists.get(mask)
        if found is None:
            bits = np.unpackbits(np.frombuffer(mask.to_bytes(32, "little"), np.uint8), bitorder="little")
            found = self._lists[mask] = np.flatnonzero(bits)
        return found

    # ── which languages are empty ─────────────────────────────────────────────────────────────────────────────────

    def _try_rules(self) -> None:
        """The rules that some text satisfies: the least fixpoint, from none upwards."""
        rules = {self._arena.rule(name): body for name, body in self._arena.rules.items()}
        dead = {*rules}
        while True:
            settled = {part for part, alive in self._live.items() if alive}
            self._live = dict.fromkeys(settled, True) | dict.fromkeys(dead, False) | {EMPTY: False}
            born = {rule for rule in dead if self._alive(rules[rule])}
            if not born:
                return
            dead -= born
            self._live |= dict.fromkeys(born, True)

    def _alive(self, expression: int) -> bool:
        """Whether any text belongs to it."""
        known = self._live.get(expression)
        if known is None:
            known = self._arena.nullable(expression) or self._try(expression)
            self._live[expression] = known
        return known

    def _try(self, expression: int) -> bool:
        match self._arena.node(expression):
            case ("set", mask):
                return bool(mask & self._alphabet)
            case ("seq", head, tail):
                heads = [head]
                while tail not in self._live and self._arena.node(tail)[0] == "seq":
                    _, head, tail = self._arena.node(tail)
                    heads.append(head)
                for part in (tail, *heads):  # noqa: SIM110 -- see `expression`: not within a C function
                    if not self._alive(part):
                        return False
                return True
            case ("alt", parts):
                for part in parts:  # noqa: SIM110
                    if self._alive(part):
                        return True
                return False
            case ("repeat", part, _, _):
                return self._alive(part)
        return self._search(expression)

    def _search(self, expression: int) -> bool:
        """For intersections and complements: walk, depth first, until the text may end."""
        path, ahead = [expression], [self._targets(expression)]
        met = {expression}
        while path:
            if not ahead[-1]:
                path.pop()
                ahead.pop()
                continue
            rest = ahead[-1].pop()
            if self._live.get(rest) or self._arena.nullable(rest):
                self._live |= dict.fromkeys(path, True)
                return True
            if rest not in met and self._live.get(rest) is None:
                met.add(rest)
                path.append(rest)
                ahead.append(self._targets(rest))
        self._live |= dict.fromkeys(met, False)
        return False

    def _targets(self, expression: int) -> list[int]:
        return [rest for mask, rest in self._arena.edges(expression) if mask & self._alphabet]
