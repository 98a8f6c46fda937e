"""What a prompt must do, so that it can be decided: in what share of runs what has to hold, and how sure that must be.

Every requirement, functional or not, comes down to one yes or no a run, and so to one test:

| metric | a run keeps it if |
|---|---|
| `pass` | the assertions that are traced to the requirement hold |
| any of `QUANTITIES` | the quantity is at most (`op` "<=") or at least (">=") `limit` |

The share of such runs must be `threshold`. With a true share of `threshold` a test says "fail" in at most `alpha` of
all cases, with one of `worst` (`threshold - margin`) it says "pass" in at most `beta`; between the two it may say
either. That one statistical form serves all kinds is our reading of O2 of arXiv:2503.02400.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from inglenook.errors import NookError
from inglenook.evals.calls import Reply

Sort: TypeAlias = Literal["functional", "non-functional"]
Quantity: TypeAlias = Literal[
    "first_ms", "total_ms", "token_ms", "prompt_tokens", "completion_tokens", "characters", "words"
]
SORTS: tuple[Sort, ...] = get_args(Sort)
QUANTITIES: tuple[Quantity, ...] = get_args(Quantity)
METRICS = ("pass", *QUANTITIES)
OPS = ("<=", ">=")
ID = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")


@dataclass(frozen=True, slots=True)
class Requirement:
    """One requirement. `needs` names capabilities a model must have for it (`capability.PROBES`)."""

    id: str
    text: str = ""
    sort: Sort = "functional"
    metric: str = "pass"
    op: str = "<="
    limit: float | None = None
    threshold: float = 0.9
    margin: float = 0.15
    alpha: float = 0.05
    beta: float = 0.05
    needs: tuple[str, ...] = ()
    rationale: str = ""

    def __post_init__(self) -> None:
        def refuse(message: str, hint: str) -> NookError:
            return NookError("prompt-requirement", f"The requirement {self.id} {message}.", hint)

        if not ID.fullmatch(self.id):
            raise refuse("has no good id", "Use letters, digits, - _ and a dot, a letter first.")
        for what, value, known in (("sort", self.sort, SORTS), ("metric", self.metric, METRICS), ("op", self.op, OPS)):
            if value not in known:
                raise refuse(f"has the {what} {value!r}", f"One of: {', '.join(known)}.")
        if (self.metric == "pass") != (self.limit is None):
            raise refuse(
                f"has the metric {self.metric}, limit {self.limit}", "Quantities have a limit, `pass` has none."
            )
        if not (self.margin > 0 and self.margin < self.threshold <= 1):
            hint = "0 < margin < threshold <= 1: between threshold - margin and threshold either answer is right."
            raise refuse(f"has the threshold {self.threshold}, margin {self.margin}", hint)
        if not (0 < self.alpha < 0.5 and 0 < self.beta < 0.5):
            raise refuse(f"has alpha {self.alpha}, beta {self.beta}", "Both lie between 0 and 0.5; 0.05 is usual.")

    @property
    def worst(self) -> float:
        """The share that a test must refuse."""
        return self.threshold - self.margin

    def kept(self, reply: Reply, passed: bool) -> bool:
        """Whether a run keeps it. `passed`: whether the run's assertions that are traced to it hold."""
        if reply.error:
            return False
        if self.limit is None:
            return passed
        amount = quantities(reply)[self.metric]
        return amount <= self.limit if self.op == "<=" else amount >= self.limit


def quantities(reply: Reply) -> Mapping[str, float]:
    """What a requirement may bound in a reply: milliseconds, tokens, characters, words."""
    later = max(reply.completion_tokens - 1, 1)
    return {
        "first_ms": reply.first_ms,
        "total_ms": reply.total_ms,
        "token_ms": (reply.total_ms - reply.first_ms) / later,
        "prompt_tokens": reply.prompt_tokens,
        "completion_tokens": reply.completion_tokens,
        "characters": len(reply.text),
        "words": len(reply.text.split()),
    }
