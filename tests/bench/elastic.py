"""The elastic language model: how fast, against whom; how it bends; what that costs in quality.

    python3 build.py bench elastic [speed1] [speed2] [native] … [--force] [--rounds 3] [--only ours wllama-2-Q4_1 …]

Parts can be run one by one: each prints its figures as a JSON object of its own, and the last line is one object of
them all. What a part needs and does not find is said, and its figures are null, as are those of parts not asked for.
SmolLM2-135M-Instruct, headless Chromium.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import abreast
import exact
import llamacpp
import replay
import resident
import speed
from harness import quiet
from inglenook.kernels.artifact import read_header
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


def bandwidth(options: argparse.Namespace) -> Figures:
    """Bytes a second while decoding, of those that reading alone reaches in the same page."""
    return _driven(lambda driver: resident.bandwidth(driver, options.rounds))


def levels(options: argparse.Namespace) -> Figures:
    """Latency by level, switches, memory of all levels together."""
    return _driven(lambda driver: resident.levels(driver, options.rounds))


def first(options: argparse.Namespace) -> Figures:
    """The first token from a warm page, prompts of 256 tokens."""
    return _driven(lambda driver: resident.first(driver, options.rounds))


def together(options: argparse.Namespace) -> Figures:
    """Answers that are written at the same time, against one after the other."""
    return _driven(lambda driver: abreast.passes(driver) | abreast.stories(driver, options.rounds))


def cosine(options: argparse.Namespace) -> Figures:
    """Logits of all builds against the float pass."""
    return _driven(lambda driver: exact.measure(driver, options.prompts))


def perplexity(options: argparse.Namespace) -> Figures:
    """What was measured when the levels were made, with and without recovery, and of what they have to beat."""
    config: Any = read_header(resident.LM).config
    rows = {f"{level['ratio']:.2f}": {key: level[key] for key in ("perplexity", "before") if level.get(key)}
            for level in config["levels"]}  # fmt: skip
    if not any(rows.values()):
        say("  the artifact tells no perplexities: it was made without training")
    rivals = {name: {ratio: round(value, 1) for ratio, value in zip(list(rows)[1:], found, strict=True)}
              for name, found in config.get("rivals", {}).items()}  # fmt: skip
    return {"ppl_by_ratio": {"levels": rows, "baselines": rivals}}


def tasks(options: argparse.Namespace) -> Figures:
    """Answers to questions with choices by the sub-models near 80 and 50 %."""
    if not replay.DATA.exists():
        say("  ../shared/data/elms is not there: no questions")
        return {}
    return replay.choices(options.questions)


def slo(options: argparse.Namespace) -> Figures:
    """The requests of the ELMS authors in the tab, by the planner and by fixed choices."""
    if not replay.DATA.exists():
        say("  ../shared/data/elms is not there: no requests")
        return {}
    if len(read_header(resident.LM).config["levels"]) < 2:  # type: ignore[arg-type]
        say("  the artifact has one level: there is nothing to choose from")
        return {}
    return _driven(lambda driver: replay.measure(driver, options.requests))


def prompt(options: argparse.Namespace) -> Figures:
    """Half of the prompt's tokens: quality and time to the first token (tests/bench/prompt.py)."""
    script, rounds = Path(__file__).with_name("prompt.py"), str(options.rounds)
    command = [sys.executable, script, "--force", "--rounds", rounds]  # this one has waited for the machine
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    told = json.loads(done.stdout.splitlines()[-1])
    return {key: value for key, value in told.items() if key.startswith("prompt50")}


def _driven(work: Callable[[Any], Figures]) -> Figures:
    with sync_playwright() as driver:
        return work(driver)


def _speed(options: argparse.Namespace, threads: int, isolated: bool) -> dict[str, speed.Row]:
    kinds = [kind for kind in speed.KINDS if not options.only or kind.name in options.only]
    with sync_playwright() as driver:
        return speed.measure(driver, threads, isolated, kinds, options.rounds)


PARTS: dict[str, Callable[[argparse.Namespace], Figures]] = {
    "speed1": speed1, "speed2": speed2, "native": native, "bandwidth": bandwidth, "first": first, "levels": levels,
    "together": together, "cosine": cosine, "perplexity": perplexity, "tasks": tasks, "slo": slo, "prompt": prompt,
}  # fmt: skip
KEYS = (
    "prefill512_vs_wllama_q41_1t", "prefill512_vs_wllama_best_1t", "decode_vs_wllama_q41_1t",
    "decode_vs_wllama_best_1t", "decode_vs_wllama_best_2t", "decode_vs_ort_web_1t", "decode_share_of_bandwidth",
    "native_decode_vs_llamacpp_1t", "ttft_ms_256", "half_ratio_decode_speedup", "half_ratio_prefill_speedup",
    "switch_ms", "switch_share_of_ttft", "submodels_memory_ratio", "ppl_by_ratio", "task_share_at_80",
    "task_share_at_50", "slo_accuracy_gain_over_best_fixed", "slo_attainment", "prompt50_quality_share",
    "prompt50_ttft_ratio_at_256", "logit_cosine_min", "stories_together_speedup",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(prog="build.py bench elastic", description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", help=f"{', '.join(PARTS)}; all of them by default")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=[kind.name for kind in speed.KINDS], help="engines")
    parser.add_argument("--prompts", type=int, default=2000, help="random prompts of the part cosine")
    parser.add_argument("--questions", type=int, default=400, help="of the part tasks")
    parser.add_argument("--requests", type=int, default=60, help="of the part slo")
    parser.add_argument("--force", action="store_true")
    options = parser.parse_args()
    load, figures = quiet(), {}
    for part in options.parts or PARTS:
        say(f"{part}: {PARTS[part].__doc__.splitlines()[0]}")
        made = PARTS[part](options)
        print(json.dumps(made), flush=True)
        figures |= made
    if figures.get("switch_ms") is not None and figures.get("ttft_ms_256"):
        figures["switch_share_of_ttft"] = round(figures["switch_ms"] / figures["ttft_ms_256"], 5)
    print(json.dumps({**dict.fromkeys(KEYS), **figures, "load_average": round(load, 2)}))


if __name__ == "__main__":
    main()
