"""The kernels in the browser: all builds agree to the bit with each other and the machine's, and workers can die."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Page

from buildlib import server
from buildlib.project import ROOT

LM = "static/models/smollm2-135m-instruct.nkm"
ENCODER = "static/models/minilm-l6.nkm"
BUILDS = ("simd", "relaxed", "simd.threads", "relaxed.threads")
Needs = Callable[..., Path]
TOKENS = [504, 3575, 282, 4649, 314, *range(900, 970)]
PASSAGES = [[101, 7592, 2088, 102], [101, *range(2000, 2077), 102], [101, 102]]
BLANK = {"blank.html": server.Page(b'<!doctype html><title>blank</title><link rel="icon" href="data:,">')}

# One model in the page's own thread, whichever build: no worker between the test and the C functions.
RUN = """async ({ build, tokens, passages }) => {
  const { Encoder, LanguageModel } = await import('./lib/wasm-model.js');
  const bytes = async (path) => new Uint8Array(await (await fetch(path)).arrayBuffer());
  const module = await WebAssembly.compile(await bytes(`static/kernels/models.${build}.wasm`));
  const take = (model, file) => model.receive(file.length).write(file, 0);
  const encoder = new Encoder(module, build.endsWith('threads'));
  take(encoder, await bytes('static/models/minilm-l6.nkm'));
  encoder.open();
  const vectors = passages.map((p) => Array.from(encoder.encode(Int32Array.from(p))));
  const lm = new LanguageModel(module, build.endsWith('threads'));
  take(lm, await bytes('static/models/smollm2-135m-instruct.nkm'));
  const { vocabulary } = lm.open(1, [[128, 3]]);
  const best = lm.forward(Int32Array.from(tokens), 0, 32);
  lm.forward(Int32Array.from(tokens.slice(0, 30)), 0, 1, { pages: Int32Array.of(2) });
  const together = lm.batch({
    level: 0, top: 32, tokens: Int32Array.of(7, 9), places: Int32Array.of(tokens.length, 30),
    tables: Int32Array.of(0, 1, 2, -1), masked: Int32Array.of(0, 1), allow: new Uint8Array(vocabulary / 4).fill(0x5a),
  });
  const codes = [[17, 2], [2, 128]].map(([count, place]) => {
    try {
      const [tokens, places, none] = [1, place, 0].map((value) => new Int32Array(count).fill(value));
      lm.batch({ level: 0, top: 1, tokens, places, tables: none, masked: none, allow: new Uint8Array() });
    } catch (error) {
      return error.code;
    }
  });
  const plain = ({ ids, logits }) => ({ ids: Array.from(ids), logits: Array.from(logits) });
  return { vectors, ...plain(best), together: plain(together), codes };
}"""


@pytest.fixture
def isolated(needs: Needs, page: Page) -> Iterator[Page]:
    """A blank page of the site, isolated, so that it has threads."""
    needs(ENCODER, LM, "static/kernels/models.relaxed.threads.wasm", "static/assets.json")
    with server.serve(ROOT, isolated=True, pages=BLANK) as url:
        page.goto(url + "blank.html")
        yield page


@pytest.fixture
def unisolated(needs: Needs, page: Page) -> Iterator[Page]:
    needs(ENCODER, LM, "static/kernels/models.relaxed.wasm", "static/assets.json")
    with server.serve(ROOT, isolated=False, pages=BLANK) as url:
        page.goto(url + "blank.html")
        yield page


def test_every_build_gives_the_bits_of_the_machine(needs: Needs, isolated: Page) -> None:
    needs("pysrc/inglenook/kernels/libmodels.so")
    from inglenook.platform.native.models import Encoder, LanguageModel

    model = LanguageModel(needs(LM), threads=1, context=128, pages=3)
    best = model.forward(TOKENS, 0, 32)
    model.forward(TOKENS[:30], 0, 1, pages=[2])
    allow = b"\x5a" * (model.vocabulary // 8)
    alone = [
        model.forward([7], len(TOKENS), 32, pages=[0, 1]), model.forward([9], 30, 32, pages=[2], allow=allow)
    ]  # fmt: skip
    model.close()
    vectors = Encoder(needs(ENCODER)).encode(PASSAGES)
    for build in BUILDS:
        got = isolated.evaluate(RUN, {"build": build, "tokens": TOKENS, "passages": PASSAGES})
        assert got["ids"] == best.ids.tolist(), build
        np.testing.assert_array_equal(np.array(got["logits"], np.float32), best.logits, build)
        assert got["together"]["ids"] == [id for one in alone for id in one.ids.tolist()], build
        assert got["together"]["logits"] == [value for one in alone for value in one.logits.tolist()], build
        assert got["codes"] == ["forward", "context"]
        np.testing.assert_array_equal(np.array(got["vectors"], np.float32), vectors, build)


# Random prompts through one layer at a level: all logits after each token.
LAYER = """async ({ build, level, prompts }) => {
  const { LanguageModel } = await import('./lib/wasm-model.js');
  const bytes = async (path) => new Uint8Array(await (await fetch(path)).arrayBuffer());
  const module = await WebAssembly.compile(await bytes(`static/kernels/models.${build}.wasm`));
  const lm = new LanguageModel(module, build.endsWith('threads'));
  const file = await bytes('one.nkm');
  lm.receive(file.length).write(file, 0);
  const { vocabulary } = lm.open(1, [[128, 2]]);
  return prompts.map((tokens) => tokens.map((token, at) => {
    const { ids, logits } = lm.forward(Int32Array.of(token), at, vocabulary, { level });
    const row = Array(vocabulary);
    for (const [i, id] of ids.entries()) row[id] = logits[i];
    return row;
  }));
}"""


@pytest.mark.parametrize("build", BUILDS)
def test_a_layer_does_what_the_plain_one_does(needs: Needs, page: Page, tmp_path: Path, build: str) -> None:
    """See tests/system/test_kernels.py; here for the builds of the tab."""
    from inglenook.elastic.reference import Reference
    from system import elastic

    needs(f"static/kernels/models.{build}.wasm")
    path = elastic.make(tmp_path / "one.nkm", layers=1)
    reference, prompts = Reference(path, rounded=True), elastic.prompts(12)
    with server.serve(ROOT, isolated=True, pages={**BLANK, "one.nkm": server.Page(path.read_bytes())}) as url:
        page.goto(url + "blank.html")
        for level in range(3):
            got = page.evaluate(LAYER, {"build": build, "level": level, "prompts": prompts})
            found = [
                elastic.cosines(np.array(rows), reference.logits(tokens, level))
                for rows, tokens in zip(got, prompts, strict=True)
            ]
            assert np.median(np.concatenate(found)) > 1 - 1e-7 and min(map(min, found)) > 0.999


DAMAGED = """
  await kernels.load('lm');
  const cache = await caches.open('inglenook-assets');
  const keys = (await cache.keys()).filter((key) => key.url.includes('smollm2') && key.url.includes('.nkm'));
  const bytes = new Uint8Array(await (await cache.match(keys[1])).arrayBuffer());
  bytes[bytes.length >> 1] ^= 8;
  await cache.put(keys[1], new Response(bytes));
  kernels.lm.worker.onerror(new Event('error'));
  const between = await fails(kernels.forward(Int32Array.of(1), 0, 4));
  const info = await kernels.load('lm');
  const best = await kernels.forward(Int32Array.from(options.tokens), 0, 4);
  return { between, instance: info.instance, ids: Array.from(best.ids) };
"""


def test_a_model_that_dies_is_said_and_damaged_storage_is_fetched_anew(unisolated: Page) -> None:
    """What was kept has a flipped bit: the model that is loaded in place of the dead one comes from the network."""
    got = use(unisolated, DAMAGED, tokens=TOKENS)
    assert got["between"]["code"] == "worker-died" and got["between"]["hint"]
    whole = use(unisolated, "await kernels.load('lm'); return Array.from((await kernels.forward("
                            "Int32Array.from(options.tokens), 0, 4)).ids);", tokens=TOKENS)  # fmt: skip
    assert got["ids"] == whole and got["instance"] == 2


def test_passes_that_wait_when_the_model_dies_all_hear_of_it(unisolated: Page) -> None:
    got = use(
        unisolated,
        """
        await kernels.load('lm');
        const tokens = Int32Array.from(Array(60).fill(500));
        const passes = [0, 1, 2].map((page) => kernels.forward(tokens, 0, 4, { pages: Int32Array.of(page) }));
        const errors = passes.map((pass) => fails(pass));
        kernels.lm.worker.onerror(new Event('error'));
        return (await Promise.all(errors)).map((error) => error.code);
        """,
    )
    assert got == ["worker-died"] * 3


# Kernels, as the engine's worker uses it. The scripts below see `kernels` and `flat(passages)`.
KERNELS = """const { Kernels } = await import('./lib/kernels.js');
const kernels = new Kernels({ base: location.href, ...options });
const flat = (passages) => [Int32Array.from(passages.flat()), Int32Array.from(passages.map((p) => p.length))];
const fails = (promise) => promise.then(() => undefined, (e) => ({ name: e.name, code: e.code, hint: e.hint }));
"""


def use(page: Page, script: str, **options: Any) -> Any:
    """Run `script` with `kernels`; what it returns comes back, and everything is ended."""
    body = f"async (options) => {{ {KERNELS} try {{ {script} }} finally {{ kernels.dispose(); }} }}"
    return page.evaluate(body, options)


MANY = """
  const steps = [];
  await kernels.load('encoder', { onProgress: (done, total) => steps.push([done, total]) });
  const passages = Array.from({ length: 12 }, (_, i) => [101, ...Array(i * 5).fill(2003 + i), 102]);
  const [alone, together] = [[], await kernels.encode(...flat(passages), false)];
  for (const passage of passages) alone.push(...(await kernels.encode(...flat([passage]), true)));
  return { steps, same: alone.every((x, i) => x === together[i]), n: together.length, state: kernels.state('encoder') };
"""


def test_passages_come_back_in_order(unisolated: Page) -> None:
    got = use(unisolated, MANY)
    assert got["same"] and got["n"] == 12 * 384 and got["state"] == "ready"
    size = (ROOT / ENCODER).stat().st_size
    assert got["steps"][0] == [0, size] and got["steps"][-1] == [size, size]


def test_a_query_goes_before_waiting_passages(unisolated: Page) -> None:
    order = use(
        unisolated,
        """
        await kernels.load('encoder');
        const order = [];
        const long = Array.from({ length: 8 }, () => [101, ...Array(100).fill(2003), 102]);
        const bulk = long.map((p, i) => kernels.encode(...flat([p]), false).then(() => order.push(i)));
        const query = kernels.encode(...flat([[101, 2003, 102]]), true).then(() => order.push('query'));
        await Promise.all([...bulk, query]);
        return order;
        """,
        encoders=1,
    )
    assert order.index("query") <= 1, order
    assert [i for i in order if i != "query"] == list(range(8))


def test_short_questions_are_encoded_nearby_once_the_workers_are_there(unisolated: Page) -> None:
    got = use(
        unisolated,
        """
        await kernels.load('encoder');
        const question = [101, ...Array(20).fill(2003), 102];
        const ask = (tokens) => kernels.encode(...flat([tokens]), true);
        const first = await ask(question);
        while (!kernels.near) await ask(question);
        const asked = () => [...kernels.pool].reduce((sum, host) => sum + host.count, 0);
        const before = asked();
        const second = await ask(question);
        const short = asked() - before;
        await ask([101, ...Array(60).fill(2003), 102]);
        const long = asked() - before;
        kernels.near.exports = { bert_encode: () => { throw new WebAssembly.RuntimeError('unreachable'); } };
        const third = await ask(question);
        const same = [second, third].every((vector) => vector.every((x, i) => x === first[i]));
        return { same, short, long, broken: kernels.near === undefined };
        """,
    )
    assert got == {"same": True, "short": 0, "long": 1, "broken": True}


GREEDY = """
  const info = await kernels.load('lm');
  const out = [];
  let best = await kernels.forward(Int32Array.from(options.tokens), 0, 4);
  for (let i = 0; i < 6; i++) {
    out.push(best.ids[0], ...best.logits);
    best = await kernels.forward(best.ids.slice(0, 1), options.tokens.length + i, 4);
  }
  return { info, out };
"""


def test_threads_change_no_bit(isolated: Page) -> None:
    one = use(isolated, GREEDY, threads=1, tokens=TOKENS)
    assert one["info"]["threads"] == 1
    for threads in (2, 3):
        more = use(isolated, GREEDY, threads=threads, tokens=TOKENS)
        assert more["info"]["threads"] == threads and more["info"]["build"].endswith("threads.wasm")
        assert more["out"] == one["out"]


def test_without_isolation_there_are_no_threads(unisolated: Page) -> None:
    got = use(unisolated, GREEDY, threads=2, tokens=TOKENS)
    assert got["info"]["threads"] == 1 and "threads" not in got["info"]["build"]


def test_a_load_that_is_stopped_leaves_nothing_broken(unisolated: Page) -> None:
    got = use(
        unisolated,
        """
        const stop = new AbortController();
        const onProgress = (done, total) => done > total / 10 && stop.abort();
        const first = await fails(kernels.load('encoder', { onProgress, signal: stop.signal }));
        const state = kernels.state('encoder');
        const early = await fails(kernels.encode(...flat([[101, 102]]), true));
        // two wait for the next load and one of them gives up: the other one gets it
        const other = new AbortController();
        const given = fails(kernels.load('encoder', { signal: other.signal }));
        const kept = kernels.load('encoder');
        other.abort();
        const [left, info] = [await given, await kept];
        const vector = await kernels.encode(...flat([[101, 102]]), true);
        return { first, state, early, left, info, n: vector.length };
        """,
    )
    assert got["first"]["name"] == "AbortError" and got["left"]["name"] == "AbortError"
    assert got["state"] == "absent" and got["early"]["code"] == "model-missing"
    assert got["info"]["dimensions"] == 384 and got["n"] == 384


def test_a_worker_that_dies_is_started_anew(unisolated: Page) -> None:
    got = use(
        unisolated,
        """
        await kernels.load('encoder');
        const long = Array.from({ length: 4 }, () => [101, ...Array(400).fill(2003), 102]);
        const lost = fails(kernels.encode(...flat(long), false));
        for (const host of kernels.pool) host.worker.onerror(new Event('error')); // what a crash looks like from here
        const [error, state] = [await lost, kernels.state('encoder')];
        await kernels.load('encoder');
        return { error, state, n: (await kernels.encode(...flat([[101, 102]]), true)).length };
        """,
        encoders=1,
    )
    assert got["error"]["code"] == "worker-died" and got["error"]["hint"]
    assert got["state"] == "absent" and got["n"] == 384


def test_what_cannot_be_run_is_said(unisolated: Page) -> None:
    got = use(
        unisolated,
        """
        await kernels.load('encoder');
        const wrong = [[], Array(513).fill(101), [40000], [-1]];
        const errors = [];
        for (const tokens of wrong) {
          errors.push((await fails(kernels.encode(...flat([[101, 102], tokens]), false))).code);
        }
        return { errors, n: (await kernels.encode(...flat([[101, 102]]), true)).length };
        """,
        encoders=1,
    )
    assert got["errors"] == ["tokens"] * 4 and got["n"] == 384


@pytest.mark.parametrize("damage", ["header", "size"])
def test_a_damaged_model_is_refused(browser: Browser, needs: Needs, damage: str) -> None:
    """What the server sends is held against assets.json: a file that was changed on the way never reaches a kernel."""
    needs(ENCODER, LM, "static/kernels/models.relaxed.wasm", "static/assets.json")
    whole = (ROOT / ENCODER).read_bytes()
    changed = b"GGUF" + whole[4:] if damage == "header" else whole[: len(whole) // 2]
    page = browser.new_context().new_page()
    with server.serve(ROOT, isolated=False, pages={**BLANK, ENCODER: server.Page(changed)}) as url:
        page.goto(url + "blank.html")
        got = use(page, "return { error: await fails(kernels.load('encoder')), state: kernels.state('encoder') };")
    page.context.close()
    assert got["error"]["code"] in ("corrupt", "network", "missing") and got["error"]["hint"]
    assert got["state"] == "absent"
