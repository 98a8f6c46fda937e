"""The tools: a virtual environment from a lock with hashes, node packages from a lock, and a browser."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from buildlib.project import ROOT, Problem, digest, run, say

VENV = ROOT / ".venv"
LOCK = ROOT / "requirements.lock"
PROJECT = ROOT / "pyproject.toml"
NODE_MODULES = ROOT / "node_modules"
WINDOWS = os.name == "nt"
PYTHON = VENV / ("Scripts/python.exe" if WINDOWS else "bin/python")
ZIG = [str(PYTHON), "-m", "ziglang"]
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
PLACES = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "C:/Program Files/Google/Chrome/Application/chrome.exe",
)


def enter(argv: list[str]) -> None:
    """Go on in .venv, made first where it is missing or older than its lock. Returns only inside of it."""
    _install()
    if Path(sys.prefix).resolve() != VENV.resolve():
        done = subprocess.run([str(PYTHON), *argv], check=False, env={**os.environ, "PYTHONPATH": ""})
        raise SystemExit(done.returncode)


def _install() -> None:
    if sys.version_info < (3, 11):  # noqa: UP036 - this is where an older one is told
        raise Problem(f"Python {sys.version.split()[0]} is too old.", "Run build.py with Python 3.11 or newer.")
    stamp = VENV / "installed"
    wanted = digest([LOCK, PROJECT])
    if PYTHON.exists() and stamp.exists() and stamp.read_text() == wanted:
        return
    if not PYTHON.exists():
        say("making .venv …")
        run([sys.executable, "-m", "venv", VENV])
    say("installing the Python tools from requirements.lock …")
    # Still the pip that Python brought: 23.2 has no `--progress-bar auto`, and shows no bar with --quiet.
    pip = [PYTHON, "-m", "pip", "--disable-pip-version-check", "install", "--require-hashes", "--no-deps"]
    quiet = [] if sys.stderr.isatty() else ["--quiet"]
    run([*pip, *quiet, "--only-binary", ":all:", "-r", LOCK])
    # The command `inglenook`, from this source tree.
    here = [PYTHON, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-index", "--no-deps"]
    run([*here, "--no-build-isolation", "--editable", ROOT])
    stamp.write_text(wanted)


def extra(name: str, module: str) -> None:
    """Install an optional extra of pyproject.toml, whose `module` tells whether it is there."""
    if importlib.util.find_spec(module) is None:
        wanted = tomllib.loads(PROJECT.read_text())["project"]["optional-dependencies"][name]
        say(f"installing {', '.join(wanted)} …")
        run([PYTHON, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", *wanted])


def node() -> None:
    """Install node_modules from package-lock.json."""
    npm = shutil.which("npm")
    if npm is None:
        raise Problem("npm was not found.", "Install node 20 or newer.")
    stamp = NODE_MODULES / ".installed"
    wanted = digest([ROOT / "package-lock.json"])
    if stamp.exists() and stamp.read_text() == wanted:
        return
    say("installing the node packages from package-lock.json …")
    run([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel", "error"])
    stamp.write_text(wanted)


def tool(name: str) -> Path:
    """A program that a node package brought."""
    return NODE_MODULES / ".bin" / (f"{name}.cmd" if WINDOWS else name)


def browser(install: bool = True) -> Path:
    """A Chromium or Chrome: $INGLENOOK_CHROMIUM, one on the PATH or in its usual place, else Debian's (as root)."""
    named = os.environ.get("INGLENOOK_CHROMIUM")
    if named:
        return Path(named)
    found = next(filter(None, map(shutil.which, BROWSERS)), None) or next(filter(os.path.exists, PLACES), None)
    if found:
        return Path(found)
    apt = shutil.which("apt-get")
    if install and apt and not WINDOWS and os.geteuid() == 0:
        say("installing Debian's chromium …")
        quiet = {"DEBIAN_FRONTEND": "noninteractive"}
        run([apt, "update", "-q"], quiet=True, **quiet)
        run([apt, "install", "-y", "-q", "--no-install-recommends", "chromium"], quiet=True, **quiet)
        return browser(install=False)
    raise Problem(
        "No Chromium or Chrome was found.",
        "Install one (Debian: apt-get install chromium) or name it in INGLENOOK_CHROMIUM.",
    )
