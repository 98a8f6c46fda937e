"""Taking a long file in lets others run all the while: how much is done between two effects does not grow with it."""

from __future__ import annotations

from typing import Any

import pytest
from engine.harness import Driver
from inglenook.flow import Effect, Pause
from inglenook.index import pages
from inglenook.search import postings
from inglenook.wire import messages as wire

MOST = 64  # passages that are read, or pieces of text that are packed, without a pause


def test_no_step_grows_with_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    done = dict.fromkeys(("terms", "compress"), 0)
    longest = dict(done)

    def counted(module: Any, name: str) -> None:
        work = getattr(module, name)

        def count(*args: Any) -> Any:
            done[name] += 1
            longest[name] = max(longest[name], done[name])
            return work(*args)

        monkeypatch.setattr(module, name, count)

    class Tab(Driver):
        def perform(self, effect: Effect, emit: Any = None) -> Any:
            if isinstance(effect, Pause):
                done.update(dict.fromkeys(done, 0))
            return super().perform(effect, emit)

    tab = Tab()
    tab.open()
    counted(postings, "terms")
    counted(pages.zlib, "compress")
    text = "".join(f"Paragraph {n} tells of the {n * 7919 % 1000}th mill and its wheel.\n\n" * 4 for n in range(1200))
    flow_of = tab.library.handle(wire.Add([wire.Upload("long.txt", text.encode())]))
    item, answer = next(flow_of), None
    while not (isinstance(item, wire.Added)):
        answer = tab.perform(item) if isinstance(item, Effect) else None
        item = flow_of.send(answer)
    flow_of.close()
    assert item.card.chunks > 5 * MOST
    assert 0 < longest["terms"] <= MOST, "passages without a pause"
    assert 0 < longest["compress"] <= 4, "pieces of text without a pause"
