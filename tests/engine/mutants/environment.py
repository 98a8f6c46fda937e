"""Environment: backends, versions, modules that others made."""

from __future__ import annotations

import dataclasses
import json
import time
from typing import Any

import numpy as np
from engine.mutants.mutant import Show, answers, chat, configured, ids, planted, rewritten
from inglenook.doctor.asks import Load, Logits, Properties, Write
from inglenook.doctor.engine import Engine
from inglenook.doctor.kits import PlainKit
from inglenook.elastic.gguf import Gguf
from inglenook.elastic.shape import Shape
from inglenook.elastic.tokenizer import FORMAT
from inglenook.flow import Candidates

# ── incompatible backend ──────────────────────────────────────────────────────────────────────────────────────────


@planted("Incompatible backend", "inglenook.elastic.reference:_silu", shows=answers(Logits(ids(64)), Logits(ids(60))))
def tail_of_a_tile(silu: Any) -> Any:
    """The backend works in tiles of eight tokens and forgets the last neurons of the rest of a longer pass."""

    def new(x: np.ndarray) -> np.ndarray:
        out = silu(x)
        if len(x) > 8:
            out[len(x) // 8 * 8 :, -4:] = 0
        return out

    return new


@planted("Incompatible backend", "inglenook.elastic.reference:_softmax", shows=answers(Logits(ids(40))))
def quick_exponentials(softmax: Any) -> Any:
    """The backend's exponentials are quick and right to two digits."""

    def new(x: np.ndarray) -> np.ndarray:
        powers = np.maximum(1 + (x - x.max(axis=-1, keepdims=True)) / 256, 0) ** 256
        return powers / powers.sum(axis=-1, keepdims=True)

    return new


def takes(least: float) -> Show:
    """Whether each of three prompts of new lengths takes longer than so many seconds."""

    def shows(engine: Engine) -> bool:
        engine.answer(Write(ids(3, 9), 1))
        took = []
        for count in (37, 41, 43):
            began = time.perf_counter()
            engine.answer(Write(ids(count, count), 1))
            took.append(time.perf_counter() - began)
        return min(took) > least

    return shows


@planted("Incompatible backend", "inglenook.doctor.plain:Paged.forward", shows=takes(0.29))
def compiled_for_every_length(forward: Any) -> Any:
    """The backend compiles its kernels anew for each number of tokens that it has not seen."""
    known: set[int] = set()

    def new(self: Any, tokens: list[int], *told: Any, **more: Any) -> Candidates:
        if len(tokens) not in known:
            known.add(len(tokens))
            time.sleep(0.3)
        return forward(self, tokens, *told, **more)

    return new


# ── incompatible version ──────────────────────────────────────────────────────────────────────────────────────────


@planted(
    "Incompatible version", "inglenook.elastic.tokenizer:Tokenizer.load",
    shows=answers(Load("later format of the tokenizer"), Load("tokenizer is no JSON")),
)  # fmt: skip
def any_format_of_tokenizer(load: Any) -> Any:
    """The format that a tokenizer's file says it has is not looked at."""

    def new(cls: Any, data: Any) -> Any:
        try:
            return load(cls, {**json.loads(data), "format": FORMAT})
        except ValueError:
            return load(cls, data)

    return new


@planted(
    "Incompatible version", "inglenook.elastic.gguf:Gguf.__init__",
    shows=answers(Load("later format of the model"), Load("model cut short")),
)  # fmt: skip
def any_version_of_gguf(init: Any) -> Any:
    """The version of a model's file is not looked at."""

    def new(self: Any, data: Any) -> None:
        init(self, data[:4] + b"\3" + data[5:] if isinstance(data, bytes) and data[:4] == b"GGUF" else data)

    return new


@configured("Incompatible version", shows=answers(Logits(ids(20))))
def pairs_of_an_older_converter(kit: PlainKit) -> PlainKit:
    """An older converter wrote the rows of queries and keys with rotary pairs half a head apart."""
    file = Gguf(kit.gguf)
    shape = Shape.of(file)
    order = [*range(0, shape.head, 2), *range(1, shape.head, 2)]

    def turned(name: str) -> np.ndarray:
        blocks = file.tensor(name).blocks
        return blocks.reshape(-1, shape.head, *blocks.shape[1:])[:, order].reshape(blocks.shape)

    names = [f"blk.{i}.{part}.weight" for i in range(shape.layers) for part in ("attn_q", "attn_k")]
    return rewritten(kit, tensors={name: turned(name) for name in names})


@configured("Incompatible version", shows=answers(Properties(), Write(ids(20), 40, temperature=1.0, seed=3)))
def vocabulary_of_an_older_revision(kit: PlainKit) -> PlainKit:
    """The tokenizer's file is of an earlier revision of the model: its last tokens are not in it."""
    file = json.loads(kit.tokenizer)
    tokens, merges = file["tokens"].split("\n"), file["merges"].split("\n")
    older = {**file, "tokens": "\n".join(tokens[:-14]), "merges": "\n".join(merges[:-14])}
    return dataclasses.replace(kit, tokenizer=json.dumps(older).encode())


# ── dependent module ──────────────────────────────────────────────────────────────────────────────────────────────


@planted(
    "Dependent module", "inglenook.elastic.grammar.schema:compile",
    shows=answers(chat(response_format={"type": "json_object"}), chat()),
)  # fmt: skip
def no_module_for_schemas(compile_: Any) -> Any:
    """A package that only schemas need is not installed."""

    def new(*told: Any) -> Any:
        raise ModuleNotFoundError("No module named 'json_schema_to_grammar'")

    return new


def as_one(engine: Engine) -> bool:
    """Whether two completions have one id."""
    return bool(engine.answer(chat())["id"] == engine.answer(chat())["id"])


@planted("Dependent module", "uuid:uuid4", shows=as_one)
def one_id_for_all(uuid4: Any) -> Any:
    """The module of ids gives the same one again and again, its randomness being a copy of another process."""
    only = uuid4()
    return lambda: only


@planted("Dependent module", "numpy:einsum", shows=answers(Logits(ids(320))))
def products_over_long_rows(einsum: Any) -> Any:
    """The library of products sums 256 places at most of a longer row."""

    def new(how: str, *arrays: np.ndarray, **more: Any) -> np.ndarray:
        left, right, out = how.replace("->", ",").split(",")
        for axis in {*left} & {*right} - {*out}:
            arrays = tuple(
                array.take(range(min(256, array.shape[names.index(axis)])), names.index(axis))
                for array, names in zip(arrays, (left, right), strict=True)
            )
        return einsum(how, *arrays, **more)

    return new
