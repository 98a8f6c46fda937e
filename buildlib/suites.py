"""The tests: which suites there are, and what each needs built before it runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from buildlib import everything, venv
from buildlib.project import ROOT, Problem, say

TESTS = ROOT / "tests"
PATIENCE = 900  # seconds a test may take: one that hangs fails, with where it hung, and the others still run
# `engine` and `wire` need nothing but the virtual environment and the native kernels: they run in seconds. What of the
# fleet needs torch or ray is skipped there; `cluster` installs both.
LIGHT = {"engine": ["tests/engine", "tests/fleet"], "wire": ["tests/wire"]}
SUITES = {
    **LIGHT, "train": ["tests/train"], "cluster": ["tests/fleet"], "system": ["tests/system"],
    "browser": ["tests/browser"], "all": ["tests"],
}  # fmt: skip


def run(suite: str, args: list[str], pyodide_dist: str | None) -> int:
    """Run a suite with pytest; the exit status is pytest's."""
    if suite.startswith("-") or suite not in SUITES:
        if suite.startswith("-") or Path(suite.split("::", maxsplit=1)[0]).exists():
            suite, args = "all", [suite, *args]  # pytest's own arguments, no suite named
        else:
            raise Problem(f"There is no suite {suite}.", f"One of: {', '.join(SUITES)}; or a path.")
    if suite == "train":
        venv.extra("train", "torch")
    if suite == "cluster":
        venv.extra("cluster", "ray")
    if suite in ("system", "all"):
        venv.extra("finance", "pyarrow")
    if suite in (*LIGHT, "train", "cluster"):
        everything.kernels()
    else:
        venv.browser()
        everything.build(pyodide_dist)
    paths = [] if any(Path(arg.split("::")[0]).exists() for arg in args) else SUITES[suite]
    found = [path for path in paths if (ROOT / path).exists()]
    if paths and not found:
        raise Problem(f"The suite {suite} has no tests.")
    command = [sys.executable, "-m", "pytest", f"--timeout={PATIENCE}", *found, *args]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


def bench(name: str, args: list[str]) -> int:
    """Run tests/bench/NAME.py."""
    script = TESTS / "bench" / f"{name}.py"
    if not script.exists():
        there = sorted(path.stem for path in script.parent.glob("[a-z]*.py"))
        raise Problem(f"There is no bench {name}.", f"One of: {', '.join(there) or 'none yet'}.")
    venv.browser()
    say(f"bench {name} …")
    path = f"{ROOT / 'pysrc'}:{ROOT}" if not venv.WINDOWS else f"{ROOT / 'pysrc'};{ROOT}"

    done = subprocess.run(
        [sys.executable, script, *args], cwd=ROOT, check=False, env={**os.environ, "PYTHONPATH": path}
    )
    return done.returncode
