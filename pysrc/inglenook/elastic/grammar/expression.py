"""Languages of bytes as expressions, and what is left of one after a byte: its derivative.

An expression is the state of its own automaton: Brzozowski, "Derivatives of Regular Expressions" (1964), with the
partitions of the alphabet and the simplifying constructors of Owens, Reppy and Turon, "Regular-expression derivatives
re-examined" (2009). Repetitions count down instead of being unrolled, intersection and complement come for nothing. A
named rule is looked up only when it stands in front, so the tail of a sequence is the stack of a pushdown automaton
(after Might, Darais and Spiewak, "Parsing with derivatives", 2011); a rule never begins with itself.

    space = Arena()
    word = space.repeat(space.bytes_(range(97, 123)), 1, None)
    [(mask, rest)] = space.edges(word)       # after any of a..z, `rest` may follow

Expressions are numbers of an arena, the same number for the same expression, so that states can be compared and kept.

What calls itself here does so in loops and list comprehensions, never from within map, any or a generator: those are C
functions, and a tab's stack holds few of them, while calls from Python to Python take none of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

BYTES = (1 << 256) - 1  # a set of bytes is an integer of 256 bits
EMPTY, EPSILON, ALL = range(3)  # no text, the empty text, any bytes
MOST = 2_000_000  # expressions made and alternatives looked at: some seconds of work

Edges = tuple[tuple[int, int], ...]


class TooLarge(Exception):
    """It takes more work than an arena is made for."""


class Arena:
    """Where expressions live. `rules` are bodies by name; a body may not accept the empty text.

    `lowered` are sets of characters that were made before (`text`).
    """

    def __init__(self) -> None:
        self.rules: dict[Any, int] = {}
        self.lowered: dict[Any, int] = {}
        self._ids: dict[tuple[Any, ...], int] = {}
        self._nodes: list[tuple[Any, ...]] = []
        self._nullable: list[bool] = []
        self._spent = 0
        self._edges: dict[int, Edges] = {}
        self._node(("alt", ()), False)
        self._node(("epsilon",), True)
        self._node(("not", EMPTY), True)

    def node(self, expression: int) -> tuple[Any, ...]:
        """The kind and the parts: ("set", mask), ("seq", head, tail), ("alt", parts), ("repeat", part, least, most),
        ("and", left, right), ("not", part), ("rule", name) or ("epsilon",)."""
        return self._nodes[expression]

    def nullable(self, expression: int) -> bool:
        """Whether the empty text belongs to it."""
        return self._nullable[expression]

    # ── making ────────────────────────────────────────────────────────────────────────────────────────────────────

    def set(self, mask: int) -> int:
        """One byte of a set of 256 bits."""
        return self._node(("set", mask), False) if mask else EMPTY

    def bytes_(self, values: Iterable[int]) -> int:
        """One of these bytes."""
        return self.set(sum(1 << value for value in {*values}))

    def literal(self, data: bytes) -> int:
        """These bytes one after the other."""
        return self.seq(*(self.set(1 << byte) for byte in data))

    def seq(self, *parts: int) -> int:
        """One after the other. Heads are never sequences themselves: the tail is the stack."""
        tail = EPSILON
        for part in reversed(parts):
            heads = []
            while part != EPSILON and self._nodes[part][0] == "seq":
                _, head, part = self._nodes[part]
                heads.append(head)
            for head in (part, *reversed(heads)):
                if EMPTY in (head, tail):
                    return EMPTY
                if head != EPSILON:
                    tail = head if tail == EPSILON else self._pair(head, tail)
        return tail

    def alt(self, parts: Iterable[int]) -> int:
        """Any of them. Common beginnings are drawn together, so a list of words becomes a tree."""
        shared = []
        while True:
            tails, optional = self._heads(parts)
            if optional or len(tails) != 1:
                break
            [(head, parts)] = tails.items()
            shared.append(head)
            if len(parts) == 1:
                return self.seq(*shared, *parts)
        masks: dict[int, int] = {}
        found = []
        for head, rests in tails.items():
            tail = rests[0] if len(rests) == 1 else self.alt(rests)
            kind, *what = self._nodes[head]
            if kind == "set":
                masks[tail] = masks.get(tail, 0) | what[0]
            else:
                found.append(self.seq(head, tail))
        found += [self.seq(self.set(mask), tail) for tail, mask in masks.items()]
        if ALL in found:
            found = [ALL]
        elif optional and not any(self._nullable[part] for part in found):
            found.append(EPSILON)
        found = sorted({*found})
        if len(found) != 1:
            found = [self._node(("alt", (*found,)), any(self._nullable[part] for part in found))]
        return self.seq(*shared, *found)

    def _heads(self, parts: Iterable[int]) -> tuple[dict[int, list[int]], bool]:
        """What the parts begin with, and how each goes on; whether the empty text is one of them."""
        tails: dict[int, list[int]] = {}
        optional = False
        todo = list(parts)
        self._spend(len(todo))
        while todo:
            part = todo.pop()
            node = self._nodes[part]
            if node[0] == "alt":
                todo += node[1]
                self._spend(len(node[1]))
            elif part == EPSILON:
                optional = True
            elif node[0] == "seq":
                tails.setdefault(node[1], []).append(node[2])
            else:
                tails.setdefault(part, []).append(EPSILON)
        return tails, optional

    def optional(self, part: int) -> int:
        """It or nothing."""
        return self.alt((part, EPSILON))

    def repeat(self, part: int, least: int = 0, most: int | None = None) -> int:
        """From `least` to `most` times; None: without end."""
        if most == 0 or part == EPSILON:
            return EPSILON
        if part == EMPTY:
            return EPSILON if least == 0 else EMPTY
        if most == 1:
            return part if least else self.optional(part)
        if part == ALL or self._nullable[part]:
            least = 0
        if part == ALL:
            return ALL
        return self._node(("repeat", part, least, most), least == 0)

    def both(self, left: int, right: int) -> int:
        """What belongs to both."""
        if right in (left, ALL):
            return left
        if left == ALL:
            return right
        if EMPTY in (left, right):
            return EMPTY
        if EPSILON in (left, right):
            return EPSILON if self._nullable[left] and self._nullable[right] else EMPTY
        left, right = sorted((left, right))
        return self._node(("and", left, right), self._nullable[left] and self._nullable[right])

    def complement(self, part: int) -> int:
        """Any bytes that do not belong to it."""
        kind, *what = self._nodes[part]
        return int(what[0]) if kind == "not" else self._node(("not", part), not self._nullable[part])

    def rule(self, name: Any) -> int:
        """The rule of this name, which may be written later."""
        return self._node(("rule", name), False)

    # ── deriving ──────────────────────────────────────────────────────────────────────────────────────────────────

    def edges(self, expression: int) -> Edges:
        """(set of bytes, what may follow one of them), the sets disjoint; bytes in none of them may not come."""
        known = self._edges.get(expression)
        if known is None:
            known = self._edges[expression] = self._derive(expression)
        return known

    def _derive(self, expression: int) -> Edges:
        kind, *what = self._nodes[expression]
        match kind:
            case "set":
                return ((what[0], EPSILON),)
            case "seq":
                parts = []
                at = expression
                while self._nodes[at][0] == "seq":  # past heads that may be empty
                    _, head, at = self._nodes[at]
                    parts.append(tuple((mask, self.seq(rest, at)) for mask, rest in self.edges(head)))
                    if not self._nullable[head]:
                        return self._union(parts)
                return self._union([*parts, self.edges(at)])
            case "alt":
                return self._union([self.edges(part) for part in what[0]])
            case "repeat":
                part, least, most = what
                again = self.repeat(part, max(0, least - 1), None if most is None else most - 1)
                return self._union([tuple((mask, self.seq(rest, again)) for mask, rest in self.edges(part))])
            case "and":
                left, right = self.edges(what[0]), self.edges(what[1])
                return self._union([tuple((a & b, self.both(x, y)) for a, x in left for b, y in right if a & b)])
            case "not":
                inner = self.edges(what[0])
                rest = BYTES & ~sum(mask for mask, _ in inner)
                return self._union([tuple((mask, self.complement(part)) for mask, part in inner), ((rest, ALL),)])
            case "rule":
                return self.edges(self.rules[what[0]])
        return ()

    def _union(self, partitions: list[Edges]) -> Edges:
        """The partition that refines all of them; sets with the same rest become one."""
        merged: list[tuple[int, list[int]]] = []
        for partition in partitions:
            for mask, rest in partition:
                if rest == EMPTY:
                    continue
                self._spend(len(merged))
                split = []
                for other, rests in merged:
                    common = other & mask
                    if not common:
                        split.append((other, rests))
                        continue
                    if common != other:
                        split.append((other & ~mask, rests))
                    split.append((common, [*rests, rest]))
                    mask &= ~common
                if mask:
                    split.append((mask, [rest]))
                merged = split
        by_rest: dict[int, int] = {}
        for mask, rests in merged:
            rest = rests[0] if len(rests) == 1 else self.alt(rests)
            by_rest[rest] = by_rest.get(rest, 0) | mask
        return tuple((mask, rest) for rest, mask in by_rest.items())

    # ── storing ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _spend(self, work: int) -> None:
        self._spent += work
        if self._spent > MOST:
            raise TooLarge

    def _pair(self, head: int, tail: int) -> int:
        return self._node(("seq", head, tail), self._nullable[head] and self._nullable[tail])

    def _node(self, node: tuple[Any, ...], nullable: bool) -> int:
        found = self._ids.get(node)
        if found is None:
            found = len(self._nodes)
            self._spend(1)
            self._ids[node] = found
            self._nodes.append(node)
            self._nullable.append(nullable)
        return found
