"""The page on the real engine and models: a person's day with it, in one profile and as few starts as possible.

The tests of this file build on one another and run in order.
"""

from __future__ import annotations

import json
import re
import time

import pytest
from playwright.sync_api import expect

from tests.browser.test_page import ask
from tests.engine import ingest_files

SLOW = 120_000  # milliseconds: a model loads, an answer is written, on a busy machine

PAGE_TWO = [
    (72, 700, 14, "The keeper of the ferry"),
    (72, 640, 12, "Tobias Marrow kept the ferry at Quillon Ford for thirty-one years."),
    (72, 560, 12, "His sister Agatha painted the signs along the river in green and white."),
    (72, 480, 12, "The bell was cast in the village of Harrowdene and weighs ninety pounds."),
]
PDF = ingest_files.pdf(
    [[(72, 700, 14, "Contents"), (72, 640, 12, "This page lists the chapters and nothing more.")], PAGE_TWO],
    title="The ferry",
)
DOCX = ingest_files.docx(
    ingest_files.word("Orchard rules", "Titel"),
    ingest_files.word("Pears are picked in the second week of September, before the wasps find them."),
)
MARKDOWN = (
    "# Lighthouse log\n\nThe lamp of the lighthouse was lit by Matilda Crane on the third of March.\n\n"
    "<script>window.bad = 1</script> <img src=x onerror='window.bad = 2'> [a link](javascript:window.bad=3)\n"
)
HTML = (
    "<!doctype html><title>Beehives</title><h1>Beehives</h1><p onclick='window.bad=4'>The hives stand behind the "
    "barn, facing the morning sun.</p><script>window.bad = 5</script><iframe src='javascript:parent.bad=6'></iframe>"
)
CSV = "tool,place,owner\nscythe,shed,Barnaby\nanvil,forge,Winifred\n"
SCRIPTS = "שלום עולם, החתול ישן על הגג 🐈\n\nمرحبا، القطة تنام على السطح 🌙\n\n猫が屋根で眠る。👩‍👩‍👧\n"


def give(room, files):
    """Drop files given as {name: text or bytes}."""
    room.evaluate(
        """files => {
          const data = new DataTransfer();
          for (const [name, given] of files) {
            data.items.add(new File([typeof given === 'string' ? given : new Uint8Array(given)], name));
          }
          for (const type of ['dragenter', 'dragover', 'drop']) {
            document.body.dispatchEvent(new DragEvent(type, { dataTransfer: data, bubbles: true, cancelable: true }));
          }
        }""",
        [[name, data if isinstance(data, str) else list(data)] for name, data in files.items()],
    )


def settled(room):
    """All work is done, and nothing waits to be learnt."""
    expect(room.locator(".job", has=room.get_by_role("button", name="Stop"))).to_have_count(0, timeout=SLOW)
    expect(room.locator(".learning")).to_have_count(0, timeout=SLOW)


def ready(room):
    room.wait_for_function("() => document.documentElement.dataset.fire === 'ready'", timeout=SLOW)


def answered(room):
    expect(room.locator(".timing")).to_be_visible(timeout=SLOW)


def card(room, path):
    return room.locator(f'.card:has(.card-link[title="{path}"])')


def clean(room):
    room.evaluate("document.querySelectorAll('.below [aria-label=Dismiss]').forEach((button) => button.click())")


@pytest.fixture(scope="module")
def tabs(browser, built):
    """The profile. An error that nobody caught fails the module."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
    context.set_default_timeout(30_000)
    errors = []
    context.on("weberror", lambda error: errors.append(str(error.error)))
    yield context
    context.close()
    assert not errors, f"uncaught in the page: {errors}"


@pytest.fixture(scope="module")
def room(tabs, built):
    page = tabs.new_page()
    page.goto(built.url)
    ready(page)
    return page


# ── bringing ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_files_of_every_kind(room):
    give(
        room,
        {
            "log.md": MARKDOWN, "ferry.pdf": PDF, "hives.html": HTML, "orchard.docx": DOCX, "tools.csv": CSV,
            "cats.txt": SCRIPTS,
        },
    )  # fmt: skip
    expect(room.locator(".card")).to_have_count(6, timeout=SLOW)
    settled(room)
    for question, title in {
        "morning sun": "Beehives", "wasps in September": "Orchard rules", "anvil": "tools.csv",
        "Matilda Crane": "Lighthouse log", "ninety pounds": "The ferry", "القطة": "cats.txt",
    }.items():  # fmt: skip
        room.locator("#question").fill(question)
        expect(room.locator(".hit").first).to_contain_text(title)
    expect(room.locator(".results .facts")).to_contain_text("by words and meaning")


def test_a_folder_keeps_its_paths(room, tmp_path):
    (tmp_path / "farm" / "barn").mkdir(parents=True)
    (tmp_path / "farm" / "goats.txt").write_text("The goats are milked at dawn.")
    (tmp_path / "farm" / "barn" / "hay.md").write_text("# Hay\n\nThe hay lies under the roof.")
    with room.expect_file_chooser() as chooser:
        room.get_by_role("button", name="Add folder").click()
    chooser.value.set_files(tmp_path / "farm")
    expect(room.locator(".card-link[title='farm/barn/hay.md']")).to_be_visible(timeout=SLOW)
    expect(room.locator(".card")).to_have_count(8)
    settled(room)


def test_search_while_embedding_goes_on_and_stop(room):
    text = "\n\n".join(
        f"Paragraph {n} of the almanac tells of frost, rain and wind in valley {n}." * 6 for n in range(900)
    )
    give(room, {"almanac.txt": text})
    job = room.get_by_role("group", name="Adding 1 file")
    expect(job).to_contain_text("Learning the meaning", timeout=SLOW)
    room.locator("#question").fill("valley 871")
    expect(room.locator(".hit").first).to_contain_text("almanac.txt")
    assert job.get_by_role("button", name="Stop").is_visible(), "it was over before the search"
    job.get_by_role("button", name="Stop").click()
    expect(job).to_contain_text("Stopped. What was stored stays.")
    expect(room.locator(".learning").first).to_be_visible()  # stored, searchable by words
    card(room, "almanac.txt").hover()
    card(room, "almanac.txt").get_by_role("button", name=re.compile("^Remove")).click()
    room.get_by_role("button", name="Remove", exact=True).click()
    expect(room.locator(".card")).to_have_count(8)
    settled(room)
    clean(room)


# ── asking ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_stop_while_the_model_loads(room):
    ask(room, "Who lit the lamp of the lighthouse?")
    expect(room.locator(".lead blockquote")).to_contain_text("Matilda Crane")
    expect(room.locator(".answer-status")).to_contain_text(re.compile(r"Loading the writing model · \d+ of 110 MB"))
    room.get_by_role("button", name="Stop").click()
    expect(room.locator(".answer-status")).to_have_text("Stopped.")
    expect(room.get_by_role("button", name="Ask", exact=True)).to_be_enabled()


def test_lead_then_written_answer_then_citation_then_source(room):
    ask(room, "Who lit the lamp of the lighthouse?")
    answered(room)
    expect(room.locator(".lead blockquote")).to_contain_text("was lit by Matilda Crane on the third of March")
    expect(room.get_by_role("log", name="Written answer")).to_contain_text("Matilda Crane")
    assert room.locator(".lead").bounding_box()["y"] < room.locator(".written").bounding_box()["y"]
    expect(room.locator(".timing")).to_contain_text("answered in this tab")
    reference = room.locator(".log .ref").first
    reference.click()
    mark = room.locator(".viewer mark")
    expect(mark).to_contain_text("Matilda Crane")
    expect(mark).to_be_in_viewport()
    room.keyboard.press("Escape")
    expect(reference).to_be_focused()


def test_stop_while_it_reads_and_while_it_writes(room):
    ask(room, "Where do the hives stand behind the barn?")
    expect(room.locator(".answer-status")).to_contain_text("The small model is reading the passages", timeout=SLOW)
    room.get_by_role("button", name="Stop").click()
    expect(room.locator(".answer-status")).to_have_text("Stopped.")
    assert not room.locator(".prose").inner_text().strip()
    ask(room, "When are the pears picked in September?")
    room.wait_for_function("() => document.querySelector('.prose')?.textContent.trim()", timeout=SLOW)
    room.locator("#question").press("Escape")
    expect(room.locator(".answer-status")).to_have_text("Stopped.")
    # What comes next is not held up by what was stopped.
    began = time.monotonic()
    room.locator("#question").fill("hay under the roof")
    expect(room.locator(".hit").first).to_contain_text("Hay")
    assert time.monotonic() - began < 3


def test_what_nobody_wrote_about_has_no_source(room):
    ask(room, "What is the boiling point of tungsten carbide?")
    expect(room.locator(".lead")).to_contain_text("No source found", timeout=SLOW)
    answered(room)
    expect(room.locator(".written")).to_be_hidden()


def test_a_pdf_page_is_drawn_with_the_words_marked(room):
    ask(room, "Who kept the ferry at Quillon Ford?")
    answered(room)
    expect(room.locator(".lead blockquote").first).to_contain_text("Tobias Marrow kept the ferry")
    expect(room.locator(".lead .cite").first).to_contain_text("page 2")
    room.locator(".lead .cite-link").first.click()
    canvas = room.locator(".viewer canvas")
    expect(canvas).to_have_attribute("aria-label", "Page 2 of The ferry, the passage marked")
    # Rows of the page, in points from its top, that hold the marks' colour, and those that hold ink on it.
    marked, inked, left, right = canvas.evaluate(
        """canvas => {
          const { width, height } = canvas;
          const { data } = canvas.getContext('2d').getImageData(0, 0, width, height);
          const marked = new Set(), inked = new Set();
          let left = width, right = 0;
          for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) {
            const [r, g, b] = data.subarray(4 * (y * width + x));
            const row = Math.round(y / height * 792);
            if (r > 250 && g > 205 && g < 220 && b > 120 && b < 140) {
              marked.add(row);
              left = Math.min(left, x / width * 612);
              right = Math.max(right, x / width * 612);
            }
            if (r < 60 && g < 60 && b < 60) inked.add(row);
          }
          return [[...marked], [...inked], left, right];
        }"""
    )
    baseline = 792 - 640
    assert min(marked) > baseline - 18 and max(marked) < baseline + 8, "the mark is on that line, and on no other"
    assert len(marked) >= 8
    assert set(range(baseline - 7, baseline - 1)) <= set(marked) & set(inked), "and the words are in it"
    assert 66 < left < 74 and 400 < right < 460
    for line in PAGE_TWO:
        assert any(792 - line[1] - 8 < row < 792 - line[1] for row in inked), "every line is drawn"
    room.get_by_role("button", name="Page before").click()
    expect(canvas).to_have_attribute("aria-label", "Page 1 of The ferry")
    room.keyboard.press("Escape")


def test_a_question_of_100_000_characters(room):
    room.locator("#question").fill("Where do the goats sleep? " * 3847)
    room.get_by_role("button", name="Ask", exact=True).click()
    expect(room.locator(".lead")).not_to_be_empty(timeout=SLOW)
    answered(room)
    room.locator("#question").fill("goats")
    expect(room.locator(".hit").first).to_contain_text("milked at dawn")


# ── showing ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_any_script_and_emoji_are_shown_right(room):
    room.locator("#question").fill("القطة تنام")
    hit = room.locator(".hit", has_text="cats.txt").first
    expect(hit.locator("mark")).to_contain_text(["القطة", "تنام"])
    hit.locator(".hit-title").click()
    text = room.locator(".viewer .source-text")
    expect(text).to_contain_text("猫が屋根で眠る。👩‍👩‍👧")
    expect(text).to_contain_text("שלום עולם, החתול ישן על הגג 🐈")
    assert text.evaluate("element => getComputedStyle(element).direction") == "rtl"
    room.keyboard.press("Escape")


def test_scripts_in_documents_are_inert(room):
    for words in ("lighthouse lamp Matilda", "hives barn morning"):
        room.locator("#question").fill(words)
        expect(room.locator(".hit").first).to_contain_text("arn" if "barn" in words else "Matilda")
        room.locator(".hit-title").first.click()
        expect(room.locator(".viewer .source-text")).to_be_visible()
        outside = "main img, main script, main iframe, .viewer img, .viewer script, .viewer iframe"
        assert room.locator(outside).count() == 0
        assert room.locator('a[href^="javascript"]').count() == 0
        room.keyboard.press("Escape")
    assert room.evaluate("window.bad") is None


def test_collections_and_filters(room):
    room.get_by_role("button", name="New collection").click()
    room.get_by_label("Name of the new collection").fill("letters")
    room.get_by_label("Name of the new collection").press("Enter")
    give(room, {"aunt.txt": "Dear aunt, the hay smells of summer."})
    expect(room.get_by_role("button", name=re.compile("^letters"))).to_contain_text("1", timeout=SLOW)
    settled(room)
    room.locator("#question").fill("hay")
    expect(room.locator(".hit")).to_have_count(1)
    room.get_by_role("button", name=re.compile("^All")).click()
    expect(room.locator(".hit", has_text="Hay").first).to_be_visible()
    room.get_by_role("button", name="Filters", exact=True).click()
    room.get_by_label("markdown", exact=True).check()
    expect(room.locator(".hit", has_text="aunt.txt")).to_have_count(0)
    expect(room.locator(".hit").first).to_contain_text("farm/barn/hay.md")
    room.get_by_role("button", name="Clear filters").click()
    room.get_by_role("button", name="Filters", exact=True).click()
    expect(room.locator(".hit", has_text="aunt.txt")).to_have_count(1)


# ── keeping ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_after_a_reload_everything_is_there(room):
    room.reload()
    ready(room)
    expect(room.locator(".card")).to_have_count(9)
    expect(room.get_by_role("button", name="Who kept the ferry at Quillon Ford?")).to_be_visible()  # asked before
    room.locator("#question").fill("morning sun")
    expect(room.locator(".hit").first).to_contain_text("Beehives")
    room.get_by_role("button", name="History").click()
    expect(room.get_by_role("dialog")).to_contain_text("tungsten carbide")
    room.keyboard.press("Escape")


def test_a_changed_file_replaces_only_itself(room):
    inspect = "async () => (await (await import('/inglenook.js')).open('notes')).documents()"
    before = {card["path"]: card for card in room.evaluate(inspect)}
    give(room, {"hives.html": HTML.replace("morning", "evening"), "tools.csv": CSV})
    expect(room.get_by_role("group", name="Adding 2 files")).to_contain_text(
        "1 document added · 1 unchanged", timeout=SLOW
    )
    settled(room)
    room.locator("#question").fill("facing the evening sun")
    expect(room.locator(".hit").first).to_contain_text("evening sun")
    after = {card["path"]: card for card in room.evaluate(inspect)}
    assert {path for path in before if before[path] != after[path]} == {"hives.html"}


def test_export_opens_in_another_nook_and_search_stays_quick_while_it_writes(room, tmp_path):
    room.get_by_role("button", name="Storage and export").click()
    expect(room.get_by_role("dialog")).to_contain_text("9 documents")
    with room.expect_download() as download:
        room.get_by_role("button", name="Export as one file").click()
    download.value.save_as(tmp_path / "notes.nook")
    room.keyboard.press("Escape")
    room.evaluate(
        "async (bytes) => { window.packed = new Uint8Array(bytes); }", list((tmp_path / "notes.nook").read_bytes())
    )
    paths, seen, waits, tokens = room.evaluate(
        """async () => {
          const { open } = await import('/inglenook.js');
          const nook = await open('another');
          await nook.import(packed);
          const paths = (await nook.documents()).map((card) => card.path);
          await nook.prepare('lm');
          const { hits } = await nook.search('anvil forge');
          const waits = [];
          let tokens = 0;
          const question = 'Tell me about the lamp of the lighthouse and who lit it.';
          for await (const event of nook.ask(question, { max_tokens: 60 })) {
            if (event.type === 'Passage') {
              (async () => {
                for (const word of ['hay', 'goats at dawn', 'pears', 'ferry bell', 'hives', 'anvil']) {
                  const began = performance.now();
                  await nook.search(word);
                  waits.push(performance.now() - began);
                }
              })();
            }
            if (event.type === 'Token') tokens++;
          }
          nook.dispose();
          return [paths, hits[0].path, waits, tokens];
        }"""
    )
    assert len(paths) == 9 and seen == "tools.csv"
    assert tokens > 3
    assert len(waits) == 6, "the searches came back before the answer's end"
    assert sorted(waits)[3] < 500, waits


def test_two_tabs_see_what_the_other_adds(tabs, room, built):
    other = tabs.new_page()
    other.goto(built.url)
    ready(other)
    give(room, {"first.txt": "The first tab tells of walnuts."})
    give(other, {"second.txt": "The second tab tells of almonds."})
    for page in (room, other):
        expect(page.locator(".card")).to_have_count(11, timeout=SLOW)
        for word, path in {"walnuts": "first.txt", "almonds": "second.txt"}.items():
            page.locator("#question").fill(word)
            expect(page.locator(".hit").first).to_contain_text(path)
    other.close()


# ── trouble ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_bad_files_are_named_and_the_rest_goes_on(room):
    bomb = ingest_files.zipped({"[Content_Types].xml": "<Types/>", "word/document.xml": "<w:p/>" + " " * 400_000_000})
    give(
        room,
        {
            "good.md": "# Good\n\nMarigolds grow by the well.",
            "empty.txt": "",
            "locked.pdf": ingest_files.pdf([[(72, 700, 12, "Secret")]], encrypt=True),
            "broken.pdf": PDF[:300],
            "photo.txt": b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40,
            "program.bin": bytes(range(256)) * 64,
            "bomb.docx": bomb,
            "scan.pdf": ingest_files.pdf([[]]),
            "fine.txt": "Foxgloves grow by the gate.",
        },
    )  # fmt: skip
    job = room.get_by_role("group", name="Adding 9 files")
    expect(job).to_contain_text("2 documents added · 7 skipped", timeout=SLOW)
    notes = job.locator(".job-notes")
    for path in ("empty.txt", "locked.pdf", "broken.pdf", "photo.txt", "program.bin", "bomb.docx", "scan.pdf"):
        line = notes.locator("li", has_text=path)
        expect(line).to_have_count(1)
        assert len(line.text_content()) > len(path) + 30, "it says what to do"
    codes = {line.get_attribute("data-code") for line in notes.locator("li").all()}
    assert {"empty", "encrypted"} <= codes
    room.locator("#question").fill("foxgloves")
    expect(room.locator(".hit").first).to_contain_text("fine.txt")
    clean(room)


def test_a_nook_that_is_damaged_newer_or_cut(room, tmp_path):
    packed = bytes(room.evaluate("Array.from(window.packed ?? [])"))
    assert packed[:4] == b"NOOK"
    hurt = bytearray(packed)
    hurt[len(hurt) // 2] ^= 0xFF
    for name, data in {
        "hurt.nook": bytes(hurt),
        "newer.nook": packed[:4] + b"\x63\x00" + packed[6:],
        "cut.nook": packed[: len(packed) * 2 // 3],
        "nothing.nook": b"",
    }.items():
        give(room, {name: data})
        toast = room.locator(".toast.failed").last
        expect(toast).to_be_visible(timeout=SLOW)
        assert len(toast.locator("p").inner_text()) > 40
        toast.get_by_role("button", name="Dismiss").click()
        expect(room.locator(".toast.failed")).to_have_count(0)
    expect(room.locator(".card")).to_have_count(13)


def test_an_engine_that_dies_is_started_again(room):
    engine = next(worker for worker in room.workers if worker.url.endswith("/worker.js"))
    ask(room, "Who lit the lamp of the lighthouse?")
    expect(room.locator(".lead blockquote").first).to_be_visible()
    engine.evaluate("self.close()")
    expect(room.locator(".answer-status")).to_contain_text("The engine stopped unexpectedly.")
    expect(room.locator(".answer-status")).to_contain_text("What is stored is safe")
    room.locator("#question").fill("marigolds by the well")
    expect(room.locator(".hit").first).to_contain_text("Marigolds grow", timeout=SLOW)
    expect(room.locator(".card")).to_have_count(13)


def test_chat_writes_json_and_calls_functions(room):
    """The real model in the tab, held to a schema; its calls are of functions that there are."""
    written, call, wrong = room.evaluate(
        """async () => {
          const { open } = await import('/inglenook.js');
          const nook = await open('another');
          const create = (more) => nook.chat.completions.create({
            messages: [{ role: 'user', content: 'What is the weather in Paris?' }], max_tokens: 120, ...more });
          const place = { type: 'object', properties: { city: { type: 'string', maxLength: 20 } }, required: ['city'] };
          const asked = { type: 'json_schema', json_schema: { name: 'place', schema: place } };
          const weather = { type: 'function', function: { name: 'weather', parameters: place } };
          const written = await create({ response_format: asked, logprobs: true });
          const call = await create({ tools: [weather], tool_choice: 'required' });
          const wrong = await create({ regex: '(' }).catch((error) => [error.code, error.message]);
          nook.dispose();
          return [written.choices[0], call.choices[0], wrong];
        }"""
    )
    assert written["finish_reason"] == "stop" and [*json.loads(written["message"]["content"])] == ["city"]
    codes = [code for token in written["logprobs"]["content"] for code in token["bytes"]]
    assert bytes(codes).decode() == written["message"]["content"]
    assert call["finish_reason"] == "tool_calls"
    [made] = call["message"]["tool_calls"]
    assert made["function"]["name"] == "weather" and [*json.loads(made["function"]["arguments"])] == ["city"]
    assert wrong[0] == "regex" and "position 0" in wrong[1]


# ── keyboard, and what axe says ───────────────────────────────────────────────────────────────────────────────────


def test_a_whole_visit_by_keyboard(room):
    room.evaluate("document.activeElement.blur()")
    keys = room.keyboard
    keys.press("/")
    keys.press("Control+a")
    keys.type("Who kept the ferry at Quillon Ford?")
    expect(room.locator(".hit").first).to_contain_text("The ferry")
    keys.press("Enter")
    answered(room)
    keys.press("ArrowDown")
    keys.press("Enter")
    expect(room.locator(".viewer canvas")).to_be_visible()
    keys.press("Escape")
    expect(room.locator(".hit-title").first).to_be_focused()
    keys.press("Control+k")
    keys.press("Escape")
    expect(room.locator("#question")).to_have_value("")
    keys.press("Tab")
    keys.press("?")
    expect(room.get_by_role("dialog", name="Help")).to_be_visible()
    keys.press("Escape")


def test_axe_on_real_screens(room):
    from tests.browser import test_a11y

    if not test_a11y.AXE.exists():
        pytest.skip("axe-core is not installed (npm ci)")
    room.locator("#question").fill("Who kept the ferry at Quillon Ford?")
    room.locator(".hit-title").first.click()
    expect(room.locator(".viewer canvas")).to_be_visible()
    test_a11y.check(room, "PDF page")
    room.get_by_role("button", name="Passages", exact=True).click()
    expect(room.get_by_role("dialog")).to_be_visible()
    test_a11y.check(room, "inspector")
    room.keyboard.press("Escape")
    room.keyboard.press("Escape")
    for name in ("History", "Storage and export", "Where answers are made", "Privacy ledger", "Help and keys"):
        room.get_by_role("button", name=name).click()
        expect(room.get_by_role("dialog")).to_be_visible()
        test_a11y.check(room, name)
        room.keyboard.press("Escape")
