"""BiasLens in a tab, on the real model: how fast it goes, and what becomes of memory.

The profile stays in the cache, so what a run did not finish in its minutes the next one goes on with.
"""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

from bench import harness

from buildlib import server
from buildlib.project import ROOT, cache, say

MEMORY = "async () => (await performance.measureUserAgentSpecificMemory()).bytes"
PORT = 41785  # the same each time: rows belong to an origin
TICK = 1000  # milliseconds between two looks at it
SAID = 120  # seconds between two words about how far it is
WARM = 60  # answers after which memory is measured first: the model is there, and Python has grown


def fairness(data: Path, sample: int, minutes: float) -> dict[str, Any]:
    """The stratified `sample` of seed 0, or as much of it as fits into `minutes`."""
    if not data.exists():
        say(f"  {data} is not there: no questions")
        return {}
    with (
        server.serve(ROOT, port=PORT, isolated=True) as url,
        harness.profile(cache() / "bench" / "workbench-profile", url) as context,
    ):
        page = context.new_page()
        page.goto(url)
        page.wait_for_function("() => document.documentElement.dataset.fire === 'ready'")
        page.get_by_role("button", name="Workbench").click()
        page.get_by_role("tab", name="Fairness").click()
        run = page.locator("#bench-part-1 .run").first
        known = page.locator("#bench-part-1 .run h3").all_inner_texts()
        begun = f"{sample:,} questions, seed 0"
        if begun in known:
            run = page.locator("#bench-part-1 .run", has_text=begun).first
            run.get_by_role("button", name=re.compile("Go on|Run again")).click()
        else:
            with page.expect_file_chooser() as chooser:
                page.get_by_role("button", name="Open a file").click()
            chooser.value.set_files(data)
            page.get_by_label("How many").fill(str(sample))
            page.get_by_role("button", name="Ask", exact=True).last.click()
            run = page.locator("#bench-part-1 .run", has_text=begun).first
        page.wait_for_function("() => document.querySelector('#bench-part-1 .run[data-state=running]')")
        return _watched(page, run, sample, minutes)


def _watched(page: Any, run: Any, sample: int, minutes: float) -> dict[str, Any]:
    kept = page.locator(".bench-foot .fine")

    def answers() -> int:
        return int(re.sub(r"\D", "", kept.inner_text().partition(" ")[0]) or 0)

    began, first, before = time.monotonic(), answers(), 0.0
    warm, since, said_at = 0, began, began
    while run.get_attribute("data-state") == "running" and time.monotonic() - began < 60 * minutes:
        page.wait_for_timeout(TICK)
        if not before and answers() - first >= WARM:
            before = page.evaluate(MEMORY) / 1e6
            warm, since = answers(), time.monotonic()
        if time.monotonic() - said_at > SAID:
            said_at = time.monotonic()
            say(f"  {run.locator('.run-far').inner_text()}")
    seconds, done = time.monotonic() - since, answers()
    after = page.evaluate(MEMORY) / 1e6
    if run.get_attribute("data-state") == "running":
        run.get_by_role("button", name="Stop").click()
        page.wait_for_function("() => document.querySelector('#bench-part-1 .run').dataset.state !== 'running'")
    said = re.search(r"([\d,]+) of ([\d,]+) questions", run.inner_text())
    asked = int(said[1].replace(",", "")) if said else sample
    return {
        "fairness_1000_in_tab": asked if sample == 1000 else None,
        "fairness_tab_questions": asked,
        "fairness_tab_finished": run.get_attribute("data-state") == "done",
        "fairness_tab_answers": done - first,
        "fairness_tab_answers_per_s": round((done - (warm or first)) / seconds, 2) if seconds else None,
        "fairness_tab_mb_warm": round(before, 1) or None,
        "fairness_tab_mb_end": round(after, 1),
    }
