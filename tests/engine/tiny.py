"""A tokenizer and a Llama small enough to check by hand: no downloads, the same on every machine."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from inglenook.elastic.gguf import KINDS, Gguf
from inglenook.elastic.tokenizer import Tokenizer, _letters
from inglenook.flow import Candidates, Flow, Forward

NUMBER = {name: number for number, (name, _, _) in KINDS.items()}
CONTROL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
MERGES = ["Ġ t", "h e", "Ġt he", "i n", "Ġ a", "a b", "ab c", "b c", "Ġ Ġ", "ĠĠ ĠĠ", "e r", "o w", "l ow", "Ã ©"]


def tokenizer() -> Tokenizer:
    """All bytes, three control tokens and a few merges."""
    tokens = [*CONTROL, *_letters(), *(merge.replace(" ", "") for merge in MERGES)]
    return Tokenizer(tokens, MERGES, special=range(3), ends=(0, 2))


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def typed(value: object) -> bytes:
    """A metadata value with its type number in front."""
    match value:
        case bool():
            return struct.pack("<I?", 7, value)
        case int():
            return struct.pack("<Iq", 11, value)
        case float():
            return struct.pack("<Id", 12, value)
        case str():
            return struct.pack("<I", 8) + text(value)
        case list() if value and isinstance(value[0], str):
            return struct.pack("<IIQ", 9, 8, len(value)) + b"".join(map(text, value))
        case list():
            return struct.pack("<IIQ", 9, 5, len(value)) + np.array(value, "<i4").tobytes()
    raise TypeError(value)


def gguf(metadata: dict[str, Any], tensors: dict[str, tuple[str, tuple[int, ...], bytes]], align: int = 32) -> bytes:
    """A GGUF v3 file of the tensors name → (kind, numpy shape, bytes)."""
    if align != 32:
        metadata = {**metadata, "general.alignment": align}
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata))
    head += b"".join(text(key) + typed(value) for key, value in metadata.items())
    body = b""
    for name, (kind, shape, raw) in tensors.items():
        body += bytes(-len(body) % align)
        head += text(name) + struct.pack(f"<I{len(shape)}Q", len(shape), *shape[::-1])
        head += struct.pack("<IQ", NUMBER[kind], len(body))
        body += raw
    return head + bytes(-len(head) % align) + body


def llama(layers: int = 2, heads: int = 4, kv_heads: int = 2, vocabulary: int = 50, **changed: Any) -> Gguf:
    """A Llama of random weights: width 32, hidden 64, Q8_0 and F32."""
    random = np.random.default_rng(5)
    width, hidden, kv = 32, 64, 32 // heads * kv_heads
    tensors: dict[str, tuple[str, tuple[int, ...], bytes]] = {}

    def matrix(name: str, rows: int, columns: int) -> None:
        blocks = np.zeros((rows, columns // 32), KINDS[NUMBER["Q8_0"]][2])
        blocks["d"] = random.uniform(0.002, 0.004, blocks.shape)
        blocks["qs"] = random.integers(-127, 128, (*blocks.shape, 32))
        tensors[name] = ("Q8_0", (rows, columns), blocks.tobytes())

    def norm(name: str) -> None:
        tensors[name] = ("F32", (width,), random.uniform(0.5, 1.5, width).astype("<f4").tobytes())

    matrix("token_embd.weight", vocabulary, width)
    for i in range(layers):
        norm(f"blk.{i}.attn_norm.weight")
        norm(f"blk.{i}.ffn_norm.weight")
        for name, rows, columns in (
            ("attn_q", width, width), ("attn_k", kv, width), ("attn_v", kv, width), ("attn_output", width, width),
            ("ffn_gate", hidden, width), ("ffn_up", hidden, width), ("ffn_down", width, hidden),
        ):  # fmt: skip
            matrix(f"blk.{i}.{name}.weight", rows, columns)
    norm("output_norm.weight")
    metadata = {
        "general.architecture": "llama", "llama.block_count": layers, "llama.embedding_length": width,
        "llama.feed_forward_length": hidden, "llama.attention.head_count": heads,
        "llama.attention.head_count_kv": kv_heads, "llama.context_length": 64, "llama.rope.freq_base": 10000.0,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
    }  # fmt: skip
    return Gguf(gguf({**metadata, **changed}, tensors))


class Script:
    """A language model that says what it is told, and checks that it is asked rightly.

    After `prompt` come `answer`'s tokens one by one; `held` is the cache. Every `Forward` must fit the cache, and
    what the cache then holds must be the beginning of prompt + answer.
    """

    def __init__(self, prompt: list[int], answer: list[int], held: list[int] | None = None) -> None:
        self.whole = [*prompt, *answer]
        self.held = [] if held is None else held
        self.asked: list[Forward] = []

    def answer(self, effect: Forward) -> Candidates:
        assert 0 <= effect.at <= len(self.held) and effect.tokens
        self.asked.append(effect)
        self.held[effect.at :] = effect.tokens
        assert self.held == self.whole[: len(self.held)]
        following = self.whole[len(self.held)] if len(self.held) < len(self.whole) else 0
        others = [token for token in range(100, 100 + effect.top) if token != following][: effect.top - 1]
        return Candidates(
            np.array([following, *others], np.int32), np.linspace(9, 0, 1 + len(others), dtype=np.float32)
        )


def run(flow: Flow, answer: Callable[[Any], Any]) -> tuple[list[Any], Any]:
    """Drive a flow of Forward effects: its events and what it returns."""
    events: list[Any] = []
    result: Any = None

    def outer() -> Iterator[Any]:
        nonlocal result
        result = yield from flow

    driven: Any = outer()
    item = next(driven, None)
    while item is not None:
        try:
            if isinstance(item, Forward):
                item = driven.send(answer(item))
            else:
                events.append(item)
                item = driven.send(None)
        except StopIteration:
            break
    return events, result
