"""The recipe that ships, applied to the real weights: levels within their bounds, and the whole model still itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from inglenook.elastic import convert
from inglenook.elastic.gguf import Gguf
from inglenook.elastic.levels import ratio
from inglenook.elastic.recipe import Recipe
from inglenook.elastic.reference import Reference
from inglenook.kernels import artifact
from system.smollm2 import gguf

from buildlib.models import RECIPE

IDS = [504, 3575, 282, 4649, 314, 7042, 30, 657, 314, 260, 2892, 282, 260, 905, 28, 284]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Artifacts of the real model: plain, and with the recipe."""
    if not RECIPE.is_file():
        pytest.skip(f"{RECIPE.name} is not there: `inglenook train elastic` makes it")
    folder = tmp_path_factory.mktemp("recipe")
    convert.convert(gguf(), folder / "plain.nkm")
    convert.convert(gguf(), folder / "elastic.nkm", RECIPE)
    return folder / "plain.nkm", folder / "elastic.nkm"


def test_all_levels_together_take_little_more_than_the_whole(made: tuple[Path, Path]) -> None:
    plain, elastic = (path.stat().st_size for path in made)
    assert plain < elastic <= 1.15 * plain


def test_levels_are_what_they_say(made: tuple[Path, Path]) -> None:
    reference, said = Reference(made[1]), Recipe.load(RECIPE).config["levels"]
    shape = reference.shape
    assert artifact.read_header(made[1]).config["levels"][0]["ratio"] == 1
    for level, told in zip(reference.levels, said, strict=True):
        share = ratio(shape, level.hidden, level.groups)
        assert share == pytest.approx(told["ratio"])
        assert told["perplexity"] <= told["before"] * 1.05
    ratios = [level.ratio for level in reference.levels]
    assert ratios == sorted(ratios, reverse=True) and ratios[0] == 1 and min(ratios) <= 0.5


def test_the_whole_model_is_still_itself(made: tuple[Path, Path]) -> None:
    before, after = Reference(Gguf.open(gguf())).logits(IDS), Reference(made[1]).logits(IDS)
    cosines = (before * after).sum(1) / np.linalg.norm(before, axis=1) / np.linalg.norm(after, axis=1)
    assert cosines.min() > 0.98
