"""FinMME's 10 classes of charts and 21 kinds of them. The classes and six of the kinds are the paper's (appendix C);
the other fifteen kinds it does not name, and their names here are ours."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from inglenook.evals.charts import bars, plots, series
from inglenook.evals.charts.plot import Chart
from inglenook.evals.charts.subject import Subject

Draw = Callable[[Random, Subject], Chart]

KINDS: dict[tuple[str, str], Draw] = {
    ("Distribution Charts", "histogram"): bars.histogram,
    ("Distribution Charts", "box plot"): plots.boxes,
    ("Distribution Charts", "violin plot"): plots.violins,
    ("Financial Charts", "line chart"): series.price,
    ("Financial Charts", "K-line chart"): series.candles,
    ("Financial Charts", "area chart"): series.filled,
    ("Flow Charts", "waterfall chart"): bars.waterfall,
    ("Flow Charts", "funnel chart"): bars.funnel,
    ("Geographical Charts", "tile map"): plots.tiles,
    ("Geographical Charts", "bubble map"): plots.bubbles,
    ("Line Charts", "several lines"): series.several,
    ("Line Charts", "step line"): series.steps,
    ("Market Structure Charts", "league table"): bars.league,
    ("Market Structure Charts", "market depth"): series.depth,
    ("Proportional Charts", "pie chart"): plots.pie,
    ("Proportional Charts", "stacked bars"): bars.stacked,
    ("Relational Charts", "scatter plot"): plots.scatter,
    ("Relational Charts", "heat map"): plots.heat,
    ("Risk Distribution Charts", "drawdown chart"): series.drawdown,
    ("Risk Distribution Charts", "risk matrix"): plots.risks,
    ("Others", "table"): plots.table,
}
PAPERS = frozenset({"histogram", "box plot", "violin plot", "line chart", "K-line chart", "area chart"})
