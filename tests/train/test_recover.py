"""Recovery: the closed form brings a part nearer to the whole, exactly where a linear map can; distillation goes on."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="torch is not there: `build.py test train` installs it")

from pathlib import Path

import numpy as np
import torch
from inglenook.train import distil
from inglenook.train.model import Model, Recovery, Size
from inglenook.train.recover import fit
from inglenook.train.weights import Weights
from train import small

SIZE = Size([96, 64, 64, 32], [2, 2, 1, 2])


def distance(whole: Model, model: Model, ids: torch.Tensor, recovery: Recovery | None) -> float:
    """How far the part's states lie from the whole's, mean square."""
    with torch.no_grad():
        return (model(ids, SIZE, recovery) - whole(ids)).square().mean().item()


def test_more_recovery_comes_nearer() -> None:
    model = Model(small.weights())
    ids, others = (torch.from_numpy(small.tokens(40, 32, seed)) for seed in (0, 1))
    found = [distance(model, model, others, None)]
    for rank in (0, 32, 64):
        (recovery,) = fit(model, model, ids, [SIZE], [rank])
        assert recovery.down_a[3] is None if not rank else recovery.down_a[3].shape == (rank, 32)  # type: ignore[union-attr]
        found.append(distance(model, model, others, recovery))
    assert found[0] > found[1] > found[2] > found[3]


def test_what_follows_from_what_is_kept_is_recovered_exactly() -> None:
    weights = small.weights(layers=1)
    changed = dict(weights.tensors)
    for part in ("ffn_gate", "ffn_up"):  # neurons 64..95 repeat 0..31
        value = changed[f"blk.0.{part}.weight"].copy()
        value[64:96] = value[:32]
        changed[f"blk.0.{part}.weight"] = value
    changed["blk.0.ffn_down.weight"] = changed["blk.0.ffn_down.weight"].copy()
    changed["blk.0.ffn_down.weight"][:, 96:] = 0
    model = Model(Weights(weights.shape, changed))
    ids = torch.from_numpy(small.tokens(60, 32))
    (recovery,) = fit(model, model, ids, [Size([64], [2])], [64])
    with torch.no_grad():
        off, lost = ((model(ids, Size([64], [2]), one) - model(ids)).square().mean() for one in (recovery, None))
    assert off < 2e-3 * lost


def test_distillation_lowers_the_loss_and_goes_on_where_it_stopped(tmp_path: Path) -> None:
    model, windows = Model(small.weights()), small.tokens(24, 16)
    states = distil.teach(model, windows)
    start = Recovery.none(model)
    losses: list[float] = []

    def stop(step: int, total: int, loss: float) -> None:
        losses.append(loss)
        if step == 25:
            raise KeyboardInterrupt

    plan = distil.Plan(steps=40, rate=3e-3, batch=4, seed=3)
    try:
        distil.distil(model, windows, states, SIZE, start, plan=plan, kept=tmp_path / "cut", report=stop)
        raise AssertionError("it was not stopped")
    except KeyboardInterrupt:
        pass
    assert losses[-1] < losses[0]
    seen: list[int] = []
    note = lambda n, of, loss: seen.append(n)
    cut = distil.distil(model, windows, states, SIZE, start, plan=plan, kept=tmp_path / "cut", report=note)
    whole = distil.distil(model, windows, states, SIZE, start, plan=plan, kept=tmp_path / "whole")
    assert seen[0] == 21  # the last checkpoint was after 20 steps
    for name, value in whole.tensors().items():
        assert torch.equal(value, cut.tensors()[name])
    assert all(not value.any() for value in start.bias)  # what it started from stays
    before, after = (distance(model, model, torch.from_numpy(windows), one) for one in (None, whole))
    assert after < before


def test_the_vocabulary_is_what_occurs_most() -> None:
    assert distil.vocabulary(np.array([[5, 5, 2], [2, 9, 5]]), most=2).tolist() == [2, 5]
