"""Answers that are written at the same time: what a pass over several tokens takes, and what stories together gain."""

from __future__ import annotations

from typing import Any

from harness import FLAGS, median
from inglenook.elastic.batch import MOST
from resident import READ, page, tokens_of
from speed import renderers, site

from buildlib import venv

PLACE = 128
"""Positions that all of them have read, on the same pages; each writes on in a page of its own."""
PASSES = 24
STORIES = ("a lighthouse", "two rivers", "an old clock", "the last train")  # as many as an app may have open
WRITTEN = 100

# Of each count of tokens in turn; the milliseconds of each pass.
PASS = """async ([counts, at, passes]) => {
  const took = counts.map(() => []);
  for (let i = 0; i < passes; i++) {
    for (const [n, count] of counts.entries()) {
      const each = [...Array(count).keys()];
      const tables = Int32Array.from(each.flatMap((one) => [0, 1, 2 + one]));
      const begun = performance.now();
      await kernels.batch({
        level: 0, top: 64, tokens: Int32Array.from(each), places: new Int32Array(count).fill(at),
        tables, masked: new Int32Array(count), allow: new Uint8Array(0),
      });
      took[n].push(performance.now() - begun);
    }
  }
  return took;
}"""
OPEN = """async (told) => {
  const { open } = await import('/inglenook.js');
  const nook = await open('bench');
  await nook.prepare('lm');
  self.ask = async (about, seed, max_tokens) => {
    const messages = [{ role: 'user', content: `Tell a long story about ${about}.` }];
    const { choices, usage } = await nook.chat.completions.create({ messages, max_tokens, seed, temperature: 0.8 });
    return { text: choices[0].message.content, tokens: usage.completion_tokens };
  };
  for (const about of told) await ask(about, 0, 2);  // all prompts are read
}"""
WRITE = """async ([told, seed, most, together]) => {
  const begun = performance.now();
  const out = [];
  if (together) out.push(...(await Promise.all(told.map((about) => ask(about, seed, most)))));
  else for (const about of told) out.push(await ask(about, seed, most));
  const ms = performance.now() - begun;
  return { ms, texts: out.map(({ text }) => text), tokens: out.reduce((sum, { tokens }) => sum + tokens, 0) };
}"""


def passes(driver: Any) -> dict[str, Any]:
    """Milliseconds of a pass by its tokens, one thread; each is of a session of its own."""
    counts = [1, 2, 3, 4, 6, MOST]
    with page(driver) as (opened, _):
        opened.evaluate(READ, [tokens_of(PLACE), 0])
        opened.evaluate(PASS, [counts, PLACE, 3])
        took = opened.evaluate(PASS, [counts, PLACE, PASSES])
    return {"pass_ms_by_tokens": {str(count): median(ms, 1) for count, ms in zip(counts, took, strict=True)}}


def stories(driver: Any, rounds: int) -> dict[str, Any]:
    """How much faster stories are written at once than one after the other, by the clock and by CPU time, two threads,
    through the page's own face. Whether all texts were the same."""
    ratios, cpu, same, tokens = [], [], True, 0
    with site(isolated=True) as url:
        browser = driver.chromium.launch(executable_path=venv.browser(install=False), args=FLAGS)
        opened = browser.new_context(base_url=url).new_page()
        opened.set_default_timeout(180_000)
        opened.goto("./static/manifest.webmanifest")  # a page of the site with nothing on it
        opened.evaluate(OPEN, [*STORIES])
        for turn in range(rounds):
            rows = []
            for together in (True, False) if turn % 2 else (False, True):
                before = sum(renderers().values())
                row = opened.evaluate(WRITE, [[*STORIES], turn, WRITTEN, together])
                rows.append({**row, "cpu": sum(renderers().values()) - before, "together": together})
            alone, abreast = sorted(rows, key=lambda row: row["together"])
            ratios.append(alone["ms"] / abreast["ms"])
            cpu.append(alone["cpu"] / abreast["cpu"])
            same &= alone["texts"] == abreast["texts"]
            tokens += abreast["tokens"]
        browser.close()
    return {
        "stories_together_speedup": median(ratios),
        "stories_together_cpu_speedup": median(cpu),
        "stories_together_same_texts": same,
        "stories_tokens": round(tokens / rounds / len(STORIES)),
    }
