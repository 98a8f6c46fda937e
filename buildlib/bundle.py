"""One script for the page and one for each worker, which is what a start loads: sixty modules would be sixty requests.

web/ runs as it is, too; `inglenook.js` and `elements.js` are always served as the modules they are, for others to
import or bundle. A release holds the bundles in place of their first modules; the development server makes them when
a script has changed.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
from pathlib import Path

from buildlib import venv
from buildlib.project import ROOT, STAMPS, Problem, digest, run, say, tree

WEB = ROOT / "web"
ENTRIES = (
    "main.js",
    "worker.js",
    "kernel-worker.js",
    "kernel-thread.js",
    "vectors-thread.js",
    "onnx-worker.js",
    "science-worker.js",
    "workbench.js",
    "workbench-worker.js",
)
SERVED = frozenset(name + end for name in ENTRIES for end in ("", ".map"))
KEPT = STAMPS / "bundles"
LATELY = 8  # bundles that are kept: another server may be giving them out
_lock = threading.Lock()


def make(out: Path, *options: str) -> None:
    """Bundle every entry of web/ into the folder `out`."""
    entries = [WEB / name for name in ENTRIES]
    common = ["--bundle", "--format=esm", "--target=es2022", "--charset=utf8", "--log-level=warning"]
    run([venv.tool("esbuild"), *entries, f"--outdir={out}", *common, *options], quiet=True)


def fresh(name: str) -> Path:
    """The bundle `name` (or its source map) of web/ as it is now; the plain module where it cannot be made."""
    stats = [(path.relative_to(WEB).as_posix(), path.stat()) for path in tree(WEB, "*.js")]
    folder = KEPT / digest(f"{path} {stat.st_mtime_ns} {stat.st_size}" for path, stat in stats)[:16]
    with _lock:
        if not folder.exists():
            try:
                _keep(folder)
            except (Problem, OSError) as problem:
                say(f"no bundles, so modules are served one by one: {problem}")
    made = folder / name
    return made if made.exists() else WEB / name


def _keep(folder: Path) -> None:
    KEPT.mkdir(parents=True, exist_ok=True)
    for old in sorted(KEPT.iterdir(), key=lambda path: path.stat().st_mtime)[:-LATELY]:
        shutil.rmtree(old, ignore_errors=True)
    made = Path(tempfile.mkdtemp(dir=KEPT))
    make(made, "--sourcemap")
    try:
        made.rename(folder)
    except OSError:  # another server was faster
        shutil.rmtree(made, ignore_errors=True)
