"""Resources: the cache of key-value pages, memory, and places to run."""

from __future__ import annotations

import dataclasses
import sys
import time
from typing import Any

from engine.mutants.mutant import Show, answers, configured, ids, planted
from inglenook.doctor.asks import Ask, Properties, State, Together, Tokenize, Write
from inglenook.doctor.engine import Engine
from inglenook.doctor.kits import PlainKit
from inglenook.elastic.cache import PAGE
from inglenook.errors import NookError
from inglenook.flow import Admit, Candidates, Flow
from inglenook.wire.messages import Slo

# ── incorrect cache management ────────────────────────────────────────────────────────────────────────────────────


@planted(
    "Incorrect cache management", "inglenook.elastic.cache:common",
    shows=answers(Write(ids(40)), Write((*ids(12), *ids(28, 3)))),
)  # fmt: skip
def known_by_its_first_eight(common: Any) -> Any:
    """What is kept of a page is found by its first eight tokens, whatever comes after them."""

    def new(left: Any, right: Any) -> int:
        return common(left, right) if left[:8] != right[:8] else min(len(left), len(right))

    return new


@planted(
    "Incorrect cache management", "inglenook.elastic.cache:common",
    shows=answers(Write(ids(100)), Write((*ids(80), *ids(20, 3)))),
)  # fmt: skip
def one_token_too_many(common: Any) -> Any:
    """Where two prompts part within a page, the first token that differs is taken for known, too."""

    def new(left: Any, right: Any) -> int:
        known = common(left, right)
        return min(known + 1, len(left), len(right)) if known else 0

    return new


FULL = tuple(Write(ids(200, salt), 1) for salt in range(1, 9))  # more than there are pages


@planted(
    "Incorrect cache management", "inglenook.elastic.cache:Cache.take",
    shows=answers(Write(ids(200), 4), *FULL, Write((*ids(200), 7), 4)),
)  # fmt: skip
def gone_but_still_known(take: Any) -> Any:
    """A page that had to go for another is still found under what it held."""

    def new(self: Any) -> int:
        ends = [node for node in self._nodes() if not node.users and not node.children]
        if self._free or not ends:
            return take(self)
        oldest = min(ends, key=lambda node: node.used)
        self.touch(oldest)
        return oldest.page

    return new


@planted(
    "Incorrect cache management", "inglenook.elastic.cache:Cache.open",
    shows=answers(Write(ids(300)), Write((*ids(300), 9))),
)  # fmt: skip
def only_the_first_page_is_found(open_: Any) -> Any:
    """Of a prompt that was read before, only the first page is found again: the rest is read anew each time."""
    return lambda self, level, tokens: open_(self, level, tokens[: PAGE + 1])


# ── memory estimation ─────────────────────────────────────────────────────────────────────────────────────────────


@configured("Memory estimation / OOM", shows=answers(Properties(), Write(ids(300))))
def room_for_four_pages(kit: PlainKit) -> PlainKit:
    """The memory that is left is taken for less than it is: there is room for half a context."""
    return dataclasses.replace(kit, pages=4)


@planted(
    "Memory estimation / OOM", "inglenook.elastic.cache:Session.reserve",
    shows=answers(Together(tuple(Write(ids(20, salt)) for salt in range(4)))),
)  # fmt: skip
def reserved_to_the_end(reserve: Any) -> Any:
    """Each request has pages for a whole context reserved, however short it is."""
    return lambda self, size: reserve(self, max(size, 8 * PAGE))


@planted("Memory estimation / OOM", "inglenook.elastic.reference:Reference._attend", shows=answers(Write(ids(400))))
def scores_of_all_at_once(attend: Any) -> Any:
    """Attention wants memory for the square of the context, which is not there for long ones."""

    def new(self: Any, index: int, x: Any, rotation: Any, *place: int) -> Any:
        if place[0] + len(x) > 384:
            raise MemoryError("Unable to allocate 18.6 GiB for an array")
        return attend(self, index, x, rotation, *place)

    return new


# ── memory leak ───────────────────────────────────────────────────────────────────────────────────────────────────


def grows(most: int, *asks: Ask) -> Show:
    """Whether Python's memory is larger by more than `most` bytes after these."""

    def shows(engine: Engine) -> bool:
        engine.answer(asks[0])
        before = engine.answer(State(traced=True))["bytes"]
        for one in asks:
            engine.answer(one)
        after = engine.answer(State(traced=True))["bytes"]
        engine.answer(State())
        return bool(after - before > most)

    return shows


@planted("Memory leak", "inglenook.doctor.plain:Paged.forward", shows=grows(60_000, *[Write(ids(20), 30)] * 5))
def passes_in_a_log(forward: Any) -> Any:
    """What each pass gave is kept for a log that nobody reads."""
    log: list[Candidates] = []

    def new(self: Any, *told: Any, **more: Any) -> Candidates:
        log.append(forward(self, *told, **more))
        return log[-1]

    return new


@planted(
    "Memory leak", "inglenook.elastic.cache:Cache.add",
    shows=answers(Together((Write(ids(100)), Write(ids(100)))), State()),
)  # fmt: skip
def second_of_two_equal_pages(add: Any) -> Any:
    """Where two requests at once wrote the same page, one of both is lost."""

    def new(self: Any, parent: Any, tokens: Any, page: int) -> Any:
        node = add(self, parent, tokens, page)
        if node.page != page:
            self._free.remove(page)
        return node

    return new


@planted(
    "Memory leak", "inglenook.elastic.tokenizer:_CACHED_LENGTH",
    shows=grows(150_000, *[Tokenize("xy" * 500 + "z" * i) for i in range(60)]),
)  # fmt: skip
def long_words_are_kept(length: int) -> int:
    """The ids of every word are kept, however long it is."""
    return sys.maxsize


# ── resource contention, deadlock ─────────────────────────────────────────────────────────────────────────────────


@planted(
    "Resource contention / deadlock", "inglenook.elastic.turns:Turns.leave",
    shows=answers(*[Write(ids(9), leaves=1)] * 4, State(), Write(ids(9))),
)  # fmt: skip
def place_of_who_left(leave: Any) -> Any:
    """Readers who leave in the middle keep their place, until there is none."""
    return lambda self, ticket: None if sys.exc_info()[0] is GeneratorExit else leave(self, ticket)


@planted(
    "Resource contention / deadlock", "inglenook.elastic.decode:generate",
    shows=answers(Write(ids(9)), Together(tuple(Write(ids(9, salt)) for salt in range(4)))),
)  # fmt: skip
def second_place_beside_the_first(generate: Any) -> Any:
    """A request waits for a second place while it holds its first: four at once wait for each other."""

    def new(*told: Any, **more: Any) -> Flow:
        second = yield Admit("", Slo(), 0, time.perf_counter())
        try:
            return (yield from generate(*told, **more))
        finally:
            second.leave()

    return new


@planted(
    "Resource contention / deadlock", "inglenook.doctor.local:Local._together",
    shows=answers(Write(ids(9), dies=2), Write(ids(9))),
)  # fmt: skip
def lock_of_who_failed(together: Any) -> Any:
    """A request that fails while it runs does not let go of the model."""
    held: list[Any] = []

    def new(self: Any, parts: Any) -> list[Any]:
        if held:
            raise NookError("busy", "The model is in use.", "Try again later.")
        results = together(self, parts)
        held.extend(one for one in results if isinstance(one, NookError) and one.code == "worker-died")
        return results

    return new
