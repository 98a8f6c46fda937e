"""Codes of 4 bits for reordered matrices: nearer in the activations' metric than plain rounding."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="torch is not there: `build.py test train` installs it")

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from inglenook.kernels import pack
from inglenook.train.requantise import MOST, nudges


@settings(max_examples=15)
@given(st.integers(0, 2**32 - 1), st.sampled_from([32, 64, 160]))
def test_errors_are_made_good_by_later_columns(seed: int, columns: int) -> None:
    random = np.random.default_rng(seed)
    weights = random.normal(size=(16, columns)).astype(np.float32)
    h = random.normal(size=(400, columns)) @ random.normal(size=(columns, columns))
    square = h.T @ h / len(h)
    found = nudges(weights, square)
    assert found.dtype == np.int8 and np.abs(found).max() <= MOST

    def lost(codes: np.ndarray) -> float:
        off = codes - weights
        return float(np.einsum("ij,jk,ik->", off, square, off))

    better = pack.value_q4(*pack.cut_q4(weights, found))
    assert lost(better) < lost(pack.value_q4(*pack.cut_q4(weights)))


def test_codes_stay_in_range_and_pack_as_they_are() -> None:
    random = np.random.default_rng(1)
    weights = random.normal(size=(8, 64)).astype(np.float32)
    up = np.full(weights.shape, 1, np.int8)
    q, scale, minimum = pack.cut_q4(weights, up)
    assert q.max() <= 15
    unpacked = pack.unpack("q4", pack.pack("q4", q, scale, minimum), 8, 64)
    np.testing.assert_array_equal(unpacked, pack.value_q4(q, scale, minimum))


def test_columns_that_never_act_do_no_harm() -> None:
    square = np.zeros((64, 64))
    square[:32, :32] = np.eye(32)
    weights = np.random.default_rng(2).normal(size=(8, 64)).astype(np.float32)
    assert np.isfinite(nudges(weights, square)).all()
