"""What flat search costs on this machine: python tests/bench/flat.py [--queries N] [--vectors FILE.npy]

Arms, each with the same queries, interleaved so that what else the machine does hits all alike:
    kernel    int8 codes in C, exact confirmation (what a search does)
    float     float32 scan in numpy (its BLAS, one thread)
    codes     int8 codes in numpy (the kernel's oracle)
Vectors are real embeddings where ../shared/data/ann or --vectors has them, else clustered random ones.
Prints a table and, last, one JSON object: medians and 99th percentiles in milliseconds.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from inglenook.index import kernel
from inglenook.index.flat import Flat

ANN = Path(__file__).parents[2].parent / "shared" / "data" / "ann"
SIZES = (10_000, 100_000)
K = 10


def data(file: Path | None, queries: int) -> tuple[np.ndarray, np.ndarray, str]:
    """Vectors, queries and where they are from."""
    file = file or ANN / "minilm_100k_f16.npy"
    if file.exists():
        vectors = np.load(file)
        asked = file.with_name("queries_f32.npy")
        return vectors, np.load(asked)[:queries] if asked.exists() else vectors[:queries].astype(np.float32), file.name
    random = np.random.default_rng(0)
    centres = random.normal(size=(200, 384))
    drawn = centres[random.integers(0, 200, max(SIZES) + queries)] + random.normal(size=(max(SIZES) + queries, 384))
    return drawn[queries:].astype(np.float16), drawn[:queries].astype(np.float32), "clusters"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--vectors", type=Path)
    arguments = parser.parse_args()
    compiled = kernel.load()
    if compiled is None:
        raise SystemExit("The kernel is not compiled: python3 build.py dev")
    vectors, queries, source = data(arguments.vectors, arguments.queries)
    report: dict[str, object] = {"vectors": source, "load_average": os.getloadavg()[0]}
    for size in SIZES:
        if size > len(vectors):
            continue
        flat = Flat(vectors.shape[1], kernel=compiled)
        start = time.perf_counter()
        flat.add_items(vectors[:size].astype(np.float32), np.arange(size))
        report[f"add_ms_{size}"] = round((time.perf_counter() - start) * 1e3, 1)
        report[f"bytes_per_vector_{size}"] = round(flat.memory / size)
        plain = Flat(vectors.shape[1], kernel=kernel.Plain())
        plain._columns, plain._row, plain.count, plain._longest = flat._columns, flat._row, flat.count, flat._longest
        arms = {"kernel": flat.knn_query, "float": flat.exact, "codes": plain.knn_query}
        times: dict[str, list[float]] = {arm: [] for arm in arms}
        hits = 0
        for n, query in enumerate(queries):
            answers = {}
            for arm, search in arms.items():
                if arm == "codes" and n >= 10:  # slow, and only here for scale
                    continue
                start = time.perf_counter()
                answers[arm] = search(query, K)[0]
                times[arm].append((time.perf_counter() - start) * 1e3)
            hits += len(np.intersect1d(answers["kernel"], answers["float"]))
        report[f"recall10_{size}"] = hits / (K * len(queries))
        for arm, taken in times.items():
            median, slow = np.median(taken), np.percentile(taken, 99)
            report[f"{arm}_ms_{size}"], report[f"{arm}_p99_ms_{size}"] = round(median, 3), round(slow, 3)
            print(f"{size:>7} {arm:<7} median {median:8.3f} ms   p99 {slow:8.3f} ms")
    print(json.dumps(report))


if __name__ == "__main__":
    main()
