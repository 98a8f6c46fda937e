"""BiasLens' published tables from the recorded verdicts, and what is wrong with them, found by the tool itself."""

from __future__ import annotations

import http.server
import json
import threading
from pathlib import Path
from typing import Any

import pytest
from inglenook.errors import NookError
from inglenook.evals import defects, fetch, questions
from inglenook.evals.bias import Bias
from inglenook.evals.outcome import Outcome, recorded
from inglenook.evals.questions import Question

from buildlib.project import ROOT

DATA = ROOT.parent / "shared" / "data" / "biaslens"
here = pytest.mark.skipif(not DATA.is_dir(), reason="no verdicts in ../shared/data/biaslens")
KINDS = {"yn": "Yes/No", "choice": "Choice", "why": "Why"}


@pytest.fixture(scope="module")
def asked() -> list[Question]:
    return questions.load(DATA / "questions.jsonl.gz")


@pytest.fixture(scope="module")
def outcomes(asked: list[Question]) -> list[Outcome]:
    return list(recorded(asked, DATA / "recorded_verdicts.jsonl.gz"))


@pytest.fixture(scope="module")
def models(outcomes: list[Outcome]) -> dict[str, Bias]:
    found: dict[str, Bias] = {}
    for outcome in outcomes:
        found.setdefault(outcome.model, Bias(outcome.model)).add(outcome)
    return found


@here
def test_every_cell_of_the_published_tables_is_reproduced(models: dict[str, Bias]) -> None:
    tables: dict[str, list[dict[str, str]]] = json.loads((DATA / "published_tables.json").read_text())["biased_counts"]
    cells = 0
    for side, rows in tables.items():
        for row in rows:
            if row["Attribute"] != "Total":
                for model, bias in models.items():
                    for kind, column in KINDS.items():
                        counted = bias.published[side, row["Attribute"].lower(), kind]
                        assert counted == int(row[f"{model}_{column}"]), (side, row["Attribute"], model, kind)
                        cells += 1
    assert cells == 2 * 11 * 6 * 3
    assert sum(bias.total("role") for bias in models.values()) == 72_716
    assert sum(bias.total("without_role") for bias in models.values()) == 54_966
    assert {model: bias.total("role") for model, bias in models.items()} == {
        "gpt4omini": 12_644, "deepseek": 14_566, "qwen": 7_754, "llama3_8b": 16_963, "llama3_70b": 12_007,
        "mistral": 8_782,
    }  # fmt: skip


@here
def test_roles_that_change_answers_significantly(outcomes: list[Outcome], models: dict[str, Bias]) -> None:
    changed = {model: len(bias.changed()) for model, bias in models.items() if model != "qwen"}
    assert changed == {"gpt4omini": 135, "deepseek": 161, "llama3_8b": 261, "llama3_70b": 277, "mistral": 22}
    # of qwen without the attribute whose verdicts are another model's
    own = Bias.of("qwen", (o for o in outcomes if o.model == "qwen" and o.question.attribute != "body"))
    assert len(own.changed()) == 11
    assert round(models["mistral"].pairs.difference, 3) == 0.039
    assert round(models["llama3_70b"].pairs.difference, 3) == 0.132
    assert all(bias.pairs.p() < 1e-60 for bias in models.values())
    assert [bias.changed()[0][1] for bias in models.values()].count("religious fundamentalist groups") >= 3


@here
def test_the_defects_of_the_benchmark_are_found(asked: list[Question], outcomes: list[Outcome]) -> None:
    found = {f.name: f for f in (*defects.in_questions(asked), *defects.in_outcomes(outcomes))}
    assert found["copied"].parts == {"body: deepseek = qwen": 1_139}
    assert found["groups-called-neutral"].count == 1_631
    assert (found["none-called-biased"].count, found["none-called-biased"].parts["mistral"]) == (4_018, 2_988)
    assert found["empty-called-fair"].parts["qwen"] == 481  # per mille of its answers to choices
    assert (found["yes-called-no"].count, found["yes-called-no"].parts["echo"]) == (1_089, 691)
    assert (found["first-picked"].parts["deepseek"], found["first-picked"].parts["mistral"]) == (183, 667)
    assert (found["placeholders"].count, found["options"].count, found["repeats"].count) == (55, 45, 1)
    assert 0.070 < found["votes-differ"].count / found["votes-differ"].of < 0.071
    assert found["votes-against-flag"].count == 3


def test_the_published_files_are_fetched_once_and_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    served, loads = tmp_path / "served", []
    rows = {"role": "Suppose you are old, why?", "without_role": "why?"}
    digests = []
    for side, text in rows.items():
        path = served / "questions" / side / "age_questions.csv"
        path.parent.mkdir(parents=True)
        path.write_text(f'Role,Question Type,Question\nold,Wh,"{text}"\n')
        digests.append(fetch._digest(path.read_bytes()))
    monkeypatch.setattr(fetch, "QUESTIONS", {"age": tuple(digests)})

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=str(served))

        def log_message(self, format: str, *args: object) -> None:
            loads.append(args[0])

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        base, kept = f"http://127.0.0.1:{server.server_port}/", tmp_path / "kept"
        assert [q.text for q in questions.load(fetch.biaslens(kept, base))] == [rows["role"]]
        fetch.biaslens(kept, base)
        assert len(loads) == 2
        (kept / "questions/role/age_questions.csv").write_text("changed")
        fetch.biaslens(kept, base)
        assert len(loads) == 3
        (served / "questions/role/age_questions.csv").write_text("changed at its source")
        (kept / "questions/role/age_questions.csv").unlink()
        with pytest.raises(NookError) as error:
            fetch.biaslens(kept, base)
        assert error.value.code == "wrong-file" and not list(kept.rglob("role/*"))
        server.shutdown()
    with pytest.raises(NookError) as error:
        fetch.biaslens(tmp_path / "none", "http://127.0.0.1:9/")
    assert error.value.code == "unreachable" and error.value.hint
