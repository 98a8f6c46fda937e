"""A Llama's weights as float32, from GGUF or safetensors, named as GGUF names them.

    weights = read(Path("model.gguf"))          # or a .safetensors file with its config.json beside it
    weights["blk.0.ffn_down.weight"].shape      # (width, hidden)
    weights.shape.layers

Safetensors of the Llama family keep the two channels of a rotary pair half a head apart, GGUF side by side: rows of
queries and keys are put in GGUF's order (RoFormer, 2104.09864, equation 15: any pairing of channels will do).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from inglenook.depth import parse
from inglenook.elastic.gguf import Gguf
from inglenook.elastic.shape import Shape
from inglenook.errors import NookError
from inglenook.fleet import safetensors

Array = np.ndarray

MATRICES = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
NORMS = ("attn_norm", "ffn_norm")
_THEIRS = {
    "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj", "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Weights:
    """The tensors of a model whose head is its embedding."""

    shape: Shape
    tensors: dict[str, Array]

    def __getitem__(self, name: str) -> Array:
        return self.tensors[name]


def names(layers: int) -> Iterator[str]:
    """All names there are, in the order of a file."""
    yield "token_embd.weight"
    yield "output_norm.weight"
    for layer in range(layers):
        for part in (*NORMS, *MATRICES):
            yield f"blk.{layer}.{part}.weight"


def read(path: Path) -> Weights:
    """Read a model file. Raises NookError("model-missing" | "model-corrupt" | "model-unsupported")."""
    return _safetensors(path) if path.suffix == ".safetensors" else of_gguf(Gguf.open(path))


def of_gguf(gguf: Gguf) -> Weights:
    """The weights of an open GGUF file."""
    if "output.weight" in gguf.tensors:
        raise NookError("model-unsupported", "This model has a head of its own.", "Use one with a tied head.")
    shape = Shape.of(gguf)
    return Weights(shape, {name: gguf.tensor(name).dequantise() for name in names(shape.layers)})


def _safetensors(path: Path) -> Weights:
    beside = path.with_name("config.json")
    for needed in (path, beside):
        if not needed.is_file():
            raise NookError("model-missing", f"There is no {needed.name} at {needed.parent}.", "Check the path.")
    entries, raw = safetensors.open_header(path).entries, np.memmap(path, np.uint8, "r")
    prefix = "model." if "model.embed_tokens.weight" in entries else ""

    def tensor(name: str) -> Array:
        entry = entries[f"{prefix}{name}.weight"]
        return safetensors.floats(entry.kind, raw[entry.start : entry.end], entry.shape).astype(np.float32)

    try:
        shape = _shape(parse(beside.read_text()))
        found = {"token_embd.weight": tensor("embed_tokens"), "output_norm.weight": tensor("norm")}
        for layer in range(shape.layers):
            for ours, theirs in _THEIRS.items():
                value = tensor(f"layers.{layer}.{theirs}")
                turned = ours in ("attn_q", "attn_k")
                found[f"blk.{layer}.{ours}.weight"] = _pairs(value, shape.head) if turned else value
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
        raise NookError("model-corrupt", f"{path.name} or its config.json is damaged.", "Get it again.") from error
    return Weights(shape, {name: found[name] for name in names(shape.layers)})


def _shape(said: dict[str, Any]) -> Shape:
    if said.get("model_type") != "llama" or said.get("rope_scaling") or not said.get("tie_word_embeddings"):
        raise NookError("model-unsupported", "This is no plain Llama with a tied head.", "Use one of the family.")
    heads = int(said["num_attention_heads"])
    return Shape(
        layers=int(said["num_hidden_layers"]), width=int(said["hidden_size"]), hidden=int(said["intermediate_size"]),
        heads=heads, kv_heads=int(said.get("num_key_value_heads", heads)), vocabulary=int(said["vocab_size"]),
        context=int(said["max_position_embeddings"]), theta=float(said.get("rope_theta", 10000.0)),
        epsilon=float(said["rms_norm_eps"]),
    )  # fmt: skip


def _pairs(rows: Array, head: int) -> Array:
    """Rows (heads * head, width) whose pairs lie half a head apart, with the pairs side by side."""
    cut = rows.reshape(-1, 2, head // 2, rows.shape[1])
    return np.ascontiguousarray(cut.transpose(0, 2, 1, 3)).reshape(rows.shape)
