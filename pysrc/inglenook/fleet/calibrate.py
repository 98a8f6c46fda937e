"""A profile from measured iterations, and how well it predicts those that it has not seen.

    fitted, held = split(rows, seed=0)        # 60 % of the configurations; the rest is not looked at
    profile = fit(fitted)
    worst = errors(profile, held).max()

The fit is least squares on *relative* residuals, since an iteration of a millisecond matters as much as one of a
second, with coefficients that are not negative: of the few subsets of five terms the best whose solution is not.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from inglenook.errors import NookError
from inglenook.fleet.iteration import Executor, Iteration, Piece, Sampling
from inglenook.fleet.profile import Profile, Work

Floats = NDArray[np.float64]
T = TypeVar("T")

SHARE = 0.6
"""Of the configurations, what is fitted; the others tell the error."""
SIZES = [
    (decodes, prefill, start)
    for decodes in (0, 1, 4, 16) for prefill in (0, 16, 64) for start in (16, 160) if decodes + prefill
]  # fmt: skip
"""What is measured: answers that decode, tokens of a prompt beside them, tokens before each."""
SPREAD = 4.0
"""Tokens before answers that decode together lie between so much less and so much more than what is said: requests of
one length are the same work for an engine in fewer pieces."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What an iteration took: the median of some repetitions of one configuration."""

    work: Work
    seconds: float


def split(rows: Iterable[T], share: float = SHARE, seed: int = 0) -> tuple[list[T], list[T]]:
    """`share` of the rows at random, and the rest."""
    drawn = list(rows)
    random.Random(seed).shuffle(drawn)
    cut = round(len(drawn) * share)
    return drawn[:cut], drawn[cut:]


def fit(rows: Sequence[Measured]) -> Profile:
    """The profile that is nearest to `rows`. Raises NookError("calibrate") if there are fewer than its five terms."""
    if len(rows) < 5:
        hint = "Measure batches and prompts of several sizes."
        raise NookError("calibrate", f"{len(rows)} iterations are too few for a profile.", hint)
    seconds = np.array([row.seconds for row in rows])
    terms = np.array([(1, *row.work) for row in rows], dtype=float) / seconds[:, None]
    scale = np.maximum(np.abs(terms).max(axis=0), 1e-300)
    terms = terms / scale
    best, found = np.inf, np.zeros(5)
    for size in range(1, 6):
        for some in combinations(range(5), size):
            solved, *_ = np.linalg.lstsq(terms[:, some], np.ones(len(rows)), rcond=None)
            missed = float(np.sum((terms[:, some] @ solved - 1) ** 2))
            if (solved >= 0).all() and missed < best:
                best, found = missed, np.zeros(5)
                found[list(some)] = solved
    return Profile(*(found / scale).tolist())


def errors(profile: Profile, rows: Iterable[Measured]) -> Floats:
    """|predicted - measured| / measured of each."""
    return np.array([abs(profile.seconds(row.work) - row.seconds) / row.seconds for row in rows])


def measure(
    executor: Executor, model: str, *, pages: int, per_page: int, context: int, seconds: float = 10.0, rounds: int = 5,
    among: Sequence[tuple[int, int, int]] = SIZES, others: Sequence[str] = (),
) -> list[Measured]:  # fmt: skip
    """Iterations of the sizes `among` on an idle worker, of each the median of so many rounds as take `seconds`.

    One round is made in any case. Its arena has `pages` pages of `per_page` tokens, which must be free: what stands in
    them is lost. With `others`, models that the worker has, too, each is the mean of two: after one of theirs, whose
    weights have taken the caches, and after its own.
    """
    sizes = [size for size in among if max(size[1], 1) + size[2] <= context]
    taken: dict[tuple[int, int, int], list[float]] = {size: [] for size in sizes}
    works, ends = {}, time.perf_counter() + seconds
    for turn in range(-1, rounds):  # the first warms up
        for size in sizes if turn >= 0 else sizes[-1:]:
            pieces, spent = _pieces(size, pages, per_page, context), []
            for piece in pieces:
                executor.admit(piece.request, Sampling())
            for other in (others[turn % len(others)], model) if others else (model,):
                if other != model:
                    executor.run(Iteration(other, (replace(pieces[0], tokens=(1,), start=0),)))
                began = time.perf_counter()
                executor.run(Iteration(model, pieces))
                spent.append(time.perf_counter() - began)
            taken[size].append(statistics.fmean(spent))
            works[size] = Work.of(pieces)
            for piece in pieces:
                executor.release(piece.request)
        if turn < 0:
            taken[sizes[-1]].clear()
        elif time.perf_counter() > ends:
            break
    return [Measured(works[size], statistics.median(spent)) for size, spent in taken.items()]


def _pieces(size: tuple[int, int, int], pages: int, per_page: int, context: int) -> tuple[Piece, ...]:
    """Those of one size: a token each of answers, and a prompt's beside them."""
    (decodes, prefill, start), made, page = size, [], 0
    for n in range(decodes + bool(prefill)):
        count, before = (prefill, start) if n == decodes else (1, round(start * SPREAD ** ((2 * n + 1) / decodes - 1)))
        before = min(before, context - count)
        needed = -(-(before + count) // per_page)
        held = tuple(number % pages for number in range(page, page + needed))
        page += needed
        made.append(Piece(str(n), (1 + n,) * count, before, held, True))
    return tuple(made)
