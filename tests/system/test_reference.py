"""The plain forward pass against transformers and torch, by the answers stored in tests/reference."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from inglenook.elastic.gguf import Gguf
from inglenook.elastic.reference import Reference
from system.smollm2 import ROOT, gguf

CASES: list[dict[str, Any]] = json.loads((ROOT / "tests/reference/smollm2_logits.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def model() -> Reference:
    return Reference(Gguf.open(gguf()))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["prompt"][:24])
def test_logits_are_those_of_transformers(model: Reference, case: dict[str, Any]) -> None:
    scores = model.logits(case["tokens"])
    last = scores[-1]
    assert last[case["top"]] == pytest.approx(case["logits"], abs=2e-3)
    assert np.argsort(-last)[: len(case["top"])][0] == case["top"][0]
    assert float(last.std()) == pytest.approx(case["spread"], abs=2e-3)
    assert np.mean(scores.argmax(-1) == case["argmax"]) > 0.99
