"""Where things lie, how the build speaks, and when a step need not run again."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STATIC = ROOT / "static"
DIST = ROOT / "dist"
STAMPS = ROOT / ".build"


class Problem(Exception):
    """The build cannot go on. `hint` says what to do about it."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


def cache() -> Path:
    """The folder of downloads that all clones share: $INGLENOOK_CACHE or ~/.cache/inglenook."""
    folder = Path(os.environ.get("INGLENOOK_CACHE") or Path.home() / ".cache" / "inglenook").expanduser().absolute()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def say(text: str) -> None:
    """One line about what the build does, on stderr: stdout belongs to results."""
    print(f"· {text}", file=sys.stderr, flush=True)


def run(command: Sequence[str | Path], *, cwd: Path = ROOT, quiet: bool = False, **more: str) -> None:
    """Run a tool; a failure is a Problem with what it printed. `more` is added to the environment."""
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env={**os.environ, **more}, check=False,
        stdout=subprocess.PIPE if quiet else None, stderr=subprocess.STDOUT if quiet else None, text=True,
    )  # fmt: skip
    if done.returncode:
        told = f"\n{done.stdout[-4000:]}" if quiet else ""
        raise Problem(
            f"{Path(str(command[0])).name} failed (exit {done.returncode}): {' '.join(map(str, command))}{told}"
        )


def sha256(path: Path) -> str:
    """The sha256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tree(folder: Path, *patterns: str) -> list[Path]:
    """The files below `folder` that match any of `patterns`, in order, without what tools leave behind."""
    found = {path for pattern in patterns for path in folder.rglob(pattern) if path.is_file()}
    return sorted(path for path in found if "__pycache__" not in path.parts)


def digest(inputs: Iterable[Path | str]) -> str:
    """One hash of files (names and contents) and strings (versions, options)."""
    total = hashlib.sha256()
    for item in inputs:
        if isinstance(item, Path):
            total.update(f"{item.name}:{sha256(item)}\n".encode())
        else:
            total.update(f"{item}\n".encode())
    return total.hexdigest()


def step(name: str, inputs: Iterable[Path | str], outputs: Sequence[Path], make: Callable[[], object]) -> bool:
    """Do `make` unless it was done before with the same inputs and its outputs are still there. True if it ran."""
    stamp = STAMPS / f"{name}.json"
    wanted = digest(inputs)
    try:
        fresh = json.loads(stamp.read_text())["inputs"] == wanted and all(path.exists() for path in outputs)
    except (OSError, ValueError, KeyError):
        fresh = False
    if fresh:
        return False
    say(f"{name} …")
    started = time.perf_counter()
    stamp.unlink(missing_ok=True)
    for path in outputs:
        path.parent.mkdir(parents=True, exist_ok=True)
    make()
    missing = [str(path.relative_to(ROOT)) for path in outputs if not path.exists()]
    if missing:
        raise Problem(f"{name} did not make {', '.join(missing)}")
    STAMPS.mkdir(exist_ok=True)
    stamp.write_text(json.dumps({"inputs": wanted}) + "\n")
    say(f"{name}: done in {time.perf_counter() - started:.1f} s")
    return True
