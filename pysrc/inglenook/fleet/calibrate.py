"""A profile from measured iterations, and how well it predicts those that it has not seen.

    fitted, held = split(rows, seed=0)        # 60 % of the configurations; the rest is not looked at
    profile = fit(fitted)
    worst = errors(profile, held).max()

The fit is least squares on *relative* residuals, since an iteration of a millisecond matters as much as one of a
second, with coefficients that are not negative: of the few subsets of the terms the best whose solution is not.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from itertools import combinations
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from inglenook.errors import NookError
from inglenook.fleet.iteration import Executor, Iteration, Piece, Sampling
from inglenook.fleet.profile import Profile, Work

Floats = NDArray[np.float64]
Size = tuple[int, int, int, int]
T = TypeVar("T")

SHARE = 0.6
"""Of the configurations, what is fitted; the others tell the error."""
SIZES = [
    (decodes, prompts, prefill, start)
    for decodes in (0, 1, 4, 16) for prompts, prefill in ((0, 0), (1, 16), (1, 64), (4, 64)) for start in (16, 160)
    if decodes + prompts
]  # fmt: skip
"""What is measured: answers that decode, pieces of prompts beside them, tokens of those together, and tokens before
each."""
TERMS = len(fields(Profile))
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
    """The profile that is nearest to `rows`. Raises NookError("calibrate") if there are fewer than it has terms."""
    if len(rows) < TERMS:
        hint = "Measure batches and prompts of several sizes."
        raise NookError("calibrate", f"{len(rows)} iterations are too few for a profile.", hint)
    seconds = np.array([row.seconds for row in rows])
    terms = np.array([(1, *row.work) for row in rows], dtype=float) / seconds[:, None]
    scale = np.maximum(np.abs(terms).max(axis=0), 1e-300)
    terms = terms / scale
    best, found = np.inf, np.zeros(TERMS)
    for size in range(1, TERMS + 1):
        for some in combinations(range(TERMS), size):
            solved, *_ = np.linalg.lstsq(terms[:, some], np.ones(len(rows)), rcond=None)
            missed = float(np.sum((terms[:, some] @ solved - 1) ** 2))
            if (solved >= 0).all() and missed < best:
                best, found = missed, np.zeros(TERMS)
                found[list(some)] = solved
    return Profile(*(found / scale).tolist())


def errors(profile: Profile, rows: Iterable[Measured]) -> Floats:
    """|predicted - measured| / measured of each."""
    return np.array([abs(profile.seconds(row.work) - row.seconds) / row.seconds for row in rows])


def measure(
    executor: Executor, model: str, *, pages: int, per_page: int, context: int, seconds: float = 10.0, rounds: int = 5,
    among: Sequence[Size] = SIZES, others: Sequence[str] = (),
) -> list[Measured]:  # fmt: skip
    """Iterations of the sizes `among` on an idle worker, of each the median of so many rounds as take `seconds`.

    One round is made in any case. Its arena has `pages` pages of `per_page` tokens, which must be free: what stands in
    them is lost. With `others`, models that the worker has, too, each is measured twice: after one of theirs, whose
    weights have taken the caches, and after its own.
    """
    sizes = [_pieces(size, pages, per_page, context) for size in among if max(size[2], 1) + size[3] <= context]
    before = [True, False] if others else [False]
    taken: dict[tuple[int, bool], list[float]] = {(n, changed): [] for n in range(len(sizes)) for changed in before}
    ends = time.perf_counter() + seconds
    for turn in range(-1, rounds):  # the first warms up
        for n, pieces in enumerate(sizes if turn >= 0 else sizes[:1]):
            for piece in pieces:
                executor.admit(piece.request, Sampling())
            for changed in before:
                if changed:
                    other = others[turn % len(others)]
                    executor.run(Iteration(other, (replace(pieces[0], tokens=(1,), start=0),)))
                began = time.perf_counter()
                executor.run(Iteration(model, pieces))
                if turn >= 0:
                    taken[n, changed].append(time.perf_counter() - began)
            for piece in pieces:
                executor.release(piece.request)
        if turn >= 0 and time.perf_counter() > ends:
            break
    return [Measured(Work.of(sizes[n], changed), statistics.median(spent)) for (n, changed), spent in taken.items()]


def _pieces(size: Size, pages: int, per_page: int, context: int) -> tuple[Piece, ...]:
    """Those of one size: a token each of answers, and those of prompts beside them."""
    (decodes, prompts, prefill, start), made, page = size, [], 0
    for n in range(decodes + prompts):
        count, before = prefill // max(prompts, 1), start
        if n < decodes:
            count, before = 1, round(start * SPREAD ** ((2 * n + 1) / decodes - 1))
        before = min(before, context - count)
        needed = -(-(before + count) // per_page)
        held = tuple(number % pages for number in range(page, page + needed))
        page += needed
        made.append(Piece(str(n), (1 + n,) * count, before, held, True))
    return tuple(made)
