"""Offline after the first visit, and updates that come whole or not at all."""

from __future__ import annotations

import shutil
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

from tests.browser.fakes import site as sites


@pytest.fixture
def release(pretended, tmp_path):
    """A site of its own with a listed shell, so its files can change."""
    root = tmp_path / "release"
    shutil.copytree(pretended, root)
    sites.listing(root, shell=True)
    with sites.running(root) as running:
        yield running


def ready(page, url):
    page.goto(url)
    page.get_by_text("Ready", exact=True).wait_for()
    return page


STATE = "(await (await (await caches.open('inglenook-state')).match('state'))?.json())?.shell ?? ''"


def whole(page, before=""):
    """Wait until the service worker has all of a listed shell, another one than `before`; gives its name."""
    sites.until(page, f"async (before) => ![before, ''].includes({STATE})", before)
    return page.evaluate(f"async () => {STATE}")


def only(page, shell):
    """Wait until this shell is the only one that is stored."""
    alone = "async (shell) => (await caches.keys()).filter((name) => name.includes('shell')).join() === shell"
    sites.until(page, alone, shell)


def taken_over(page):
    """Wait until the service worker is between the page and the network: what the page loads from then on is kept."""
    page.wait_for_function("() => navigator.serviceWorker.controller")


def kept(page, site):
    """Wait until all that was asked of the site is stored: the service worker does that after it has answered."""
    paths = {urlsplit(path).path for path in site.asked} - {"/sw.js"}
    stored = [f"{path}index.html" if path.endswith("/") else path for path in paths if not path.endswith(".nook")]
    found = "(path) => caches.match(path, { ignoreSearch: true })"
    sites.until(page, f"async (paths) => (await Promise.all(paths.map({found}))).every(Boolean)", stored, 120_000)


def works(page):
    page.locator("#question").fill("nine euros")
    expect(page.locator(".card").first).to_be_visible()


@pytest.mark.parametrize("kind", ["loose", "listed"])
def test_the_page_works_without_a_network(profile, stage, release, kind):
    site = stage if kind == "loose" else release
    page = ready(profile.new_page(), f"{site.url}?sample")
    works(page)
    taken_over(page)
    if kind == "listed":
        whole(page)
    site.forget()
    page.reload()
    works(page)
    page.wait_for_load_state("networkidle")
    kept(page, site)
    profile.set_offline(True)
    site.forget()
    page.reload()
    page.get_by_text("Ready", exact=True).wait_for()
    works(page)
    page.locator("#question").press("Enter")
    expect(page.locator(".timing")).to_be_visible()
    assert site.asked == []


def test_isolation_survives_the_service_worker(profile, release):
    page = ready(profile.new_page(), release.url)
    assert page.evaluate("crossOriginIsolated") is True
    whole(page)
    page.reload()
    page.get_by_text("Ready", exact=True).wait_for()
    assert page.evaluate("performance.getEntriesByType('navigation')[0].workerStart > 0")
    assert page.evaluate("crossOriginIsolated") is True


def test_a_listed_release_is_served_from_the_device(profile, release):
    page = ready(profile.new_page(), release.url)
    whole(page)
    release.forget()
    page.reload()
    page.get_by_text("Ready", exact=True).wait_for()
    assert not [path for path in release.asked if path.endswith((".js", ".css", "/")) and path != "/sw.js"]


def test_an_update_replaces_the_page_as_a_whole(profile, release):
    page = ready(profile.new_page(), release.url)
    before = whole(page)
    index = release.root / "web" / "index.html"
    index.write_text(index.read_text().replace("<title>Inglenook</title>", "<title>Inglenook 2</title>"))
    sites.listing(release.root, shell=True)
    page.reload()
    expect(page).to_have_title("Inglenook")
    after = whole(page, before)
    only(page, after)
    page.reload()
    expect(page).to_have_title("Inglenook 2")
    page.get_by_text("Ready", exact=True).wait_for()


def test_a_broken_release_changes_nothing(profile, release):
    page = ready(profile.new_page(), release.url)
    before = whole(page)
    main = release.root / "web" / "main.js"
    index = release.root / "web" / "index.html"
    index.write_text(index.read_text().replace("<title>Inglenook</title>", "<title>Broken</title>"))
    main.write_text(main.read_text() + "// the next version\n")
    sites.listing(release.root, shell=True)
    main.write_text("// cut in the mid")  # not what the list says
    page.evaluate(
        """() => new Promise((resolve) => {
          const channel = new BroadcastChannel('inglenook-network');
          channel.onmessage = ({ data: { entry } }) => {
            if (entry?.who === 'service worker' && entry.url.endsWith('/main.js')) resolve();
          };
          navigator.serviceWorker.controller.postMessage({ type: 'hello', since: Infinity });
        })"""
    )
    only(page, before)
    page.reload()
    expect(page).to_have_title("Inglenook")
    page.get_by_text("Ready", exact=True).wait_for()


def test_the_real_site_works_offline(profile, built):
    page = profile.new_page()
    page.set_default_timeout(180_000)
    page.goto(f"{built.url}?sample")
    page.wait_for_function("() => document.documentElement.dataset.fire === 'ready' && document.querySelector('.card')")
    taken_over(page)
    built.forget()
    page.reload()
    page.wait_for_function("() => document.documentElement.dataset.fire === 'ready' && document.querySelector('.card')")
    page.wait_for_load_state("networkidle")
    kept(page, built)
    profile.set_offline(True)
    page.goto(built.url)
    page.wait_for_function("() => document.documentElement.dataset.fire === 'ready' && document.querySelector('.card')")
    page.locator("#question").fill("the state of the economy")
    expect(page.locator(".hit").first).to_be_visible(timeout=60_000)
