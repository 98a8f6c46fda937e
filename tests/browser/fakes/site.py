"""A site to test on: the page's own files behind a server that writes down what was asked of it.

The pretended site has a scripted engine (`fakes/worker.js`) in place of the real one and a sample library of its own.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

from buildlib.server import Handler, Page, Server

ROOT = Path(__file__).parents[3]
HERE = Path(__file__).parent

SAMPLE = [
    {
        "path": "hearth/inglenook.md",
        "collection": "sample",
        "text": "# The inglenook\n\nAn inglenook is a recess that adjoins a fireplace. The word is made of ingle, a "
        "fire, and nook, a corner.\n\nPeople sat in it, close to the fire, and cooked in its warmth.",
    },
    {
        "path": "hearth/wood.md",
        "collection": "sample",
        "text": "# Keeping wood 🔥\n\nDry wood 🔥 burns hotter and cleaner. Stack split logs off the ground, where the "
        "wind reaches them, for two summers.\n\nA fire that smokes is short of air or long of water.",
    },
    {
        "path": "work/pricing.md",
        "collection": "work",
        "text": "# Pricing decision\n\nWe decided on nine euros a seat and month. The first three seats are free.\n\n"
        "Schools pay half of the price.",
    },
    {
        "path": "work/fire.py",
        "collection": "work",
        "text": 'def light(fire):\n    """Light the fire."""\n    fire.light()',
    },
    {
        "path": "work/on-fires.pdf",
        "collection": "work",
        "text": "# On fires\n\nFires need fuel, air and heat. Take one away and the fire goes out.\n\n"
        "The chimney has a draught, and that pulls the smoke of the fire up.",
    },
]


@dataclass
class Site:
    """A running server: its address, and the paths that were asked for since `forget`."""

    url: str
    root: Path
    asked: list[str] = field(default_factory=list)

    def forget(self) -> None:
        self.asked.clear()


class _Noting(Handler):
    """Writes down each request; what is posted is given to `answer`."""

    answer: Callable[[Any], Page] | None = None

    def do_GET(self) -> None:
        self.server.asked.append(self.path)  # type: ignore[attr-defined]
        super().do_GET()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.answer is None:
            self._refuse(HTTPStatus.METHOD_NOT_ALLOWED)
        else:
            self._give(self.answer(json.loads(body)), body=True)


def until(page: Any, test: str, argument: object = None, patience: float = 20_000) -> None:
    """Wait in the page until the async function `test` gives something true (`wait_for_function` awaits no promise),
    at most `patience` milliseconds."""
    page.evaluate(
        f"""async ([argument, patience]) => {{
          const test = {test};
          const end = performance.now() + patience;
          while (!(await test(argument))) {{
            if (performance.now() > end) throw new Error('waited in vain');
            await new Promise((resolve) => setTimeout(resolve, 20));
          }}
        }}""",
        [argument, patience],
    )


@contextmanager
def running(
    root: Path, *, isolated: bool = True, port: int = 0, answer: Callable[[Any], Page] | None = None
) -> Iterator[Site]:
    """Serve `root` (with web/ and static/ in it) until the block ends. `answer` gets the JSON of what is posted."""
    with Server(root, port, isolated, None) as server:
        server.RequestHandlerClass = type("Noting", (_Noting,), {"answer": answer and staticmethod(answer)})
        site = Site(server.url, root)
        server.asked = site.asked  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield site
        finally:
            server.shutdown()
            thread.join()


def pretend(root: Path) -> Path:
    """The page with the scripted engine, laid out in `root`."""
    shutil.copytree(ROOT / "web", root / "web")
    shutil.copy(HERE / "worker.js", root / "web" / "worker.js")
    for name in ("icons", "demo"):
        shutil.copytree(ROOT / "static" / name, root / "static" / name)
    shutil.copy(ROOT / "static" / "manifest.webmanifest", root / "static")
    samples = root / "static" / "samples"
    samples.mkdir()
    (samples / "sample.nook").write_text(json.dumps(SAMPLE), "utf-8")
    listing(root)
    return root


def listing(root: Path, *, shell: bool = False) -> None:
    """Write the list of files as the build does; with `shell` as for a release."""
    files = [root / "static" / "samples" / "sample.nook"]
    if shell:
        files += [path for path in sorted((root / "web").rglob("*")) if path.is_file() and path.name != "sw.js"]
    entries = []
    for path in files:
        data = path.read_bytes()
        mine = path.is_relative_to(root / "web")
        entries.append(
            {
                "path": path.relative_to(root / "web" if mine else root).as_posix(),
                "size": len(data),
                "sha256": hashlib.sha256(data).hexdigest(),
                "group": "shell" if mine else "sample",
            }
        )
    (root / "static" / "assets.json").write_text(json.dumps({"files": entries}))
