"""The workbench as a person uses it, a server for it to ask, and a prompt with something wrong in it."""

from __future__ import annotations

import json
import re
import threading
from pathlib import Path
from typing import Any

from playwright.sync_api import expect

from buildlib.server import Page
from tests.browser import test_a11y
from tests.browser.test_real import SLOW, ready

LONG = 8 * SLOW
GREETING = """---
name: greeting
version: 1.0.0
settings: {max_tokens: 8, temperature: 0}
slots:
  who: {type: line, most: 40}
requirements:
  - {id: R1, text: Greets by name.}
---
{{#seg who kind=persona}}
You are a doorman at the door of a small hotel.
{{/seg}}
{{#seg task kind=task req=R1}}
You must greet the guest.
{{/seg}}
{{#seg name kind=constraint req=R1}}
Always do so by name.
{{/seg}}
{{#seg pomp kind=constraint}}
Write a letter in the old style.
{{/seg}}
{{#seg guest kind=input role=user}}
This is for {{who}}.
{{/seg}}
"""
WARM = GREETING.replace("Write a letter in the old style.", "Be warm.")
GREETINGS = """tests:
  - {description: Ada, vars: {who: Ada}, assert: [{type: contains, value: Hello Ada}], metadata: {requirements: [R1]}}
  - {description: Bob, vars: {who: Bob}, assert: [{type: contains, value: Hello Bob}], metadata: {requirements: [R1]}}
"""


def questions(path: Path, asked: Any) -> Path:
    lines = [
        {"id": id, "attr": "age", "role": "nurse", "type": kind, "q": f"Suppose you are a nurse. {text}", "q0": text}
        for id, kind, text in asked
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def opened(context: Any, url: str) -> Any:
    page = context.new_page()
    page.goto(url)
    ready(page)
    return shown(page)


def shown(page: Any) -> Any:
    page.locator("#question").press("Escape")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("w")
    expect(page.get_by_role("heading", name="Workbench")).to_be_focused(timeout=SLOW)
    return page


def part(page: Any, name: str) -> None:
    page.get_by_role("tab", name=name).click()


def asks(page: Any, path: Path) -> None:
    """Begin a fairness run over the questions of a file."""
    part(page, "Fairness")
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Open a file").click()
    chooser.value.set_files(path)
    before = page.locator(".run").count()
    page.get_by_role("button", name="Ask", exact=True).last.click()
    expect(page.locator(".run")).to_have_count(before + 1)


def ended(page: Any, state: str = "done") -> None:
    run = page.locator(".run").first
    expect(run).to_have_attribute("data-state", re.compile("done|stopped|failed"), timeout=LONG)
    assert run.get_attribute("data-state") == state, run.inner_text()


def rows(page: Any, folder: Path) -> dict[str, Any]:
    """What is exported: by address the call and what was answered, without how long that took."""
    with page.expect_download() as download:
        page.get_by_role("button", name="Export rows").click()
    path = folder / "rows.jsonl"
    download.value.save_as(path)
    kept = {}
    for line in path.read_text("utf-8").splitlines():
        row = json.loads(line)
        reply = {name: value for name, value in row["reply"].items() if not name.endswith("_ms")}
        assert row["key"] not in kept
        kept[row["key"]] = (row["call"], reply)
    return kept


def stage(page: Any, name: str) -> Any:
    """Choose what to do; the panel."""
    panel = page.locator("#bench-part-0")
    panel.get_by_role("radio", name=name, exact=True).check()
    return panel


def by_server(page: Any, number: int, url: str) -> None:
    """Choose, on a part of the workbench, that a server answers."""
    panel = page.locator(f"#bench-part-{number}")
    panel.get_by_label("A server").check()
    panel.get_by_label("Address").fill(f"{url}v1")
    panel.get_by_label("I agree").check()


def sound(page: Any, name: str, scheme: Any, width: int) -> None:
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 900})
    test_a11y.check(page, f"{name}, {scheme}, {width}")
    over = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert over == 0, (name, width)


class Asked(list[str]):
    """What a server was asked; after so many it answers no more until `over`."""

    def __init__(self) -> None:
        super().__init__()
        self.patience, self.over = 1_000_000, threading.Event()

    def answer(self, body: Any) -> Page:
        text = " ".join(str(one["content"]) for one in body["messages"])
        if len(self) >= self.patience:
            self.over.wait()
        self.append(text)
        return said("What?" if body.get("model") == "curt" else greeter(text))


def said(text: str) -> Page:
    reply = {"id": "1", "choices": [{"index": 0, "message": {"content": text}, "finish_reason": "stop"}]}
    return Page(json.dumps(reply).encode(), "application/json")


def greeter(text: str) -> str:
    if "Rewrite one segment" in text:
        return json.dumps({"segment": "pomp", "text": "Be warm."})
    if "Write a letter" in text or "greet" not in text:
        return "Dear Sir or Madam"
    name = re.search("for (\\w+)", text)
    return f"Hello {name[1]}" if name and "by name" in text else "Hello"
