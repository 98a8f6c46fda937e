"""A tokenizer and a Llama small enough to check by hand: no downloads, the same on every machine."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from inglenook.elastic.cache import PAGE
from inglenook.elastic.gguf import KINDS, Gguf
from inglenook.elastic.tokenizer import Tokenizer, _letters
from inglenook.flow import Candidates, Copy, Effect, Flow, Forward, Score

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


def llama(
    layers: int = 2, heads: int = 4, kv_heads: int = 2, vocabulary: int = 50, *, width: int = 32, hidden: int = 64,
    seed: int = 5, kind: str = "Q8_0", **changed: Any,
) -> Gguf:  # fmt: skip
    """A Llama of random weights: its matrices in a `kind` of GGUF's, its norms in F32."""
    random = np.random.default_rng(seed)
    kv = width // heads * kv_heads
    tensors: dict[str, tuple[str, tuple[int, ...], bytes]] = {}

    def matrix(name: str, rows: int, columns: int) -> None:
        _, block, dtype = KINDS[NUMBER[kind]]
        blocks = np.zeros((rows, columns // block), dtype)
        if not dtype.names:
            blocks[:] = random.uniform(-0.4, 0.4, blocks.shape)
        elif kind == "Q8_0":
            blocks["d"] = random.uniform(0.002, 0.004, blocks.shape)
            blocks["qs"] = random.integers(-127, 128, (*blocks.shape, 32))
        else:
            blocks["d"] = random.uniform(0.03, 0.06, blocks.shape)
            blocks["qs"] = random.integers(0, 256, (*blocks.shape, 16))
            if "m" in dtype.names:
                blocks["m"] = blocks["d"] * np.float16(-7.5)
        tensors[name] = (kind, (rows, columns), blocks.tobytes())

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


class Pages:
    """What a kernel's key-value pages hold: the tokens that were written there, and at which level."""

    def __init__(self) -> None:
        self.held: dict[int, list[tuple[int, int]]] = {}

    def read(self, pages: Sequence[int], size: int, level: int) -> list[int]:
        """The tokens of the first `size` positions, each of which must have been written at this level."""
        found = [(self.held.get(page, []) + [(-1, -1)] * PAGE)[:PAGE] for page in pages]
        entries = [entry for page in found for entry in page][:size]
        assert len(entries) == size and all(entry[1] == level for entry in entries), (entries, level)
        return [token for token, _ in entries]

    def write(self, effect: Forward | Score) -> list[int]:
        """Do what the effect does to the pages; returns all tokens up to its last."""
        before = self.read(effect.pages, effect.at, effect.level)
        assert effect.tokens and len(effect.pages) * PAGE >= effect.at + len(effect.tokens)
        assert len(set(effect.pages)) == len(effect.pages)
        for position, token in enumerate(effect.tokens, effect.at):
            page = self.held.setdefault(effect.pages[position // PAGE], [])
            page[position % PAGE :] = [(token, effect.level)]
        return before + effect.tokens

    def copy(self, effect: Copy) -> None:
        self.held[effect.target] = list(self.held[effect.source])


class Script:
    """A language model that says what it is told, and checks that it is asked rightly.

    After `prompt` come `answer`'s tokens one by one. What is run must always be the beginning of prompt + answer.
    """

    def __init__(self, prompt: list[int], answer: list[int], pages: Pages | None = None) -> None:
        self.whole = [*prompt, *answer]
        self.pages = pages or Pages()
        self.asked: list[Forward] = []

    def answer(self, effect: Forward | Copy) -> Candidates | None:
        if isinstance(effect, Copy):
            return self.pages.copy(effect)
        self.asked.append(effect)
        held = self.pages.write(effect)
        assert held == self.whole[: len(held)]
        return stacked([self._row(len(held) - effect.each + 1 + i, effect.top) for i in range(effect.each)])

    def _row(self, size: int, top: int) -> Candidates:
        """What comes after the first `size` tokens."""
        following = self.whole[size] if size < len(self.whole) else 0
        others = [token for token in range(100, 100 + top) if token != following][: top - 1]
        ids = np.array([following, *others], np.int32)
        return Candidates(ids, np.linspace(9, 0, 1 + len(others), dtype=np.float32), 9.5)


def stacked(rows: list[Candidates]) -> Candidates:
    """One answer of the candidates after each of several tokens."""
    if len(rows) == 1:
        return rows[0]
    return Candidates(*(np.array([getattr(row, name) for row in rows]) for name in ("ids", "logits", "total")))


def run(flow: Flow, answer: Callable[[Any], Any]) -> tuple[list[Any], Any]:
    """Drive a flow of the language model's effects: its events and what it returns."""
    events: list[Any] = []
    result: Any = None

    def outer() -> Iterator[Any]:
        nonlocal result
        result = yield from flow

    driven: Any = outer()
    item = next(driven, None)
    while item is not None:
        try:
            if isinstance(item, Effect):
                item = driven.send(answer(item))
            else:
                events.append(item)
                item = driven.send(None)
        except StopIteration:
            break
    return events, result
