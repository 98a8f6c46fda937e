"""The command line of prompts: `inglenook prompt lint | show …`."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inglenook.errors import NookError

if TYPE_CHECKING:
    from inglenook.prompt.ast import Prompt

FOUND = 1  # the exit code when something is wrong with a prompt


def add(command: argparse.ArgumentParser) -> None:
    """The options of `inglenook prompt`."""
    kinds = command.add_subparsers(required=True, metavar="WHAT")

    lint = _kind(kinds, "lint", _lint, "what is wrong with prompt files, by the six dimensions of prompt defects")
    lint.add_argument("prompts", nargs="+", type=Path, metavar="PROMPT")
    lint.add_argument("--off", action="append", default=[], metavar="RULE", help="leave this rule out")
    lint.add_argument("--window", type=int, metavar="TOKENS", help="how much the target reads at most")
    lint.add_argument("--fix", action="store_true", help="repair what needs no judgement, in the file")
    lint.add_argument("--sarif", action="store_true", help="print SARIF 2.1.0, for editors and code hosts")

    show = _kind(kinds, "show", _show, "the messages that a prompt becomes, or how its requirements are traced")
    show.add_argument("prompt", type=Path)
    show.add_argument("--set", action="append", default=[], metavar="SLOT=VALUE", help="fill a slot")
    show.add_argument("--values", type=Path, metavar="FILE", help="a JSON or YAML file of slots and values")
    show.add_argument("--trace", action="store_true", help="requirements, and the segments that state them")


def _kind(kinds: Any, name: str, run: Any, help: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = kinds.add_parser(name, help=help, description=help.capitalize() + ".")
    parser.set_defaults(command=run)
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def read(path: Path) -> Prompt:
    """The prompt of a file. Raises NookError for what is no such file."""
    from inglenook.prompt import file

    return file.parse(text_of(path), str(path))


def text_of(path: Path) -> str:
    """A file's text. Raises NookError("no-file" | "not-text")."""
    try:
        return path.read_text("utf-8")
    except OSError:
        raise NookError("no-file", f"{path} cannot be read.", "Check the spelling, and that it is a file.") from None
    except UnicodeDecodeError as error:
        raise NookError("not-text", f"{path} is no UTF-8 text: {error.reason}.", "Save it as UTF-8.") from None


def given(prompt: Prompt, options: argparse.Namespace) -> dict[str, object]:
    """The values of slots that `--values` and `--set` give; of a slot that is no text, as YAML would write it."""
    from inglenook.prompt import document

    values: dict[str, object] = {}
    if options.values:
        values |= document.load(text_of(options.values), str(options.values)).table().data
    texts = {slot.name for slot in prompt.slots if slot.type in ("text", "line", "choice")}
    for said in options.set:
        name, _, value = said.partition("=")
        values[name] = value if name in texts else document.load(value, f"--set {name}").value
    return values


def _lint(options: argparse.Namespace) -> int:
    from inglenook.prompt import file
    from inglenook.prompt.lint import lint, repaired
    from inglenook.prompt.rule import Scene

    found = []
    for path in options.prompts:
        prompt = read(path)
        if options.fix and (better := repaired(prompt, options.off)) != prompt:
            path.write_text(file.show(better), "utf-8")
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
    prompt = read(options.prompt)
    if options.trace:
        return _trace(prompt, options.json)
    rendered = prompt.render(given(prompt, options))
    if options.json:
        print(json.dumps(dataclasses.asdict(rendered), ensure_ascii=False, indent=2))
        return 0
    for message, spans in zip(rendered.messages, rendered.spans, strict=True):
        names = dict.fromkeys(span.segment for span in spans)
        print(f"── {message.role}: {', '.join(names)}\n{message.content}")
    return 0


def _trace(prompt: Prompt, plain: bool) -> int:
    from inglenook.prompt.trace import trace

    made = trace(prompt)
    if plain:
        print(json.dumps(dataclasses.asdict(made), ensure_ascii=False, indent=2))
        return 0
    for row in made.rows:
        print(f"{row.requirement.id}  {row.requirement.text}  ← {', '.join(row.segments) or 'no segment'}")
    for name in made.loose:
        print(f"segment {name} speaks for no requirement")
    for what, id, hint in made.unknown:
        print(f"{what} names {id}, which there is none of. {hint}")
    return FOUND if made.unknown or made.unstated else 0
