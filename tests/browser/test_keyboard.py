"""Everything without a mouse."""

from __future__ import annotations

import re

from playwright.sync_api import expect


def test_slash_and_ctrl_k_go_to_the_question(sampled):
    question = sampled.locator("#question")
    for key in ("/", "Control+k"):
        sampled.get_by_role("button", name="History").focus()
        sampled.keyboard.press(key)
        expect(question).to_be_focused()
        expect(question).to_have_value("")


def test_from_question_to_passage_to_source_and_back(sampled):
    sampled.keyboard.press("/")
    sampled.keyboard.type("nine euros fire")
    expect(sampled.locator(".hit").nth(2)).to_be_visible()
    titles = sampled.locator(".hit-title")
    sampled.keyboard.press("ArrowDown")
    expect(titles.nth(0)).to_be_focused()
    sampled.keyboard.press("ArrowDown")
    expect(titles.nth(1)).to_be_focused()
    sampled.keyboard.press("Enter")
    expect(sampled.locator(".viewer h2")).to_be_focused()
    sampled.keyboard.press("Escape")
    expect(sampled.locator(".viewer")).to_be_hidden()
    expect(titles.nth(1)).to_be_focused()
    sampled.keyboard.press("ArrowUp")
    sampled.keyboard.press("ArrowUp")
    expect(sampled.locator("#question")).to_be_focused()


def test_enter_asks_shift_enter_does_not(sampled):
    question = sampled.locator("#question")
    question.press_sequentially("nine")
    question.press("Shift+Enter")
    question.press_sequentially("euros")
    expect(question).to_have_value("nine\neuros")
    expect(sampled.locator(".answer")).to_have_count(0)
    question.press("Enter")
    expect(sampled.locator(".timing")).to_be_visible()


def test_escape_stops_then_clears(sampled):
    question = sampled.locator("#question")
    question.fill("Tell slowly about the fire")
    question.press("Enter")
    expect(sampled.locator(".tail")).to_contain_text("word3")
    question.press("Escape")
    expect(sampled.locator(".answer-status")).to_have_text("Stopped.")
    question.press("Escape")
    expect(question).to_have_value("")
    expect(sampled.locator(".answer")).to_have_count(0)


def test_question_mark_helps_and_escape_returns(sampled):
    history = sampled.get_by_role("button", name="History")
    history.focus()
    sampled.keyboard.press("?")
    expect(sampled.get_by_role("dialog", name="Help")).to_be_visible()
    sampled.keyboard.press("Escape")
    expect(sampled.get_by_role("dialog")).to_have_count(0)
    expect(history).to_be_focused()


def test_slash_in_a_field_is_a_slash(sampled):
    sampled.get_by_role("button", name="Filters").click()
    names = sampled.get_by_label("File names")
    names.press_sequentially("work/*?")
    expect(names).to_have_value("work/*?")
    expect(sampled.get_by_role("dialog")).to_have_count(0)


def test_tab_reaches_everything_and_the_skip_link_works(sampled):
    sampled.evaluate("document.body.tabIndex = -1, document.body.focus(), document.body.removeAttribute('tabindex')")
    sampled.keyboard.press("Tab")
    expect(sampled.get_by_role("link", name="Skip to the question")).to_be_focused()
    seen = []
    for _ in range(45):
        sampled.keyboard.press("Tab")
        seen.append(
            sampled.evaluate("(({ ariaLabel, innerText, id }) => ariaLabel || innerText || id)(document.activeElement)")
        )
    text = " | ".join(str(name) for name in seen)
    for name in ("All", "New collection", "Pricing decision", "Remove Pricing decision", "Add files", "Privacy ledger"):
        assert name in text, f"{name} cannot be reached: {text}"
    assert re.search(r"question", text)


def test_narrow_drawer_opens_and_closes(sampled):
    sampled.set_viewport_size({"width": 390, "height": 800})
    opener = sampled.get_by_role("button", name="Documents", exact=True)
    expect(sampled.locator(".card").first).not_to_be_visible()
    opener.press("Enter")
    expect(sampled.locator(".card").first).to_be_visible()
    sampled.keyboard.press("Escape")
    expect(sampled.locator(".card").first).not_to_be_visible()
    expect(opener).to_be_focused()
