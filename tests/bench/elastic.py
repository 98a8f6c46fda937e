"""The elastic language model: how fast, against whom; how it bends; what that costs in quality.

    python3 build.py bench elastic [speed1] [speed2] [native] … [--force] [--rounds 3] [--only ours wllama-2-Q4_1 …]

Parts can be run one by one; each prints its figures, and all that are asked for end as one JSON object. What a part
needs and does not find is said, and its figures are null.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import llamacpp
import speed
from harness import quiet
from playwright.sync_api import sync_playwright

from buildlib.project import say

Figures = dict[str, Any]
WLLAMA = ("wllama-Q4_1", "wllama-other")


def speed1(options: argparse.Namespace) -> Figures:
    """Against wllama and onnxruntime-web, one thread, a page that is not isolated."""
    rows = _speed(options, 1, isolated=False)
    return {
        "prefill512_vs_wllama_q41_1t": speed.ratio(rows, "prefill512", ["wllama-Q4_1"]),
        "prefill512_vs_wllama_best_1t": speed.ratio(rows, "prefill512", WLLAMA),
        "decode_vs_wllama_q41_1t": speed.ratio(rows, "decode", ["wllama-Q4_1"]),
        "decode_vs_wllama_best_1t": speed.ratio(rows, "decode", WLLAMA),
        "decode_vs_ort_web_1t": speed.ratio(rows, "decode", ["onnxruntime"]),
        "engines_1t": {name: row.medians() for name, row in rows.items()},
    }


def speed2(options: argparse.Namespace) -> Figures:
    """The same on two threads, isolated. By the clock: threads that wait in a loop use CPU time too."""
    rows = _speed(options, 2, isolated=True)
    return {
        "decode_vs_wllama_best_2t": speed.ratio(rows, "decode", WLLAMA, "wall"),
        "prefill512_vs_wllama_best_2t": speed.ratio(rows, "prefill512", WLLAMA, "wall"),
        "engines_2t": {name: row.medians() for name, row in rows.items()},
    }


def native(options: argparse.Namespace) -> Figures:
    """Natively against llama.cpp, one thread: with the same numbers (Q4_1), and with the faster of two formats."""
    rows = llamacpp.measure(options.rounds)
    best = min(row["decode"] for name, row in rows.items() if name != "ours")
    return {
        "native_decode_vs_llamacpp_1t": round(rows["llama.cpp-Q4_1"]["decode"] / rows["ours"]["decode"], 2),
        "native_decode_vs_llamacpp_best_1t": round(best / rows["ours"]["decode"], 2),
        "engines_native": rows,
    }


def _speed(options: argparse.Namespace, threads: int, isolated: bool) -> dict[str, speed.Row]:
    kinds = [kind for kind in speed.KINDS if not options.only or kind.name in options.only]
    with sync_playwright() as driver:
        return speed.measure(driver, threads, isolated, kinds, options.rounds)


PARTS: dict[str, Callable[[argparse.Namespace], Figures]] = {"speed1": speed1, "speed2": speed2, "native": native}


def main() -> None:
    parser = argparse.ArgumentParser(prog="build.py bench elastic", description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", help=f"{', '.join(PARTS)}; all of them by default")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=[kind.name for kind in speed.KINDS], help="engines")
    parser.add_argument("--force", action="store_true")
    options = parser.parse_args()
    load, figures = quiet(), {}
    for part in options.parts or PARTS:
        say(f"{part}: {PARTS[part].__doc__.splitlines()[0]}")
        figures |= PARTS[part](options)
    print(json.dumps({**figures, "load_average": round(load, 2)}))


if __name__ == "__main__":
    main()
