"""Topics out of vectors: PCA and k-means of scikit-learn, which is loaded when a map is asked for and not before.

`Cluster` is an effect, because where it runs is the driver's business: in the tab a worker of its own, which ends with
the work and gives its memory back; on a machine a call.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inglenook.errors import NookError
from inglenook.flow import Effect

Vectors = NDArray[np.float32]

KEPT = 50  # principal components in which k-means looks for topics: the rest is mostly noise
WITHIN = 0.3  # what the spread inside topics counts for the plane, beside that between them
STARTS, STEPS = 2, 100  # runs of k-means, of which the best counts, and steps of one at most


@dataclass(frozen=True, slots=True)
class Clusters:
    """`centres` float32 (topics, dimensions), and the `plane` float32 (2, dimensions) in which they lie apart most."""

    centres: Vectors
    plane: Vectors


@dataclass(frozen=True, slots=True)
class Cluster(Effect):
    """Find at most `groups` topics in `vectors`, float32 (n, dimensions), n > 0. Answer: `Clusters`.

    Raises NookError("science-missing") where scikit-learn cannot be had.
    """

    vectors: Vectors
    groups: int


def cluster(vectors: Vectors, groups: int) -> Clusters:
    """What answers a `Cluster`: the same vectors give the same topics."""
    try:
        from sklearn.cluster import KMeans
        from sklearn.decomposition import PCA
        from threadpoolctl import threadpool_limits
    except ImportError as error:
        hint = "Install it (pip install scikit-learn) and ask again; search does without."
        raise NookError("science-missing", f"The map needs scikit-learn: {error}.", hint) from None
    if len(vectors) < 3:
        return Clusters(vectors.mean(axis=0, keepdims=True), np.zeros((2, vectors.shape[1]), np.float32))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fewer different vectors than topics: those left over stay empty
        with threadpool_limits(1):  # sums of several threads differ from run to run
            return _found(vectors, groups, KMeans, PCA)


def _found(vectors: Vectors, groups: int, means: Any, components: Any) -> Clusters:
    smaller = components(min(KEPT, *vectors.shape), random_state=0)
    reduced = smaller.fit_transform(vectors)
    found = means(min(groups, len(vectors)), n_init=STARTS, max_iter=STEPS, random_state=0).fit(reduced)
    middles = found.cluster_centers_[found.labels_]
    apart = components(2, random_state=0).fit(middles + WITHIN * (reduced - middles))
    centres = smaller.inverse_transform(found.cluster_centers_)
    return Clusters(centres.astype(np.float32), (apart.components_ @ smaller.components_).astype(np.float32))
