"""The dial, what an answer tells of it, and the view of how elastic the model is."""

from __future__ import annotations

from itertools import combinations, product

import pytest
from playwright.sync_api import expect


def ask(room, question: str = "How does dry wood burn?"):
    room.locator("#question").fill(question)
    room.locator("#question").press("Enter")
    expect(room.locator(".timing summary")).to_be_visible()
    return room.locator(".timing")


def turn(dial, stops: int) -> None:
    dial.focus()
    for _ in range(abs(stops)):
        dial.press("ArrowRight" if stops > 0 else "ArrowLeft")


def test_the_dial_goes_from_no_hurry_to_a_quarter_of_a_second_by_keyboard_and_is_kept(sampled):
    dial = sampled.get_by_role("slider", name="First word")
    expect(dial).to_have_attribute("aria-valuetext", "no hurry")
    turn(dial, 2)
    expect(dial).to_have_attribute("aria-valuetext", "within 1 s")
    expect(sampled.locator(".under .dial-said")).to_have_text("within 1 s")
    turn(dial, 9)
    expect(dial).to_have_attribute("aria-valuetext", "within 0.25 s")
    sampled.reload()
    expect(sampled.get_by_role("slider", name="First word")).to_have_attribute("aria-valuetext", "within 0.25 s")


def test_an_answer_tells_which_part_wrote_it_what_it_read_and_whether_it_was_in_time(sampled):
    timing = ask(sampled)
    expect(timing.locator("summary")).to_contain_text("the whole model")
    expect(timing.locator(".met, .missed")).to_have_count(0)
    timing.locator("summary").click()
    expect(timing).to_contain_text("all 312 prompt tokens kept")
    expect(timing).to_contain_text("21.6 tokens/s")

    turn(sampled.get_by_role("slider", name="First word"), 2)
    timing = ask(sampled, "How does dry wood burn? Tell")
    expect(timing.locator("summary")).to_contain_text("60 % of the model")
    expect(timing.locator(".met")).to_have_text("latency met")
    timing.locator("summary").click()
    expect(timing).to_contain_text("asked for 1.0 s to the first word, 80 ms a token")
    expect(timing).to_contain_text("240 of 312 prompt tokens kept")

    turn(sampled.get_by_role("slider", name="First word"), 1)
    timing = ask(sampled, "How does dry wood burn? More")
    expect(timing.locator(".missed")).to_have_text("latency missed")


@pytest.fixture
def view(sampled):
    sampled.evaluate(
        """() => {
          const real = MessagePort.prototype.postMessage;
          window.sent = [];
          MessagePort.prototype.postMessage = function (message, ...rest) {
            window.sent.push(message);
            return real.call(this, message, ...rest);
          };
        }"""
    )
    sampled.get_by_role("button", name="How elastic is it").click()
    return sampled.get_by_role("dialog", name="How elastic is it")


def test_nothing_is_loaded_or_measured_until_it_is_asked_for(sampled, view):
    expect(view).to_contain_text("not loaded yet")
    assert "Levels" not in sampled.evaluate("sent.map((message) => message.type)")
    view.get_by_role("button", name="Load the model and measure").click()
    expect(view).to_contain_text("Measured in this tab")
    assert sampled.evaluate("sent.find((message) => message.type === 'Levels').measure") is True


def test_the_view_draws_perplexity_and_latency_by_level_and_says_them(view):
    view.get_by_role("button", name="Load the model and measure").click()
    plots = view.get_by_role("img")
    expect(plots).to_have_count(3)
    expect(plots.nth(0)).to_have_attribute("aria-label", "Perplexity (less is better) by share of the model. "
                                           "100 %: 25.1, 80 %: 28.4, 60 %: 36.2, 40 %: 61.7, 20 %: 148")  # fmt: skip
    heights = plots.nth(1).locator("circle").evaluate_all("dots => dots.map((dot) => +dot.getAttribute('cy'))")
    assert len(heights) == 5 and heights == sorted(heights)  # time falls with the model: y grows downwards
    rows = view.get_by_role("row")
    expect(rows).to_have_count(6)
    expect(rows.nth(3)).to_contain_text("36.2")


def test_the_plots_are_as_wide_as_there_is_room(sampled, view):
    view.get_by_role("button", name="Load the model and measure").click()
    widths = "plots => plots.map((plot) => Math.round(plot.getBoundingClientRect().width))"
    plots = view.get_by_role("img")
    expect(plots).to_have_count(3)
    wide, *halves = plots.evaluate_all(widths)
    assert halves[0] == halves[1] < wide / 2
    sampled.set_viewport_size({"width": 360, "height": 740})
    expect(plots.nth(1)).not_to_have_attribute("width", str(halves[0]))
    narrow = plots.evaluate_all(widths)
    assert narrow[0] == narrow[1] == narrow[2] < 340


def test_the_dial_in_the_view_shows_which_part_would_answer_or_what_could_be_kept(sampled, view):
    view.get_by_role("button", name="Load the model and measure").click()
    expect(view.get_by_role("button", name="Measure again")).to_be_enabled()
    plan, chosen = view.locator(".plan"), view.locator("tr[aria-current]")
    expect(plan).to_contain_text("The whole model reads all of 256 tokens")
    expect(chosen).to_contain_text("100 %")
    dial = view.get_by_role("slider", name="First word")
    turn(dial, 3)
    expect(plan).to_contain_text("40 % of the model")
    expect(chosen).to_contain_text("40 %")
    expect(view.locator("circle.chosen")).to_have_count(3)
    turn(dial, 1)
    expect(plan).to_contain_text("No part of the model is as fast as first=250ms here. first=330ms could be kept.")
    expect(chosen).to_have_count(0)
    sampled.keyboard.press("Escape")
    expect(sampled.get_by_role("slider", name="First word")).to_have_attribute("aria-valuetext", "within 0.25 s")


CHOSEN = {2: {"50 %", "739 ms"}, 5: {"100 %", "1200 ms"}, -1: set()}


def test_no_two_labels_of_a_plot_touch(sampled):
    """Half of the sheet has no room for all of six levels; the chosen one is always told."""
    drawn = """async ([width, chosen]) => {
      const { plot } = await import('/app/plot.js');
      const points = Object.entries({ 30: 389, 40: 528, 50: 739, 65: 780, 80: 957, 100: 1200 })
        .map(([percent, value]) => ({ ratio: percent / 100, value }));
      const drawing = plot('First word', points, { chosen, width, write: (value) => `${value} ms` });
      document.body.append(drawing);
      const labels = [...drawing.querySelectorAll('text')].map((text) => {
        const { left, right, top, bottom } = text.getBoundingClientRect();
        return [text.textContent, left, right, top, bottom];
      });
      drawing.remove();
      return labels;
    }"""
    for width, chosen in product((200, 420, 560), (2, 5, -1)):
        labels = sampled.evaluate(drawn, [width, chosen])
        assert CHOSEN[chosen] <= {text for text, *_ in labels}
        assert len(labels) == 13 or width < 560
        for (text, left, right, top, bottom), (other, begins, ends, above, below) in combinations(labels, 2):
            apart = right < begins or ends < left or bottom - 2 < above or below < top + 2
            assert apart, (width, chosen, text, other)
