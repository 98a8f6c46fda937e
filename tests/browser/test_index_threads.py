"""Where a page is isolated, helpers build the index with the engine: the same bytes, in less time where there are
processors for them."""

import json

import pytest

from buildlib.server import Page, serve

WORKER = """
import { Helpers } from '/lib/helpers.js';
import { boot } from '/lib/pyodide.js';
const PYTHON = `
import hashlib, json, time
import numpy as np
from inglenook.index.making import build
from inglenook.platform.browser import threads as tab

def made(vectors):
    began = time.perf_counter()
    arrays = build(vectors).arrays()
    seconds = time.perf_counter() - began
    return hashlib.sha256(b"".join(arrays[name].tobytes() for name in sorted(arrays))).hexdigest(), seconds

async def compared(n, dim):
    random = np.random.default_rng(0)
    centres = 3 * random.normal(size=(100, dim))
    vectors = (random.normal(size=(n, dim)) + centres[random.integers(100, size=n)]).astype(np.float32)
    alone, alone_s = made(vectors)
    count = await tab.ready()
    helped, helped_s = made(vectors)
    return json.dumps(dict(count=count, alone=alone, helped=helped, alone_s=alone_s, helped_s=helped_s))
compared
`;
try {
  const python = await boot(() => {});
  python.registerJsModule('inglenook_helpers', new Helpers(python));
  const compared = python.runPython(PYTHON);
  postMessage(await compared(12000, 96));
} catch (error) {
  postMessage(String(error));
}
"""
HTML = b"<!doctype html><title>threads</title>"
ASK = """() => new Promise((resolve) => {
  const worker = new Worker('/threads-worker.js', { type: 'module' });
  worker.onmessage = ({ data }) => resolve(data);
  worker.onerror = (event) => resolve(String(event.message));
})"""
pytestmark = pytest.mark.slow


@pytest.mark.parametrize("isolated", [True, False])
def test_helpers_make_the_same_index(page, root, needs, isolated):
    needs("static/pyodide/pyodide.mjs", "static/kernels/vectors.simd.threads.wasm", "static/assets.json")
    laid = {"threads.html": Page(HTML), "threads-worker.js": Page(WORKER.encode(), "text/javascript")}
    with serve(root, isolated=isolated, pages=laid) as url:
        page.set_default_timeout(180_000)
        page.goto(f"{url}threads.html")
        said = page.evaluate(ASK)
        processors = page.evaluate("navigator.hardwareConcurrency")
    told = json.loads(said)
    assert told["count"] == (min(4, processors - 1) if isolated else 0)
    assert told["alone"] == told["helped"]
