"""Our native kernel against llama.cpp (the PyPI package xllamacpp) on the machine, one thread, the same weights."""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import weights
from harness import packages
from inglenook.platform.native.models import LanguageModel

PINS = ("xllamacpp==2026.10.11549",)
LM = weights.GGUF.with_name("smollm2-135m-instruct.nkm")
PROMPT, WRITTEN = 512, 64
FORMS = ("Q4_1", "Q4_0")
CHUNK = 64


def measure(rounds: int) -> dict[str, dict[str, float]]:
    """Median CPU milliseconds a token by engine: "prefill512" and "decode"."""
    sys.path.append(str(packages(PINS)))
    arms: dict[str, Callable[[list[int]], tuple[float, float]]] = {"ours": _ours()}
    arms |= {f"llama.cpp-{form}": _llamacpp(form) for form in FORMS}
    rows: dict[str, dict[str, list[float]]] = {name: defaultdict(list) for name in arms}
    for turn in range(rounds + 1):  # the first one warms up
        for name, arm in arms.items():
            took = arm(list(range(1000 + turn, 1000 + turn + PROMPT)))
            if turn:
                for what, ms in zip(("prefill512", "decode"), took):
                    rows[name][what].append(ms)
    return {name: {what: round(statistics.median(ms), 2) for what, ms in row.items()} for name, row in rows.items()}


def _ours() -> Callable[[list[int]], tuple[float, float]]:
    model = LanguageModel(LM, threads=1)

    def run(prompt: list[int]) -> tuple[float, float]:
        began = time.process_time()
        for at in range(0, PROMPT, CHUNK):
            best = model.forward(prompt[at : at + CHUNK], at)
        read = time.process_time()
        for at in range(PROMPT, PROMPT + WRITTEN):
            best = model.forward([int(best.ids[0])], at)
        return _per_token(began, read)

    return run


def _llamacpp(form: str) -> Callable[[list[int]], tuple[float, float]]:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(weights.gguf(form))
    params.n_ctx, params.n_parallel, params.n_gpu_layers, params.warmup, params.verbosity = 2048, 1, 0, False, -1
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    server = xllamacpp.Server(params)

    def ask(prompt: list[int], count: int, cached: bool) -> Any:
        how = {"temperature": 0, "ignore_eos": True, "cache_prompt": cached, "n_predict": count}
        said = server.handle_completions({"prompt": prompt, **how})
        return said if isinstance(said, dict) else json.loads(said)

    def run(prompt: list[int]) -> tuple[float, float]:
        began = time.process_time()
        ask(prompt, 1, cached=False)
        read = time.process_time()
        ask(prompt, WRITTEN, cached=True)  # the last token of the prompt once more is the first of its passes
        return _per_token(began, read)

    return run


def _per_token(began: float, read: float) -> tuple[float, float]:
    return (read - began) * 1e3 / PROMPT, (time.process_time() - read) * 1e3 / WRITTEN
