"""Pictures of every screen on the real engine and the sample library, light and dark, narrow and wide.

They are written to test-results/pictures; the test sees to it that none is blank and nothing is wider than the screen.
With INGLENOOK_PICTURES=1 the four of the README are renewed in static/screens.
"""

from __future__ import annotations

import base64
import os
import struct
import zlib

import pytest
from playwright.sync_api import expect

from tests.browser.fakes.site import ROOT
from tests.browser.test_real import SLOW, answered, ready, settled

SIZES = {"wide": (1440, 900), "narrow": (390, 844)}
README = {
    "home-light-wide": "page-light",
    "answer-dark-wide": "answer-dark",
    "source-pdf-light-wide": "source-pdf",
    "answer-light-narrow": "narrow",
}
LARGEST = 150_000  # bytes of a picture of the README
QUESTION = "What did Lewis and Clark explore?"


def colours(png: bytes) -> int:
    """How many different bytes the picture's unpacked scan lines hold: a blank page has two or three."""
    data, at = b"", 8
    while at < len(png):
        (length,) = struct.unpack_from(">I", png, at)
        if png[at + 4 : at + 8] == b"IDAT":
            data += png[at + 8 : at + 8 + length]
        at += 12 + length
    return len(set(zlib.decompress(data)))


PALETTE = """async (png) => {
  const bytes = Uint8Array.from(atob(png), (c) => c.charCodeAt(0));
  const image = await createImageBitmap(new Blob([bytes]));
  const { width, height } = image;
  const context = new OffscreenCanvas(width, height).getContext('2d');
  context.drawImage(image, 0, 0);
  const pixels = new Uint32Array(context.getImageData(0, 0, width, height).data.buffer);
  for (const bits of [6, 5, 4, 3]) {
    const step = 256 >> bits;
    const mask = 0xffffff & ((0x100 - step) * 0x010101);
    const palette = new Map();
    const sums = [];
    const rows = new Uint8Array((width + 1) * height);
    for (let i = 0; i < pixels.length && palette.size <= 256; i++) {
      const key = pixels[i] & mask;
      let at = palette.get(key);
      if (at === undefined) {
        palette.set(key, (at = palette.size));
        sums.push([0, 0, 0, 0]);
      }
      const sum = sums[at];
      for (let c = 0; c < 3; c++) sum[c] += (pixels[i] >> (8 * c)) & 255;
      sum[3]++;
      rows[i + 1 + Math.floor(i / width)] = at;
    }
    if (palette.size > 256) continue;
    const packed = await new Response(new Blob([rows]).stream().pipeThrough(new CompressionStream('deflate'))).bytes();
    const data = packed.reduce((text, byte) => text + String.fromCharCode(byte), '');
    return [width, height, sums.flatMap(([r, g, b, n]) => [r / n, g / n, b / n].map(Math.round)), btoa(data)];
  }
}"""


def few_colours(page, png: bytes) -> bytes:
    """The picture with a palette of at most 256 colours: a third of the bytes, and nobody sees it."""
    width, height, palette, data = page.evaluate(PALETTE, base64.b64encode(png).decode())
    chunks = {
        b"IHDR": struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0),
        b"PLTE": bytes(palette),
        b"IDAT": base64.b64decode(data),
        b"IEND": b"",
    }
    parts = [struct.pack(">I", len(b)) + k + b + struct.pack(">I", zlib.crc32(k + b)) for k, b in chunks.items()]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.fixture
def shoot():
    folder = ROOT / "test-results" / "pictures"
    folder.mkdir(parents=True, exist_ok=True)

    def shoot(room, state, schemes=("light", "dark"), sizes=("wide", "narrow")):
        for size in sizes:
            room.set_viewport_size(dict(zip(("width", "height"), SIZES[size], strict=True)))
            over = room.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert over == 0, f"{state} is {over} px too wide ({size})"
            for scheme in schemes:
                room.emulate_media(color_scheme=scheme, reduced_motion="reduce")
                name = f"{state}-{scheme}-{size}"
                png = room.screenshot(path=folder / f"{name}.png")
                assert struct.unpack_from(">II", png, 16) == SIZES[size]
                assert colours(png) > 40, f"{name} is blank"
                if name in README:
                    png = few_colours(room, png)
                    assert len(png) < LARGEST, f"{name} has {len(png)} bytes"
                    if os.environ.get("INGLENOOK_PICTURES"):
                        (ROOT / "static" / "screens").mkdir(exist_ok=True)
                        (ROOT / "static" / "screens" / f"{README[name]}.png").write_bytes(png)
        room.set_viewport_size({"width": 1440, "height": 900})

    return shoot


def test_pictures(profile, built, shoot):
    room = profile.new_page()
    room.goto(built.url)
    ready(room)
    shoot(room, "welcome")
    room.get_by_role("button", name="Open the sample library").click()
    expect(room.get_by_role("heading", name="What would you like to know?")).to_be_visible(timeout=SLOW)
    settled(room)
    expect(room.locator(".job")).to_have_count(0)
    shoot(room, "home")
    room.get_by_role("button", name="Filters", exact=True).click()
    room.locator("#question").fill("four essential human freedoms")
    expect(room.locator(".hit").nth(3)).to_be_visible()
    room.get_by_role("button", name="Scores").click()
    shoot(room, "results")
    room.get_by_role("button", name="Scores").click()
    room.get_by_role("button", name="Filters", exact=True).click()
    room.locator(".hit-title", has_text="1941").first.click()
    expect(room.locator(".viewer canvas")).to_be_visible()
    shoot(room, "source-pdf")
    room.get_by_role("button", name="Passages", exact=True).click()
    expect(room.get_by_role("dialog")).to_be_visible()
    shoot(room, "inspector")
    room.keyboard.press("Escape")
    room.keyboard.press("Escape")
    room.locator("#question").fill(QUESTION)
    room.locator("#question").press("Enter")
    expect(room.locator(".answer-status progress")).to_be_visible(timeout=SLOW)
    shoot(room, "loading", schemes=["light"])
    answered(room)
    shoot(room, "answer")
    room.locator(".timing summary").click()
    room.locator(".lead .cite-link").first.click()
    expect(room.locator(".viewer mark")).to_be_visible()
    shoot(room, "source-text")
    room.keyboard.press("Escape")
    room.locator("#question").fill("How do I bake sourdough bread with rye flour?")
    room.locator("#question").press("Enter")
    expect(room.locator(".lead")).to_contain_text("No source found", timeout=SLOW)
    answered(room)
    shoot(room, "no-source")
    room.locator("#question").fill("")
    room.get_by_role("button", name="Map of the library").click()
    expect(room.locator(".map .facts")).to_contain_text("passages in", timeout=SLOW)
    room.locator("#question").fill("four essential human freedoms")
    expect(room.locator(".hit").nth(3)).to_be_visible()
    shoot(room, "map-found")
    room.locator("#question").fill("")
    shoot(room, "map")
    room.locator(".map-topic").nth(2).click()
    shoot(room, "map-topic")
    room.keyboard.press("Escape")
    names = {
        "History": "history", "Storage and export": "storage", "Where answers are made": "server",
        "Privacy ledger": "ledger", "Help and keys": "help",
    }  # fmt: skip
    for name, state in names.items():
        room.get_by_role("button", name=name).click()
        expect(room.get_by_role("dialog")).to_be_visible()
        if state == "storage":
            expect(room.get_by_role("dialog")).to_contain_text("40 documents")
        shoot(room, state)
        room.keyboard.press("Escape")
    room.get_by_role("button", name="How elastic is it").click()
    room.get_by_role("button", name="Measure this device").click()
    expect(room.get_by_role("button", name="Measure again")).to_be_enabled(timeout=SLOW)
    shoot(room, "elastic")
    room.keyboard.press("Escape")
    room.get_by_role("button", name="Where answers are made").click()
    room.get_by_role("radio", name="This tab, and the server").check()
    shoot(room, "server-consent")
    room.keyboard.press("Escape")
    room.set_viewport_size({"width": 390, "height": 844})
    room.get_by_role("button", name="Documents", exact=True).click()
    expect(room.locator(".card").first).to_be_visible()
    shoot(room, "shelf", sizes=["narrow"])
    room.set_viewport_size({"width": 390, "height": 844})
    room.get_by_role("button", name="Close the documents").click()
    room.set_viewport_size({"width": 1440, "height": 900})
    room.evaluate(
        """() => {
          const dataTransfer = new DataTransfer();
          const name = 'a-very-long-name-'.repeat(9) + '.pdf';
          for (const [path, text] of [['empty.txt', ''], [name, 'x'], ['fine.md', 'Fine.']]) {
            dataTransfer.items.add(new File([text], path));
          }
          window.carried = dataTransfer;
          document.body.dispatchEvent(new DragEvent('dragenter', { dataTransfer, bubbles: true }));
        }"""
    )
    expect(room.locator("#dropzone")).to_be_visible()
    shoot(room, "drop")
    room.evaluate(
        """() => {
          const event = { dataTransfer: window.carried, bubbles: true, cancelable: true };
          document.body.dispatchEvent(new DragEvent('drop', event));
          const broken = new DataTransfer();
          broken.items.add(new File(['no'], 'broken.nook'));
          document.body.dispatchEvent(new DragEvent('drop', { ...event, dataTransfer: broken }));
        }"""
    )
    expect(room.locator(".toast.failed")).to_be_visible(timeout=SLOW)
    expect(room.locator(".job-notes")).to_be_visible(timeout=SLOW)
    shoot(room, "errors")
