"""The forward pass in torch, differentiable, of a whole model or of a part of it; the oracle is `elastic.reference`.

    model = Model(weights, device="cpu", dtype=torch.bfloat16)
    states = model(tokens)                   # (batch, time, width), normed
    states = model(tokens, size, recovery)   # a sub-model: a prefix of each layer, with what recovers it

Matrices are multiplied in `dtype`, the residual stream and norms are float32.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from inglenook.elastic.shape import Shape
from inglenook.train.weights import MATRICES, NORMS, Weights

See = Callable[[int, str, Tensor], Tensor]
"""What looks at (layer, "mixed" | "gated" | "after", values) on the way, and gives what is to go on. The embedding is
what comes after layer -1."""


@dataclass(frozen=True)
class Size:
    """How much of each layer takes part: FFN neurons and key-value groups."""

    hidden: list[int]
    groups: list[int]

    @classmethod
    def whole(cls, shape: Shape) -> Size:
        return cls([shape.hidden] * shape.layers, [shape.kv_heads] * shape.layers)


@dataclass
class Recovery:
    """What one sub-model has of its own in each layer: a bias (width), and down += down_b @ down_a if there is a rank.

    down_a is (rank, hidden of the layer), down_b (width, rank); both are None in a layer without FFN, or at rank 0.
    """

    bias: list[Tensor]
    down_a: list[Tensor | None]
    down_b: list[Tensor | None]

    @classmethod
    def none(cls, model: Model) -> Recovery:
        """Nothing recovered: no bias, no rank."""
        blank = [None] * model.shape.layers
        return cls([torch.zeros_like(model.norm) for _ in blank], [*blank], [*blank])

    def tensors(self) -> dict[str, Tensor]:
        """By name, "bias.0" and so on; what is None is left out."""
        return {
            f"{part}.{i}": value
            for part in ("bias", "down_a", "down_b")
            for i, value in enumerate(getattr(self, part))
            if value is not None
        }

    @classmethod
    def of(cls, named: dict[str, Tensor], layers: int) -> Recovery:
        """The inverse of `tensors`."""
        parts = [[named.get(f"{part}.{i}") for i in range(layers)] for part in ("down_a", "down_b")]
        return cls([named[f"bias.{i}"] for i in range(layers)], *parts)


class Model:
    """The weights on a device; they never change."""

    def __init__(self, weights: Weights, device: str = "cpu", dtype: torch.dtype = torch.float32) -> None:
        self.shape, self.device, self.dtype = weights.shape, torch.device(device), dtype

        def tensor(name: str, kind: torch.dtype) -> Tensor:
            return torch.tensor(weights[name]).to(self.device, kind)

        self.embedding = tensor("token_embd.weight", dtype)
        self.norm = tensor("output_norm.weight", torch.float32)
        self.layers = [
            {part: tensor(f"blk.{i}.{part}.weight", dtype) for part in MATRICES}
            | {part: tensor(f"blk.{i}.{part}.weight", torch.float32) for part in NORMS}
            for i in range(self.shape.layers)
        ]
        steps = torch.arange(0, self.shape.head, 2, device=self.device, dtype=torch.float64)
        self._turn = self.shape.theta ** (-steps / self.shape.head)

    def __call__(
        self, tokens: Tensor, size: Size | None = None, recovery: Recovery | None = None, see: See | None = None
    ) -> Tensor:
        """Normed last states, float32 (batch, time, width), of token ids (batch, time)."""
        size = size or Size.whole(self.shape)
        x = self.embed(tokens)
        x = see(-1, "after", x) if see else x
        for i in range(self.shape.layers):
            x = x + self.attend(i, x, size.groups[i], see)
            x = x + self.feed(i, x, size.hidden[i], recovery, see)
            x = see(i, "after", x) if see else x
        return self.rms(x, self.norm)

    def embed(self, tokens: Tensor) -> Tensor:
        """The first states, float32 (batch, time, width)."""
        return functional.embedding(tokens, self.embedding).float()

    def logits(self, states: Tensor, ids: Tensor | None = None) -> Tensor:
        """Scores of the vocabulary, or of the tokens `ids`, after normed states: float32 (…, tokens)."""
        head = self.embedding if ids is None else self.embedding[ids]
        return self.times(states, head).float()

    def attend(self, i: int, x: Tensor, groups: int, see: See | None = None) -> Tensor:
        """What the attention of layer `i` adds."""
        shape, layer = self.shape, self.layers[i]
        if not groups:
            return torch.zeros_like(x)
        batch, time, heads, head = x.shape[0], x.shape[1], groups * shape.group, shape.head
        normed = self.rms(x, layer["attn_norm"])

        def rows(name: str, count: int) -> Tensor:
            return self.times(normed, layer[name][: count * head]).view(batch, time, count, head).transpose(1, 2)

        turn = torch.outer(torch.arange(time, device=self.device, dtype=torch.float64), self._turn)
        turn = torch.polar(torch.ones_like(turn), turn).to(torch.complex64)
        q, k, v = _rotate(rows("attn_q", heads), turn), _rotate(rows("attn_k", groups), turn), rows("attn_v", groups)
        k, v = k.repeat_interleave(shape.group, 1), v.repeat_interleave(shape.group, 1)
        mixed = functional.scaled_dot_product_attention(
            q.to(self.dtype), k.to(self.dtype), v.to(self.dtype), is_causal=True
        )
        mixed = mixed.transpose(1, 2).reshape(batch, time, heads * head)
        mixed = see(i, "mixed", mixed) if see else mixed
        return self.times(mixed, layer["attn_output"][:, : heads * head]).float()

    def gated(self, i: int, x: Tensor, hidden: int) -> Tensor:
        """The gated activations of the first `hidden` neurons of layer `i`, of `dtype`."""
        layer = self.layers[i]
        normed = self.rms(x, layer["ffn_norm"]).to(self.dtype)
        return functional.silu(self.times(normed, layer["ffn_gate"][:hidden])) * self.times(
            normed, layer["ffn_up"][:hidden]
        )

    def feed(self, i: int, x: Tensor, hidden: int, recovery: Recovery | None = None, see: See | None = None) -> Tensor:
        """What the FFN of layer `i` adds, its recovery included."""
        out = recovery.bias[i].expand_as(x) if recovery else torch.zeros_like(x)
        if not hidden:
            return out
        gated = self.gated(i, x, hidden)
        gated = see(i, "gated", gated) if see else gated
        out = out + self.times(gated, self.layers[i]["ffn_down"][:, :hidden]).float()
        if recovery and recovery.down_a[i] is not None:
            a, b = recovery.down_a[i], recovery.down_b[i]
            assert a is not None and b is not None
            out = out + self.times(self.times(gated, a), b).float()
        return out

    def times(self, x: Tensor, matrix: Tensor) -> Tensor:
        """x @ matrix.T, in `dtype`."""
        return functional.linear(x.to(self.dtype), matrix.to(self.dtype))

    def rms(self, x: Tensor, weight: Tensor) -> Tensor:
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.shape.epsilon) * weight


def _rotate(x: Tensor, turn: Tensor) -> Tensor:
    pairs = torch.view_as_complex(x.float().reshape(*x.shape[:-1], -1, 2).contiguous())
    return torch.view_as_real(pairs * turn).flatten(-2)
