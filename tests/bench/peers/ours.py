"""Our arm of the index benchmark, in Pyodide: one index, built or opened, and asked. The paper's way is a kind of it.

A message names what is done (`op`); the answer is JSON. Vectors come whole with the message, or are fetched in parts of
`CHUNK` rows where a store keeps them.
"""

import json
import time

import js
import numpy as np
from inglenook.index import Index
from inglenook.platform.browser import index as tab
from inglenook.platform.browser import opfs, store
from inglenook.platform.browser.range import RangeStore

CHUNK = 20_000
EFFORTS = {"webanns": [16, 24, 32, 40, 64, 100, 160, 256, 400]}
"""By kind; 0 lets the index choose."""
LISTS = [0, 4, 8, 16, 32, 64, 128]
state = {}
counts = {"trips": 0, "bytes": 0}


def counted(cls, name, trips):
    """Let `cls.name` count what it reads."""
    plain = getattr(cls, name)

    def note(found):
        pages = found.values() if isinstance(found, dict) else found if isinstance(found, list) else [found]
        counts["bytes"] += sum(len(page) for page in pages if page is not None)
        return found

    async def awaited(self, *given):
        counts["trips"] += 1
        found = await plain(self, *given)
        return found if cls is opfs.OpfsStore else note(found)

    setattr(cls, name, awaited if trips else lambda self, *given: note(plain(self, *given)))


for cls in (store.BrowserStore, opfs.OpfsStore, RangeStore):
    counted(cls, "get", True)
    counted(cls, "scan", True)
counted(opfs.OpfsHandle, "read", False)
counted(opfs.OpfsHandle, "gather", False)


async def answer(message, report):
    return json.dumps(await OPS[message.op](message, json.loads(message.options), report))


async def rows(start, stop):
    """Vectors of the set, (n, dim)."""
    answered = await js.fetch(f"/data/rows/{start}-{stop}")
    return np.frombuffer((await answered.arrayBuffer()).to_bytes(), np.float32).reshape(stop - start, -1)


def heard(report, base=0):
    def hear(event):
        if getattr(event, "done", None) is not None:
            report(base + int(event.done))

    return hear


async def build(message, options, report):
    """All in one add where it is built in memory or `at_once`, else chunk by chunk."""
    dim = message.dim
    kind, dtype = options.get("kind", ""), options.get("dtype", "float32")
    if options["store"] == "memory":
        vectors = np.frombuffer(message.vectors.to_bytes(), np.float32).reshape(-1, dim)
        began = time.perf_counter()
        index = Index("cosine", dim, dtype=dtype, kind=kind)
        index.add_items(vectors, progress=heard(report))
        took, held, count = time.perf_counter() - began, index.memory, len(vectors)
    else:
        count = options["rows"]
        index = await tab.open_index(
            "bench", dim=dim, dtype=dtype, kind=kind, storage=options["store"], budget=options.get("budget")
        )
        took = 0.0
        step = count if options.get("at_once") else CHUNK
        peak = index.memory
        for first in range(0, count, step):
            parts = [await rows(a, min(a + CHUNK, count)) for a in range(first, min(first + step, count), CHUNK)]
            vectors = parts[0] if len(parts) == 1 else np.concatenate(parts)
            del parts
            began = time.perf_counter()
            await index.add_items(vectors, np.arange(first, first + len(vectors)), progress=heard(report, first))
            await index.settled()
            took += time.perf_counter() - began
            peak = max(peak, index.memory)
            report(first + len(vectors))
        began = time.perf_counter()
        await index.optimize(heard(report))
        took += time.perf_counter() - began
        held = index.memory
    state.update(index=index)
    more = {"python_build_s": took, "resident_bytes_per_vector": held / count}
    if options["store"] != "memory":
        more |= {"segments": index.stats().segments, "stored": index.stats().stored, "peak": max(peak, held)}
    return {"efforts": EFFORTS.get(kind, LISTS), "more": more}


async def open_(message, options, report):
    """What is there; and the first query's answer."""
    state["budget"] = options.get("budget")
    counts.update(trips=0, bytes=0)
    query = np.frombuffer(message.queries.to_bytes(), np.float32)[: message.dim]
    began = time.perf_counter()
    given = {"url": options["url"]} if options.get("url") else {"storage": options["store"]}
    index = await tab.open_index("bench", budget=options.get("budget"), **given)
    opened = time.perf_counter()
    index.nprobe = int(options.get("effort", 0))
    labels, _ = await index.knn_query(query, 10)
    done = time.perf_counter()
    read = index.store.ranges.received if options.get("url") else counts["bytes"]
    state.update(index=index)
    size = await index.store.size() if index.storage in ("opfs", "url") else index.stats().stored
    more = {
        "open_s": opened - began, "first_s": done - opened, "bytes": read, "size": size, "trips": counts["trips"],
        "index": sum(held for sort, held in index.stats().memory.items() if sort not in ("cache", "vectors")),
        "memory": index.memory, "segments": index.stats().segments,
    }  # fmt: skip
    kind = index.collection.manifest.kind
    return {"efforts": EFFORTS.get(kind, LISTS), "more": more, "ids": labels[0].tolist()}


async def ask(message, options, report):
    """Each query on its own: ids, milliseconds, round trips; and the most memory that was held."""
    index = state["index"]
    queries = np.frombuffer(message.queries.to_bytes(), np.float32).reshape(-1, index.dim)
    index.nprobe = int(message.effort)
    ids, ms, trips, held = [], [], [], 0
    plain = isinstance(index, Index)
    for query in queries:
        before = counts["trips"]
        began = time.perf_counter()
        labels, _ = index.knn_query(query, message.k) if plain else await index.knn_query(query, message.k)
        ms.append((time.perf_counter() - began) * 1e3)
        trips.append(counts["trips"] - before)
        ids.append(labels[0].tolist())
        if not plain:
            held = max(held, index.memory)
    return {"ids": ids, "ms": ms, "trips": trips, "held": held}


async def churn(message, options, report):
    """Half of the rows 0 … n go, n / 2 others come."""
    index, n = state["index"], options["rows"]
    gone = np.random.default_rng(3).permutation(n)[: n // 2]
    await index.remove_ids(gone)
    for first in range(n, n + n // 2, CHUNK):
        last = min(first + CHUNK, n + n // 2)
        await index.add_items(await rows(first, last), np.arange(first, last), progress=heard(report))
        await index.settled()
    await index.maintain()
    return {"ids": sorted(gone.tolist())}


async def stores(message, options, report):
    """Milliseconds of reading 50 pages at random places, and of a commit of one vector and of 50 pages."""
    rng = np.random.default_rng(1)
    out = {}
    for name, cls in (("indexeddb", store.BrowserStore), ("opfs", opfs.OpfsStore)):
        made = await cls.open(f"measured-{name}")
        keys = [f"p{n:06x}" for n in range(options["pages"])]
        for start in range(0, len(keys), 500):
            await made.commit({key: rng.bytes(6144) for key in keys[start : start + 500]}, [])
        figures = {"read50": [], "commit1": [], "commit50": []}
        for _ in range(200):
            wanted = [keys[n] for n in rng.integers(0, len(keys), 50)]
            began = time.perf_counter()
            await made.get(wanted)
            figures["read50"].append((time.perf_counter() - began) * 1e3)
        for n in range(60):
            for figure, puts in (
                ("commit1", {f"w{n}": rng.bytes(1600)}),
                ("commit50", dict.fromkeys(keys[:50], rng.bytes(6144))),
            ):
                began = time.perf_counter()
                await made.commit(puts, [])
                figures[figure].append((time.perf_counter() - began) * 1e3)
        made.close()
        out[name] = {
            f"{figure}_{at}": round(float(np.percentile(ms, percent)), 2)
            for figure, ms in figures.items() for at, percent in (("p50", 50), ("p99", 99))
        }  # fmt: skip
    return {"efforts": [0], "more": out}


OPS = {"build": build, "open": open_, "round": ask, "churn": churn, "stores": stores}
