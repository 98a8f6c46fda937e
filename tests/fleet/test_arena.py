"""The arena's accounting: pages go to one model at a time, floors are kept, and nothing is lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import settings as profile
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from inglenook.elastic.shape import Shape
from inglenook.errors import NookError
from inglenook.fleet.arena import Arena, token_bytes

SHAPE = Shape(30, 576, 1536, 9, 3, 49152, 8192, 1e5, 1e-5)


def test_a_page_holds_as_many_tokens_as_the_shape_allows() -> None:
    arena = Arena(10, 1 << 20)
    arena.register("whole", token_bytes(SHAPE, 4))
    arena.register("half", token_bytes(SHAPE, 2, layers=15))
    assert token_bytes(SHAPE, 4) == 2 * 30 * 3 * 64 * 4
    assert arena.tokens_per_page("whole") == (1 << 20) // 46080 and arena.tokens_per_page("half") == (1 << 20) // 11520
    assert arena.pages_for("whole", 0) == 0
    assert arena.pages_for("whole", 22) == 1 and arena.pages_for("whole", 23) == 2


def test_floors_are_kept_and_limits_hold() -> None:
    arena = Arena(10, 100)
    arena.register("a", 10, floor=4)
    arena.register("b", 20)
    arena.register("c", 20, limit=1)
    assert [arena.available(name) for name in "abc"] == [10, 6, 1]
    kept = arena.take("b", 6)
    with pytest.raises(NookError) as full:
        arena.take("b", 1)
    assert full.value.code == "arena-full" and arena.held("b") == 6
    assert arena.available("a") == 4 and arena.available("c") == 0
    arena.take("a", 4)
    arena.give("b", kept[:2])
    assert arena.available("a") == 2 and arena.available("c") == 1
    arena.adjust("a", 0, limit=4)
    assert arena.available("a") == 0 and arena.available("b") == 2


@pytest.mark.parametrize(
    "wrong",
    [
        lambda arena: arena.register("a", 10),
        lambda arena: arena.register("b", 101),
        lambda arena: arena.register("b", 0),
        lambda arena: arena.register("b", 10, floor=9),
        lambda arena: arena.register("b", 10, floor=3, limit=2),
        lambda arena: arena.adjust("a", 11),
        lambda arena: arena.give("a", [0]),
        lambda arena: arena.take("b", 1),
        lambda arena: arena.take("a", -1),
        lambda arena: arena.give("a", [arena.take("a", 1)[0]] * 2),
        lambda arena: Arena(0, 10),
    ],
)
def test_what_cannot_be_is_refused(wrong) -> None:
    arena = Arena(10, 100)
    arena.register("a", 10, floor=2)
    with pytest.raises(NookError) as refused:
        wrong(arena)
    assert refused.value.hint
    arena.register("b", 10)  # what was refused left nothing behind


class Tenants(RuleBasedStateMachine):
    """Models take and give at random; who holds what is kept beside the arena, in a plain dictionary."""

    @initialize(
        pages=st.integers(1, 40), floors=st.lists(st.integers(0, 8), min_size=1, max_size=4), limit=st.integers(0, 40)
    )
    def start(self, pages: int, floors: list[int], limit: int) -> None:
        self.arena, self.floors, self.held = Arena(pages, 1000), {}, {}
        for i, floor in enumerate(floors):
            if floor + sum(self.floors.values()) <= pages:
                self.arena.register(str(i), 10 + i, floor, max(limit, floor) if i == 0 else None)
                self.floors[str(i)], self.held[str(i)] = floor, []

    @rule(model=st.integers(0, 3), pages=st.integers(0, 12))
    def take(self, model: int, pages: int) -> None:
        name = str(model)
        if name not in self.held:
            return
        there = self.arena.available(name)
        if pages <= there:
            self.held[name] += self.arena.take(name, pages)
        else:
            with pytest.raises(NookError):
                self.arena.take(name, pages)

    @rule(model=st.integers(0, 3), count=st.integers(0, 12), data=st.data())
    def give(self, model: int, count: int, data: st.DataObject) -> None:
        name = str(model)
        if name in self.held:
            mixed = data.draw(st.permutations(self.held[name]))
            self.held[name] = list(mixed[count:])
            self.arena.give(name, mixed[:count])

    @invariant()
    def every_page_is_free_or_held_by_one(self) -> None:
        if not hasattr(self, "held"):
            return
        everyone = [page for pages in self.held.values() for page in pages]
        assert len(set(everyone)) == len(everyone) and set(everyone) <= set(range(self.arena.pages))
        assert self.arena.free == self.arena.pages - len(everyone)

    @invariant()
    def a_floor_can_always_be_reached(self) -> None:
        for name, pages in getattr(self, "held", {}).items():
            assert self.arena.available(name) >= self.floors[name] - len(pages)


TestTenants = Tenants.TestCase
TestTenants.settings = profile(max_examples=60, stateful_step_count=30)


@given(st.integers(1, 20), st.integers(0, 20))
def test_who_leaves_gives_all_back(pages: int, taken: int) -> None:
    arena = Arena(pages, 10)
    arena.register("a", 1)
    arena.take("a", min(taken, pages))
    arena.remove("a")
    arena.register("a", 1)
    assert arena.available("a") == arena.free == pages
