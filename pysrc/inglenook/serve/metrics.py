"""Numbers in the text that Prometheus reads (exposition format 0.0.4): families of samples, and histograms.

A registry of our own, since all there is to it is this page; what is counted stands in `watch`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

TYPE = "text/plain; version=0.0.4; charset=utf-8"
Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Family:
    """Samples of one name: (what is put after it, labels, value). `kind` is "counter", "gauge" or "histogram"."""

    name: str
    kind: str
    help: str
    samples: list[tuple[str, Labels, float]] = field(default_factory=list)


class Histogram:
    """How many values were at most each of `bounds`, their number and their sum."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self._counts = [0] * (len(self.bounds) + 1)
        self._sum = 0.0

    def add(self, value: float) -> None:
        """One more value."""
        self._counts[bisect_left(self.bounds, value)] += 1
        self._sum += value

    def family(self, name: str, help: str) -> Family:
        """What it holds."""
        samples: list[tuple[str, Labels, float]] = []
        total = 0
        for bound, count in zip([*map(_number, self.bounds), "+Inf"], self._counts, strict=True):
            total += count
            samples.append(("_bucket", {"le": bound}, total))
        return Family(name, "histogram", help, [*samples, ("_sum", {}, self._sum), ("_count", {}, total)])


def exposition(families: Iterable[Family]) -> str:
    """All families as one text."""
    lines = []
    for family in families:
        lines += [f"# HELP {family.name} {_escaped(family.help)}", f"# TYPE {family.name} {family.kind}"]
        for suffix, labels, value in family.samples:
            told = ",".join(f'{name}="{_escaped(text, True)}"' for name, text in labels.items())
            lines.append(f"{family.name}{suffix}{'{' + told + '}' if told else ''} {_number(value)}")
    return "\n".join(lines) + "\n"


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(float(value))


def _escaped(text: str, quoted: bool = False) -> str:
    text = text.replace("\\", "\\\\").replace("\n", "\\n")
    return text.replace('"', '\\"') if quoted else text
