"""Codes of residuals: C against numpy, numpy against the definition, and the paper's claims about errors."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inglenook.index import kernel, probe
from inglenook.index.codes import Rotation
from inglenook.index.ivf import SLOPE
from inglenook.index.kmeans import assign, centroids_of
from inglenook.index.making import build
from inglenook.index.quantise import quantise
from inglenook.index.rabitq import BLOCK, Encoder, firsts, nibbles, tables

compiled = pytest.mark.skipif(kernel.load() is None, reason="wasm/codes.c is not compiled")
SPACES = ["ip", "l2", "cosine"]


def cloud(n, dim, seed=0):
    return np.random.default_rng(seed).standard_normal((n, dim), np.float32)


def score(vectors, query, space):
    """What the estimates are of."""
    vectors, query = vectors.astype(float), query.astype(float)
    if space == "cosine":
        vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1), 1e-30)[:, None]
        query = query / np.linalg.norm(query)
    return vectors @ query * (2 if space == "l2" else 1) - ((vectors**2).sum(1) if space == "l2" else 0)


def encoded(vectors, k, *, squared, plain, fine=True, seed=0):
    centroids = centroids_of(cloud(k, vectors.shape[1], seed + 1) * np.float32(0.5))
    labels, _ = assign(quantise(vectors), centroids)
    start = np.concatenate([[0], np.cumsum(np.bincount(labels, minlength=k))]).astype(np.int32)
    rows = np.empty(len(vectors), np.int32)
    rows[np.argsort(labels, kind="stable")] = np.arange(len(vectors), dtype=np.int32)
    encoder = Encoder(centroids, start, squared=squared, fine=fine, plain=plain)
    for part in np.array_split(np.arange(len(vectors)), 3):
        encoder.add(vectors[part], labels[part], rows[part])
    return centroids, labels, rows, start, encoder.finish()


@compiled
@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(0, 150), k=st.integers(1, 5), width=st.sampled_from([64, 128, 384]), squared=st.booleans(),
    fine=st.booleans(), seed=st.integers(0, 10**6),
)  # fmt: skip
def test_codes_of_the_kernel_are_numpys(*, n, k, width, squared, fine, seed):
    vectors = cloud(n, width, seed)
    *_, mine = encoded(vectors, k, squared=squared, plain=False, fine=fine, seed=seed)
    *_, plain = encoded(vectors, k, squared=squared, plain=True, fine=fine, seed=seed)
    np.testing.assert_array_equal(mine.blocks[:, : 4 * width], plain.blocks[:, : 4 * width])
    tails = (np.ascontiguousarray(codes.blocks[:, 4 * width :]).view("<u2").astype(int) for codes in (mine, plain))
    assert np.abs(np.subtract(*tails)).max(initial=0) <= 40  # of 65535: float32 sums differ by their order
    np.testing.assert_allclose(mine.factors, plain.factors, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(mine.spread, plain.spread, rtol=1e-5)
    assert mine.noise == pytest.approx(plain.noise, abs=1e-5)
    if fine:
        differ = nibbles_of(mine.fine, width) != nibbles_of(plain.fine, width)
        assert differ.mean() < 1e-3 if n else True
        assert mine.fine_noise == pytest.approx(plain.fine_noise, abs=1e-4)


def nibbles_of(fine, width):
    return np.concatenate([fine[:, : width // 2] & 15, fine[:, : width // 2] >> 4], 1).astype(int)


@pytest.mark.parametrize("plain", [True, pytest.param(False, marks=compiled)])
def test_blocks_hold_the_signs(plain):
    vectors = cloud(133, 128, 4)
    centroids, labels, rows, start, coded = encoded(vectors, 3, squared=False, plain=plain)
    positive = (vectors - centroids.values[labels]) > 0
    want = (positive.reshape(-1, 32, 4) * [1, 2, 4, 8]).sum(2)
    first = firsts(start)
    for number in range(3):
        codes = nibbles(coded.blocks[first[number] : first[number + 1]], 128)
        for row in np.flatnonzero(labels == number):
            np.testing.assert_array_equal(codes[rows[row] - start[number]], want[row])
        assert not codes[start[number + 1] - start[number] :].any()


def test_tables_are_sums():
    query = cloud(1, 384)[0]
    table = tables(query)
    assert table.entries.max() <= 63  # four of them fit in a byte, those of 4096 dimensions in two
    signs = np.where(cloud(50, 384, 1) > 0, 1, -1)
    codes = ((signs > 0).reshape(50, 96, 4) * [1, 2, 4, 8]).sum(2)
    sums = table.low + table.step * table.entries[np.arange(96), codes].sum(1, dtype=int)
    assert np.abs(sums - signs @ query).max() < 96 * table.step / 2
    zero = tables(np.zeros(64, np.float32))
    assert zero.step == 0 and zero.low == 0


def lists_of(vectors, space, **options):
    ivf = build(vectors, space=space, **options)
    return ivf, vectors[ivf.permutation]


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("dim", [2, 30, 100, 384, 1000])
def test_errors_are_as_the_paper_says(space, dim):
    """Unbiased; beyond ε = 1.9 times the bound hardly ever, beyond 4 never (theorem 3.2)."""
    ivf, vectors = lists_of(cloud(700, dim, dim), space, lists=4, fine=False)
    for asked in (probe.Plain(ivf, SLOPE), probe.make(ivf, SLOPE)):
        shares = []
        for query in cloud(12, dim, dim + 1) * np.float32(0.7):
            for number in range(ivf.nlist):
                blocks = ivf.coded.blocks[ivf.first[number] : ivf.first[number + 1]]
                rows = slice(ivf.start[number], ivf.start[number + 1])
                got, errors = asked.estimates(query, number, blocks)
                size = rows.stop - rows.start
                off = got[:size] - score(vectors[rows], query, space)
                slack = 1e-4 * np.abs(score(vectors, query, space)).max()  # of tables and of 16-bit factors
                shares.append(off / (errors[:size] + slack))
        shares = np.concatenate(shares)
        assert abs(shares.mean()) < 0.08
        assert (np.abs(shares) > 1.9).mean() < 0.06
        assert np.abs(shares).max() < 5


@compiled
@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize(("n", "dim", "lists"), [(1, 8, 1), (31, 64, 1), (32, 64, 1), (33, 64, 2), (500, 200, 7)])
def test_estimates_of_the_kernel_are_numpys(space, n, dim, lists):
    ivf, vectors = lists_of(cloud(n, dim, n), space, lists=lists)
    plain, mine = probe.Plain(ivf, SLOPE), probe.Compiled(ivf, SLOPE)
    for query in cloud(5, dim, 77):
        size = np.abs(score(vectors, query, space)).max() + 1
        for number in range(ivf.nlist):
            blocks = ivf.coded.blocks[ivf.first[number] : ivf.first[number + 1]]
            count = ivf.start[number + 1] - ivf.start[number]
            (got, errors), (want, bounds) = (asked.estimates(query, number, blocks) for asked in (mine, plain))
            np.testing.assert_allclose(got[:count], want[:count], atol=3e-4 * size)
            np.testing.assert_allclose(errors[:count], bounds[:count], rtol=1e-3, atol=1e-6)


def test_fine_codes_are_far_better():
    ivf, vectors = lists_of(cloud(600, 200, 3), "ip", lists=3)
    for query in cloud(4, 200, 8):
        want = score(vectors, query, "ip")
        rows, fine = ivf.candidates(query, 600)
        rough_rows, rough = ivf.rough().candidates(query, 600)
        lost, rough_lost = np.abs(fine - want[rows]).mean(), np.abs(rough - want[rough_rows]).mean()
        assert lost < rough_lost / 4


@pytest.mark.parametrize("scale", [0.0, 1e-25, 1e-9, 1e-3, 1e6, 1e15])
@pytest.mark.parametrize("space", SPACES)
def test_scale_does_not_matter(scale, space):
    base, query = cloud(200, 48, 1), cloud(1, 48, 2)[0]
    ivf, _ = lists_of(base * np.float32(scale), space, lists=3)
    rows, scores = ivf.candidates(query * np.float32(scale or 1), 50)
    assert len(rows) == 50 and np.isfinite(scores).all()
    if scale > 1e-19:  # below, squares are no normal float32 numbers
        still, _ = lists_of(base, space, lists=3)
        overlap = np.intersect1d(ivf.permutation[rows], still.permutation[still.candidates(query, 50)[0]])
        assert len(overlap) >= 45


def test_width_of_rows():
    """What the planner counts with: bytes of a row at 384 and at 100 dimensions."""
    assert BLOCK == 32
    for dim, most in ((384, 52), (100, 20)):
        assert build(cloud(64, dim), lists=1, fine=False).coded.blocks.nbytes == 64 * most
        assert Rotation(dim).width == (most - 4) * 8
