"""The two commands of the README: here, where all is built, and in a fresh clone, where nothing is."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PATIENCE = 900  # seconds for a build; it ends as soon as the server says where it is


@contextmanager
def developing(tree: Path) -> Iterator[str]:
    """`build.py dev` on a free port of its own: the address it prints. Ctrl+C ends it, without an error."""
    command = [sys.executable, "build.py", "dev", "--port", "0", "--no-open"]
    process = subprocess.Popen(command, cwd=tree, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout
    alarm = threading.Timer(PATIENCE, process.kill)
    alarm.start()
    try:
        url = process.stdout.readline().strip()
        assert url.startswith("http://localhost:"), f"build.py dev ended with {process.wait(10)} instead of serving"
        yield url
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(20) in (0, 130)
    finally:
        alarm.cancel()
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def look(url: str) -> None:
    """The page is there, and so is each file it may download, in the size that the list says."""
    with urllib.request.urlopen(url, timeout=30) as answer:
        assert b"<title>Inglenook" in answer.read()
    with urllib.request.urlopen(f"{url}static/assets.json", timeout=60) as answer:
        files = json.load(answer)["files"]
    assert {"core", "encoder", "lm", "pdf", "sample"} <= {file["group"] for file in files}
    for file in files:
        ask = urllib.request.Request(f"{url}{file['path']}", method="HEAD")
        with urllib.request.urlopen(ask, timeout=30) as answer:
            assert int(answer.headers["content-length"]) == file["size"], file["path"]


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals of process groups are POSIX's")
def test_dev_serves_the_page_and_all_it_downloads(root: Path, needs: Callable[..., Path]) -> None:
    needs("static/assets.json", "static/samples/sample.nook")
    with developing(root) as url:
        look(url)


@pytest.mark.slow
@pytest.mark.skipif(
    os.environ.get("INGLENOOK_FRESH") != "1",
    reason="takes minutes: INGLENOOK_FRESH=1 runs it (CI is a fresh clone itself)",
)
def test_a_fresh_clone_tests_and_serves(root: Path, tmp_path: Path) -> None:
    tree = tmp_path / "clone"
    subprocess.run([shutil.which("git") or "git", "clone", "--quiet", root, tree], check=True)
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST")}
    done = subprocess.run(
        [sys.executable, "build.py", "test", "engine", "-q", "-x"],
        cwd=tree, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert done.returncode == 0 and " passed" in done.stdout, done.stdout[-3000:] + done.stderr[-3000:]
    with developing(tree) as url:
        look(url)
