"""The whole way on the small model: weights to a recipe, stopped and gone on with, the same bytes."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="torch is not there: `build.py test train` installs it")

from pathlib import Path

import numpy as np
import torch
from inglenook.elastic import convert
from inglenook.elastic.gguf import Tensor
from inglenook.elastic.recipe import Recipe
from inglenook.elastic.reference import Reference
from inglenook.errors import NookError
from inglenook.kernels import pack
from inglenook.train.model import Size
from inglenook.train.pipeline import Options, Pipeline
from inglenook.train.weights import Weights
from train import small

OPTIONS = Options(
    ratios=(0.8, 0.5), ranks=(0, 32), steps=(5, 0), length=32, weighed=8, fitted=30, learned=40, fine=2, dtype="float32"
)


def pipeline(
    folder: Path, options: Options = OPTIONS, report: object = None, weights: Weights | None = None
) -> Pipeline:
    source, held_out = small.tokens(60, 64), small.tokens(12, 64, 1)
    told = report or (lambda *said: None)
    return Pipeline(weights or small.weights(), [source.ravel()], held_out.ravel(), folder, options, report=told)  # type: ignore[arg-type]


def test_stopping_at_every_step_gives_the_same_recipe(tmp_path: Path) -> None:
    steps: list[str] = []
    pipeline(tmp_path / "whole", report=lambda step, done, total, note: steps.append(step)).run()
    whole = (tmp_path / "whole" / "recipe.npz").read_bytes()
    order = list(dict.fromkeys(steps))
    assert order == ["importance", "fit", "taught", "learn", "figures"]
    for last in order:

        def stop(step: str, done: int, total: int, note: str, last: str = last) -> None:
            if step == last:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            pipeline(tmp_path / "cut", report=stop).run()
    pipeline(tmp_path / "cut").run()
    assert (tmp_path / "cut" / "recipe.npz").read_bytes() == whole


def test_a_recipe_says_what_was_measured(tmp_path: Path) -> None:
    pipeline(tmp_path).run()
    recipe = Recipe.load(tmp_path / "recipe.npz")
    first, second, third = recipe.config["levels"]
    assert (first["ratio"], first["rank"], second["rank"], third["rank"]) == (1.0, 0, 0, 32)
    assert first["hidden"] == [128] * 4 and sum(third["hidden"]) < sum(second["hidden"]) < 512
    assert all(level["ratio"] <= wanted for level, wanted in zip((second, third), (0.8, 0.5), strict=True))
    assert third["perplexity"] < third["before"]
    neurons = recipe.arrays["neurons"]
    assert np.array_equal(np.sort(neurons, axis=1), np.tile(np.arange(128), (4, 1)))
    assert recipe.low(1, "a", 0) is None
    assert recipe.arrays["fine"].sum() == OPTIONS.fine
    low = recipe.low(2, "a", 0)
    assert low is not None and low[0].shape == (32, third["hidden"][0])


def test_another_run_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    pipeline(tmp_path)
    with pytest.raises(NookError) as caught:
        pipeline(tmp_path, Options(ratios=(0.5,), ranks=(0,), steps=(0,)))
    assert caught.value.code == "other-run"
    (tmp_path / "importance.npz").write_bytes(b"PK half of it")
    with pytest.raises(NookError, match="is damaged"):
        pipeline(tmp_path).order()


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"ratios": (0.5, 0.8)}, "ratio"), ({"ratios": (0.5, 0.0)}, "ratio"), ({"ranks": (32,)}, "ratio"),
        ({"ranks": (0, 8)}, "rank"), ({"criterion": "luck"}, "option"), ({"dtype": "int3"}, "option"),
    ],
)  # fmt: skip
def test_options_that_make_no_sense_are_refused(changed: dict[str, object], code: str) -> None:
    with pytest.raises(NookError) as caught:
        Options(**{"ratios": (0.8, 0.5), "ranks": (0, 0), "steps": (0, 0)} | changed)  # type: ignore[arg-type]
    assert caught.value.code == code


def test_the_artifact_computes_what_was_measured(tmp_path: Path) -> None:
    whole = small.weights()
    rounded = {name: pack.value_q4(*pack.cut_q4(value)) for name, value in whole.tensors.items() if "norm" not in name}
    embedding = whole["token_embd.weight"]
    rounded["token_embd.weight"] = pack.unpack("q8", pack.quantise("q8", embedding), *embedding.shape)
    weights = Weights(whole.shape, whole.tensors | rounded)
    run = pipeline(tmp_path, weights=weights)
    recipe = run.run()
    stored = lambda name: Tensor(name, weights[name].shape, "F32", weights[name].ravel().view(np.uint8))
    convert.build(tmp_path / "small.nkm", weights.shape, stored, name="small", recipe=recipe)
    order, sizes = run.order()
    base = run._base(order)
    fitted = run.fitted(base, sizes)
    plain = Reference(tmp_path / "small.nkm")
    assert [level.rank for level in plain.levels] == [0, 0, 32]
    ids = small.tokens(1, 20, 3)
    with torch.no_grad():
        for level in range(3):
            size = [Size.whole(weights.shape), *sizes][level]
            recovery = run.level(level, base, size, fitted[level - 1]) if level else None
            expected = base.logits(base(torch.from_numpy(ids), size, recovery))[0].numpy()
            found = plain.logits(ids[0].tolist(), level)
            assert np.abs(found - expected).max() < 5e-3 * np.abs(expected).max()
            other = plain.logits(ids[0].tolist(), (level + 1) % 3)
            assert np.abs(other - expected).max() > 2 * np.abs(found - expected).max()
