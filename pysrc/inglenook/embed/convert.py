"""A BERT encoder from safetensors to the kernel's artifact (`kernels.artifact`, wasm/bert.c).

Matrices are quantised here to 7 bits with a scale for each row of 64 columns, embeddings to 8 bits.
Query, key and value become one matrix; the embedding of the only token type in use joins the positions'.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from inglenook.embed.reference import read_safetensors
from inglenook.errors import NookError
from inglenook.kernels import artifact, pack
from inglenook.kernels.artifact import Tensor
from inglenook.types import Json

Weights = dict[str, np.ndarray]
HEAD = 32
"""Channels of an attention head, which the weights do not tell: MiniLM's."""
EPSILON = 1e-12
"""What layer normalisation adds to a variance."""


def convert(safetensors: Path, out: Path) -> None:
    """Write the artifact `out` of the weights in `safetensors`. Raises NookError("model-corrupt" | …)."""
    weights = _read(safetensors)
    vocabulary, width = weights["embeddings.word_embeddings.weight"].shape
    positions = len(weights["embeddings.position_embeddings.weight"])
    hidden = len(weights["encoder.layer.0.intermediate.dense.bias"])
    layers = sum(name.endswith("intermediate.dense.bias") for name in weights)
    words = [layers, width, hidden, width // HEAD, vocabulary, positions, artifact.word(EPSILON)]
    config: Json = {
        "name": "all-MiniLM-L6-v2", "layers": layers, "width": width, "hidden": hidden, "heads": width // HEAD,
        "vocabulary": vocabulary, "positions": positions,
    }  # fmt: skip
    artifact.write(out, "encoder", words, config, _tensors(weights, layers))


def _read(path: Path) -> Weights:
    if not path.is_file():
        raise NookError("model-missing", f"There is no model file {path.name}.", "Run the build to fetch it.")
    try:
        return read_safetensors(path.read_bytes())
    except (ValueError, KeyError, TypeError, struct.error) as error:
        raise NookError("model-corrupt", f"{path.name} is damaged.", "Download it again.") from error


def _tensors(weights: Weights, layers: int) -> Iterator[Tensor]:
    words = weights["embeddings.word_embeddings.weight"]
    yield Tensor("words", "q8", words.shape, pack.quantise("q8", words))
    places = weights["embeddings.position_embeddings.weight"] + weights["embeddings.token_type_embeddings.weight"][0]
    yield artifact.floats("places", places)
    yield from _norm(weights, "embeddings.LayerNorm")
    for i in range(layers):
        layer = f"encoder.layer.{i}."
        parts = [f"{layer}attention.self.{part}" for part in ("query", "key", "value")]
        yield _matrix(f"{layer}qkv.weight", np.concatenate([weights[f"{part}.weight"] for part in parts]))
        yield artifact.floats(f"{layer}qkv.bias", np.concatenate([weights[f"{part}.bias"] for part in parts]))
        yield from _dense(weights, f"{layer}attention.output.dense")
        yield from _norm(weights, f"{layer}attention.output.LayerNorm")
        yield from _dense(weights, f"{layer}intermediate.dense")
        yield from _dense(weights, f"{layer}output.dense")
        yield from _norm(weights, f"{layer}output.LayerNorm")


def _matrix(name: str, values: np.ndarray) -> Tensor:
    return Tensor(name, "q7", values.shape, pack.quantise("q7", values))


def _dense(weights: Weights, name: str) -> Iterator[Tensor]:
    yield _matrix(f"{name}.weight", weights[f"{name}.weight"])
    yield artifact.floats(f"{name}.bias", weights[f"{name}.bias"])


def _norm(weights: Weights, name: str) -> Iterator[Tensor]:
    yield artifact.floats(f"{name}.weight", weights[f"{name}.weight"])
    yield artifact.floats(f"{name}.bias", weights[f"{name}.bias"])
