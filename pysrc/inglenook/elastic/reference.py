"""The Llama family's forward pass in plain numpy float32: slow, short, and the oracle for the kernel.

    model = Reference(Gguf.open(path))
    model.logits([1, 2, 3])       # float32 (3, vocabulary): row i scores the token after token i
    model.best([4], at=3, top=8)  # Candidates, continuing from the cache: what a `Forward` effect is answered with

Architecture: Touvron et al., "LLaMA" (2302.13971, section 2.2), grouped queries after Ainslie et al. (2305.13245).
A GGUF file stores the query and key rows so that rotary pairs lie next to each other (2i, 2i + 1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from inglenook.elastic.gguf import Gguf
from inglenook.errors import NookError
from inglenook.flow import Candidates

Array = np.ndarray


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes of a model. `group` query heads share one of the `kv_heads`; a head has `head` channels."""

    layers: int
    width: int
    hidden: int
    heads: int
    kv_heads: int
    vocabulary: int
    context: int
    theta: float
    epsilon: float

    @property
    def head(self) -> int:
        return self.width // self.heads

    @property
    def group(self) -> int:
        return self.heads // self.kv_heads

    @classmethod
    def of(cls, gguf: Gguf) -> Shape:
        """Read the sizes from a file's metadata; NookError("model-unsupported") for what this pass cannot do."""
        meta = gguf.metadata

        def refuse(what: str) -> NookError:
            return NookError("model-unsupported", f"This model is not supported: {what}.", "Use a plain Llama model.")

        def get(key: str, default: Any = None) -> Any:
            value = meta.get("llama." + key, default)
            if value is None:
                raise refuse(f"its file does not say llama.{key}")
            return value

        if meta.get("general.architecture") != "llama":
            raise refuse(f"its architecture is {meta.get('general.architecture')}")
        if meta.get("llama.rope.scaling.type", "none") != "none":
            raise refuse("it scales its rotary positions")
        heads = get("attention.head_count")
        shape = cls(
            layers=get("block_count"),
            width=get("embedding_length"),
            hidden=get("feed_forward_length"),
            heads=heads,
            kv_heads=get("attention.head_count_kv", heads),
            vocabulary=gguf.tensor("token_embd.weight").shape[0],
            context=get("context_length"),
            theta=get("rope.freq_base", 10000.0),
            epsilon=get("attention.layer_norm_rms_epsilon"),
        )
        if shape.width % heads or heads % shape.kv_heads or get("rope.dimension_count", shape.head) != shape.head:
            raise refuse("its heads do not divide its width")
        return shape


@dataclass(frozen=True, slots=True)
class _Layer:
    attn_norm: Array
    q: Array
    k: Array
    v: Array
    o: Array
    ffn_norm: Array
    gate: Array
    up: Array
    down: Array


class Reference:
    """A model and its key-value cache of `held` positions."""

    def __init__(self, gguf: Gguf) -> None:
        self.shape = shape = Shape.of(gguf)

        def read(name: str) -> Array:
            return gguf.tensor(name + ".weight").dequantise()

        names = ("attn_norm", "attn_q", "attn_k", "attn_v", "attn_output", "ffn_norm", "ffn_gate", "ffn_up", "ffn_down")
        self._layers = [_Layer(*(read(f"blk.{i}.{name}") for name in names)) for i in range(shape.layers)]
        self._embedding = read("token_embd")
        self._norm = read("output_norm")
        self._head = read("output") if "output.weight" in gguf.tensors else self._embedding
        empty = np.zeros((0, shape.kv_heads, shape.head), np.float32)
        self._cache = [(empty, empty) for _ in range(shape.layers)]

    @property
    def held(self) -> int:
        """How many positions the cache holds."""
        return len(self._cache[0][0])

    def logits(self, tokens: list[int]) -> Array:
        """Scores of the next token after each of `tokens`, from an empty cache: float32 (len(tokens), vocabulary)."""
        scores: Array = self.hidden(tokens, 0) @ self._head.T
        return scores

    def best(self, tokens: list[int], at: int, top: int = 64) -> Candidates:
        """Run `tokens` from position `at` on, and give the `top` best next tokens."""
        scores = self.hidden(tokens, at)[-1] @ self._head.T
        order = np.argsort(-scores, kind="stable")[:top]
        return Candidates(order.astype(np.int32), scores[order])

    def hidden(self, tokens: list[int], at: int) -> Array:
        """The last layer's normed states, float32 (len(tokens), width); the cache from `at` on is replaced."""
        if not tokens or not 0 <= at <= self.held:
            raise NookError("forward", f"{len(tokens)} tokens at {at} do not continue {self.held} held.", "")
        if at + len(tokens) > self.shape.context:
            raise NookError("context", f"The model reads {self.shape.context} tokens at most.", "Shorten the prompt.")
        state = self._embedding[tokens]
        rotation = _rotation(np.arange(at, at + len(tokens)), self.shape)
        for index, layer in enumerate(self._layers):
            state = state + self._attend(layer, index, self._rms(state, layer.attn_norm), rotation, at)
            normed = self._rms(state, layer.ffn_norm)
            state = state + (_silu(normed @ layer.gate.T) * (normed @ layer.up.T)) @ layer.down.T
        return self._rms(state, self._norm)

    def _attend(self, layer: _Layer, index: int, x: Array, rotation: Array, at: int) -> Array:
        shape, n = self.shape, len(x)
        q = _rotate((x @ layer.q.T).reshape(n, shape.heads, shape.head), rotation)
        k = _rotate((x @ layer.k.T).reshape(n, shape.kv_heads, shape.head), rotation)
        v = (x @ layer.v.T).reshape(n, shape.kv_heads, shape.head)
        keys, values = (np.concatenate([old[:at], new]) for old, new in zip(self._cache[index], (k, v), strict=True))
        self._cache[index] = keys, values
        q = q.reshape(n, shape.kv_heads, shape.group, shape.head)
        scores = np.einsum("nkgd,mkd->kgnm", q, keys, optimize=True) / np.float32(np.sqrt(shape.head))
        future = np.arange(at + n)[None, :] > np.arange(at, at + n)[:, None]
        weights = _softmax(np.where(future, np.float32(-np.inf), scores))
        mixed = np.einsum("kgnm,mkd->nkgd", weights, values, optimize=True)
        out: Array = mixed.reshape(n, shape.width) @ layer.o.T
        return out

    def _rms(self, x: Array, weight: Array) -> Array:
        scale = np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + np.float32(self.shape.epsilon))
        out: Array = x / scale * weight
        return out


def _rotation(positions: Array, shape: Shape) -> Array:
    """Unit complex numbers (positions, 1, head // 2): the turn of each channel pair at each position."""
    angles = positions[:, None] * shape.theta ** (-np.arange(0, shape.head, 2) / shape.head)
    turn: Array = np.exp(1j * angles)[:, None, :].astype(np.complex64)
    return turn


def _rotate(x: Array, rotation: Array) -> Array:
    turned: Array = np.ascontiguousarray(x).view(np.complex64) * rotation
    return turned.view(np.float32)


def _silu(x: Array) -> Array:
    out: Array = x / (1 + np.exp(-x))
    return out


def _softmax(x: Array) -> Array:
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    out: Array = powers / powers.sum(axis=-1, keepdims=True)
    return out
