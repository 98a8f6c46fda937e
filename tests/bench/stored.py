"""The parts of `build.py bench index` whose vectors lie in storage: little memory, cold starts, building, a million."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import vectors
from arms import Arm, Failed, browser, nearest_rank, recall, site
from playwright.sync_api import Playwright
from vectors import QUERIES, Set

from buildlib.project import ROOT

WARM_UP = 100
"""So many of the queries are asked before those that are timed; nothing of the timed ones was ever asked before."""
EFFORT = 40
"""With this mememo's recall is 0.958 at 10k in memory."""
SHARES = (20, 5)
"""Budgets, in hundredths of the vectors' bytes."""
STORES = ("opfs", "indexeddb")
"""Where a new index lies in a worker of this browser; and where it lies in browsers without synchronous files."""
PAPER = "indexeddb"
MILLION = 256 << 20
"""The budget of a million vectors."""
SERVED = ROOT / "static" / "bench.nook"


def say(text: str) -> None:
    print(text, flush=True)


class Home:
    """A profile with one index in it, and browsers that come and go: each is a fresh process whose files the system
    has forgotten."""

    def __init__(self, driver: Playwright, url: str, data: Set, patience: float) -> None:
        self.driver, self.url, self.data, self.patience = driver, url, data, patience
        self.folder = Path(tempfile.mkdtemp())
        self.built: dict[str, float] = {}
        self.bytes = 4 * data.vectors.shape[0] * data.vectors.shape[1]

    @contextmanager
    def arm(self, name: str = "ours", **options: Any) -> Iterator[Arm]:
        """An arm on this profile, built as the options say. Raises Failed."""
        forget(self.folder)
        with browser(self.driver, self.url, self.folder) as context:
            arm = Arm(context, name, self.data, {"rows": len(self.data.vectors), **options})
            arm.build(self.patience)
            yield arm

    def size(self) -> int:
        """Bytes of what pages have stored."""
        stores = [self.folder / "Default" / name for name in ("IndexedDB", "File System", "Storage")]
        return sum(path.stat().st_size for store in stores for path in store.rglob("*") if path.is_file())

    def memory(self) -> int:
        """Megabytes that the page's process, Python included, has of its own."""
        parents: dict[int, int] = {}
        commands: dict[int, str] = {}
        for path in Path("/proc").glob("[0-9]*"):
            try:
                parents[int(path.name)] = int((path / "stat").read_text().rpartition(")")[2].split()[1])
                commands[int(path.name)] = (path / "cmdline").read_text()
            except OSError:  # it has just ended
                pass
        mine = {pid for pid, command in commands.items() if f"--user-data-dir={self.folder}" in command}
        while more := {pid for pid, parent in parents.items() if parent in mine} - mine:
            mine |= more
        pages = [pid for pid in mine if "--type=renderer" in commands.get(pid, "")]
        told = [Path(f"/proc/{pid}/status").read_text() for pid in pages]
        return max(sum(map(int, re.findall(r"Rss(?:Anon|Shmem):\s+(\d+) kB", text))) for text in told) // 1000

    def close(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def forget(folder: Path) -> None:
    """Let the system forget what it remembers of the files in a folder: the next read goes to the disk."""
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as file:
                os.fsync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def timed(arm: Arm, effort: float, warm: int = WARM_UP, last: int = QUERIES) -> dict[str, Any]:
    """Figures of the queries `warm` to `last`, once each, after a warm-up of those before; recall is that of all."""
    before = arm.ask(effort, 0, warm)["ids"]
    said = arm.ask(effort, warm, last)
    row = {
        "p50_ms": round(nearest_rank(said["ms"], 50), 2), "p99_ms": round(nearest_rank(said["ms"], 99), 2),
        "recall": round(recall([*before, *said["ids"]], arm.data.truth[:last]), 4), "effort": effort,
    }  # fmt: skip
    if "trips" in said:
        row |= {"trips_mean": round(float(np.mean(said["trips"])), 2), "trips_p99": nearest_rank(said["trips"], 99)}
        row["held_mb"] = round(said["held"] / 1e6, 2)
    return row


class Stored:
    """The parts; `Bench` of index.py has what they share."""

    driver: Playwright
    options: Any
    figures: dict[str, Any]
    data: Callable[[str], Set]
    keep: Callable[[str, str, dict[str, Any]], None]

    def __init__(self) -> None:
        self._open = ExitStack()
        self._homes: dict[tuple[str, str, str], Home] = {}
        self._url: tuple[str, str] = ("", "")

    def close(self) -> None:
        """Take away the profiles."""
        self._open.close()
        self._homes, self._url = {}, ("", "")

    def home(self, size: str, store: str, kind: str = "") -> Home:
        """A profile with the index of a set, built in the tab; sets one at a time."""
        if self._url[0] != size:
            self.close()
            self._url = size, self._open.enter_context(site(self.data(size)))
        if (size, store, kind) not in self._homes:
            home = Home(self.driver, self._url[1], self.data(size), self.options.patience)
            self._open.callback(home.close)
            with home.arm(store=store, kind=kind, at_once=True, vectors="") as arm:
                home.built = arm.row.more
                say(f"  {kind or 'ours'}, {store}, {size}: built in {home.built['python_build_s']:.1f} s")
            self._homes[size, store, kind] = home
        return self._homes[size, store, kind]

    def budget(self) -> None:
        """Little memory: ours, the paper's way, and mememo over a database."""
        for size in self.options.sizes:
            data = self.data(size)
            say(f"· under a budget, {size}: {len(data.vectors):,} x {data.vectors.shape[1]}")
            ours: dict[int, float] = {}
            for store, share in ((store, share) for store in STORES for share in SHARES):
                with self._failing(f"ours {store} {share} %", size):
                    row = self._ours(self.home(size, store), store, share)
                    if row["held_mb"] > row["budget_mb"]:
                        raise Failed(f"it holds {row['held_mb']} MB of {row['budget_mb']}")
                    self.keep(f"ours {store} {share} %", size, row)
                    self.worst("roundtrips_p99", row["trips_p99"], max)
                    if store == STORES[0]:
                        ours[share] = row["p99_ms"]
                    ending = "" if store == STORES[0] else f"_{store}"
                    self.figures[f"budget{share}_p99_ms_{size}{ending}"] = row["p99_ms"]
            effort = 0.0
            for share in SHARES:
                with self._failing(f"webanns {share} %", size):
                    home = self.home(size, PAPER, "webanns")
                    effort = effort or self._effort(home, PAPER, None)  # what it walks does not depend on the memory
                    row = self._timed(home, PAPER, share, effort)
                    self.keep(f"webanns {share} %", size, row)
                    if share in ours:
                        self.figures[f"budget{share}_p99_gain_vs_paper_{size}"] = round(row["p99_ms"] / ours[share], 1)
            if size == "10k":  # it does not build the larger ones in time
                with self._failing("mememo-indexeddb 20 %", size):
                    row = self._mememo(size)
                    self.keep("mememo-indexeddb 20 %", size, row)
                    if 20 in ours:
                        self.figures["budget_p99_gain_vs_mememo"] = round(row["p99_ms"] / ours[20], 1)

    def _ours(self, home: Home, store: str, share: int) -> dict[str, Any]:
        """An index under a budget, its effort chosen by all queries."""
        return self._timed(home, store, share, self._effort(home, store, home.bytes * share // 100))

    def _effort(self, home: Home, store: str, budget: int | None) -> float:
        with home.arm(op="open", store=store, budget=budget, vectors="") as arm:
            arm.calibrate()
            return arm.row.effort

    def _timed(self, home: Home, store: str, share: int, effort: float) -> dict[str, Any]:
        budget = home.bytes * share // 100
        with home.arm(op="open", store=store, budget=budget, vectors="", effort=effort) as arm:
            return timed(arm, effort) | {"budget_mb": round(budget / 1e6, 2), "page_mb": home.memory()}

    def _mememo(self, size: str) -> dict[str, Any]:
        """A query takes seconds: as many as are answered in time, at the effort that suffices in memory."""
        home = Home(self.driver, self.home(size, STORES[0]).url, self.data(size), self.options.patience)
        try:
            with home.arm("mememo-indexeddb", budget=home.bytes // 5) as arm:
                until, ids, ms = time.monotonic() + self.options.patience, [], []
                while len(ms) < WARM_UP and time.monotonic() < until:
                    said = arm.ask(EFFORT, len(ms), len(ms) + 1)
                    ids += said["ids"]
                    ms += said["ms"]
                return {
                    "p50_ms": round(nearest_rank(ms, 50)), "p99_ms": round(nearest_rank(ms, 99)),
                    "found": round(recall(ids, arm.data.truth[: len(ids)]), 3), "effort": EFFORT, "queries": len(ms),
                }  # fmt: skip
        finally:
            home.close()

    def cold(self) -> None:
        """From a page that was just loaded, with Python up, to the first correct answer; with the smaller budget."""
        size = self._one("100k")
        say(f"· cold, {size}")
        for store in (*STORES, "url"):
            with self._failing(f"cold {store}", size):
                row = self._cold(size, store)
                self.keep(f"cold {store}", size, row)
                self.worst(f"cold_open_s_{size}", row["cold_s"], max)
                self.worst("cold_open_bytes_share", row["share"], max)

    def _cold(self, size: str, store: str) -> dict[str, Any]:
        home = self.home(size, STORES[0] if store == "url" else store)
        how: dict[str, Any] = {"op": "open", "store": store, "budget": home.bytes * SHARES[-1] // 100, "vectors": ""}
        if store == "url":
            how["url"] = f"{home.url}static/{SERVED.name}"
            served(self.data(size))
        try:
            tries = []
            for _ in range(1 if self.options.quick else 5):
                with home.arm(**how) as arm:
                    found = recall([arm.first or []], arm.data.truth[:1])
                    tries.append(arm.row.more | {"recall": found})
        finally:
            if store == "url":
                SERVED.unlink(missing_ok=True)
        middle = sorted(tries, key=lambda more: more["open_s"] + more["first_s"])[len(tries) // 2]
        return {
            "cold_s": round(middle["open_s"] + middle["first_s"], 3), "open_s": round(middle["open_s"], 3),
            "first_s": round(middle["first_s"], 3), "from_navigation_s": round(middle["page_s"], 2),
            "share": round(middle["bytes"] / middle["size"], 4), "trips": middle["trips"],
            "recall": round(min(more["recall"] for more in tries), 2),
        }  # fmt: skip

    def build(self) -> None:
        """Time and size, and what deletions leave."""
        size = self._one("100k")
        say(f"· build, {size}")
        home = self.home(size, STORES[0])
        count = len(home.data.vectors)
        with home.arm(op="open", store=STORES[0], vectors="") as arm:
            held = arm.row.more["index"]
        self.figures |= {
            f"build_s_{size}": round(home.built["python_build_s"], 1),
            "resident_bytes_per_vector": round(held / count, 1), "disk_bytes_per_vector": round(home.size() / count, 1),
        }  # fmt: skip
        before, after = self._churn(size)
        self.figures["recall_loss_after_churn"] = round(before - after, 4)
        row = {key: self.figures[key] for key in ("resident_bytes_per_vector", "disk_bytes_per_vector")}
        row |= {"build_s": self.figures[f"build_s_{size}"], "recall_before": before, "recall_after": after}
        self.keep("build", size, row)

    def _churn(self, size: str) -> tuple[float, float]:
        """Recall of an index before and after half of its vectors were deleted and as many others inserted."""
        whole = self.data(size)
        count = len(whole.vectors) * 2 // 3
        start = vectors.exact("churned", whole.vectors[:count], whole.queries)
        home = Home(self.driver, self.home(size, STORES[0]).url, start, self.options.patience)
        try:
            with home.arm(store=STORES[0], at_once=True, vectors="") as arm:
                before = recall(arm.ask(0)["ids"], start.truth)
                gone = arm.call("churn", rows=count)["ids"]
                left = np.setdiff1d(np.arange(count * 3 // 2), gone)
                truth = left[vectors.exact("churned", whole.vectors[left], whole.queries).truth]
                after = recall(arm.ask(0)["ids"], truth)
        finally:
            home.close()
        return round(before, 4), round(after, 4)

    def million(self) -> None:
        """A million in a tab."""
        data = vectors.clustered(40_000 if self.options.quick else 1_000_000)
        say(f"· {len(data.vectors):,} x {data.vectors.shape[1]} within {MILLION >> 20} MB")
        store = "opfs"
        with site(data) as url:
            home = Home(self.driver, url, data, max(self.options.patience, 7200))
            try:
                how = {"store": store, "budget": MILLION, "vectors": ""}
                with home.arm(**how) as arm:
                    built = arm.row.more
                    say(f"  built in {built['python_build_s']:.0f} s, {built['segments']:.0f} segments")
                with home.arm(op="open", **how) as arm:
                    arm.calibrate()
                    effort = arm.row.effort
                with home.arm(op="open", **how, effort=effort) as arm:
                    row = timed(arm, effort) | {"page_mb": home.memory(), "open_s": arm.row.more["open_s"]}
                row |= {"build_s": round(built["python_build_s"]), "disk_mb": round(home.size() / 1e6)}
                self.keep("ours", "1m", row)
                self.figures |= {"million_p99_ms": row["p99_ms"], "million_memory_mb": row["page_mb"]}
                self.worst("roundtrips_p99", row["trips_p99"], max)
            finally:
                home.close()

    def stores(self) -> None:
        """What reading 50 pages and a commit cost in each store."""
        size = self.options.sizes[0]
        home = Home(self.driver, self.home(size, STORES[0]).url, self.data(size), self.options.patience)
        try:
            with home.arm(op="stores", pages=5000, vectors="") as arm:
                for store, row in arm.row.more.items():
                    if isinstance(row, dict):
                        self.keep(f"store {store}", "pages", row)
        finally:
            home.close()

    def worst(self, key: str, value: float, choose: Callable[[float, float], float]) -> None:
        """The worst of a figure's values so far."""
        self.figures[key] = choose(self.figures.get(key, value), value)

    def _one(self, wished: str) -> str:
        sizes: list[str] = self.options.sizes
        return wished if wished in sizes else sizes[0]

    @contextmanager
    def _failing(self, name: str, size: str) -> Iterator[None]:
        """An arm that breaks is reported, and the others go on."""
        try:
            yield
        except Failed as error:
            self.keep(name, size, {"failed": str(error)})


def served(data: Set) -> None:
    """The index of a set as a file that the server hands out by ranges, built on the machine."""
    from inglenook.index import Index

    if not SERVED.exists():
        index = Index("cosine", data.vectors.shape[1], name="bench")
        index.add_items(data.vectors)
        index.save_index(SERVED)
