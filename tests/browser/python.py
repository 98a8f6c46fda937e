"""A page with Python in a worker, for tests of what the tab's Python does with the browser's storage.

Python starts as in the page (from the snapshot, with the engine of the build), but keeps no file of the release: what
is stored, and what a quota counts, is what the test stores.
"""

from __future__ import annotations

from buildlib.server import Page

WORKER = """
import * as opfs from '/lib/opfs.js';
import * as store from '/lib/store.js';
import { boot } from '/lib/pyodide.js';
caches.open = () => Promise.reject(new DOMException('No files are kept here', 'SecurityError'));
try {
  const python = await boot(() => {});
  python.registerJsModule('inglenook_opfs', opfs);
  python.registerJsModule('inglenook_store', store);
  globalThis.tell = (n) => postMessage(['told', n]);
  onmessage = async ({ data: [id, code] }) => {
    try {
      postMessage([id, await python.runPythonAsync(code)]);
    } catch (error) {
      postMessage([id, null, String(error)]);
    }
  };
  postMessage(['ready']);
} catch (error) {
  postMessage(['ready', null, String(error)]);
}
"""
PAGE = """<!doctype html><script type="module">
const worker = new Worker('/python-worker.js', { type: 'module' });
const waiting = new Map();
let last = 0;
worker.onmessage = ({ data: [id, result, error] }) => {
  if (id === 'told') globalThis.told?.(result);
  else if (id === 'ready') globalThis.ready = error ?? 'ready';
  else if (error) waiting.get(id)[1](new Error(error));
  else waiting.get(id)[0](result);
};
globalThis.python = (code) =>
  new Promise((...both) => { waiting.set(++last, both); worker.postMessage([last, code]); });
</script>"""
SOON = """(code) => {
  const late = new Promise((_, no) => setTimeout(() => no(new Error('No answer for two minutes')), 120_000));
  return Promise.race([python(code), late]);
}"""


def pages() -> dict[str, Page]:
    """The page, at /python, and its worker: `python(code)` runs code there, `told(n)` hears what `js.tell(n)` says."""
    return {"python": Page(PAGE.encode()), "python-worker.js": Page(WORKER.encode(), "text/javascript")}


def start(page, site: str, code: str):
    """Open the page, run `code` in its Python, and give the function that runs more."""
    page.goto(f"{site}/python")
    page.wait_for_function("globalThis.ready")
    assert page.evaluate("ready") == "ready"

    def run(code: str):
        return page.evaluate(SOON, code)

    run(code)
    return run
