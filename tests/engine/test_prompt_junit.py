"""Results as JUnit: well-formed whatever they hold, and counted right."""

from __future__ import annotations

from xml.etree.ElementTree import fromstring

from hypothesis import given
from hypothesis import strategies as st
from inglenook.prompt.case import Result
from inglenook.prompt.junit import junit

RESULTS = [
    Result("one", "pass", 20, 19, 1.5, requirements=("R1",)),
    Result("two", "fail", 8, 3, 0.25, "said <b> & not b"),
    Result("three", "undecided", 60, 50),
]


def test_each_decision_has_its_element() -> None:
    suite = fromstring(junit("triage", RESULTS))[0]
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped"), suite.get("time")) == (
        "3",
        "1",
        "1",
        "1.750",
    )
    one, two, three = suite
    assert [child.tag for child in one] == ["properties"]
    assert {p.get("name"): p.get("value") for p in one[0]} == {"runs": "20", "kept": "19", "requirement": "R1"}
    assert two.find("failure").text == "said <b> & not b"
    assert three.find("skipped").get("message") == "undecided: 50 of 60 runs kept it"


@given(st.text(), st.text(), st.sampled_from(["pass", "fail", "undecided"]))
def test_any_text_gives_xml_that_can_be_read(name, message, decision) -> None:
    case = fromstring(junit(name, [Result(name, decision, message=message)]).encode("utf-8", "strict"))[0][0]
    assert len(case.get("name")) == len(name)
