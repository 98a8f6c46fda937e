"""A Llama model from GGUF to the kernel's artifact (`kernels.artifact`, wasm/llama.c), and its tokenizer to a file.

Blocks of Q4_1 become panels of q4 and the embedding, which is the head as well, planes of q8: the same numbers in
another order, nothing is rounded. What is stored otherwise is brought to these formats first.

With a recipe (`elastic.recipe`) the units of each layer stand in its order, and the artifact has levels
(`elastic.levels`) with what recovers each; of the weights only the down matrices are rounded anew.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from inglenook.elastic import selfcheck
from inglenook.elastic.gguf import Gguf
from inglenook.elastic.gguf import Tensor as Stored
from inglenook.elastic.levels import UNIT, Level, whole, words
from inglenook.elastic.recipe import Codes, Recipe
from inglenook.elastic.reference import Reference
from inglenook.elastic.shape import Shape
from inglenook.elastic.tokenizer import FORMAT
from inglenook.errors import NookError
from inglenook.kernels import artifact, pack
from inglenook.kernels.artifact import Tensor
from inglenook.types import Json

Weight = np.ndarray | Tensor
"""Floats, which `write` brings to the kernel's formats, or a tensor that is in one of them already."""

BANDED = ("attn_output", "ffn_down")
"""Those of which a level takes the first columns."""
NAMES = ("attn_norm", "attn_q", "attn_k", "attn_v", "attn_output", "ffn_norm", "ffn_gate", "ffn_up", "ffn_down")
"""The tensors of a layer, in the kernel's order; their full names are those of GGUF, "blk.0.attn_q.weight"."""


@dataclass(frozen=True, slots=True)
class Recovery:
    """What makes up in a layer for what a level leaves out: float32 `bias` (width,), `a` (rank, hidden of that layer)
    and `b` (width, rank); None where the level has rank 0 or the layer no neurons."""

    bias: np.ndarray
    a: Weight | None = None
    b: Weight | None = None


def convert(gguf: Path, out: Path, recipe: Path | None = None) -> None:
    """Write the artifact `out` of the model file `gguf`, with the levels of a recipe.

    Raises NookError("model-missing" | "model-corrupt" | "model-unsupported").
    """
    source = Gguf.open(gguf)
    if "output.weight" in source.tensors:
        raise NookError("model-unsupported", "This model has a head of its own.", "Use one with a tied head.")
    name = str(source.metadata.get("general.name", gguf.stem))
    build(out, Shape.of(source), source.tensor, name=name, recipe=Recipe.load(recipe) if recipe else None)


def build(out: Path, shape: Shape, tensor: Callable[[str], Stored], *, name: str, recipe: Recipe | None = None) -> None:
    """`convert` for tensors from anywhere, by their names in GGUF."""
    if recipe is None:
        write(out, shape, lambda full: _packed(tensor(full)), name=name)
        return
    levels = recipe.levels()

    def low(level: int, part: str, layer: int) -> Tensor | None:
        codes = recipe.low(level, part, layer)
        return codes and Tensor(part, "q4", codes[0].shape, pack.pack("q4", *codes))

    recovery = {
        (level, layer): Recovery(recipe.bias(level, layer), *(low(level, part, layer) for part in ("a", "b")))
        for level in range(1, len(levels))
        for layer in range(shape.layers)
    }
    read = lambda full: _placed(tensor(full), shape, recipe)
    write(out, shape, read, name=name, levels=levels, recovery=recovery, rivals=recipe.config.get("rivals"))


def write(
    out: Path,
    shape: Shape,
    read: Callable[[str], Weight],
    *,
    name: str,
    levels: Sequence[Level] = (),
    recovery: Mapping[tuple[int, int], Recovery] | None = None,
    rivals: Json | None = None,
) -> None:
    """Write an artifact of the weights that `read` gives by their names in GGUF.

    `levels` are those of the model, the whole first; `recovery[level, layer]` is needed for every layer of every level
    but the first; `rivals` are perplexities of other ways to these levels, by name. Raises
    NookError("model-unsupported") where they do not fit the shape.
    """
    levels = tuple(levels) or (whole(shape.layers, shape.hidden, shape.kv_heads),)
    _check(shape, levels, recovery or {})
    config: Json = {
        "name": name, "context": shape.context, "width": shape.width, "layers": shape.layers, "hidden": shape.hidden,
        "heads": shape.heads, "kv_heads": shape.kv_heads, "vocabulary": shape.vocabulary, "theta": shape.theta,
        "epsilon": shape.epsilon, "levels": [level.json() for level in levels],
    }  # fmt: skip
    if rivals:
        config["rivals"] = rivals
    tensors = list(_tensors(shape, read, levels, recovery or {}))
    artifact.write(out, "lm", numbers(shape, levels, tensors), config, tensors)


def numbers(shape: Shape, levels: Sequence[Level], tensors: Sequence[Tensor]) -> list[int]:
    """What the kernel is told of a model in words (wasm/llama.c)."""
    sizes = [shape.layers, shape.width, shape.hidden, shape.heads, shape.kv_heads, shape.vocabulary]
    bits = [{"q4b": 4, "q8b": 8}[tensor.format] for tensor in tensors if tensor.name.endswith(".ffn_down.weight")]
    return [*sizes, artifact.word(shape.epsilon), *words(levels), *bits]


def export(gguf: Path, out: Path) -> None:
    """Write the tokenizer inside the model file `gguf` as the file that `Tokenizer.load` reads."""
    out.write_bytes(tokenizer(gguf))


def tokenizer(gguf: Path) -> bytes:
    """That file. Raises NookError("model-unsupported") for another family's."""
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
    template = meta.get("tokenizer.chat_template", "")
    named = {f"{name}_token": meta.get(f"tokenizer.ggml.{name}_token_id") for name in ("bos", "eos")}
    names = {name: tokens[index] for name, index in named.items() if name in template and index is not None}
    file = {
        "format": FORMAT,
        "tokens": "\n".join(tokens),
        "merges": "\n".join(merges),
        "special": special,
        "ends": sorted({end, *(index for index in special if tokens[index] == "<|endoftext|>")}),
        "template": template,
        **({"names": names} if names else {}),
    }
    return json.dumps(file, ensure_ascii=False, separators=(",", ":")).encode()


def check(lm: Path, out: Path) -> None:
    """Write the first logits of the artifact `lm` at every level by the float pass: what backends are held against."""
    model = Reference(lm)
    prompt = selfcheck.prompt(model.shape.vocabulary)
    out.write_bytes(selfcheck.make([model.logits(prompt, level)[-1] for level in range(len(model.levels))]))


def _check(shape: Shape, levels: Sequence[Level], recovery: Mapping[tuple[int, int], Recovery]) -> None:
    def refuse(what: str) -> NookError:
        return NookError("model-unsupported", f"The levels do not fit the model: {what}.", "Make them anew.")

    if levels[0] != whole(shape.layers, shape.hidden, shape.kv_heads, levels[0].perplexity):
        raise refuse("the first is not the whole")
    for i, level in enumerate(levels):
        if {len(level.hidden), len(level.groups)} != {shape.layers} or level.rank % UNIT:
            raise refuse(f"the sizes of level {i}")
        for layer, (hidden, groups) in enumerate(zip(level.hidden, level.groups, strict=True)):
            if hidden % UNIT or not (0 <= hidden <= shape.hidden and 0 <= groups <= shape.kv_heads):
                raise refuse(f"layer {layer} of level {i}")
            if i == 0:
                continue
            low = bool(level.rank and hidden)
            wanted = ((shape.width,), (level.rank, hidden) if low else None, (shape.width, level.rank) if low else None)
            found = recovery.get((i, layer))
            if found is None or tuple(x if x is None else x.shape for x in (found.bias, found.a, found.b)) != wanted:
                raise refuse(f"the recovery of layer {layer} at level {i}")


def _tensors(
    shape: Shape, read: Callable[[str], Weight], levels: Sequence[Level], recovery: Mapping[tuple[int, int], Recovery]
) -> Iterator[Tensor]:
    def tensor(name: str, form: str) -> Tensor:
        weight = read(name)
        return weight if isinstance(weight, Tensor) else _panels(name, form, weight)

    yield artifact.floats("rotation", _rotation(shape), "f64")
    yield tensor("token_embd.weight", "q8p")
    yield tensor("output_norm.weight", "f32")
    for layer in range(shape.layers):
        for name in NAMES:
            yield tensor(f"blk.{layer}.{name}.weight", "f32" if "norm" in name else _form(name))
    for i in range(1, len(levels)):
        for layer in range(shape.layers):
            one = recovery[i, layer]
            yield artifact.floats(f"level.{i}.{layer}.bias", one.bias)
            for part, weight in (("down_a", one.a), ("down_b", one.b)):
                name = f"level.{i}.{layer}.{part}"
                if isinstance(weight, Tensor):
                    yield replace(weight, name=name)
                elif weight is not None:
                    yield _panels(name, "q4", weight)


def _panels(name: str, form: str, weights: np.ndarray) -> Tensor:
    """Floats in the kernel's format `form`."""
    if form == "f32":
        return artifact.floats(name, weights)
    return Tensor(name, form, weights.shape, pack.quantise(form, weights.astype(np.float32)))


def _form(name: str) -> str:
    """The format of a matrix of 4 bits, by its name within a layer."""
    return "q4b" if name in BANDED else "q4"


def _rotation(shape: Shape) -> np.ndarray:
    """cos and sin of one position's turn, float64 (head / 2, 2) (RoFormer, 2104.09864, equation 15)."""
    angles = [shape.theta ** (-2 * i / shape.head) for i in range(shape.head // 2)]
    return np.array([[math.cos(angle), math.sin(angle)] for angle in angles])


def _packed(tensor: Stored) -> Weight:
    """A tensor of a file, packed without rounding where it stands in blocks of the kernel's kind."""
    embedding = tensor.name == "token_embd.weight"
    if tensor.kind in ("Q4_0", "Q4_1") and not embedding:
        form = _form(tensor.name.split(".")[-2])
        return Tensor(tensor.name, form, tensor.shape, pack.pack(form, *_codes(tensor)))
    if tensor.kind == "Q8_0" and tensor.shape[0] % pack.ROWS == 0 and embedding:
        blocks = tensor.blocks
        signs = np.ascontiguousarray(blocks["qs"]).view(np.uint8).reshape(tensor.shape)
        return Tensor(tensor.name, "q8p", tensor.shape, pack.pack("q8p", signs ^ np.uint8(128), blocks["d"]))
    return tensor.dequantise()


def _placed(tensor: Stored, shape: Shape, recipe: Recipe) -> Weight:
    """A tensor of a file as the recipe has it."""
    place = tensor.name.split(".")
    if place[0] != "blk" or place[2] in ("attn_norm", "ffn_norm"):
        return _packed(tensor)
    layer, part = int(place[1]), place[2]
    if part == "ffn_down":
        return _panels(tensor.name, *recipe.down(layer, tensor.dequantise()))
    codes = recipe.placed(shape, layer, part, _codes(tensor))
    return Tensor(tensor.name, _form(part), tensor.shape, pack.pack(_form(part), *codes))


def _codes(tensor: Stored) -> Codes:
    """A matrix in 4 bits: as it stands where it has them, else rounded to them."""
    if tensor.kind not in ("Q4_0", "Q4_1"):
        return pack.cut_q4(tensor.dequantise())
    blocks = tensor.blocks
    q = np.concatenate([blocks["qs"] & 15, blocks["qs"] >> 4], axis=-1).reshape(tensor.shape)
    minimum = blocks["m"] if tensor.kind == "Q4_1" else (blocks["d"] * np.float16(-8)).astype(np.float16)
    return q, blocks["d"], minimum
