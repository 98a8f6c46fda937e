"""Every driver of a place performs what a flow asks of a store, a change that builds on something included."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from engine.harness import Driver
from inglenook.errors import NookError
from inglenook.flow import Commit, Effect, Get, Scan
from inglenook.index.store import Change, MemoryStore
from inglenook.platform.native.engine import NativeEngine

Perform = Callable[[Effect], Any]


def harness() -> Perform:
    return Driver().perform


def native() -> Perform:
    engine = NativeEngine(MemoryStore())
    return lambda effect: engine.perform(effect, print)


class Awaited:
    """A store whose methods are awaited, and which is never busy."""

    def __init__(self) -> None:
        self.store = MemoryStore()

    def __getattr__(self, name: str) -> Any:
        async def method(*args: Any) -> Any:
            return getattr(self.store, name)(*args)

        return method


def browser() -> Perform:
    pytest.importorskip("js", reason="the tab's own driver: runs in the tab")
    from inglenook.platform.browser.engine import Engine

    engine: Any = SimpleNamespace()
    nook: Any = SimpleNamespace(store=Awaited(), tell=lambda but: None)

    def perform(effect: Effect) -> Any:
        coroutine = Engine._perform(engine, effect, print, nook, None)
        try:
            coroutine.send(None)
        except StopIteration as stop:
            return stop.value
        raise AssertionError("nothing here waits")

    return perform


@pytest.mark.parametrize("driver", [harness, native, browser])
def test_a_change_happens_only_to_what_it_builds_on(driver: Callable[[], Perform]) -> None:
    perform = driver()
    perform(Change({"a": b"1", "b": b"1"}, [], {"a": None}))
    perform(Commit({"c": b"1"}, ["b"]))
    for late in ({"a": None}, {"a": b"0"}, {"a": b"1", "b": b"1"}):
        with pytest.raises(NookError) as error:
            perform(Change({"a": b"3", "d": b"3"}, ["c"], late))
        assert error.value.code == "conflict"
        assert perform(Scan("")) == {"a": b"1", "c": b"1"}
    perform(Change({"a": b"2"}, ["c"], {"a": b"1", "b": None}))
    assert perform(Get(["a", "b", "c"])) == [b"2", None, None]
