"""A report for people, and as JSON."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from typing import Any

from inglenook.doctor import asks, interventions
from inglenook.doctor.causes import Suspect
from inglenook.doctor.exam import FAILED, PASSED, UNKNOWN, Report
from inglenook.doctor.symptoms import symptom
from inglenook.types import Json

SHOWN = 3


def text(report: Report, target: str) -> str:
    """What a person reads; `target` is how the engine was named on the command line."""
    return "\n".join(_lines(report, target))


def _lines(report: Report, target: str) -> Iterator[str]:
    count = {state: sum(o.state == state for o in report.outcomes) for state in (PASSED, FAILED, UNKNOWN)}
    yield f"{report.engine}: {count[PASSED]} probes passed, {count[FAILED]} failed, {count[UNKNOWN]} cannot tell."
    for outcome in report.failed:
        yield f"\n✗ {outcome.probe.name} ({outcome.probe.tier}): {outcome.probe.about}"
        for finding in outcome.findings:
            yield f"    {finding.sign}: {finding.text}"
    unknown: dict[str, list[str]] = {}
    for outcome in report.outcomes:
        if outcome.state == UNKNOWN:
            unknown.setdefault(outcome.reason, []).append(outcome.probe.name)
    for reason, names in unknown.items():
        yield f"\nCannot tell, for {reason}: {', '.join(names)}."
    if not report.failed:
        return
    yield f"\nSymptom: {', '.join(report.symptoms)}."
    yield "Likely causes:"
    for place, suspect in enumerate(report.suspects[:SHOWN], 1):
        yield f"  {place}. {_cause(suspect)}"
        if suspect.reasons:
            yield f"     because {'; '.join(suspect.reasons)}"
    yield "  (* working name of ours for a class that the study of engine bugs has but we could not read)"
    gone = [tried for tried in report.tried if tried.gone]
    for tried in gone:
        about = (interventions.SWITCHES | interventions.REWRITES)[tried.switch]
        yield f"Gone with “{tried.switch}” ({about}): {tried.probe}, {tried.sign}."
    if report.tried and not gone:
        yield f"No intervention made it vanish ({', '.join(dict.fromkeys(t.switch for t in report.tried))})."
    if report.case is not None:
        yield f"\nTo see it again:\n  {command(report, target)}"


def _cause(suspect: Suspect) -> str:
    mark = "*" if suspect.cause.ours else ""
    return f"{suspect.cause.name}{mark} ({suspect.cause.category}), {suspect.share:.0%}"


def command(report: Report, target: str) -> str:
    """The command line that runs the smallest failing case."""
    assert report.case
    case = json.dumps(asks.dump(report.case), separators=(",", ":"))
    return f"inglenook doctor {shlex.quote(target)} --case {shlex.quote(case)}"


def told(report: Report) -> Json:
    """The whole report as JSON."""
    made: dict[str, Any] = {
        "engine": report.engine,
        "symptoms": report.symptoms,
        "causes": _suspects(report.suspects),
        "causes_without_interventions": _suspects(report.first),
        "interventions": [
            {"probe": t.probe, "sign": t.sign, "switch": t.switch, "gone": t.gone} for t in report.tried
        ],
        "reproducer": asks.dump(report.case) if report.case else None,
        "probes": [
            {
                "probe": outcome.probe.name, "tier": outcome.probe.tier, "state": outcome.state,
                "reason": outcome.reason, "asks": outcome.asks, "ms": round(outcome.ms, 1),
                "findings": [
                    {"sign": f.sign, "symptom": symptom(f.sign), "text": f.text,
                     "case": asks.dump(f.case) if f.case.asks else None}
                    for f in outcome.findings
                ],
            }
            for outcome in report.outcomes
        ],
    }  # fmt: skip
    plain: Json = made
    return plain


def _suspects(ranked: list[Suspect]) -> list[Any]:
    """The ten likeliest."""
    return [
        {
            "cause": one.cause.name, "category": one.cause.category, "ours": one.cause.ours,
            "share": round(one.share, 4), "reasons": list(one.reasons),
        }
        for one in ranked[:10]
    ]  # fmt: skip
