"""The chart reader with its models, as a person runs it: charts are drawn, read and scored by the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest


def run(*arguments: str | Path, models: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **({"INGLENOOK_MODELS": str(models)} if models else {})}
    command = [sys.executable, "-m", "inglenook", "eval", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def test_charts_are_drawn_read_and_scored(tmp_path: Path, needs: Callable[..., Path]) -> None:
    """Seven charts of a development seed, of seven kinds."""
    pytest.importorskip("PIL.Image")
    models = needs("static/models/pp-ocrv4-det.onnx").parent
    assert run("charts", "-o", tmp_path / "set", "--count", "21", "--seed", "1").returncode == 0
    items, rows = tmp_path / "set" / "synthetic.jsonl", tmp_path / "rows.jsonl"
    asked = ["finance", items, "--json", "--by", "main_class", "--rows", rows, "--target"]
    told = {}
    for way in ("reader", "reader:sure"):
        done = run(*asked, way, models=models)
        assert done.returncode == 0, done.stderr
        told[way] = json.loads(done.stdout)
    assert told["reader"]["synthetic"] and told["reader"]["repo"]["accuracy"] >= 0.8
    assert told["reader"]["repo"]["coverage"] == 1.0 >= told["reader:sure"]["repo"]["coverage"]
    assert len(told["reader"]["by"]["main_class"]) >= 5
    done = run(*asked[:-1], "--blind", "--target", "reader", models=models)
    assert json.loads(done.stdout)["repo"]["accuracy"] < 0.5
    assert len(rows.read_text("utf-8").splitlines()) == 3 * 21


def test_absent_models_are_named(tmp_path: Path) -> None:
    items = tmp_path / "items.jsonl"
    items.write_text('{"question_text": "?", "question_type": "numerical", "answer": "1"}\n', "utf-8")
    done = run("finance", items, "--target", "reader", models=tmp_path)
    assert done.returncode == 1 and "pp-ocrv4-det.onnx" in done.stderr and "INGLENOOK_MODELS" in done.stderr
    done = run("finance", items, "--target", "native", "--by", "main_clas")
    assert done.returncode == 1 and "has no main_clas" in done.stderr, "before any model is asked"
    done = run("finance", items, "--target", "reader:other")
    assert done.returncode == 1 and "There is no target" in done.stderr
