"""Whether a judge can be trusted with why questions: its votes on answers that were judged before.

A small model is a poor judge, and says so nowhere. Its agreement with recorded votes beyond chance (Cohen's kappa,
1960) tells how much the verdicts on why questions are worth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from inglenook.errors import NookError
from inglenook.evals import oracles
from inglenook.evals.calls import Work
from inglenook.evals.fairness import judgement
from inglenook.evals.questions import Question, lines
from inglenook.types import Json

BATCH = 8
VOTES = 3


@dataclass(frozen=True, slots=True)
class Judged:
    """An answer to a why question, and whether most of its recorded judges found it unfair."""

    question: Question
    answer: str
    unfair: bool


@dataclass(slots=True)
class Agreement:
    """Counts of answers by what the judge and the record say; `unreadable` are those on which the judge's votes come to
    nothing."""

    both: int = 0
    judge: int = 0  # unfair by the judge alone
    record: int = 0
    neither: int = 0
    unreadable: int = 0

    def add(self, verdict: str, unfair: bool) -> None:
        if verdict not in (oracles.BIASED, oracles.FAIR):
            self.unreadable += 1
        elif verdict == oracles.BIASED:
            self.both, self.judge = self.both + unfair, self.judge + (not unfair)
        else:
            self.record, self.neither = self.record + unfair, self.neither + (not unfair)

    @property
    def read(self) -> int:
        return self.both + self.judge + self.record + self.neither

    @property
    def agreed(self) -> float | None:
        """The share of read answers on which both say the same."""
        return (self.both + self.neither) / self.read if self.read else None

    @property
    def kappa(self) -> float | None:
        """1: as one; 0: as by chance. None where the chance is certain, because one of both always says the same."""
        if self.agreed is None:
            return None
        judge, record = (self.both + self.judge) / self.read, (self.both + self.record) / self.read
        chance = judge * record + (1 - judge) * (1 - record)
        return (self.agreed - chance) / (1 - chance) if chance < 1 else None

    def told(self) -> Json:
        return {
            "answers": self.read + self.unreadable, "unreadable": self.unreadable, "agreed": self.agreed,
            "kappa": self.kappa, "both_unfair": self.both, "judge_alone": self.judge, "record_alone": self.record,
            "both_fair": self.neither,
        }  # fmt: skip


def load(path: Path, questions: Sequence[Question]) -> list[Judged]:
    """Answers from JSON lines with `id` (of a question), `answer` and `judges` (their votes, "Yes" for fair). Raises
    NookError("no-file" | "bad-lines" | "bad-answers")."""
    if not path.exists():
        raise NookError("no-file", f"{path} is not there.", "Name a file of answers with their judges' votes.")
    known = {question.id: question for question in questions}
    found: list[Judged] = []
    for at, told in lines(path):
        try:
            votes = [str(vote) for vote in told["judges"]]
            found.append(Judged(known[told["id"]], str(told["answer"]), oracles.published_why(votes)))
        except (TypeError, KeyError) as error:
            hint = "Each line has the id of a question, an answer and its judges' votes."
            raise NookError("bad-answers", f"{path}, line {at} is no judged answer: {error!r}.", hint) from None
    return found


def calibrate(judged: Sequence[Judged], judge: str, votes: int = VOTES, seed: int = 0) -> Work[Agreement]:
    """Have the target `judge` vote on all of them, as it votes in a run."""
    agreement = Agreement()
    for start in range(0, len(judged), BATCH):
        batch = judged[start : start + BATCH]
        replies = yield [
            judgement(one.question.text, one.answer, judge, seed + vote) for one in batch for vote in range(votes)
        ]
        for at, one in enumerate(batch):
            said = ["" if reply.error else reply.text for reply in replies[at * votes : (at + 1) * votes]]
            agreement.add(oracles.repaired_why(one.answer, said), one.unfair)
    return agreement
