"""Big downloads: checked, kept in parts, resumed where they were cut, never taken when they are wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PATH = "static/pyodide/snapshot.bin.gz"  # two parts
FETCH = """
async (path) => {
  const { fetchAsset } = await import('/lib/assets.js');
  const steps = [];
  try {
    const bytes = await fetchAsset(path, { onProgress: (done, total) => steps.push([done, total]) });
    const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
    const sha256 = [...digest].map((byte) => byte.toString(16).padStart(2, '0')).join('');
    return { size: bytes.length, sha256, steps };
  } catch (error) {
    return { code: error.code, message: error.message, hint: error.hint, steps };
  }
}
"""


@pytest.fixture
def asset(needs: Callable[..., Path], root: Path) -> dict[str, Any]:
    needs(PATH, "static/assets.json")
    [found] = [file for file in json.loads((root / "static/assets.json").read_text())["files"] if file["path"] == PATH]
    assert len(found["parts"]) >= 2
    return found  # type: ignore[no-any-return]


@pytest.fixture
def ranges(page: Any, site: str) -> list[str]:
    """The ranges of the asset that were asked for. The page is an empty one of the site."""
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.headers.get("range", "")) if PATH in request.url else None)
    page.goto(f"{site}static/manifest.webmanifest")
    return asked


def test_what_arrives_is_what_was_built_and_is_kept(page: Any, asset: dict[str, Any], ranges: list[str]) -> None:
    first = page.evaluate(FETCH, PATH)
    assert (first["size"], first["sha256"]) == (asset["size"], asset["sha256"])
    assert first["steps"][0] == [0, asset["size"]] and first["steps"][-1] == [asset["size"]] * 2
    assert len(ranges) == len(asset["parts"])
    again = page.evaluate(FETCH, PATH)
    assert again["sha256"] == asset["sha256"]
    assert len(ranges) == len(asset["parts"]), "the second time nothing is fetched"


def test_a_download_that_was_cut_goes_on_where_it_stopped(
    page: Any, asset: dict[str, Any], ranges: list[str], console: Any
) -> None:
    console.allow("Failed to load resource|ERR_")
    second = f"bytes={asset['part']}-"

    def cut(route: Any) -> None:
        if route.request.headers.get("range", "").startswith(second):
            route.abort("connectionreset")
        else:
            route.continue_()

    page.route(f"**/{PATH}", cut)
    failed = page.evaluate(FETCH, PATH)
    assert failed["code"] == "network" and "try again" in failed["hint"].lower()
    page.unroute(f"**/{PATH}")
    ranges.clear()
    done = page.evaluate(FETCH, PATH)
    assert done["sha256"] == asset["sha256"]
    assert len(ranges) == len(asset["parts"]) - 1 and not any(r.startswith("bytes=0-") for r in ranges)


def test_a_part_that_was_changed_on_the_way_is_refused(page: Any, asset: dict[str, Any], ranges: list[str]) -> None:
    def spoil(route: Any) -> None:
        answer = route.fetch()
        body = bytearray(answer.body())
        body[len(body) // 2] ^= 1
        route.fulfill(response=answer, body=bytes(body))

    page.route(f"**/{PATH}", spoil)
    refused = page.evaluate(FETCH, PATH)
    assert refused["code"] == "corrupt" and refused["hint"]
    page.unroute(f"**/{PATH}")
    assert page.evaluate(FETCH, PATH)["sha256"] == asset["sha256"], "nothing wrong was kept"


def test_a_server_without_ranges_serves_too(page: Any, asset: dict[str, Any], ranges: list[str], root: Path) -> None:
    whole = (root / PATH).read_bytes()
    page.route(f"**/{PATH}", lambda route: route.fulfill(status=200, body=whole))
    assert page.evaluate(FETCH, PATH)["sha256"] == asset["sha256"]
    assert len(ranges) == 1, "all parts come with the first answer"
    second = f"/{PATH}?sha256={asset['parts'][1]}"
    assert page.evaluate("async (url) => (await caches.open('inglenook-assets')).delete(url)", second)
    assert page.evaluate(FETCH, PATH)["sha256"] == asset["sha256"]
    assert len(ranges) == 2, "what is kept is passed over"


def test_stop_ends_a_download(page: Any, asset: dict[str, Any], ranges: list[str]) -> None:
    stopped = page.evaluate(
        """async (path) => {
          const { fetchAsset } = await import('/lib/assets.js');
          const stop = new AbortController();
          try {
            await fetchAsset(path, { signal: stop.signal, onProgress: (done) => done > 0 && stop.abort() });
            return 'finished';
          } catch (error) { return error.name; }
        }""",
        PATH,
    )
    assert stopped == "AbortError" and len(ranges) < len(asset["parts"])


def test_a_file_that_is_not_of_this_release_is_named(page: Any, asset: dict[str, Any], ranges: list[str]) -> None:
    missing = page.evaluate(FETCH, "static/models/none.nkm")
    assert missing["code"] == "missing" and "none.nkm" in missing["message"]
