"""Our own model in a page: how near decoding comes to what memory gives, how it bends, when its first token comes."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from harness import FLAGS, median
from inglenook.elastic import selfcheck
from inglenook.elastic.tokenizer import Tokenizer
from inglenook.kernels.artifact import read_header
from playwright.sync_api import Page
from speed import LONG, TEXT, TOKENIZER, renderers, site

from buildlib import venv
from buildlib.project import ROOT

LM = ROOT / "static" / "models" / "smollm2-135m-instruct.nkm"
PROMPT = 256
"""Tokens of the prompt whose first token is timed."""
WRITTEN = 64

# self.kernels is the model in its worker, on one thread; all times are those of this page's clock.
LOAD = """async () => {
  const { Kernels } = await import('/lib/kernels.js');
  self.kernels = new Kernels({ base: new URL('/', location.href), threads: 1 });
  self.info = await self.kernels.load('lm');
  return { pages: info.pages, bytes: info.bytes, build: info.build };
}"""
READ = """async ([tokens, level]) => {
  const begun = performance.now();
  for (let at = 0; at < tokens.length; at += 64) {
    const piece = Int32Array.from(tokens.slice(at, at + 64));
    self.best = await kernels.forward(piece, at, 64, { level });
  }
  self.at = tokens.length;
  return performance.now() - begun;
}"""
# `levels` take turns from token to token; the milliseconds of each token.
WRITE = """async ([count, levels]) => {
  const took = [];
  for (let i = 0; i < count; i++) {
    const begun = performance.now();
    const level = levels[i % levels.length];
    self.best = await kernels.forward(self.best.ids.slice(0, 1), self.at++, 64, { level });
    took.push(performance.now() - begun);
  }
  return took;
}"""
MEMORY = """async (rounds) => {
  const rates = [];
  for (let i = 0; i < rounds; i++) {
    const begun = performance.now();
    const bytes = await kernels.read();
    rates.push(bytes / (performance.now() - begun));
  }
  return Math.max(...rates);
}"""
# Through the app's own face: what a page sees. No two prompts begin alike, so nothing is found in the cache.
FIRST = """async (prompts) => {
  const { open } = await import('/inglenook.js');
  const nook = await open('bench');
  await nook.prepare('lm');
  const ask = async (messages) => {
    const begun = performance.now();
    const how = { max_tokens: 2, stream: true, stream_options: { include_usage: true } };
    const chunks = await nook.chat.completions.create({ messages, ...how });
    let first;
    let usage;
    for await (const chunk of chunks) {
      if (chunk.choices[0]?.delta.content) first ??= performance.now() - begun;
      usage = chunk.usage ?? usage;
    }
    return { ms: first ?? performance.now() - begun, tokens: usage.prompt_tokens };
  };
  const out = [];
  for (const messages of prompts) out.push(await ask(messages));
  nook.dispose();
  return out;
}"""


@contextmanager
def page(driver: Any, isolated: bool = False) -> Iterator[tuple[Page, int]]:
    """A page with the model in it, one thread, and its process."""
    with site(isolated) as url:
        browser = driver.chromium.launch(executable_path=venv.browser(install=False), args=FLAGS)
        opened = browser.new_context(base_url=url).new_page()
        opened.set_default_timeout(180_000)
        opened.goto("llm.html")
        before = renderers()
        opened.evaluate(LOAD)
        used = {pid: ms - before.get(pid, 0.0) for pid, ms in renderers().items()}
        yield opened, max(used, key=used.__getitem__)
        browser.close()


def bandwidth(driver: Any, rounds: int) -> dict[str, Any]:
    """Decoding reads every weight of the whole model once a token: bytes a second of that, and of reading alone."""
    tokens = tokens_of(64)
    with page(driver) as (opened, pid):
        checked = opened.evaluate(READ, [selfcheck.prompt(49152), 0])  # the first pass there is, nothing compiled well
        shares, rates = [], []
        for turn in range(rounds + 1):
            rate = opened.evaluate(MEMORY, 5)
            opened.evaluate(READ, [tokens, 0])
            before = renderers()[pid]
            wall = statistics.mean(opened.evaluate(WRITE, [WRITTEN, [0]]))
            if turn:
                rates.append(rate)
                shares.append(_weights() / wall / rate)
                cpu = (renderers()[pid] - before) / WRITTEN
        return {
            "decode_share_of_bandwidth": median(shares, 3),
            "wasm_read_gb_s": median([rate / 1e6 for rate in rates]),
            "decode_gb_s": median([share * rate / 1e6 for share, rate in zip(shares, rates)]),
            "decode_ms": round(wall, 2),
            "decode_cpu_ms": round(cpu, 2),
            "selfcheck_ms": round(checked, 1),
        }


def levels(driver: Any, rounds: int) -> dict[str, Any]:
    """CPU milliseconds a token by level, read and written; what a switch from level to level costs; memory."""
    told = read_header(LM).config.get("levels") or [{"ratio": 1.0}]
    assert isinstance(told, list)
    ratios = [float(level["ratio"]) for level in told]
    tokens = tokens_of(LONG)
    rows: list[dict[str, list[float]]] = [{"prefill": [], "decode": [], "wall": []} for _ in ratios]
    switches = []
    with page(driver) as (opened, pid):
        opened.evaluate(READ, [tokens[:128], 0])
        for _ in range(rounds):
            for level, row in enumerate(rows):
                before = renderers()[pid]
                opened.evaluate(READ, [tokens, level])
                read = renderers()[pid]
                row["wall"].append(statistics.mean(opened.evaluate(WRITE, [WRITTEN, [level]])))
                row["prefill"].append((read - before) / len(tokens))
                row["decode"].append((renderers()[pid] - read) / WRITTEN)
            last = len(ratios) - 1
            if last:  # two tokens of one, two of the other: the first of two comes after a switch
                opened.evaluate(READ, [tokens[:64], 0])
                took = opened.evaluate(WRITE, [4 * WRITTEN, [0, 0, last, last]])
                switches += [after - again for after, again in zip(took[::2], took[1::2])]
    medians = [{what: statistics.median(ms) for what, ms in row.items()} for row in rows]
    half = min(range(len(ratios)), key=lambda i: abs(ratios[i] - 0.5))
    found = half > 0
    return {
        "half_ratio_decode_speedup": round(medians[0]["decode"] / medians[half]["decode"], 2) if found else None,
        "half_ratio_prefill_speedup": round(medians[0]["prefill"] / medians[half]["prefill"], 2) if found else None,
        "switch_ms": round(max(0.0, statistics.median(switches)), 3) if switches else None,
        "submodels_memory_ratio": round(_bytes() / _weights(), 4),
        "latency_by_ratio": {
            str(ratio): {
                "prefill_cpu": round(row["prefill"], 2),
                "decode_cpu": round(row["decode"], 2),
                "decode": round(row["wall"], 2),
            }
            for ratio, row in zip(ratios, medians)
        },
    }


def first(driver: Any, rounds: int) -> dict[str, Any]:
    """Milliseconds from asking to the first token in the page, for a prompt of 256 tokens, isolated and not."""
    tokenizer = Tokenizer.load(TOKENIZER.read_bytes())
    ids = tokenizer.encode(TEXT.read_text(encoding="utf-8"), special=False)
    prompts = []
    for turn in range(rounds + 1):
        text = tokenizer.decode(ids[turn * 37 : turn * 37 + PROMPT - 24])
        prompts.append([{"role": "system", "content": f"{turn} Answer."}, {"role": "user", "content": text}])
    figures = {}
    for name, isolated in (("ttft_ms_256", True), ("ttft_ms_256_not_isolated", False)):
        with site(isolated) as url:
            browser = driver.chromium.launch(executable_path=venv.browser(install=False), args=FLAGS)
            opened = browser.new_context(base_url=url).new_page()
            opened.set_default_timeout(180_000)
            opened.goto("./static/manifest.webmanifest")  # a page of the site with nothing on it
            took = opened.evaluate(FIRST, prompts)[1:]
            browser.close()
        figures[name] = median([one["ms"] for one in took], 0)
        figures["ttft_prompt_tokens"] = median([one["tokens"] for one in took], 0)
    return figures


def tokens_of(count: int) -> list[int]:
    """The first tokens of a text of ours."""
    tokenizer = Tokenizer.load(TOKENIZER.read_bytes())
    return tokenizer.encode(TEXT.read_text(encoding="utf-8"), special=False)[:count]


def _weights() -> int:
    """Bytes that the whole model reads for a token: all tensors but those of other levels and of rotations. Of the
    embedding, which is the head as well, all is read."""
    return sum(size for name, size in _tensors().items() if not name.startswith("level.") and name != "rotation")


def _bytes() -> int:
    return sum(size for name, size in _tensors().items() if name != "rotation")


def _tensors() -> dict[str, int]:
    """Tensors of the artifact and their sizes."""
    return {name: place.bytes for name, place in read_header(LM).places.items()}
