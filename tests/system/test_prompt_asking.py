"""`inglenook prompt test | debug | diff | evolve | rollback` as a person types them, on a target that is told here."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Self
from xml.etree import ElementTree

import pytest
from inglenook.__main__ import main
from inglenook.evals import targets
from inglenook.evals.calls import Call, Reply

PROMPT = """---
name: where
version: 1.0.0
settings: {temperature: 0.8}
slots:
  place: {}
requirements:
  - {id: R1, text: Says where it is.}
---
{{#seg who kind=persona}}
You are a clerk.
{{/seg}}
{{#seg task kind=task req=R1}}
You must say where it is.
{{/seg}}
{{#seg tone kind=constraint}}
Be vague.
{{/seg}}
{{#seg place kind=input}}
{{place}}
{{/seg}}
"""
TESTS = """tests:
""" + "".join(
    f"  - {{description: case {i}, vars: {{place: p{i}}}, metadata: {{requirements: [R1]}}, "
    f"assert: [{{type: contains, value: here}}]}}\n" for i in range(6)
)  # fmt: skip


class Scripted:
    """A target that fails, mostly, if told to be vague, or not told that it must."""

    def __init__(self, place: str, model: str = "", key: str = "", timeout: float = 0) -> None:
        self.name, self.asked = f"{place} {model}".strip(), 0

    def __call__(self, call: Call) -> Reply:
        self.asked += 1
        text = " ".join(str(one.content) for one in call.messages)
        if "Rewrite one segment" in text:
            return Reply(json.dumps({"segment": "tone", "text": "Be exact."}))
        chance = zlib.crc32(call.canonical().encode()) % 100
        fails = "vague" in text or "must say" not in text or call.target == "http://new"
        return Reply("gone" if chance < (90 if fails else 4) else "here", total_ms=2.0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    (tmp_path / "bad.prompt").write_text(PROMPT)
    (tmp_path / "good.prompt").write_text(PROMPT.replace("Be vague.", "Be brief."))
    (tmp_path / "cases.yaml").write_text(TESTS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(targets, "open", Scripted)

    def run(*words: str) -> int:
        return main(["prompt", *words, "--tests", "cases.yaml", "--target", "http://model"])

    return run


def test_test_tells_what_passes_and_writes_junit(place, capsys) -> None:
    assert place("test", "good.prompt", "--junit", "out.xml", "--mutate", "--relations") == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("pass") and "requirement R1" in line for line in lines)
    assert any(line.startswith("killed") and "drop task" in line for line in lines)
    assert any("relation persona" in line for line in lines) and "good.prompt: pass" in lines[-1]
    cases = ElementTree.parse("out.xml").findall(".//testcase")
    assert len(cases) == 7 and not ElementTree.parse("out.xml").findall(".//failure")
    assert place("test", "bad.prompt", "--json") == 1
    told = json.loads(capsys.readouterr().out)
    assert told["decision"] == "fail" and told["verdicts"]["R1"]["decision"] == "fail" and told["runs"] < 60
    assert place("test", "good.prompt", "--runs", "2") == 3


def test_what_a_verdict_does_not_say_is_told(place, capsys) -> None:
    told = Path("cases.yaml").read_text()
    Path("cases.yaml").write_text(told + "  - {description: idle, vars: {place: x}, metadata: {requirements: [R2]}}\n")
    place("test", "good.prompt", "--runs", "2")
    said = capsys.readouterr().out.splitlines()[-1]
    assert "R2 of the case idle is no requirement of the prompt. One of: R1." in said
    assert said.endswith("The case idle asserts nothing: it cannot fail.")
    Path("cases.yaml").write_text(told)
    place("test", "good.prompt", "--runs", "2")
    assert capsys.readouterr().out.splitlines()[-1].endswith("12 runs of 6 cases on http://model.")


def test_rows_are_asked_for_once(place, capsys, monkeypatch) -> None:
    made: list[Scripted] = []
    monkeypatch.setattr(targets, "open", lambda *given, **more: made.append(Scripted(*given, **more)) or made[-1])
    for _ in range(2):
        assert place("test", "bad.prompt", "--rows", "rows.jsonl") == 1
    assert made[0].asked > 0 and made[1].asked == 0


def test_debug_names_the_segment_and_writes_the_mended_prompt(place, capsys) -> None:
    assert place("debug", "bad.prompt", "-o", "mended.prompt") == 1
    said = capsys.readouterr().out
    assert "it fails by: tone" in said and "fails with seed" in said and "confirmed" in said
    assert "vague" not in Path("mended.prompt").read_text() and place("test", "mended.prompt") == 0
    capsys.readouterr()
    assert place("debug", "bad.prompt", "--json", "--segment", "tone", "--case", "case 2") == 1
    told = json.loads(capsys.readouterr().out)
    assert told["segments"] == ["tone"] and told["confirmed"] and told["failing"]["case"] == "case 2"


def test_debug_bisects_versions(place, capsys) -> None:
    for number in range(5):
        text = PROMPT if number >= 3 else PROMPT.replace("Be vague.", f"Note {number}.")
        Path(f"v{number}.prompt").write_text(text)
    assert place("debug", *(f"v{number}.prompt" for number in range(5))) == 1
    assert capsys.readouterr().out == "v3.prompt is the first that fails\n"


def test_diff_releases_and_rollback_goes_back(place, capsys) -> None:
    assert place("diff", "bad.prompt", "bad.prompt", "--release", "history.jsonl", "--runs", "50") in (0, 3)
    assert place("diff", "bad.prompt", "good.prompt", "--release", "history.jsonl") == 0
    said = capsys.readouterr().out
    assert "gained" in said and "a minor version" in said and "→ 'here'" in said
    assert place("diff", "good.prompt", "bad.prompt", "--json") == 1
    assert json.loads(capsys.readouterr().out)["level"] == "major"
    assert place("diff", "good.prompt", "good.prompt", "--to", "http://new") == 1  # a model's upgrade
    assert main(["prompt", "rollback", "history.jsonl", "1.0.0", "-o", "back.prompt"]) == 0
    assert Path("back.prompt").read_text() == PROMPT
    versions = [json.loads(line)["version"] for line in Path("history.jsonl").read_text().splitlines()]
    assert versions == ["1.0.0", "1.1.0", "2.0.0"]
    with Path("history.jsonl").open("a") as file:
        file.write('{"version": "2.1')  # as a full disk leaves it
    assert main(["prompt", "rollback", "history.jsonl", "1.1.0", "-o", "back.prompt"]) == 0
    versions = [json.loads(line)["version"] for line in Path("history.jsonl").read_text().splitlines()]
    assert versions == ["1.0.0", "1.1.0", "2.0.0", "3.0.0"]


def test_evolve_writes_what_helps(place, capsys) -> None:
    assert place("evolve", "bad.prompt", "-o", "better.prompt", "--html", "better.html") == 0
    assert "better on cases it never saw" in Path("better.html").read_text("utf-8")
    assert "Be exact." in Path("better.prompt").read_text()
    assert place("evolve", "good.prompt", "-o", "none.prompt", "--rounds", "1") == 3
    assert not Path("none.prompt").exists()


@pytest.mark.parametrize("option", ["-o", "--html", "--lock"])
def test_where_results_go_is_looked_at_before_anything_is_asked(place, option: str, capsys, monkeypatch) -> None:
    monkeypatch.setattr(targets, "open", lambda *given, **more: pytest.fail("a target was opened"))
    assert place("build", "good.prompt", option, "gone/file") == 1
    assert "The folder gone is not there. (no-folder)" in capsys.readouterr().err


def test_what_is_wrong_is_told_in_one_line(place, capsys) -> None:
    assert place("debug", "good.prompt", "--case", "case 9") == 1
    assert "There is no case 'case 9'" in capsys.readouterr().err
    Path("cases.yaml").write_text("tests: []\n")
    assert place("test", "good.prompt") == 1
    assert "There is no test" in capsys.readouterr().err


# ── pages ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def page(name: str) -> tuple[str, dict[str, object]]:
    """What a report says to people, and what to programs."""
    made = Path(name).read_text()
    body, _, rest = made.partition('<script type="application/json" id="results">')
    assert "<script" not in body and "http-equiv" in body
    return body, json.loads(rest.split("</script>")[0])


def test_test_makes_a_page_with_all_it_found(place) -> None:
    assert place("test", "good.prompt", "--html", "good.html", "--mutate", "--relations") == 0
    said, told = page("good.html")
    assert told["decision"] == "pass" and told["mutants"]
    for part in ("R1: Says where it is.", "e: too rare", "stated by", "Relations", "Mutants:", "Coverage", "drop",
                 "segments whose loss is noticed", "<meter", "task task R1"):  # fmt: skip
        assert part in said, part
    assert place("test", "bad.prompt", "--html", "bad.html") == 1
    said, told = page("bad.html")
    assert "Mutants" not in said and "constraints only mutants tell" in said and "Fails: case" in said
    assert '<mark class="bad"><small>task</small>You must say where it is.</mark>' in said, "what states R1"
    assert "<small>place ← place</small>" in said and '<mark class="bad">gone</mark>' in said
    assert place("test", "bad.prompt", "--html", "nowhere/x.html") == 1


def test_debug_diff_and_build_make_pages_too(place, capsys) -> None:
    assert place("debug", "bad.prompt", "--html", "debug.html") == 1
    said, told = page("debug.html")
    assert told["segments"] == ["tone"] and "confirmed" in said and "Mended" in said
    assert '<mark class="bad"><small>tone</small>Be vague.</mark>' in said
    assert place("diff", "bad.prompt", "good.prompt", "--html", "diff.html") == 0
    said, told = page("diff.html")
    assert told["level"] == "minor" and "gained" in said and "before answer" in said and "after answer" in said
    assert place("build", "good.prompt", "--html", "build.html", "--runs", "40") in (0, 3)
    said, told = page("build.html")
    assert "Steps:" in said and told["digest"] in said
    for number in range(3):
        Path(f"v{number}.prompt").write_text(PROMPT if number else PROMPT.replace("Be vague.", "Be brief."))
    assert place("debug", *(f"v{number}.prompt" for number in range(3)), "--html", "versions.html") == 1
    assert "the first that fails" in page("versions.html")[0]
