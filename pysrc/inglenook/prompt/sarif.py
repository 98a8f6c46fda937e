"""Findings as SARIF 2.1.0, which editors and code hosts show beside the lines they are about."""

from __future__ import annotations

from collections.abc import Iterable

import inglenook
from inglenook.prompt import file
from inglenook.prompt.ast import Prompt
from inglenook.prompt.lint import RULES
from inglenook.prompt.rule import Finding
from inglenook.types import Json

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


def sarif(files: Iterable[tuple[str, Prompt, Iterable[Finding]]]) -> Json:
    """A log of one run over prompt files: each one's path (with / in it), its prompt, what was found."""
    known = [rule.id for rule in RULES]
    results = [
        {
            "ruleId": one.rule,
            "ruleIndex": known.index(one.rule),
            "level": one.severity,
            "message": {"text": f"{one.message} {one.hint}"},
            "locations": [{"physicalLocation": {"artifactLocation": {"uri": path}, "region": _region(prompt, one)}}],
            "partialFingerprints": {"segment/v1": f"{path}:{one.rule}:{one.segment}:{one.message}"},
        }
        for path, prompt, findings in files
        for one in findings
    ]
    rules = [
        {
            "id": rule.id,
            "shortDescription": {"text": rule.title.capitalize()},
            "defaultConfiguration": {"level": rule.severity},
            "properties": {"dimension": rule.dimension},
        }
        for rule in RULES
    ]
    driver = {"name": "inglenook", "version": inglenook.__version__, "rules": rules}
    return {"$schema": _SCHEMA, "version": "2.1.0", "runs": [
        {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results},
    ]}  # fmt: skip


def _region(prompt: Prompt, finding: Finding) -> Json:
    """Lines and columns from 1; the column of the end is the one after it."""
    line, column = file.place(prompt, finding.segment, finding.start)
    if finding.end <= finding.start:
        return {"startLine": line}
    end, after = file.place(prompt, finding.segment, finding.end)
    return {"startLine": line, "startColumn": column, "endLine": end, "endColumn": after}
