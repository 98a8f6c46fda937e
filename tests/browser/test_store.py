"""The store of the tab, in a real browser: atomic, durable, safe with two tabs, honest when there is no room."""

import io
import os
import signal
import subprocess
import tarfile
import time

import pytest

from buildlib.server import Page, serve
from tests.conftest import FLAGS

HELPERS = """
import { openStore, deleteStore } from '/lib/store.js';
const bytes = (text) => new TextEncoder().encode(text);
const text = (page) => page && new TextDecoder().decode(page);
const caught = (promise) => promise.then(() => 'no error', ({ code, hint }) => code + (hint ? '' : ' without a hint'));
const all = async (store) => {
  const { keys, pages } = await store.scan('');
  return Object.fromEntries(keys.map((key, i) => [key, text(pages[i])]));
};
const put = (store, pages, deletes = []) => store.commit(Object.keys(pages), Object.values(pages).map(bytes), deletes);
Object.assign(globalThis, { openStore, deleteStore, bytes, text, caught, all, put });
globalThis.ready = true;
"""


def engine(root):
    """The engine's sources as an archive."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for path in sorted((root / "pysrc").rglob("*.py")):
            tar.add(path, path.relative_to(root / "pysrc"))
    return archive.getvalue()


@pytest.fixture(scope="module")
def site(root):
    """The site with an empty page that has the store's helpers, alone and in a frame without an origin."""
    script = b'<!doctype html><script type="module" src="/helpers.js"></script>'
    pages = {
        "page": Page(script),
        "helpers.js": Page(HELPERS.encode(), "text/javascript"),
        "frame": Page(b'<!doctype html><iframe sandbox="allow-scripts" src="/page"></iframe>'),
        "engine.tar": Page(engine(root), "application/x-tar"),
    }
    with serve(root, isolated=False, pages=pages) as url:
        yield url.rstrip("/")


@pytest.fixture
def profile(browser):
    """A fresh profile; each page opened in it is a tab. An error that nobody caught fails the test."""
    context = browser.new_context()
    errors = []
    context.on("weberror", lambda error: errors.append(str(error.error)))
    yield context
    context.close()
    assert not errors


@pytest.fixture
def tab(profile, site):
    return visit(profile, site)


def visit(profile, site, path="/page"):
    page = profile.new_page()
    page.goto(site + path)
    page.wait_for_function("globalThis.ready")
    return page


def test_the_life_of_a_store(tab):
    assert tab.evaluate("""async () => {
      const store = await openStore('notes');
      const empty = await all(store);
      await put(store, { 'd/2': 'two', 'd/1': 'one', 'e': '', 'd': 'not below' });
      await put(store, { 'd/2': 'TWO' }, ['d/1', 'd/2', 'nothing']);
      await store.commit([], [], []);
      const got = (await store.get(['d/2', 'd/1', 'e', 'd/2'])).map(text);
      const below = (await store.scan('d/')).keys;
      store.close();
      const closed = await caught(store.get(['e']));
      const again = await openStore('notes');
      const other = await all(await openStore('other'));
      return [empty, got, below, closed, await all(again), again.status, again.generation, other];
    }""") == [
        {},
        ["TWO", None, "", "TWO"],
        ["d/2"],
        "closed",
        {"d": "not below", "d/2": "TWO", "e": ""},
        "stored",
        2,
        {},
    ]


def test_a_commit_that_fails_half_way_changes_nothing(tab):
    assert tab.evaluate("""async () => {
      const store = await openStore('notes');
      await put(store, { a: '1', b: '1' });
      const codes = [];
      // a page that cannot be stored, after one that can
      codes.push(await caught(store.commit(['a', 'c'], [bytes('2'), () => {}], ['b'])));
      // the browser aborts in the middle
      const { put: original } = IDBObjectStore.prototype;
      let calls = 0;
      IDBObjectStore.prototype.put = function (...rest) {
        if (++calls === 2) this.transaction.abort();
        return original.apply(this, rest);
      };
      codes.push(await caught(put(store, { a: '3', c: '3', d: '3' }, ['b'])));
      IDBObjectStore.prototype.put = original;
      const between = await all(store);
      await put(store, { a: '4' });
      return [codes, between, await all(store), store.generation];
    }""") == [["storage", "storage"], {"a": "1", "b": "1"}, {"a": "4", "b": "1"}, 2]


def test_two_tabs_write_at_once(profile, site):
    tabs = [visit(profile, site) for _ in range(2)]
    for n, tab in enumerate(tabs):
        tab.evaluate(
            """async (n) => {
              globalThis.store = await openStore('shared');
              globalThis.heard = [];
              store.changes(({ generation, keys }) => heard.push([generation, keys]));
              globalThis.write = async () => {
                for (let i = 0; i < 60; i++) {
                  await put(store, { [`${n}/${i}`]: `${i}`, last: `${n}`, ['twin' + n]: `${i}` });
                }
              };
            }""",
            n,
        )
    for tab in tabs:
        tab.evaluate("() => { globalThis.writing = write(); }")
    for tab in tabs:
        tab.evaluate("() => writing")
    for n, tab in enumerate(tabs):
        tab.wait_for_function("heard.length === 60")
        heard = tab.evaluate("heard")
        generations = [generation for generation, _ in heard]
        assert generations == sorted(set(generations)) and generations[-1] <= 120
        assert [keys[0] for _, keys in heard] == [f"{1 - n}/{i}" for i in range(60)]
        pages = tab.evaluate("() => all(store)")
        assert len(pages) == 123 and pages["twin0"] == pages["twin1"] == "59"
        assert tab.evaluate("async () => (await openStore('shared')).generation") == 120


def launch(chromium, profile):
    """A browser of our own, to be killed; returns the process and the address of its debugger."""
    port = profile / "DevToolsActivePort"
    port.unlink(missing_ok=True)
    command = [chromium, "--headless", "--remote-debugging-port=0", f"--user-data-dir={profile}", *FLAGS, "about:blank"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 60
    while not (port.exists() and port.read_text().count("\n")):
        assert process.poll() is None and time.monotonic() < deadline, "Chromium did not start"
        time.sleep(0.02)
    return process, f"http://127.0.0.1:{port.read_text().split()[0]}"


@pytest.mark.slow
def test_kill_the_browser_while_it_writes(tmp_path, chromium, browser, site):
    """SIGKILL to all of its processes: every commit that was acknowledged is there, and none is half there."""
    counts = []
    for attempt in range(4):
        process, address = launch(chromium, tmp_path)
        try:
            page = browser.browser_type.connect_over_cdp(address).contexts[0].new_page()
            acknowledged = []
            page.expose_function("acknowledge", lambda n, to=acknowledged: to.append(n))
            page.goto(site + "/page")
            page.wait_for_function("globalThis.ready")
            found = page.evaluate("""async () => {
              globalThis.store = await openStore('killed');
              return all(store);
            }""")
            if counts:
                assert found["a"] == found["z"] and int(found["a"]) >= counts[-1]
                assert {f"k{n}" for n in range(counts[-1] + 1)} <= set(found)
            if attempt == 3:
                break
            first = int(found.get("a", -1)) + 1
            page.evaluate(
                """(n) => void (async () => {
                  const filler = 'x'.repeat(100_000);
                  for (;; n++) {
                    await put(store, { a: `${n}`, [`k${n}`]: 'k', [`f${n % 5}`]: filler, z: `${n}` });
                    acknowledge(n);
                  }
                })()""",
                first,
            )
            while len(acknowledged) < 15 + 10 * attempt:
                page.wait_for_timeout(10)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        counts.append(max(acknowledged))
    assert counts[0] < counts[1] < counts[2]


def test_quota(profile, tab, site):
    """No more room: the commit fails as a whole, says what to do, and all that was stored can be read."""
    cdp = profile.new_cdp_session(tab)
    # before the first write: the browser remembers for a while how much room there was
    cdp.send("Storage.overrideQuotaForOrigin", {"origin": site, "quotaSize": 1_000_000})
    assert tab.evaluate("""async () => {
      globalThis.store = await openStore('full');
      await put(store, { a: 'kept' });
      const code = await caught(store.commit(['a', 'large'], [bytes('lost'), new Uint8Array(3_000_000)], ['a']));
      return [code, await all(store), store.generation];
    }""") == ["quota", {"a": "kept"}, 1]
    cdp.send("Storage.overrideQuotaForOrigin", {"origin": site})
    tab.evaluate("() => put(store, { b: 'new' })")
    assert tab.evaluate("() => all(store)") == {"a": "kept", "b": "new"}


def test_a_database_of_version_1_is_upgraded(tab):
    assert tab.evaluate("""async () => {
      await new Promise((done) => {
        const request = indexedDB.open('inglenook:old', 1);
        request.onupgradeneeded = () => request.result.createObjectStore('pages').put(bytes('kept'), 'a');
        request.onsuccess = () => { request.result.close(); done(); };
      });
      const store = await openStore('old');
      await put(store, { b: 'new' });
      return [await all(store), store.generation];
    }""") == [{"a": "kept", "b": "new"}, 1]


def test_a_newer_database_says_reload(tab):
    assert (
        tab.evaluate("""async () => {
      await new Promise((done) => {
        const request = indexedDB.open('inglenook:newer', 99);
        request.onsuccess = () => { request.result.close(); done(); };
      });
      return caught(openStore('newer'));
    }""")
        == "newer-format"
    )


def test_an_old_tab_that_will_not_let_go(profile, site):
    old, new = (visit(profile, site) for _ in range(2))
    old.evaluate("""() => new Promise((done) => {
      const request = indexedDB.open('inglenook:held', 1);
      request.onupgradeneeded = () => request.result.createObjectStore('pages').put(bytes('kept'), 'a');
      request.onsuccess = () => { globalThis.db = request.result; done(); };
    })""")
    assert new.evaluate("() => caught(openStore('held'))") == "blocked"
    old.close()
    assert new.evaluate("async () => all(await openStore('held'))") == {"a": "kept"}


def test_a_newer_tab_is_not_held_up_by_this_one(profile, site):
    ours, newer = (visit(profile, site) for _ in range(2))
    ours.evaluate("async () => { globalThis.store = await openStore('up'); await put(store, { a: '1' }); }")
    assert (
        newer.evaluate("""() => new Promise((done) => {
      const request = indexedDB.open('inglenook:up', 50);
      request.onblocked = () => done('blocked');
      request.onsuccess = () => done('upgraded');
    })""")
        == "upgraded"
    )
    assert ours.evaluate("() => caught(put(store, { a: '2' }))") == "newer-format"


def test_deleted_by_another_tab(profile, site):
    ours, other = (visit(profile, site) for _ in range(2))
    ours.evaluate("""async () => {
      globalThis.store = await openStore('gone');
      await put(store, { a: '1' });
      globalThis.changes = [];
      store.changes((change) => changes.push(change));
    }""")
    other.evaluate("() => deleteStore('gone')")
    ours.wait_for_function("changes.length === 1 && changes[0].lost")
    assert ours.evaluate("() => caught(put(store, { b: '2' }))") == "storage-lost"
    assert ours.evaluate("() => caught(all(store))") == "storage-lost"
    assert ours.evaluate("async () => all(await openStore('gone'))") == {}


IN_MEMORY = """async () => {
  const store = await openStore('private');
  await put(store, { 'a/1': '1', 'a/2': '2', b: '3' });
  await put(store, { 'a/1': 'one' }, ['b', 'a/1']);
  const page = bytes('mine');
  await store.commit(['c'], [page], []);
  page.fill(0);
  const got = (await store.get(['c', 'b'])).map(text);
  return [store.status, store.reason !== '', await all(store), (await store.scan('a/')).keys, got, await store.size(),
    await store.persist()];
}"""
REMEMBERED = ["not-stored", True, {"a/1": "one", "a/2": "2", "c": "mine"}, ["a/1", "a/2"], ["mine", None], 8, False]


def test_without_a_database_pages_stay_in_memory(profile, site):
    page = profile.new_page()
    page.add_init_script("Object.defineProperty(globalThis, 'indexedDB', { value: undefined })")
    page.goto(site + "/page")
    page.wait_for_function("globalThis.ready")
    assert page.evaluate(IN_MEMORY) == REMEMBERED


def test_in_a_sandboxed_frame_pages_stay_in_memory(profile, site):
    page = profile.new_page()
    page.goto(site + "/frame")
    page.wait_for_function("frames.length === 1")
    frame = page.frames[1]
    frame.wait_for_function("globalThis.ready")
    assert frame.evaluate(IN_MEMORY) == REMEMBERED


def test_meter_and_persistence(tab):
    before, after, persisted = tab.evaluate("""async () => {
      const store = await openStore('meter');
      const before = await store.estimate();
      await store.commit(['a'], [crypto.getRandomValues(new Uint8Array(60_000))], []);
      return [before, await store.estimate(), await store.persist()];
    }""")
    assert after["usage"] > before["usage"] and after["quota"] > 0
    assert isinstance(persisted, bool) and isinstance(after["persisted"], bool)


# ── from Python ───────────────────────────────────────────────────────────────────────────────────────────────────

BOOT = """async (kernel) => {
  const { loadPyodide } = await import('/static/pyodide/pyodide.mjs');
  const python = await loadPyodide({ indexURL: '/static/pyodide/' });
  python.unpackArchive(await (await fetch('/engine.tar')).arrayBuffer(), 'tar', { extractDir: '/engine' });
  python.runPython("import sys; sys.path.insert(0, '/engine')");
  python.registerJsModule('inglenook_store', await import('/lib/store.js'));
  if (kernel) {
    await python.loadPackage('numpy');
    const library = await (await fetch(`/static/kernels/vectors.${kernel}.so`)).arrayBuffer();
    python.FS.mkdirTree('/lib/inglenook');
    python.FS.writeFile('/lib/inglenook/vectors.so', new Uint8Array(library));
  }
  globalThis.python = python;
}"""
STORE = """
from inglenook.errors import NookError
from inglenook.platform.browser.store import BrowserStore

async def code_of(awaitable):
    try:
        await awaitable
    except NookError as error:
        return error.code if error.hint else "no hint"

store = await BrowserStore.open("python")
other = await BrowserStore.open("python")
heard = []
other.changes(heard.append)
await store.commit({"d/1": b"\\x00\\xff", "d/2": b"", "e": "größe".encode()}, [])
await store.commit({"d/3": bytes(1000)}, ["d/2", "none"])
import asyncio
while len(heard) < 2:
    await asyncio.sleep(0.01)
assert heard == [["d/1", "d/2", "e"], ["d/3", "d/2", "none"]], heard
assert await store.get(["e", "none", "d/1"]) == ["größe".encode(), None, b"\\x00\\xff"]
assert await other.scan("d/") == {"d/1": b"\\x00\\xff", "d/3": bytes(1000)}
assert list(await store.scan("")) == ["d/1", "d/3", "e"]
assert store.status == "stored" and store.reason == "" and store.generation == other.generation == 2
assert isinstance(await store.size(), int) and isinstance(await store.persist(), bool)
many = {f"m/{n}": bytes([n]) * (n * 50) for n in range(100)}
await store.commit(many, [], {"m/0": None, "e": "größe".encode()})
assert await other.get(["none", *many, "none"]) == [None, *many.values(), None] and await other.get([]) == []
for wrong in ({"m/1": None}, {"m/1": b""}, {"none": b""}, {"e": "größe".encode(), "m/1": b"\\2" * 50}):
    assert await code_of(other.commit({"m/1": b"lost"}, ["e"], wrong)) == "conflict"
assert await store.get(["m/1", "e"]) == [b"\\1" * 50, "größe".encode()] and store.generation == 3
usage, quota, persisted = await store.estimate()
assert 0 < usage < quota
store.close()
assert await code_of(store.get(["e"])) == "closed"
assert await code_of(store.commit({"e": b""}, [])) == "closed"
"the end"
"""


def test_from_python(tab, needs):
    needs("static/pyodide/pyodide.mjs")
    tab.evaluate(BOOT, None)
    assert tab.evaluate("(code) => python.runPythonAsync(code)", STORE) == "the end"


KERNEL = """
import numpy as np
from inglenook.index import kernel
from inglenook.index.flat import Flat
from inglenook.index.quantise import quantise

compiled = kernel.load()
assert compiled is not None
random = np.random.default_rng(0)
for dim in (5, 64, 384):
    flat = Flat(dim, "ip")
    vectors = random.normal(size=(600, dim)).astype(np.float32)
    vectors[100:200] = vectors[0]  # ties
    vectors[200] = np.where(random.random(dim) < 0.5, 1, -1)  # the largest codes there are
    flat.add_items(vectors, random.permutation(600))
    for trial in range(10):
        query = vectors[200] if trial == 0 else random.normal(size=dim).astype(np.float32)
        allow = random.random(600) < 0.4 if trial % 2 else None
        asked = (flat._columns, flat.count, quantise(query[None]), float(np.linalg.norm(query)))
        for want in (1, 40, 600):
            rows, bounds = compiled.scan(*asked, want=want, allow=allow)
            plain_rows, plain_bounds = kernel.Plain().scan(*asked, want=want, allow=allow)
            assert (rows == plain_rows).all() and (bounds == plain_bounds).all(), (dim, trial, want)
        scores = compiled.confirm(flat._columns, query, rows)
        assert np.allclose(scores, kernel.Plain().confirm(flat._columns, query, rows), rtol=2e-7, atol=0)
        assert (flat.knn_query(query, 10, allow)[0] == flat.exact(query, 10, allow)[0]).all()
flat.confirm(query, rows).tobytes().hex()
"""


@pytest.mark.slow
def test_both_builds_of_the_kernel_are_numpy(profile, site, needs):
    """The side module in Pyodide's memory, with SIMD and with relaxed SIMD, and the same bits from both."""
    needs("static/pyodide/pyodide.mjs", "static/kernels/vectors.simd.so", "static/kernels/vectors.relaxed.so")
    answers = []
    for build in ("simd", "relaxed"):
        page = visit(profile, site)
        page.evaluate(BOOT, build)
        answers.append(page.evaluate("(code) => python.runPythonAsync(code)", KERNEL))
        page.close()
    assert answers[0] and answers[0] == answers[1]
