"""The engine doctor on patients: engines with a fault planted in them, and engines that are well.

`tests/engine/mutants/` holds the faults (`MUTANTS`), at least two for each of the 28 causes, written by somebody who
knew the causes and the engine's code and never saw a probe. Each is examined on a tiny model; what counts is whether
any probe fails, and at which place the ranking names the cause it was planted for, before and after interventions.

Clean engines are the plain pass (activations in three precisions, weights in five formats), our kernel (both builds,
five formats) and ONNX, each over models of other random weights. Whatever a probe says there is a false alarm.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from engine import faulty
from engine.replays import REPLAYS
from inglenook.doctor import causes, run
from inglenook.doctor.exam import Report
from inglenook.doctor.kits import Kit
from inglenook.doctor.local import Local
from inglenook.doctor.remote import Remote
from system.test_doctor import artifact, onnx, served

from buildlib import project
from buildlib.project import ROOT

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


def replays() -> dict[str, Any]:
    """Of each real bug what was found: its signs behind a URL, and at which place its cause stands; of WebGPU each
    backend and form of the model, None where no browser has an adapter."""
    kit = faulty.kit()
    told: dict[str, Any] = {}
    for one in REPLAYS:
        with served(one.fault.engine(kit)) as url:
            made = run.report(run.examine(Remote(url), kit.truth(), deep=False))
        seen = [f"{outcome.probe.name}: {finding.sign}" for outcome in made.failed for finding in outcome.findings]
        names = [suspect.cause.name for suspect in made.suspects]
        place = names.index(one.fault.cause) + 1 if names else 0
        told[one.fault.name] = {"found": bool(one.signs & {*seen}), "signs": seen, "cause_place": place}
    told["quantised WebGPU"] = _webgpu()
    for name, found in told.items():
        print(f"{name}: {json.dumps(found)}", flush=True)
    found = sum(one["found"] for one in told.values() if one)
    return {"doctor_replays": told, "doctor_replays_found": found}


def _webgpu() -> dict[str, Any] | None:
    """The doctor on onnxruntime-web's two backends, in Chromium. It found what it should if it complains of a backend
    just where its logits are others than the processor's."""
    try:
        from browser import test_onnx
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        print(f"  no browser: {error}", flush=True)
        return None
    site = test_onnx.Site()
    with sync_playwright() as playwright, test_onnx.on_webgpu(playwright.chromium, site) as check:
        if check is None:
            print(f"  {test_onnx.NO_WEBGPU}", flush=True)
            return None
        engines = check("doctor_on_webgpu")
    right = all(bool(one["signs"]) == (one["cosine"] < 0.999) for one in engines)
    return {"found": right, "wrong": [f"{one['form']} {one['provider']}" for one in engines if one["signs"]],
            "engines": engines}  # fmt: skip


def clean(seeds: int = 10) -> dict[str, Any]:
    """False alarms: the share of clean engines of which any probe complains. What is finished is kept in the cache, so
    that this may be stopped and gone on with; a change of the doctor or of an engine begins it anew."""
    known = Finished(project.cache() / "doctor" / f"clean-{_version()}.jsonl")
    for name, made in _clean(seeds):
        if name not in known.alarms:
            kit = made()
            found: Report = run.report(run.examine(Local(kit), kit.truth(), deep=False))
            known.add(name, [
                f"{outcome.probe.name}, {finding.sign}: {finding.text}"
                for outcome in found.failed for finding in outcome.findings
            ])  # fmt: skip
            if len(known.alarms) % 20 == 0:
                print(f"{len(known.alarms)} clean engines, {len(known.ill)} with a false alarm", flush=True)
    for name in known.ill:
        print(f"FALSE ALARM {name}: {'; '.join(known.alarms[name])}", flush=True)
    return {
        "doctor_false_alarm_share": round(len(known.ill) / len(known.alarms), 4),
        "doctor_clean_runs": len(known.alarms),
        "doctor_false_alarms": known.ill,
    }


class Finished:
    """What was said of each clean engine that is examined, a line of JSON each in a file; a torn last line is lost."""

    def __init__(self, path: Path) -> None:
        self._path, self.alarms = path, dict[str, list[str]]()
        path.parent.mkdir(parents=True, exist_ok=True)
        whole = path.read_text("utf-8").rpartition("\n")[0] if path.exists() else ""
        for line in whole.splitlines():
            told = json.loads(line)
            self.alarms[told["engine"]] = told["alarms"]
        if self.alarms:
            path.write_text(f"{whole}\n", "utf-8")

    @property
    def ill(self) -> list[str]:
        """The engines of which a probe complained."""
        return sorted(name for name, alarms in self.alarms.items() if alarms)

    def add(self, name: str, alarms: list[str]) -> None:
        self.alarms[name] = alarms
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"engine": name, "alarms": alarms}, ensure_ascii=False) + "\n")


def _version() -> str:
    """A digest of the doctor, the engines and the models they are of."""
    source = ROOT / "pysrc" / "inglenook"
    folders = [source / "doctor", source / "elastic", source / "kernels", ROOT / "wasm"]
    files = [path for folder in folders for path in folder.rglob("*") if path.suffix in (".py", ".c", ".h")]
    files += [source / "completions.py", ROOT / "tests/engine/faulty.py", ROOT / "tests/engine/tiny.py"]
    return hashlib.sha256(b"".join(path.read_bytes() for path in sorted(files))).hexdigest()[:12]


def _clean(seeds: int) -> Iterator[tuple[str, Callable[[], Kit]]]:
    """Twenty for each seed, with what makes them: fifteen of the plain pass, four of our kernel, one of ONNX."""
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(100, 100 + seeds):
            for weights in WEIGHTS:
                for activations in ("f32", "f16", "int8"):
                    yield (
                        f"plain {activations} {weights} {seed}",
                        partial(faulty.kit, activations, seed, weights=weights),
                    )
            for weights in WEIGHTS:
                if weights != WEIGHTS[seed % len(WEIGHTS)]:
                    place = Path(folder) / f"{weights}-{seed}"
                    place.mkdir()
                    yield f"kernel {weights} {seed}", partial(native, place, seed, weights)
            place = Path(folder) / f"onnx-{seed}"
            place.mkdir()
            yield f"onnx F32 {seed}", partial(onnx, place, seed)


def native(folder: Path, seed: int, weights: str) -> Kit:
    """Our kernel over a model of its own."""
    from inglenook.doctor.kits import NativeKit

    path = artifact(folder, seed, weights)
    return NativeKit(path, path.with_suffix(".tokenizer.json"), context=512, pages=24)
