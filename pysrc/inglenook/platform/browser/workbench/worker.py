"""The workbench's worker: takes jobs, stops them, and says how each ended. Called by web/workbench-worker.js."""

from __future__ import annotations

import asyncio
import json
import traceback
from typing import Any

import js
from pyodide.ffi import create_proxy

from inglenook.errors import NookError
from inglenook.platform.browser.store import BrowserStore
from inglenook.platform.browser.workbench.desk import Desk
from inglenook.platform.browser.workbench.jobs import JOBS
from inglenook.platform.browser.workbench.rows import NAME


async def start(page: Any) -> Any:
    """`page` is what the worker has of the page: `ask`, `fetch`, `lab`, `model`, and `tell(id, text)`, which hears all
    that jobs say. Gives `begin(id, job, text)` and `stop(id)`."""
    return create_proxy(Worker(page, Desk(page, await BrowserStore.open(NAME))))


class Worker:
    """Jobs by their ids. Each ends with exactly one of Done, Stopped or Failed."""

    def __init__(self, page: Any, desk: Desk) -> None:
        self._page, self._desk = page, desk
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def begin(self, id: str, job: str, text: str) -> None:
        self._tasks[id] = asyncio.ensure_future(self._run(id, job, json.loads(text)))

    def stop(self, id: str) -> None:
        if task := self._tasks.get(id):
            task.cancel()

    async def _run(self, id: str, job: str, told: Any) -> None:
        def emit(event: dict[str, Any]) -> None:
            self._page.tell(id, json.dumps(event, ensure_ascii=False, default=str))

        try:
            await JOBS[job](self._desk, told, emit)
            end: dict[str, Any] = {"type": "Done"}
        except asyncio.CancelledError:
            end = {"type": "Stopped"}
        except NookError as error:
            end = {"type": "Failed", "code": error.code, "message": error.message, "hint": error.hint}
        except Exception as error:  # a defect of ours: say so, keep the worker up
            js.console.error(traceback.format_exc())
            message = f"Something in the workbench broke: {error}"
            end = {"type": "Failed", "code": "internal", "message": message, "hint": "Please report this."}
        self._tasks.pop(id, None)
        emit(end)
