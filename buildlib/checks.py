"""What holds the code to its style and its documents to the truth. Every check runs; one that fails fails the verb."""

from __future__ import annotations

import os
import subprocess
import sys

from buildlib import venv
from buildlib.project import ROOT, say

PYTHON = sys.executable
RUFF = [PYTHON, "-m", "ruff"]


def run() -> int:
    """Run all checks; 0 if every one passed."""
    venv.node()
    results = {name: _run(name, command) for name, command in _checks().items()}
    failed = [name for name, passed in results.items() if not passed]
    print(
        f"check: {len(results) - len(failed)} passed"
        + (f", {len(failed)} failed: {', '.join(failed)}" if failed else "")
    )
    return 1 if failed else 0


def _checks() -> dict[str, list[str]]:
    colors = "force" if sys.stdout.isatty() else "off"
    checks = {
        "ruff": [*RUFF, "check", "."],
        "ruff format": [*RUFF, "format", "--check", "."],
        "mypy": [PYTHON, "-m", "mypy"],
        "biome": [str(venv.tool("biome")), "ci", "--error-on-warnings", f"--colors={colors}"],
        "tsc": [str(venv.tool("tsc")), "-p", "."],
    }
    if (ROOT / "pysrc/inglenook/wire/generate.py").exists():
        checks["generated files"] = [PYTHON, "-m", "inglenook.wire.generate", "--check"]
    if (ROOT / "tests/system/test_docs.py").exists():
        checks["docs"] = [PYTHON, "-m", "pytest", "-q", "tests/system/test_docs.py"]
    return checks


def _run(name: str, command: list[str]) -> bool:
    say(name)
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "pysrc")}
    return subprocess.run(command, cwd=ROOT, check=False, env=environment).returncode == 0
