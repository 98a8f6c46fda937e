"""The map of the library, and the figures of its index: on the scripted engine, and once on the real one."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.browser import test_a11y
from tests.browser.test_page import drop
from tests.browser.test_real import SLOW, ready, settled


def shown(room):
    """The page with its map open and made."""
    room.get_by_role("button", name="Map of the library").click()
    expect(room.locator(".map .facts")).to_contain_text("passages in")
    return room


def painted(room):
    """How many of the canvas' pixels hold something, and the colours that cover most, as "r,g,b"."""
    room.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return room.locator(".map-canvas").evaluate(
        """canvas => {
          const { width, height } = canvas;
          const { data } = canvas.getContext('2d').getImageData(0, 0, width, height);
          const seen = new Map();
          let some = 0;
          for (let i = 0; i < data.length; i += 4) {
            if (!data[i + 3]) continue;
            some++;
            const key = `${data[i]},${data[i + 1]},${data[i + 2]}`;
            if (data[i + 3] > 200) seen.set(key, (seen.get(key) ?? 0) + 1);
          }
          return [some, [...seen].sort((a, b) => b[1] - a[1]).slice(0, 12).map(([key]) => key)];
        }"""
    )


def test_topics_are_listed_and_lead_to_documents_and_passages(sampled):
    shown(sampled)
    expect(sampled.get_by_role("heading", name="What would you like to know?")).to_be_hidden()
    topics = sampled.locator(".map-side .map-topic")
    expect(topics).to_have_text(["sample, fire4 passages", "work, fire5 passages"])
    topics.nth(1).click()
    expect(sampled.locator(".map-side h3")).to_be_focused()
    expect(sampled.locator(".map-side blockquote")).to_have_text("About work.")
    expect(topics).to_have_text(["On fires2 passages", "Pricing decision2 passages", "work/fire.py1 passages"])
    topics.nth(1).click()
    expect(sampled.locator(".viewer mark")).to_have_text(re.compile("^We decided on nine euros"))
    sampled.keyboard.press("Escape")
    expect(topics.nth(1)).to_be_focused()
    sampled.get_by_role("button", name="All topics").click()
    expect(topics.nth(1)).to_be_focused()


def test_the_whole_of_it_by_keyboard(sampled):
    sampled.locator("#question").press("Escape")
    sampled.evaluate("document.activeElement.blur()")
    sampled.keyboard.press("m")
    expect(sampled.get_by_role("heading", name="Map of the library")).to_be_focused()
    expect(sampled.locator(".map-side .map-topic")).to_have_count(2)
    canvas = sampled.locator(".map-canvas")
    whole = painted(sampled)
    canvas.focus()
    for key in ("+", "+", "ArrowLeft"):
        sampled.keyboard.press(key)
    assert painted(sampled) != whole
    sampled.keyboard.press("0")
    assert painted(sampled) == whole
    sampled.keyboard.press("Escape")
    expect(sampled.locator("#map")).to_be_hidden()
    expect(sampled.locator("#question")).to_be_focused()
    expect(sampled.get_by_role("heading", name="What would you like to know?")).to_be_visible()


def middle(room):
    """The first point of the first topic, in pixels of the page: the scripted map has it in its disc's middle."""
    room.locator(".map-side .map-topic").first.click()
    box = room.locator(".map-canvas").bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def test_a_point_tells_what_it_is_and_opens_its_passage(sampled):
    shown(sampled)
    x, y = middle(sampled)
    sampled.mouse.move(x, y)
    tip = sampled.locator(".map-tip")
    expect(tip).to_contain_text("The inglenook")
    expect(tip.locator("p")).to_contain_text("corner")
    sampled.mouse.move(x, y - 150)
    expect(tip).to_be_hidden()
    sampled.mouse.click(x, y)
    expect(sampled.locator(".viewer mark")).to_be_visible()
    expect(sampled.locator(".viewer h2")).to_have_text("The inglenook")


def test_mouse_moves_and_zooms_and_a_drag_is_no_click(sampled):
    shown(sampled)
    whole = painted(sampled)
    box = sampled.locator(".map-canvas").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    sampled.mouse.move(x, y)
    sampled.mouse.wheel(0, -400)
    near = painted(sampled)
    assert near != whole
    sampled.mouse.down()
    sampled.mouse.move(x + 80, y + 30, steps=4)
    sampled.mouse.up()
    assert painted(sampled) != near
    expect(sampled.locator(".viewer")).to_be_hidden()
    expect(sampled.locator(".map-side h3")).to_have_text("Topics")
    sampled.get_by_role("button", name="The whole map").click()
    sampled.mouse.move(0, 0)
    assert painted(sampled) == whole


def test_what_is_searched_lights_up(sampled):
    shown(sampled)
    ember = "157,60,18"
    assert ember not in painted(sampled)[1]
    sampled.locator("#question").fill("nine euros")
    expect(sampled.locator(".hit").first).to_contain_text("Pricing decision")
    for _ in range(50):
        if ember in painted(sampled)[1]:
            break
    else:
        pytest.fail("no point of the map shows what was found")
    sampled.locator("#question").fill("")
    expect(sampled.locator("#results")).to_be_hidden()
    for _ in range(50):
        if ember not in painted(sampled)[1]:
            return
    pytest.fail("the map still shows what was found")


def test_before_there_are_vectors_documents_stand_by_folder(room):
    drop(room, {"unlearnt.md": "# Later\n\nA cat sat.", "two.txt": "A dog ran."})
    expect(room.locator(".card")).to_have_count(2)
    room.get_by_role("button", name="Map of the library").click()
    expect(room.locator(".map .facts")).to_have_text("2 documents by folder · 2 passages still being learnt")
    expect(room.locator(".map-side h3")).to_have_text("Folders")
    room.locator(".map-topic").click()
    room.locator(".map").get_by_role("link", name="Later").click()
    expect(room.locator(".viewer h2")).to_have_text("Later")


def test_stop_while_it_is_made_and_again(room):
    drop(room, {"slow.md": "# Slow\n\nA cat sat."})
    expect(room.locator(".card")).to_have_count(1)
    room.get_by_role("button", name="Map of the library").click()
    facts = room.locator(".map .facts")
    expect(facts).to_contain_text("Loading scikit-learn")
    room.locator(".map").get_by_role("button", name="Stop").click()
    expect(facts).to_have_text("Stopped · 1 document by folder")
    drop(room, {"two.txt": "A dog ran."})
    expect(room.locator(".card")).to_have_count(2)
    expect(facts).to_have_text("Stopped · 1 document by folder")  # nobody asked for it again
    room.get_by_role("button", name="Draw anew").click()
    expect(facts).to_contain_text("Loading scikit-learn")


def test_where_it_cannot_be_made_the_page_says_why_and_shows_folders(room):
    drop(room, {"noscience.md": "# None\n\nA cat sat."})
    expect(room.locator(".card")).to_have_count(1)
    room.get_by_role("button", name="Map of the library").click()
    expect(room.locator(".map .facts")).to_contain_text("The map needs scikit-learn. Build the site with it.")
    expect(room.locator(".map-topic")).to_have_count(1)
    expect(room.locator(".toast")).to_have_count(0)


def test_a_library_that_changed_is_drawn_anew_when_one_asks(sampled):
    shown(sampled)
    drop(sampled, {"three.txt": "A bird flew."})
    facts = sampled.locator(".map .facts")
    expect(facts).to_contain_text("The library has changed · 9 passages in 2 topics")
    sampled.get_by_role("button", name="Draw anew").click()
    expect(facts).to_have_text("10 passages in 3 topics")
    expect(sampled.get_by_role("button", name="Draw anew")).to_be_hidden()


def test_an_empty_library_has_an_empty_map(room):
    room.get_by_role("button", name="Map of the library").click()
    expect(room.locator(".map-side")).to_contain_text("Your library is empty.")


def test_figures_of_the_index(sampled):
    sampled.locator("#question").fill("fire")
    expect(sampled.locator(".hit").first).to_be_visible()
    sampled.get_by_role("button", name="Storage and export").click()
    sheet = sampled.get_by_role("dialog")
    for name, value in {
        "Vectors": "9 of 384 numbers",
        "Kind": "exact",
        "Its size on disk": "1.6 MB",
        "Its memory": "4.0 MB of 96.0 MB",
        "Found in memory": "98.0 % of 2,000 pages",
        "Reads of storage": "0 a search, 1 in the slowest 1 %",
        "Last search": "3 ms, 1 ms of it for what was typed",
    }.items():
        row = sheet.locator("div", has=sampled.locator("dt", has_text=re.compile(f"^{name}$"))).last
        expect(row.locator("dd")).to_have_text(value)


@pytest.mark.skipif(not test_a11y.AXE.exists(), reason="axe-core is not installed (npm ci)")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_axe_has_no_objections(sampled, scheme, width):
    sampled.emulate_media(color_scheme=scheme)
    sampled.set_viewport_size({"width": width, "height": 900})
    shown(sampled)
    test_a11y.check(sampled, "map")
    sampled.locator(".map-topic").first.click()
    test_a11y.check(sampled, "topic")
    over = sampled.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert over == 0


def test_on_the_real_engine(profile, built):
    """Topics of real passages by scikit-learn in its worker, search going on meanwhile; kept over a reload."""
    room = profile.new_page()
    room.goto(f"{built.url}?sample")
    expect(room.locator(".card")).to_have_count(40, timeout=SLOW)
    ready(room)
    settled(room)
    room.get_by_role("button", name="Map of the library").click()
    facts = room.locator(".map .facts")
    expect(room.locator(".map-side h3")).to_have_text("Folders", timeout=SLOW)
    room.locator("#question").fill("nuclear weapons")
    expect(room.locator(".hit").first).to_be_visible()
    assert "topics" not in facts.inner_text(), "search went on while the map was made"
    room.locator("#question").fill("")
    expect(facts).to_have_text(re.compile(r"^[\d,]+ passages in \d+ topics$"), timeout=SLOW)
    assert not [worker for worker in room.workers if "science" in worker.url], "its memory came back"
    topics = room.locator(".map-side .map-topic > span")
    names = topics.all_inner_texts()
    assert len(names) > 10 and len(set(names)) == len(names)
    soviet = room.locator(".map-topic", has_text=re.compile("Soviet|nuclear")).first
    soviet.click()
    expect(room.locator(".map-side")).to_contain_text(re.compile("1963|1980|1984|1986|1962"))
    room.reload()
    ready(room)
    room.get_by_role("button", name="Map of the library").click()
    expect(facts).to_have_text(re.compile(r"passages in \d+ topics"), timeout=5_000)  # scikit-learn takes longer
    assert topics.all_inner_texts() == names
