"""The command line, as a person runs it: a process of its own, without models unless a test says otherwise."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from buildlib.project import ROOT
from tests.engine.ingest_files import docx, paragraph, pdf, word

ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT / "pysrc"), "PYTHONIOENCODING": "utf-8"}


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    (folder / "deep").mkdir(parents=True)
    (folder / "oven.md").write_text("# Ovens\n\nThe oven gets to 250 degrees in nine minutes.\n", "utf-8")
    (folder / "deep" / "fridge.txt").write_text("A fridge keeps milk cold for a week.", "utf-8")
    (folder / "manual.pdf").write_bytes(pdf([[], paragraph("The kettle whistles when the water boils.", 72, 700)]))
    (folder / "notes.docx").write_bytes(docx(word("Toasters are loud.")))
    return folder


def cli(*arguments: str | Path, models: bool = False) -> subprocess.CompletedProcess[str]:
    """Run `inglenook …`."""
    environment = ENVIRONMENT if models else ENVIRONMENT | {"INGLENOOK_MODELS": str(ROOT / "nowhere")}
    command = [sys.executable, "-m", "inglenook", *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, check=False, text=True, encoding="utf-8", env=environment, timeout=120
    )


@pytest.fixture
def nook(docs: Path) -> Path:
    path = docs.parent / "docs.nook"
    ran = cli("index", docs, "-o", path)
    assert ran.returncode == 0, ran.stderr
    return path


def test_index_reads_what_changed_and_only_that(docs: Path, nook: Path) -> None:
    again = cli("index", docs, "-o", nook, "--json")
    report = json.loads(again.stdout)
    assert (report["added"], report["unchanged"], report["documents"]) == ([], 4, 4)
    (docs / "oven.md").write_text("# Ovens\n\nIt gets to 300 degrees.\n", "utf-8")
    (docs / "manual.pdf").unlink()
    report = json.loads(cli("index", docs, "-o", nook, "--json").stdout)
    assert (report["added"], report["unchanged"], report["documents"]) == (["oven.md"], 3 - 1, 4)
    report = json.loads(cli("index", docs, "-o", nook, "--json", "--prune").stdout)
    assert (report["removed"], report["documents"]) == (["manual.pdf"], 3)


def test_index_goes_on_after_a_bad_file_and_says_so(docs: Path) -> None:
    (docs / "bad.pdf").write_bytes(b"%PDF-1.4 oh no")
    (docs / "empty.txt").write_bytes(b"")
    ran = cli("index", docs, "-o", docs.parent / "x.nook")
    assert ran.returncode == 3
    assert "4 read" in ran.stdout and "2 skipped" in ran.stdout
    assert "bad.pdf" in ran.stderr and "(broken)" in ran.stderr and "(empty)" in ran.stderr


def test_search_finds_and_names_the_place(nook: Path) -> None:
    ran = cli("search", nook, "when does the kettle whistle")
    assert ran.returncode == 0
    assert ran.stdout.startswith("1. manual.pdf, page 2")
    hits = json.loads(cli("search", nook, "milk", "--json", "-k", "1").stdout)
    assert [hit["path"] for hit in hits] == ["deep/fridge.txt"]
    assert hits[0]["text"] == "A fridge keeps milk cold for a week."


def test_search_within_bounds(nook: Path) -> None:
    assert json.loads(cli("search", nook, "milk", "--json", "--type", "pdf", "--mode", "lexical").stdout) == []
    assert json.loads(cli("search", nook, "milk", "--json", "--path", "deep/*").stdout)[0]["path"] == "deep/fridge.txt"
    assert "Nothing was found" in cli("search", nook, "milk", "--collection", "other").stdout


def test_ask_answers_from_the_source_and_lists_it(nook: Path) -> None:
    ran = cli("ask", nook, "How hot does the oven get?", "--no-write")
    assert ran.returncode == 0
    assert "250 degrees" in ran.stdout and "[1] oven.md" in ran.stdout
    answer = json.loads(cli("ask", nook, "When does the kettle whistle?", "--no-write", "--json").stdout)
    assert answer["passages"][0]["hit"]["page"] == 2


def test_ask_says_plainly_when_there_is_no_source(nook: Path) -> None:
    ran = cli("ask", nook, "xylophone quagmire zeitgeist?", "--no-write")
    assert ran.returncode == 0 and ran.stdout.startswith("No source found")
    assert "nearest" not in cli("ask", nook, "", "--no-write").stdout


def test_ask_with_the_model_writes(nook: Path, needs: Callable[..., Path]) -> None:
    needs("static/models/smollm2-135m-instruct.nkm")
    needs("static/models/minilm-l6.nkm")
    ran = cli("ask", nook, "How hot does the oven get?", "--tokens", "12", models=True)
    assert ran.returncode == 0, ran.stderr
    lead, written, *_ = ran.stdout.split("\n\n")
    assert "250 degrees" in lead and written.strip() and "[1] oven.md" in ran.stdout


def test_ask_without_the_model_says_what_to_do(nook: Path) -> None:
    ran = cli("ask", nook, "How hot does the oven get?")
    assert ran.returncode == 1
    assert "250 degrees" in ran.stdout
    assert "(model-missing)" in ran.stderr and "Traceback" not in ran.stderr


def test_export_gives_a_nook_that_answers(nook: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.nook"
    report = json.loads(cli("export", nook, copy, "--json").stdout)
    assert report["size"] == copy.stat().st_size
    assert json.loads(cli("search", copy, "milk", "--json").stdout)[0]["path"] == "deep/fridge.txt"


def test_a_place_that_cannot_be_written_is_told_in_one_line(nook: Path, tmp_path: Path) -> None:
    ran = cli("export", nook, tmp_path / "none" / "y.nook")
    assert ran.returncode == 1 and "No such file or directory. (io)" in ran.stderr
    assert len(ran.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["search", "none.nook", "x"], 1, "(no-nook)"),
        (["index", "not-there"], 1, "(no-file)"),
        (["export", "none.nook", "y.nook"], 1, "(no-nook)"),
        (["serve", "none.nook"], 1, "(no-nook)"),
        (["frobnicate"], 2, "invalid choice"),
        (["search", "none.nook", "x", "-k", "-3"], 2, "-3 is no whole number from 1 on"),
        (["ask", "none.nook", "x", "--tokens", "0"], 2, "0 is no whole number from 1 on"),
        (["fleet", "convert", "none.gguf", "-o", "made"], 1, "Check the path."),
        ([], 2, "COMMAND"),
    ],
)
def test_errors_are_one_line_with_a_hint(arguments: list[str], code: int, words: str) -> None:
    ran = cli(*arguments)
    assert ran.returncode == code
    assert words in ran.stderr and "Traceback" not in ran.stderr
    if code == 1:
        assert len(ran.stderr.strip().splitlines()) == 1 and ran.stdout == ""


def test_a_damaged_nook_is_told_in_one_line(nook: Path) -> None:
    nook.write_bytes(b"something else entirely " * 50)
    ran = cli("search", nook, "milk")
    assert ran.returncode == 1 and "Traceback" not in ran.stderr and len(ran.stderr.strip().splitlines()) == 1


def test_help_names_every_command() -> None:
    text = cli("--help").stdout
    assert all(name in text for name in ("index", "search", "ask", "export", "serve"))
    assert "over a WebSocket and as OpenAI does" in cli("serve", "--help").stdout
    assert cli("--version").stdout.startswith("inglenook ")


def test_a_pipe_that_closes_early_is_no_error(nook: Path) -> None:
    command = f'"{sys.executable}" -m inglenook search "{nook}" milk | head -c 1'
    script = ["bash", "-c", f"set -o pipefail; {command}"]
    ran = subprocess.run(script, capture_output=True, check=False, text=True, env=ENVIRONMENT)
    assert "Traceback" not in ran.stderr and "BrokenPipe" not in ran.stderr


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_interrupting_an_index_keeps_what_was_read(tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for n in range(400):
        (folder / f"{n:03}.txt").write_text(f"Document {n}. " + "Some words about it that go on. " * 400, "utf-8")
    path = tmp_path / "many.nook"
    environment = ENVIRONMENT | {"INGLENOOK_MODELS": str(ROOT / "nowhere")}
    command = [sys.executable, "-m", "inglenook", "index", str(folder), "-o", str(path)]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    try:
        end = time.monotonic() + 60
        while not (path.exists() and path.stat().st_size > 50_000):
            assert running.poll() is None and time.monotonic() < end
            time.sleep(0.01)
        running.send_signal(signal.SIGINT)
        _, complaints = running.communicate(timeout=60)
    finally:
        running.kill()
        running.communicate()
    assert running.returncode == 130, complaints
    assert complaints.strip().splitlines()[-1] == "inglenook: stopped; what was stored stays."
    assert "Traceback" not in complaints
    report = json.loads(cli("index", folder, "-o", path, "--json").stdout)
    assert report["unchanged"] > 0 and report["documents"] == 400
    assert len(report["added"]) + report["unchanged"] == 400
