"""What a person gives an index, and what it gives back: labels, filters, and answers as hnswlib's arrays.

The index on a machine (`public`) and the one in a tab share it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from inglenook.errors import NookError
from inglenook.index.collection import Allowed, Collection, Hits
from inglenook.index.form import Form

Ids = NDArray[np.int64]
Choice = Callable[..., Any] | Mapping[str, Any] | ArrayLike | None
Answer = tuple[Ids, NDArray[np.float32]]


def labelled(data: ArrayLike, ids: ArrayLike | None, highest: int) -> tuple[NDArray[Any], Ids]:
    """Vectors (n, dim), of which one may be given alone, and their labels: without `ids` numbered on from `highest`."""
    vectors = np.asarray(data)
    vectors = vectors[None] if vectors.ndim == 1 else vectors
    if ids is None:
        return vectors, np.arange(highest + 1, highest + 1 + len(vectors), dtype=np.int64)
    return vectors, labels(ids)


def labels(ids: ArrayLike) -> Ids:
    """Labels (n,) of whole numbers, of which one may be given alone. NookError("bad-id")."""
    given = np.asarray(ids)
    if given.dtype.kind not in "iu" and given.size:
        raise NookError("bad-id", f"Ids are whole numbers, not {given.dtype}.", "Number your vectors.")
    if given.dtype.kind == "u" and given.size and given.max() > np.iinfo(np.int64).max:
        raise NookError("bad-id", "An id does not fit into 63 bits.", "Number your vectors.")
    return given.astype(np.int64).reshape(-1)


def allowed(choice: Choice) -> Allowed | None:
    """What may be given as a filter: a condition, or a function of an array of labels."""
    if choice is None or isinstance(choice, Mapping):
        return choice
    if callable(choice):
        return _asking(choice)
    given = np.asarray(choice)
    if given.dtype == np.bool_ and given.ndim == 1:
        return lambda ids: (
            (ids >= 0) & (ids < len(given)) & given[np.clip(ids, 0, max(len(given) - 1, 0))]
            if len(given)
            else np.zeros(len(ids), np.bool_)
        )
    wanted = np.unique(labels(given))
    return lambda ids: np.isin(ids, wanted)


def _asking(choice: Callable[..., Any]) -> Allowed:
    """A person's function of an array of labels, or of one."""

    def asked(ids: Ids) -> NDArray[np.bool_]:
        try:
            answer = np.asarray(choice(ids))
            if answer.dtype == np.bool_ and answer.shape == ids.shape:
                return answer
        except (ValueError, TypeError):  # it knows one label at a time, as hnswlib's do
            pass
        return np.fromiter((bool(choice(id_)) for id_ in ids.tolist()), np.bool_, len(ids))

    return asked


def at_once(made: Collection, data: NDArray[Any], k: int, allow: Allowed | None, effort: int) -> Answer | None:
    """Labels and distances of one query (dim,) where all there is lies in memory and the answer is sure; else None."""
    if data.ndim != 1 or not (quick := made.at_once(data, k, allow=allow, effort=effort)):
        return None
    hit = quick[0]
    if hit is None or len(hit.ids) < k:
        return None
    return hit.ids[None], made.form.distances(hit.scores)[None]


def arrays(hits: list[Hits], k: int, form: Form) -> Answer:
    """Labels and distances (m, k) of what m queries found; -1 and inf where there are fewer."""
    found = np.full((len(hits), k), -1, np.int64)
    distances = np.full((len(hits), k), np.inf, np.float32)
    for n, hit in enumerate(hits):
        found[n, : len(hit.ids)] = hit.ids
        distances[n, : len(hit.ids)] = form.distances(hit.scores)
    return found, distances


def same(name: str, form: Form, wanted: Form) -> None:
    """NookError("bad-shape") where the index `name` has another form than is wanted."""
    if form != wanted:
        message = f"The index “{name}” has {_told(form)}, not {_told(wanted)}."
        raise NookError("bad-shape", message, "Open it as what it is, or give another name.")


def _told(form: Form) -> str:
    return f"{form.dim} dimensions, {form.space}, {form.dtype}"
