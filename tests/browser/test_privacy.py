"""Nothing goes anywhere else; the ledger shows all there is; the switch holds."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

from tests.browser.fakes import site as sites

POLICY = {
    "default-src": "'none'",
    "script-src": "'self' 'wasm-unsafe-eval'",
    "worker-src": "'self'",
    "connect-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' blob: data:",
    "manifest-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
}


def test_the_policy_is_what_it_should_be(room):
    policy = room.locator("meta[http-equiv=Content-Security-Policy]").get_attribute("content")
    said = {name: rest for name, _, rest in (part.strip().partition(" ") for part in policy.split(";"))}
    assert said == POLICY


def test_the_policy_holds(room):
    """Somebody else's server, an inline script and an inline style are refused by the browser itself."""
    blocked = room.evaluate(
        """async () => {
          const seen = [];
          addEventListener('securitypolicyviolation', (event) => seen.push(event.effectiveDirective));
          await fetch('https://example.com/').catch(() => {});
          const script = document.createElement('script');
          script.textContent = 'window.bad = true';
          document.body.append(script);
          const style = document.createElement('style');
          style.textContent = 'body { display: none }';
          document.body.append(style);
          await new Promise((resolve) => setTimeout(resolve));
          script.remove(); style.remove();
          return [seen.sort(), window.bad];
        }"""
    )
    assert blocked == [["connect-src", "script-src-elem", "style-src-elem"], None]


def test_a_whole_visit_asks_nobody_else(profile, stage):
    seen = []
    profile.on("request", lambda request: seen.append(request.url))
    page = profile.new_page()
    page.goto(f"{stage.url}?sample")
    expect(page.locator(".card")).to_have_count(5)
    page.locator("#question").fill("What did we decide on nine euros?")
    page.locator("#question").press("Enter")
    expect(page.locator(".timing")).to_be_visible()
    page.locator(".log .ref").click()
    for name in ("Storage and export", "Privacy ledger", "Where answers are made"):
        page.keyboard.press("Escape")
        page.get_by_role("button", name=name).click()
    hosts = {urlsplit(url).netloc for url in seen if not url.startswith(("blob:", "data:"))}
    assert hosts == {urlsplit(stage.url).netloc}
    assert any(url.endswith("worker.js") for url in seen), "the worker's requests are heard too"


def test_the_ledger_shows_what_the_server_saw(profile, stage):
    """On a first visit and on the next one: no request reached the server that the ledger does not show."""
    page = profile.new_page()
    for visit in ("first", "second"):
        stage.forget()
        page.goto(f"{stage.url}?sample")
        expect(page.locator(".card")).to_have_count(5)
        page.get_by_role("button", name="Privacy ledger").click()
        expect(page.locator(".figures li").first).to_have_text("0 to other sites")
        shown = set(page.locator(".ledger tbody tr.network td:nth-child(2)").all_inner_texts())
        missing = {urlsplit(path).path for path in stage.asked} - shown
        assert missing <= {"/sw.js"}, f"{visit} visit: not in the ledger: {missing}"


def test_the_switch_really_forbids(profile, stage):
    page = profile.new_page()
    page.goto(f"{stage.url}?sample")
    expect(page.locator(".card")).to_have_count(5)
    page.reload()
    page.get_by_text("Ready", exact=True).wait_for()
    page.get_by_role("button", name="Privacy ledger").click()
    page.get_by_role("switch", name="Network off").check()
    sites.until(page, "async () => (await (await (await caches.open('inglenook-state')).match('state')).json()).off")
    stage.forget()
    status = page.evaluate("fetch('/static/demo/01-search.html?fresh').then((response) => response.status)")
    assert status == 503
    worker = page.evaluate(
        """() => new Promise((resolve) => {
          const channel = new BroadcastChannel('inglenook-network');
          channel.onmessage = ({ data }) => { if (data.entry?.url.includes('never')) resolve(data.entry.from); };
          new Worker('/worker.js?never', { type: 'module' });
        })"""
    )
    assert worker in ("blocked", "cache")
    socket = page.evaluate(
        "() => { try { new WebSocket('/ws'); return 'open'; } catch (error) { return error.name; } }"
    )
    assert socket == "SecurityError"
    expect(page.locator(".ledger tr.blocked").first).to_be_visible()
    page.keyboard.press("Escape")
    page.reload()  # the page itself comes from the device, and the switch is still off
    page.get_by_text("Ready", exact=True).wait_for()
    page.get_by_role("button", name="Privacy ledger").click()
    expect(page.get_by_role("switch", name="Network off")).to_be_checked()
    assert [path for path in stage.asked if path != "/sw.js"] == []
    page.get_by_role("switch", name="Network off").uncheck()
    sites.until(page, "async () => (await fetch('/static/demo/02-api.html')).status === 200")
    assert "/static/demo/02-api.html" in stage.asked


def test_the_server_panel_is_shut_while_the_network_is_off(room):
    room.get_by_role("button", name="Privacy ledger").click()
    room.get_by_role("switch", name="Network off").check()
    room.keyboard.press("Escape")
    room.get_by_role("button", name="Where answers are made").click()
    room.get_by_role("radio", name="This tab, and the server").check()
    room.get_by_text("I agree that my questions").click()
    expect(room.get_by_role("button", name="Use the server")).to_be_disabled()
    expect(room.get_by_role("dialog")).to_contain_text("The network is off")


def test_no_address_of_another_site_in_the_page():
    """URLs in our own pages and scripts: none but namespaces of standards."""
    allowed = {"http://www.w3.org/2000/svg"}
    found = {}
    for path in [*sites.ROOT.glob("web/**/*"), *sites.ROOT.glob("static/demo/*")]:
        if path.suffix in (".js", ".html", ".css"):
            urls = set(re.findall(r"\b(?:https?|wss?)://[\w.-]+[^\s'\"`)<]*", path.read_text("utf-8"))) - allowed
            if urls:
                found[path.name] = urls
    assert not found


@pytest.mark.slow
def test_the_real_site_asks_nobody_else(profile, built):
    seen = []
    profile.on("request", lambda request: seen.append(request.url))
    page = profile.new_page()
    page.set_default_timeout(180_000)
    page.goto(f"{built.url}?sample")
    page.wait_for_function("() => document.documentElement.dataset.fire === 'ready' && document.querySelector('.card')")
    page.locator("#question").fill("the state of the economy")
    expect(page.locator(".hit").first).to_be_visible(timeout=60_000)
    hosts = {urlsplit(url).netloc for url in seen if not url.startswith(("blob:", "data:"))}
    assert hosts == {urlsplit(built.url).netloc}
