"""The operator's page: live figures in light and dark, narrow and wide; a key where the server asks for one."""

from __future__ import annotations

import pytest
from inglenook.serve.access import Rules
from inglenook.wire import frames
from inglenook.wire import messages as wire
from playwright.sync_api import expect
from system.test_serve import events, served
from system.test_watch import Answering
from websockets.sync.client import connect

from tests.browser.test_a11y import AXE, check

pytestmark = pytest.mark.skipif(not AXE.exists(), reason="axe-core is not installed (npm ci)")
TIMING = wire.Timing(first_ms=300, token_ms=20, tokens=2, slo=wire.Slo(500), met=True)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_figures_are_live(page, scheme, width):
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 800})
    with served(Answering(wire.Token("a"), TIMING)) as host:
        page.goto(f"http://{host}/operator")
        figure = lambda name: page.locator("#figures div", has_text=name).locator("dd")
        expect(figure("Connections")).to_have_text("0")
        expect(page.get_by_role("cell", name="3 of 4")).to_be_visible()
        with connect(f"ws://{host}/ws") as client:
            client.send(frames.encode(wire.Chat([]), "1"))
            events(client, "1")
            expect(figure("Connections")).to_have_text("1")
        expect(figure("Latency kept")).to_have_text("100 % of 1")
        expect(figure("First token")).to_have_text("300, 300 ms")
        expect(page.get_by_role("row", name="Chat done 1")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        check(page, f"{scheme}, {width}")
        page.close()  # it asks every second, and the server ends first


def test_the_key_is_asked_for_and_kept_nowhere(page, console):
    console.allow("401")
    with served(Answering(), Rules(key="secret")) as host:
        page.goto(f"http://{host}/operator/")
        expect(page.get_by_role("status")).to_have_text("The server asks for its key.")
        check(page, "door")
        page.get_by_label("Key").fill("wrong")
        page.keyboard.press("Enter")
        expect(page.get_by_role("status")).to_have_text("This key is wrong.")
        page.get_by_label("Key").fill("secret")
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="Workers")).to_be_visible()
        assert page.evaluate("localStorage.length + sessionStorage.length") == 0
