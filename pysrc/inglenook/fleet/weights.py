"""A Llama's weights as named tensors in one order, whichever file they lie in, each with its range of bytes.

    checkpoint = Checkpoint.open(folder)           # of config.json and *.safetensors, or a .gguf file
    for name in part_names(0, 15, embeds=True, heads=False, tied=checkpoint.tied):
        place = checkpoint.places[name]            # file, start, end: what a cold start fetches
        values = place.decode(fetched)             # or checkpoint.read(name), from the disk

Names are those of Hugging Face's Llama checkpoints ("model.layers.0.self_attn.q_proj.weight"), and so is the order of
a head's channels: the two of a rotary pair lie half a head apart. GGUF has them side by side; its rows of queries and
keys are put into this order when they are decoded (RoFormer, 2104.09864, equation 15: any pairing will do).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from inglenook.depth import parse
from inglenook.elastic.gguf import KINDS, Gguf, Tensor
from inglenook.elastic.shape import Shape
from inglenook.errors import NookError
from inglenook.fleet import safetensors

EMBEDDING, NORM, HEAD = "model.embed_tokens.weight", "model.norm.weight", "lm_head.weight"
PARTS = {
    "input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
}  # fmt: skip
"""The tensors of a layer in the order they are needed, and what GGUF calls them."""
_BLOCKS = {name: dtype for name, _, dtype in KINDS.values()}


def part_names(first: int, last: int, *, embeds: bool, heads: bool, tied: bool) -> list[str]:
    """The tensors of layers `first` to `last` (not itself), of the embedding and of the head, in the order they are
    needed. Of a `tied` model the embedding is the head, too."""
    names = [EMBEDDING] if embeds or (heads and tied) else []
    names += [layer_name(layer, part) for layer in range(first, last) for part in PARTS]
    names += [NORM] if heads else []
    names += [HEAD] if heads and not tied else []
    return names


def layer_name(layer: int, part: str) -> str:
    """The full name of a part in `PARTS`."""
    return f"model.layers.{layer}.{part}.weight"


def tensor_shape(shape: Shape, name: str) -> tuple[int, ...]:
    """The shape of a tensor by its full name: (rows, columns), or (width,) of a norm."""
    part = name.removesuffix(".weight").split(".", 3)[-1] if ".layers." in name else name
    q, kv = shape.heads * shape.head, shape.kv_heads * shape.head
    sizes: dict[str, tuple[int, ...]] = {
        "self_attn.q_proj": (q, shape.width), "self_attn.k_proj": (kv, shape.width),
        "self_attn.v_proj": (kv, shape.width), "self_attn.o_proj": (shape.width, q),
        "mlp.gate_proj": (shape.hidden, shape.width), "mlp.up_proj": (shape.hidden, shape.width),
        "mlp.down_proj": (shape.width, shape.hidden),
        EMBEDDING: (shape.vocabulary, shape.width), HEAD: (shape.vocabulary, shape.width),
    }  # fmt: skip
    return sizes.get(part, (shape.width,))


@dataclass(frozen=True, slots=True)
class Place:
    """Where a tensor lies: bytes `start` to `end` of `file`, of `kind` (safetensors' or GGUF's). `near` is the size of
    heads whose rotary pairs lie side by side there, 0 where they do not."""

    name: str
    kind: str
    shape: tuple[int, ...]
    file: str
    start: int
    end: int
    near: int = 0

    def decode(self, raw: np.ndarray | bytes) -> np.ndarray:
        """The values in the place's bytes: float32, or float16 as stored. Raises NookError("model-corrupt")."""
        data = np.frombuffer(raw, np.uint8) if isinstance(raw, bytes) else raw
        if len(data) != self.end - self.start:
            raise safetensors.corrupt(f"tensor {self.name} has {len(data)} bytes, not {self.end - self.start}")
        if self.kind in _BLOCKS and _BLOCKS[self.kind].names:
            values = Tensor(self.name, self.shape, self.kind, data).dequantise()
        else:
            values = safetensors.floats(self.kind, data, self.shape)
        if self.near:
            cut = values.reshape(-1, self.near // 2, 2, self.shape[1])
            values = cut.transpose(0, 2, 1, 3).reshape(self.shape)
        return np.require(values, requirements=["C", "A"])


class Checkpoint:
    """A model on the disk: its `shape`, whether its head is `tied` to the embedding, its tensors' `places` by name in
    the order of `part_names`."""

    def __init__(self, folder: Path, shape: Shape, places: Iterable[Place]) -> None:
        found = {place.name: place for place in places}
        self.folder, self.shape, self.tied = folder, shape, HEAD not in found
        names = part_names(0, shape.layers, embeds=True, heads=True, tied=self.tied)
        for name in names:
            if name not in found or found[name].shape != tensor_shape(shape, name):
                raise safetensors.corrupt(f"tensor {name} is not there, or of another shape")
        self.places = {name: found[name] for name in names}
        self._maps: dict[str, np.ndarray] = {}

    @classmethod
    def open(cls, path: Path) -> Checkpoint:
        """Read the headers of a folder with config.json, or of a .gguf file.

        Raises NookError("model-missing" | "model-corrupt" | "model-unsupported").
        """
        if path.suffix == ".gguf":
            return cls._gguf(path)
        said = _json(path / "config.json")
        if not isinstance(said, dict):
            raise safetensors.corrupt("config.json is no object")
        try:
            shape, tied = _shape(said), bool(said.get("tie_word_embeddings", False))
        except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
            raise safetensors.corrupt("config.json does not say the model's sizes") from error
        places = [
            Place(_full(name), entry.kind, entry.shape, file.name, entry.start, entry.end)
            for file in _files(path)
            for name, entry in safetensors.open_header(file).entries.items()
        ]
        return cls(path, shape, [place for place in places if not (tied and place.name == HEAD)])

    @classmethod
    def _gguf(cls, path: Path) -> Checkpoint:
        gguf = Gguf.open(path)
        shape = Shape.of(gguf)
        theirs = {EMBEDDING: "token_embd", NORM: "output_norm", HEAD: "output"}
        theirs |= {
            layer_name(i, part): f"blk.{i}.{known}" for i in range(shape.layers) for part, known in PARTS.items()
        }
        places = []
        for name, known in theirs.items():
            if tensor := gguf.tensors.get(f"{known}.weight"):
                near = shape.head if known.endswith(("attn_q", "attn_k")) else 0
                end = tensor.start + len(tensor.raw)
                places.append(Place(name, tensor.kind, tensor.shape, path.name, tensor.start, end, near))
        return cls(path.parent, shape, places)

    def raw(self, name: str) -> np.ndarray:
        """The tensor's bytes in its file, mapped: uint8."""
        place = self.places[name]
        if place.file not in self._maps:
            self._maps[place.file] = np.memmap(self.folder / place.file, np.uint8, "c")
        return self._maps[place.file][place.start : place.end]

    def read(self, name: str) -> np.ndarray:
        """The tensor's values, float32 or float16."""
        return self.places[name].decode(self.raw(name))


def config(shape: Shape, *, tied: bool, kind: str) -> str:
    """The text of a config.json for weights of `kind` ("F32" | "F16"), as Hugging Face's Llama reads it."""
    said = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
        "num_hidden_layers": shape.layers, "hidden_size": shape.width, "intermediate_size": shape.hidden,
        "num_attention_heads": shape.heads, "num_key_value_heads": shape.kv_heads, "head_dim": shape.head,
        "vocab_size": shape.vocabulary, "max_position_embeddings": shape.context, "rope_theta": shape.theta,
        "rms_norm_eps": shape.epsilon, "tie_word_embeddings": tied, "attention_bias": False, "mlp_bias": False,
        "dtype": {"F32": "float32", "F16": "float16"}[kind],
    }  # fmt: skip
    return json.dumps(said, indent=1)


def _shape(said: dict[str, Any]) -> Shape:
    """The sizes in a config.json."""
    rope = said.get("rope_scaling") or said.get("rope_parameters") or {}
    heads = int(said["num_attention_heads"])
    shape = Shape(
        layers=int(said["num_hidden_layers"]), width=int(said["hidden_size"]), hidden=int(said["intermediate_size"]),
        heads=heads, kv_heads=int(said.get("num_key_value_heads") or heads), vocabulary=int(said["vocab_size"]),
        context=int(said["max_position_embeddings"]), epsilon=float(said["rms_norm_eps"]),
        theta=float(said.get("rope_theta") or rope.get("rope_theta") or 10000.0),
    )  # fmt: skip
    wrong = {
        "it is no Llama": said.get("model_type") != "llama",
        "it scales its rotary positions": rope.get("rope_type", rope.get("type", "default")) != "default",
        "its matrices have biases": said.get("attention_bias") or said.get("mlp_bias"),
        "its activation is not SiLU": said.get("hidden_act", "silu") != "silu",
        "its heads do not divide its width": shape.width % heads
        or heads % shape.kv_heads
        or (said.get("head_dim") or shape.head) != shape.head,
    }
    for what, found in wrong.items():
        if found:
            raise NookError("model-unsupported", f"This model is not supported: {what}.", "Use a plain Llama model.")
    return shape


def _files(folder: Path) -> list[Path]:
    """The safetensors files of a folder: one, or those its index names."""
    index = folder / "model.safetensors.index.json"
    if not index.exists():
        return [folder / "model.safetensors"]
    try:
        names = {Path(name).name for name in _json(index)["weight_map"].values()}
    except (KeyError, TypeError, AttributeError) as error:
        raise safetensors.corrupt(f"{index.name} names no files") from error
    return [folder / name for name in sorted(names)]


def _full(name: str) -> str:
    """A name with the prefix that bare models leave out."""
    return name if name.startswith(("model.", "lm_head.")) else f"model.{name}"


def _json(path: Path) -> Any:
    if not path.is_file():
        raise NookError("model-missing", f"There is no {path.name} at {path.parent}.", "Check the path.")
    try:
        return parse(path.read_bytes())
    except ValueError as error:
        raise safetensors.corrupt(f"{path.name} is no JSON") from error
