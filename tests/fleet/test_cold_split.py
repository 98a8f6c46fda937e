"""Stages of about equal bytes: whole, in order, and no other cut has a smaller largest stage."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from inglenook.elastic.shape import Shape
from inglenook.errors import NookError
from inglenook.fleet import safetensors
from inglenook.fleet.cold.split import Part, cut, missing, partition
from inglenook.fleet.weights import Checkpoint, config, part_names, tensor_shape


def model(folder, *, layers=6, vocabulary=500, tied=True):
    sizes = {"width": 16, "hidden": 24, "heads": 4, "kv_heads": 2, "context": 64, "theta": 1e4, "epsilon": 1e-5}
    shape = Shape(layers=layers, vocabulary=vocabulary, **sizes)
    names = part_names(0, layers, embeds=True, heads=True, tied=tied)
    sizes = [tensor_shape(shape, name) for name in names]
    values = (np.zeros(size, "<f2") for size in sizes)
    safetensors.write(folder / "model.safetensors", [(n, "F16", s) for n, s in zip(names, sizes)], values)
    (folder / "config.json").write_text(config(shape, tied=tied, kind="F16"))
    return Checkpoint.open(folder)


@given(st.lists(st.integers(0, 50), min_size=1, max_size=9), st.integers(1, 9))
def test_no_other_cut_is_better(sizes, parts):
    parts = min(parts, len(sizes))
    ends = partition(sizes, parts)
    assert len(ends) == parts and ends[-1] == len(sizes) and sorted(set(ends)) == ends
    largest = lambda ends: max(sum(sizes[a:b]) for a, b in zip([0, *ends], ends))
    every = ([*inner, len(sizes)] for inner in combinations(range(1, len(sizes)), parts - 1))
    assert largest(ends) == min(map(largest, every))


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("degree", [1, 2, 3, 4])
def test_parts_make_the_whole_model(tmp_path, tied, degree):
    checkpoint = model(tmp_path, tied=tied)
    parts = cut(checkpoint, degree)
    names = [name for part in parts for name in part.names(checkpoint)]
    assert set(names) == set(checkpoint.places)
    assert len(names) == len(checkpoint.places) + (1 if tied and degree > 1 else 0), "a tied embedding comes twice"
    for part in parts:
        others = missing(part, checkpoint.shape.layers)
        assert {n for p in (part, *others) for n in p.names(checkpoint)} == set(checkpoint.places)


def test_the_embedding_counts(tmp_path):
    parts = cut(model(tmp_path, vocabulary=300), 4)
    inner, outer = parts[1].last - parts[1].first, parts[0].last - parts[0].first
    assert inner > outer, "the stage with the embedding has fewer layers"


def test_more_stages_than_layers_is_a_typed_error(tmp_path):
    with pytest.raises(NookError) as error:
        cut(model(tmp_path, layers=2), 3)
    assert error.value.code == "stages" and error.value.hint


def test_one_part_lacks_nothing():
    assert missing(Part(0, 6, embeds=True, heads=True), 6) == []
