"""What the app costs a person: time to the first search, search, indexing, answers, memory; as the page does it.

    python3 build.py bench app [start] [index] [search] [answer] [recall] [--force] [--quick]

Without names all parts are measured; --quick takes one round of each.

Headless Chromium on this machine; the dev server is on loopback, so "cold" is an empty profile, not a slow network.
"""

from __future__ import annotations

import json
import sys
import tarfile
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parent))

from harness import median, percentile, profile, quiet, report

from buildlib.project import ROOT
from buildlib.server import Handler, Server

if TYPE_CHECKING:
    from playwright.sync_api import Page

QUICK = "--quick" in sys.argv
ROUNDS = 1 if QUICK else 5
PASSAGES = 1_000
LARGE = 10_000
QUESTIONS = (
    "What did Lincoln propose about emancipation?",
    "What did Kennedy say about going to the moon?",
    "How should banks be helped according to Roosevelt?",
    "What was said about the war in Korea?",
    "What did Washington say about a national university?",
)
TYPED = (
    "emancipation of slaves", "national university", "moon landing", "unemployment insurance", "gold standard",
    "treaty with Spain", "public lands", "health care reform", "nuclear weapons", "postal service deficit",
)  # fmt: skip

# Types a query as soon as the page can be typed into, and notes when passages stand there: found by words, by meaning.
FIRST = """
addEventListener('DOMContentLoaded', () => {
  const input = document.querySelector('#question');
  const results = document.querySelector('#results');
  if (!input) return;
  const seen = {};
  let resolve;
  window.firstSearch = new Promise((done) => { resolve = done; });
  new MutationObserver(() => {
    if (!results.querySelector('.hit-title')) return;
    seen.words ??= performance.now();
    if (!results.textContent.includes('meaning')) return;
    seen.meaning ??= performance.now();
    resolve(seen);
  }).observe(results, { subtree: true, childList: true, characterData: true, attributes: true });
  input.value = 'emancipation of slaves';
  input.dispatchEvent(new Event('input', { bubbles: true }));
});
"""
# From the event of a keystroke to its passages in the page.
TYPE = """
async (queries) => {
  const input = document.querySelector('#question');
  const news = document.querySelector('#results .unseen');
  const times = [];
  for (const query of queries)
    for (let n = 3; n <= query.length; n++) {
      const text = query.slice(0, n).trim();
      if (text.length < n) continue;
      await new Promise((next) => setTimeout(next, 30)); // a fast typist's pause between keys
      const begun = performance.now();
      const shown = new Promise((resolve) => {
        const watch = new MutationObserver(() => {
          if (!news.textContent.endsWith(`for ${text}`)) return;
          watch.disconnect();
          resolve(performance.now());
        });
        watch.observe(news, { childList: true, characterData: true, subtree: true });
      });
      input.value = text;
      input.dispatchEvent(new Event('input', { bubbles: true }));
      times.push((await shown) - begun);
    }
  return times;
}
"""
INDEX = """
async (texts) => {
  const { open } = await import('/inglenook.js');
  const nook = await open('bench-' + crypto.randomUUID());
  await nook.prepare('encoder');
  const files = texts.map((data, i) => ({ path: `${i}.txt`, data }));
  const begun = performance.now();
  let embedding;
  await nook.add(files, { onProgress: (event) => {
    if (event.type === 'Progress' && event.stage === 'embed') embedding ??= performance.now();
  } });
  const ended = performance.now();
  const { vectors } = await nook.status();
  nook.dispose();
  return { vectors, whole: ended - begun, embed: ended - embedding };
}
"""
ANSWER = """
async (questions) => {
  const { open } = await import('/inglenook.js');
  const nook = await open('notes');
  await nook.prepare('encoder');
  await nook.prepare('lm');
  const timings = [];
  for (const question of questions)
    for await (const event of nook.ask(question, { max_tokens: 128 })) if (event.type === 'Timing') timings.push(event);
  const memory = await performance.measureUserAgentSpecificMemory?.();
  nook.dispose();
  return { timings: timings.filter((timing) => timing.tokens), memory: memory?.bytes ?? 0 };
}
"""
IMPORT = """
async (url) => {
  const { open } = await import('/inglenook.js');
  const nook = await open('notes');
  const begun = performance.now();
  await nook.import(new URL(url, location.href));
  const { chunks } = await nook.status();
  nook.dispose();
  return { chunks, ms: performance.now() - begun };
}
"""


@contextmanager
def counted() -> Iterator[tuple[str, dict[str, int]]]:
    """The site, and the bytes of the bodies it gave out: {"bytes": …}."""
    sent = {"bytes": 0}
    lock = threading.Lock()

    class Counting(Handler):
        def _send(self, file: object, start: int, end: int) -> None:
            with lock:
                sent["bytes"] += end - start
            super()._send(file, start, end)

    with Server(ROOT, 0, True) as server:
        server.RequestHandlerClass = Counting
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        try:
            yield server.url, sent
        finally:
            server.shutdown()


def first_search(figures: dict[str, float]) -> None:
    """Cold: an empty profile, which takes in the sample library. Warm: the same profile again."""
    cold, warm, words, sizes = [], [], [], []
    for _ in range(ROUNDS):
        with counted() as (url, sent), tempfile.TemporaryDirectory() as folder:
            for address in ("./?sample", "./", "./"):
                with profile(Path(folder), url) as context:
                    context.add_init_script(FIRST)
                    page = context.new_page()
                    page.goto(address, wait_until="domcontentloaded")
                    seen = page.evaluate("firstSearch")
                    if "sample" in address:
                        cold.append(seen["meaning"] / 1e3)
                        sizes.append(sent["bytes"])
                        page.wait_for_timeout(3_000)  # the service worker keeps what was used
                    else:
                        warm.append(seen["meaning"] / 1e3)
                        words.append(seen["words"] / 1e3)
    figures["cold_start_s"] = median(cold)
    figures["warm_start_s"] = median(warm)
    figures["warm_words_s"] = median(words)
    figures["first_search_bytes"] = median(sizes, 0)


@contextmanager
def blank() -> Iterator[Page]:
    """An empty page of the site, in a fresh profile."""
    with counted() as (url, _), tempfile.TemporaryDirectory() as folder, profile(Path(folder), url) as context:
        page = context.new_page()
        page.goto("./static/manifest.webmanifest")
        yield page


def indexing(figures: dict[str, float]) -> None:
    """A thousand passages of the sample library, one to a file."""
    from inglenook.nook import Nook

    with Nook.open(ROOT / "static" / "samples" / "sample.nook") as nook:
        passages = []
        for entry in nook.library.entries.values():
            text = nook.text(entry.card.document)
            passages += [text[chunk.start : chunk.end] for chunk in entry.chunks]
    texts = ["\n\n".join(passages[i : i + 50]) for i in range(0, PASSAGES, 50)]
    rates, seconds = [], []
    with blank() as page:
        for _ in range(1 if QUICK else 3):
            done = page.evaluate(INDEX, texts)
            rates.append(done["vectors"] / done["embed"] * 1e3)
            seconds.append(done["whole"] / 1e3)
    figures["indexed_passages"] = done["vectors"]
    figures["embed_passages_per_s"] = median(rates, 1)
    figures["index_1000_s"] = median(seconds)


def large() -> Path:
    """A nook of LARGE passages and more: all addresses of the sample's package, cut by the engine; made once."""
    from inglenook.nook import Nook

    from buildlib import fetch, samples
    from buildlib.pins import ADDRESSES

    target = ROOT / "static" / "samples" / "bench-10k.nook"
    if target.exists():
        return target
    partial = target.with_suffix(".part")
    partial.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as name, tarfile.open(fetch.whole(ADDRESSES)) as archive:
        folder, size = Path(name), 0
        for member in sorted(archive.getmembers(), key=lambda member: member.name):
            if not member.name.endswith(".json") or "/data/" not in member.name:
                continue
            file = archive.extractfile(member)
            assert file
            text = json.load(file)["text"]
            (folder / f"{Path(member.name).stem}.txt").write_text(text)
            size += len(text)
            if size > LARGE * samples.BEST:
                break
        with Nook.open(partial) as nook:
            nook.add(folder)
    partial.rename(target)
    return target


def searching(figures: dict[str, float]) -> None:
    """Every keystroke of ten queries over ten thousand passages, from the key's event to the passages in the page."""
    name = large().name
    with blank() as page:
        figures["search_chunks"] = page.evaluate(IMPORT, f"/static/samples/{name}")["chunks"]
        page.goto("./")
        page.locator("#engine", has_text="Ready").wait_for()
        page.evaluate(TYPE, TYPED[:2])
        times = page.evaluate(TYPE, TYPED)
    figures["search_p50_ms_10k"] = percentile(times, 50)
    figures["search_p99_ms_10k"] = percentile(times, 99)


def answering(figures: dict[str, float]) -> None:
    """Questions over the same library, the model loaded."""
    with blank() as page:
        page.evaluate(IMPORT, "/static/samples/sample.nook")
        done = page.evaluate(ANSWER, list(QUESTIONS))
    timings = done["timings"]
    figures["ttft_ms"] = median([timing["first_ms"] for timing in timings], 0)
    figures["prefill_ms_per_token"] = median([t["prefill_ms"] / t["prompt_tokens"] for t in timings])
    figures["decode_tok_s"] = median([(t["tokens"] - 1) / t["decode_ms"] * 1e3 for t in timings if t["tokens"] > 8], 1)
    figures["answer_tokens"] = median([timing["tokens"] for timing in timings], 0)
    figures["memory_mb"] = round(done["memory"] / 1e6, 1)


def recall(figures: dict[str, float]) -> None:
    """Whether search finds what is asked for."""
    import retrieval

    figures |= {name: value for name, value in retrieval.measure().items() if name.startswith("recall5_")}


PARTS = {
    "start": first_search, "index": indexing, "search": searching, "answer": answering, "recall": recall,
}  # fmt: skip


def main() -> int:
    wanted = {name for name in sys.argv[1:] if not name.startswith("-")} or set(PARTS)
    if unknown := wanted - set(PARTS):
        sys.exit(f"There is no part {unknown.pop()}. One of: {', '.join(PARTS)}.")
    figures: dict[str, float] = {"load_average": round(quiet(), 2)}
    for name, part in PARTS.items():
        if name in wanted:
            print(f"· {name}", flush=True)
            part(figures)
    report(figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
