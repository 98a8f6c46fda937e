"""Where things lie on a map: topics as discs that do not overlap, their passages on them.

A plane alone shows little: two dimensions of 384 hold a tenth of what tells passages apart, and topics cover one
another. So the plane says only on which side of which a topic lies; then topics are moved apart. On its disc a passage
lies the nearer to the middle the more typical it is, on the side of what else it is about. Every passage has the same
room, so a large disc is a large topic.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]

WIDE = 1.3  # screens are wider than high
GAP = 0.045  # between discs, as a share of the radius all of them would have as one
PULL = 0.97  # towards the middle, each step
STEPS = 200
RIM = 0.94  # of a disc's radius: no passage lies on its edge
TURN = np.pi * (3 - np.sqrt(5))  # the golden angle: points at its multiples never line up


def discs(places: Floats, sizes: NDArray[np.integer]) -> tuple[Floats, Floats]:
    """Centres (k, 2) and radii (k,) of discs of `sizes` points, near where `places` (k, 2) say, none on another."""
    radii = np.sqrt(np.asarray(sizes, np.float64))
    whole = float(np.sqrt(np.square(radii).sum()))
    centres = places - np.average(places, axis=0, weights=sizes)
    spread = float(np.sqrt(np.square(centres).sum(axis=1).mean()))
    centres = centres / (spread or 1) * whole * [WIDE, 1]
    centres = centres + spiral(len(radii)) * whole * 1e-3  # those in one place go different ways
    need = radii[:, None] + radii + GAP * whole
    np.fill_diagonal(need, 0)
    for _ in range(STEPS):
        centres *= PULL
        away = centres[:, None] - centres
        far = np.maximum(np.hypot(*np.moveaxis(away, 2, 0)), 1e-9)
        centres += (away * (np.maximum(need - far, 0) / far)[:, :, None]).sum(axis=1) / 2
    away = centres[:, None] - centres
    far = np.hypot(*np.moveaxis(away, 2, 0))
    np.fill_diagonal(far, 1)
    return centres * max(1.0, float((need / np.maximum(far, 1e-9)).max())), radii


def scatter(sides: Floats, distances: NDArray[Any]) -> Floats:
    """Points (n, 2) on a disc round the origin, in rings: near the middle those with small `distances` (n,), round it
    in the order of their `sides` (n, 2). The disc's radius is the root of n; no two are nearer than 1.3."""
    n = len(distances)
    points = np.empty((n, 2))
    order = np.argsort(distances, kind="stable")
    even = _evened(sides[order])
    angles = np.arctan2(even[:, 1], even[:, 0])
    rings, last = _rings(n)
    edges = np.searchsorted(rings, np.arange(last + 2))
    for ring, (start, end) in enumerate(itertools.pairwise(edges.tolist())):
        turned = start + np.argsort(angles[start:end], kind="stable")
        slots = np.arange(end - start) * (2 * np.pi / max(1, end - start))
        at = slots + np.angle(np.exp(1j * (angles[turned] - slots)).sum())
        points[order[turned]] = np.sqrt(n) * RIM * ring / last * np.stack([np.cos(at), np.sin(at)], axis=1)
    return points


def spiral(n: int) -> Floats:
    """Directions (n, 2) that differ as much as can be."""
    angles = np.arange(n) * TURN
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _rings(n: int) -> tuple[NDArray[np.intp], int]:
    """On which ring each of `n` points is, and the last one's number: of full ones there would be 1, 6, 12, 18 …"""
    last = max(1, round(np.sqrt(n / 3 + 0.25) - 0.5))
    up_to = np.arange(last)
    most = np.round(n * (1 + 3 * up_to * (up_to + 1)) / (1 + 3 * last * (last + 1)))
    most[0] = n == 1 or min(1, most[0])
    return np.searchsorted(most, np.arange(n), side="right"), last


def _evened(sides: Floats) -> Floats:
    """Directions (n, 2) stretched so that about as many point to each side."""
    values, axes = np.linalg.eigh(sides.T @ sides / max(1, len(sides)))
    even: Floats = sides @ axes / np.sqrt(np.maximum(values, 1e-12)) @ axes.T
    return even
