"""What units are worth: by gradients as by taking them away, and nothing for what does nothing."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="torch is not there: `build.py test train` installs it")

import numpy as np
import torch
from inglenook.train.importance import CRITERIA, measure
from inglenook.train.model import Model
from inglenook.train.weights import Weights
from train import small


def changed(name: str, columns: slice) -> Weights:
    """The small model with some columns of a matrix set to nothing."""
    weights = small.weights()
    value = weights[name].copy()
    value[:, columns] = 0
    return Weights(weights.shape, weights.tensors | {name: value})


def test_what_does_nothing_is_worth_nothing() -> None:
    weights = changed("blk.1.ffn_down.weight", slice(0, 40))
    weights = Weights(weights.shape, weights.tensors | {
        "blk.2.attn_output.weight": changed("blk.2.attn_output.weight", slice(32, 64))["blk.2.attn_output.weight"]
    })  # fmt: skip
    found = measure(Model(weights), small.tokens(6, 16), 2)
    for criterion in ("taylor", "fisher"):
        assert np.all(found[criterion].neurons[1, :40] == 0) and np.all(found[criterion].neurons[1, 40:] > 0)
        assert found[criterion].groups[2, 1] == 0 < found[criterion].groups[2, 0]
        assert np.all(found[criterion].ffn > 0) and found[criterion].neurons.shape == (4, 128)
    assert np.all(found["norm"].neurons > 0)
    assert found["taylor"].slopes.shape == (4, 64) and np.all(found["taylor"].slopes > 0)


def test_a_neurons_worth_is_the_slope_of_the_loss() -> None:
    weights, windows = small.weights(), small.tokens(1, 12)
    found = measure(Model(weights), windows, 1)
    tokens = torch.from_numpy(windows)
    model = Model(weights)

    def loss(layer: int, neuron: int, by: float) -> float:
        """The loss of the last token where the neuron's output at its position is moved by `by`."""

        def see(at: int, part: str, values: torch.Tensor) -> torch.Tensor:
            if (at, part) != (layer, "gated"):
                return values
            values = values.clone()
            values[0, 5, neuron] += by
            return values

        with torch.no_grad():
            scores = model.logits(model(tokens, see=see)[:, :-1])
            return torch.nn.functional.cross_entropy(
                scores.flatten(0, 1), tokens[:, 1:].flatten(), reduction="sum"
            ).item()

    gated: list[torch.Tensor] = []
    model(tokens, see=lambda at, part, values: gated.append(values) or values if (at, part) == (3, "gated") else values)
    for neuron in (0, 50, 127):
        delta = float(gated[0][0, 5, neuron] - gated[0][0, :, neuron].mean())
        slope = (loss(3, neuron, 0.05) - loss(3, neuron, -0.05)) / 0.1
        assert abs(delta * slope) <= found["taylor"].neurons[3, neuron] * 1.02 + 1e-6


def test_importance_does_not_depend_on_the_batch() -> None:
    windows = small.tokens(4, 16)
    one, two = (measure(Model(small.weights()), windows, batch) for batch in (1, 4))
    for criterion in CRITERIA:
        np.testing.assert_allclose(one[criterion].neurons, two[criterion].neurons, rtol=2e-3, atol=1e-9)
