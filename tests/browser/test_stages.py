"""The stages of a prompt in the workbench: a server answers, so a scripted engine stands in for the tab's."""

from __future__ import annotations

import json
import re

import pytest
from inglenook.prompt.passes import PASSES
from inglenook.prompt.patterns import PATTERNS
from inglenook.prompt.release import Release, dump, load
from playwright.sync_api import expect

from tests.browser import test_a11y
from tests.browser.bench import (
    GREETING,
    GREETINGS,
    LONG,
    WARM,
    Asked,
    by_server,
    ended,
    opened,
    shown,
    sound,
    stage,
)  # fmt: skip
from tests.browser.fakes import site as sites
from tests.browser.test_real import ready

SIMPLE = [one.name for one in PATTERNS.values() if all(slot.default is not None for slot in one.parameters)]


@pytest.fixture
def served(browser, scripted):
    """The workbench with a server that greets as it is told to, unless something makes it be rude; and what it was
    asked."""
    asked = Asked()
    context = browser.new_context(
        viewport={"width": 1280, "height": 900}, service_workers="block", accept_downloads=True
    )
    with sites.running(scripted, answer=asked.answer) as site:
        page = opened(context, site.url)
        page.get_by_label("Prompt file").fill(GREETING)
        page.get_by_label("Tests", exact=True).fill(GREETINGS)
        by_server(page, 0, site.url)
        yield page, asked
        asked.over.set()
        context.close()


def test_the_culprit_is_shown_in_the_prompt_and_the_mended_one_taken(served):
    page, asked = served
    panel = stage(page, "Debug")
    expect(panel.get_by_label("Only the case").locator("option")).to_have_text(["all that fail", "Ada", "Bob"])
    panel.get_by_role("button", name="Find what is wrong").click()
    ended(page)
    run = page.locator(".run").first
    expect(run.locator(".run-report tbody tr").first).to_contain_text("pompby itself")
    guilty = run.locator(".bench-passage mark.bad")
    expect(guilty.first).to_contain_text("Write a letter")
    many = len(asked)
    run.get_by_role("button", name="Run again").click()
    expect(run).to_contain_text("answers kept before")
    ended(page)
    assert len(asked) == many, "nothing was asked again"
    run.get_by_role("button", name="Take this prompt").click()
    editor = page.get_by_label("Prompt file")
    expect(editor).to_be_focused()
    assert "Write a letter" not in editor.input_value() and "by name" in editor.input_value()
    page.keyboard.press("Control+z")
    assert editor.input_value() == GREETING


def test_mutants_that_survive_say_what_no_case_notices(served):
    page, asked = served
    page.get_by_label("Prompt file").fill(WARM)
    panel = stage(page, "Mutate")
    panel.get_by_role("button", name="Mutate this prompt").click()
    ended(page)
    run = page.locator(".run").first
    table = run.get_by_role("group", name=re.compile(r"Mutants: \d+% killed"))
    killed = table.locator("tr", has_text="drop").filter(has_text="killed")
    expect(killed).to_contain_text(["drop", "drop"])
    assert {row.split("\t")[1] for row in killed.all_inner_texts()} == {"task", "name"}
    spared = table.locator("tr", has_text="Be warm. Also say what the weather is like.")
    expect(spared).to_contain_text("equivalent?")
    expect(run.get_by_role("group", name="Coverage")).to_contain_text("segments whose loss is noticed")
    many = len(asked)
    page.get_by_label("Tests", exact=True).fill(GREETINGS.replace("Bob", "Eve"))
    panel.get_by_role("button", name="Mutate this prompt").click()
    ended(page)
    assert len(asked) - many <= many // 2 + 1, "Ada's answers were kept"


def test_a_build_keeps_what_loses_nothing_and_its_lock_has_the_evidence(served, tmp_path):
    page, _ = served
    page.get_by_label("Prompt file").fill(WARM.replace("temperature: 0", "temperature: 0.7"))
    panel = stage(page, "Build")
    panel.get_by_label("Loss that counts").fill("0.3")
    panel.get_by_role("button", name="Build this prompt").click()
    ended(page)
    run = page.locator(".run").first
    steps = run.get_by_role("group", name="Steps: ")
    kept = steps.locator("tr", has_text="without who")
    expect(kept).to_contain_text("kept")
    assert re.search(r"no loss\t0\t0\t\d+\t", kept.inner_text()), kept.inner_text()
    left = steps.locator("tr", has_text="without name")
    expect(left).to_contain_text("leftit may lose too much")
    with page.expect_download() as download:
        run.get_by_role("button", name="Lock").click()
    assert download.value.suggested_filename == "build-greeting.lock.json"
    download.value.save_as(tmp_path / "lock.json")
    lock = json.loads((tmp_path / "lock.json").read_text("utf-8"))
    assert lock["decision"] == "pass" and lock["tokens"][1] < lock["tokens"][0]
    assert {step["what"]: step["kept"] for step in lock["steps"]}["without who"] and "doorman" not in lock["prompt"]
    run.get_by_role("button", name="Take this prompt").click()
    assert page.get_by_label("Prompt file").input_value() == lock["prompt"]


def test_what_evolves_is_taken_and_what_it_changed_is_seen_beside_the_earlier_one(served):
    page, _ = served
    page.get_by_label("Tests", exact=True).fill(
        GREETINGS + GREETINGS.replace("tests:\n", "").replace("Ada", "Cid").replace("Bob", "Dan")
    )
    panel = stage(page, "Evolve")
    panel.get_by_role("button", name="Evolve this prompt").click()
    ended(page)
    run = page.locator(".run").first
    expect(run.get_by_role("group", name="Rewritings: better on cases it never saw")).to_contain_text(
        "pompkeptBe warm."
    )
    run.get_by_role("button", name="Take this prompt").click()
    stage(page, "Compare")
    go = panel.get_by_role("button", name="Compare the two")
    expect(go).to_be_disabled()
    panel.get_by_label("The earlier one").select_option(index=1)
    go.click()
    expect(page.locator(".run")).to_have_count(2)
    ended(page)
    expect(run.locator("h4")).to_have_text("greeting: a minor version pass")
    expect(run.get_by_role("group", name="What changed in what it does").locator("tr").nth(1)).to_contain_text("gained")


def test_a_build_is_verified_with_cases_that_no_pass_saw_by_the_passes_that_are_chosen(served):
    page, _ = served
    names = [f"{name}{n}" for n in range(4) for name in ("Ada", "Bob")]
    cases = "".join(
        GREETINGS.removeprefix("tests:\n").splitlines(keepends=True)[0].replace("Ada", one) for one in names
    )
    page.get_by_label("Prompt file").fill(WARM.replace("temperature: 0", "temperature: 0.7"))
    page.get_by_label("Tests", exact=True).fill(f"tests:\n{cases}")
    panel = stage(page, "Build")
    panel.get_by_label("Loss that counts").fill("0.3")
    panel.get_by_label("Cases no pass sees, %").fill("25")
    for group, known in (("Passes", [one.name for one in PASSES]), ("Patterns to try, too", SIMPLE)):
        panel.locator("summary", has_text=group).press("Enter")
        assert panel.get_by_role("group", name=group).locator("b").all_inner_texts() == known
    for name in ("normalise", "deduplicate", "examples", "order", "harden"):
        panel.get_by_role("checkbox", name=name).uncheck()
    expect(panel.locator("summary", has_text="Passes")).to_have_text("Passes 1 of 6")
    panel.get_by_role("checkbox", name="reminder").check()
    panel.get_by_role("button", name="Build this prompt").click()
    ended(page)
    run = page.locator(".run").first
    steps = run.get_by_role("group", name="Steps: ").locator("tbody tr").all_inner_texts()
    assert {row.split("\t")[0] for row in steps} == {"pattern reminder", "compress"}
    assert any("without who" in row and "\tkept\t" in row for row in steps), steps
    verified = run.get_by_text("Verified with cases that no pass saw")
    seen = re.findall(r"(?:Ada|Bob)\d", verified.inner_text())
    assert len(seen) == 2 and "0 lost" in verified.inner_text()


def test_another_model_may_take_over_only_if_it_loses_nothing(served):
    page, asked = served
    page.get_by_label("Prompt file").fill(WARM)
    panel = stage(page, "Compare")
    go = panel.get_by_role("button", name="Compare the two")
    expect(go).to_be_disabled()
    panel.get_by_label("On another model").check()
    expect(go).to_be_enabled()  # this very prompt, in this tab
    other = panel.get_by_role("group", name="Who answers this one")
    other.get_by_label("A server").check()
    expect(go).to_be_disabled()
    other.get_by_label("Address").fill(panel.get_by_label("Address").first.input_value())
    other.get_by_label("I agree").check()
    for model, word in (("curt", "fail"), ("kind", "pass")):
        other.get_by_label("Its model").fill(model)
        many = len(asked)
        go.click()
        ended(page)
        run = page.locator(".run").first
        expect(run.locator("h4")).to_contain_text(re.compile(f"greeting: .*#{model} instead of .*{word}"))
        assert len(asked) - many == (4 if model == "curt" else 2), "the old side's answers were kept"
    expect(page.locator(".run")).to_have_count(2)


def test_releases_are_kept_with_their_evidence_and_one_goes_back_to_them(served, tmp_path):
    page, asked = served
    editor = page.get_by_label("Prompt file")
    editor.fill(WARM)
    panel = stage(page, "History")
    history = panel.get_by_role("group", name="Released: greeting")
    expect(history).to_contain_text("Nothing yet.")
    go = panel.get_by_role("button", name="Release this prompt")
    go.click()
    ended(page)
    versions = history.get_by_role("radio")
    expect(versions).to_have_count(1)
    assert not asked, "there is nothing to hold the first against"
    editor.fill(GREETING)
    go.click()
    expect(versions).to_have_count(2)
    ended(page)
    expect(page.locator(".run").first.locator("h4")).to_have_text("greeting: a major version fail")
    expect(history.locator("label").first).to_contain_text("2.0.0major version · all cases lost · R1 lost")
    many = len(asked)
    go.click()
    ended(page, "failed")
    expect(page.locator(".run").first).to_contain_text("This is 2.0.0 already.")
    assert len(asked) == many

    history.get_by_label("1.0.0").check()
    history.get_by_role("button", name="Compare with it").click()
    expect(panel.get_by_role("radio", name="Compare", exact=True)).to_be_focused()
    expect(panel.get_by_label("The earlier one").locator("option:checked")).to_have_text("1.0.0, released")
    stage(page, "History")
    history.get_by_role("button", name="Go back to it").click()
    expect(versions).to_have_count(3)
    expect(history.locator("label").first).to_contain_text("3.0.0major version · back to 1.0.0, undoing 2.0.0")
    assert editor.input_value() == WARM
    with page.expect_download() as download:
        history.get_by_role("button", name="Export it").click()
    assert download.value.suggested_filename == "greeting.history.jsonl"
    download.value.save_as(tmp_path / "history.jsonl")
    kept = load((tmp_path / "history.jsonl").read_text("utf-8"))
    assert [(one.version, one.text) for one in kept] == [("1.0.0", WARM), ("2.0.0", GREETING), ("3.0.0", WARM)]

    page.reload()
    ready(page)
    shown(page)
    stage(page, "History")
    expect(versions).to_have_count(3)


def test_a_history_from_elsewhere_is_taken_in_where_it_goes_on_from_here(served, tmp_path):
    page, asked = served
    editor = page.get_by_label("Prompt file")
    editor.fill(WARM)
    history = stage(page, "History").get_by_role("group", name="Released: greeting")
    versions = history.get_by_role("radio")

    def gives(*releases: Release) -> None:
        path = tmp_path / "file.history.jsonl"
        path.write_text("".join(map(dump, releases)), "utf-8")
        with page.expect_file_chooser() as chooser:
            history.get_by_role("button", name="Open a file").click()
        chooser.value.set_files(path)

    first = Release("1.0.0", "a", WARM)
    gives(first, Release("1.1.0", "b", GREETING, "minor", note="politer"))
    expect(versions).to_have_count(2)
    expect(history.locator("label").first).to_contain_text("1.1.0minor version · politer")
    assert editor.input_value() == WARM, "the same prompt's: the editor keeps what it has"
    gives(first)
    expect(page.get_by_text("All of it was here already.")).to_be_visible()
    gives(first, Release("2.0.0", "c", GREETING, "major"))
    expect(page.get_by_text("greeting was released in other ways here and in the file.")).to_be_visible()
    expect(versions).to_have_count(2)
    gives()
    expect(page.get_by_text("has no release.")).to_be_visible()
    gives(Release("1.0.0", "a", WARM.replace("name: greeting", "name: farewell")))
    history = page.get_by_role("group", name="Released: farewell")
    expect(history.get_by_role("radio")).to_have_count(1)
    assert "name: farewell" in editor.input_value() and not asked


def test_the_version_that_broke_it_is_found_among_releases(served):
    page, asked = served
    editor = page.get_by_label("Prompt file")
    panel = stage(page, "History")
    history = panel.get_by_role("group", name="Released: greeting")
    for number, text in enumerate((WARM, WARM.replace("small", "large"), GREETING, GREETING.replace("small", "old"))):
        editor.fill(text)
        panel.get_by_role("button", name="Release this prompt").click()
        expect(history.get_by_role("radio")).to_have_count(number + 1)
        ended(page)
    history.get_by_label("1.0.0").check()
    history.get_by_role("button", name="Find the version that broke it").press("Enter")
    expect(panel.get_by_role("radio", name="Debug", exact=True)).to_be_focused()
    expect(panel.get_by_label("Only failures of")).to_be_hidden()
    panel.get_by_label("Only the case").select_option("Bob")
    panel.get_by_role("button", name="Find what is wrong").click()
    expect(page.locator(".run")).to_have_count(5)
    ended(page)
    run = page.locator(".run").first
    expect(run.locator("h4")).to_have_text("2.0.0 is the first that fails fail")
    rows = run.get_by_role("group", name="Versions").locator("tbody tr")
    assert rows.all_inner_texts()[2] == "2.0.0\tfail\tthe first that fails"
    many = len(asked)
    run.get_by_role("button", name="Run again").click()
    ended(page)
    assert len(asked) == many, "nothing was asked again"
    panel.get_by_label("Look in").select_option("")
    expect(panel.get_by_label("Only failures of")).to_be_visible()


def test_what_should_not_matter_is_tested_too(served):
    page, _ = served
    page.get_by_label("Prompt file").fill(WARM)
    panel = stage(page, "Test")
    panel.get_by_label("Try changes that should not matter").check()
    panel.get_by_role("button", name="Test this prompt").click()
    ended(page)
    table = page.locator(".run").first.get_by_role("group", name="Relations")
    verdicts = {row.split("\t")[0]: row.split("\t")[1] for row in table.locator("tbody tr").all_inner_texts()}
    assert verdicts["persona"] == "pass" and set(verdicts) == {"spaces", "case", "persona"}


def test_a_search_that_was_stopped_goes_on_after_a_reload(served):
    page, asked = served
    asked.patience = 5
    stage(page, "Debug").get_by_role("button", name="Find what is wrong").click()
    while len(asked) < asked.patience:
        page.wait_for_timeout(100)
    page.wait_for_timeout(1000)  # the last of them is kept
    page.locator(".run").first.get_by_role("button", name="Stop").click()
    ended(page, "stopped")
    asked.patience = 1_000
    page.reload()
    ready(page)
    shown(page)
    run = page.locator(".run").first
    run.get_by_role("button", name="Go on").click()
    expect(run).to_have_attribute("data-state", "done", timeout=LONG)
    expect(run.locator(".bench-passage mark.bad").first).to_contain_text("Write a letter")
    assert len(asked) == len(set(asked)), "no answer was asked for twice"


def test_where_nothing_fails_there_is_nothing_to_debug_and_it_says_what_to_do(served):
    page, _ = served
    page.get_by_label("Prompt file").fill(WARM)
    stage(page, "Debug").get_by_role("button", name="Find what is wrong").click()
    ended(page, "failed")
    expect(page.locator(".run").first).to_contain_text("there is nothing to find. Name a case that does")


@pytest.mark.skipif(not test_a11y.AXE.exists(), reason="axe-core is not installed (npm ci)")
def test_reports_of_runs_are_sound_and_an_older_one_is_folded(served):
    page, _ = served
    stage(page, "Debug").get_by_role("button", name="Find what is wrong").click()
    ended(page)
    stage(page, "Mutate").get_by_role("button", name="Mutate this prompt").click()
    expect(page.locator(".run")).to_have_count(2)
    ended(page)
    expect(page.locator(".run").first.get_by_role("group", name="Mutants")).to_be_visible()
    older = page.locator(".run").nth(1)
    expect(older.get_by_role("group", name="It fails by")).to_be_hidden()
    older.locator("summary").press("Enter")
    expect(older.get_by_role("group", name="It fails by")).to_be_visible()
    stage(page, "History").get_by_role("button", name="Release this prompt").click()
    expect(page.locator(".bench-history").get_by_role("radio")).to_be_checked()
    sound(page, "reports", "light", 1280)
    sound(page, "reports", "dark", 390)


def test_the_stages_by_keyboard(served):
    page, _ = served
    page.get_by_role("radio", name="Test", exact=True).focus()
    for act in ("Mutate this prompt", "Find what is wrong", "Build this prompt", "Evolve this prompt"):
        page.keyboard.press("ArrowRight")
        expect(page.get_by_role("button", name=act)).to_be_visible()
    page.get_by_label("Rewritings at most").press("Tab")
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Evolve this prompt")).to_be_focused()
    page.keyboard.press("Enter")
    ended(page, "failed")
    expect(page.locator(".run").first).to_contain_text("2 cases are too few to learn from some and test on others.")
