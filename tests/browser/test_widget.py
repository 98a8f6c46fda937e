"""The elements in pages that are not ours: another origin, a strict CSP, no isolation headers; and their size."""

from __future__ import annotations

import gzip
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from playwright.sync_api import expect

from tests.browser.fakes import site as sites

BUDGET = 60_000  # gzipped bytes of elements.js with everything it imports


@contextmanager
def foreign(body, policy):
    """A site of somebody else: one page with a CSP, no isolation headers, and nothing of Inglenook's. Gives its URL."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self):
            html = f"<!doctype html><html lang=en><title>Foreign</title>{body}".encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Security-Policy", policy)
            self.send_header("Content-Length", str(len(html)))
            self.end_headers()
            self.wfile.write(html)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


def embedded(stage, tag):
    origin = stage.url.rstrip("/")
    policy = (
        f"default-src 'none'; script-src {origin} 'wasm-unsafe-eval'; connect-src {origin}; worker-src blob: {origin}"
    )
    return f'<script type=module src="{stage.url}elements.js"></script><main>{tag}</main>', policy


def opened(profile, url):
    page = profile.new_page()
    page.complaints = []
    page.on("console", lambda message: page.complaints.append(message.text) if message.type == "error" else None)
    page.goto(url)
    return page


def test_nook_in_a_foreign_page_under_its_csp(profile, stage):
    body, policy = embedded(stage, f'<ingle-nook src="{stage.url}static/samples/sample.nook"></ingle-nook>')
    with foreign(body, policy) as url:
        page = opened(profile, url)
        assert page.evaluate("crossOriginIsolated") is False
        box = page.get_by_role("combobox")
        box.fill("nine euros")
        expect(page.get_by_role("option").first).to_contain_text("Pricing decision")
        box.press("Enter")
        expect(page.locator(".lead blockquote")).to_have_text("We decided on nine euros a seat and month.")
        expect(page.get_by_role("log")).to_contain_text("That is all they say")
        page.locator(".log .ref").click()
        source = page.get_by_role("region", name="Source")
        expect(source.locator("mark")).to_have_text("We decided on nine euros a seat and month.")
        source.get_by_role("button", name="Close").click()
        expect(box).to_be_focused()
        assert not [line for line in page.complaints if "favicon" not in line]


def test_search_in_a_foreign_page_leads_to_the_sites_own_pages(profile, stage):
    tag = f'<ingle-search src="{stage.url}static/samples/sample.nook" link="/docs/{{path}}"></ingle-search>'
    body, policy = embedded(stage, tag)
    with foreign(body, policy) as url:
        page = opened(profile, url)
        page.get_by_role("combobox").fill("nine euros")
        expect(page.get_by_role("option").first).to_be_visible()
        page.get_by_role("combobox").press("ArrowDown")
        page.get_by_role("combobox").press("Enter")
        page.wait_for_url(re.compile(r"/docs/work/pricing\.md"))


def test_nothing_starts_before_somebody_reaches_for_it(profile, stage):
    body, policy = embedded(stage, f'<ingle-nook src="{stage.url}static/samples/sample.nook"></ingle-nook>')
    with foreign(body, policy) as url:
        page = opened(profile, url)
        expect(page.get_by_role("combobox")).to_be_visible()
        page.wait_for_load_state("networkidle")
        assert not [path for path in stage.asked if path.endswith((".nook", "worker.js"))]
        page.get_by_role("combobox").focus()
        page.get_by_role("combobox").fill("fire")
        expect(page.get_by_role("option").first).to_be_visible()
        assert sum(path.endswith(".nook") for path in stage.asked) == 1


def test_combobox_as_the_practices_describe_it(profile, stage):
    page = opened(profile, f"{stage.url}static/demo/01-search.html")
    box = page.get_by_role("combobox", name="Search the sample library")
    expect(box).to_have_attribute("aria-expanded", "false")
    box.fill("fire")
    options = page.locator("ingle-search").get_by_role("option")
    expect(options).not_to_have_count(0)
    expect(box).to_have_attribute("aria-expanded", "true")
    box.press("ArrowDown")
    first = options.first
    expect(first).to_have_attribute("aria-selected", "true")
    assert box.get_attribute("aria-activedescendant") == first.get_attribute("id")
    box.press("ArrowUp")
    expect(options.last).to_have_attribute("aria-selected", "true")
    expect(first).to_have_attribute("aria-selected", "false")
    expect(box).to_be_focused()
    box.press("Escape")
    expect(box).to_have_attribute("aria-expanded", "false")
    expect(box).to_have_value("fire")


def test_ingle_open_can_be_taken_over(profile, stage):
    page = opened(profile, f"{stage.url}static/demo/01-search.html")
    page.evaluate(
        """addEventListener('ingle-open', (event) => {
          event.preventDefault();
          window.taken = event.detail.hit.path;
        })"""
    )
    box = page.locator("ingle-nook").get_by_role("combobox")
    box.fill("nine euros")
    expect(page.locator("ingle-nook").get_by_role("option").first).to_be_visible()
    page.locator("ingle-nook").get_by_role("option").first.click()
    assert page.evaluate("window.taken") == "work/pricing.md"
    expect(page.locator("ingle-nook .source")).to_be_hidden()


def test_two_elements_share_one_engine_and_leave_it_behind(profile, stage):
    page = opened(profile, f"{stage.url}static/demo/01-search.html")
    for name in ("ingle-search", "ingle-nook"):
        page.locator(name).get_by_role("combobox").fill("fire")
        expect(page.locator(name).get_by_role("option").first).to_be_visible()
    # network="off" is a library of its own choosing, so the two differ there; but all of a page are in one engine.
    page.evaluate("document.querySelector('ingle-nook').after(document.querySelector('ingle-search').cloneNode())")
    page.locator("ingle-search").last.get_by_role("combobox").fill("fire")
    expect(page.locator("ingle-search").last.get_by_role("option").first).to_be_visible()
    assert len(page.workers) == 1
    page.evaluate("document.querySelectorAll('ingle-search, ingle-nook').forEach((element) => element.remove())")
    held = "({ held }) => held.some((lock) => lock.name.startsWith('inglenook-alive'))"
    sites.until(page, f"async () => !({held})(await navigator.locks.query())")


def test_stop_and_the_strict_demo(profile, stage):
    page = opened(profile, f"{stage.url}static/demo/04-strict.html")
    box = page.get_by_role("combobox")
    box.fill("nine euros")
    box.press("Enter")
    expect(page.locator(".lead blockquote")).to_have_text("We decided on nine euros a seat and month.")
    expect(page.locator(".written")).to_be_hidden()
    page = opened(profile, f"{stage.url}static/demo/01-search.html")
    box = page.locator("ingle-nook").get_by_role("combobox")
    box.fill("Tell slowly about the fire")
    box.press("Enter")
    page.locator("ingle-nook").get_by_role("button", name="Stop").click()
    expect(page.locator(".answer-status")).to_have_text("Stopped.")
    assert not page.complaints


def test_no_source_lists_what_comes_closest_as_nothing_else_does(profile, stage):
    page = opened(profile, f"{stage.url}static/demo/01-search.html")
    box = page.locator("ingle-nook").get_by_role("combobox")
    box.fill("How many stripes has a zebra?")
    box.press("Enter")
    expect(page.locator(".lead")).to_contain_text("These passages come closest:")
    expect(page.locator(".nearest .hit")).to_have_count(1)


def test_a_src_that_is_not_there_says_so(profile, stage):
    body, policy = embedded(stage, f'<ingle-search src="{stage.url}static/none.nook"></ingle-search>')
    with foreign(body, policy) as url:
        page = opened(profile, url)
        page.get_by_role("combobox").fill("fire")
        expect(page.get_by_role("status").last).to_contain_text("answered HTTP 404. Check the src attribute")


def test_demo_of_the_api_runs(profile, stage):
    page = opened(profile, f"{stage.url}static/demo/02-api.html")
    page.get_by_role("button", name="Run").click()
    out = page.get_by_role("log")
    expect(out).to_contain_text("done")
    expect(out).to_contain_text("“We decided on nine euros a seat.” — pricing.md")


def test_demo_of_chat_streams(profile, stage):
    page = opened(profile, f"{stage.url}static/demo/03-chat.html")
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("log")).to_contain_text("You said: Tell me about the sea in one sentence.")
    expect(page.get_by_role("log")).to_contain_text("[stop]")


@pytest.mark.parametrize("entry", ["elements.js", "inglenook.js"])
def test_size_of_the_script_with_all_it_imports(entry):
    seen = {}
    waiting = [sites.ROOT / "web" / entry]
    while waiting:
        path = waiting.pop().resolve()
        if path in seen:
            continue
        source = path.read_text("utf-8")
        seen[path] = len(gzip.compress(source.encode(), 9))
        names = re.findall(r"^(?:import|export)\b[^;]*?from '(\.[^']+)'|^import '(\.[^']+)'", source, re.MULTILINE)
        waiting += [path.parent / (a or b) for a, b in names]
    assert len(seen) > 5
    assert sum(seen.values()) <= BUDGET, {path.name: size for path, size in seen.items()}
