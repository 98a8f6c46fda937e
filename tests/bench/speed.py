"""How fast engines read and write with the same weights: each in a page of its own, all asked in turn.

CPU time is that of the page's process with all its threads: steadier than the clock where others are at work.
"""

from __future__ import annotations

import os
import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import weights
from harness import FLAGS, node_packages
from inglenook.elastic.tokenizer import Tokenizer
from playwright.sync_api import Browser, Page
from playwright.sync_api import Error as BrowserError

from buildlib import server, venv
from buildlib.project import ROOT, say

LLMS = Path(__file__).parent / "llms"
TYPES = {".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm", ".json": "application/json"}
TOKENIZER = ROOT / "static" / "models" / "smollm2-135m-instruct.tokenizer.json"
TEXT = ROOT / "ARCHITECTURE.md"
SHORT, LONG = 128, 512
WRITTEN = (8, 64)
"""Tokens: at least, and at most; between them as many as take a second."""
NEAR = 1.5
"""An engine that was slower than this, against the best of its group at reading and at writing, is not asked again."""
PAGE = b"""<!doctype html><meta charset="utf-8"><title>llm</title><link rel="icon" href="data:,">
<script type="importmap">{"imports": {
  "onnxruntime-web/webgpu": "/llms/node_modules/onnxruntime-web/dist/ort.webgpu.min.mjs",
  "onnxruntime-common": "/llms/node_modules/onnxruntime-common/dist/esm/index.js"
}}</script>
<script type="module">import { LLMS } from '/llms/llms.js'; self.LLMS = LLMS;</script>"""


@dataclass(frozen=True)
class Kind:
    """An engine and the weights it takes. Engines of a `group` are variants of one: the best of them counts."""

    name: str
    engine: str
    group: str
    form: str = ""

    def weights(self) -> Path | None:
        if not self.form:
            return None
        return weights.onnx(self.form) if self.form.startswith("int") else weights.gguf(self.form)  # type: ignore[arg-type]


KINDS = (
    Kind("ours", "ours", "ours"),
    *(Kind(f"{engine}-{form}", engine, f"wllama-{'Q4_1' if form == 'Q4_1' else 'other'}", form)
      for engine in ("wllama-2", "wllama") for form in ("Q4_1", "Q8_0", "Q4_0")),
    Kind("onnxruntime-web-int8", "onnxruntime-web", "onnxruntime", "int8"),
    Kind("onnxruntime-web-int4", "onnxruntime-web", "onnxruntime", "int4"),
    Kind("transformers.js-int8", "transformers.js", "onnxruntime", "int8"),
)  # fmt: skip


@dataclass
class Row:
    """Milliseconds a token: of CPU and by the clock, for "prefill128", "prefill512" and "decode"."""

    cpu: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    wall: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def medians(self) -> dict[str, float]:
        return {
            **{f"{what}_cpu": round(statistics.median(values), 2) for what, values in self.cpu.items()},
            **{what: round(statistics.median(values), 2) for what, values in self.wall.items()},
        }


class Laid(dict[str, server.Page]):
    """The blank page, the packages of llms/ and the weights, read when they are asked for."""

    def __init__(self) -> None:
        super().__init__({"llm.html": server.Page(PAGE)})

    def get(self, path: str, default: Any = None) -> Any:
        folders = {"llms/": LLMS, "weights/": Path("/")}
        for prefix, folder in folders.items():
            file = folder / path.removeprefix(prefix)
            if path.startswith(prefix) and file.is_file():
                return server.Page(file.read_bytes(), TYPES.get(file.suffix, "application/octet-stream"))
        return super().get(path, default)


class Arm:
    """One engine with a number of threads, in a page of its own. Raises BrowserError where it does not run."""

    def __init__(self, browser: Browser, url: str, kind: Kind, threads: int) -> None:
        self.kind, self.row = kind, Row()
        self.page: Page = browser.new_context(base_url=url).new_page()  # a context of its own: a renderer of its own
        self.page.set_default_timeout(180_000)
        self.page.goto("llm.html")
        self.page.wait_for_function("self.LLMS", timeout=30_000)
        found = kind.weights()
        given = {"engine": kind.engine, "threads": threads, "model": f"{url}weights{found}" if found else ""}
        before = renderers()
        self.page.evaluate("async (given) => { self.llm = await LLMS[given.engine](given); }", given)
        used = {pid: ms - before.get(pid, 0.0) for pid, ms in renderers().items()}
        self.pid = max(used, key=used.__getitem__)  # the renderer that just worked

    def read(self, what: str, tokens: Sequence[int], text: str) -> None:
        self._run(what, "([tokens, text]) => llm.read(tokens, text)", [list(tokens), text])

    def write(self, count: int) -> None:
        self._run("decode", "(count) => llm.write(count)", count)

    def _run(self, what: str, script: str, given: Any) -> None:
        before = renderers()[self.pid]
        took = self.page.evaluate(script, given)
        self.row.cpu[what].append((renderers()[self.pid] - before) / took["n"])
        self.row.wall[what].append(took["ms"] / took["n"])

    def close(self) -> None:
        self.page.context.close()


def renderers() -> dict[int, float]:
    """CPU milliseconds used so far by each renderer of our browser, by process."""
    parents, used = {}, {}
    for task in Path("/proc").glob("[0-9]*"):
        try:
            after_name = (task / "stat").read_text().rsplit(")", 1)[1].split()
            renderer = b"--type=renderer" in (task / "cmdline").read_bytes()
        except OSError:
            continue  # it ended meanwhile
        parents[int(task.name)] = int(after_name[1])
        if renderer:
            used[int(task.name)] = (int(after_name[11]) + int(after_name[12])) * 1000 / os.sysconf("SC_CLK_TCK")

    def ours(pid: int) -> bool:
        while pid in parents and pid != os.getpid():
            pid = parents[pid]
        return pid == os.getpid()

    return {pid: ms for pid, ms in used.items() if ours(pid)}


@contextmanager
def site(isolated: bool) -> Iterator[str]:
    """The project's site with the peers beside it."""
    with server.serve(ROOT, isolated=isolated, pages=Laid()) as url:
        yield url


def measure(
    driver: Any, threads: int, isolated: bool, kinds: Sequence[Kind] = KINDS, rounds: int = 3
) -> dict[str, Row]:
    """Rows of all `kinds` that run, by name. The first, short round warms up and tells which can be the best."""
    node_packages(LLMS)
    tokenizer = Tokenizer.load(TOKENIZER.read_bytes())
    ids = tokenizer.encode(TEXT.read_text(encoding="utf-8"), special=False)
    warm: dict[str, Row] = {}
    with site(isolated) as url:
        browser = driver.chromium.launch(executable_path=venv.browser(install=False), args=FLAGS)
        arms: list[Arm] = []
        for kind in kinds:
            try:
                arm = Arm(browser, url, kind, threads)
                start = len(ids) - SHORT
                arm.read("prefill128", ids[start:], tokenizer.decode(ids[start:]))
                arm.write(WRITTEN[0])
            except BrowserError as error:
                say(f"  {kind.name}: does not run: {error.message.splitlines()[0][:160]}")
                continue
            warm[kind.name] = arm.row
            say(f"  {kind.name}, first: {arm.row.medians()}")
            arms.append(arm)
        racing = [arm for arm in arms if _near(arm, arms)]
        for arm in arms:
            if arm in racing:
                arm.row = Row()
            else:
                arm.close()
        for turn in range(rounds):
            for arm in racing:
                for what, length in (("prefill128", SHORT), ("prefill512", LONG)):
                    prompt = ids[turn * 10 : turn * 10 + length]  # another prompt each time: nothing is remembered
                    arm.read(what, prompt, tokenizer.decode(prompt))
                arm.write(int(np.clip(1000 / warm[arm.kind.name].wall["decode"][0], *WRITTEN)))
            say(f"  round {turn + 1} of {rounds} done")
        browser.close()
    rows = {arm.kind.name: arm.row for arm in arms}
    for name, row in rows.items():
        say(f"  {name}: {row.medians()}")
    return rows


def _near(arm: Arm, arms: Sequence[Arm]) -> bool:
    """Whether it may be the best of its group in something."""
    group = [other for other in arms if other.kind.group == arm.kind.group]
    both = ("prefill128", "decode")
    return any(arm.row.cpu[what][0] <= NEAR * min(other.row.cpu[what][0] for other in group) for what in both)


def ratio(rows: Mapping[str, Row], what: str, groups: Sequence[str], clock: str = "cpu") -> float | None:
    """How many times faster ours is than the fastest of `groups`; None where none of them ran."""
    took = {name: statistics.median(ms) for name, row in rows.items() if (ms := getattr(row, clock).get(what))}
    there = [took[kind.name] for kind in KINDS if kind.group in groups and kind.name in took]
    return round(min(there) / took["ours"], 2) if there and "ours" in took else None
