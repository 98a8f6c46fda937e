"""Which matrices get 8 bits, and what rounding leaves of them."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="torch is not there: `build.py test train` installs it")

from dataclasses import replace

import numpy as np
from inglenook.train.importance import measure
from inglenook.train.model import Model
from inglenook.train.rounding import costs, finest, rounded
from inglenook.train.weights import Weights
from train import small


def test_a_layer_with_an_outlier_gets_8_bits() -> None:
    weights = small.weights()
    found = measure(Model(weights), small.tokens(8, 32))
    down = weights["blk.2.ffn_down.weight"].copy()
    down[:, ::32] *= 50  # one in each block, so that the others fall between its steps
    weights = Weights(weights.shape, weights.tensors | {"blk.2.ffn_down.weight": down})
    each = costs(weights, found["norm"], found["taylor"].slopes)
    assert each.shape == (4,) and np.argmax(each) == 2
    assert finest(each, 1).tolist() == [False, False, True, False]
    assert finest(each, 9).all() and not finest(each, 0).any()
    quiet = replace(found["norm"], neurons=np.zeros_like(found["norm"].neurons))
    assert not costs(weights, quiet, found["taylor"].slopes).any()


def test_only_down_matrices_are_rounded_and_8_bits_are_finer() -> None:
    weights = small.weights()
    found = rounded(weights, np.array([True, False, True, False]))
    off = [np.abs(found[f"blk.{i}.ffn_down.weight"] - weights[f"blk.{i}.ffn_down.weight"]).mean() for i in range(4)]
    assert 0 < off[0] < off[1] / 8 and 0 < off[2] < off[3] / 8
    for name, value in weights.tensors.items():
        assert "ffn_down" in name or value is found[name]
