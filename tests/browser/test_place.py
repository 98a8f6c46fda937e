"""Tab or server: the planner chooses, with leave; what leaves the tab is what was said; when the server is gone the tab
answers."""

from __future__ import annotations

import json
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.test_dial import turn

LEVEL = {"ratio": 1, "perplexity": 25, "quality": 1, "cost": [1, 0.1, 0, 2, 0], "first_ms": 30, "token_ms": 2}
SLOW = "How does dry wood burn?"


class Server:
    """The other end of the page's WebSocket. Asked to write, it falls silent if it is `mute`, or may `leave`."""

    def __init__(self, profile: Any) -> None:
        self.heard: list[dict[str, Any]] = []
        self.mute = self.leave = False
        profile.route_web_socket("**/ws", lambda socket: socket.on_message(lambda text: self.answer(socket, text)))

    def asked(self, kind: str) -> list[dict[str, Any]]:
        return [message for message in self.heard if message["type"] == kind]

    def answer(self, socket: Any, text: str) -> None:
        message = json.loads(text)
        self.heard.append(message)
        say = lambda **event: socket.send(json.dumps({"id": message["id"], **event}))
        if message["type"] == "Levels":
            measured = bool(message["measure"]) or len(self.asked("Levels")) > 2
            say(type="Ladder", levels=[LEVEL], measured=measured, model="big", where="server")
        if message["type"] == "Write":
            say(type="Token", text="The server ")
            if self.leave:
                socket.close()
                return
            if self.mute:
                return
            say(type="Token", text="says so.")
            timing = {"search_ms": 4, "load_ms": 0, "prefill_ms": 20, "decode_ms": 9, "first_ms": 90, "token_ms": 3}
            told = {"prompt_tokens": 90, "whole_tokens": 90, "tokens": 5, "slo": message["slo"], "met": True}
            ends = {"level": 0, "ratio": 1, "model": "big", "where": "server", "stop": "end"}
            say(type="Timing", away_ms=message["away_ms"], **timing, **told, **ends)
        say(type="Done")


@pytest.fixture
def server(profile):
    """Before the page is there, so that the page's own guard stands before it."""
    return Server(profile)


def ask(room: Any, question: str) -> Any:
    room.locator("#question").fill(question)
    room.locator("#question").press("Enter")
    expect(room.locator(".timing summary")).to_be_visible()
    return room.locator(".answer")


def agree(room: Any, to: str) -> None:
    """By keyboard alone."""
    room.get_by_role("button", name="Where answers are made").press("Enter")
    sheet = room.get_by_role("dialog", name="Where answers are made")
    use = sheet.get_by_role("button", name="Use the server")
    expect(use).to_have_count(0)
    room.keyboard.press("Tab")
    choice = sheet.get_by_role("radio", name=to)
    for _ in range(3):  # as many as there are
        if not choice.is_checked():
            room.keyboard.press("ArrowDown")
    expect(choice).to_be_checked()
    expect(use).to_be_disabled()
    room.keyboard.press("Tab")
    room.keyboard.press("Space")
    room.keyboard.press("Tab")
    room.keyboard.press("Enter")
    expect(sheet).to_be_hidden()


def test_with_leave_the_server_writes_what_the_tab_is_too_slow_for(server, sampled):
    dial = sampled.get_by_role("slider", name="First word")
    turn(dial, 3)
    expect(ask(sampled, SLOW)).to_contain_text("answered in this tab")
    assert not server.heard  # nobody has agreed
    agree(sampled, "This tab, and the server")
    expect(sampled.get_by_text("reads 256 tokens in 30 ms")).to_be_visible()
    expect(sampled.get_by_role("button", name="Where answers are made: here or on the server")).to_be_visible()
    assert [message["type"] for message in server.heard] == [
        "Attach", "Open", "Look", "Look", "Look", "Levels", "Levels",
    ]  # fmt: skip

    answer = ask(sampled, f"{SLOW} Tell")
    expect(answer).to_contain_text("The server says so.")
    expect(answer.locator(".where")).to_have_text("answered by the server: the tab would have needed 2.1 s")
    expect(answer.locator(".met")).to_have_text("latency met")
    answer.locator("summary").click()
    expect(answer.locator("dt", has_text="network")).to_have_count(1)
    [write] = server.asked("Write")
    assert write["question"] == f"{SLOW} Tell" and 0 < len(write["hits"]) <= 2 and write["slo"]["first"] == 500
    assert not {message["type"] for message in server.heard} - {"Attach", "Open", "Look", "Levels", "Write"}

    sampled.get_by_role("button", name="Privacy ledger").click()
    ledger = sampled.get_by_role("dialog", name="Privacy")
    expect(ledger.locator("tr.sent")).to_have_count(len(server.heard))
    expect(ledger).to_contain_text("A question goes to the server, with the passages found for it")
    sampled.keyboard.press("Escape")

    sampled.get_by_role("button", name="How elastic is it").click()
    view = sampled.get_by_role("dialog", name="How elastic is it")
    view.get_by_role("button", name="Load the model and measure").click()
    expect(view.locator(".plan")).to_contain_text("The whole model on the server reads all of 256 tokens")
    expect(view.locator(".plan")).to_contain_text("; the tab would have needed 2.1 s.")
    sampled.keyboard.press("Escape")

    turn(dial, -3)  # in no hurry, so nothing has to leave
    expect(ask(sampled, f"{SLOW} More").locator(".where")).to_have_text("answered in this tab")
    assert len(server.asked("Write")) == 1


@pytest.mark.parametrize("how", ["leave", "mute"])
def test_when_the_server_is_gone_the_tab_answers_from_the_beginning(server, sampled, how):
    turn(sampled.get_by_role("slider", name="First word"), 3)
    agree(sampled, "This tab, and the server")
    setattr(server, how, True)
    answer = ask(sampled, SLOW)
    expect(answer.locator(".where")).to_have_text("answered in this tab: the server is gone")
    expect(answer.locator(".log")).to_contain_text("According to the documents")
    expect(answer.locator(".log")).not_to_contain_text("The server")
    expect(answer.locator(".missed")).to_have_text("latency missed")
    setattr(server, how, False)
    ask(sampled, f"{SLOW} Tell")  # it is looked for in the meantime, and waited for by nobody
    expect(ask(sampled, f"{SLOW} More")).to_contain_text("The server says so.")


def test_leave_ends_with_the_network_and_with_a_word(server, sampled):
    turn(sampled.get_by_role("slider", name="First word"), 3)
    agree(sampled, "This tab, and the server")
    sampled.get_by_role("button", name="Where answers are made").click()
    sampled.get_by_role("radio", name="This tab alone").check()
    sampled.get_by_role("button", name="Answer in this tab").click()
    expect(sampled.get_by_role("button", name="Where answers are made", exact=True)).to_be_visible()
    expect(ask(sampled, SLOW).locator(".where")).to_have_text("answered in this tab")
    agree(sampled, "This tab, and the server")
    sampled.get_by_role("button", name="Privacy ledger").click()
    sampled.get_by_role("switch", name="Network off").check()
    sampled.keyboard.press("Escape")
    expect(ask(sampled, f"{SLOW} Tell").locator(".where")).to_have_text("answered in this tab")
    assert not server.asked("Write")
