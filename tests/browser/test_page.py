"""The page on a scripted engine: every state a person can meet, also those a real engine rarely shows."""

from __future__ import annotations

import json
import re

from playwright.sync_api import expect


def ask(room, question):
    room.locator("#question").fill(question)
    room.locator("#question").press("Enter")


def drop(room, files):
    """Drop files given as {name: text} on the page, as a person would."""
    room.evaluate(
        """files => {
          const data = new DataTransfer();
          for (const [name, text] of Object.entries(files)) data.items.add(new File([text], name));
          for (const type of ['dragenter', 'dragover', 'drop']) {
            document.body.dispatchEvent(new DragEvent(type, { dataTransfer: data, bubbles: true, cancelable: true }));
          }
        }""",
        files,
    )


def test_first_visit_teaches(room):
    expect(room.get_by_role("heading", name="Bring something to read")).to_be_visible()
    expect(room.get_by_text("Nothing here yet")).to_be_visible()
    room.locator("#question").fill("anything at all")
    expect(room.get_by_text("Your library is empty. Drop files")).to_be_visible()


def test_sample_by_address(profile, stage):
    room = profile.new_page()
    room.goto(f"{stage.url}?sample")
    expect(room.locator(".card")).to_have_count(5)


def test_search_as_you_type_marks_the_words(sampled):
    sampled.locator("#question").press_sequentially("decided nine")
    first = sampled.locator(".hit").first
    expect(first).to_contain_text("Pricing decision")
    expect(first.locator("mark")).to_have_text(["decided", "nine"])
    expect(sampled.locator(".results .facts")).to_contain_text("by words and meaning")
    sampled.locator("#question").fill("")
    expect(sampled.get_by_role("heading", name="What would you like to know?")).to_be_visible()


def test_marks_stand_right_after_emoji(sampled):
    sampled.locator("#question").fill("hotter cleaner")
    expect(sampled.locator(".hit").first.locator("mark")).to_have_text(["hotter", "cleaner"])
    sampled.locator(".hit-title").first.click()
    marked = sampled.locator(".viewer mark")
    expect(marked).to_have_text(re.compile(r"^Dry wood 🔥 burns .* two summers\.$"))


def test_scores_on_demand(sampled):
    sampled.locator("#question").fill("fire")
    score = sampled.locator(".hit-scores").first
    expect(score).to_be_hidden()
    sampled.get_by_role("button", name="Scores").click()
    expect(score).to_be_visible()
    expect(score).to_contain_text(re.compile(r"fused 0\.\d{4}.*words \d"))


def test_passage_leads_and_the_model_is_named(sampled):
    ask(sampled, "What did we decide on nine euros?")
    expect(sampled.locator(".timing")).to_be_visible()
    lead, written = sampled.locator(".lead"), sampled.locator(".written")
    expect(lead.locator("blockquote")).to_have_text("We decided on nine euros a seat and month.")
    expect(written).to_contain_text("Written by a 135M model")
    assert lead.bounding_box()["y"] < written.bounding_box()["y"]
    expect(written.get_by_role("log")).to_contain_text("That is all they say 🔥 about it.")
    sampled.locator(".timing summary").click()
    for word in ("search", "prefill", "decode", "first word after 510 ms", "tokens/s"):
        expect(sampled.locator(".timing")).to_contain_text(word)


def test_citation_is_a_link_that_opens_the_source_there(sampled):
    ask(sampled, "What did we decide on nine euros?")
    reference = sampled.locator(".log .ref")
    before = "(ref) => [ref.closest('sup').previousSibling.textContent.at(-1), getComputedStyle(ref).display]"
    assert reference.evaluate(before) == [".", "inline"]  # so it never begins a line of its own
    expect(reference).to_have_attribute("href", re.compile(r"#doc=\w+&start=\d+&end=\d+"))
    reference.click()
    expect(sampled.locator(".viewer mark")).to_have_text("We decided on nine euros a seat and month.")
    expect(sampled.locator(".viewer mark")).to_be_in_viewport()
    sampled.keyboard.press("Escape")
    expect(sampled.locator(".viewer")).to_be_hidden()
    expect(reference).to_be_focused()


def test_written_answers_can_be_off(sampled):
    sampled.get_by_role("switch", name="Written answers").uncheck()
    ask(sampled, "What did we decide on nine euros?")
    expect(sampled.locator(".lead blockquote")).to_be_visible()
    expect(sampled.locator(".timing")).to_be_visible()
    expect(sampled.locator(".written")).to_be_hidden()


def test_no_source_is_said_plainly(sampled):
    ask(sampled, "How many stripes has a zebra?")
    expect(sampled.locator(".lead")).to_contain_text("No source found")
    expect(sampled.locator(".lead")).to_contain_text("The passages below come closest.")
    expect(sampled.locator(".hit")).to_have_count(1)  # once, where passages always stand
    expect(sampled.locator("#results .hit")).to_have_count(1)


def test_stop_while_writing(sampled):
    ask(sampled, "Tell slowly about the fire")
    expect(sampled.locator(".tail")).to_contain_text("word3")
    sampled.get_by_role("button", name="Stop").click()
    expect(sampled.locator(".answer-status")).to_have_text("Stopped.")
    expect(sampled.get_by_role("button", name="Ask", exact=True)).to_be_enabled()


def test_search_goes_on_while_an_answer_is_written(sampled):
    ask(sampled, "Tell slowly about the fire")
    expect(sampled.locator(".tail")).to_contain_text("word3")
    sampled.locator("#question").fill("nine euros")
    expect(sampled.locator(".hit").first).to_contain_text("Pricing decision")


def test_a_dead_engine_says_so_and_comes_back(sampled):
    ask(sampled, "Please crash the fire")
    expect(sampled.locator(".answer-status")).to_contain_text("The engine stopped unexpectedly.")
    expect(sampled.locator(".answer-status")).to_contain_text("What is stored is safe")
    ask(sampled, "How many stripes has a zebra?")
    expect(sampled.locator(".lead")).to_contain_text("No source found")


def test_drop_adds_and_one_bad_file_does_not_stop_the_rest(room):
    drop(room, {"one.md": "# One\n\nA cat sat.", "locked.pdf": "secret", "two.txt": "A dog ran."})
    expect(room.locator(".card")).to_have_count(2)
    job = room.get_by_role("group", name="Adding 3 files")
    expect(job).to_contain_text("2 documents added · 1 skipped")
    expect(job).to_contain_text("It is locked with a password. Save a copy without one and add that.")


def test_pick_files_into_a_new_collection(room):
    room.get_by_role("button", name="New collection").click()
    room.get_by_label("Name of the new collection").fill("letters")
    room.get_by_label("Name of the new collection").press("Enter")
    expect(room.locator("#shelf-foot")).to_contain_text("New files go to letters")
    with room.expect_file_chooser() as chooser:
        room.get_by_role("button", name="Add files").click()
    chooser.value.set_files({"name": "note.txt", "mimeType": "text/plain", "buffer": b"Dear reader."})
    expect(room.get_by_role("button", name=re.compile("letters"))).to_contain_text("1")


def test_pick_a_folder_keeps_paths_and_leaves_noise(room, tmp_path):
    (tmp_path / "notes" / "deep").mkdir(parents=True)
    (tmp_path / "notes" / "a.txt").write_text("About apples.")
    (tmp_path / "notes" / "deep" / "b.txt").write_text("About bears.")
    (tmp_path / "notes" / ".hidden").write_text("About nothing.")
    with room.expect_file_chooser() as chooser:
        room.get_by_role("button", name="Add folder").click()
    chooser.value.set_files(tmp_path / "notes")
    expect(room.locator(".card-link")).to_have_text(["notes/a.txt", "notes/deep/b.txt"])


def test_paste_makes_a_document(room):
    room.evaluate(
        """() => {
          const clipboardData = new DataTransfer();
          clipboardData.setData('text', 'A pasted thought about otters.');
          document.body.dispatchEvent(new ClipboardEvent('paste', { clipboardData, bubbles: true, cancelable: true }));
        }"""
    )
    expect(room.locator(".card-link")).to_contain_text("Pasted")
    room.locator("#question").fill("otters")
    expect(room.locator(".hit")).to_have_count(1)


def test_stop_adding(room):
    drop(room, {"many.txt": "A long read."})
    job = room.get_by_role("group", name="Adding 1 file")
    expect(job).to_contain_text("Learning the meaning")
    job.get_by_role("button", name="Stop").click()
    expect(job).to_contain_text("Stopped. What was stored stays.")


def test_a_full_disk_is_an_announced_error_with_a_hint(room):
    drop(room, {"full.txt": "No room."})
    toast = room.get_by_role("log", name="Notices").locator("[data-code=quota]")
    expect(toast).to_contain_text("There is no room left")
    expect(toast).to_contain_text("Remove documents")
    toast.get_by_role("button", name="Dismiss").click()
    expect(toast).to_have_count(0)


def test_remove_asks_first(sampled):
    card = sampled.locator(".card", has_text="Pricing decision")
    card.hover()
    card.get_by_role("button", name="Remove Pricing decision").click()
    sampled.get_by_role("button", name="Keep", exact=True).click()
    expect(sampled.locator(".card")).to_have_count(5)
    card.hover()
    card.get_by_role("button", name="Remove Pricing decision").click()
    sampled.get_by_role("button", name="Remove", exact=True).click()
    expect(sampled.locator(".card")).to_have_count(4)
    sampled.locator("#question").fill("nine euros")
    expect(sampled.get_by_role("heading", name="No passages")).to_be_visible()


def test_collections_and_filters_limit_the_search(sampled):
    sampled.locator("#question").fill("fire")
    expect(sampled.locator(".hit", has_text="The inglenook").first).to_be_visible()
    sampled.get_by_role("button", name=re.compile("^work")).click()
    expect(sampled.locator(".hit", has_text="The inglenook")).to_have_count(0)
    sampled.get_by_role("button", name="Filters").click()
    sampled.get_by_label("code", exact=True).check()
    expect(sampled.locator(".hit")).to_have_count(1)
    expect(sampled.locator(".hit")).to_contain_text("work/fire.py")
    sampled.get_by_label("Changed after").fill("2030-01-01")
    expect(sampled.get_by_text("Nothing within these filters")).to_be_visible()
    sampled.get_by_role("button", name="Clear filters").click()
    expect(sampled.locator(".hit", has_text="The inglenook").first).to_be_visible()


def test_pdf_page_is_drawn_with_boxes_and_turned(sampled):
    sampled.locator(".card-link", has_text="On fires").click()
    canvas = sampled.locator(".viewer canvas")
    expect(canvas).to_have_attribute("aria-label", "Page 1 of On fires, the passage marked")
    pixel = "c => [...c.getContext('2d').getImageData(20, 22, 1, 1).data]"
    assert canvas.evaluate(pixel) == [255, 214, 130, 255]
    expect(sampled.get_by_role("button", name="Page before")).to_be_disabled()
    sampled.get_by_role("button", name="Next page").click()
    expect(sampled.get_by_text("Page 2 of 2")).to_be_visible()
    expect(sampled.get_by_role("button", name="Next page")).to_be_disabled()
    sampled.get_by_text("Text of this page").click()
    expect(sampled.locator(".page-text")).to_contain_text("The chimney has a draught")


def test_inspector_shows_the_cuts_with_scores(sampled):
    sampled.locator("#question").fill("schools price")
    sampled.locator(".card", has_text="Pricing decision").hover()
    sampled.get_by_role("button", name="Passages of Pricing decision").click()
    dialog = sampled.get_by_role("dialog", name="Pricing decision")
    expect(dialog.locator(".chunk")).to_have_count(2)
    expect(dialog.locator(".chunk.best")).to_contain_text("Schools pay half of the price.")
    expect(dialog.locator(".chunk").first).to_contain_text("not found by this question")
    dialog.locator(".chunk.best").get_by_role("button", name="Open").click()
    expect(sampled.locator(".viewer mark")).to_have_text("Schools pay half of the price.")


def test_history_is_kept_and_cleared(sampled):
    ask(sampled, "What did we decide on nine euros?")
    expect(sampled.locator(".timing")).to_be_visible()
    sampled.reload()
    sampled.get_by_text("Ready", exact=True).wait_for()
    sampled.get_by_role("button", name="History").click()
    entry = sampled.get_by_role("button", name="What did we decide on nine euros?", exact=True)
    expect(entry).to_be_visible()
    sampled.get_by_role("button", name="Clear the history").click()
    expect(entry).to_have_count(0)
    assert sampled.evaluate("localStorage.getItem('inglenook:history')") is None


def test_export_and_import(sampled):
    sampled.get_by_role("button", name="Storage and export").click()
    expect(sampled.get_by_role("dialog")).to_contain_text("5 documents")
    expect(sampled.get_by_role("meter", name="Storage used")).to_be_visible()
    with sampled.expect_download() as download:
        sampled.get_by_role("button", name="Export as one file").click()
    assert download.value.suggested_filename == "notes.nook"
    assert len(json.loads(download.value.path().read_text())) == 5
    drop(sampled, {"broken.nook": "not a nook"})
    expect(sampled.locator("[data-code=damaged]")).to_contain_text("Fetch or export it again.")


def test_documents_are_shown_inert(room):
    evil = (
        '# <img src=x onerror="window.bad=1">\n\n<script>window.bad=2</script> [x](javascript:window.bad=3) evil words'
    )
    drop(room, {"<b>evil</b>.md": evil})
    ask(room, "evil words")
    expect(room.locator(".timing")).to_be_visible()
    room.locator(".hit-title").first.click()
    expect(room.locator(".viewer")).to_contain_text("<script>window.bad=2</script>")
    assert room.evaluate("window.bad") is None
    assert room.locator("main img, .viewer img, main script, .viewer script").count() == 0
    assert room.locator('a[href^="javascript"]').count() == 0


def test_a_very_long_question(sampled):
    sampled.locator("#question").fill("fire " * 20_000)
    sampled.get_by_role("button", name="Ask", exact=True).click()
    expect(sampled.locator(".timing")).to_be_visible()
    assert sampled.locator("#question").bounding_box()["height"] < 500
    stored = sampled.evaluate("localStorage.getItem('inglenook:history').length")
    assert stored < 2000


def test_theme_is_chosen_and_kept(room):
    paper = "getComputedStyle(document.body).backgroundColor"
    light = room.evaluate(paper)
    room.get_by_role("button", name="Theme: system").click()
    room.get_by_role("button", name="Theme: light").click()
    dark = room.evaluate(paper)
    assert dark != light
    room.reload()
    assert room.evaluate(paper) == dark


def test_the_tools_have_room_on_the_smallest_screen(sampled):
    sampled.set_viewport_size({"width": 360, "height": 740})
    shelf = sampled.get_by_role("button", name="Documents", exact=True).bounding_box()
    tools = [button.bounding_box() for button in sampled.locator("#tools button").all()]
    assert shelf["x"] >= 0 and shelf["x"] + shelf["width"] <= tools[0]["x"]
    assert tools[-1]["x"] + tools[-1]["width"] <= 360


def test_server_needs_consent_and_falls_back(sampled):
    """The site has no /ws here: the page says so, and the tab goes on answering."""
    sampled.get_by_role("button", name="Where answers are made").click()
    sampled.get_by_role("radio", name="The server, from its own library").check()
    use = sampled.get_by_role("button", name="Use the server")
    expect(use).to_be_disabled()
    sampled.get_by_text("I agree that my questions").click()
    use.click()
    expect(sampled.locator("[data-code=server-gone]")).to_be_attached()
    sampled.keyboard.press("Escape")
    ask(sampled, "What did we decide on nine euros?")
    expect(sampled.locator(".timing")).to_contain_text("answered in this tab")


def test_works_where_storage_is_refused(profile, stage):
    profile.add_init_script(
        "const get = () => { throw new DOMException('no', 'SecurityError'); };"
        "Object.defineProperty(window, 'localStorage', { get });"
    )
    room = profile.new_page()
    room.goto(f"{stage.url}?sample")
    ask(room, "What did we decide on nine euros?")
    expect(room.locator(".timing")).to_be_visible()
    room.get_by_role("button", name="Theme").click()
    room.get_by_role("button", name="History").click()
    expect(room.get_by_role("dialog")).to_contain_text("kept here, in this browser only")


def test_nothing_overflows_from_narrow_to_wide(sampled):
    ask(sampled, "What did we decide on nine euros?")
    expect(sampled.locator(".timing")).to_be_visible()
    sampled.locator(".hit-title").first.click()
    for width in (360, 480, 768, 1024, 1280, 1600):
        sampled.set_viewport_size({"width": width, "height": 800})
        over = sampled.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert over == 0, f"{over} px too wide at {width}"
