"""Loads: published traces with their lengths scaled and their time stretched, bursts by gamma arrivals, mixes of
services.

    rows = trace(folder / "AzureLLMInferenceTrace_conv.csv")      # seconds, prompt, output (Azure, CC-BY; 2311.18677)
    rows = scaled(rows, 4)                                        # every length a fourth, rounded up
    arriving = arrivals({"chat": gamma(rows, 2.0, 4.0, rng), …}, most=512)

Time: `stretched` keeps a trace's own arrivals and only changes their rate, so their coefficient of variation stays;
`gamma` draws gaps with a given one (AlpaServe, 2302.11665, section 6.2), lengths being drawn from a trace in its
order, which keeps what neighbours have in common. `clients` makes a stream as ServeGen (2505.09999) finds them: few
clients send most.
"""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np

from inglenook.errors import NookError
from inglenook.fleet.request import Request
from inglenook.fleet.simulate import STOP, Arrival


class Row(NamedTuple):
    """A request of a trace: when it came, in seconds, and how many tokens it had."""

    at: float
    prompt: int
    output: int


def trace(path: Path) -> list[Row]:
    """The rows of an Azure LLM inference trace, from 0 s on. Raises NookError("trace")."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [
                (datetime.fromisoformat(row["TIMESTAMP"][:26]), int(row["ContextTokens"]), int(row["GeneratedTokens"]))
                for row in csv.DictReader(file)
            ]
    except (OSError, KeyError, ValueError) as error:
        hint = "Its first line is TIMESTAMP,ContextTokens,GeneratedTokens (github.com/Azure/AzurePublicDataset)."
        raise NookError("trace", f"{path.name} is no trace: {error}.", hint) from error
    if not rows:
        raise NookError("trace", f"{path.name} has no rows.", "Fetch it again.")
    rows.sort()
    return [Row((at - rows[0][0]).total_seconds(), max(prompt, 1), max(output, 1)) for at, prompt, output in rows]


def scaled(rows: Iterable[Row], by: float, most: int = 1 << 30) -> list[Row]:
    """Lengths divided by `by`, rounded up; requests of more than `most` tokens then are left out."""
    made = (Row(row.at, -int(-row.prompt // by), -int(-row.output // by)) for row in rows)
    return [row for row in made if row.prompt + row.output <= most]


def stretched(rows: Sequence[Row], rate: float) -> list[Row]:
    """The same arrivals at `rate` a second: gaps in proportion, so of the same variation."""
    factor = len(rows) / rate / max(rows[-1].at - rows[0].at, 1e-9)
    return [Row((row.at - rows[0].at) * factor, row.prompt, row.output) for row in rows]


def gamma(rows: Sequence[Row], rate: float, cv: float, rng: np.random.Generator) -> list[Row]:
    """The lengths of `rows`, with gaps drawn from a gamma distribution of mean 1/`rate` and variation `cv` (1:
    Poisson). Starts anywhere: the first gap is drawn, too."""
    gaps = rng.gamma(1 / cv**2, cv**2 / rate, len(rows))
    return [Row(at, row.prompt, row.output) for at, row in zip(np.cumsum(gaps).tolist(), rows)]


def clients(
    rows: Sequence[Row], rate: float, cv: float, rng: np.random.Generator, *, count: int = 8, skew: float = 1.2
) -> list[Row]:
    """A stream made of `count` clients, the n-th with a part of `rate` in proportion to n^-`skew` and with lengths from
    its own stretch of `rows`; each bursts for itself."""
    parts = np.arange(1, count + 1) ** -skew
    parts /= parts.sum()
    starts = rng.permutation(count) * (len(rows) // count)
    made = []
    for part, start in zip(parts.tolist(), starts.tolist()):
        own = list(itertools.islice(itertools.cycle([*rows[start:], *rows[:start]]), max(1, round(part * len(rows)))))
        made += gamma(own, rate * part, cv, rng)
    return sorted(made)


def arrivals(streams: Mapping[str, Iterable[Row]], most: int) -> list[Arrival]:
    """The streams of several services as one, in order. Every request allows `most` tokens, whatever its length is."""
    made = [
        Arrival(row.at, Request(f"{name}-{n}", name, range(2, 2 + row.prompt), most, frozenset({STOP})), row.output)
        for name, rows in streams.items()
        for n, row in enumerate(rows)
    ]
    return sorted(made, key=lambda arrival: (arrival.at, arrival.request.id))


def faster(some: Iterable[Arrival], factor: float) -> list[Arrival]:
    """The same arrivals in 1/`factor` of the time."""
    return [replace(arrival, at=arrival.at / factor) for arrival in some]
