"""Arms of `build.py bench index`: each in a browser of its own on a fresh profile, all asked in the same rounds."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from harness import FLAGS
from numpy.typing import NDArray
from playwright.sync_api import BrowserContext, Page, Playwright
from playwright.sync_api import Error as BrowserError
from vectors import PEERS, QUERIES, Set

from buildlib import server, venv
from buildlib.project import ROOT

K = 10
RECALL = 0.95
TELL = 60
"""Seconds after which one that is still being built says how far it is."""
SHELL = b'<!doctype html><meta charset="utf-8"><title>arm</title><script type="module" src="/peers/arm.js"></script>'
TYPES = {".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm", ".py": "text/x-python"}

BUILD = """(what) => {
  const made = self.arm.build(what);
  self.result = undefined;
  made.then((made) => { self.result = { made }; }, (error) => { self.result = { error: String(error) }; });
}"""


class Failed(Exception):
    """This arm cannot do this: what it said, or how long it was waited for."""


@dataclass
class Row:
    """What an arm did: milliseconds per query, the fastest of all rounds for each query."""

    name: str
    recall: float = 0.0
    effort: float = 0
    build_s: float = 0.0
    ms: list[NDArray[np.float64]] = field(default_factory=list)
    more: dict[str, float] = field(default_factory=dict)

    def percentile(self, percent: float) -> float:
        """By the nearest rank."""
        return nearest_rank(np.min(self.ms, axis=0), percent)


class Laid(dict[str, server.Page]):
    """Pages, and the rows of a set: data/rows/<start>-<stop>."""

    def __init__(self, data: Set) -> None:
        self._data = data
        super().__init__()

    def get(self, path: str, default: Any = None) -> Any:
        if not path.startswith("data/rows/"):
            return super().get(path, default)
        start, stop = map(int, path.removeprefix("data/rows/").split("-"))
        rows = np.ascontiguousarray(self._data.vectors[start:stop], np.float32)
        return server.Page(rows.tobytes(), "application/octet-stream")


@contextmanager
def site(data: Set) -> Iterator[str]:
    """The project's site, isolated (its clocks are finer then), with the peers and a set of vectors laid beside it."""
    pages = Laid(data)
    pages["arm.html"] = server.Page(SHELL)
    pages["data/queries.bin"] = server.Page(data.queries.tobytes(), "application/octet-stream")
    for path in PEERS.rglob("*"):
        if path.is_file() and path.suffix != ".json":
            kind = TYPES.get(path.suffix, "application/octet-stream")
            pages[f"peers/{path.relative_to(PEERS).as_posix()}"] = server.Page(path.read_bytes(), kind)
    with server.serve(ROOT, isolated=True, pages=pages) as url:
        yield url


class Arm:
    """One engine in a page. `options` go to the arm: a memory budget, a store, …"""

    def __init__(self, context: BrowserContext, name: str, data: Set, options: dict[str, Any]) -> None:
        self.name, self.data, self.row = name, data, Row(name)
        self.efforts: list[float] = []
        self.first: list[int] | None = None
        self._options = options
        self.page: Page = context.new_page()
        self.page.goto("arm.html")
        self.page.evaluate("() => new Promise((done) => { if (self.arm) done(); else self.onarm = done; })")

    def build(self, patience: float) -> None:
        """Build the index, or what the options say. Raises Failed."""
        what = {
            "name": self.name, "vectors": f"/data/rows/0-{len(self.data.vectors)}", "queries": "/data/queries.bin",
            "dim": self.data.vectors.shape[1], **self._options,
        }  # fmt: skip
        self.page.evaluate(BUILD, what)
        made = self._wait("self.result", patience)
        if "error" in made:
            raise Failed(made["error"].splitlines()[0][:200])
        made = made["made"]
        self.row.build_s, self.row.more = made["seconds"], made["more"]
        self.efforts, self.first = made["efforts"], made.get("first")

    def calibrate(self, last: int = QUERIES) -> None:
        """Choose the least effort with enough recall, by the queries before `last`. Raises Failed."""
        for effort in self.efforts:
            found = self.ask(effort, 0, last)["ids"]
            self.row.recall, self.row.effort = recall(found, self.data.truth[:last]), effort
            if self.row.recall >= RECALL:
                return
        raise Failed(f"recall {self.row.recall:.3f} at its most effort")

    def round(self) -> None:
        """All queries once more."""
        self.row.ms.append(np.array(self.ask(self.row.effort)["ms"]))

    def ask(self, effort: float, first: int = 0, last: int = QUERIES) -> Any:
        """Queries `first` to `last`: `ids` and `ms` of each, and `trips` where it is our arm. Raises Failed."""
        how = {"k": K, "effort": effort, "first": first, "last": last}
        return self._said("(how) => self.arm.round(how)", how)

    def call(self, op: str, **how: object) -> Any:
        """What only our arm can do (peers/ours.py)."""
        return self._said("([op, how]) => self.arm.call(op, how)", [op, how])

    def _said(self, expression: str, given: object) -> Any:
        try:
            return self.page.evaluate(expression, given)
        except BrowserError as error:
            raise Failed(error.message.splitlines()[0][:200]) from None

    def _wait(self, expression: str, patience: float) -> Any:
        until, told = time.monotonic() + patience, time.monotonic()
        while time.monotonic() < until:
            try:
                found = self.page.evaluate(f"() => {expression}")
                if time.monotonic() - told > TELL:
                    told = time.monotonic()
                    print(f"    {self.name}: {self.page.evaluate('() => self.progress'):,} …", flush=True)
            except BrowserError as error:
                raise Failed(error.message.splitlines()[0][:200]) from None
            if found:
                return found
            time.sleep(0.5)
        try:
            done = self.page.evaluate("() => self.progress")
        except BrowserError:
            done = 0
        raise Failed(f"not built after {patience:.0f} s ({done:,} of {len(self.data.vectors):,})")

    def memory(self) -> float:
        """Resident megabytes of the page's process, as its own count: JavaScript and WebAssembly memory."""
        return float(self.page.evaluate("async () => (await performance.measureUserAgentSpecificMemory()).bytes") / 1e6)


def nearest_rank(values: Sequence[float] | NDArray[np.float64], percent: float) -> float:
    """A percentile."""
    return float(np.sort(values)[min(len(values) - 1, int(len(values) * percent / 100))])


def recall(ids: Sequence[Sequence[int]], truth: NDArray[np.int64]) -> float:
    """The share of the true neighbours that was found."""
    return float(np.mean([len(set(found) & set(true.tolist())) / len(true) for found, true in zip(ids, truth)]))


@contextmanager
def arms(driver: Playwright, url: str, data: Set, wanted: Sequence[tuple[str, dict[str, Any]]]) -> Iterator[list[Arm]]:
    """Arms on profiles of their own, open side by side."""
    with ExitStack() as stack:
        made = []
        for name, options in wanted:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            made.append(Arm(stack.enter_context(browser(driver, url, folder)), name, data, options))
        yield made


@contextmanager
def browser(driver: Playwright, url: str, folder: Path) -> Iterator[BrowserContext]:
    """A browser of its own on the profile in a folder, which stays."""
    context = driver.chromium.launch_persistent_context(
        folder, executable_path=venv.browser(install=False), args=FLAGS, base_url=url
    )
    try:
        context.set_default_timeout(0)
        yield context
    finally:
        context.close()


def race(made: Sequence[Arm], rounds: int, patience: float, tell: Callable[[str], None]) -> dict[str, str]:
    """Build arms one after the other, then ask them in turn. Returns those that failed and why."""
    failed: dict[str, str] = {}
    for arm in made:
        try:
            arm.build(patience)
            arm.calibrate()
            tell(f"  {arm.name}: built in {arm.row.build_s:.1f} s, recall {arm.row.recall:.3f} at {arm.row.effort:g}")
        except Failed as error:
            failed[arm.name] = str(error)
            arm.page.close()
            tell(f"  {arm.name}: {error}")
    for _ in range(rounds):
        for arm in made:
            if arm.name not in failed:
                arm.round()
    return failed
