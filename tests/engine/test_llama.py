"""The plain forward pass against one plainer still: loops over scalars, on a model of two layers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from engine.tiny import llama
from inglenook.elastic.gguf import Gguf
from inglenook.elastic.reference import Reference
from inglenook.errors import NookError

TOKENS = [3, 1, 4, 1, 5, 9, 2, 6]


def by_loops(file: Gguf, tokens: list[int], heads: int, kv_heads: int) -> np.ndarray:
    """The scores after the last token, number by number in float64."""

    def weight(name: str) -> np.ndarray:
        return file.tensor(name + ".weight").dequantise().astype(float)

    def rms(x: np.ndarray, scale: np.ndarray) -> np.ndarray:
        return np.array([v / math.sqrt(sum(u * u for u in x) / len(x) + 1e-5) * s for v, s in zip(x, scale)])

    def turned(x: np.ndarray, position: int) -> np.ndarray:
        out = x.copy()
        for pair in range(len(x) // 2):
            angle = position / 10000 ** (2 * pair / len(x))
            a, b = x[2 * pair], x[2 * pair + 1]
            out[2 * pair] = a * math.cos(angle) - b * math.sin(angle)
            out[2 * pair + 1] = a * math.sin(angle) + b * math.cos(angle)
        return out

    size = 32 // heads
    states = [weight("token_embd")[token] for token in tokens]
    for i in range(2):
        keys: list[list[np.ndarray]] = []
        values: list[list[np.ndarray]] = []
        for position, state in enumerate(states):
            x = rms(state, weight(f"blk.{i}.attn_norm"))
            q, k, v = (weight(f"blk.{i}.attn_{name}") @ x for name in "qkv")
            keys.append([turned(k[h * size : (h + 1) * size], position) for h in range(kv_heads)])
            values.append([v[h * size : (h + 1) * size] for h in range(kv_heads)])
            mixed: list[float] = []
            for h in range(heads):
                mine = turned(q[h * size : (h + 1) * size], position)
                shared = h // (heads // kv_heads)
                odds = [math.exp(float(mine @ key[shared]) / math.sqrt(size)) for key in keys]
                mixed += list(sum(odd * value[shared] for odd, value in zip(odds, values)) / sum(odds))
            state = state + weight(f"blk.{i}.attn_output") @ np.array(mixed)
            x = rms(state, weight(f"blk.{i}.ffn_norm"))
            gate = weight(f"blk.{i}.ffn_gate") @ x
            inner = gate / (1 + np.exp(-gate)) * (weight(f"blk.{i}.ffn_up") @ x)
            states[position] = state + weight(f"blk.{i}.ffn_down") @ inner
    out: np.ndarray = weight("token_embd") @ rms(states[-1], weight("output_norm"))
    return out


@pytest.mark.parametrize(("heads", "kv_heads"), [(4, 2), (4, 4), (8, 2), (2, 1)])
def test_the_numbers_are_those_of_the_formulas(heads: int, kv_heads: int) -> None:
    file = llama(heads=heads, kv_heads=kv_heads)
    scores = Reference(file).logits(TOKENS)
    assert scores.shape == (8, 50) and scores.dtype == np.float32
    assert scores[-1] == pytest.approx(by_loops(file, TOKENS, heads, kv_heads), rel=2e-4, abs=2e-5)
    assert scores[2] == pytest.approx(by_loops(file, TOKENS[:3], heads, kv_heads), rel=2e-4, abs=2e-5)


def test_the_cache_changes_nothing() -> None:
    file = llama()
    whole = Reference(file).logits(TOKENS)
    model = Reference(file)
    for cuts in ([8], [3, 8], [1, 2, 3, 4, 5, 6, 7, 8]):
        at = 0
        for cut in cuts:
            best = model.best(TOKENS[at:cut], at, top=5)
            at = cut
            assert best.ids[0] == whole[cut - 1].argmax() and best.ids.dtype == np.int32
            assert best.logits == pytest.approx(np.sort(whole[cut - 1])[::-1][:5], abs=1e-5)


def test_going_back_forgets_what_came_after() -> None:
    model = Reference(llama())
    first = model.best(TOKENS[4:], len(TOKENS[:4])) if model.best(TOKENS[:4], 0) else None
    model.best([7, 7, 7], 2)
    assert model.held == 5
    model.best(TOKENS[2:4], 2)
    again = model.best(TOKENS[4:], 4)
    assert first is not None and again.ids.tolist() == first.ids.tolist()


def test_what_does_not_fit_is_an_error() -> None:
    model = Reference(llama())
    for tokens, at, code in (([], 0, "forward"), ([1], 1, "forward"), ([1] * 65, 0, "context")):
        with pytest.raises(NookError) as error:
            model.best(tokens, at)
        assert error.value.code == code


@pytest.mark.parametrize(
    "changed",
    [
        {"general.architecture": "gpt2"},
        {"llama.rope.scaling.type": "yarn"},
        {"llama.rope.dimension_count": 4},
        {"llama.attention.head_count": 5},
    ],
)
def test_other_models_are_refused(changed: dict[str, object]) -> None:
    with pytest.raises(NookError) as error:
        Reference(llama(**changed))
    assert error.value.code == "model-unsupported" and error.value.hint
