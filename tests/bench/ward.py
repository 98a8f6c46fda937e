"""The engine doctor on patients: engines with a fault planted in them, and engines that are well.

`tests/engine/mutants/` holds the faults (`MUTANTS`), at least two for each of the 28 causes, written by somebody who
knew the causes and the engine's code and never saw a probe. Each is examined on a tiny model; what counts is whether
any probe fails, and at which place the ranking names the cause it was planted for, before and after interventions.

Clean engines are the plain pass (activations in three precisions, weights in five formats), our kernel (both builds,
five formats) and ONNX, each over models of other random weights. Whatever a probe says there is a false alarm.
"""

from __future__ import annotations

import importlib.util
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from engine import faulty
from inglenook.doctor import causes, run
from inglenook.doctor.exam import Report
from inglenook.doctor.kits import Kit
from inglenook.doctor.local import Local
from system.test_doctor import artifact, onnx

WEIGHTS = ("F32", "F16", "Q8_0", "Q4_0", "Q4_1")
SECONDS = 10.0


@dataclass(frozen=True)
class Patient:
    """A mutant and what was found: the places of its cause among all, without and with interventions; 0: unseen."""

    name: str
    cause: str
    signs: tuple[str, ...]
    first: int
    after: int
    symptoms: tuple[str, ...]
    category: str  # of the cause that is named first


def mutants() -> dict[str, Any]:
    """Detected shares and the places of causes; None where there are no mutants."""
    keys = ("doctor_detected_share", "doctor_cause_top1", "doctor_cause_top3", "doctor_cause_top1_interventions",
            "doctor_cause_top3_interventions", "doctor_mutants")  # fmt: skip
    if importlib.util.find_spec("engine.mutants") is None:
        return dict.fromkeys(keys)
    from engine.mutants import MUTANTS  # type: ignore[import-not-found]

    _checked(MUTANTS)
    kit = faulty.kit()
    truth = kit.truth()
    seen = [_patient(mutant, kit, truth) for mutant in MUTANTS]
    found = [patient for patient in seen if patient.signs]
    share = lambda of, place, most: round(sum(0 < getattr(one, place) <= most for one in of) / max(1, len(of)), 3)
    return {
        "doctor_detected_share": round(len(found) / len(seen), 3),
        "doctor_cause_top1": share(seen, "first", 1),
        "doctor_cause_top3": share(seen, "first", 3),
        "doctor_cause_top1_interventions": share(seen, "after", 1),
        "doctor_cause_top3_interventions": share(seen, "after", 3),
        "doctor_category_top1_interventions": round(sum(_category(one) for one in seen) / len(seen), 3),
        "doctor_mutants": len(seen),
        "doctor_missed": [one.name for one in seen if not one.signs],
    }


def _checked(them: Any) -> None:
    """At least two for each cause, each with a name of its own."""
    names = [mutant.name for mutant in them]
    assert len(set(names)) == len(names)
    count = {name: sum(mutant.cause == name for mutant in them) for name in causes.NAMES}
    assert min(count.values()) >= 2 and sum(count.values()) == len(names), count


def _patient(mutant: Any, kit: Any, truth: Any) -> Patient:
    made = run.report(run.examine(mutant.engine(kit), truth, seconds=SECONDS))
    signs = tuple(f"{outcome.probe.name}: {finding.sign}" for outcome in made.failed for finding in outcome.findings)
    places = [[one.cause.name for one in ranked].index(mutant.cause) + 1 if ranked else 0
              for ranked in (made.first, made.suspects)]  # fmt: skip
    category = made.suspects[0].cause.category if made.suspects else ""
    patient = Patient(mutant.name, mutant.cause, signs, places[0], places[1], tuple(made.symptoms), category)
    said = f"place {patient.first}, {patient.after} after interventions" if signs else "NOT FOUND"
    print(f"{mutant.name} ({mutant.cause}): {said}; {', '.join(signs[:4])}", flush=True)
    return patient


def _category(patient: Patient) -> bool:
    return patient.category == next(one.category for one in causes.CAUSES if one.name == patient.cause)


def clean(seeds: int = 10) -> dict[str, Any]:
    """False alarms: the share of clean engines of which any probe complains."""
    runs = 0
    alarms: list[str] = []
    for name, kit in _clean(seeds):
        made: Report = run.report(run.examine(Local(kit), kit.truth(), deep=False))
        runs += 1
        for outcome in made.failed:
            for finding in outcome.findings:
                alarms.append(name)
                print(f"FALSE ALARM {name}: {outcome.probe.name}, {finding.sign}: {finding.text}", flush=True)
        if runs % 20 == 0:
            print(f"{runs} clean engines, {len(set(alarms))} with a false alarm", flush=True)
    return {
        "doctor_false_alarm_share": round(len(set(alarms)) / runs, 4),
        "doctor_clean_runs": runs,
        "doctor_false_alarms": sorted(set(alarms)),
    }


def _clean(seeds: int) -> Iterator[tuple[str, Kit]]:
    """Twenty for each seed: fifteen of the plain pass, four of our kernel, one of ONNX."""
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(100, 100 + seeds):
            for weights in WEIGHTS:
                for activations in ("f32", "f16", "int8"):
                    yield f"plain {activations} {weights} {seed}", faulty.kit(activations, seed, weights=weights)
            for weights in WEIGHTS:
                if weights != WEIGHTS[seed % len(WEIGHTS)]:
                    place = Path(folder) / f"{weights}-{seed}"
                    place.mkdir()
                    yield f"kernel {weights} {seed}", native(place, seed, weights)
            place = Path(folder) / f"onnx-{seed}"
            place.mkdir()
            yield f"onnx F32 {seed}", onnx(place, seed)


def native(folder: Path, seed: int, weights: str) -> Kit:
    """Our kernel over a model of its own."""
    from inglenook.doctor.kits import NativeKit

    path = artifact(folder, seed, weights)
    return NativeKit(path, path.with_suffix(".tokenizer.json"), context=512, pages=24)
