"""The index of a tab: kept in IndexedDB and in the browser's own file system, read from a server; several tabs, kills,
damage, and storage that is full or gone."""

import os
import shutil
import signal

import pytest

from buildlib.server import Page, serve
from tests.browser import python
from tests.browser.test_store import launch

START = """
import asyncio, js
import numpy as np
from inglenook.errors import NookError
from inglenook.platform.browser import index as tabs
from inglenook.platform.browser.index import open_index

async def code_of(awaitable):
    try:
        await awaitable
    except NookError as error:
        return error.code if error.hint else "no hint"

def vectors(n, dim=16, seed=0):
    return np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float32)

async def nearest(index, query, **more):
    labels, _ = await index.knn_query(query, 1, **more)
    return int(labels[0, 0])
"""
KEPT = pytest.mark.parametrize("storage", ["indexeddb", "opfs"])
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pages():
    """Pages of the site that know no ranges; tests may lay more."""
    return python.pages()


@pytest.fixture(scope="module")
def folder(root, needs, tmp_path_factory):
    """A copy of the site, to lay files in."""
    needs("static/pyodide/pyodide.mjs", "static/kernels/vectors.simd.so")
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(root / "web", folder / "web")
    (folder / "static").symlink_to(root / "static")
    return folder


@pytest.fixture(scope="module")
def site(folder, pages):
    with serve(folder, isolated=False, pages=pages) as url:
        yield url.rstrip("/")


@pytest.fixture
def profile(browser):
    context = browser.new_context()
    context.set_default_timeout(60_000)
    yield context
    context.close()


def tab(profile, site, start=""):
    """A page whose worker runs Python: returns it and a function that runs code there."""
    page = profile.new_page()
    return page, boot(page, site, start)


def boot(page, site, start=""):
    return python.start(page, site, START + start)


@pytest.mark.parametrize("storage", ["memory", "indexeddb", "opfs"])
def test_the_life_of_an_index(profile, site, folder, pages, storage):
    page, run = tab(profile, site)
    run(f"""
assert await code_of(open_index("life", storage={storage!r})) == "no-index"
index = await open_index("life", dim=16, storage={storage!r})
assert index.kept == ({storage!r} != "memory") and len(index) == 0
assert (await index.knn_query(vectors(1)[0], 3))[0].tolist() == [[-1, -1, -1]]
await index.add_items(vectors(6000))
await index.settled()
assert len(index.collection.segments) == 1 and index.get_current_count() == 6000
await index.add_items(-vectors(6), np.arange(10, 16))
await index.add_items(vectors(1, seed=1)[0], metadata=[dict(lang="la", year=60)])
assert await nearest(index, vectors(1)[0], filter=dict(lang="la")) == 6000
await index.update_metadata([6000], [dict(year=61)])
assert await index.get_metadata([6000, 5]) == [dict(lang="la", year=61), dict()]
assert (await index.get_metadata())[-2:] == [dict(), dict(lang="la", year=61)]
assert await nearest(index, vectors(1, seed=1)[0]) == 6000
assert [await nearest(index, v) for v in (vectors(100)[99], -vectors(1)[0])] == [99, 10]
assert await nearest(index, vectors(100)[99], filter=lambda ids: ids > 99) > 99
await index.mark_deleted(99)
assert await nearest(index, vectors(100)[99]) != 99
await index.unmark_deleted(99)
assert await nearest(index, vectors(100)[99]) == 99
assert await index.remove_ids([1, 2, 2, 77777]) == 2 and await code_of(index.mark_deleted(1)) == "unknown-id"
assert await code_of(index.add_items(np.full((1, 16), np.nan))) == "bad-vector"
assert await code_of(index.add_items(vectors(1, dim=9))) == "bad-shape"
unit = vectors(1)[0] / np.linalg.norm(vectors(1)[0])
assert np.allclose(await index.get_items([0, 10]), [unit, -unit], atol=1e-6)
assert index.stats().vectors == 5999 == len(await index.get_ids()) and index.memory > 0 and not index.damage
blob = await index.save_index()
copied = (await blob.arrayBuffer()).to_bytes()
await index.optimize()
assert index.collection.head.count == 0 and await nearest(index, vectors(1, seed=1)[0]) == 6000
""")
    copied = bytes.fromhex(run("copied.hex()"))
    page.close()
    (folder / "web" / "life.nook").write_bytes(copied)
    pages["whole.nook"] = Page(copied, "application/octet-stream")
    _, run = tab(profile, site)
    if storage != "memory":
        run(f"""
assert await code_of(open_index("life", dim=17, storage={storage!r})) == "bad-shape"
index = await open_index("life", storage={storage!r})
assert index.dim == 16 and index.space == "cosine" and len(index) == 5999
""")
    run("""
for address in ("life.nook", "whole.nook"):
    index = await open_index("life", url=f"{js.location.origin}/{address}", budget=1 << 20)
    assert [await nearest(index, v) for v in (vectors(1, seed=1)[0], vectors(100)[99])] == [6000, 99]
    assert len(index) == 5999 and await index.remove_ids([1]) == 0
    for change in (index.add_items(vectors(1)), index.remove_ids([99]), index.drop()):
        assert await code_of(change) == "read-only"
assert await code_of(open_index("other", url=f"{js.location.origin}/life.nook", dim=16)) == "no-index"
assert await code_of(open_index("life", url=f"{js.location.origin}/none.nook")) == "no-nook"
""")


STREAM = """
asked = []
async def chunks(start):
    asked.append(start)
    for first in range(start, 9000, 500):
        await asyncio.sleep(0)
        yield vectors(9000)[first : first + 500]
"""


@KEPT
def test_a_stream_that_was_stopped_goes_on_after_a_reload(profile, site, storage):
    page, run = tab(profile, site, STREAM)
    run(f"""
index = await open_index("stream", dim=16, storage={storage!r})
def stop(event):
    if event.stage == "add" and event.done >= 3000:
        task.cancel()
task = asyncio.ensure_future(index.add_stream(chunks, progress=stop))
try:
    await task
except asyncio.CancelledError:
    pass
assert task.cancelled() and 3000 <= len(index) <= 3500 and asked == [0]
""")
    page.close()
    _, run = tab(profile, site, STREAM)
    run(f"""
index = await open_index("stream", storage={storage!r})
assert await index.add_stream(chunks) == 9000 == len(index) and asked[0] >= 3000
assert [await nearest(index, vectors(9000)[n]) for n in (0, 2999, 3000, 3500, 8999)] == [0, 2999, 3000, 3500, 8999]
assert await index.add_stream([vectors(9000)[:500]]) == 9000 == len(index)
""")


def test_where_an_index_lies(profile, site):
    """A new one lies in the browser's file system where tabs may share its files; one that is there stays."""
    page, run = tab(profile, site)
    run("""
old = await open_index("old", dim=4, storage="indexeddb")
await old.add_items(vectors(3, dim=4))
new = await open_index("new", dim=4)
await new.add_items(vectors(3, dim=4))
assert (new.storage, (await open_index("old")).storage) == ("opfs", "indexeddb")
""")
    alone = """
js.eval('''
const create = FileSystemFileHandle.prototype.createSyncAccessHandle;
FileSystemFileHandle.prototype.createSyncAccessHandle = function () { return create.call(this); };
''')
None
"""
    page.close()
    _, other = tab(profile, site, alone)
    other("""
index = await open_index("new")
assert (index.storage, len(index)) == ("opfs", 3)
assert await code_of(open_index("new")) == "locked"
assert (await open_index("newer", dim=4)).storage == "indexeddb"
await index.drop()
assert (await open_index("new", dim=4)).storage == "indexeddb"
""")


def test_a_server_that_ignores_ranges_and_has_much(profile, site, pages):
    """Too much to be taken whole: it says so, and takes nothing."""
    pages["much.nook"] = Page(bytes(1_000_000), "application/octet-stream")
    _, run = tab(profile, site)
    run("""
from inglenook.platform.browser import range
range.WHOLE = 500_000
assert await code_of(open_index("much", url=f"{js.location.origin}/much.nook")) == "no-ranges"
""")


@KEPT
def test_two_tabs_change_it_at_once(profile, site, storage):
    """Both add, search, delete and merge; both see all of it, and so does a third."""
    tabs = [tab(profile, site) for _ in range(2)]
    for n, (_, run) in enumerate(tabs):
        run(f"""
me = {n}
index = await open_index("shared", dim=16, storage={storage!r})
mine = vectors(9000, seed=me)
async def work():
    for i in range(0, 9000, 600):
        await index.add_items(mine[i : i + 600], np.arange(i, i + 600) * 2 + me)
        assert await nearest(index, mine[i + 5]) == 2 * (i + 5) + me
        await index.remove_ids([2 * (i + 7) + me])
        if i % 1800 == 600:
            await index.maintain()
    await index.settled()
""")
    for page, _ in tabs:
        page.evaluate("() => { globalThis.working = python('await work()'); }")
    for page, _ in tabs:
        page.evaluate("() => working")
    check = """
await index.refresh()
wanted = np.array([2 * i + t for i in range(9000) for t in (0, 1) if i % 600 != 7])
assert len(index) == 17970 and ((await index.get_ids()) == wanted).all()
for seed in (0, 1):
    for i in (0, 4321, 8999):
        assert await nearest(index, vectors(9000, seed=seed)[i]) == 2 * i + seed
assert not index.damage
"""
    for _, run in tabs:
        run(check)
    for _, run in tabs:
        run("await index.optimize()")
    assert tabs[0][1]("len(index.collection.segments)") == 1
    _, third = tab(profile, site)
    third(f"index = await open_index('shared', storage={storage!r})\n{check}")


@KEPT
def test_one_tab_merges_at_a_time(profile, site, storage):
    one, two = (tab(profile, site)[1] for _ in range(2))
    for run in (one, two):
        run(f"index = await open_index('merged', dim=16, storage={storage!r})")
    one("await index.add_items(vectors(3000))\nawait index.settled()\nrelease = await index.store.lock('merge')")
    two("await index.add_items(vectors(3000), np.arange(3000, 6000))")
    assert two("await index.maintain()") is False
    two("optimizing = asyncio.ensure_future(index.optimize())\nawait asyncio.sleep(0.1)\nassert not optimizing.done()")
    one("release()")
    two("await optimizing\nassert len(index.collection.segments) == 1 and len(index) == 6000")
    # who is stopped while it waits for a lock lets it go
    one("release = await index.store.lock('index/merged')")
    two("waiting = asyncio.ensure_future(index.add_items(vectors(1), [7]))\nawait asyncio.sleep(0.1)\nwaiting.cancel()")
    one("release()\nawait index.add_items(vectors(1), [8])")
    two("await index.add_items(vectors(1), [9])")


@KEPT
def test_a_tab_that_deletes_it(profile, site, storage):
    """The other tab hears of it at whatever it asks next."""
    one, two = (tab(profile, site)[1] for _ in range(2))
    for run in (one, two):
        run(f"index = await open_index('gone', dim=16, storage={storage!r})")
    one("await index.add_items(vectors(100))")
    two("while len(index) < 100:\n    await asyncio.sleep(0.01)\n    await index.refresh()")
    one("await index.drop()")
    two("""
while not index._stale:
    await asyncio.sleep(0.01)
for change in (index.knn_query(vectors(1)[0]), index.add_items(vectors(1)), index.get_items([1]), index.optimize()):
    assert await code_of(change) == "storage-lost"
index.close()
""")
    one(f"""
index = await open_index('gone', dim=8, storage={storage!r})
assert len(index) == 0
await index.add_items(vectors(3, dim=8))
""")


@KEPT
def test_storage_that_was_evicted(profile, site, storage):
    """The browser throws the site's data away while the index is open."""
    page, run = tab(profile, site)
    run(f"index = await open_index('evicted', dim=16, storage={storage!r})\nawait index.add_items(vectors(9000))")
    run("await index.settled()\nindex.collection.segments[0].resident = None")
    cdp = profile.new_cdp_session(page)
    cdp.send("Storage.clearDataForOrigin", {"origin": site, "storageTypes": "all"})
    assert run("await code_of(index.add_items(vectors(1)))") == "storage-lost"
    assert run("await code_of(index.get_items([5]))") == "storage-lost"
    run("index.close()")
    run(f"index = await open_index('evicted', dim=16, storage={storage!r})\nassert len(index) == 0")
    run("await index.add_items(vectors(5))\nassert await nearest(index, vectors(5)[3]) == 3")


def test_a_full_quota(profile, site):
    """No more room, for a change and for a merge: what was acknowledged is there, in this tab and for the next."""
    page, run = tab(profile, site)
    cdp = profile.new_cdp_session(page)
    cdp.send("Storage.overrideQuotaForOrigin", {"origin": site, "quotaSize": 3_000_000})
    run("""
index = await open_index("full", dim=64, storage="indexeddb")
added = 0
try:
    while True:
        await index.add_items(vectors(1000, dim=64, seed=added), np.arange(added, added + 1000))
        added += 1000
        await index.settled()
except NookError as error:
    assert error.code == "quota" and error.hint and added, (error.code, added)
""")
    run("""
assert added <= len(index) <= added + 1000
for i in range(0, added, 1000):
    assert await nearest(index, vectors(10, dim=64, seed=i)[9]) == i + 9
index.close()
""")
    _, other = tab(profile, site)
    cdp.send("Storage.overrideQuotaForOrigin", {"origin": site})
    added = run("added")
    other(f"""
index = await open_index("full")
assert {added} <= len(index) <= {added + 1000} and not index.damage
await index.add_items(vectors(5000, dim=64, seed=9), np.arange(50_000, 55_000))
await index.settled()
assert await nearest(index, vectors(10, dim=64, seed=9)[9]) == 50_009
""")


@KEPT
def test_a_flipped_byte(profile, site, storage):
    """In each sort of page: named, and the rest is found."""
    _, run = tab(profile, site)
    run(f"""
index = await open_index("flipped", dim=16, storage={storage!r})
await index.add_items(vectors(12_000))
await index.settled()
await index.optimize()
await index.add_items(vectors(20, seed=1), np.arange(20_000, 20_020))
first = await index.get_items(index.collection.segments[0].ids[:1])
keys = list(await index.store.scan("i/flipped/"))
for sort in ("manifest", "head", "ids/", "codes/", "vectors/", "w/"):
    key = next(key for key in keys if "/" + sort in key)
    [page] = await index.store.get([key])
    for at in (0, len(page) // 2, len(page) - 1):
        flipped = page[:at] + bytes([page[at] ^ 1]) + page[at + 1 :]
        await index.store.commit({{key: flipped}}, [])
        again = await open_index("flipped", storage={storage!r}, budget=3_000_000)
        found = [await nearest(again, v) for v in vectors(12_000)[::1500]]
        if sort == "vectors/":
            await again.knn_query(first, 1)  # it lies in the damaged page
        assert key in again.damage, (key, at, again.damage)
        assert sum(a == b for a, b in zip(found, range(0, 12_000, 1500))) >= 7, (key, at, found)
        again.close()
    await index.store.commit({{key: page}}, [])
""")


ADDING = """
index = await open_index("killed", dim=32, storage={storage!r})
async def work(first):
    while True:
        await index.add_items(vectors(700, dim=32, seed=first), np.arange(first, first + 700))
        if first:
            await index.remove_ids([first - 700])
        first += 700
        js.tell(first)
        {often}
"""


@KEPT
@pytest.mark.parametrize("often", ["pass", "await index.optimize()"], ids=["adding", "merging"])
def test_kill_the_browser(tmp_path, chromium, browser, site, *, storage, often):
    """SIGKILL to all of its processes amid adds and amid merges: nothing that was acknowledged is lost."""
    acknowledged = 0
    for attempt in range(4):
        process, address = launch(chromium, tmp_path)
        try:
            page = browser.browser_type.connect_over_cdp(address).contexts[0].new_page()
            page.set_default_timeout(120_000)
            told = []
            page.expose_function("told", lambda n, to=told: to.append(n))
            run = boot(page, site, ADDING.format(storage=storage, often=often))
            run(f"""
done = {acknowledged}
there = set((await index.get_ids()).tolist())
assert set(range(done)) - there <= set(range(0, done, 700)), sorted(set(range(done)) - there)[:9]
assert not set(range(0, done - 700, 700)) & there and not index.damage
for first in range(0, done, 2100):
    assert await nearest(index, vectors(700, dim=32, seed=first)[650]) == first + 650
""")
            if attempt == 3:
                break
            page.evaluate("(code) => void python(code)", f"await work({acknowledged})")
            while len(told) < 6 + 3 * attempt:
                page.wait_for_timeout(5)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        acknowledged = max(told)
