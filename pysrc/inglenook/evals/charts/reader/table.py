"""What was read from a chart: numbers by row (a series) and column (a category)."""

from __future__ import annotations

from dataclasses import dataclass, field

Key = tuple[str, str]


@dataclass(slots=True)
class Table:
    """`cells` hold numbers by (series, category); the series is "" where there is one only. `slack` is how far a number
    may be off: 0 where numbers are printed, a part of the scale where they were measured. `how` names the rule that
    read them, `texts` are all that the picture says."""

    how: str = ""
    title: str = ""
    unit: str = ""
    cells: dict[Key, float] = field(default_factory=dict)
    slack: float = 0.0
    texts: tuple[str, ...] = ()

    @property
    def series(self) -> list[str]:
        return list(dict.fromkeys(row for row, _ in self.cells))

    @property
    def categories(self) -> list[str]:
        return list(dict.fromkeys(column for _, column in self.cells))

    def row(self, series: str) -> dict[str, float]:
        return {column: value for (row, column), value in self.cells.items() if row == series}

    def column(self, category: str) -> dict[str, float]:
        return {row: value for (row, column), value in self.cells.items() if column == category}

    def text(self) -> str:
        """As lines for a language model."""
        lines = [self.title, f"Unit: {self.unit}" if self.unit else ""]
        for (row, column), value in self.cells.items():
            lines.append(f"{row}{', ' if row and column else ''}{column}: {value:.4g}")
        return "\n".join(line for line in lines if line)
