"""Our arm of the index benchmark, in Pyodide: one collection, built and asked."""

import json
import time

import numpy as np
from inglenook.index import Index

state = {}


async def answer(message, report):
    """A message of ours-worker.js; the answer is JSON."""
    made = build if message.op == "build" else ask
    return json.dumps(await made(message, report))


async def build(message, report):
    options = json.loads(message.options)
    dim = message.dim
    vectors = np.frombuffer(message.vectors.to_bytes(), np.float32).reshape(-1, dim)
    began = time.perf_counter()

    def hear(event):
        if getattr(event, "done", None) is not None:
            report(int(event.done))

    if options["store"] == "memory":
        index = Index("cosine", dim, dtype=options.get("dtype", "float32"), kind=options.get("kind", ""))
        index.add_items(vectors, progress=hear)
        state.update(index=index)
        held = index.memory
    else:
        raise ValueError(options["store"])
    return {
        "efforts": [0, 4, 8, 16, 32, 64, 128],
        "more": {"python_build_s": time.perf_counter() - began, "resident_bytes_per_vector": held / len(vectors)},
    }


async def ask(message, report):
    index = state["index"]
    queries = np.frombuffer(message.queries.to_bytes(), np.float32).reshape(-1, index.dim)
    index.nprobe = int(message.effort)
    ids, ms = [], []
    for query in queries:
        began = time.perf_counter()
        labels, _ = index.knn_query(query, message.k)
        ms.append((time.perf_counter() - began) * 1e3)
        ids.append(labels[0].tolist())
    return {"ids": ids, "ms": ms}
