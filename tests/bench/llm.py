"""Our kernel against @wllama/wllama (llama.cpp in WebAssembly): same GGUF, same browser, same threads, interleaved.

    python3 build.py bench llm [--wllama FOLDER]… [--threads 1 2] [--rounds 3] [--prompt 300] [--tokens 64]

FOLDER is an installed package (default: wllama 2.2.1, the faster one, and 3.8.1); all are compared in one run. Each
arm lives in a page of its own; in each round every arm reads the prompt anew and writes greedily. Wall times are those
of our API from outside, and wllama's own (3.x: its timings; 2.x: around its calls). CPU times are of the whole
renderer, all of its threads, and steadier on a busy machine. The last line is one JSON object: medians, milliseconds
per token.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from harness import FLAGS
from inglenook.elastic.tokenizer import Tokenizer
from playwright.sync_api import Page, sync_playwright

from buildlib import server, venv
from buildlib.project import ROOT

PEERS = (ROOT / "node_modules" / "wllama-2", ROOT / "node_modules" / "@wllama" / "wllama")
GGUF = "static/models/SmolLM2-135M-Instruct.Q4_1.gguf"
TOKENIZER = "static/models/smollm2-135m-instruct.tokenizer.json"

OURS_LOAD = """async ({ threads }) => {
  const { Kernels } = await import('./lib/kernels.js');
  self.kernels = new Kernels({ base: location.href, threads });
  const { build } = await self.kernels.load('lm');
  return build;
}"""
OURS_READ = """async ({ tokens }) => {
  const start = performance.now();
  for (let at = 0; at < tokens.length; at += 64) {
    self.best = await self.kernels.forward(Int32Array.from(tokens.slice(at, at + 64)), at, 64);
  }
  self.at = tokens.length;
  return { n: tokens.length, ms: performance.now() - start };
}"""
OURS_WRITE = """async ({ count }) => {
  const start = performance.now();
  for (let i = 0; i < count; i++) self.best = await self.kernels.forward(self.best.ids.slice(0, 1), self.at++, 64);
  return { n: count, ms: performance.now() - start };
}"""

V2_LOAD = """async ({ threads, name, gguf }) => {
  const { Wllama } = await import(`/${name}/index.js`);
  const path = (kind) => `/${name}/${kind}/wllama.wasm`;
  const kinds = ['single-thread', 'multi-thread'];
  const paths = Object.fromEntries(kinds.map((kind) => [`${kind}/wllama.wasm`, path(kind)]));
  self.wllama = new Wllama(paths, { suppressNativeLog: true });
  await self.wllama.loadModelFromUrl(gguf, { n_ctx: 2048, n_threads: threads, n_batch: 512, useCache: false });
  return '2.x';
}"""
V2_READ = """async ({ tokens }) => {
  await self.wllama.kvClear();
  await self.wllama.samplingInit({ temp: 0 });
  const start = performance.now();
  await self.wllama.decode(tokens, {});
  return { n: tokens.length, ms: performance.now() - start };
}"""
V2_WRITE = """async ({ count }) => {
  const start = performance.now();
  for (let i = 0; i < count; i++) {
    const { token } = await self.wllama.samplingSample();
    await self.wllama.samplingAccept([token]);
    await self.wllama.decode([token], {});
  }
  return { n: count, ms: performance.now() - start };
}"""

V3_LOAD = """async ({ threads, name, gguf }) => {
  const { Wllama } = await import(`/${name}/index.js`);
  self.wllama = new Wllama({ default: `/${name}/wasm/wllama.wasm` }, { suppressNativeLog: true });
  const plain = { n_gpu_layers: 0, useCache: false };
  await self.wllama.loadModelFromUrl(gguf, { n_ctx: 2048, n_threads: threads, n_batch: 512, ...plain });
  return '3.x';
}"""
# 3.x has no calls for the parts: one that writes a single token is the reading, a second one continues its cache.
V3_READ = """async ({ text }) => {
  const ask = { prompt: text, max_tokens: 1, temperature: 0 };
  const { timings } = await self.wllama.createCompletion(ask);
  self.text = text;
  return { n: timings.prompt_n, ms: timings.prompt_ms };
}"""
V3_WRITE = """async ({ count }) => {
  const ask = { prompt: self.text, max_tokens: count, temperature: 0 };
  const { timings } = await self.wllama.createCompletion(ask);
  return { n: timings.predicted_n, ms: timings.predicted_ms };
}"""


class Arm:
    """One engine with a number of threads, in a page of its own."""

    def __init__(self, page: Page, kind: str, threads: int, name: str) -> None:
        self.page, self.name = page, f"{name}_{threads}t"
        self.load, self.read, self.write = {
            "ours": (OURS_LOAD, OURS_READ, OURS_WRITE),
            "2": (V2_LOAD, V2_READ, V2_WRITE),
            "3": (V3_LOAD, V3_READ, V3_WRITE),
        }[kind]
        before = renderers()
        self.build = page.evaluate(self.load, {"threads": threads, "name": name, "gguf": page.url_of(GGUF)})  # type: ignore[attr-defined]
        used = {pid: ms - before.get(pid, 0.0) for pid, ms in renderers().items()}
        self.pid = max(used, key=used.__getitem__)  # the renderer that just worked

    def run(self, script: str, **given: Any) -> tuple[float, float]:
        """Wall and CPU milliseconds per token."""
        before = renderers()[self.pid]
        took = self.page.evaluate(script, given)
        return took["ms"] / took["n"], (renderers()[self.pid] - before) / took["n"]


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


def served(packages: dict[str, Path]) -> dict[str, server.Page]:
    """A blank page, and the files of the packages under their names."""
    types = {".js": "text/javascript", ".wasm": "application/wasm"}
    pages = {"blank.html": server.Page(b'<!doctype html><title>bench</title><link rel="icon" href="data:,">')}
    for name, folder in packages.items():
        for file in (folder / "esm").rglob("*"):
            if file.suffix in types:
                pages[f"{name}/{file.relative_to(folder / 'esm').as_posix()}"] = server.Page(
                    file.read_bytes(), types[file.suffix]
                )
    return pages


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wllama", type=Path, action="append")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--prompt", type=int, default=300)
    parser.add_argument("--tokens", type=int, default=64)
    args = parser.parse_args()
    print(json.dumps(measure(args.wllama or PEERS, args.threads, args.rounds, args.prompt, args.tokens)))
    return 0


def measure(
    peers: Sequence[Path] = PEERS, threads: Sequence[int] = (1, 2), rounds: int = 3, prompt: int = 300, tokens: int = 64
) -> dict[str, float]:
    """Medians in milliseconds per token of every arm, and how many times faster ours is than the fastest peer."""
    packages = {}
    for folder in peers:
        version = json.loads((folder / "package.json").read_text())["version"]
        packages[f"wllama_{version}"] = folder
    tokenizer = Tokenizer.load((ROOT / TOKENIZER).read_bytes())
    ids = tokenizer.encode((ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8"), special=False)
    times: dict[str, list[float]] = defaultdict(list)
    with server.serve(ROOT, isolated=True, pages=served(packages)) as url, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=venv.browser(install=False), args=FLAGS)
        arms = []
        for count in threads:
            for name, kind in [("ours", "ours"), *((name, name.split("_")[1][0]) for name in packages)]:
                page = browser.new_context().new_page()  # a context of its own: a renderer of its own
                page.goto(url + "blank.html")
                page.url_of = lambda path: url + path  # type: ignore[attr-defined]
                arms.append(Arm(page, kind, count, name))
                print(f"{arms[-1].name}: {arms[-1].build}", file=sys.stderr)
        for turn in range(rounds + 1):  # the first one warms up
            start = turn * 10  # another prompt each time, so that nothing is remembered
            begin = ids[start : start + prompt]
            for arm in arms:
                read = arm.run(arm.read, tokens=begin, text=tokenizer.decode(begin))
                write = arm.run(arm.write, count=tokens)
                line = f"prefill {read[0]:.1f} (CPU {read[1]:.1f}), decode {write[0]:.1f} (CPU {write[1]:.1f})"
                print(f"{turn} {arm.name}: {line} ms/token", file=sys.stderr)
                if turn:
                    for key, value in zip(("prefill_ms", "prefill_cpu_ms", "decode_ms", "decode_cpu_ms"), read + write):
                        times[f"{arm.name}_{key}"].append(value)
        browser.close()
    result = {key: round(statistics.median(values), 2) for key, values in times.items()}
    for count in threads:
        for part in ("prefill", "decode"):
            best = min(result[f"{name}_{count}t_{part}_ms"] for name in packages)
            result[f"{part}_vs_wllama_{count}t"] = round(best / result[f"ours_{count}t_{part}_ms"], 2)
    result["load_average"] = round(os.getloadavg()[0], 2)
    return result


if __name__ == "__main__":
    raise SystemExit(main())
