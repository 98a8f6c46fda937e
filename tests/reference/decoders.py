"""Llama decoders with a key-value cache as ONNX files, named as Hugging Face exports them.

    input_ids, attention_mask, position_ids, past_key_values.N.key | value → logits, present.N.key | value

`Form` says how the matrices are stored: "f32"; "int8", which exporters call dynamic (signed bytes with a scale for each
row, activations rounded as they come); "int4" (MatMulNBits: blocks of 32 with a scale and a zero point). Attention,
rotation and norms are onnxruntime's own fused operators, the fastest it has.
"""

from collections.abc import Mapping
from typing import Literal

import numpy as np

from .onnx_bytes import CONTRIB, Attributes, model, node, value

Form = Literal["f32", "int8", "int4"]
BLOCK = 32


class Decoder:
    """The nodes and tensors of a model while it is put together.

    `weights` are float32 by the names of a GGUF file, which keeps rotary pairs next to each other. `last` adds the
    input `num_logits_to_keep` (the logits of so many tokens at the end), `merged` the input `use_cache_branch`.
    """

    def __init__(self, weights: Mapping[str, np.ndarray], sizes: "Sizes", form: Form, last: bool, merged: bool) -> None:
        self.weights, self.sizes, self.form, self.last, self.merged = weights, sizes, form, last, merged
        self.nodes: list[bytes] = []
        self.tensors: dict[str, np.ndarray] = {}

    def op(self, operator: str, *inputs: str, domain: str = "", **attributes: float | list[int]) -> str:
        return self.ops(operator, inputs, 1, domain, attributes)[0]

    def ops(
        self, operator: str, inputs: tuple[str, ...], outputs: int, domain: str, attributes: Attributes
    ) -> list[str]:
        names = [f"n{len(self.nodes)}.{i}" for i in range(outputs)]
        self.nodes.append(node(operator, list(inputs), names, attributes, domain))
        return names

    def const(self, name: str, array: np.ndarray) -> str:
        self.tensors[name] = array
        return name

    def matmul(self, name: str, x: str, weight: np.ndarray) -> str:
        """x times the rows of `weight` (rows, columns)."""
        rows, columns = weight.shape
        if self.form == "f32":
            return self.op("MatMul", x, self.const(name, np.ascontiguousarray(weight.T)))
        if self.form == "int8":
            q, scale = _int8(weight)
            turned = self.const(name, np.ascontiguousarray(q.T))
            return self.op("DynamicQuantizeMatMul", x, turned, self.const(f"{name}.scale", scale), domain=CONTRIB)
        q, scale, zero = _int4(weight)
        parts = (self.const(name, q), self.const(f"{name}.scale", scale), self.const(f"{name}.zero", zero))
        sizes = {"K": columns, "N": rows, "bits": 4, "block_size": BLOCK, "accuracy_level": 4}
        return self.op("MatMulNBits", x, *parts, domain=CONTRIB, **sizes)

    def embed(self, weight: np.ndarray) -> str:
        """The rows of the input's tokens."""
        if self.form == "f32":
            return self.op("Gather", self.const("embedding", weight), "input_ids")
        q, scale = _int8(weight)
        rows = self.op("Cast", self.op("Gather", self.const("embedding", q), "input_ids"), to=1)
        return self.op("Mul", rows, self.op("Gather", self.const("embedding.scale", scale[:, None]), "input_ids"))

    def norm(self, name: str, x: str, more: str = "") -> tuple[str, str]:
        """The norm of x + more, and that sum."""
        scale = self.const(name, self.weights[f"{name}.weight"])
        epsilon = {"epsilon": self.sizes.epsilon}
        if not more:
            return self.op("SimplifiedLayerNormalization", x, scale, axis=-1, **epsilon), x
        made = self.ops("SkipSimplifiedLayerNormalization", (x, more, scale), 4, CONTRIB, epsilon)
        return made[0], made[3]

    def attend(self, layer: int, x: str, lengths: tuple[str, str]) -> str:
        sizes, block = self.sizes, f"blk.{layer}"
        q, k, v = (self.matmul(f"{block}.attn_{n}", x, self.weights[f"{block}.attn_{n}.weight"]) for n in "qkv")
        q, k = (
            self.op("RotaryEmbedding", part, "position_ids", "cosine", "sine", domain=CONTRIB, interleaved=1)
            for part in (q, k)
        )
        past = [f"past_key_values.{layer}.{part}" for part in ("key", "value")]
        if self.merged:  # the cache counts only where the flag says so: a wrong flag gives wrong logits
            past = [self.op("Slice", part, "zero", self.op("Mul", "past", "flag"), "two") for part in past]
        present = [f"present.{layer}.{part}" for part in ("key", "value")]
        heads = {"num_heads": sizes.heads, "kv_num_heads": sizes.kv_heads}
        out = f"attention.{layer}"
        inputs = [q, k, v, *past, *lengths]
        self.nodes.append(node("GroupQueryAttention", inputs, [out, *present], heads, CONTRIB))
        return self.matmul(f"{block}.attn_output", out, self.weights[f"{block}.attn_output.weight"])

    def feed(self, layer: int, x: str) -> str:
        gate, up = (self.matmul(f"blk.{layer}.{n}", x, self.weights[f"blk.{layer}.{n}.weight"]) for n in
                    ("ffn_gate", "ffn_up"))  # fmt: skip
        gated = self.op("Mul", self.op("Mul", gate, self.op("Sigmoid", gate)), up)
        return self.matmul(f"blk.{layer}.ffn_down", gated, self.weights[f"blk.{layer}.ffn_down.weight"])

    def build(self) -> bytes:
        sizes = self.sizes
        angles = np.arange(sizes.context)[:, None] * sizes.theta ** (-np.arange(0, sizes.head, 2) / sizes.head)
        self.const("cosine", np.cos(angles).astype(np.float32))
        self.const("sine", np.sin(angles).astype(np.float32))
        self.const("one", np.array([1]))
        if self.merged:
            self.const("zero", np.array([0]))
            self.const("two", np.array([2]))
            self.nodes.append(node("Cast", ["use_cache_branch"], ["flag"], {"to": 7}))
            size = self.op("Shape", "past_key_values.0.key", start=2, end=3)
            self.nodes.append(node("Identity", [size], ["past"]))
        total = self.op("Shape", "attention_mask", start=1, end=2)
        whole = self.op("Cast", self.op("Squeeze", total), to=6)
        seen = self.op("Cast", self.op("Sub", self.op("ReduceSum", "attention_mask", "one", keepdims=0), "one"), to=6)
        states, more = self.embed(self.weights["token_embd.weight"]), ""
        for layer in range(sizes.layers):
            normed, states = self.norm(f"blk.{layer}.attn_norm", states, more)
            more = self.attend(layer, normed, (seen, whole))
            normed, states = self.norm(f"blk.{layer}.ffn_norm", states, more)
            more = self.feed(layer, normed)
        normed, _ = self.norm("output_norm", states, more)
        if self.last:
            length = self.op("Shape", "input_ids", start=1, end=2)
            kept = self.op("Reshape", "num_logits_to_keep", "one")
            normed = self.op("Slice", normed, self.op("Sub", length, kept), length, "one")
        logits = self.matmul("head", normed, self.weights["token_embd.weight"])
        self.nodes.append(node("Identity", [logits], ["logits"]))
        return model(self.nodes, *self._faces(), self.tensors)

    def _faces(self) -> tuple[list[bytes], list[bytes]]:
        """Inputs and outputs."""
        sizes = self.sizes
        inputs = [value("input_ids", "int64", ("batch_size", "sequence_length"))]
        inputs += [value("attention_mask", "int64", ("batch_size", "total_sequence_length"))]
        inputs += [value("position_ids", "int64", ("batch_size", "sequence_length"))]
        outputs = [value("logits", "float32", ("batch_size", "kept", len(self.weights["token_embd.weight"])))]
        for layer in range(sizes.layers):
            for part in ("key", "value"):
                shape = ("batch_size", sizes.kv_heads, "past_sequence_length", sizes.head)
                inputs.append(value(f"past_key_values.{layer}.{part}", "float32", shape))
                shape = ("batch_size", sizes.kv_heads, "total_sequence_length", sizes.head)
                outputs.append(value(f"present.{layer}.{part}", "float32", shape))
        if self.last:
            inputs.append(value("num_logits_to_keep", "int64", ()))
        if self.merged:
            inputs.append(value("use_cache_branch", "bool", (1,)))
        return inputs, outputs


class Sizes:
    """What the weights do not tell."""

    def __init__(
        self, layers: int, heads: int, kv_heads: int, head: int, *, context: int, theta: float, epsilon: float
    ) -> None:
        self.layers, self.heads, self.kv_heads, self.head = layers, heads, kv_heads, head
        self.context, self.theta, self.epsilon = context, theta, epsilon


def llama(
    weights: Mapping[str, np.ndarray], sizes: Sizes, form: Form = "f32", last: bool = False, merged: bool = False
) -> bytes:
    """The ONNX file."""
    return Decoder(weights, sizes, form, last, merged).build()


def _int8(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Signed bytes (rows, columns) and a scale for each row. Seven bits are used: on a processor with AVX2 alone
    onnxruntime adds two products of an unsigned and a signed byte in 16 bits, which eight would overflow.
    """
    scale = np.maximum(np.abs(weight).max(axis=1) / 63, 1e-12).astype(np.float32)
    return np.rint(weight / scale[:, None]).clip(-63, 63).astype(np.int8), scale


def _int4(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What MatMulNBits takes: nibbles (rows, blocks, 16), scales (rows * blocks), zero points in nibbles."""
    rows, columns = weight.shape
    blocks = columns // BLOCK
    cut = weight.reshape(rows, blocks, BLOCK)
    low, high = np.minimum(cut.min(axis=2), 0), np.maximum(cut.max(axis=2), 0)
    scale = np.maximum((high - low) / 15, 1e-12).astype(np.float32)
    zero = np.rint(-low / scale).clip(0, 15).astype(np.uint8)
    q = (np.rint(cut / scale[..., None]) + zero[..., None]).clip(0, 15).astype(np.uint8)
    padded = np.pad(zero, ((0, 0), (0, blocks % 2)))
    return q[..., ::2] | q[..., 1::2] << 4, scale.reshape(-1), (padded[:, ::2] | padded[:, 1::2] << 4).reshape(-1)
