"""The workbench: what its parts can be held to, measured.

    python3 build.py bench workbench [fairness] [finance] [charts] [gates] [debugger] …
    python3 build.py bench workbench tab --sample 1000 --minutes 20   # BiasLens in a tab; what is left it goes on with

Parts can be run one by one: each prints its figures as a JSON object of its own, and the last line is one object of
them all. What a part needs and does not find is said, and its figures are null, as are those of parts not asked for.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import promptware
from engine.test_evals_finance import HAND, MARKS
from inglenook.evals import defects, page, questions, report
from inglenook.evals.bias import Bias
from inglenook.evals.finscore import finscore
from inglenook.evals.outcome import recorded

from buildlib.project import ROOT, say

Figures = dict[str, Any]
DATA = ROOT.parent / "shared" / "data"
COLUMNS = ("Compre", "FineGrained", "Reason", "Single", "Multi", "Cal")


def fairness() -> Figures:
    """BiasLens' published counts from its recorded verdicts, and its defects as the tool finds them."""
    folder = DATA / "biaslens"
    if not folder.is_dir():
        say(f"  {folder} is not there: no verdicts")
        return {}
    asked = questions.load(folder / "questions.jsonl.gz")
    outcomes = list(recorded(asked, folder / "recorded_verdicts.jsonl.gz"))
    biases = {model: Bias(model) for model in dict.fromkeys(outcome.model for outcome in outcomes)}
    for outcome in outcomes:
        biases[outcome.model].add(outcome)
    published = json.loads((folder / "published_tables.json").read_text())["biased_counts"]["role"][-1]
    wanted = {model: sum(int(n) for name, n in published.items() if name.startswith(f"{model}_")) for model in biases}
    found = [finding.told() for finding in (*defects.in_questions(asked), *defects.in_outcomes(outcomes))]
    print(page.text([report.findings(found)]))
    return {
        "biaslens_role_total": sum(bias.total("role") for bias in biases.values()),
        "biaslens_norole_total": sum(bias.total("without_role") for bias in biases.values()),
        "biaslens_models_exact": sum(bias.total("role") == wanted[model] for model, bias in biases.items()),
        "biaslens_models": {model: bias.total("role") for model, bias in biases.items()},
        "biaslens_roles_changed": {model: len(bias.changed()) for model, bias in biases.items()},
        "biaslens_defects": {str(finding["name"]): finding["count"] for finding in found},
    }


def finance() -> Figures:
    """FinScore on sums done by hand, and what the published tables say about how they were made."""
    exact = 0
    for mode, n, fscore, penalty in HAND:
        score = finscore(MARKS, mode, n)  # type: ignore[arg-type]
        exact += max(abs(score.fscore - fscore), abs(score.score - fscore * (1 - penalty))) < 1e-15
    figures: Figures = {"finscore_fixtures_exact": exact, "finscore_fixtures": len(HAND)}
    path = DATA / "finmme" / "published_results.json"
    if not path.exists():
        say(f"  {path} is not there: no tables")
        return figures
    models = json.loads(path.read_text())["models"]
    averages, impossible = {}, 0
    for model, row in models.items():
        averages[model] = sum(row[column] for column in COLUMNS) / len(COLUMNS)
        domains = list(row["domains"].values())
        fscore = sum(domains) / len(domains)
        # The penalty that a FinScore implies, against the largest that equation 3 allows: the share of wrong answers.
        impossible += 1 - row["FinScore"] / fscore > 1 - row["Avg"] / 100
        figures.setdefault("finmme_domain_means", {})[model] = round(fscore, 3)
    right = {model for model, average in averages.items() if abs(average - models[model]["Avg"]) < 0.0051}
    return figures | {
        "finmme_tables_reproduced": len(right),
        "finmme_tables": len(models),
        "finmme_tables_off": {
            model: [round(average, 2), models[model]["Avg"]]
            for model, average in averages.items()
            if model not in right
        },
        "finmme_penalty_beyond_equation_3": impossible,
    }


def charts() -> Figures:
    """The chart reader on questions about synthetic charts, against a blind one."""
    from bench.charts import reader

    return reader()


def doctor() -> Figures:
    """The engine doctor on engines with a planted fault: which it finds, and at which place it names the cause."""
    import ward

    return ward.mutants()


def well() -> Figures:
    """The engine doctor on engines that are well: how often it complains."""
    import ward

    return ward.clean()


def replays() -> Figures:
    """The engine doctor on bugs that engines really had."""
    import ward

    return ward.replays()


def tab(sample: int = 1000, minutes: float = 20.0) -> Figures:
    """BiasLens in a tab, on the model that is there."""
    import intab

    return intab.fairness(DATA / "biaslens" / "questions.jsonl.gz", sample, minutes)


PARTS: dict[str, Callable[[], Figures]] = {
    "fairness": fairness, "finance": finance, "gates": promptware.gates, "debugger": promptware.debugger,
    "planted": promptware.planted, "charts": charts, "doctor": doctor, "well": well, "replays": replays, "tab": tab,
}  # fmt: skip
LONG = {"planted", "tab"}  # only if they are named: they ask a model, for an hour or more
KEYS = (
    "biaslens_role_total", "biaslens_norole_total", "biaslens_models_exact", "finscore_fixtures_exact",
    "finmme_tables_reproduced", "chart_reader_accuracy", "chart_reader_blind", "chart_reader_classes_above_blind",
    "gate_false_alarm", "gate_miss", "gate_runs_saved", "debugger_exact_share",
    "debugger_runs_vs_ddmin", "doctor_detected_share", "doctor_false_alarm_share", "doctor_cause_top1",
    "doctor_cause_top3", "doctor_cause_top1_interventions", "doctor_cause_top3_interventions", "doctor_replays_found",
    "fairness_1000_in_tab",
)  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], metavar="part", help=", ".join(PARTS))
    parser.add_argument("--sample", type=int, default=1000, metavar="N", help="tab: questions (1000)")
    parser.add_argument("--minutes", type=float, default=20.0, metavar="M", help="tab: for so long at most (20)")
    options = parser.parse_args()
    chosen = options.parts or [name for name in PARTS if name not in LONG]
    figures: Figures = dict.fromkeys(KEYS)
    for name in chosen:
        say(f"{name} …")
        found = tab(options.sample, options.minutes) if name == "tab" else PARTS[name]()
        print(json.dumps(found), flush=True)
        figures |= found
    figures["load_average"] = round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None
    print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
