"""axe-core finds nothing to object to, in light and dark, narrow and wide, in every state."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.fakes.site import ROOT

AXE = ROOT / "node_modules" / "axe-core" / "axe.min.js"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
FINISH = """() => {
  const roots = [document];
  for (const root of roots) {
    for (const element of root.querySelectorAll('*')) if (element.shadowRoot) roots.push(element.shadowRoot);
    for (const one of root.getAnimations()) if (one.effect.getTiming().iterations !== Infinity) one.finish();
  }
}"""

pytestmark = pytest.mark.skipif(not AXE.exists(), reason="axe-core is not installed (npm ci)")


def objections(page):
    """What axe objects to, as readable lines. Animations are brought to their end first: colours fade in."""
    page.evaluate(FINISH)
    page.evaluate(AXE.read_text("utf-8"))
    found = page.evaluate(
        "rules => axe.run(document, { runOnly: { type: 'tag', values: rules }, resultTypes: ['violations'] })", RULES
    )
    return [
        f"{violation['id']}: {node['html'][:160]} ({node['failureSummary'][:300]})"
        for violation in found["violations"]
        for node in violation["nodes"]
    ]


def check(page, state):
    found = objections(page)
    assert not found, f"{state}:\n" + "\n".join(found)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_every_state(room, scheme, width):
    room.emulate_media(color_scheme=scheme)
    room.set_viewport_size({"width": width, "height": 900})
    check(room, "first visit")
    room.get_by_role("button", name="Open the sample library").click()
    expect(room.get_by_role("heading", name="What would you like to know?")).to_be_visible()
    check(room, "home")
    room.locator("#question").fill("nine euros fire")
    expect(room.locator(".hit").first).to_be_visible()
    room.get_by_role("button", name="Scores").click()
    room.get_by_role("button", name="Filters").click()
    check(room, "results, scores, filters")
    room.locator("#question").press("Enter")
    expect(room.locator(".timing")).to_be_visible()
    room.locator(".timing summary").click()
    check(room, "answer")
    room.locator(".hit-title").first.click()
    expect(room.locator(".viewer mark")).to_be_visible()
    check(room, "source")
    room.get_by_role("button", name="Passages", exact=True).click()
    expect(room.get_by_role("dialog")).to_be_visible()
    check(room, "inspector")
    room.keyboard.press("Escape")
    room.keyboard.press("Escape")
    for name in ("History", "Storage and export", "Where answers are made", "Privacy ledger", "Help and keys"):
        room.get_by_role("button", name=name).click()
        expect(room.get_by_role("dialog")).to_be_visible()
        check(room, name)
        room.keyboard.press("Escape")
    if width < 500:
        room.get_by_role("button", name="Documents", exact=True).click()
    room.locator(".card").first.hover()
    room.locator(".card-acts button").last.click()
    check(room, "shelf, asking before it removes")
    room.get_by_role("button", name="Keep", exact=True).click()


def test_errors_and_no_source(sampled):
    sampled.locator("#question").fill("How many stripes has a zebra?")
    sampled.locator("#question").press("Enter")
    expect(sampled.locator(".lead")).to_contain_text("No source found")
    sampled.evaluate(
        """() => {
          const dataTransfer = new DataTransfer();
          for (const name of ['full.txt', 'locked.pdf']) dataTransfer.items.add(new File(['x'], name));
          document.body.dispatchEvent(new DragEvent('drop', { dataTransfer, bubbles: true, cancelable: true }));
        }"""
    )
    expect(sampled.locator("[data-code=quota]")).to_be_visible()
    check(sampled, "no source, toast")


@pytest.mark.parametrize("demo", ["01-search.html", "02-api.html", "03-chat.html", "04-strict.html"])
def test_demos(profile, stage, demo):
    page = profile.new_page()
    page.goto(f"{stage.url}static/demo/{demo}")
    box = page.get_by_role("combobox").last
    if box.count():
        box.fill("nine euros")
        expect(page.get_by_role("option").first).to_be_visible()
        check(page, f"{demo}, list open")
        box.press("Enter")
        expect(page.locator(".timing")).to_be_visible()
    check(page, demo)
