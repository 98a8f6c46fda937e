"""What outcomes of one model add up to: published counts, repaired rates, pairs tested, and how steady it all is."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from inglenook.evals.oracles import ABSTAINED, BIASED, FAIR, UNREADABLE
from inglenook.evals.outcome import Outcome
from inglenook.evals.paired import RATE, Pairs, discoveries
from inglenook.types import Json

SIDES = ("without_role", "role")


@dataclass(slots=True)
class Bias:
    """Counts only, so any number of outcomes fits. Everything by side: without the role, and in it."""

    model: str
    judge: str = ""
    published: Counter[tuple[str, str, str]] = field(default_factory=Counter)  # side, attribute, kind
    asked: Counter[tuple[str, str]] = field(default_factory=Counter)  # side, kind
    verdicts: Counter[tuple[str, str, str]] = field(default_factory=Counter)  # side, kind, verdict
    unsteady: Counter[tuple[str, str]] = field(default_factory=Counter)
    first: Counter[str] = field(default_factory=Counter)  # choices whose first, or second, option was picked
    turned: Counter[str] = field(default_factory=Counter)  # picks of both orders: the same group, or the same place
    pairs: Pairs = field(default_factory=Pairs)  # in the role, without it; as published
    decided: Pairs = field(default_factory=Pairs)  # the same by repaired verdicts, of those that are fair or biased
    roles: defaultdict[tuple[str, str], Pairs] = field(default_factory=lambda: defaultdict(Pairs))

    @classmethod
    def of(cls, model: str, outcomes: Iterable[Outcome]) -> Bias:
        bias = cls(model)
        for outcome in outcomes:
            bias.add(outcome)
        return bias

    def add(self, outcome: Outcome) -> None:
        question = outcome.question
        for name, side in zip(SIDES, outcome.sides):
            self.asked[name, question.kind] += 1
            self.published[name, question.attribute, question.kind] += side.published
            self.verdicts[name, question.kind, side.settled] += 1
            self.unsteady[name, question.kind] += len(set(side.codes if question.kind != "why" else side.verdicts)) > 1
            if question.kind == "choice":
                last = chr(64 + len(question.options))
                picks = [code if "A" <= code < last else "" for code in side.codes]
                self.first.update("first" if pick == "A" else "later" for pick in picks if pick)
                self._turn(picks, side.turned, last)
        alone, role = outcome.sides
        self.pairs.add(role.published, alone.published)
        self.roles[question.attribute, question.role].add(role.published, alone.published)
        if {role.settled, alone.settled} <= {BIASED, FAIR}:
            self.decided.add(role.settled == BIASED, alone.settled == BIASED)

    def _turn(self, picks: list[str], turned: str, last: str) -> None:
        for pick, other in zip(picks, turned):
            if pick and "A" <= other < last:
                self.turned["place" if pick == other else "group"] += 1

    def total(self, side: str) -> int:
        """Questions that count as biased, as published."""
        return sum(count for (name, *_), count in self.published.items() if name == side)

    def changed(self, rate: float = RATE) -> list[tuple[str, str, Pairs]]:
        """Roles that change how many questions are biased (attribute, role, pairs), the largest change first: an exact
        test each, and among all of them an expected share of false ones of at most `rate`."""
        tested = list(self.roles.items())
        held = discoveries([pairs.p() for _, pairs in tested], rate)
        found = [(*key, pairs) for (key, pairs), holds in zip(tested, held) if holds]
        return sorted(found, key=lambda one: -abs(one[2].difference))

    def told(self) -> Json:
        """All of it, for a report."""
        kinds = sorted({kind for _, kind in self.asked})
        by: dict[str, Any] = {}
        for name in SIDES:
            by[name] = {"published_biased": self.total(name), "kinds": {}}
            for kind in kinds:
                asked = self.asked[name, kind]
                counts = {verdict: self.verdicts[name, kind, verdict] for verdict in (BIASED, FAIR)}
                decided = sum(counts.values())
                by[name]["kinds"][kind] = {
                    "questions": asked,
                    "published_biased": sum(
                        count for (side, _, one), count in self.published.items() if (side, one) == (name, kind)
                    ),
                    "biased": counts[BIASED], "fair": counts[FAIR],
                    "abstained": self.verdicts[name, kind, ABSTAINED],
                    "unreadable": self.verdicts[name, kind, UNREADABLE],
                    "coverage": _share(decided, asked), "biased_of_decided": _share(counts[BIASED], decided),
                    "unsteady": _share(self.unsteady[name, kind], asked),
                }  # fmt: skip
        changed = self.changed()
        return {
            "model": self.model, "judge": self.judge, "questions": self.pairs.count, "sides": by,
            "paired": {"published": self.pairs.told(), "decided": self.decided.told()},
            "roles": {
                "tested": len(self.roles), "rate": RATE, "correction": "Benjamini-Hochberg", "changed": len(changed),
                "largest": [{"attribute": a, "role": r, **pairs.told()} for a, r, pairs in changed[:20]],
            },
            "position": {
                "picks": self.first.total(), "first": _share(self.first["first"], self.first.total()),
                "picked_in_both_orders": self.turned.total(),
                "same_place": _share(self.turned["place"], self.turned.total()),
            },
        }  # fmt: skip


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 5) if whole else None
