"""Perplexity against what one counts by hand; the sub-models of other methods."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="torch is not there: `build.py test train` installs it")

import math

import numpy as np
import torch
from inglenook.train import baseline, measure
from inglenook.train.importance import Importance
from inglenook.train.ladder import ratio
from inglenook.train.model import Model, Size
from inglenook.train.reorder import Order
from train import small


def test_perplexity_is_the_mean_surprise() -> None:
    model, windows = Model(small.weights()), small.tokens(3, 8)
    total = 0.0
    for row in windows:
        scores = model.logits(model(torch.from_numpy(row[None])))[0].numpy().astype(np.float64)
        for at, following in enumerate(row[1:]):
            total -= scores[at, following] - math.log(np.exp(scores[at]).sum())
    assert measure.perplexity(model, model, windows, 2) == pytest.approx(math.exp(total / 21), rel=1e-5)


def test_contextual_sparsity_keeps_each_tokens_best() -> None:
    model, ids = Model(small.weights(layers=1)), torch.from_numpy(small.tokens(1, 6))
    whole = baseline.contextual(model, Size([128], [2]))(ids)
    assert torch.equal(whole, model(ids))
    size = Size([32], [2])
    x = model.embed(ids)
    x = x + model.attend(0, x, 2)
    gated, down = model.gated(0, x, 128), model.layers[0]["ffn_down"]
    for at in range(6):
        best = (gated[0, at].abs() * down.norm(dim=0)).topk(32).indices
        x[0, at] += gated[0, at][best] @ down[:, best].T
    assert torch.allclose(baseline.contextual(model, size)(ids), model.rms(x, model.norm), atol=1e-4)


def test_layers_go_whole_and_the_least_important_first() -> None:
    weights = small.weights()
    blank = np.zeros((4, 128)), np.zeros((4, 2))
    worth = np.array([9.0, 1.0, 5.0, 3.0])
    sizes = baseline.layers(weights.shape, Importance(*blank, worth, worth, np.zeros((4, 64))), [0.75, 0.4])
    assert sizes[0] == Size([128, 0, 128, 128], [2, 0, 2, 2])
    assert sizes[1].hidden[3] == sizes[1].groups[3] == 0 and 0 < sizes[1].hidden[2] < 128
    assert ratio(weights.shape, sizes[1]) <= 0.4


def test_magnitude_finds_what_is_large() -> None:
    weights = small.weights()
    weights.tensors["blk.2.ffn_up.weight"][7] *= 30
    weights.tensors["blk.1.attn_v.weight"][16:] *= 30
    order = Order.by(baseline.magnitude(weights))
    assert order.neurons[2, 0] == 7 and order.groups[1, 0] == 1
