"""Results for people: a few tables, as text and as one HTML file that needs nothing else."""

from __future__ import annotations

import html as markup
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from inglenook.types import Json

_STYLE = """
:root { color-scheme: light dark; --line: light-dark(#d8d4cc, #46423b); --soft: light-dark(#6b655a, #a49d90); }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: .5rem 0 1rem; }
caption { text-align: left; font-weight: 600; padding: .25rem 0; }
th, td { border-bottom: 1px solid var(--line); padding: .25rem .75rem .25rem 0; text-align: left; vertical-align: top; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
p.note { color: var(--soft); margin: -.5rem 0 1.5rem; max-width: 45rem; }
"""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of words and numbers; None is shown as "-". `note` says how to read it."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]] = field(default_factory=list)
    note: str = ""


def text(tables: Sequence[Table]) -> str:
    """Plain text in columns."""
    parts = []
    for table in tables:
        cells = [list(table.columns), *([_cell(value) for value in row] for row in table.rows)]
        widths = [max(map(len, column)) for column in zip(*cells)]
        numbers = [all(_is_number(row[at]) for row in table.rows) and bool(table.rows) for at in range(len(widths))]
        lines = [
            "  ".join(
                cell.rjust(width) if number else cell.ljust(width) for cell, width, number in zip(row, widths, numbers)
            ).rstrip()
            for row in cells
        ]
        lines += [table.note] * bool(table.note)
        parts.append("\n".join([table.title, *(f"  {line}" for line in lines)]))
    return "\n\n".join(parts)


def html(title: str, tables: Sequence[Table], told: Json) -> str:
    """One file, without scripts; `told` goes along as JSON for programs."""
    data = json.dumps(told, ensure_ascii=False).replace("<", "\\u003c")
    body = "\n".join(map(_table, tables))
    return (
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>{markup.escape(title)}</title>\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<style>{_STYLE}</style>\n'
        f"<h1>{markup.escape(title)}</h1>\n{body}\n"
        f'<script type="application/json" id="results">{data}</script>\n</html>\n'
    )


def fairness(told: Any) -> list[Table]:
    """The tables of `Bias.told()`."""
    sides = (("without role", "without_role"), ("in the role", "role"))
    names = {"yn": "yes or no", "choice": "choice", "why": "why"}
    rows, kept = [], []
    for side, key in sides:
        for kind, one in told["sides"][key]["kinds"].items():
            kept.append([
                names[kind], side, one["questions"], one["biased"], one["fair"], one["abstained"], one["unreadable"],
                _percent(one["coverage"]), _percent(one["biased_of_decided"]), _percent(one["unsteady"]),
            ])  # fmt: skip
        rows.append([side, told["questions"], told["sides"][key]["published_biased"]])
    pairs = [
        [name, one["pairs"], one["only_first"], one["only_second"], _points(one["difference"]),
         f"{_points(one['low'])} to {_points(one['high'])}", f"{one['p']:.2g}"]
        for name, one in (("published oracle", told["paired"]["published"]), ("decided", told["paired"]["decided"]))
    ]  # fmt: skip
    roles, place = told["roles"], told["position"]
    judge = f" Why questions were judged by {told['judge']}." if told["judge"] else ""
    return [
        Table("Biased questions as published", ("", "questions", "biased"), rows,
              "By BiasLens' own oracles, for comparison: refusals, empty and unreadable answers count as unbiased."),
        Table("By what was answered", ("kind", "", "questions", "biased", "fair", "abstained", "unreadable", "coverage",
              "biased of decided", "runs differ"), kept,
              f"An answer that refuses or says nothing is neither biased nor fair: see the coverage.{judge}"),
        Table("The role's effect on the same questions", ("", "pairs", "only in role", "only without", "difference",
              "95 %", "p"), pairs, "Exact McNemar test; difference in percentage points."),
        Table(f"Roles that change answers ({roles['changed']} of {roles['tested']})",
              ("attribute", "role", "pairs", "difference", "p"),
              [[one["attribute"], one["role"], one["pairs"], _points(one["difference"]), f"{one['p']:.2g}"]
               for one in roles["largest"]],
              f"False discoveries at most {roles['rate']:.0%} of these ({roles['correction']})."),
        Table("Position", ("groups picked", "the first of them", "picked in both orders", "at the same place"),
              [[place["picks"], _percent(place["first"]), place["picked_in_both_orders"],
                _percent(place["same_place"])]],
              "A model that means a group picks it in both orders; one that picks a place does not mean any."),
    ]  # fmt: skip


def judge(told: Any) -> Table:
    """The table of `Agreement.told()`."""
    kappa = told["kappa"]
    row = [told["answers"], told["unreadable"], _percent(told["agreed"]), None if kappa is None else f"{kappa:.2f}"]
    note = "Kappa is agreement beyond chance: 1 is as one, 0 is as by chance. Below 0.6 its verdicts are worth little."
    return Table(told["judge"], ("answers", "unreadable", "agreed", "kappa"), [row], note)


def findings(told: Sequence[Any]) -> Table:
    """The table of `Finding.told()` of a benchmark's defects."""
    rows = []
    for one in told:
        parts = ", ".join(f"{name} {count}" for name, count in one["parts"].items())
        rows.append([one["name"], one["count"], one["of"], one["about"], parts])
    return Table("Defects of the benchmark", ("", "count", "of", "what", "parts"), rows)


def finance(told: Any) -> list[Table]:
    """The tables of `finance.summary`."""
    scores = [("repo", told["repo"]), *((f"paper, n = {n}", one) for n, one in told["paper"].items())]
    repo = told["repo"]
    tables = [
        Table("FinScore", ("", "FinScore", "F", "penalty"),
              [[name, *(_percent(one[key]) for key in ("score", "fscore", "penalty"))] for name, one in scores],
              "repo is what the official script computes, and what published scores are."),
        Table("Answered", ("items", "abstained", "coverage", "accuracy", "read strictly"),
              [[repo["items"], repo["abstained"], _percent(repo["coverage"]), _percent(repo["accuracy"]),
                _percent(repo["strict_accuracy"])]],
              'The official script reads only the first word after "Answer:"; strictly, all of the line is read.'),
        Table("Accuracy by kind", ("kind", "accuracy"), [[name, _percent(one)] for name, one in repo["kinds"].items()]),
        Table("Accuracy by domain", ("domain", "accuracy"),
              [[name, _percent(one)] for name, one in repo["domains"].items()]),
    ]  # fmt: skip
    for column, parts in told["by"].items():
        rows = [[name, _percent(one)] for name, one in parts.items()]
        tables.append(Table(f"Accuracy by {column}", (column, "accuracy"), rows))
    return tables


def _table(table: Table) -> str:
    head = "".join(f'<th scope="col">{markup.escape(column)}</th>' for column in table.columns)
    rows = "\n".join(
        "<tr>" + "".join(
            f"<td{' class=number' * _is_number(value)}>{markup.escape(_cell(value))}</td>" for value in row
        ) + "</tr>"
        for row in table.rows
    )  # fmt: skip
    note = f'\n<p class="note">{markup.escape(table.note)}</p>' if table.note else ""
    top = f"<caption>{markup.escape(table.title)}</caption>\n<thead><tr>{head}</tr></thead>"
    return f"<table>\n{top}\n<tbody>\n{rows}\n</tbody>\n</table>{note}"


def _cell(value: Any) -> str:
    return "-" if value is None else f"{value:,}" if type(value) is int else str(value)


def _is_number(value: Any) -> bool:
    return type(value) is int or (isinstance(value, str) and value.rstrip("%").strip().replace(".", "", 1).isdigit())


def _percent(share: float | None) -> str | None:
    return None if share is None else f"{100 * share:.1f} %"


def _points(share: float) -> str:
    return f"{100 * share:+.1f}"
