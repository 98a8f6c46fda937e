"""Which key-value pages hold what: a tree of prefixes, as in RadixAttention (Zheng et al., 2312.07104, section 3).

    session = cache.open(level, prompt)        # what is known of the prompt is found again
    if session.copy:                           # a page that is known in part
        yield Copy(*session.copy)
        session.copied()
    session.reserve(len(prompt))
    yield Forward(prompt[at:], at := len(session.tokens), pages=session.pages)
    session.wrote(at, prompt[at:])
    session.share()                            # others may begin with all of the prompt
    session.close()

A page holds 64 positions. Full ones stand in the tree, below the page before them, and any number of sessions read
them; one that is being filled belongs to its session until it is full or the session ends, but what it holds when it is
shared stands in the tree from then on, for others to copy. What nobody uses stays until its page is needed; the least
recently used goes first, ends before beginnings.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from inglenook.errors import NookError

PAGE = 64
"""Positions in a page, as in wasm/llama.h."""


@dataclass(slots=True, eq=False)
class _Node:
    """A page in the tree: what it holds, and how many sessions read it. Fewer than 64 tokens stand at an end only."""

    page: int
    tokens: tuple[int, ...]
    parent: _Node | None
    users: int = 0
    used: int = 0
    children: dict[tuple[int, ...], _Node] = field(default_factory=dict)


class Cache:
    """`pages` key-value pages, numbered from 0, for sessions of any levels."""

    def __init__(self, pages: int) -> None:
        self.pages = pages
        self.lost = False
        self._free = list(reversed(range(pages)))
        self._roots: dict[int, _Node] = {}
        self._clock = 0

    @property
    def free(self) -> int:
        """Pages that a new session could get: those nobody uses."""
        return len(self._free) + sum(node.users == 0 for node in self._nodes())

    def open(self, level: int, tokens: Sequence[int]) -> Session:
        """A session that begins like `tokens` and knows as much of them as is there, but never the last one, nor what
        would have to be copied where all pages are in use."""
        node = self._roots.setdefault(level, _Node(-1, (), None))
        session = Session(self, node, level)
        most = len(tokens) - 1
        while len(session.tokens) + PAGE <= most:
            at = len(session.tokens)
            found = session.node.children.get(tuple(tokens[at : at + PAGE]))
            if found is None:
                break
            session.enter(found)
        at = len(session.tokens)
        rest = tuple(tokens[at : min(at + PAGE, most)])
        nearest = max(session.node.children.values(), key=lambda child: common(child.tokens, rest), default=None)
        shared = common(nearest.tokens, rest) if nearest else 0
        if nearest and shared:
            with suppress(NookError):
                session.begin_like(nearest, shared)
        return session

    def known(self, level: int, tokens: Sequence[int]) -> int:
        """How many of `tokens` a session would know from the start on."""
        node, at, most = self._roots.get(level), 0, len(tokens) - 1
        while node:
            children, rest = node.children, tuple(tokens[at : min(at + PAGE, most)])
            node = children.get(rest) if len(rest) == PAGE else None
            at += PAGE if node else max((common(child.tokens, rest) for child in children.values()), default=0)
        return at

    def forget(self) -> None:
        """The model is gone and its pages with it: open sessions raise NookError("worker-died") when they go on."""
        self.lost = True

    def take(self) -> int:
        """A page for a session. Raises NookError("memory")."""
        if not self._free:
            ends = [node for node in self._nodes() if not node.users and not node.children]
            if not ends:
                hint = "Wait until another answer is done, or ask with less text."
                raise NookError("memory", "The memory for what is being read and written is full.", hint)
            self.drop(min(ends, key=lambda node: node.used))
        return self._free.pop()

    def give(self, page: int) -> None:
        """A page that nobody needs any more."""
        self._free.append(page)

    def drop(self, node: _Node) -> None:
        """Take an end out of the tree; its page is free."""
        assert node.parent and not node.children and not node.users
        del node.parent.children[node.tokens]
        self._free.append(node.page)

    def add(self, parent: _Node, tokens: tuple[int, ...], page: int) -> _Node:
        """Put a page into the tree, or find the one that begins like it; the other page is free then."""
        if found := self.like(parent, tokens):
            self._free.append(page)
            return found
        made = _Node(page, tokens, parent)
        self._place(made)
        return made

    def grow(self, node: _Node, tokens: tuple[int, ...]) -> _Node:
        """As `add` for an end whose session wrote on in its page, and uses it no more. It stays as it was known where
        others are about to copy it and another page begins like it, too."""
        assert node.parent
        del node.parent.children[node.tokens]
        node.users -= 1
        if not node.users:
            return self.add(node.parent, tokens, node.page)
        if found := self.like(node.parent, tokens):
            node.parent.children[node.tokens] = node
            return found
        node.tokens = tokens
        self._place(node)
        return node

    def like(self, parent: _Node, tokens: tuple[int, ...]) -> _Node | None:
        """A page below `parent` that begins with `tokens`."""
        return next((node for node in parent.children.values() if node.tokens[: len(tokens)] == tokens), None)

    def _place(self, made: _Node) -> None:
        """Into the tree; ends that nobody reads and that are its beginning go."""
        assert made.parent
        for node in list(made.parent.children.values()):
            if not node.users and made.tokens[: len(node.tokens)] == node.tokens:
                self.drop(node)
        made.parent.children[made.tokens] = made

    def touch(self, node: _Node) -> None:
        """It was used just now."""
        self._clock += 1
        node.used = self._clock

    def _nodes(self) -> Iterator[_Node]:
        waiting = list(self._roots.values())
        while waiting:
            node = waiting.pop()
            waiting += node.children.values()
            if node.parent:
                yield node


class Session:
    """The pages of one answer: `tokens` is what they hold, `pages` where, in the order of positions.

    `copy` says which page has to be copied to which before anything else is done; both stay in place until it is said
    to be `copied`, or something is written.
    """

    def __init__(self, cache: Cache, root: _Node, level: int) -> None:
        self.level = level
        self.tokens: list[int] = []
        self.pages: list[int] = []
        self.copy: tuple[int, int] | None = None
        self.node = root  # of the last full page
        self._cache = cache
        self._chain: list[_Node] = []  # the full pages
        self._source: _Node | None = None  # of `copy`
        self._end: _Node | None = None  # what is shared of the page that is being filled
        self._open = True

    def enter(self, node: _Node) -> None:
        """Go on in a full page of the tree."""
        node.users += 1
        self._chain.append(node)
        self.node = node
        self.tokens += node.tokens
        self.pages.append(node.page)

    def begin_like(self, node: _Node, count: int) -> None:
        """Begin the next page with the first `count` tokens of a page of the tree: taken over where it is nobody's and
        holds no more, else copied."""
        if count == len(node.tokens) < PAGE and not node.users:
            self._cache.drop(node)
            self.pages.append(self._cache.take())
            assert self.pages[-1] == node.page
        else:
            node.users += 1  # so that it is not the one to go for the page it is copied to
            try:
                page = self._cache.take()
            except NookError:
                node.users -= 1
                raise
            self._source, self.copy = node, (node.page, page)
            self.pages.append(page)
        self.tokens += node.tokens[:count]

    def reserve(self, size: int) -> None:
        """Have pages for positions 0 to `size`. Raises NookError("memory" | "worker-died")."""
        self._check()
        while len(self.pages) * PAGE < size:
            self.pages.append(self._cache.take())

    def wrote(self, at: int, tokens: Sequence[int]) -> None:
        """The positions from `at` on hold `tokens` now, and nothing comes after them; full pages become known.

        `at` may go back, but not into a full page or what is shared. Raises NookError("worker-died").
        """
        self._check()
        known = len(self._chain) * PAGE + (len(self._end.tokens) if self._end else 0)
        if not known <= at <= len(self.tokens) or at + len(tokens) > len(self.pages) * PAGE:
            raise ValueError(f"{len(tokens)} tokens at {at} of {len(self.tokens)} held on {len(self.pages)} pages")
        self.copied()
        self.tokens[at:] = tokens
        for i in range(len(self._chain), len(self.tokens) // PAGE):
            full = tuple(self.tokens[i * PAGE : (i + 1) * PAGE])
            node = self._known(full, self.pages[i])
            node.users += 1
            self.pages[i] = node.page
            self._chain.append(node)
            self.node = node

    def share(self) -> None:
        """Let others begin with all that is there now, which is not written over any more."""
        rest = tuple(self.tokens[len(self._chain) * PAGE :])
        if rest and not self.copy and not self._end and not self._cache.like(self.node, rest):
            self._end = self._cache.add(self.node, rest, self.pages[len(self._chain)])
            self._end.users += 1

    def close(self) -> None:
        """Nothing is written any more. What is there stays known as long as nobody needs its pages."""
        if not self._open:
            return
        self._open = False
        whole = len(self._chain)
        rest = tuple(self.tokens[whole * PAGE :])
        unused = self.pages[whole:]
        if rest and not self.copy:  # with a copy that may not have been made nothing new is known
            self._cache.touch(self._known(rest, unused.pop(0)))
        for page in unused:
            self._cache.give(page)
        self.copied()
        for node in reversed(self._chain):
            node.users -= 1
            self._cache.touch(node)

    def _known(self, tokens: tuple[int, ...], page: int) -> _Node:
        """Have the tree know what the page after the full ones holds."""
        end, self._end = self._end, None
        return self._cache.grow(end, tokens) if end else self._cache.add(self.node, tokens, page)

    def copied(self) -> None:
        """The copy was made: the page it was made of may go."""
        if self._source:
            self._source.users -= 1
            self._cache.touch(self._source)
        self._source = self.copy = None

    def _check(self) -> None:
        if self._cache.lost:
            hint = "Try again: it is started anew."
            raise NookError("worker-died", "The language model stopped working.", hint)


def common(left: Sequence[int], right: Sequence[int]) -> int:
    """How many tokens two sequences have in common from the start."""
    for at, (a, b) in enumerate(zip(left, right, strict=False)):
        if a != b:
            return at
    return min(len(left), len(right))
