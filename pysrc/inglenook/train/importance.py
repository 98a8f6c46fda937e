"""What each FFN neuron, key-value group and block is worth: how much the loss would grow without it.

A unit that puts out δ beyond its mean (the mean is kept as a bias), where the loss has the gradient g, is worth

    taylor   Σ |δ · g|      first order, as ELMS ranks units (2409.09071, section 3.1; Molchanov et al., 1611.06440)
    fisher   Σ (δ · g)²     second order, the Fisher information standing for the Hessian (Theis et al., 1801.05787)
    norm     Σ δ²           without gradients: how much it moves at all

over the tokens of the calibration text. That the mean is taken off first is ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from inglenook.train.model import Model, Recovery, Size

Array = np.ndarray
CRITERIA = ("taylor", "fisher", "norm")


@dataclass(frozen=True)
class Importance:
    """Per layer: `neurons` (layers, hidden), `groups` (layers, kv_heads), `attention` and `ffn` (layers,) as blocks.

    What a size leaves out is worth 0. `slopes` (layers, width) is the mean square of the loss' gradient after a layer.
    """

    neurons: Array
    groups: Array
    attention: Array
    ffn: Array
    slopes: Array


def measure(
    model: Model, windows: Array, batch: int = 4, *, size: Size | None = None, recovery: Recovery | None = None,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Importance]:  # fmt: skip
    """Importance by each of CRITERIA, from windows (count, time) of token ids, in two passes."""
    means = _Means(model)
    batches = list(_batches(model, windows, batch))
    for n, tokens in enumerate(batches):
        with torch.no_grad():
            model(tokens, size, recovery, means.see)
        report(n + 1, 3 * len(batches))
    sums = _Sums(model, means)
    for n, tokens in enumerate(batches):
        states = model(tokens, size, recovery, sums.see)[:, :-1]
        scores = model.logits(states).flatten(0, 1)
        torch.autograd.backward(functional.cross_entropy(scores, tokens[:, 1:].flatten(), reduction="sum"))
        report(len(batches) + 2 * (n + 1), 3 * len(batches))
    return {criterion: sums.importance(criterion) for criterion in CRITERIA}


def _batches(model: Model, windows: Array, batch: int) -> Iterator[Tensor]:
    for at in range(0, len(windows), batch):
        yield torch.from_numpy(windows[at : at + batch]).to(model.device)


class _Means:
    """The mean of every unit's output."""

    def __init__(self, model: Model) -> None:
        self._sums: dict[tuple[int, str], Tensor] = {}
        self._counts: dict[tuple[int, str], int] = {}
        self._model = model

    def see(self, layer: int, part: str, values: Tensor) -> Tensor:
        if part != "after":
            key = (layer, part)
            flat = values.detach().flatten(0, 1).float()
            self._sums[key] = self._sums.get(key, torch.zeros(flat.shape[1], device=flat.device)) + flat.sum(0)
            self._counts[key] = self._counts.get(key, 0) + len(flat)
            if part == "mixed":  # the block as a whole, after its output matrix
                self.see(layer, "attention", self._model.times(values, _output(self._model, layer, flat.shape[1])))
            if part == "gated":
                self.see(layer, "ffn", self._model.times(values, _down(self._model, layer, flat.shape[1])))
        return values

    def __call__(self, layer: int, part: str) -> Tensor:
        return self._sums[layer, part] / self._counts[layer, part]


def _output(model: Model, layer: int, columns: int) -> Tensor:
    return model.layers[layer]["attn_output"][:, :columns]


def _down(model: Model, layer: int, columns: int) -> Tensor:
    return model.layers[layer]["ffn_down"][:, :columns]


class _Sums:
    """The three sums of every unit, gathered as gradients come by."""

    def __init__(self, model: Model, means: _Means) -> None:
        shape = model.shape
        self._model, self._means = model, means
        self._neurons = np.zeros((3, shape.layers, shape.hidden))
        self._groups = np.zeros((3, shape.layers, shape.kv_heads))
        self._blocks = {part: np.zeros((3, shape.layers)) for part in ("attention", "ffn")}
        self._slopes = np.zeros((shape.layers + 1, shape.width))

    def see(self, layer: int, part: str, values: Tensor) -> Tensor:
        if part == "after" and layer < 0:
            values = values.detach().requires_grad_()  # so that there is something to go back through
        kept = values.detach()
        values.register_hook(lambda grad: getattr(self, f"_{part}")(layer, kept, grad))  # type: ignore[no-untyped-call]
        return values

    def _gated(self, layer: int, kept: Tensor, grad: Tensor) -> None:
        delta = kept.flatten(0, 1).float() - self._means(layer, "gated")
        product = delta * grad.flatten(0, 1).float()
        for into, value in zip(self._neurons, _three(product, delta.square())):
            into[layer, : value.shape[0]] += value
        self._block("ffn", layer, product.sum(1), delta)

    def _mixed(self, layer: int, kept: Tensor, grad: Tensor) -> None:
        delta = kept.flatten(0, 1).float() - self._means(layer, "mixed")
        channels = self._model.shape.group * self._model.shape.head
        product = (delta * grad.flatten(0, 1).float()).view(len(delta), -1, channels).sum(2)
        squares = delta.square().view(len(delta), -1, channels).sum(2)
        for into, value in zip(self._groups, _three(product, squares)):
            into[layer, : value.shape[0]] += value
        self._block("attention", layer, product.sum(1), delta)

    def _block(self, part: str, layer: int, product: Tensor, delta: Tensor) -> None:
        for into, value in zip(self._blocks[part], _three(product[:, None], delta.square().sum(1, keepdim=True))):
            into[layer] += value[0]

    def _after(self, layer: int, kept: Tensor, grad: Tensor) -> None:
        self._slopes[layer + 1] += grad.flatten(0, 1).square().mean(0).cpu().numpy()

    def importance(self, criterion: str) -> Importance:
        n = CRITERIA.index(criterion)
        blocks = self._blocks
        return Importance(self._neurons[n], self._groups[n], blocks["attention"][n], blocks["ffn"][n], self._slopes[1:])


def _three(product: Tensor, squares: Tensor) -> list[Array]:
    sums = (product.abs().sum(0), product.square().sum(0), squares.sum(0))
    return [value.double().cpu().numpy() for value in sums]
