"""What every benchmark shares: a machine that is idle, a browser, medians, one JSON object at the end."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from buildlib import venv
from buildlib.project import cache, digest, say

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext

FLAGS = """--no-sandbox --disable-quic --no-first-run --disable-background-networking
  --disable-component-update --disable-sync""".split()  # noqa: SIM905
QUIET = 0.6  # load average over one minute above which nothing is measured
PATIENCE = 300  # seconds to wait for it


def quiet() -> float:
    """Wait for an idle machine and give its load average. Exits with 3 if it stays busy; --force measures anyway."""
    until = time.monotonic() + PATIENCE
    while (load := os.getloadavg()[0]) > QUIET and "--force" not in sys.argv:
        if time.monotonic() > until:
            print(f"The machine is busy (load {load:.1f}): figures would mean nothing. --force measures all the same.")
            sys.exit(3)
        print(f"  waiting for an idle machine (load {load:.2f}) …", flush=True)
        time.sleep(15)
    return load


def packages(pins: Sequence[str]) -> Path:
    """A folder with packages of PyPI, installed into the cache at the first run, not into the project's environment."""
    folder = cache() / "bench" / f"site-{zlib.crc32(repr(tuple(pins)).encode()):08x}"
    if not folder.exists():
        command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", folder, *pins]
        subprocess.run(command, check=True)
    return folder


def node_packages(folder: Path) -> None:
    """Install what the package-lock.json of `folder` pins from the npm registry, again only when that changed."""
    stamp, wanted = folder / "node_modules" / ".installed", digest([folder / "package-lock.json"])
    if not stamp.exists() or stamp.read_text() != wanted:
        say(f"installing what {folder.name}/package-lock.json names …")
        command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel", "error"]
        subprocess.run(command, cwd=folder, check=True)
        stamp.write_text(wanted)


@contextmanager
def profile(folder: Path, url: str) -> Iterator[BrowserContext]:
    """A headless Chromium on a profile of its own, which stays when it closes."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        context = driver.chromium.launch_persistent_context(
            folder, executable_path=venv.browser(install=False), args=FLAGS, base_url=url
        )
        context.set_default_timeout(600_000)
        yield context
        context.close()


def median(values: Sequence[float], digits: int = 2) -> float:
    """The median, rounded."""
    return round(statistics.median(values), digits)


def percentile(values: Sequence[float], percent: float, digits: int = 2) -> float:
    """A percentile by the nearest rank."""
    ranked = sorted(values)
    return round(ranked[min(len(ranked) - 1, int(len(ranked) * percent / 100))], digits)


def report(figures: dict[str, float]) -> None:
    """A line for each figure, then all of them as one JSON object."""
    width = max(map(len, figures))
    for name, value in figures.items():
        print(f"  {name:<{width}}  {value:,}")
    print(json.dumps(figures))
