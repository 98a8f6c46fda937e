"""What holds of an answer: promptfoo's assertions, judged.

| assertion | holds if |
|---|---|
| `equals`, `contains`, `icontains`, `starts-with`, `regex` | as they say; `equals` of an object compares JSON |
| `contains-any`, `contains-all`, `icontains-any`, `icontains-all` | of a list, or words between commas |
| `is-json`, `contains-json` | the text is JSON, or has some; with a schema as value, such that it allows |
| `latency`, `cost` | milliseconds and tokens (read and written) are at most the threshold |
| `similar` | the cosine of the two texts under the encoder is at least the threshold (0.75) |
| `llm-rubric` | the grader, a target of its own, says so as JSON |
| `python` | an expression of `output` and `context`, or lines that return; only where code is allowed |

`not-` before any turns it round. In values `{{name}}` is the case's value. Each gives a score between 0 and 1; a case
holds if all its assertions of weight > 0 do, or with a threshold, if their weighted mean reaches it. `javascript` is
refused: there is no second language here.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from inglenook import depth
from inglenook.errors import NookError
from inglenook.evals.calls import Call, Message, Reply, Settings, Work
from inglenook.prompt.ast import nearest, short
from inglenook.prompt.case import Assertion, Case
from inglenook.prompt.schema import equal, faults
from inglenook.types import Json

Context = Mapping[str, object]

GRADE: Json = {
    "type": "object", "properties": {"reason": {"type": "string", "maxLength": 300}, "pass": {"type": "boolean"}},
    "required": ["reason", "pass"], "additionalProperties": False,
}  # fmt: skip
RUBRIC = (
    "You grade an answer by one rule. Quote what in the answer decides, then say whether the rule is kept.\n"
    'Write JSON only: {{"reason": "…", "pass": true or false}}\n\nRule: {rule}\n\nAnswer:\n{answer}'
)
LIKE = 0.75  # promptfoo's threshold of `similar`


@dataclass(frozen=True, slots=True)
class Judges:
    """What judges beside the rules: `grader` and `encoder` name targets, `code` allows Python of the suite to run.

    The encoder answers a call with the JSON list of a text's vector.
    """

    grader: str = ""
    encoder: str = ""
    code: bool = False


@dataclass(frozen=True, slots=True)
class Held:
    """One assertion after one run: whether it held, its score 0 … 1, and why not. What could not be judged is not
    `known`: it does not hold, turned round or not."""

    passed: bool
    score: float
    reason: str = ""
    known: bool = True


@dataclass(frozen=True, slots=True)
class Judged:
    """A case after one run: whether it held, its score, and its assertions in order."""

    passed: bool
    score: float
    held: tuple[Held, ...] = field(default=())

    @property
    def reason(self) -> str:
        return "; ".join(one.reason for one in self.held if not one.passed and one.reason)


def check(case: Case, judges: Judges) -> None:
    """Refuse, before anything runs, assertions that could not be judged. Raises NookError("assertion")."""
    for assertion in case.assertions:
        kind = _kind(assertion)
        where = f"in the case {case.name}"
        if kind == "javascript":
            hint = "Write it as python: or with rules such as regex, is-json, contains-any."
            raise NookError("assertion", f"There is a javascript assertion {where}, and no JavaScript here.", hint)
        if kind not in (*_RULES, "similar", "llm-rubric", "python"):
            raise NookError("assertion", f"The assertion {assertion.type!r} {where} is unknown.",
                            nearest(kind, [*_RULES, "similar", "llm-rubric", "python"]))  # fmt: skip
        if kind == "python" and not judges.code:
            hint = "If you trust this suite, allow it: --allow-code."
            raise NookError("assertion", f"A python assertion {where} would run code of the suite.", hint)
        for needed, name, option in (
            ("llm-rubric", judges.grader, "--grader"),
            ("similar", judges.encoder, "--encoder"),
        ):
            if kind == needed and not name:
                raise NookError("assertion", f"{kind} {where} needs another target.", f"Name one: {option} TARGET.")
        if kind in ("latency", "cost") and assertion.threshold is None:
            raise NookError("assertion", f"{kind} {where} has no threshold.", "Give milliseconds, or tokens.")
        if kind == "regex":
            try:
                re.compile(str(assertion.value))
            except re.error as error:
                message = f"{short(assertion.value)} {where} is no regular expression: {error}."
                raise NookError("assertion", message, "Mind brackets, and double backslashes in quotes.") from None
        if kind.endswith("is-json") or kind == "contains-json":
            list(faults(assertion.value, None)) if isinstance(assertion.value, dict) else None


def judge(case: Case, reply: Reply, judges: Judges) -> Work[Judged]:
    """Judge one run of a case; graders and encoders are asked in one batch. A failed call holds nothing."""
    if reply.error:
        return Judged(False, 0.0, tuple(Held(False, 0.0, reply.error, False) for _ in case.assertions))
    filled = [_filled(one, case.values) for one in case.assertions]
    questions = [_questions(one, reply, judges) for one in filled]
    calls = [call for some in questions for call in some]
    answers = iter((yield calls) if calls else [])
    held = []
    for one, some in zip(filled, questions):
        found = _held(one, reply, case, [next(answers) for _ in some])
        if one.type.startswith("not-") and found.known:
            found = Held(not found.passed, 1 - found.score, f"{one.type} {short(one.value)} does not hold")
        held.append(found)
    weights = [one.weight for one in case.assertions]
    total = sum(weights)
    score = sum(weight * one.score for weight, one in zip(weights, held)) / total if total else 1.0
    if case.threshold is None:
        passed = all(one.passed for weight, one in zip(weights, held) if weight > 0)
    else:
        passed = score >= case.threshold
    return Judged(passed, min(1.0, score), tuple(held))


def _kind(assertion: Assertion) -> str:
    return assertion.type.removeprefix("not-")


def _filled(assertion: Assertion, values: Mapping[str, object]) -> Assertion:
    def fill(value: Any) -> Any:
        if isinstance(value, str):
            return re.sub(r"\{\{\s*(\w+)\s*\}\}", lambda found: str(values.get(found[1], found[0])), value)
        if isinstance(value, list):
            return [fill(item) for item in value]
        return value

    config = {"config": assertion.config, "requirements": assertion.requirements}
    return Assertion(assertion.type, fill(assertion.value), assertion.threshold, assertion.weight, **config)  # type: ignore[arg-type]


def _questions(assertion: Assertion, reply: Reply, judges: Judges) -> list[Call]:
    kind = _kind(assertion)
    if kind == "similar":
        return [Call(judges.encoder, (Message("user", text),)) for text in (str(assertion.value), reply.text)]
    if kind == "llm-rubric":
        said = RUBRIC.format(rule=assertion.value, answer=reply.text)
        form: Json = {"type": "json_schema", "json_schema": {"name": "grade", "schema": GRADE}}
        return [Call(judges.grader, (Message("user", said),), Settings(max_tokens=200, response_format=form))]
    return []


def _held(assertion: Assertion, reply: Reply, case: Case, answers: Sequence[Reply]) -> Held:
    kind = _kind(assertion)
    if failed := next((one.error for one in answers if one.error), ""):
        return Held(False, 0.0, f"not judged: {failed}", False)
    if kind == "similar":
        return _similar(assertion, answers)
    if kind == "llm-rubric":
        return _graded(answers[0])
    if kind == "python":
        return _code(str(assertion.value), reply.text, case)
    return _RULES[kind](assertion, reply)


# ── rules ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _told(passed: bool, reason: str) -> Held:
    return Held(passed, float(passed), reason)


def _equals(assertion: Assertion, reply: Reply) -> Held:
    if isinstance(assertion.value, (dict, list)):
        try:
            same = equal(assertion.value, depth.parse(reply.text))
        except ValueError:
            same = False
    else:
        same = reply.text == str(assertion.value)
    return _told(same, f"the answer is not {short(assertion.value)}")


def _contains(fold: bool, every: bool | None = None) -> Callable[[Assertion, Reply], Held]:
    def rule(assertion: Assertion, reply: Reply) -> Held:
        value = assertion.value
        if every is None:
            wanted = [str(value)]
        else:
            wanted = (
                [str(one) for one in value] if isinstance(value, list) else [w.strip() for w in str(value).split(",")]
            )
        text = reply.text.casefold() if fold else reply.text
        found = [(one.casefold() if fold else one) in text for one in wanted]
        passed = any(found) if every is False else all(found)
        missing = ", ".join(short(one) for one, there in zip(wanted, found) if not there)
        return Held(
            passed, float(passed) if every is None else sum(found) / max(len(found), 1), f"the answer lacks {missing}"
        )

    return rule


def _starts(assertion: Assertion, reply: Reply) -> Held:
    return _told(
        reply.text.startswith(str(assertion.value)), f"the answer does not start with {short(assertion.value)}"
    )


def _regex(assertion: Assertion, reply: Reply) -> Held:
    return _told(re.search(str(assertion.value), reply.text) is not None, f"nothing matches {short(assertion.value)}")


def _is_json(assertion: Assertion, reply: Reply) -> Held:
    try:
        value = depth.parse(reply.text)
    except ValueError as error:
        return _told(False, f"the answer is no JSON: {error}")
    return _fits(assertion.value, value)


def _contains_json(assertion: Assertion, reply: Reply) -> Held:
    """The first object or list that stands in the text and that the schema allows."""
    last, decoder = "the answer has no JSON", json.JSONDecoder()
    for start in re.finditer(r"[\[{]", reply.text):
        rest = reply.text[start.start() :]
        try:
            value, _ = decoder.raw_decode(rest) if depth.depth(rest) <= depth.DEEPEST else (None, 0)
        except ValueError:
            continue
        if isinstance(value, (dict, list)):
            found = _fits(assertion.value, value)
            if found.passed:
                return found
            last = found.reason
    return _told(False, last)


def _fits(schema: object, value: Any) -> Held:
    fault = next(faults(schema, value), "") if schema is not None and schema != "" else ""
    return _told(not fault, fault)


def _latency(assertion: Assertion, reply: Reply) -> Held:
    limit = assertion.threshold or 0.0
    return _told(reply.total_ms <= limit, f"it took {reply.total_ms:.0f} ms, more than {limit:g}")


def _cost(assertion: Assertion, reply: Reply) -> Held:
    tokens, limit = reply.prompt_tokens + reply.completion_tokens, assertion.threshold or 0.0
    return _told(tokens <= limit, f"it took {tokens} tokens, more than {limit:g}")


_RULES: dict[str, Callable[[Assertion, Reply], Held]] = {
    "equals": _equals, "contains": _contains(False), "icontains": _contains(True),
    "contains-all": _contains(False, True), "contains-any": _contains(False, False),
    "icontains-all": _contains(True, True), "icontains-any": _contains(True, False),
    "starts-with": _starts, "regex": _regex, "is-json": _is_json, "contains-json": _contains_json,
    "latency": _latency, "cost": _cost,
}  # fmt: skip


# ── what asks, what runs ──────────────────────────────────────────────────────────────────────────────────────────


def _similar(assertion: Assertion, answers: Sequence[Reply]) -> Held:
    try:
        a, b = ([float(x) for x in depth.parse(one.text)] for one in answers)
        sizes = math.sqrt(sum(x * x for x in a) * sum(x * x for x in b))
        cosine = sum(x * y for x, y in zip(a, b, strict=True)) / sizes if sizes else 0.0
    except (ValueError, TypeError):
        return Held(False, 0.0, "not judged: the encoder gave no vectors", False)
    limit = LIKE if assertion.threshold is None else assertion.threshold
    return Held(cosine >= limit, min(1.0, max(0.0, cosine)), f"the cosine is {cosine:.2f}, less than {limit:g}")


def _graded(answer: Reply) -> Held:
    try:
        grade = depth.parse(answer.text)
        passed, reason = grade["pass"], str(grade.get("reason", ""))
    except (ValueError, TypeError, KeyError, AttributeError):
        return Held(False, 0.0, "not judged: the grader gave no verdict", False)
    return _told(passed is True, reason)


def _code(source: str, output: str, case: Case) -> Held:
    scope: dict[str, Any] = {"output": output, "context": {"vars": dict(case.values)}}
    try:
        if "\n" in source.strip():
            lines = "\n".join("    " + line for line in source.strip().splitlines())
            exec(f"def main(output, context):\n{lines}", scope)
            found = scope["main"](output, scope["context"])
        else:
            found = eval(source.strip(), scope)
    except Exception as error:
        return Held(False, 0.0, f"its python failed: {type(error).__name__}: {error}", False)
    if isinstance(found, bool):
        return _told(found, "its python says no")
    if isinstance(found, dict):
        score = float(found.get("score", bool(found.get("pass"))))
        return Held(bool(found.get("pass", score > 0)), min(1.0, max(0.0, score)), str(found.get("reason", "")))
    if isinstance(found, (int, float)):
        return Held(found > 0, min(1.0, max(0.0, float(found))), f"its python scores {found:g}")
    return Held(False, 0.0, f"its python gave {short(found)}, which is neither true, false nor a score", False)
