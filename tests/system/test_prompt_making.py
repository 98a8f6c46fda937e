"""`inglenook prompt measure | apply | probe | build` as a person types them, on a target that is told here."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Self

import pytest
from engine.scripted import hash_of
from inglenook.__main__ import main
from inglenook.evals import targets
from inglenook.evals.calls import Call, Reply
from inglenook.prompt import file

PROMPT = """---
name: money
version: 1.0.0
settings: {temperature: 0.8}
slots:
  ticket: {}
requirements:
  - {id: R1, text: Says yes., threshold: 0.9, margin: 0.2}
---
{{#seg who kind=persona}}
You are a clerk who has seen it all and is not surprised.
{{/seg}}
{{#seg task kind=task req=R1}}
Please say yes if it is about money.
{{/seg}}
{{#seg ticket kind=input}}
{{ticket}}
{{/seg}}
"""
CASE = "  - {{description: c{0}, vars: {{ticket: bill {0}}}, metadata: {{requirements: [R1]}}, assert: [{1}]}}\n"
TESTS = "tests:\n" + "".join(CASE.format(n, "{type: icontains, value: 'yes'}") for n in range(8))


class Scripted:
    """A target that says yes nearly always; below level 2 seldom."""

    def __init__(self, place: str, model: str = "", key: str = "", timeout: float = 0) -> None:
        self.name = place

    def __call__(self, call: Call) -> Reply:
        small = call.settings.level is not None and call.settings.level > 2
        return Reply("yes" if hash_of(call.key) < (0.3 if small else 0.97) else "no")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    (tmp_path / "money.prompt").write_text(PROMPT)
    (tmp_path / "cases.yaml").write_text(TESTS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(targets, "open", Scripted)

    def typed(*words: str) -> int:
        return main(["prompt", *words, "--tests", "cases.yaml", "--target", "http://model"])

    return typed


def test_build_writes_the_prompt_and_its_lock(run, capsys) -> None:
    assert (
        run(
            "build",
            "money.prompt",
            "--levels",
            "4,2",
            "-o",
            "small.prompt",
            "--lock",
            "lock.json",
            "--rows",
            "r",
            "--pass",
            "compress",
        )
        == 0
    )
    said = capsys.readouterr().out
    assert re.search(r"^fail +http://model level 4", said, re.MULTILINE)
    assert re.search(r"^kept +compress: without who: .* lost and .* of \d+ pairs$", said, re.MULTILINE)
    small = file.parse(Path("small.prompt").read_text())
    assert [one.name for one in small.segments] == ["task", "ticket"]
    assert small["task"].text.startswith("Say yes") and small.settings.level == 2 and small.target == "http://model"
    lock = json.loads(Path("lock.json").read_text())
    assert file.parse(lock["prompt"]) == small and lock["decision"] == "pass" and lock["verified"]["decision"] == "pass"
    assert lock["tokens"][1] < lock["tokens"][0] / 2
    rows = Path("r").read_text().count("\n")
    assert run("build", "money.prompt", "--levels", "4,2", "--rows", "r", "--json", "--pass", "compress") == 0
    assert Path("r").read_text().count("\n") == rows
    assert json.loads(capsys.readouterr().out)["digest"] == lock["digest"]


def test_build_says_what_it_cannot_do(run, capsys) -> None:
    assert run("build", "money.prompt", "--levels", "3") == 1
    assert "fail: " in capsys.readouterr().out
    for words, hint in (
        (["--pass", "compres"], "compress"),
        (["--pattern", "step"], "steps"),
        (["--levels", "x"], "4,2,0"),
        (["--slo", "300"], "300,40"),
    ):
        assert run("build", "money.prompt", *words) == 1
        assert hint in capsys.readouterr().err


def test_build_asks_for_the_latency_it_is_given(run) -> None:
    assert run("build", "money.prompt", "--slo", "300,40", "--pass", "normalise", "-o", "fast.prompt") == 0
    assert "slo:\n    first: 300.0\n    token: 40.0\n" in Path("fast.prompt").read_text()


def test_probe_tells_what_can_be_met(run, capsys) -> None:
    assert run("probe", "money.prompt") == 0
    assert re.match(r"R1: attainable on this model: the prompt as it is keeps it in \d+% of", capsys.readouterr().out)
    path = Path("money.prompt")
    path.write_text(PROMPT.replace("threshold: 0.9,", "threshold: 0.9, needs: [json],"))
    assert run("probe", "money.prompt", "--json") == 1
    found = json.loads(capsys.readouterr().out)["R1"]
    assert found["verdict"] == "not attainable" and found["abilities"][0]["probe"] == "json"


def test_measure_reads_the_text_and_asks_where_there_are_tests(run, capsys) -> None:
    assert main(["prompt", "measure", "money.prompt", "--target", "http://model", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["segments"] == 3 and told["slots"] == 1 and "determinism" not in told
    assert run("measure", "money.prompt", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert 0.5 < told["determinism"] < 1 and told["passes"] > 0.8 and set(told["lost without"]) == {"who", "task"}
    assert run("measure", "money.prompt") == 0
    assert re.search(r"^determinism +0\.\d+$", capsys.readouterr().out, re.MULTILINE)


def test_apply_writes_a_pattern_into_the_file(run, capsys) -> None:
    assert main(["prompt", "apply", "money.prompt", "refusal", "--set", "answer=no idea", "-o", "new.prompt"]) == 0
    assert "“no idea”" in file.parse(Path("new.prompt").read_text())["refusal"].text
    assert main(["prompt", "apply", "money.prompt", "few-shot", "--set", "examples=[{input: a, output: b}]"]) == 0
    assert "Input: a\nOutput: b" in Path("money.prompt").read_text()
    assert main(["prompt", "apply", "money.prompt", "fewshot"]) == 1
    assert "Did you mean few-shot?" in capsys.readouterr().err
