"""Pictures of the page, light and dark, narrow and wide: for the README, and for whoever changes the design.

They are written to test-results/pictures; the test itself only sees to it that none is blank.
"""

from __future__ import annotations

import struct
import zlib

import pytest
from playwright.sync_api import expect

from tests.browser.fakes.site import ROOT

SIZES = {"wide": (1440, 900), "narrow": (390, 844)}


def colours(png: bytes) -> int:
    """How many different bytes the picture's unpacked scan lines hold: a blank page has two or three."""
    data, at = b"", 8
    while at < len(png):
        (length,) = struct.unpack_from(">I", png, at)
        if png[at + 4 : at + 8] == b"IDAT":
            data += png[at + 8 : at + 8 + length]
        at += 12 + length
    return len(set(zlib.decompress(data)))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", SIZES)
def test_pictures(room, scheme, width):
    folder = ROOT / "test-results" / "pictures"
    folder.mkdir(parents=True, exist_ok=True)
    room.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    size = dict(zip(("width", "height"), SIZES[width], strict=True))
    room.set_viewport_size(size)

    def shoot(state):
        png = room.screenshot(path=folder / f"{state}-{scheme}-{width}.png")
        assert struct.unpack_from(">II", png, 16) == SIZES[width]
        assert colours(png) > 40, f"{state} is blank"

    shoot("welcome")
    room.get_by_role("button", name="Open the sample library").click()
    expect(room.get_by_role("heading", name="What would you like to know?")).to_be_visible()
    room.locator(".job").get_by_role("button", name="Dismiss").click()
    shoot("home")
    room.locator("#question").fill("What did we decide on nine euros?")
    room.locator("#question").press("Enter")
    expect(room.locator(".timing")).to_be_visible()
    shoot("answer")
    room.locator(".log .ref").click()
    expect(room.locator(".viewer mark")).to_be_visible()
    shoot("source")
    room.get_by_role("button", name="Passages", exact=True).click()
    expect(room.get_by_role("dialog")).to_be_visible()
    shoot("inspector")
    room.keyboard.press("Escape")
    room.keyboard.press("Escape")
    room.get_by_role("button", name="Privacy ledger").click()
    expect(room.get_by_role("dialog")).to_be_visible()
    shoot("ledger")
