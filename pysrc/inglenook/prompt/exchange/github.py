"""GitHub's `.prompt.yml`: messages, parameters of the model, test data, evaluators."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from inglenook.prompt import document
from inglenook.prompt.ast import Prompt
from inglenook.prompt.case import Assertion, Case
from inglenook.prompt.document import Table
from inglenook.prompt.exchange import chat, dialect
from inglenook.prompt.exchange.carried import Exported, Imported, Loss, Open
from inglenook.prompt.exchange.dialect import PLAIN, Reader

NAMES = {"maxTokens": "max_tokens", "temperature": "temperature", "topP": "top_p"}
# GitHub's checks of strings, but `equals`, take no notice of case; of ours only `icontains` does not.
_STRINGS = {"equals": "equals", "contains": "icontains", "startsWith": "starts-with", "endsWith": "regex"}


def read(text: str, path: str, open: Open) -> Imported:
    """A .prompt.yml. Raises NookError("prompt-yaml" | "prompt-file" | "prompt-import")."""
    table = document.load(text, path).table()
    reader = Reader(PLAIN, path)
    target = table.text("model")
    settings = chat.settings(table.mapping("modelParameters"), NAMES, path, reader.lost)
    form, schema = table.text("responseFormat", "text"), table.text("jsonSchema")
    if form == "json_schema":
        try:
            settings = replace(settings, response_format={"type": form, "json_schema": json.loads(schema)})
        except ValueError:
            raise table.error("jsonSchema is no JSON.", "Write it as one JSON text.", "jsonSchema") from None
    elif form != "text":
        settings = replace(settings, response_format={"type": form})
    prompt = chat.assemble(
        reader, chat.messages(table, "messages", reader), name=table.text("name", "prompt"),
        description=table.text("description"), target=target, settings=settings,
    )  # fmt: skip
    if not prompt.segments:
        raise table.error("There are no messages.", "List them under messages, each with role and content.")
    checks = tuple(check for one in table.tables("evaluators") for check in _check(one, reader.lost))
    known = {slot.name for slot in prompt.slots}
    cases = []
    for n, item in enumerate(table.items("testData")):
        if not isinstance(item, dict):
            raise table.error(
                f"Item {n + 1} of testData is no mapping.", "Write the slots and their values.", "testData"
            )
        values = {key: value for key, value in item.items() if key in known}
        more = {key: value for key, value in item.items() if key not in known}
        filled = tuple(replace(one, value=_filled(one.value, item)) for one in checks)
        cases.append(Case(f"test {n + 1}", values, filled, metadata=more))
    lost = reader.lost + [Loss(path, key, "it is GitHub's own") for key in table.rest()]
    return Imported((prompt,), tuple(cases), (target,) if target else (), tuple(lost))


def write(prompt: Prompt, cases: Sequence[Case]) -> Exported:
    """A .prompt.yml. Its evaluators hold for all test data, so only assertions that all cases share are carried."""
    messages, lost = dialect.write(prompt, PLAIN)
    lost += dialect.unsaid(prompt)
    said: dict[str, Any] = {"name": prompt.name, "description": prompt.description, "model": prompt.target}
    if parameters := chat.told(prompt.settings, NAMES):
        said["modelParameters"] = parameters
    if prompt.settings.stop:
        lost.append(Loss(prompt.name, "settings.stop", "the format has no such parameter"))
    if (form := prompt.settings.response_format) is not None:
        said["responseFormat"] = form.get("type")
        if "json_schema" in form:
            said["jsonSchema"] = json.dumps(form["json_schema"], ensure_ascii=False)
    said["messages"] = [{"role": role, "content": content} for role, content in messages]
    if cases:
        said["testData"] = [{**case.metadata, **case.values} for case in cases]
        shared = [one for one in cases[0].assertions if all(one in case.assertions for case in cases)]
        said["evaluators"] = [told for one in shared if (told := _evaluator(one))]
        carried = [one for one in shared if _evaluator(one)]
        for case in cases:
            if left := [one.type for one in case.assertions if one not in carried]:
                lost.append(Loss(f"case {case.name}", ", ".join(left), "evaluators hold for all test data alike"))
    return Exported(document.dump(said), lost=tuple(lost))


def _check(table: Table, lost: list[Loss]) -> Iterator[Assertion]:
    name = table.text("name")
    where = f"{table.document.path}:{table.document.line(table.place)}"
    for key, value in table.mapping("string").items():
        if key not in _STRINGS:
            raise table.error(f"The evaluator {name} has {key!r}.", f"One of: {', '.join(_STRINGS)}.", "string")
        if key in ("startsWith", "endsWith"):
            lost.append(Loss(where, f"that {key} takes no notice of case", "ours does"))
        yield Assertion(_STRINGS[key], f"{re.escape(str(value))}$" if key == "endsWith" else value, metric=name)
    if llm := table.mapping("llm"):
        yield Assertion("llm-rubric", llm.get("prompt", ""), metric=name, config=llm)
    if uses := table.text("uses"):
        lost.append(Loss(where, uses, "the judge it stands for is GitHub's"))
    lost += [Loss(where, key, "it is GitHub's own") for key in table.rest()]


def _evaluator(one: Assertion) -> dict[str, Any] | None:
    name = one.metric or one.type
    if one.type == "llm-rubric" and one.config:
        return {"name": name, "llm": dict(one.config)}
    for theirs, ours in _STRINGS.items():
        if one.type == ours and isinstance(one.value, str):
            value = one.value
            if theirs == "endsWith":
                value = re.sub(r"\\(.)", r"\1", value.removesuffix("$"), flags=re.DOTALL)
                if f"{re.escape(value)}$" != one.value:
                    return None
            return {"name": name, "string": {theirs: value}}
    return None


def _filled(value: object, item: dict[str, Any]) -> object:
    """An evaluator's text with the values of a line of test data, such as {{expected}}."""
    if not isinstance(value, str):
        return value
    return re.sub(r"\{\{\s*(\w+)\s*\}\}", lambda match: str(item.get(match[1], match[0])), value)
