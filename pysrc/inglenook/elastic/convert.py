"""A Llama model from GGUF to the kernel's artifact (`kernels.artifact`, wasm/llama.c), and its tokenizer to a file.

Blocks of Q4_1 become panels of q4 and the embedding, which is the head as well, panels of q8: the same numbers in
another order, nothing is rounded. What is stored otherwise is brought to these formats first.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from inglenook.elastic.gguf import Gguf
from inglenook.elastic.reference import Shape
from inglenook.elastic.tokenizer import FORMAT
from inglenook.errors import NookError
from inglenook.kernels import artifact, pack
from inglenook.kernels.artifact import Tensor
from inglenook.types import Json


def convert(gguf: Path, out: Path) -> None:
    """Write the artifact `out` of the model file `gguf`. Raises NookError("model-corrupt" | "model-unsupported")."""
    source = Gguf.open(gguf)
    shape = Shape.of(source)
    if "output.weight" in source.tensors:
        raise NookError("model-unsupported", "This model has a head of its own.", "Use one with a tied head.")
    words = [
        shape.layers, shape.width, shape.hidden, shape.heads, shape.kv_heads, shape.vocabulary,
        artifact.word(shape.epsilon),
    ]  # fmt: skip
    config: Json = {
        "name": str(source.metadata.get("general.name", gguf.stem)), "context": shape.context, "width": shape.width,
        "layers": shape.layers, "hidden": shape.hidden, "heads": shape.heads, "kv_heads": shape.kv_heads,
        "vocabulary": shape.vocabulary,
    }  # fmt: skip
    artifact.write(out, "lm", words, config, _tensors(source, shape))


def export(gguf: Path, out: Path) -> None:
    """Write the tokenizer inside the model file `gguf` as the file that `Tokenizer.load` reads."""
    meta = Gguf.open(gguf).metadata
    if meta.get("tokenizer.ggml.model") != "gpt2" or meta.get("tokenizer.ggml.pre") != "smollm":
        raise NookError(
            "model-unsupported", "This model's tokenizer is not supported.", "Use a model of the SmolLM2 family."
        )
    tokens, merges = meta["tokenizer.ggml.tokens"], meta["tokenizer.ggml.merges"]
    if any("\n" in item for item in (*tokens, *merges)):
        raise NookError("model-unsupported", "A token holds a line break.", "Use a model of the SmolLM2 family.")
    kinds = meta["tokenizer.ggml.token_type"]
    end = int(meta["tokenizer.ggml.eos_token_id"])
    special = [index for index, kind in enumerate(kinds) if kind == 3]
    file = {
        "format": FORMAT,
        "tokens": "\n".join(tokens),
        "merges": "\n".join(merges),
        "special": special,
        "ends": sorted({end, *(index for index in special if tokens[index] == "<|endoftext|>")}),
        "template": meta.get("tokenizer.chat_template", ""),
    }
    out.write_text(json.dumps(file, ensure_ascii=False, separators=(",", ":")), encoding="utf-8")


def _tensors(source: Gguf, shape: Shape) -> Iterator[Tensor]:
    yield artifact.floats("rotation", _rotation(shape), "f64")
    yield _q8("token_embd.weight", source)
    yield artifact.floats("output_norm.weight", source.tensor("output_norm.weight").dequantise())
    for i in range(shape.layers):
        for name in ("attn_norm", "attn_q", "attn_k", "attn_v", "attn_output", "ffn_norm", "ffn_gate", "ffn_up",
                     "ffn_down"):  # fmt: skip
            full = f"blk.{i}.{name}.weight"
            yield artifact.floats(full, source.tensor(full).dequantise()) if "norm" in name else _q4(full, source)


def _rotation(shape: Shape) -> np.ndarray:
    """cos and sin of one position's turn, float64 (head / 2, 2) (RoFormer, 2104.09864, equation 15)."""
    angles = [shape.theta ** (-2 * i / shape.head) for i in range(shape.head // 2)]
    return np.array([[math.cos(angle), math.sin(angle)] for angle in angles])


def _q4(name: str, source: Gguf) -> Tensor:
    tensor = source.tensor(name)
    rows, columns = tensor.shape
    if tensor.kind in ("Q4_0", "Q4_1"):
        blocks = tensor.blocks
        q: pack.Bytes = np.concatenate([blocks["qs"] & 15, blocks["qs"] >> 4], axis=-1).reshape(rows, columns)
        minimum = blocks["m"] if tensor.kind == "Q4_1" else (blocks["d"] * np.float16(-8)).astype(np.float16)
        packed = pack.pack("q4", q, blocks["d"], minimum)
    else:
        packed = pack.quantise_q4(tensor.dequantise())
    return Tensor(name, "q4", tensor.shape, packed)


def _q8(name: str, source: Gguf) -> Tensor:
    tensor = source.tensor(name)
    if tensor.kind == "Q8_0" and tensor.shape[0] % pack.ROWS == 0:
        blocks = tensor.blocks
        signs = np.ascontiguousarray(blocks["qs"]).view(np.uint8).reshape(tensor.shape)
        packed = pack.pack("q8", signs ^ np.uint8(128), blocks["d"])
    else:
        packed = pack.quantise_q8(tensor.dequantise())
    return Tensor(name, "q8", tensor.shape, packed)
