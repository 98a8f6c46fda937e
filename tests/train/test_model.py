"""The pass in torch against the plain one, whole and in part; units in another order compute the same."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="torch is not there: `build.py test train` installs it")

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from inglenook.elastic.reference import Reference
from inglenook.train.model import Model, Recovery, Size
from inglenook.train.reorder import Order, reordered
from inglenook.train.weights import Weights
from train import small


def states(model: Model, ids: np.ndarray, size: Size | None = None, recovery: Recovery | None = None) -> np.ndarray:
    with torch.no_grad():
        found: np.ndarray = model.logits(model(torch.from_numpy(ids), size, recovery)).numpy()
    return found


def test_torch_and_numpy_agree() -> None:
    ids = small.tokens(2, 24)
    ours = states(Model(small.weights()), ids)
    for row, given_ids in zip(ours, ids, strict=True):
        plain = Reference(small.gguf()).logits(given_ids.tolist())
        assert np.abs(row - plain).max() < 1e-4 * np.abs(plain).max()


@settings(max_examples=10)
@given(st.integers(0, 2**32 - 1))
def test_the_order_of_units_changes_nothing(seed: int) -> None:
    weights, random = small.weights(), np.random.default_rng(seed)
    shape, ids = weights.shape, small.tokens(1, 16)
    order = Order(
        np.stack([random.permutation(shape.hidden) for _ in range(shape.layers)]),
        np.stack([random.permutation(shape.kv_heads) for _ in range(shape.layers)]),
    )
    plain = states(Model(weights), ids)
    assert np.abs(states(Model(reordered(weights, order)), ids) - plain).max() < 1e-4 * np.abs(plain).max()


def test_a_part_is_the_model_with_the_rest_set_to_nothing() -> None:
    weights, ids = small.weights(), small.tokens(1, 16)
    shape, size = weights.shape, Size([96, 0, 128, 32], [2, 1, 0, 1])
    blanked = {name: value.copy() for name, value in weights.tensors.items()}
    for i, (hidden, groups) in enumerate(zip(size.hidden, size.groups, strict=True)):
        blanked[f"blk.{i}.ffn_down.weight"][:, hidden:] = 0
        blanked[f"blk.{i}.attn_output.weight"][:, groups * shape.group * shape.head :] = 0
    plain = states(Model(Weights(shape, blanked)), ids)
    assert np.abs(states(Model(weights), ids, size) - plain).max() < 1e-4 * np.abs(plain).max()


def test_recovery_is_added_after_the_ffn() -> None:
    model = Model(small.weights(layers=1))
    size, recovery = Size([32], [2]), Recovery.none(model)
    a, b = torch.randn(32, 32), torch.randn(64, 32)
    x = torch.randn(1, 3, 64)
    plain, gated = model.feed(0, x, 32), model.gated(0, x, 32)
    recovery.bias[0], recovery.down_a[0], recovery.down_b[0] = torch.ones(64), a, b
    added = model.feed(0, x, size.hidden[0], recovery) - plain
    assert torch.allclose(added, 1 + gated @ a.T @ b.T, atol=1e-5)
    again = Recovery.of(recovery.tensors(), 1)
    assert again.down_a[0] is a and again.bias[0] is recovery.bias[0]
