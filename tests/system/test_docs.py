"""The documents say what is true: links lead somewhere, commands exist, code parses, the tree is the tree."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted(ROOT.glob("*.md"))
README = (ROOT / "README.md").read_text("utf-8")


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def help_of(*command: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "pysrc")}
    done = subprocess.run(
        [sys.executable, *command, "--help"], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_within_the_project_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", page.read_text("utf-8"))
    broken = [link for link in links if not (page.parent / link).exists()]
    assert not broken


def test_every_build_command_in_the_readme_exists_and_every_verb_is_documented() -> None:
    verbs = set(re.findall(r"^\s*python3 build\.py (\w+)", help_of("build.py"), re.MULTILINE))
    assert verbs >= {"dev", "test", "check", "bench", "size", "release", "clean"}
    used = set(re.findall(r"python3 build\.py (\w+)", README))
    assert used <= verbs
    assert [verb for verb in sorted(verbs) if not re.search(rf"`?\b{verb}\b", README)] == []


def test_every_benchmark_the_readme_names_exists() -> None:
    named = {name for names in re.findall(r"\bbench ([\w|]+)`", README) for name in names.split("|")}
    assert named >= {"app", "elastic"}
    assert {f"{name}.py" for name in named} <= {path.name for path in (ROOT / "tests" / "bench").iterdir()}


def test_every_command_of_the_line_is_documented_and_every_documented_one_exists() -> None:
    commands = set(re.findall(r"^    (\w+)  ", help_of("-m", "inglenook"), re.MULTILINE))
    assert commands >= {"index", "search", "ask", "serve"}
    used = {word for block in blocks(README, "sh") for word in re.findall(r"^inglenook (\w+)", block, re.MULTILINE)}
    assert used <= commands
    assert [name for name in sorted(commands) if f"inglenook {name}" not in README] == []


def test_python_in_the_readme_parses_and_uses_what_is_public() -> None:
    import inglenook

    for block in blocks(README, "python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and node.module == "inglenook":
                assert all(hasattr(inglenook, alias.name) for alias in node.names)


def test_javascript_in_the_readme_parses(tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    for i, block in enumerate(blocks(README, "js")):
        script = tmp_path / f"{i}.mjs"
        script.write_text(re.sub(r"await using", "const", block))  # node 20 does not know the syntax yet
        done = subprocess.run([node, "--check", script], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_the_prompt_of_the_readme_and_its_cases_are_what_they_should_be() -> None:
    from inglenook.prompt import file, lint
    from inglenook.prompt.exchange import promptfoo
    from inglenook.prompt.rule import Scene

    [text] = re.findall(r"^```\n(---\n.*?)^```", README, re.MULTILINE | re.DOTALL)
    [tests] = blocks(README, "yaml")
    prompt = file.parse(text)
    cases, lost = promptfoo.cases(tests, "cases.yaml", lambda name: "")
    assert prompt.name == "title" and not lost and {id for case in cases for id in case.requirements} == {"R1"}
    assert all("<note>" in prompt.call(case.values).messages[0].content and case.assertions for case in cases)
    assert {finding.severity for finding in lint.lint(Scene(prompt, cases))} <= {"note"}


TRIED = """
import { Completions } from '%s';
const asked = [];
const nook = {
  chat: {
    completions: new Completions(async function* (message) {
      asked.push(message);
      const token = { token: '{}', codes: [123, 125], logprob: -0.1 };
      yield { type: 'Token', text: '{}', logprobs: [{ ...token, top: [token, token, token] }] };
      yield { type: 'Timing', ratio: 0.6, first_ms: 512, met: true, stop: 'end' };
    }),
  },
};
const said = [];
console.log = (...words) => said.push(words.join(' '));
%s
process.stdout.write(JSON.stringify({ asked, said }));
"""


def test_chat_completions_in_the_readme_are_taken_by_the_page(tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    [block] = [block for block in blocks(README, "js") if "nook.chat.completions" in block]
    script = tmp_path / "chat.mjs"
    script.write_text(TRIED % ((ROOT / "web/lib/chat.js").as_uri(), block))
    done = subprocess.run([node, script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    [message] = found["asked"]
    assert (
        message["form"]["kind"] == "schema" and message["seed"] == 7 and message["slo"] == {"first": 800, "token": 60}
    )
    assert found["said"] == ["[object Object] 1", "60 % of the model, 512 ms, in time: true"]


def test_every_field_of_chat_completions_that_the_readme_names_is_taken() -> None:
    from inglenook import completions

    [table] = [text for text in README.split("\n\n") if text.startswith("| field |")]
    named = {name for row in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", row.split("|")[1])}
    assert named >= {"slo", "seed", "tools", "logprobs", "response_format"} and named <= completions._TAKEN


def test_the_tree_in_the_readme_is_the_tree() -> None:
    [tree] = [block for block in README.split("```")[1::2] if "pysrc/inglenook/ " in block]
    missing = []
    for line in tree.splitlines():
        names = re.split(r"\s{2,}", line.strip())[0].split()
        base = ROOT / "pysrc" / "inglenook" if line.startswith(" ") else ROOT
        for name in names:
            path = base / name
            if not (path.exists() or path.with_suffix(".py").exists()):
                missing.append(name)
    assert not missing


def test_every_room_of_the_engine_stands_in_the_readme() -> None:
    engine = ROOT / "pysrc" / "inglenook"
    rooms = [path.name for path in engine.iterdir() if path.is_dir() and (path / "__init__.py").exists()]
    modules = [path.stem for path in engine.glob("*.py") if not path.stem.startswith("_")]
    assert [name for name in sorted([*rooms, *modules]) if not re.search(rf"\b{name}\b", README)] == []


def test_the_elements_attributes_are_documented() -> None:
    sources = (ROOT / "web" / "elements").glob("*.js")
    found = {name for path in sources for name in re.findall(r"getAttribute\('([\w-]+)'\)", path.read_text("utf-8"))}
    own = {name for name in found if not name.startswith(("aria-", "data-")) and name not in ("href", "id", "class")}
    assert own
    assert [name for name in sorted(own) if f"`{name}`" not in README and f"{name}=" not in README] == []
