"""The plain forward pass of all-MiniLM-L6-v2 in numpy: the oracle of every faster encoder, slow and easy to check.

A BERT encoder (Devlin et al. 2018, arXiv:1810.04805, section 3) of six layers, then the mean over all tokens and unit
length (Reimers and Gurevych 2019, arXiv:1908.10084, section 3). All arithmetic is float32.
"""

from __future__ import annotations

import json
import math

import numpy as np

HEADS = 12
_EPSILON = 1e-12


class Reference:
    """The encoder's weights. `tensors` maps the checkpoint's names to float32 arrays, matrices as (out, in)."""

    def __init__(self, tensors: dict[str, np.ndarray]) -> None:
        self.tensors = tensors
        self.layers = len({name.split(".")[2] for name in tensors if name.startswith("encoder.layer.")})

    @classmethod
    def load(cls, data: bytes) -> Reference:
        """Read a float32 `model.safetensors`."""
        return cls(read_safetensors(data))

    def encode(self, tokens: list[int]) -> np.ndarray:
        """The embedding of one token sequence: shape (384,), unit length."""
        mean: np.ndarray = self.hidden(tokens).mean(axis=0)
        unit: np.ndarray = mean / np.linalg.norm(mean)
        return unit

    def hidden(self, tokens: list[int]) -> np.ndarray:
        """The last layer's states, shape (len(tokens), 384)."""
        words = self.tensors["embeddings.word_embeddings.weight"][tokens]
        places = self.tensors["embeddings.position_embeddings.weight"][: len(tokens)]
        kind = self.tensors["embeddings.token_type_embeddings.weight"][0]
        x = self._normalise("embeddings.LayerNorm", words + places + kind)
        for number in range(self.layers):
            layer = f"encoder.layer.{number}"
            attended = self._linear(f"{layer}.attention.output.dense", self._attend(f"{layer}.attention.self", x))
            x = self._normalise(f"{layer}.attention.output.LayerNorm", x + attended)
            wide = gelu(self._linear(f"{layer}.intermediate.dense", x))
            x = self._normalise(f"{layer}.output.LayerNorm", x + self._linear(f"{layer}.output.dense", wide))
        return x

    def _attend(self, name: str, x: np.ndarray) -> np.ndarray:
        def heads(part: str) -> np.ndarray:  # (heads, tokens, width)
            return self._linear(f"{name}.{part}", x).reshape(len(x), HEADS, -1).transpose(1, 0, 2)

        query, key, value = heads("query"), heads("key"), heads("value")
        scores = query @ key.transpose(0, 2, 1) / np.float32(math.sqrt(query.shape[2]))
        weights = np.exp(scores - scores.max(axis=2, keepdims=True))
        weights /= weights.sum(axis=2, keepdims=True)
        mixed: np.ndarray = (weights @ value).transpose(1, 0, 2).reshape(x.shape)
        return mixed

    def _linear(self, name: str, x: np.ndarray) -> np.ndarray:
        y: np.ndarray = x @ self.tensors[f"{name}.weight"].T + self.tensors[f"{name}.bias"]
        return y

    def _normalise(self, name: str, x: np.ndarray) -> np.ndarray:
        centred = x - x.mean(axis=1, keepdims=True)
        spread = np.sqrt((centred * centred).mean(axis=1, keepdims=True) + np.float32(_EPSILON))
        y: np.ndarray = centred / spread * self.tensors[f"{name}.weight"] + self.tensors[f"{name}.bias"]
        return y


def gelu(x: np.ndarray) -> np.ndarray:
    """x · Φ(x), with the exact normal distribution (not the tanh approximation)."""
    y: np.ndarray = np.float32(0.5) * x * (1 + erf(x * np.float32(math.sqrt(0.5))))
    return y


def erf(x: np.ndarray) -> np.ndarray:
    """The error function to 1.5e-7 (Abramowitz and Stegun 1964, formula 7.1.26)."""
    t = 1 / (1 + np.float32(0.3275911) * np.abs(x))
    series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    y: np.ndarray = np.sign(x) * (1 - series * np.exp(-x * x))
    return y


def read_safetensors(data: bytes) -> dict[str, np.ndarray]:
    """Name → array of a safetensors file, in place. Only float32 is understood; other types are left out."""
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    tensors = {}
    for name, entry in header.items():
        if name != "__metadata__" and entry["dtype"] == "F32":
            start, end = entry["data_offsets"]
            flat = np.frombuffer(data, np.float32, (end - start) // 4, 8 + size + start)
            tensors[name] = flat.reshape(entry["shape"])
    return tensors
