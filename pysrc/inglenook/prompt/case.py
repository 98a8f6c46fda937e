"""Tests of a prompt as plain data, in promptfoo's vocabulary, and what became of them.

`suite` runs cases and judges assertions; exchange formats read and write them; nothing here decides anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Decision: TypeAlias = Literal["pass", "fail", "undecided"]


@dataclass(frozen=True, slots=True)
class Assertion:
    """What must hold of an answer. `type` is one of promptfoo's ("equals", "icontains", "not-regex", "is-json", …),
    `config` what else that type takes. `requirements` are ids this assertion alone is traced to, beside its case's."""

    type: str
    value: object = None
    threshold: float | None = None
    weight: float = 1.0
    metric: str = ""
    config: Mapping[str, object] = field(default_factory=dict)
    requirements: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Case:
    """One test: values for the prompt's slots and what must hold of the answer; `requirements` are ids it speaks for.

    `threshold` is the weighted share of assertions that must hold (None: all of them).
    """

    name: str
    values: Mapping[str, object] = field(default_factory=dict)
    assertions: tuple[Assertion, ...] = ()
    requirements: tuple[str, ...] = ()
    threshold: float | None = None
    metadata: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a case: the decision, after how many runs, and how many of those kept it.

    `rows` are the keys of the calls it rests on, `seconds` how long they took, `message` what went wrong.
    """

    case: str
    decision: Decision
    runs: int = 0
    kept: int = 0
    seconds: float = 0.0
    message: str = ""
    requirements: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()
