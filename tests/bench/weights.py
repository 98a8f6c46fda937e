"""The model of the elastic bench in the formats of its peers: GGUF in other quantisations, ONNX in 4 and in 8 bits.

All are made from the numbers of one file, SmolLM2-135M-Instruct in Q4_1, and kept in the cache folder.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
from inglenook.elastic.gguf import BLOCK, KINDS, Gguf, Tensor
from inglenook.elastic.reference import Shape
from numpy.typing import NDArray

from buildlib.project import ROOT, cache, digest
from tests.reference import decoders, onnx_bytes

GGUF = ROOT / "static" / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf"
ALIGN = 32
NUMBER = {name: number for number, (name, _, _) in KINDS.items()}


def gguf(kind: str) -> Path:
    """The weights with their matrices as `kind`: "Q4_1" (as shipped), "Q8_0" or "Q4_0"."""
    if kind == "Q4_1":
        return GGUF
    kept = _kept(f"{kind}.gguf")
    if not kept.exists():
        _write(kept, requantised(GGUF.read_bytes(), kind))
    return kept


def onnx(form: decoders.Form) -> Path:
    """The weights as an ONNX decoder with a cache, in the layout that transformers.js reads: this folder, `model.onnx`
    in its folder `onnx`, `config.json` beside that."""
    folder = _kept(f"onnx-{form}")
    made = folder / "onnx" / "model.onnx"
    if not made.exists():
        source = Gguf.open(GGUF)
        shape = Shape.of(source)
        sizes = decoders.Sizes(
            shape.layers, shape.heads, shape.kv_heads, shape.head,
            context=2048, theta=shape.theta, epsilon=shape.epsilon,
        )  # fmt: skip
        tensors = {name: tensor.dequantise() for name, tensor in source.tensors.items()}
        made.parent.mkdir(parents=True, exist_ok=True)
        config = {
            "architectures": ["LlamaForCausalLM"], "model_type": "llama", "num_hidden_layers": shape.layers,
            "hidden_size": shape.width, "num_attention_heads": shape.heads, "num_key_value_heads": shape.kv_heads,
            "head_dim": shape.head, "vocab_size": shape.vocabulary, "eos_token_id": 2, "bos_token_id": 1,
        }  # fmt: skip
        (folder / "config.json").write_text(json.dumps(config))
        (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": -1}))
        _write(made, decoders.llama(tensors, sizes, form, last=True))
    return made


def requantised(file: bytes, kind: str) -> bytes:
    """A GGUF file with its 4-bit matrices as `kind`; metadata and other tensors as they are."""
    source = Gguf(file)
    first = next(iter(source.tensors)).encode()
    table = file.index(struct.pack("<Q", len(first)) + first)  # metadata end where the first tensor is told of
    head, body = file[:table], bytearray()
    for tensor in source.tensors.values():
        made, raw = _turned(tensor, kind)
        body += bytes(-len(body) % ALIGN)
        name, dims = tensor.name.encode(), tensor.shape[::-1]
        head += struct.pack("<Q", len(name)) + name + struct.pack(f"<I{len(dims)}Q", len(dims), *dims)
        head += struct.pack("<IQ", NUMBER[made], len(body))
        body += raw
    return head + bytes(-len(head) % ALIGN) + bytes(body)


def _turned(tensor: Tensor, kind: str) -> tuple[str, bytes]:
    if not tensor.kind.startswith("Q4"):
        return tensor.kind, tensor.raw.tobytes()
    cut = tensor.dequantise().reshape(*tensor.shape[:-1], -1, BLOCK)
    return kind, {"Q8_0": _q8_0, "Q4_0": _q4_0}[kind](cut).tobytes()


def _q8_0(cut: NDArray[np.float32]) -> np.ndarray:
    made = np.zeros(cut.shape[:-1], KINDS[NUMBER["Q8_0"]][2])
    made["d"] = np.abs(cut).max(axis=-1) / 127
    step = np.where(made["d"] == 0, 1, made["d"]).astype(np.float32)
    made["qs"] = np.rint(cut / step[..., None]).clip(-127, 127)
    return made


def _q4_0(cut: NDArray[np.float32]) -> np.ndarray:
    """The value furthest from zero becomes -8."""
    made = np.zeros(cut.shape[:-1], KINDS[NUMBER["Q4_0"]][2])
    furthest = np.take_along_axis(cut, np.abs(cut).argmax(axis=-1)[..., None], -1)[..., 0]
    made["d"] = furthest / -8
    step = np.where(made["d"] == 0, 1, made["d"]).astype(np.float32)
    q = (np.rint(cut / step[..., None]) + 8).clip(0, 15).astype(np.uint8)
    made["qs"] = q[..., : BLOCK // 2] | q[..., BLOCK // 2 :] << 4
    return made


def _kept(name: str) -> Path:
    """Where something made of the weights lies; made anew when the makers change."""
    makers = digest([Path(__file__), Path(decoders.__file__), Path(onnx_bytes.__file__), str(GGUF.stat().st_size)])
    return cache() / "bench" / f"smollm2-{makers[:12]}" / name


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_bytes(data)
    part.replace(path)
