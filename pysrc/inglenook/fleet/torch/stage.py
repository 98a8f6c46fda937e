"""Some layers of a Llama, filled tensor by tensor and run over batches of many requests.

    stage = Stage(shape, 0, 15, cache, embeds=True, heads=False)
    for name in [*stage.missing]:                      # in whatever order they arrive
        stage.load(name, checkpoint.read(name))
    batch = Batch.of(pieces, cache)
    hidden = stage.forward(batch, batch.tokens)        # (tokens, width); with the head logits (wanted, vocabulary)

Architecture: Touvron et al., "LLaMA" (2302.13971, section 2.2), grouped queries after Ainslie et al. (2305.13245).
`attention` and `ffn` are callable apart, so that the second may live elsewhere (MegaScale-Infer, 2504.02263).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from inglenook.elastic.shape import Shape
from inglenook.errors import NookError
from inglenook.fleet.safetensors import corrupt
from inglenook.fleet.torch.batch import Batch, Group
from inglenook.fleet.torch.matrix import Matrix
from inglenook.fleet.torch.memory import Cache
from inglenook.fleet.weights import EMBEDDING, HEAD, NORM, Checkpoint, layer_name, part_names, tensor_shape

QKV = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
GATE_UP = ("mlp.gate_proj", "mlp.up_proj")
"""What is multiplied with the same input stands in one matrix."""


class Stage:
    """Layers `first` to `last` (not itself), with the embedding and the head where they are asked for. Its numbers are
    of the cache's dtype and on its device; `missing` are the tensors that were not loaded yet."""

    def __init__(
        self, shape: Shape, first: int, last: int, cache: Cache, *, embeds: bool, heads: bool, tied: bool
    ) -> None:
        self.shape, self.first, self.last, self.cache = shape, first, last, cache
        self.embeds, self.heads = embeds, heads
        self.missing = dict.fromkeys(part_names(first, last, embeds=embeds, heads=heads, tied=tied))
        self._head = EMBEDDING if tied else HEAD
        self._tensors: dict[str, Tensor] = {}
        self._matrices: dict[str, Matrix] = {}
        steps = torch.arange(0, shape.head, 2, dtype=torch.float64, device=cache.device)
        self._turn = shape.theta ** (-steps / shape.head)

    @classmethod
    def whole(cls, checkpoint: Checkpoint, cache: Cache) -> Stage:
        """All layers of a model, loaded."""
        shape = checkpoint.shape
        stage = cls(shape, 0, shape.layers, cache, embeds=True, heads=True, tied=checkpoint.tied)
        for name in [*stage.missing]:
            stage.load(name, checkpoint.read(name))
        return stage

    def load(self, name: str, values: np.ndarray | Tensor) -> None:
        """Take in a tensor, of any float type. Raises NookError("stage") if it is not needed (any more), and
        NookError("model-corrupt") if it has another shape."""
        if name not in self.missing:
            raise NookError("stage", f"This stage does not wait for {name}.", "Load what is in `missing`, once.")
        if tuple(values.shape) != tensor_shape(self.shape, name):
            raise corrupt(f"tensor {name} has the shape {tuple(values.shape)}")
        if isinstance(values, np.ndarray):
            values = torch.from_numpy(values if values.flags.writeable else values.copy())
        self._tensors[name] = values.to(self.cache.device, self.cache.dtype, copy=True)
        del self.missing[name]
        self._settle(name)

    def forward(self, batch: Batch, x: Tensor) -> Tensor:
        """Run all layers on token ids (tokens,), or on what the stage before gave, (tokens, width). Gives states
        (tokens, width), or of a stage with the head float32 logits (wanted, vocabulary)."""
        if self.missing:
            what = f"{len(self.missing)} tensors are missing, {next(iter(self.missing))} for one"
            raise NookError("stage", f"This stage is not loaded: {what}.", "Load them first.")
        with torch.inference_mode():
            if self.embeds:
                x = functional.embedding(x, self._tensors[EMBEDDING])
            turn = self._rotation(batch.positions)
            for layer in range(self.first, self.last):
                x = x + self.attention(layer, x, batch, turn)
                x = x + self.ffn(layer, x)
            return self.logits(x[batch.wanted]) if self.heads else x

    def attention(self, layer: int, x: Tensor, batch: Batch, turn: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """What the attention of a layer adds to states `x` (tokens, width); keys and values go to the cache."""
        shape, cos_sin = self.shape, turn or self._rotation(batch.positions)
        heads, kv = shape.heads, shape.kv_heads
        qkv = self._matrices[f"{layer}.qkv"](self._norm(x, layer_name(layer, "input_layernorm")))
        qkv = qkv.view(len(x), heads + 2 * kv, shape.head)
        turned, values = _rotate(qkv[:, : heads + kv], *cos_sin), qkv[:, heads + kv :]
        self.cache.write(layer, batch.rows, turned[:, heads:], values)
        queries = turned[:, :heads]
        if len(batch.groups) == 1:
            mixed = self._attend(layer, queries, batch.groups[0])
        else:
            mixed = torch.empty_like(queries)
            for group in batch.groups:
                mixed[group.at] = self._attend(layer, queries[group.at], group)
        return self._matrices[f"{layer}.self_attn.o_proj"](mixed.reshape(len(x), -1))

    def ffn(self, layer: int, x: Tensor) -> Tensor:
        """What the feed-forward network of a layer adds to states `x` (tokens, width)."""
        normed = self._norm(x, layer_name(layer, "post_attention_layernorm"))
        gate, up = self._matrices[f"{layer}.gate_up"](normed).chunk(2, dim=-1)
        return self._matrices[f"{layer}.mlp.down_proj"](functional.silu(gate) * up)

    def logits(self, x: Tensor) -> Tensor:
        """Scores of the vocabulary after states (rows, width): float32."""
        return self._matrices[self._head](self._norm(x, NORM)).float()

    def _attend(self, layer: int, queries: Tensor, group: Group) -> Tensor:
        """The values (tokens, heads, head) that a group's queries mix. Queries that share a key-value head are rows of
        one product."""
        keys, values = self.cache.read(layer, group.rows)
        requests, kv, _, head = keys.shape
        cut = queries.view(requests, group.each, kv, self.shape.group, head)
        rows = cut.permute(0, 2, 3, 1, 4).reshape(requests, kv, -1, head)
        mixed = functional.scaled_dot_product_attention(rows, keys, values, attn_mask=group.mask)
        mixed = mixed.view(requests, kv, self.shape.group, group.each, head).permute(0, 3, 1, 2, 4)
        return mixed.reshape(len(queries), self.shape.heads, head)

    def _rotation(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines (tokens, 1, head / 2) of the channels' turns (RoFormer, 2104.09864, section 3.2)."""
        angles = torch.outer(positions.double(), self._turn).unsqueeze(1)
        return angles.cos().to(self.cache.dtype), angles.sin().to(self.cache.dtype)

    def _norm(self, x: Tensor, name: str) -> Tensor:
        return functional.rms_norm(x, (self.shape.width,), self._tensors[name], self.shape.epsilon)

    def _settle(self, name: str) -> None:
        """Make matrices of the tensors that are there, where all parts of one are."""
        if name == self._head:
            self._matrices[name] = Matrix(self._tensors[name])
            if not (self.embeds and name == EMBEDDING):
                del self._tensors[name]
        elif ".layers." in name:
            layer, part = name.removeprefix("model.layers.").removesuffix(".weight").split(".", 1)
            fused: Mapping[str, tuple[str, ...]] = {"qkv": QKV, "gate_up": GATE_UP, part: (part,)}
            key, parts = next((key, parts) for key, parts in fused.items() if part in parts)
            names = [layer_name(int(layer), one) for one in parts]
            if not part.endswith("layernorm") and all(one in self._tensors for one in names):
                self._matrices[f"{layer}.{key}"] = Matrix(torch.cat([self._tensors.pop(one) for one in names]))


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn the pairs of channels, which lie half a head apart, of x (tokens, heads, head)."""
    near, far = x.chunk(2, dim=-1)
    return torch.cat([near * cos - far * sin, far * cos + near * sin], dim=-1)
