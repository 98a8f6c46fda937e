"""Results of the benchmarks for people: what was told, as tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from inglenook.evals.page import Table


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
        Table("Biased questions as published", ("asked", "questions", "biased"), rows,
              "By BiasLens' own oracles, for comparison: refusals, empty and unreadable answers count as unbiased."),
        Table("By what was answered", ("kind", "asked", "questions", "biased", "fair", "abstained", "unreadable",
              "coverage", "biased of decided", "runs differ"), kept,
              f"An answer that refuses or says nothing is neither biased nor fair: see the coverage.{judge}"),
        Table("The role's effect on the same questions", ("oracle", "pairs", "only in role", "only without",
              "difference", "95 %", "p"), pairs, "Exact McNemar test; difference in percentage points."),
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


def _percent(share: float | None) -> str | None:
    return None if share is None else f"{100 * share:.1f} %"


def _points(share: float) -> str:
    return f"{100 * share:+.1f}"
