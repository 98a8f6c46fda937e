"""The self-check lets right backends pass, roundings and all, and stops wrong ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from engine.tiny import llama, run
from inglenook.elastic import selfcheck
from inglenook.elastic.onnx_model import candidates
from inglenook.elastic.reference import Reference
from inglenook.errors import NookError
from inglenook.flow import Candidates, Forward

Row = np.ndarray


def logits(level: int = 0) -> Row:
    model = Reference(llama())
    row: Row = model.logits(selfcheck.prompt(model.shape.vocabulary))[-1]
    return row * np.float32(1 + level)


def backend(change: Callable[[Row], Row] = lambda row: row) -> Callable[[Forward], Candidates]:
    """Answers as the model would, its logits changed."""

    def answer(ask: Forward) -> Candidates:
        assert ask.tokens == selfcheck.prompt(50) and ask.at == 0
        return candidates(change(logits(ask.level))[None], ask.top, 1, ask.allow)

    return answer


def checked(answer: Callable[[Forward], Candidates], reference: bytes | None = None) -> None:
    run(selfcheck.flow(reference or selfcheck.make([logits()])), answer)


def noise(size: float) -> Callable[[Row], Row]:
    return lambda row: row + np.random.default_rng(1).standard_normal(len(row)).astype(np.float32) * size * row.std()


@pytest.mark.parametrize("change", [lambda row: row, lambda row: row + 3, noise(0.01)])
def test_right_ones_pass(change: Callable[[Row], Row]) -> None:
    checked(backend(change))


@pytest.mark.parametrize(
    "change",
    [
        lambda row: row * np.float32(np.nan),
        lambda row: row * 0,
        lambda row: -row,
        lambda row: row[::-1],
        lambda row: np.roll(row, 1),
        noise(0.3),
        lambda row: np.where(np.arange(len(row)) == row.argmax(), np.float32(0), row),
    ],
)
def test_wrong_ones_do_not(change: Callable[[Row], Row]) -> None:
    with pytest.raises(NookError) as error:
        checked(backend(change))
    assert error.value.code == "backend" and error.value.hint


def test_a_backend_that_leaves_tokens_out_is_wrong() -> None:
    with pytest.raises(NookError) as error:
        checked(lambda ask: candidates(logits()[None], 5, 1, ask.allow))
    assert error.value.code == "backend"


def test_the_whole_and_the_smallest_level_are_asked() -> None:
    reference, asked = selfcheck.make([logits(level) for level in range(4)]), []

    def answer(ask: Forward) -> Candidates:
        asked.append(ask.level)
        return backend()(ask)

    checked(answer, reference)
    assert asked == [0, 3] and len(reference) < 4 * 2048
    with pytest.raises(NookError):
        checked(lambda ask: backend(lambda row: row if ask.level == 0 else -row)(ask), reference)


def test_a_longer_prompt_is_asked_where_the_reference_says_so() -> None:
    asked: list[int] = []

    def answer(ask: Forward) -> Candidates:
        asked.append(len(ask.tokens))
        return candidates(logits()[None], ask.top, 1, ask.allow)

    checked(answer, selfcheck.make([logits()], 80))
    assert asked == [80]


@pytest.mark.parametrize("damage", [b"", b"[]", b"{}", b'[{"ids":[1]}]', selfcheck.make([logits()])[:-3]])
def test_a_damaged_reference_is_told(damage: bytes) -> None:
    with pytest.raises(NookError) as error:
        list(selfcheck.flow(damage))
    assert error.value.code == "model-corrupt"


def test_the_reference_names_the_best_and_some_of_all() -> None:
    row: dict[str, Any] = json.loads(selfcheck.make([logits()]))[0]
    assert set(np.argsort(-logits())[:16].tolist()) <= set(row["ids"]) and {0, 49} <= set(row["ids"])
