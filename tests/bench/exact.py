"""Logits of every build against the float pass over the same dequantised weights: random prompts, every position.

Builds give the same bits, so each is held by a digest against the native one, whose logits are compared with the float
pass; only where a digest differs are the logits themselves fetched and compared.

A second token of an odd prompt may become a place that all heads attend to, or may not (massive activations; Sun et
al., 2402.17762), and next to nothing decides it: there the float pass differs from itself. Such positions, found by a
float pass whose embeddings are changed by a thousandth, are counted and their cosines told apart (ours).
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from harness import FLAGS
from inglenook.elastic.reference import Reference
from inglenook.platform.native.models import LanguageModel
from resident import LM
from speed import site

from buildlib import venv

BUILDS = ("simd", "relaxed", "simd.threads", "relaxed.threads")
LONGEST = 8
BATCH = 50
SHAKEN = 1e-3  # of an embedding's values, one standard deviation
STEADY = 0.9999  # cosine of the float pass to itself, so changed
# One model in a worker: threads may wait there. Two of them where the build has threads.
START = """async (build) => {
  self.bits = new Worker('/llms/bits.js', { type: 'module' });
  self.asked = (message) => new Promise((resolve, reject) => {
    self.bits.onmessage = ({ data }) => (data.error ? reject(new Error(data.error)) : resolve(data.result));
    self.bits.onerror = (event) => reject(new Error(event.message));
    self.bits.postMessage(message);
  });
  return self.asked({ build });
}"""


def prompts(count: int, vocabulary: int) -> list[list[int]]:
    """Of 1 to 8 random tokens."""
    rng = np.random.default_rng(2026)
    return [rng.integers(0, vocabulary, rng.integers(1, LONGEST + 1)).tolist() for _ in range(count)]


def measure(driver: Any, count: int) -> dict[str, Any]:
    """The least cosine of all builds, and which builds agree with the native one to the bit."""
    native, oracle, shaken = LanguageModel(LM, threads=1), Reference(LM), _shaken()
    asked = prompts(count, native.vocabulary)
    cosines, itself, digests = list[float](), list[float](), list[str]()
    for tokens in asked:
        native.forward(tokens, 0, 1, each=len(tokens))
        rows, wanted = np.stack([native.logits(row) for row in range(len(tokens))]), oracle.logits(tokens)
        cosines += _cosines(rows, wanted).tolist()
        itself += _cosines(shaken.logits(tokens), wanted).tolist()
        digests.append(hashlib.sha256(rows.tobytes()).hexdigest())
    native.close()
    figures: dict[str, Any] = {
        f"logit_cosine_p{percent}": round(float(np.percentile(cosines, percent)), 6) for percent in (1, 10, 50)
    }
    steady = np.array(itself) >= STEADY
    figures["logit_cosine_min_steady"] = round(float(np.array(cosines)[steady].min()), 6)
    figures["logit_unsteady_share"] = round(1 - float(steady.mean()), 5)
    figures["logit_cosine_min_of_itself"] = round(min(itself), 6)
    least = min(cosines)
    with site(isolated=True) as url:
        browser = driver.chromium.launch(executable_path=venv.browser(install=False), args=FLAGS)
        for build in BUILDS:
            page = browser.new_context(base_url=url).new_page()
            page.goto("llm.html")
            page.evaluate(START, build)
            same = 0
            for start in range(0, count, BATCH):
                some = asked[start : start + BATCH]
                found = page.evaluate("(tokens) => asked({ tokens })", some)
                for tokens, got, wanted in zip(some, found, digests[start : start + BATCH]):
                    same += got == wanted
                    if got != wanted:
                        flat = page.evaluate("(whole) => asked({ whole })", tokens)
                        rows = np.array(flat, np.float32).reshape(len(tokens), -1)
                        least = min(least, float(_cosines(rows, oracle.logits(tokens)).min()))
            figures[f"same_bits_{build}"] = round(same / count, 4)
            page.context.close()
        browser.close()
    return {"logit_cosine_min": round(least, 6), **figures}


def _shaken() -> Reference:
    """The float pass with embeddings that are off by a little."""
    made, rng = Reference(LM), np.random.default_rng(2026)

    def watch(name: str, x: np.ndarray) -> None:
        if name == "embedding":
            x *= 1 + SHAKEN * rng.standard_normal(x.shape, np.float32)

    made.watch = watch
    return made


def _cosines(rows: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Of each position."""
    a, b = rows.astype(np.float64), wanted.astype(np.float64)
    found: np.ndarray = (a * b).sum(axis=1) / np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    return found
