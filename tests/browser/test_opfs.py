"""The store in the browser's own file system, from Python in a worker: durable, two tabs, quota, compaction."""

import pytest

from buildlib.server import serve
from tests.browser import python

START = """
from inglenook.errors import NookError
from inglenook.platform.browser import opfs
from inglenook.platform.browser.opfs import OpfsStore
import asyncio, js

async def code_of(awaitable):
    try:
        await awaitable
    except NookError as error:
        return error.code if error.hint else "no hint"

store = await OpfsStore.open("notes")
"""


@pytest.fixture(scope="module")
def site(root, needs):
    needs("static/pyodide/pyodide.mjs")
    with serve(root, isolated=False, pages=python.pages()) as url:
        yield url.rstrip("/")


@pytest.fixture
def profile(browser):
    context = browser.new_context()
    context.set_default_timeout(120_000)
    yield context
    context.close()


def tab(profile, site, start=START):
    """A page whose worker runs Python: returns it and a function that runs code there."""
    page = profile.new_page()
    return page, python.start(page, site, start)


@pytest.mark.slow
def test_what_is_committed_is_there_after_a_reload(profile, site):
    page, run = tab(profile, site)
    run(
        """
await store.commit({"d/1": b"\\\\x00\\\\xff", "d/2": b"", "e": "größe".encode()}, [])
await store.commit({"d/3": bytes(3000)}, ["d/2", "none"], {"d/1": b"\\\\x00\\\\xff", "none": None})
assert await code_of(store.commit({"e": b"lost"}, [], {"d/1": None})) == "conflict"
assert await store.get(["e", "none", "d/1", "d/3"]) == ["größe".encode(), None, b"\\\\x00\\\\xff", bytes(3000)]
""".replace("\\\\", "\\")
    )
    page.close()  # the worker dies with it, nothing is closed
    page, run = tab(profile, site)
    run("""
assert await store.scan("") == {"d/1": b"\\x00\\xff", "d/3": bytes(3000), "e": "größe".encode()}
assert list(await store.scan("d/")) == ["d/1", "d/3"] and await store.size() > 3000
store.close()
""")


@pytest.mark.slow
def test_two_tabs_write_at_once_and_one_of_them_compacts(profile, site):
    tabs = [tab(profile, site) for _ in range(2)]
    for n, (_, run) in enumerate(tabs):
        run(f"""
me, heard = {n}, []
store.changes(heard.extend)
opfs.SLICE = 2000
async def write():
    for i in range(60):
        await store.commit({{f"{{me}}/{{i}}": b"%d" % i, f"big{{me}}": bytes(500), "last": b"%d" % me}}, [])
        if i % 20 == 10 + me:
            await store.compact()
""")
    for page, _ in tabs:
        page.evaluate("() => { globalThis.writing = python('await write()'); }")
    for page, _ in tabs:
        page.evaluate("() => writing")
    for n, (_, run) in enumerate(tabs):
        run(f"""
while "{1 - n}/59" not in heard:
    await asyncio.sleep(0.01)
await store._follow([])
expected = {{f"{{t}}/{{i}}": b"%d" % i for t in (0, 1) for i in range(60)}}
found = await store.scan("")
assert {{key: found[key] for key in expected}} == expected and len(found) == 123, len(found)
assert store._number > 0
""")
    tabs[0][1]("await store.compact()")
    for _, run in tabs:
        run("await store.commit({f'after{me}': b''}, [])")
    for page, _ in tabs:
        page.close()
    _, run = tab(profile, site)
    run("""
assert len(await store.scan("")) == 125
assert [int(n) for n in await store._folder.list()] == [store._number]
""")


FULL = """
globalThis.room = 100_000;
const write = FileSystemSyncAccessHandle.prototype.write;
FileSystemSyncAccessHandle.prototype.write = function (data, options) {
  const some = data.subarray(0, room);
  room -= write.call(this, some, options);
  if (some.length < data.length) { WAY; }
  return data.length;
};
undefined
"""


@pytest.mark.slow
@pytest.mark.parametrize("way", ["throw new DOMException('No more room', 'QuotaExceededError')", "return some.length"])
def test_quota(profile, site, way):
    """The browser takes a part of a commit and no more (Chromium's protocol sets no quota for these files): the commit
    fails as a whole and all that was stored can be read."""
    _, run = tab(profile, site)
    run('await store.commit({"a": b"kept"}, [])\nbefore = await store.size()')
    run(f"js.eval({FULL.replace('WAY', way)!r})\nNone")
    run("""
assert await code_of(store.commit({"a": b"lost", "large": bytes(3_000_000)}, ["a"])) == "quota"
assert await store.scan("") == {"a": b"kept"} and await store.size() == before == store._log.handle.size()
js.eval("room = 1e9")
await store.commit({"b": b"new"}, [])
""")
    _, other = tab(profile, site)
    other('assert await store.scan("") == {"a": b"kept", "b": b"new"}')


@pytest.mark.slow
def test_where_only_one_tab_may_have_it(profile, site):
    """A browser that knows no 'readwrite-unsafe' gives the file to one tab; the other hears why it gets none."""
    exclusive = """
js.eval('''
const create = FileSystemFileHandle.prototype.createSyncAccessHandle;
FileSystemFileHandle.prototype.createSyncAccessHandle = function () { return create.call(this); };
''')
None
"""
    first = START.replace("store = await", exclusive + "store = await")
    _, run = tab(profile, site, first)
    run('await store.commit({"a": b"1"}, [])')
    _, other = tab(profile, site, first.replace('store = await OpfsStore.open("notes")', "None"))
    assert other('await code_of(OpfsStore.open("notes"))') == "locked"
    run("store.close()")
    assert other('str(await (await OpfsStore.open("notes")).get(["a"]))') == "[b'1']"


@pytest.mark.slow
def test_an_index_in_a_file(profile, site):
    """The live index over it, in two tabs."""
    _, one = tab(profile, site)
    one("""
import numpy as np
from inglenook.index.collection import Collection
from inglenook.index.drive import Driver
from inglenook.index.form import Form
driver, index = Driver(store), Collection("a")
vectors = np.random.default_rng(0).normal(size=(300, 16)).astype(np.float32)
await driver.run(index.create(Form(16)))
await driver.run(index.add(vectors, np.arange(300)))
""")
    _, two = tab(profile, site)
    two("""
import numpy as np
from inglenook.index.collection import Collection
from inglenook.index.drive import Driver
driver, index = Driver(store), Collection("a")
assert await driver.run(index.open()) and index.count == 300
vectors = np.random.default_rng(0).normal(size=(300, 16)).astype(np.float32)
await driver.run(index.add(-vectors[:1], np.array([300])))
await driver.run(index.delete(np.arange(10)))
await driver.run(index.maintain(everything=True))
""")
    one("""
await driver.run(index.add(vectors[:1], np.array([301])))
assert index.count == 292 and len(index.segments) == 1
for query, nearest in ((-vectors[0], 300), (vectors[0], 301), (vectors[50], 50)):
    [hits] = await driver.run(index.search(query, 1))
    assert hits.ids.tolist() == [nearest]
""")
