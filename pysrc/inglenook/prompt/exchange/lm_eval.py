"""lm-evaluation-harness tasks: a prompt over the columns of a dataset, and what is measured.

A task's cases are the rows of its dataset, which lies elsewhere: they are read if the task names a local JSONL file
(`dataset_kwargs: {data_files: …}`), and written as one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from inglenook.depth import parse
from inglenook.errors import NookError
from inglenook.prompt import document
from inglenook.prompt.ast import Prompt
from inglenook.prompt.case import Assertion, Case
from inglenook.prompt.document import Table
from inglenook.prompt.exchange import chat, dialect
from inglenook.prompt.exchange.carried import Exported, Imported, Loss, Open
from inglenook.prompt.exchange.dialect import JINJA, Reader

NAMES = {"max_gen_toks": "max_tokens", "temperature": "temperature", "top_p": "top_p", "until": "stop"}
TARGET = "target"
_METRICS = {"exact_match": "equals", "acc": "equals"}


def read(text: str, path: str, open: Open) -> Imported:
    """A task's YAML. Raises NookError("prompt-yaml" | "prompt-file" | "prompt-import")."""
    table = document.load(_untagged(text), path).table()
    reader = Reader(JINJA, path)
    lost = reader.lost
    asked = table.text("doc_to_text")
    if not asked:
        raise table.error("The task has no doc_to_text.", "Tasks that inherit it (include, group) are read with it.")
    if asked.startswith("!function"):
        raise table.error(f"doc_to_text is a program: {asked}.", "Write it as a template.", "doc_to_text")
    asked = asked if "{" in asked else f"{{{{{asked}}}}}"  # the name of a column alone
    system = table.text("description")
    messages = [("system", system)] * bool(system) + [("user", asked)]
    sampling = dict(table.mapping("generation_kwargs"))
    if sampling.pop("do_sample", None) is False:
        sampling["temperature"] = 0
    settings = chat.settings(sampling, NAMES, path, lost)
    kind = table.text("output_type", "generate_until")
    if kind != "generate_until":
        lost.append(Loss(_at(table, "output_type"), kind, "answers are written here, not scored"))
    prompt = chat.assemble(reader, messages, name=table.text("task", "task"), settings=settings,
                           metadata=table.mapping("metadata"))  # fmt: skip
    if version := prompt.metadata.get("version"):
        number = str(version)
        prompt = replace(prompt, version=number if number.count(".") == 2 else f"{number.removesuffix('.0')}.0.0")
        prompt = replace(prompt, metadata={k: v for k, v in prompt.metadata.items() if k != "version"})
    checks = _checks(table, lost)
    cases = tuple(_cases(table, prompt, checks, open, lost))
    for key in table.rest():
        lost.append(Loss(_at(table, key), key, "it says how the harness runs"))
    return Imported((prompt,), cases, (), tuple(lost))


def write(prompt: Prompt, cases: Sequence[Case]) -> Exported:
    """A task's YAML, and its dataset as JSONL beside it. The whole prompt is the text of the user's turn, after what
    the system says."""
    messages, lost = dialect.write(prompt, JINJA)
    lost += dialect.unsaid(prompt, "types")
    if any(role == "assistant" for role, _ in messages):
        lost.append(Loss(prompt.name, "the assistant's turns", "a task has one text; they stand in it"))
    leading = messages[0][1] if messages and messages[0][0] == "system" else ""
    said: dict[str, Any] = {"task": prompt.name, "dataset_path": "json"}
    said["dataset_kwargs"] = {"data_files": {"test": f"{prompt.name}.jsonl"}}
    said |= {"test_split": "test", "output_type": "generate_until"}
    if leading:
        said["description"] = leading
        lost.append(Loss(prompt.name, "the system's turn", "a description stands before the text, in the same turn"))
    said["doc_to_text"] = "\n\n".join(content for _, content in messages[bool(leading) :])
    said["doc_to_target"] = f"{{{{{TARGET}}}}}"
    told = chat.told(replace(prompt.settings, response_format=None), NAMES)
    said["generation_kwargs"] = {"max_gen_toks": prompt.settings.max_tokens, "until": [], **told,
                                 "do_sample": prompt.settings.temperature > 0}  # fmt: skip
    said["metric_list"] = [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}]
    said["metadata"] = {**prompt.metadata, "version": prompt.version}
    rows = []
    for case in cases:
        equal = next((one for one in case.assertions if one.type == "equals"), None)
        if rest := [one.type for one in case.assertions if one is not equal]:
            lost.append(Loss(f"case {case.name}", ", ".join(rest), "a row has one target"))
        filled = {slot.name: case.values.get(slot.name, slot.default) for slot in prompt.slots}
        rows.append(json.dumps({**filled, TARGET: equal.value if equal else None}, ensure_ascii=False))
    return Exported(document.dump(said), {f"{prompt.name}.jsonl": "".join(f"{row}\n" for row in rows)}, tuple(lost))


def _at(table: Table, key: str) -> str:
    return f"{table.document.path}:{table.document.line((*table.place, key))}"


def _untagged(text: str) -> str:
    """The harness' own tag, `!function module.name`, as a text: what it names is a program."""
    return re.sub(r"!function[ \t]+([\w.]+)", r'"!function \1"', text)


def _checks(table: Table, lost: list[Loss]) -> tuple[Assertion, ...]:
    target = str(table.get("doc_to_target", ""))
    made = []
    for one in table.tables("metric_list"):
        metric = one.text("metric")
        if metric in _METRICS and target and not target.startswith("!function"):
            made.append(Assertion(_METRICS[metric], target if "{" in target else f"{{{{{target}}}}}", metric=metric))
        else:
            lost.append(Loss(_at(one, "metric"), metric, "there is no assertion of this name"))
    return tuple(made)


def _cases(table: Table, prompt: Prompt, checks: tuple[Assertion, ...], open: Open, lost: list[Loss]) -> list[Case]:
    files = table.mapping("dataset_kwargs").get("data_files")
    split = table.text("test_split") or table.text("validation_split") or "test"
    named = files.get(split) if isinstance(files, dict) else files
    dataset = table.text("dataset_path")
    if dataset != "json" or not isinstance(named, str):
        lost.append(
            Loss(_at(table, "dataset_path"), f"the dataset {dataset or '?'}", "it lies elsewhere; cases are its rows")
        )
        return []
    cases = []
    for n, line in enumerate(open(named).split("\n"), 1):
        if line.strip():
            try:
                row = dict(parse(line))
            except (ValueError, TypeError) as error:
                raise NookError(
                    "prompt-import", f"{named}:{n}: This is no JSON object: {error}.", "One a line."
                ) from None
            values = {slot.name: row[slot.name] for slot in prompt.slots if slot.name in row}
            cases.append(
                Case(f"row {n}", values, tuple(replace(one, value=_fill(str(one.value), row)) for one in checks))
            )
    return cases


def _fill(template: str, row: dict[str, Any]) -> str:
    return re.sub(r"\{\{\s*(\w+)\s*\}\}", lambda match: str(row.get(match[1], "")), template)
