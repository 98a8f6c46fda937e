"""What jobs work with: who answers, where rows lie, and how a job says how it stands and what it found."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from inglenook.evals.drive import Progress, adrive
from inglenook.evals.page import Badge, Passage, Table, html
from inglenook.platform.browser.store import BrowserStore
from inglenook.platform.browser.workbench import target
from inglenook.platform.browser.workbench.rows import StoredRows

Emit = Callable[[dict[str, Any]], None]
Told = dict[str, Any]
OFTEN = 0.5  # seconds between two reports of the same


@dataclasses.dataclass(slots=True)
class Desk:
    """What jobs work with: the `page` (see `target`), and the `store` of rows and files."""

    page: Any
    store: BrowserStore

    def target(self, told: Told) -> Any:
        """What answers: a server if an address is told, else this tab."""
        if url := told.get("url"):
            return target.Served(self.page, url, told.get("model", ""), told.get("key", ""))
        return target.resident(self.page, told.get("level"))

    async def counter(self, told: Told) -> Callable[[str], int]:
        """How many tokens a text has for what answers: by this tab's tokenizer, else about."""
        from inglenook.elastic.tokenizer import Tokenizer
        from inglenook.prompt.build import estimate

        if told.get("url"):
            return estimate
        tokenizer = Tokenizer.load((await target.asked(lambda *_: self.page.tokenizer(), "", print)).to_bytes())
        return lambda text: len(tokenizer.encode(text, special=False))

    async def run(self, work: Any, emit: Emit, *targets: Any, total: int = 0, together: bool = False) -> Any:
        """Drive a core on the targets that it asks, keeping every row; `together`: several calls at once, where it does
        not matter how long each takes."""
        known = {one.name: one for one in targets}
        last, latest = 0.0, Progress(total=total)

        def report(now: Progress) -> None:
            nonlocal last, latest
            latest = now
            if time.monotonic() - last > OFTEN:
                last = time.monotonic()
                emit({"type": "Progress", **dataclasses.asdict(now)})

        try:
            return await adrive(
                work, lambda call: known[call.target](call), StoredRows(self.store), total=total, report=report,
                share=lambda call: known[call.target].share(call) if together else 1.0,
            )  # fmt: skip
        finally:
            emit({"type": "Progress", **dataclasses.asdict(latest)})


def standing(emit: Emit) -> Callable[[Iterable[Table]], None]:
    """What a job tells how it stands by, now and then: Standing with tables."""
    last = 0.0

    def tell(tables: Iterable[Table]) -> None:
        nonlocal last
        if time.monotonic() - last > OFTEN:
            last = time.monotonic()
            emit({"type": "Standing", "tables": [dataclasses.asdict(table) for table in tables]})

    return tell


def report(
    emit: Emit, title: str, parts: Sequence[Table | Passage], told: Any, *, badge: Badge | None = None, note: str = "",
    prompt: str = "", lock: str = "",
) -> None:  # fmt: skip
    """Say what was found, for people and as a file; with a `prompt` that came of it, or a `lock`."""
    emit({
        "type": "Report", "title": title, "parts": [dataclasses.asdict(part) for part in parts],
        "html": html(title, parts, told, badge, note), "note": note, "badge": badge and dataclasses.asdict(badge),
        "prompt": prompt, "lock": lock,
    })  # fmt: skip
