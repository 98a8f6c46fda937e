"""Rotation and clustering: C against numpy, numpy against its definition."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inglenook.index import kernel
from inglenook.index.codes import Rotation, width_of
from inglenook.index.kmeans import Centroids, assign, balance, centroids_of, gather, lined, train
from inglenook.index.quantise import quantise

compiled = pytest.mark.skipif(kernel.load() is None, reason="wasm/kmeans.c is not compiled")


def finish(work):
    """A generator's value, and what it yielded."""
    seen = []
    while True:
        try:
            seen.append(next(work))
        except StopIteration as done:
            return done.value, seen


def cloud(n, dim, seed=0):
    return np.random.default_rng(seed).standard_normal((n, dim), np.float32)


@pytest.mark.parametrize("dim", [2, 3, 64, 65, 100, 128, 320, 384, 768, 1000])
@pytest.mark.parametrize("plain", [True, pytest.param(False, marks=compiled)])
def test_rotation_keeps_products(dim, plain):
    rotation, vectors = Rotation(dim, 3), cloud(20, dim, dim)
    turned = rotation.apply(vectors, plain=plain)
    assert turned.shape == (20, width_of(dim)) and turned.dtype == np.float32
    want = vectors.astype(float) @ vectors.T.astype(float)
    np.testing.assert_allclose(turned @ turned.T, want, atol=2e-5 * np.abs(want).max())


@pytest.mark.parametrize("dim", [2, 64, 384, 1000])
def test_rotation_spreads_a_peak(dim):
    """A vector with one large number becomes one of many numbers of about equal size: signs are a good code of it."""
    peaks = np.eye(dim, dtype=np.float32)[: min(dim, 20)]
    turned = Rotation(dim, 1).apply(peaks)
    width = turned.shape[1]
    assert np.abs(turned).max() < 6.5 / np.sqrt(width)
    assert np.abs(turned).sum(1).min() > 0.6 * np.sqrt(width)


def test_rotation_follows_from_its_seed():
    vectors = cloud(3, 100)
    again = Rotation(100, bits=Rotation(100, 7).bits)
    np.testing.assert_array_equal(Rotation(100, 7).apply(vectors), again.apply(vectors))
    assert np.abs(Rotation(100, 8).apply(vectors) - again.apply(vectors)).max() > 0.1


@compiled
@settings(max_examples=40, deadline=None)
@given(n=st.integers(0, 40), dim=st.integers(2, 500), seed=st.integers(0, 99), centred=st.booleans())
def test_rotation_of_the_kernel_is_numpys(*, n, dim, seed, centred):
    rotation, vectors = Rotation(dim, seed), cloud(n, dim, seed)
    mean = cloud(1, dim, seed + 1)[0] if centred else None
    np.testing.assert_allclose(rotation.apply(vectors, mean), rotation.apply(vectors, mean, plain=True), atol=1e-5)


def test_centroids_are_what_their_codes_say():
    values = np.concatenate([cloud(5, 64), np.zeros((1, 64), np.float32), cloud(1, 64) * 1e-20, cloud(1, 64) * 1e15])
    centroids = centroids_of(values)
    assert centroids.codes.min() >= 1 and centroids.codes.max() <= 127
    limit = 0.5001 * np.abs(values).max(1) / 63
    assert (np.abs(centroids.values - values).max(1) <= limit).all()
    np.testing.assert_allclose(centroids.squares, (centroids.values.astype(float) ** 2).sum(1), rtol=1e-5)


@compiled
@settings(max_examples=60, deadline=None)
@given(n=st.integers(0, 70), k=st.integers(1, 50), width=st.sampled_from([64, 128, 384]), seed=st.integers(0, 10**6))
def test_assign_of_the_kernel_is_numpys(*, n, k, width, seed):
    """Label by label and bit by bit: sums of integers are exact."""
    vectors, centroids = quantise(cloud(n, width, seed)), centroids_of(cloud(k, width, seed + 1))
    if k > 3:  # equals: the first counts
        centroids = Centroids(*(np.concatenate([column, column[:2]]) for column in centroids))
    labels, values = assign(vectors, centroids)
    plain_labels, plain_values = assign(vectors, centroids, plain=True)
    np.testing.assert_array_equal(labels, plain_labels)
    np.testing.assert_array_equal(values, plain_values)
    if n:
        exact = vectors.codes * vectors.scale[:, None]
        apart = ((exact[:, None].astype(float) - centroids.values) ** 2).sum(2)
        chosen = apart[np.arange(n), labels]
        assert (chosen <= apart.min(1) * (1 + 1e-4)).all()
    sums, plain_sums = np.zeros((2, len(centroids.codes), width), np.float32)
    gather(vectors, labels, sums)
    gather(vectors, labels, plain_sums, plain=True)
    np.testing.assert_allclose(sums, plain_sums, atol=1e-4)


@pytest.mark.parametrize("plain", [True, pytest.param(False, marks=compiled)])
def test_train_finds_clusters(plain):
    centres = cloud(12, 64, 5) * 3
    vectors = np.repeat(centres, 40, axis=0) + 0.3 * cloud(480, 64, 6)
    centroids, seen = finish(train(quantise(vectors), 24, seed=2, plain=plain))
    assert all(0 <= done < total for done, total in seen) and seen
    labels, _ = assign(quantise(vectors), centroids, plain=plain)
    lost = ((vectors - centroids.values[labels]) ** 2).sum() / (0.09 * vectors.size)
    assert lost < 1.3  # what is left is the noise
    again, _ = finish(train(quantise(vectors), 24, seed=2, plain=plain))
    np.testing.assert_array_equal(again.codes, centroids.codes)


@pytest.mark.parametrize(("n", "k"), [(0, 4), (1, 1), (1, 9), (3, 3), (31, 40)])
def test_train_on_few(n, k):
    centroids, _ = finish(train(quantise(cloud(n, 64)), k))
    assert 1 <= len(centroids.codes) <= max(n, 1)


def test_train_on_equals():
    """All vectors in one cluster; the others are dropped."""
    centroids, _ = finish(train(quantise(np.tile(cloud(1, 64), (200, 1))), 10))
    assert len(centroids.codes) == 1


def test_neighbours_stand_beside_each_other():
    """Points of a curled line are put in about its order; every point is there once, and equal ones are no trouble."""
    along = np.random.default_rng(3).permutation(256)
    turn = along / 256 * 2 * np.pi
    steps = np.rint(np.stack([60 * np.cos(turn), 60 * np.sin(turn), along / 4, 0 * turn], 1))
    order = lined(steps)
    assert sorted(order.tolist()) == list(range(256))
    near = np.abs(np.diff(along[order]))
    assert np.median(near) <= 4 and np.mean(near) < 12
    assert sorted(lined(np.zeros((40, 8))).tolist()) == list(range(40))


def test_full_clusters_are_shared_out():
    """Nine tenths of the vectors in one dense place: no list gets them all."""
    vectors = np.concatenate([cloud(1800, 64, 1) * 0.05, cloud(200, 64, 2) * 5])
    centroids, _ = finish(train(quantise(vectors), 40, seed=1))
    counts = np.bincount(assign(quantise(vectors), centroids)[0])
    assert counts.max() < 1000
    assert balance(counts) < 12
