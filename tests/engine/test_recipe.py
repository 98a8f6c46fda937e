"""Recipes: what is kept comes back, and a damaged file is said to be one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from inglenook.elastic.recipe import STEPS, Recipe, channels, lowered, raised
from inglenook.elastic.shape import Shape
from inglenook.errors import NookError
from inglenook.kernels import pack

SHAPE = Shape(2, 64, 64, 4, 2, 50, 64, 10000.0, 1e-5)


@given(st.integers(0, 2**32 - 1))
def test_what_is_lowered_is_off_by_half_a_step(seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=(8, 64)).astype(np.float32)
    values[3, 32:] = 0
    q, scale = lowered(values)
    assert np.abs(q).max() == STEPS and scale.shape == (8, 2)
    off = np.abs(raised(q, scale) - values).reshape(8, 2, 32).max(axis=2)
    assert np.all(off <= scale.astype(np.float32) * (0.5 + STEPS * 2.0**-11))


def example() -> Recipe:
    random = np.random.default_rng(4)
    arrays = {
        "neurons": np.stack([random.permutation(64) for _ in range(2)]).astype(np.uint16),
        "groups": np.array([[1, 0], [0, 1]], np.uint8),
        "fine": np.array([True, False]),
        "1.bias": random.normal(size=(2, 64)).astype(np.float16),
    }
    arrays["1.down_a.0"], arrays["1.down_a.0.scale"] = lowered(random.normal(size=(32, 32)).astype(np.float32))
    config = {"levels": [
        {"ratio": 1.0, "hidden": [64, 64], "groups": [2, 2], "rank": 0, "perplexity": 3.5},
        {"ratio": 0.4, "hidden": [32, 0], "groups": [1, 1], "rank": 32},
    ]}  # fmt: skip
    return Recipe(config, arrays)


def test_a_file_holds_all_of_it_and_always_the_same_bytes(tmp_path: Path) -> None:
    recipe = example()
    recipe.save(tmp_path / "a.npz")
    again = Recipe.load(tmp_path / "a.npz")
    again.save(tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    assert again.config == recipe.config and again.levels()[1].hidden == (32, 0)
    for name, value in recipe.arrays.items():
        np.testing.assert_array_equal(again.arrays[name], value)
    low = again.low(1, "a", 0)
    assert again.low(1, "b", 0) is None and low is not None and low[0].shape == (32, 32)


def test_rows_and_columns_stand_where_the_recipe_says() -> None:
    recipe, random = example(), np.random.default_rng(6)
    weights = random.normal(size=(64, 64)).astype(np.float32)
    codes = pack.cut_q4(weights)
    plain, neurons = pack.value_q4(*codes), recipe.arrays["neurons"][0]
    queries, keys = channels(SHAPE, recipe.arrays["groups"][0])
    assert queries.tolist() == [*range(32, 64), *range(32)] and keys.tolist() == [*range(16, 32), *range(16)]
    placed = {part: pack.value_q4(*recipe.placed(SHAPE, 0, part, codes)) for part in ("ffn_gate", "ffn_up", "attn_q")}
    np.testing.assert_array_equal(placed["ffn_gate"], plain[neurons])
    np.testing.assert_array_equal(placed["ffn_up"], plain[neurons])
    np.testing.assert_array_equal(placed["attn_q"], plain[queries])
    np.testing.assert_array_equal(pack.value_q4(*recipe.placed(SHAPE, 0, "attn_output", codes)), plain[:, queries])
    for layer, form in enumerate(["q8b", "q4b"]):
        kind, down = recipe.down(layer, weights)
        assert kind == form
        np.testing.assert_array_equal(down, weights[:, recipe.arrays["neurons"][layer]])


@given(st.integers(0, 2**32 - 1), st.floats(1e-4, 1e3))
def test_low_rank_maps_are_the_same_numbers_in_training_and_in_the_kernels_format(seed: int, size: float) -> None:
    values = np.random.default_rng(seed).normal(0, size, (32, 64)).astype(np.float32)
    q, scale = lowered(values)
    recipe = Recipe({}, {"1.down_a.0": q, "1.down_a.0.scale": scale})
    codes = recipe.low(1, "a", 0)
    assert codes is not None
    np.testing.assert_array_equal(pack.unpack("q4", pack.pack("q4", *codes), 32, 64), raised(q, scale))


def test_a_damaged_recipe_is_said_to_be_one(tmp_path: Path) -> None:
    path = tmp_path / "recipe.npz"
    with pytest.raises(NookError) as caught:
        Recipe.load(path)
    assert caught.value.code == "model-missing"
    example().save(path)
    whole = path.read_bytes()
    for bad in (b"", whole[:100], whole[: len(whole) // 2], whole[:200] + b"\0\xff" * 40 + whole[280:]):
        path.write_bytes(bad)
        with pytest.raises(NookError) as caught:
            Recipe.load(path)
        assert caught.value.code == "model-corrupt"
