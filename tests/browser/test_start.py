"""How the page starts: one engine, early on later visits; Python from its snapshot, which fits or is refused."""

from __future__ import annotations

from typing import Any

from tests.browser.fakes import site as sites

SNAPSHOT = """
async (spoil) => {
  const { assets, fetchAsset } = await import('/lib/assets.js');
  const { libraries, restore } = await import('/lib/snapshot.js');
  const { gunzip, inflate, untar } = await import('/lib/unpack.js');
  const indexURL = new URL('/static/pyodide/', location.href).href;
  const { loadPyodide } = await import(`${indexURL}pyodide.mjs`);
  const { default: create } = await import(`${indexURL}pyodide.asm.mjs`);
  const path = 'static/pyodide/snapshot.bin.gz';
  const bytes = new Uint8Array((await assets()).get(path).inflated);
  const site = '/lib/python3.14/site-packages';
  const numpy = await gunzip(await fetchAsset('static/py/numpy.tar.gz'));
  const filled = fetchAsset(path).then((packed) => inflate(packed, bytes)).then(() => {
    if (spoil) bytes[bytes.length - 8] ^= 1;
  });
  const linked = libraries(numpy, site);
  try {
    const python = await restore(loadPyodide, { indexURL }, create, linked, { bytes, filled });
    const before = python.runPython('import sys; {"numpy", "inglenook.library", "inglenook.find"} <= set(sys.modules)');
    untar(python.FS, numpy, site);
    return { before, values: python.runPython(`
import importlib
importlib.invalidate_caches()
import numpy as np
import numpy.fft
grid = np.arange(12.0).reshape(3, 4)
[float(grid.sum()), float(np.sort(-grid.ravel())[0]), round(float(np.linalg.svd(grid)[1][0]), 6),
 np.unique([3, 1, 1]).tolist(), np.fft.fft([1, 2, 3]).real.tolist(), grid.astype(np.float16).nbytes]
`).toJs() };
  } catch (error) {
    return { error: error.message };
  }
}
"""


def blank(page: Any, site: Any) -> Any:
    """An empty page of the site."""
    page.set_default_timeout(120_000)
    page.goto(f"{site.url}static/manifest.webmanifest")
    return page


def test_a_snapshot_brings_numpy_that_computes_and_can_import_more(page: Any, built: Any) -> None:
    got = blank(page, built).evaluate(SNAPSHOT, False)
    assert got == {"before": True, "values": [66.0, -11.0, 22.409298, [1, 3], [6.0, -1.5, -1.5], 24]}


def test_a_snapshot_whose_libraries_would_lie_elsewhere_is_refused(page: Any, built: Any) -> None:
    assert "elsewhere" in blank(page, built).evaluate(SNAPSHOT, True)["error"]


def test_the_engine_starts_from_its_snapshot_and_says_so_where_it_cannot(profile: Any, built: Any) -> None:
    page = profile.new_page()
    page.set_default_timeout(120_000)
    told: list[str] = []
    page.on("console", lambda message: told.append(message.text))
    page.goto(built.url)
    page.get_by_text("Ready", exact=True).wait_for()
    assert not [text for text in told if "snapshot" in text]


def test_each_visit_starts_one_engine(profile: Any, stage: Any) -> None:
    page = profile.new_page()
    for _ in range(3):
        stage.forget()
        page.goto(stage.url)
        page.get_by_text("Ready", exact=True).wait_for()
        assert stage.asked.count("/worker.js") == 1
    assert page.evaluate("globalThis.inglenookEarly === undefined"), "the page took the early engine over"
    sites.until(page, "async () => Boolean(navigator.serviceWorker.controller)")
