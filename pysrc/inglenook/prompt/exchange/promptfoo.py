"""promptfoo's configuration: prompts, providers, tests with assertions, what all tests share."""

from __future__ import annotations

import csv
import io
import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from inglenook.errors import NookError
from inglenook.prompt import document
from inglenook.prompt.ast import Prompt
from inglenook.prompt.case import Assertion, Case
from inglenook.prompt.document import Place, Table
from inglenook.prompt.exchange import chat, dialect
from inglenook.prompt.exchange.carried import Exported, Imported, Loss, Open
from inglenook.prompt.exchange.dialect import JINJA, Reader

NAMES = {
    "max_tokens": "max_tokens", "temperature": "temperature", "top_p": "top_p", "stop": "stop",
    "response_format": "response_format",
}  # fmt: skip
MOST = 10_000
_KNOWN = ("prompts", "providers", "targets", "tests", "defaultTest", "assertionTemplates", "description", "$schema")


def read(text: str, path: str, open: Open) -> Imported:
    """A promptfooconfig.yaml. Raises NookError("prompt-yaml" | "prompt-file" | "prompt-import")."""
    table = document.load(text, path).table()
    more = [key for key in table.data if key not in _KNOWN]
    lost = [Loss(_at(table, key), key, "it says how promptfoo runs, not what is asked") for key in more]
    about = table.text("description")
    targets, settings = _providers(table, lost)
    prompts = []
    for n, (name, source) in enumerate(_prompts(table, open, lost)):
        reader = Reader(JINJA, f"{path}, prompt {n + 1}")
        prompt = chat.assemble(reader, _messages(source), name=name, description=about, settings=settings,
                               target=targets[0] if targets else "")  # fmt: skip
        prompts.append(prompt)
        lost += reader.lost
    if not prompts:
        raise table.error("There is no prompt.", "List one under prompts.")
    return Imported(tuple(prompts), tuple(_cases(table, open, lost)), tuple(targets), tuple(lost))


def write(prompt: Prompt, cases: Sequence[Case]) -> Exported:
    """A promptfooconfig.yaml with one prompt."""
    messages, lost = dialect.write(prompt, JINJA)
    lost += dialect.unsaid(prompt)
    alone = len(messages) == 1 and messages[0][0] == "user"
    source = messages[0][1] if alone else json.dumps(
        [{"role": role, "content": content} for role, content in messages], ensure_ascii=False, indent=1)  # fmt: skip
    said: dict[str, Any] = {"description": prompt.description} if prompt.description else {}
    said["prompts"] = [{"id": prompt.name, "label": prompt.name, "raw": source}]
    provider: dict[str, Any] = {"id": prompt.target or "openai:chat:local"}
    if config := chat.told(prompt.settings, NAMES):
        provider["config"] = config
    if not prompt.target:
        lost.append(Loss(prompt.name, "the target", "promptfoo needs one: name yours under providers"))
    said["providers"] = [provider]
    if defaults := {slot.name: slot.default for slot in prompt.slots if slot.default is not None}:
        said["defaultTest"] = {"vars": defaults}
    said["tests"] = [_test(case) for case in cases]
    return Exported(document.dump(said), lost=tuple(lost))


def cases(text: str, path: str, open: Open) -> tuple[tuple[Case, ...], tuple[Loss, ...]]:
    """The cases of a file that has `tests` (and `defaultTest`), or is a list of tests, and what is lost.

    Raises NookError("prompt-yaml" | "prompt-file"), the latter too for a file without a test.
    """
    told, lost = document.load(text, path), list[Loss]()
    bare = isinstance(told.value, list)
    table = Table(told, (), {"tests": told.value}) if bare else told.table()
    found = tuple(_cases(table, open, lost, () if bare else ("tests",)))
    if not found:
        raise table.error("There is no test.", "List them under tests: [{vars: …, assert: […]}].", "tests")
    return found, tuple(lost)


def suite(cases: Sequence[Case]) -> str:
    """A file of `tests` that `cases` reads."""
    return document.dump({"tests": [_test(case) for case in cases]})


def assertion(table: Table, templates: Mapping[str, Any], lost: list[Loss]) -> Assertion:
    """One assertion; `$ref` is resolved."""
    if name := table.text("$ref").rpartition("/")[2]:
        if not isinstance(templates.get(name), dict):
            raise table.error(f"There is no assertion template {name}.", "Define it under assertionTemplates.", "$ref")
        merged = {**templates[name], **{key: value for key, value in table.data.items() if key != "$ref"}}
        table = Table(table.document, table.place, merged)
    config = dict(table.mapping("config"))
    ids = table.table("config").texts("requirements")
    config.pop("requirements", None)
    made = Assertion(
        table.text("type"), table.get("value", table.get("assert")), table.maybe("threshold"),
        table.number("weight", 1.0), table.text("metric"), config, ids,
    )  # fmt: skip
    if not made.type:
        raise table.error("An assertion has no type.", "Write type: equals, or one of promptfoo's others.")
    if made.weight < 0:
        raise table.error(f"weight is {made.weight:g}.", "It is 0 or more.", "weight")
    if made.type in ("javascript", "python", "ruby", "webhook") or str(made.value).startswith("file://"):
        lost.append(Loss(_at(table, "type"), f"what {made.type} runs", "code of a test is not run here"))
    table.get("$ref")
    lost += [Loss(_at(table, key), f"an assertion's {key}", "it is promptfoo's own") for key in table.rest()]
    return made


def _at(table: Table, key: str) -> str:
    return f"{table.document.path}:{table.document.line((*table.place, key))}"


def _providers(table: Table, lost: list[Loss]) -> tuple[list[str], Any]:
    key = "providers" if "providers" in table else "targets"
    value = table.get(key, [])
    targets, configs = [], []
    for one in [value] if isinstance(value, str) else table.items(key):
        if isinstance(one, str):
            targets.append(one)
        elif isinstance(one, dict):
            named = "id" in one or len(one) != 1
            name, inner = (one.get("id"), one) if named else next(iter(one.items()))
            targets.append(str(name))
            configs.append((inner or {}).get("config") or {})
    if len(configs) > 1:
        lost.append(Loss(_at(table, key), "settings of all providers but the first", "a prompt has one set of them"))
    return targets, chat.settings(configs[0] if configs else {}, NAMES, _at(table, key), lost)


def _prompts(table: Table, open: Open, lost: list[Loss]) -> Iterator[tuple[str, str]]:
    value = table.get("prompts", [])
    for n, one in enumerate([value] if isinstance(value, (str, dict)) else table.items("prompts")):
        said = one if isinstance(one, dict) else {"raw": str(one)}
        source = str(said.get("raw") or said.get("id") or "")
        name = str(said.get("label") or said.get("id") or f"prompt-{n + 1}")
        if source.startswith("file://"):
            where, name = source.removeprefix("file://"), source.rpartition("/")[2].partition(".")[0]
            if not where.endswith((".txt", ".md", ".json", ".yaml", ".yml", ".j2")):
                lost.append(Loss(_at(table, "prompts"), source, "prompts that are programs are not run here"))
                continue
            for part, piece in enumerate(open(where).split("\n---\n")):
                yield (name if not part else f"{name}-{part + 1}"), piece.removesuffix("\n")
        else:
            yield name, source


def _messages(source: str) -> list[tuple[str, str]]:
    """A prompt's text is one message of the user, or a list of messages in JSON or YAML."""
    if source.lstrip().startswith(("[", "- role")):
        try:
            value = document.load(source, "prompt").value
        except NookError:
            value = None
        if isinstance(value, list) and value and all(isinstance(one, dict) and "role" in one for one in value):
            return [(str(one["role"]), str(one.get("content", ""))) for one in value]
    return [("user", source)]


def _cases(table: Table, open: Open, lost: list[Loss], place: Place = ("tests",)) -> Iterator[Case]:
    templates = table.mapping("assertionTemplates")
    shared = table.table("defaultTest") if isinstance(table.get("defaultTest", {}), dict) else None
    if shared is None:
        lost.append(Loss(_at(table, "defaultTest"), "defaultTest in another file", "put it into this one"))
        shared = Table(table.document, ("defaultTest",), {})
    common = tuple(assertion(one, templates, lost) for one in shared.tables("assert"))
    said = table.get("tests", [])
    sources = [said] if isinstance(said, str) else said
    n = 0
    for where, one in enumerate(sources if isinstance(sources, list) else []):
        for test in _tests(table, (*place, where), one, open, lost):
            for values in _combined({**shared.mapping("vars"), **test.mapping("vars")}, test):
                n += 1
                own = tuple(assertion(one, templates, lost) for one in test.tables("assert"))
                yield _case(test, f"test {n}", values, (*common, *own))
            lost += [Loss(_at(test, key), f"a test's {key}", "it says how promptfoo runs it") for key in test.rest()]


def _case(test: Table, name: str, values: dict[str, Any], checks: tuple[Assertion, ...]) -> Case:
    metadata, ids = dict(test.mapping("metadata")), test.table("metadata").texts("requirements")
    metadata.pop("requirements", None)
    named = test.text("description") or name
    return Case(named, values, checks, ids, test.maybe("threshold"), metadata)


def _tests(table: Table, place: Place, one: Any, open: Open, lost: list[Loss]) -> Iterator[Table]:
    """The tests that an entry stands for: itself, or those of the file it names."""
    if isinstance(one, dict):
        yield Table(table.document, place, one)
        return
    name = str(one).removeprefix("file://")
    if name.endswith((".yaml", ".yml", ".json")):
        inner = document.load(open(name), name)
        for n in range(len(inner.value) if isinstance(inner.value, list) else 0):
            yield inner.table((n,))
    elif name.endswith(".csv"):
        try:
            for row in csv.DictReader(io.StringIO(open(name))):
                yield Table(table.document, place, _row(row))
        except csv.Error as error:
            raise NookError("prompt-file", f"{name} cannot be read: {error}.", "Save it as CSV.") from None
    else:
        lost.append(Loss(_at(table, "tests"), str(one), "tests are read from YAML, JSON and CSV"))


def _row(row: Mapping[str, str]) -> dict[str, Any]:
    """A line of promptfoo's CSV: columns are variables, those that begin with __ say what is expected."""
    expected = [value for key, value in row.items() if key and key.startswith("__expected") and value]
    asserts = []
    for said in expected:
        kind, colon, value = said.partition(":")
        known = colon and kind.replace("-", "").isalpha() and kind.islower() and " " not in kind
        asserts.append({"type": kind, "value": value.strip()} if known else {"type": "equals", "value": said})
    test: dict[str, Any] = {"vars": {key: value for key, value in row.items() if key and not key.startswith("__")}}
    if about := row.get("__description"):
        test["description"] = about
    return test | ({"assert": asserts} if asserts else {})


def _combined(values: dict[str, Any], test: Table) -> Iterator[dict[str, Any]]:
    """A variable with a list of values stands for a test with each, as in promptfoo."""
    lists = [value if isinstance(value, list) else [value] for value in values.values()]
    if (count := math.prod(map(len, lists))) > MOST:
        raise test.error(f"vars stands for {count} tests.", f"It may stand for {MOST:,}.", "vars")
    for chosen in itertools.product(*lists):
        yield dict(zip(values, chosen, strict=True))


def _test(case: Case) -> dict[str, Any]:
    test: dict[str, Any] = {"description": case.name, "vars": {
        key: [value] if isinstance(value, list) else value for key, value in case.values.items()
    }}  # fmt: skip
    if case.threshold is not None:
        test["threshold"] = case.threshold
    metadata = dict(case.metadata) | ({"requirements": list(case.requirements)} if case.requirements else {})
    if metadata:
        test["metadata"] = metadata
    if case.assertions:
        test["assert"] = [_told(one) for one in case.assertions]
    return test


def _told(one: Assertion) -> dict[str, Any]:
    said: dict[str, Any] = {"type": one.type}
    if one.value is not None:
        said["assert" if one.type == "assert-set" else "value"] = one.value
    if one.threshold is not None:
        said["threshold"] = one.threshold
    if one.weight != 1:
        said["weight"] = one.weight
    if one.metric:
        said["metric"] = one.metric
    config = dict(one.config) | ({"requirements": list(one.requirements)} if one.requirements else {})
    return said | ({"config": config} if config else {})
