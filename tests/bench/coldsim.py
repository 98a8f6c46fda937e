"""Simulated: how many of a bursty trace's requests get their first token in time, with pipelines and without.

Sixty-four models of 7B class on sixteen hosts of one A10 each (22 GB, 16 Gbit/s). What a start costs beside its fetch
is fitted to the A10 rows of HydraServe's figure 7 (2502.15524, the artifact) of OPT-2.7B, OPT-6.7B and Llama3-8B; the
error on Llama2-7B and Falcon-7B, which were not used, is printed. Arrivals are gamma with the coefficient of variation
given, for each model on its own, the models' shares Zipf's; answers are geometric with 150 tokens in the mean. Wanted:
the first token in 7.5 s (five times what a warm 7B takes in the paper's set-up), 200 ms a token.

The baseline after ServerlessLLM has what ours lacks: each host caches 60 GB of weights, and starts go where they are.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np
from inglenook.fleet.cold.plan import Host, Model, Wanted, expected
from inglenook.fleet.cold.simulate import Arrival, Strategy, local, pipelined, simulate, single

BANDWIDTH = 2e9
SIZES = {"OPT-2.7B": 5.3e9, "OPT-6.7B": 13.3e9, "Llama3-8B": 16e9, "Llama2-7B": 13.5e9, "Falcon-7B": 14.4e9}
PUBLISHED = {  # seconds: ServerlessLLM, with the model cached, HydraServe with one worker, HydraServe
    "OPT-2.7B": (10.0, 7.1, 4.7, 4.7), "OPT-6.7B": (14.1, 7.7, 8.3, 5.9), "Llama3-8B": (17.1, 9.1, 10.3, 6.3),
    "Llama2-7B": (14.1, 8.1, 8.4, 5.6), "Falcon-7B": (14.1, 8.1, 9.0, 6.2),
}  # fmt: skip
FITTED = ("OPT-2.7B", "OPT-6.7B", "Llama3-8B")
WANTED = Wanted(ttft=7.5, tpot=0.2)
MODELS, HOSTS, SECONDS = 64, 16, 1800.0
TOKENS = 150
CACHE = 60e9


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Attainment over burstiness and rate, by strategy."""
    model, start, load = fitted()
    error = held_out(model, start, load)
    strategies = {"pipelined": pipelined(WANTED), "single": single(), "serverlessllm": local(start, load)}
    print(f"  simulated; constants fitted on {', '.join(FITTED)}, error on the others {100 * error:.0f} % at most")
    rows = []
    for burstiness in (2.0, 4.0, 8.0):
        for rate in (0.6, 0.8) if options.quick else (0.6, 0.7, 0.8):
            arrivals = trace(rate, burstiness)
            kept = {name: attained(arrivals, model, strategy) for name, strategy in strategies.items()}
            rows.append({"cv": burstiness, "rate": rate, **{name: round(share, 3) for name, share in kept.items()}})
            print(f"  cv {burstiness:.0f}, {rate} requests/s, {len(arrivals)} requests: "
                  + ", ".join(f"{name} {100 * share:.1f} %" for name, share in kept.items()))  # fmt: skip
    ratios = [row["pipelined"] / row["serverlessllm"] for row in rows]
    return {
        "cold_slo_vs_serverlessllm": round(statistics.median(ratios), 2),
        "cold_slo_vs_serverlessllm_range": [round(min(ratios), 2), round(max(ratios), 2)],
        "cold_slo_vs_single": round(statistics.median(row["pipelined"] / row["single"] for row in rows), 2),
        "cold_slo_simulated": rows,
        "cold_simulator_error": round(error, 3),
    }


def fitted() -> tuple[Model, float, float]:
    """(Llama2-7B as the planner knows it, ServerlessLLM's start in seconds, its load in seconds a byte)."""
    sizes = [SIZES[name] for name in FITTED]
    load, base = np.polyfit(sizes, [PUBLISHED[name][1] for name in FITTED], 1)
    start = statistics.mean(
        [PUBLISHED[name][0] - SIZES[name] / BANDWIDTH - load * SIZES[name] for name in FITTED]
        + [PUBLISHED[name][1] - load * SIZES[name] for name in FITTED]
    )
    large = [name for name in FITTED if name != "OPT-2.7B"]  # that one waits for its runtime, not for its fetch
    settle = statistics.mean(PUBLISHED[name][2] - SIZES[name] / BANDWIDTH for name in large)
    beside = statistics.mean(PUBLISHED[name][3] for name in FITTED) - settle
    model = Model(
        size=SIZES["Llama2-7B"], prefill=0.0, token=0.042, reserve=5e9, start=beside, settle=settle,
        stages=tuple(SIZES["Llama2-7B"] / degree / (0.9 if degree > 1 else 1) for degree in range(1, 5)),
    )  # fmt: skip
    assert base > 0
    return model, float(start), float(load)


def held_out(model: Model, start: float, load: float) -> float:
    """The largest relative error on what was not fitted."""
    errors = []
    for name in SIZES.keys() - set(FITTED):
        uncached, cached, one, piped = PUBLISHED[name]
        size = SIZES[name]
        scaled = Model(size, 0.0, 0.042, start=model.start, settle=model.settle)
        guesses = (
            (start + size / BANDWIDTH + load * size, uncached), (start + load * size, cached),
            (expected(scaled, 1, 1, BANDWIDTH)[0], one), (expected(scaled, 4, 4, BANDWIDTH * 0.9)[0], piped),
        )  # fmt: skip
        errors += [abs(guess / told - 1) for guess, told in guesses]
    return max(errors)


def trace(rate: float, burstiness: float) -> list[Arrival]:
    """Half an hour of requests, in order."""
    rng = np.random.default_rng([int(10 * rate), int(burstiness)])
    shares = 1 / np.arange(1, MODELS + 1)
    arrivals = []
    for number, share in enumerate(shares / shares.sum()):
        at = 0.0
        while True:
            at += rng.gamma(burstiness**-2, burstiness**2 / (rate * share))
            if at > SECONDS:
                break
            arrivals.append(Arrival(at, f"m{number}", int(rng.geometric(1 / TOKENS))))
    return sorted(arrivals, key=lambda arrival: arrival.at)


def attained(arrivals: Sequence[Arrival], model: Model, strategy: Strategy) -> float:
    """The share of requests whose first token came in time; those that never got one did not."""
    models = {f"m{number}": model for number in range(MODELS)}
    hosts = [Host(f"h{number}", BANDWIDTH, 22e9) for number in range(HOSTS)]
    first = simulate(arrivals, models, hosts, strategy, cache=CACHE)
    return sum(seconds <= WANTED.ttft for seconds in first) / len(first)
