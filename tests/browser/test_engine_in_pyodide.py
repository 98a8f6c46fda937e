"""The engine's own suite, a second time: inside the tab's Python, in a browser, against the tab's build of the kernel.

The tests run from their sources, with the pure-Python packages of .venv (the same versions as under CPython), in
workers, as the engine does: each has every other file of them. Their closing lines are printed.
"""

from __future__ import annotations

import importlib.metadata
import io
import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from buildlib import fetch
from buildlib.pins import HYPOTHESIS
from buildlib.server import Page, serve

PACKAGES = ("pytest", "pluggy", "iniconfig", "packaging", "pygments", "sortedcontainers", "pyyaml")
BUILT = (
    "static/pyodide/pyodide.mjs",
    "static/py/numpy.tar.gz",
    "static/py/pypdfium2.tar.gz",
    "static/kernels/vectors.simd.so",
)
HOME = "/inglenook"
SITE = "/lib/python3.14/site-packages"
WORKERS = min(2, os.cpu_count() or 1)
SCRIPT = """
import { gunzip, untar } from '/lib/unpack.js';

let line = [];
const write = (code) => {
  if (code !== 10) return line.push(code);
  postMessage({ line: new TextDecoder().decode(new Uint8Array(line)) });
  line = [];
};
const bytes = async (url) => new Uint8Array(await (await fetch(url)).arrayBuffer());
try {
  const { loadPyodide } = await import('/static/pyodide/pyodide.mjs');
  const python = await loadPyodide({ indexURL: new URL('/static/pyodide/', location.href).href });
  python.setStdout({ raw: write });
  python.setStderr({ raw: write });
  for (const name of ['numpy', 'pypdfium2']) {
    untar(python.FS, await gunzip(await bytes(`/static/py/${name}.tar.gz`)), '$SITE');
  }
  untar(python.FS, await bytes('/suite.tar'), '/');
  python.FS.chdir('$HOME');
  const share = new URL(location.href).searchParams.get('share');
  const run = (await (await fetch('/suite.py')).text()).replace('SHARE', share);
  postMessage({ status: python.runPython(run) });
} catch (error) {
  postMessage({ failed: String(error) });
}
"""
RUN = """
import sys
from pathlib import Path

sys.path[:0] = ["$HOME/pysrc", "$HOME/tests", "$HOME"]
sys.dont_write_bytecode = True
import pytest
from hypothesis import settings

# Python is several times slower here, and CPython has tried more examples already.
settings.register_profile("tab", deadline=None, max_examples=20, derandomize=True, database=None)
settings.load_profile("tab")
options = "-v -rfEs --color=no --import-mode=importlib -p no:cacheprovider -p no:faulthandler --tb=short".split()
int(pytest.main([*options, *sorted(map(str, Path("tests/engine").rglob("test_*.py")))[SHARE::$WORKERS]]))
"""


def suite(root: Path) -> bytes:
    """The engine, its tests, what they read, and what runs them, as one archive."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for pattern in (
            "pysrc/inglenook/**/*.py",
            "tests/engine/**/*.py",
            "tests/reference/*.json",
            "tests/reference/*.npy",
        ):
            for path in sorted(root.glob(pattern)):
                tar.add(path, f"{HOME[1:]}/{path.relative_to(root)}")
        for name in ("static/models/minilm-l6.vocab.txt", "static/models/smollm2-135m-instruct.tokenizer.json"):
            if (root / name).exists():
                tar.add(root / name, f"{HOME[1:]}/{name}")
        tar.add(root / "static/kernels/vectors.simd.so", "lib/inglenook/vectors.so")
        for package in PACKAGES:
            for file in importlib.metadata.files(package) or []:
                if ".." not in file.parts and file.suffix != ".pyc" and Path(file.locate()).is_file():
                    tar.add(file.locate(), f"{SITE[1:]}/{file}")
        with zipfile.ZipFile(fetch.whole(HYPOTHESIS)) as wheel:  # it has a part in Rust, built for the tab
            for name in wheel.namelist():
                info = tarfile.TarInfo(f"{SITE[1:]}/{name}")
                info.size = wheel.getinfo(name).file_size
                tar.addfile(info, wheel.open(name))
    return archive.getvalue()


@pytest.mark.slow
def test_engine_suite_passes_in_the_tabs_python(
    page: Any, root: Path, needs: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    needs(*BUILT)
    pages = {
        "suite.html": Page(b"<!doctype html><title>engine</title>"),
        "suite.js": Page(SCRIPT.replace("$SITE", SITE).replace("$HOME", HOME).encode(), "text/javascript"),
        "suite.py": Page(RUN.replace("$HOME", HOME).replace("$WORKERS", str(WORKERS)).encode(), "text/plain"),
        "suite.tar": Page(suite(root), "application/x-tar"),
    }
    with serve(root, isolated=False, pages=pages) as url:
        results = perform(page, url)
    for result in results:
        report = "\n".join(result["lines"])
        assert "failed" not in result, f"{result.get('failed')}\n{report}"
        assert result["status"] == 0, report
        closing = next(line for line in reversed(result["lines"]) if " in " in line)
        assert " passed" in closing, report
        with capsys.disabled():
            print(f"\nengine suite in the tab's Python: {closing.strip()}")


def perform(page: Any, url: str) -> list[dict[str, Any]]:
    """Run the suite in workers; the lines of each, and its exit status or why it failed to run."""
    page.set_default_timeout(900_000)
    page.goto(f"{url}suite.html")
    results: list[dict[str, Any]] = page.evaluate(
        """(many) => Promise.all(Array.from({ length: many }, (_, share) => new Promise((resolve) => {
          const lines = [];
          const worker = new Worker(`/suite.js?share=${share}`, { type: 'module' });
          worker.onerror = (event) => resolve({ lines, failed: event.message ?? 'the worker did not start' });
          worker.onmessage = ({ data }) => ('line' in data ? lines.push(data.line) : resolve({ ...data, lines }));
        })))""",
        WORKERS,
    )
    return results
