"""Many calls at once: whatever order replies come in, and whatever breaks, none is lost or misplaced."""

from __future__ import annotations

import random
import threading
import time
from pathlib import Path

import pytest
from engine.test_evals_runs import asks, call, echo
from inglenook.errors import NookError
from inglenook.evals.calls import Call, Reply
from inglenook.evals.drive import drive
from inglenook.evals.rows import Rows

TEXTS = [f"{n}" for n in range(40)]


def test_replies_out_of_order_find_their_calls(tmp_path: Path) -> None:
    chance = random.Random(5)

    def answer(one: Call) -> Reply:
        time.sleep(chance.random() / 100)
        return echo(one)

    with Rows(tmp_path / "run.jsonl") as rows:
        assert drive(asks(TEXTS), answer, rows, workers=8) == [f"re: {text}" for text in TEXTS]
        assert len(rows) == 40


def test_calls_that_are_under_way_when_one_breaks_are_kept(tmp_path: Path) -> None:
    together = threading.Barrier(4)

    def answer(one: Call) -> Reply:
        together.wait(5)
        if one == call("0"):
            raise NookError("unreachable", "gone")
        time.sleep(0.1)
        return echo(one)

    with Rows(tmp_path / "run.jsonl") as rows:
        with pytest.raises(NookError, match="gone"):
            drive(asks(TEXTS[:4]), answer, rows, workers=4)
        assert len(rows) == 3


def test_one_run_at_a_time_writes_a_file(tmp_path: Path) -> None:
    with Rows(tmp_path / "run.jsonl"), pytest.raises(NookError) as error:
        Rows(tmp_path / "run.jsonl")
    assert error.value.code == "locked"
