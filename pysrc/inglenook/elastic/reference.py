"""The Llama family's forward pass in plain numpy float32: slow, short, and the oracle for the kernel.

    model = Reference(Gguf.open(path))
    model.logits([1, 2, 3])       # float32 (3, vocabulary): row i scores the token after token i
    model.best([4], at=3, top=8)  # Candidates, continuing from the cache: what a `Forward` effect is answered with

Architecture: Touvron et al., "LLaMA" (2302.13971, section 2.2), grouped queries after Ainslie et al. (2305.13245).
Levels: ELMS (2409.09071, section 3); the bias of what is left out is ours.
A GGUF file stores the query and key rows so that rotary pairs lie next to each other (2i, 2i + 1).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from inglenook.elastic.gguf import Gguf
from inglenook.elastic.levels import Level, levels_of, whole
from inglenook.elastic.shape import Shape
from inglenook.errors import NookError
from inglenook.flow import Candidates
from inglenook.kernels import artifact

Array = np.ndarray
BLOCK = 32  # columns of weights and activations that have a scale together


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


@dataclass(frozen=True, slots=True)
class _Recovery:
    bias: Array | None = None
    a: Array | None = None
    b: Array | None = None


class Reference:
    """A model, from a GGUF file or the path of an artifact, and its key-value cache of `held` positions.

    All calls take the `level` they run at; what one level cached the others read. With `rounded`, activations, keys and
    values are rounded to 8 bits where the kernel rounds them, and nothing else is: what differs then is a defect.
    `watch` is told of every operation's result, by name ("0.query", …, "norm"), in the order they are computed.
    """

    def __init__(self, source: Gguf | Path, *, rounded: bool = False) -> None:
        self._round: Callable[[Array, int], Array] = _rounded if rounded else lambda x, block: x
        self.watch: Callable[[str, Array], None] = lambda name, x: None
        self.levels: tuple[Level, ...]
        read: Callable[[str], Array]
        if isinstance(source, Gguf):
            self.shape = Shape.of(source)
            self.levels = (whole(self.shape.layers, self.shape.hidden, self.shape.kv_heads),)
            names = set(source.tensors)
            read = lambda name: source.tensor(name).dequantise()
        else:
            header = artifact.read_header(source)
            self.shape, self.levels = Shape.of_config(header.config), levels_of(header.config)
            names = set(header.places)
            read = lambda name: artifact.floats_of(source, header, name)
        parts = ("attn_norm", "attn_q", "attn_k", "attn_v", "attn_output", "ffn_norm", "ffn_gate", "ffn_up", "ffn_down")
        layers = range(self.shape.layers)
        self._layers = [_Layer(*(read(f"blk.{i}.{part}.weight") for part in parts)) for i in layers]
        self._recovery = {
            (level, i): _Recovery(
                *(read(name) if (name := f"level.{level}.{i}.{part}") in names else None
                  for part in ("bias", "down_a", "down_b"))
            )
            for level in range(len(self.levels)) for i in layers
        }  # fmt: skip
        self._embedding = read("token_embd.weight")
        self._norm = read("output_norm.weight")
        self._head = read("output.weight") if "output.weight" in names else self._embedding
        empty = np.zeros((0, self.shape.kv_heads, self.shape.head), np.float32)
        self._cache = [(empty, empty) for _ in layers]

    @property
    def held(self) -> int:
        """How many positions the cache holds."""
        return len(self._cache[0][0])

    def logits(self, tokens: list[int], level: int = 0) -> Array:
        """Scores of the next token after each of `tokens`, from an empty cache: float32 (len(tokens), vocabulary)."""
        scores: Array = self.hidden(tokens, 0, level) @ self._head.T
        return scores

    def best(
        self, tokens: list[int], at: int, top: int = 64, *, level: int = 0, each: int = 1, allow: bytes | None = None
    ) -> Candidates:
        """Run `tokens` from position `at` on, and give the `top` best next tokens after each of the last `each`."""
        scores = self.hidden(tokens, at, level)[len(tokens) - each :] @ self._head.T
        totals = _total(scores)
        if allow is not None:
            banned = np.unpackbits(np.frombuffer(allow, np.uint8), bitorder="little")[: scores.shape[1]] == 0
            scores[-1, banned] = -np.inf
        order = np.argsort(-scores, axis=1, kind="stable")[:, :top]
        best = np.take_along_axis(scores, order, axis=1)
        ids = np.where(best == -np.inf, -1, order).astype(np.int32)
        if each == 1:
            found = ids[0] >= 0
            return Candidates(ids[0][found], best[0][found], float(totals[0]))
        return Candidates(ids, best, totals)

    def score(self, tokens: list[int], at: int, level: int = 0) -> Array:
        """The log-probability of each of `tokens` but the first, given those before it: float32 (len(tokens) - 1,)."""
        scores = self.hidden(tokens, at, level)[:-1] @ self._head.T
        given: Array = np.take_along_axis(scores, np.array(tokens[1:], int)[:, None], axis=1)[:, 0]
        out: Array = given - _total(scores)
        return out

    def hidden(self, tokens: list[int], at: int, level: int = 0) -> Array:
        """The last layer's normed states, float32 (len(tokens), width); the cache from `at` on is replaced."""
        if not tokens or not 0 <= at <= self.held:
            raise NookError("forward", f"{len(tokens)} tokens at {at} do not continue {self.held} held.", "")
        if at + len(tokens) > self.shape.context:
            raise NookError("context", f"The model reads {self.shape.context} tokens at most.", "Shorten the prompt.")
        state, watch = self._embedding[tokens], self.watch
        watch("embedding", state)
        rotation = _rotation(np.arange(at, at + len(tokens)), self.shape)
        for i, layer in enumerate(self._layers):
            groups, active, lost = self.levels[level].groups[i], self.levels[level].hidden[i], self._recovery[level, i]
            normed = self._rms(state, layer.attn_norm)
            watch(f"{i}.attention norm", normed)
            state = state + self._attend(i, normed, rotation, at, groups)
            watch(f"{i}.attention", state)
            normed = self._rms(state, layer.ffn_norm)
            watch(f"{i}.feed-forward norm", normed)
            gated = self._round(_silu(normed @ layer.gate[:active].T) * (normed @ layer.up[:active].T), BLOCK)
            watch(f"{i}.gated", gated)
            state = state + gated @ layer.down[:, :active].T
            if lost.a is not None and lost.b is not None:
                state = state + self._round(gated @ lost.a.T, BLOCK) @ lost.b.T
            if lost.bias is not None:
                state = state + lost.bias
            watch(f"{i}.feed-forward", state)
        normed = self._rms(state, self._norm)
        watch("norm", normed)
        return normed

    def _attend(self, index: int, x: Array, rotation: Array, at: int, groups: int) -> Array:
        """What the first `groups` key-value groups with their query heads add."""
        shape, n, layer = self.shape, len(x), self._layers[index]
        q = _rotate((x @ layer.q.T).reshape(n, shape.heads, shape.head), rotation)
        k = _rotate((x @ layer.k.T).reshape(n, shape.kv_heads, shape.head), rotation)
        k = self._round(k, shape.head)
        v = self._round((x @ layer.v.T).reshape(n, shape.kv_heads, shape.head), shape.head)
        keys, values = (np.concatenate([old[:at], new]) for old, new in zip(self._cache[index], (k, v), strict=True))
        self._cache[index] = keys, values
        for name, made in (("query", q), ("key", k), ("value", v)):
            self.watch(f"{index}.{name}", made)
        q = q.reshape(n, shape.kv_heads, shape.group, shape.head)
        scores = np.einsum("nkgd,mkd->kgnm", q, keys, optimize=True) / np.float32(np.sqrt(shape.head))
        future = np.arange(at + n)[None, :] > np.arange(at, at + n)[:, None]
        weights = _softmax(np.where(future, np.float32(-np.inf), scores))
        mixed = np.einsum("kgnm,mkd->nkgd", weights, values, optimize=True)
        active, mixed = groups * shape.group * shape.head, self._round(mixed.reshape(n, shape.width), BLOCK)
        self.watch(f"{index}.mixed values", mixed)
        out: Array = mixed[:, :active] @ layer.o[:, :active].T
        return out

    def _rms(self, x: Array, weight: Array) -> Array:
        scale = np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + np.float32(self.shape.epsilon))
        out: Array = self._round(x / scale * weight, BLOCK)
        return out


def _rounded(x: Array, block: int) -> Array:
    """The last axis in blocks of 8 bits, each with the scale of its peak."""
    cut = x.reshape(*x.shape[:-1], x.shape[-1] // block, block)
    step = np.abs(cut).max(axis=-1, keepdims=True) / np.float32(127)
    out: Array = np.rint(cut / np.where(step == 0, np.float32(1), step)) * step
    return out.reshape(x.shape).astype(np.float32)


def _total(scores: Array) -> Array:
    """Log-sum-exp of each row."""
    peak = scores.max(axis=-1)
    total: Array = peak + np.log(np.exp(scores - peak[:, None]).sum(axis=-1))
    return total


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
