"""The command line of prompts: `inglenook prompt lint | show | import | export`.

What asks a model stands in `asking`, what makes prompts better in `making`, what both name in `given`.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inglenook.errors import NookError
from inglenook.evals.command import positive, write
from inglenook.prompt import asking, given, making

if TYPE_CHECKING:
    from inglenook.prompt.ast import Prompt
    from inglenook.prompt.case import Case

FORMATS = "promptfoo, prompty, dotprompt, github, openai-evals or lm-eval"
FOUND = 1  # the exit code when something is wrong with a prompt


def add(command: argparse.ArgumentParser) -> None:
    """The options of `inglenook prompt`."""
    kinds = command.add_subparsers(required=True, metavar="WHAT")

    lint = _kind(kinds, "lint", _lint, "what is wrong with prompt files, by the six dimensions of prompt defects")
    lint.add_argument("prompts", nargs="+", type=Path, metavar="PROMPT")
    lint.add_argument("--off", action="append", default=[], metavar="RULE", help="leave this rule out")
    lint.add_argument("--window", type=positive, metavar="TOKENS", help="how much the target reads at most")
    lint.add_argument("--fix", action="store_true", help="repair what needs no judgement, in the file")
    lint.add_argument("--sarif", action="store_true", help="print SARIF 2.1.0, for editors and code hosts")

    show = _kind(kinds, "show", _show, "the messages that a prompt becomes, or how its requirements are traced")
    show.add_argument("prompt", type=Path)
    show.add_argument("--set", action="append", default=[], metavar="SLOT=VALUE", help="fill a slot")
    show.add_argument("--values", type=Path, metavar="FILE", help="a JSON or YAML file of slots and values")
    show.add_argument("--tests", type=Path, metavar="FILE", help="cases to trace, too")
    show.add_argument("--trace", action="store_true", help="requirements, and the segments that state them")

    take = _kind(kinds, "import", _import, "prompt files and tests from the file of another tool")
    take.add_argument("file", type=Path)
    take.add_argument("--from", dest="format", metavar="FORMAT", help="which tool's it is, where that cannot be seen")
    take.add_argument("-o", "--output", type=Path, default=Path(), metavar="DIR", help="where they go (this folder)")
    take.add_argument("--force", action="store_true", help="write over files that are there")

    give = _kind(kinds, "export", _export, "a prompt file as the file of another tool")
    give.add_argument("prompt", type=Path)
    give.add_argument("--to", dest="format", required=True, metavar="FORMAT", help=FORMATS)
    give.add_argument("--tests", type=Path, metavar="FILE", help="a file with tests, as `import` writes one")
    give.add_argument("-o", "--output", type=Path, metavar="FILE", help="the file (on stdout, if none is named)")

    for others in (asking, making):
        others.add(lambda name, run, help: _kind(kinds, name, run, help))


def _kind(kinds: Any, name: str, run: Any, help: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = kinds.add_parser(name, help=help, description=help.capitalize() + ".")
    parser.set_defaults(command=run)
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _lint(options: argparse.Namespace) -> int:
    from inglenook.prompt import file
    from inglenook.prompt.lint import lint, repaired
    from inglenook.prompt.rule import Scene

    found = []
    for path in options.prompts:
        prompt = given.prompt(path)
        if options.fix and (better := repaired(prompt, options.off)) != prompt:
            ends = "\r\n" if b"\r\n" in path.read_bytes() else "\n"
            write(path, file.show(better).replace("\n", ends))
            prompt = better
        found.append((path.as_posix(), prompt, lint(Scene(prompt, window=options.window), options.off)))
    failed = any(one.severity == "error" for _, _, findings in found for one in findings)
    if options.sarif:
        from inglenook.prompt.sarif import sarif

        print(json.dumps(sarif(found), ensure_ascii=False, indent=2))
    elif options.json:
        print(json.dumps([
            {"path": path, "line": file.place(prompt, one.segment, one.start)[0], "dimension": one.dimension,
             **dataclasses.asdict(one)}
            for path, prompt, findings in found for one in findings
        ], ensure_ascii=False, indent=2))  # fmt: skip
    else:
        for path, prompt, findings in found:
            for one in findings:
                line, column = file.place(prompt, one.segment, one.start)
                print(f"{path}:{line}:{column}: {one.severity} {one.rule} {one.message} {one.hint}")
    return FOUND if failed else 0


def _show(options: argparse.Namespace) -> int:
    prompt = given.prompt(options.prompt)
    if options.trace:
        return _trace(prompt, given.cases(options.tests), options.json)
    rendered = prompt.render(given.values(prompt.slots, options.set, options.values))
    if options.json:
        print(json.dumps(dataclasses.asdict(rendered), ensure_ascii=False, indent=2))
        return 0
    for message, spans in zip(rendered.messages, rendered.spans, strict=True):
        names = dict.fromkeys(span.segment for span in spans)
        print(f"── {message.role}: {', '.join(names)}\n{message.content}")
    return 0


def _import(options: argparse.Namespace) -> int:
    from inglenook.prompt import file
    from inglenook.prompt.exchange import formats, promptfoo

    text = given.text(options.file)
    name = options.format or formats.guess(text, options.file.name)
    made = formats.read(name, text, str(options.file), lambda path: given.text(options.file.parent / path))
    files = {f"{_plain(prompt.name)}.prompt": file.show(prompt) for prompt in made.prompts}
    if len(files) < len(made.prompts):
        raise NookError("prompt-import", "Two of its prompts have the same name.", "Give each its own label.")
    if made.cases:
        files[f"{_plain(options.file.name.partition('.')[0])}.tests.yaml"] = promptfoo.suite(made.cases)
    for path in [options.output / one for one in files]:
        if path.exists() and not options.force:
            raise NookError(
                "prompt-import", f"{path} is there already.", "Name another folder with -o, or use --force."
            )
    options.output.mkdir(parents=True, exist_ok=True)
    for one, content in files.items():
        write(options.output / one, content)
    given.told(made.lost)
    written = [str(options.output / one) for one in files]
    if options.json:
        lost = [dataclasses.asdict(loss) for loss in made.lost]
        print(json.dumps({"format": name, "written": written, "lost": lost}, ensure_ascii=False, indent=2))
    else:
        print("\n".join(written))
    return 0


def _export(options: argparse.Namespace) -> int:
    from inglenook.prompt.exchange import formats

    form = formats.named(options.format)
    if form.write is None:
        raise NookError("prompt-format", f"{options.format} is only read.", f"Name {FORMATS}.")
    made = form.write(given.prompt(options.prompt), given.cases(options.tests))
    given.told(made.lost)
    if options.output:
        write(options.output, made.text)
        for name, text in made.beside.items():
            write(options.output.parent / name, text)
    elif options.json:
        lost = [dataclasses.asdict(loss) for loss in made.lost]
        told = {"text": made.text, "beside": dict(made.beside), "lost": lost}
        print(json.dumps(told, ensure_ascii=False, indent=2))
    else:
        print(made.text, end="")
    return 0


def _plain(name: str) -> str:
    return re.sub(r"[^\w.-]+", "-", name).strip("-.") or "prompt"


def _trace(prompt: Prompt, cases: Sequence[Case], plain: bool) -> int:
    from inglenook.prompt.trace import trace

    made = trace(prompt, cases)
    if plain:
        print(json.dumps(dataclasses.asdict(made), ensure_ascii=False, indent=2))
        return 0
    for row in made.rows:
        said = f"{row.requirement.id}  {row.requirement.text}  ← {', '.join(row.segments) or 'no segment'}"
        print(said + (f"  ✓ {', '.join(row.cases) or 'no test'}" if cases else ""))
    for name in made.loose:
        print(f"segment {name} speaks for no requirement")
    for what, id, hint in made.unknown:
        print(f"{what} names {id}, which there is none of. {hint}")
    return FOUND if made.unknown or made.unstated else 0
