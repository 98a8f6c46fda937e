"""The language model in the tab: builds that compute wrongly are passed over, and a page may bring its own model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inglenook.elastic import selfcheck
from playwright.sync_api import Browser, Page
from system.test_onnx_model import expected, minimind, tiny  # noqa: F401 - minimind is a fixture

from buildlib import server
from buildlib.project import ROOT
from tests.conftest import Console

Needs = Callable[..., Path]
NEEDED = ("static/models/smollm2-135m-instruct.nkm", "static/models/smollm2-135m-instruct.check.json",
          "static/kernels/models.relaxed.wasm", "static/py/inglenook.tar.gz", "static/assets.json")  # fmt: skip
BLANK = {"blank.html": server.Page(b'<!doctype html><title>blank</title><link rel="icon" href="data:,">')}
# Instructions of the same shape that compute something else: relaxed dot products, and those of the plain build.
WRONG = {"relaxed": (b"\xfd\x92\x02", b"\xfd\x95\x01"), "simd": (b"\xfd\xba\x01", b"\xfd\xb5\x01")}
CHAT = """async ([model, question]) => {
  const { open } = await import('./inglenook.js');
  const nook = await open('test', { model });
  const fails = (error) => ({ code: error.code, hint: error.hint });
  try {
    await nook.prepare('lm');
    const ask = { messages: [{ role: 'user', content: question }], max_tokens: 12 };
    const said = async () => (await nook.chat.completions.create(ask)).choices[0].message.content;
    return question ? [await said(), await said()] : [];
  } catch (error) {
    return fails(error);
  } finally {
    nook.dispose();
  }
}"""


def broken(*builds: str) -> dict[str, server.Page]:
    """The site's files with builds in them that compute wrongly."""
    manifest = json.loads((ROOT / "static/assets.json").read_text("utf-8"))
    pages = dict(BLANK)
    for entry in manifest["files"]:
        kind = next((kind for kind in builds if entry["path"].startswith(f"static/kernels/models.{kind}")), None)
        if kind:
            right, wrong = WRONG[kind]
            code = (ROOT / entry["path"]).read_bytes()
            assert right in code
            code = code.replace(right, wrong)
            entry["sha256"] = hashlib.sha256(code).hexdigest()
            pages[entry["path"]] = server.Page(code, "application/wasm")
    pages["static/assets.json"] = server.Page(json.dumps(manifest).encode(), "application/json")
    return pages


def asked(page: Page, pages: dict[str, server.Page], model: str = "", question: str = "Say a word.") -> Any:
    """What the page's model answers, twice, once it is loaded; or its error. And the names of what was fetched."""
    fetched: list[str] = []
    page.on("request", lambda request: fetched.append(request.url.rpartition("/")[2]))
    page.set_default_timeout(120_000)
    with server.serve(ROOT, isolated=False, pages=pages) as url:
        page.goto(url + "blank.html")
        found = page.evaluate(CHAT, [model and url + model, question])
    return found, fetched


@pytest.fixture(scope="module")
def right(needs: Needs, browser: Browser) -> str:
    """What the model writes."""
    needs(*NEEDED)
    context = browser.new_context()
    [text, again], _ = asked(context.new_page(), dict(BLANK))
    context.close()
    assert text == again and len(text) > 5
    return str(text)


def test_a_browser_whose_relaxed_products_are_wrong_gets_the_plain_build(
    page: Page, console: Console, right: str
) -> None:
    found, _ = asked(page, broken("relaxed"))
    assert found == [right, right]
    assert any("Another build is taken" in line for line in console.lines)


def test_where_all_builds_are_wrong_the_model_is_refused(page: Page, console: Console, right: str) -> None:
    found, _ = asked(page, broken("relaxed", "simd"))
    assert found["code"] == "backend" and found["hint"]


@contextmanager
def laid(files: dict[str, bytes]) -> Iterator[dict[str, server.Page]]:
    yield {**BLANK, **{f"own/{name}": server.Page(data, "application/octet-stream") for name, data in files.items()}}


def test_a_page_writes_with_a_model_of_its_own(
    needs: Needs,
    page: Page,
    minimind: dict[str, Path],  # noqa: F811
) -> None:
    """MiniMind2-Small through onnxruntime-web, beside the release's own kernels, which are not fetched for it."""
    needs("static/py/inglenook.tar.gz", "static/ort/ort.wasm.min.mjs")
    files = {("onnx/" if path.suffix == ".onnx" else "") + name: path.read_bytes() for name, path in minimind.items()}
    with laid(files) as pages:
        found, fetched = asked(page, pages, "own/onnx/model_quantized.onnx", "请介绍一下你自己。")
    assert len(found) == 2 and all(len(text.strip()) > 5 and "\ufffd" not in text for text in found)
    assert not any(name.startswith("smollm2") for name in fetched)


@pytest.mark.parametrize("right", [True, False], ids=["right", "wrong"])
def test_a_model_of_its_own_is_checked_too(needs: Needs, page: Page, minimind: dict[str, Path], right: bool) -> None:  # noqa: F811
    """A tiny decoder with the reference in its config.json."""
    needs("static/py/inglenook.tar.gz", "static/ort/ort.wasm.min.mjs")
    row = expected(selfcheck.prompt(50, 80))[-1]
    reference = json.loads(selfcheck.make([row if right else np.roll(row, 1)], 80))
    files = {name: path.read_bytes() for name, path in minimind.items() if path.suffix == ".json"}
    files["config.json"] = json.dumps({"eos_token_id": 2, "selfcheck": reference}).encode()
    with laid({**files, "model.onnx": tiny()}) as pages:
        found, _ = asked(page, pages, "own/model.onnx", "")
    assert found == [] if right else found["code"] == "backend"


STOPPED = """async ([model]) => {
  const { open } = await import('./inglenook.js');
  const nook = await open('test', { model });
  const load = async (enough) => {
    const stop = new AbortController();
    const seen = [];
    const onProgress = ({ stage, done, total, unit, note }) => {
      if (stage !== 'load') return;
      seen.push([done, total, unit, note]);
      if (done >= enough) stop.abort();
    };
    const end = await nook.prepare('lm', { onProgress, signal: stop.signal }).then(() => 'loaded', ({ name }) => name);
    return [end, seen.at(-1)];
  };
  window.again = () => load(Infinity).finally(() => nook.dispose());
  return load(1);
}"""


def test_the_download_of_its_own_model_is_told_and_can_be_stopped(
    needs: Needs,
    page: Page,
    minimind: dict[str, Path],  # noqa: F811
) -> None:
    needs("static/py/inglenook.tar.gz", "static/ort/ort.wasm.min.mjs")
    files = {name: path.read_bytes() for name, path in minimind.items() if path.suffix == ".json"}
    files["config.json"] = json.dumps({"eos_token_id": 2}).encode()
    large = 96 << 20
    page.set_default_timeout(120_000)
    with (
        laid({**files, "model.onnx": bytes(large)}) as pages,
        server.serve(ROOT, isolated=False, pages=pages) as url,
        page.expect_event("requestfailed", lambda request: request.url.endswith("own/model.onnx")),
    ):
        page.goto(url + "blank.html")
        end, (done, *told) = page.evaluate(STOPPED, [f"{url}own/model.onnx"])
        assert end == "AbortError" and 0 < done < large and told == [large, "bytes", "lm"]
        pages["own/model.onnx"] = server.Page(small := tiny(), "application/octet-stream")
        assert page.evaluate("again()") == ["loaded", [len(small), len(small), "bytes", "lm"]]
