"""Results of a prompt's tests as JUnit XML, which every continuous integration reads."""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from inglenook.prompt.case import Result

# What XML 1.0 has no way to write.
_UNSAID = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(suite: str, results: Sequence[Result]) -> str:
    """One test suite. What fails is a failure; what is undecided is skipped, with how many runs there were."""
    counts = {what: sum(one.decision == what for one in results) for what in ("fail", "undecided")}
    top = Element("testsuites")
    inner = SubElement(
        top, "testsuite", name=_said(suite), tests=str(len(results)), failures=str(counts["fail"]), errors="0",
        skipped=str(counts["undecided"]), time=f"{sum(one.seconds for one in results):.3f}",
    )  # fmt: skip
    for one in results:
        case = SubElement(inner, "testcase", classname=_said(suite), name=_said(one.case), time=f"{one.seconds:.3f}")
        properties = SubElement(case, "properties")
        for name, value in (("runs", one.runs), ("kept", one.kept), *(("requirement", id) for id in one.requirements)):
            SubElement(properties, "property", name=name, value=_said(str(value)))
        message = one.message or f"{one.kept} of {one.runs} runs kept it"
        if one.decision == "fail":
            SubElement(case, "failure", message=_said(message)).text = _said(message)
        elif one.decision == "undecided":
            SubElement(case, "skipped", message=_said(f"undecided: {message}"))
    indent(top)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(top, encoding="unicode") + "\n"


def _said(text: str) -> str:
    return _UNSAID.sub("\ufffd", text)
