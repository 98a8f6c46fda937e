"""The real engine where the world is unkind: a killed browser, refused storage, a server that goes, a foreign page."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager

import pytest
from inglenook.nook import Nook
from playwright.sync_api import expect

from buildlib.bundle import fresh
from buildlib.server import Page, serve
from tests.browser.fakes.site import ROOT, until
from tests.browser.test_page import ask
from tests.browser.test_real import SLOW, answered, give, ready, settled
from tests.browser.test_store import launch
from tests.browser.test_widget import foreign

REFUSED = b"""Object.defineProperty(self, 'indexedDB', {
  get() { throw new DOMException('The user denied permission to access the database.', 'SecurityError'); },
});
"""


def test_kill_the_browser_while_files_come_in(tmp_path, chromium, browser, built):
    """SIGKILL to all of its processes: what was acknowledged is there and whole, and the next start goes on."""
    acknowledged = []
    process, address = launch(chromium, tmp_path)
    try:
        page = browser.browser_type.connect_over_cdp(address).contexts[0].new_page()
        page.expose_function("acknowledge", lambda path: acknowledged.append(path))
        page.goto(built.url)
        ready(page)
        page.evaluate(
            """() => void (async () => {
              const { open } = await import('/inglenook.js');
              const nook = await open('notes');
              const text = (n) => `# Note ${n}\\n\\n` + `The word of note ${n} is mark${n}. `.repeat(60);
              const files = Array.from({ length: 200 }, (_, n) => ({ path: `${n}.md`, data: text(n) }));
              await nook.add(files, { onProgress: (event) => event.type === 'Added' && acknowledge(event.card.path) });
            })()"""
        )
        while len(acknowledged) < 30:
            page.wait_for_timeout(10)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert len(acknowledged) < 200, "it was over before the kill"
    process, address = launch(chromium, tmp_path)
    try:
        page = browser.browser_type.connect_over_cdp(address).contexts[0].new_page()
        page.goto(built.url)
        ready(page)
        there = page.locator(".card-link").evaluate_all("links => links.map((link) => link.title)")
        assert set(acknowledged) <= set(there)
        last = acknowledged[-1]
        page.locator("#question").fill(f"mark{last.removesuffix('.md')}")
        expect(page.locator(".hit").first).to_contain_text(last)
        whole = page.evaluate(
            """async () => {
              const nook = await (await import('/inglenook.js')).open('notes');
              const texts = [];
              for (const card of await nook.documents()) texts.push((await nook.show(card.document)).text.length);
              return texts;
            }"""
        )
        assert len(whole) == len(there) and min(whole) > 1000, "nothing is half there"
        expect(page.locator(".learning")).to_have_count(0, timeout=SLOW)  # what waited for its meaning got it
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_refused_storage_is_said_and_everything_works_while_the_tab_lives(profile, built):
    refused = {"worker.js": Page(REFUSED + fresh("worker.js").read_bytes(), "text/javascript")}
    with serve(ROOT, pages=refused) as url:
        page = profile.new_page()
        page.goto(url)
        ready(page)
        notice = page.locator("[data-code=not-kept]")
        expect(notice).to_contain_text("Nothing is kept")
        expect(notice).to_contain_text("denied permission")
        give(page, {"passing.txt": "A cloud shaped like a heron passed."})
        settled(page)
        page.locator("#question").fill("heron cloud")
        expect(page.locator(".hit").first).to_contain_text("passing.txt")
        page.get_by_role("button", name="Storage and export").click()
        dialog = page.get_by_role("dialog")
        expect(dialog).to_contain_text("Nothing is kept: this browser refuses storage to this page.")
        with page.expect_download() as download:
            dialog.get_by_role("button", name="Export as one file").click()
        assert download.value.path().read_bytes()[:4] == b"NOOK"


def test_no_room_left(profile, built):
    """A browser that gives one megabyte: the files of this release cannot be kept, and the page works all the same."""
    page = profile.new_page()
    session = profile.new_cdp_session(page)
    origin = built.url.rstrip("/")
    # before the first write: the browser remembers for a while how much room there was
    session.send("Storage.overrideQuotaForOrigin", {"origin": origin, "quotaSize": 1_000_000})
    page.goto(built.url)
    ready(page)
    give(page, {"small.txt": "Marigolds grow by the well."})
    settled(page)
    large = "".join(f"{n:x} " for n in random.Random(1).sample(range(1 << 40), 150_000))
    give(page, {"large.txt": large, "late.txt": "Rhubarb grows by the shed."})
    toast = page.locator("[data-code=quota]").first
    expect(toast).to_contain_text("Remove documents", timeout=SLOW)
    expect(page.locator(".card")).not_to_have_count(0)
    page.locator("#question").fill("marigolds")
    expect(page.locator(".hit").first).to_contain_text("Marigolds grow")
    session.send("Storage.overrideQuotaForOrigin", {"origin": origin})
    give(page, {"after.txt": "Gooseberries grow by the gate."})
    settled(page)
    page.locator("#question").fill("gooseberries")
    expect(page.locator(".hit").first).to_contain_text("after.txt")


# ── a server ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def site(built):
    """The site as one folder, as a release lays it out: links to the files, so it costs nothing."""
    folder = ROOT / "test-results" / "site"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(ROOT / "web", folder)
    shutil.copytree(ROOT / "static", folder / "static", copy_function=os.link)
    yield folder
    shutil.rmtree(folder)


@contextmanager
def served(nook, site):
    """`inglenook serve` as a process of its own; gives it and its address."""
    command = [sys.executable, "-m", "inglenook", "serve", str(nook), "--port", "0", "--site", str(site)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "pysrc")}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        said = process.stdout.readline()
        assert " is at http://" in said, said
        yield process, said.split(" is at ")[1].split()[0]
    finally:
        process.kill()
        process.wait()


def test_a_server_answers_with_consent_and_the_tab_takes_over(profile, site, tmp_path, needs):
    needs("pysrc/inglenook/kernels/libmodels.so")
    (tmp_path / "mill.md").write_text("# The mill\n\nThe mill at Thornby was built by Cuthbert Oakes of oak and slate.")
    with Nook.open(tmp_path / "server.nook") as nook:
        nook.add([tmp_path / "mill.md"])
    with served(tmp_path / "server.nook", site) as (process, url):
        page = profile.new_page()
        sockets = []
        page.on("websocket", lambda socket: sockets.append(socket.url))
        page.goto(url)
        ready(page)
        give(page, {"mine.txt": "The mill by my house was built by nobody in particular."})
        settled(page)
        assert not sockets, "no connection without consent"
        page.get_by_role("button", name="Where answers are made").click()
        page.get_by_role("radio", name="The server, from its own library").check()
        use = page.get_by_role("button", name="Use the server")
        expect(use).to_be_disabled()
        page.get_by_text("I agree that my questions").click()
        use.click()
        expect(page.locator(".card-link")).to_have_text(["The mill"])
        assert len(sockets) == 1
        ask(page, "Who built the mill at Thornby?")
        answered(page)
        expect(page.locator(".lead")).to_contain_text("Cuthbert Oakes")
        expect(page.locator(".timing")).to_contain_text("answered by the server")
        page.locator(".lead .cite-link").first.click()
        expect(page.locator(".viewer mark")).to_contain_text("Cuthbert Oakes")
        page.keyboard.press("Escape")
        page.get_by_role("switch", name="Written answers").uncheck()
        process.kill()
        process.wait()
        ask(page, "Who built the mill by my house?")
        expect(page.locator("[data-code=server-gone]")).to_contain_text("This tab answers by itself.")
        expect(page.locator(".card-link")).to_have_text(["mine"])
        expect(page.locator(".lead")).to_contain_text("nobody in particular", timeout=SLOW)
        expect(page.locator(".timing")).to_contain_text("answered in this tab")


# ── a foreign page ────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_element_in_a_page_of_another_site(profile, built):
    origin = built.url.rstrip("/")
    policy = (
        f"default-src 'none'; script-src {origin} 'wasm-unsafe-eval'; connect-src {origin}; worker-src blob: {origin}"
    )
    tag = f'<main><ingle-nook src="{built.url}static/samples/sample.nook" write="off"></ingle-nook></main>'
    with foreign(f'<script type=module src="{built.url}elements.js"></script>{tag}', policy) as url:
        page = profile.new_page()
        complaints = []
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.goto(url)
        assert page.evaluate("crossOriginIsolated") is False
        box = page.get_by_role("combobox")
        box.fill("unconditional war on poverty")
        expect(page.get_by_role("option").first).to_contain_text("1964, Lyndon B. Johnson", timeout=SLOW)
        box.fill("Who declared unconditional war on poverty?")
        box.press("Enter")
        expect(page.locator(".lead blockquote").first).to_contain_text(
            "declares unconditional war on poverty", timeout=SLOW
        )
        page.locator(".lead .cite-link").first.click()
        expect(page.get_by_role("region", name="Source").locator("mark")).to_contain_text("war on poverty")
        assert not [line for line in complaints if "favicon" not in line]


# ── another tab ───────────────────────────────────────────────────────────────────────────────────────────────────

OPEN = """async () => {
  const { open } = await import('/inglenook.js');
  window.nook = await open('notes');
}"""
LISTEN = """() => {
  window.announced = [];
  window.listed = [];
  new BroadcastChannel('inglenook:notes').onmessage = ({ data }) => announced.push(data.keys);
  nook.onchange = () => listed.push(nook.documents().then((cards) => cards.map((card) => `d/${card.document}`)));
}"""
ADD = """async () => {
  const text = (n) => `# Note ${n}\\n\\n` + `The word of note ${n} is mark${n}. `.repeat(80);
  await nook.add(Array.from({ length: 6 }, (_, n) => ({ path: `${n}.md`, data: text(n) })));
}"""
LOSE = """() => new Promise((resolve, reject) => {
  const request = indexedDB.deleteDatabase('inglenook:notes');
  request.onsuccess = resolve;
  request.onerror = reject;
})"""


@pytest.fixture
def two(profile, needs, built):
    """Two tabs with nothing but a nook each."""
    with serve(ROOT, pages={"blank": Page(b"<!doctype html><title>blank</title>")}) as url:
        pages = [profile.new_page(), profile.new_page()]
        for page in pages:
            page.goto(f"{url}blank")
            page.evaluate(OPEN)
        yield pages


def test_what_another_tab_announced_is_in_every_answer(two):
    writer, reader = two
    reader.evaluate(LISTEN)
    writer.evaluate(ADD)
    # each document's text, and later its vectors, several at once
    until(reader, "async () => announced.flat().length >= 6 * 6 && listed.length === announced.length")
    announced, listed = reader.evaluate("async () => [announced, await Promise.all(listed)]")
    for n, known in enumerate(listed, 1):
        lacking = {key for keys in announced[:n] for key in keys if key.startswith("d/")} - set(known)
        assert not lacking, f"after the {n}th change of {len(listed)}"
    assert len(listed[-1]) == 6


def test_storage_that_another_tab_deleted_is_not_pretended_to_be_there(two):
    other, ours = two
    ours.evaluate(ADD)
    other.evaluate(LOSE)
    told = ours.evaluate(
        "() => nook.documents().then((cards) => cards.length, ({ code, hint }) => [code, hint !== ''])"
    )
    assert told == ["storage-lost", True]
