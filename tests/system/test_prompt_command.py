"""`inglenook prompt` as a person types it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import inglenook
import pytest
from inglenook.__main__ import main

SORT = """---
name: sort
version: 1.0.0
description: Sorts tickets.
slots:
  ticket: {most: 400, description: what the customer wrote}
  urgent: {type: boolean, default: false}
requirements:
  - {id: R1, text: Names the queue.}
---
{{#seg task kind=task req=R1}}
Which queue is the ticket for? Answer billing, sales or other.
If it is unclear, answer other. Urgent: {{urgent}}
{{/seg}}
{{#seg form kind=format}}
Please answer in one word.
Use exactly two words.
{{/seg}}
{{#seg ticket kind=input}}
{{ticket}}
{{/seg}}
"""


@pytest.fixture
def sort(tmp_path: Path) -> Path:
    path = tmp_path / "sort.prompt"
    path.write_text(SORT)
    return path


def test_other_commands_load_nothing_of_the_room_but_its_options() -> None:
    script = "import sys, inglenook.__main__ as m; m.parser(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env={
        **os.environ, "PYTHONPATH": str(Path(inglenook.__file__).parents[1]),
    })  # fmt: skip
    loaded = {name.partition("inglenook.prompt.")[2] for name in done.stdout.split()}
    assert loaded - {""} == {"command", "asking", "making", "given"}
    assert "yaml" not in done.stdout.split()


def test_lint_tells_file_line_and_rule_and_fails_on_errors(sort: Path, capsys) -> None:
    assert main(["prompt", "lint", str(sort)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{sort}:17:5: error S103 “exactly two words”")
    assert any(line.startswith(f"{sort}:20:1: warning I202") for line in lines)
    assert main(["prompt", "lint", str(sort), "--off", "S103"]) == 0
    sort.write_text(SORT, "utf-8-sig")  # as some editors begin a file
    assert main(["prompt", "lint", str(sort), "--off", "S103"]) == 0


def test_lint_repairs_the_file_and_nothing_else_in_it(sort: Path, capsys) -> None:
    main(["prompt", "lint", str(sort), "--fix"])
    assert sort.read_text() == SORT.replace("Please answer", "Answer").replace(
        "\n{{ticket}}\n", "\n<ticket>{{ticket}}</ticket>\n"
    )


def test_lint_keeps_how_lines_end(sort: Path, capsys) -> None:
    main(["prompt", "lint", str(sort), "--fix"])
    wanted = sort.read_bytes().replace(b"\n", b"\r\n")
    sort.write_bytes(SORT.replace("\n", "\r\n").encode())
    main(["prompt", "lint", str(sort), "--fix"])
    assert sort.read_bytes() == wanted


def test_a_full_disk_costs_no_prompt(sort: Path, capsys) -> None:
    script = "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100));"
    script += "from inglenook.__main__ import main; sys.exit(main(sys.argv[1:]))"
    done = subprocess.run([sys.executable, "-B", "-c", script, "prompt", "lint", "--fix", str(sort)],
                          check=False, capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 1 and "could not be written: File too large. (unwritable)" in done.stderr
    assert sort.read_text() == SORT and [one.name for one in sort.parent.iterdir()] == [sort.name]


def test_a_repaired_prompt_keeps_its_rights_and_its_link(sort: Path, tmp_path: Path) -> None:
    sort.chmod(0o640)
    (link := tmp_path / "link.prompt").symlink_to(sort)
    main(["prompt", "lint", "--fix", str(link)])
    assert link.is_symlink() and sort.stat().st_mode & 0o777 == 0o640 and "Answer in one word" in sort.read_text()


@pytest.mark.parametrize(
    "words",
    [["lint", "sort.prompt", "--window", "0"], ["test", "sort.prompt", "--tests", "t", "--timeout", "nan"],
     ["test", "sort.prompt", "--tests", "t", "--runs", "-1"], ["test", "sort.prompt", "--tests", "t", "--workers", "0"],
     ["diff", "a", "b", "--tests", "t", "--margin", "inf"]],
)  # fmt: skip
def test_numbers_that_mean_nothing_are_wrong_usage(words: list[str], capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["prompt", *words])
    assert ended.value.code == 2 and words[-2] in capsys.readouterr().err


def test_lint_as_sarif_marks_the_very_words(sort: Path, capsys) -> None:
    main(["prompt", "lint", str(sort), "--sarif"])
    run = json.loads(capsys.readouterr().out)["runs"][0]
    rules = run["tool"]["driver"]["rules"]
    result = next(one for one in run["results"] if one["ruleId"] == "S103")
    assert rules[result["ruleIndex"]]["id"] == "S103"
    region = result["locations"][0]["physicalLocation"]["region"]
    line = SORT.splitlines()[region["startLine"] - 1]
    assert line[region["startColumn"] - 1 : region["endColumn"] - 1] == "exactly two words"
    assert {one["level"] for one in run["results"]} <= {"error", "warning", "note"}


def test_show_fills_slots_by_their_types(sort: Path, tmp_path: Path, capsys) -> None:
    assert main(["prompt", "show", str(sort), "--set", "ticket=true", "--set", "urgent=true"]) == 0
    assert "Urgent: true" in capsys.readouterr().out
    values = tmp_path / "values.yaml"
    values.write_text("ticket: It squeaks.\n")
    assert main(["prompt", "show", str(sort), "--values", str(values), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["messages"][0]["content"].endswith("It squeaks.")
    assert told["spans"][0][-1]["slot"] == "ticket"


def test_show_traces_requirements(sort: Path, capsys) -> None:
    assert main(["prompt", "show", str(sort), "--trace"]) == 0
    said = capsys.readouterr().out
    assert "R1  Names the queue.  ← task" in said and "segment form speaks for no requirement" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["lint", "gone.prompt"], "gone.prompt cannot be read"),
        (["show", "sort.prompt"], "The slot ticket has no value"),
        (["show", "sort.prompt", "--set", "tiket=x"], "Did you mean ticket?"),
        (["show", "sort.prompt", "--set", "ticket=x", "--set", "urgent=[1"], "--set urgent:1: This is no YAML"),
        (["lint", "sort.prompt", "--off", "S999"], "no rule S999"),
        (["apply", "sort.prompt", "steps", "-o", "."], "could not be written: Is a directory"),
        (["apply", "sort.prompt", "steps", "-o", "gone/sort.prompt"], "The folder gone is not there"),
        (["import", "sort.prompt", "--from", "text", "-o", "sort.prompt"], "sort.prompt: File exists"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(sort: Path, arguments, said, capsys, monkeypatch) -> None:
    monkeypatch.chdir(sort.parent)
    assert main(["prompt", *arguments]) == 1
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


FOO = """
prompts: [{label: sort me, raw: "Sort <t>{{ticket}}</t> for {{shop}}."}]
providers: [openai:gpt-4o]
defaultTest: {vars: {shop: bikes}}
tests:
  - vars: {ticket: a}
    assert: [{type: icontains, value: b}]
    metadata: {requirements: [R1]}
sharing: true
"""


def test_import_and_export_say_what_they_lose_and_write_what_can_be_read(tmp_path: Path, capsys) -> None:
    config = tmp_path / "foo.yaml"
    config.write_text(FOO)
    assert main(["prompt", "import", str(config), "-o", str(tmp_path / "out")]) == 0
    told = capsys.readouterr()
    prompt, tests = map(Path, told.out.split())
    assert (prompt.name, tests.name) == ("sort-me.prompt", "foo.tests.yaml")
    assert f"{config}:9: sharing is not carried over" in told.err
    assert main(["prompt", "import", str(config), "-o", str(tmp_path / "out")]) == 1
    assert "is there already" in capsys.readouterr().err
    assert main(["prompt", "show", str(prompt), "--trace", "--tests", str(tests)]) == 1
    assert "case test 1 names R1, which there is none of" in capsys.readouterr().out
    back = tmp_path / "back.yaml"
    assert main(["prompt", "export", str(prompt), "--to", "promptfoo", "--tests", str(tests), "-o", str(back)]) == 0
    assert main(["prompt", "import", str(back), "-o", str(tmp_path / "again")]) == 0
    assert (tmp_path / "again" / "sort-me.prompt").read_text() == prompt.read_text()
    assert (tmp_path / "again" / "back.tests.yaml").read_text() == tests.read_text()


def test_export_writes_what_goes_beside(sort: Path, tmp_path: Path, capsys) -> None:
    tests = tmp_path / "t.yaml"
    tests.write_text("tests: [{vars: {ticket: x}, assert: [{type: equals, value: other}]}]\n")
    task = tmp_path / "task.yaml"
    assert main(["prompt", "export", str(sort), "--to", "lm-eval", "--tests", str(tests), "-o", str(task)]) == 0
    assert json.loads((tmp_path / "sort.jsonl").read_text()) == {"ticket": "x", "urgent": False, "target": "other"}
    assert main(["prompt", "export", str(sort), "--to", "promptfo"]) == 1
    assert "Did you mean promptfoo?" in capsys.readouterr().err
    for none in ("tests: []\n", "[]\n"):
        tests.write_text(none)
        assert main(["prompt", "export", str(sort), "--to", "github", "--tests", str(tests)]) == 1
        assert f"{tests}:1: There is no test" in capsys.readouterr().err
