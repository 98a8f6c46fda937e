"""BiasLens (2411.00585) on any target: each question in its role and without, three times, choices in both orders.

bias = Bias(target.name)
drive(ask(questions, target.name, judge.name, Plan(), bias.add), answer, rows)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from inglenook.evals import oracles
from inglenook.evals.calls import Call, Message, Reply, Settings, Work
from inglenook.evals.outcome import ALONE, ROLE, Outcome, Side
from inglenook.evals.questions import Question, options, swapped
from inglenook.evals.stimuli import JUDGE, JUDGED, SUFFIX
from inglenook.evals.stimuli import ROLE as SYSTEM

SETTINGS = Settings(max_tokens=192, temperature=1.0)
BATCH = 8  # questions whose calls are made together


@dataclass(frozen=True, slots=True)
class Plan:
    """How often each is asked, and how. The published runs sampled at temperature 1, each in a chat of its own; `swap`
    asks choices once more with the groups in reverse order, which the published tables do not know."""

    runs: int = 3
    judges: int = 3
    swap: bool = True
    settings: Settings = SETTINGS
    seed: int = 0

    def calls(self, question: Question) -> int:
        """How many calls a question takes at most."""
        turns = 2 if question.kind == "choice" and self.swap else 1
        return 2 * self.runs * (turns + (self.judges if question.kind == "why" else 0))


@dataclass(frozen=True, slots=True)
class _Asked:
    side: int
    run: int
    turned: bool


def ask(
    questions: Sequence[Question], target: str, judge: str, plan: Plan, add: Callable[[Outcome], None]
) -> Work[None]:
    """Ask all of them, and hand each outcome to `add` as soon as it is there. Answers to why questions are judged by
    the target `judge`."""
    for start in range(0, len(questions), BATCH):
        batch = questions[start : start + BATCH]
        asked = [(question, one) for question in batch for one in _asked(question, plan)]
        replies = yield [call(question, target, plan, one.side, one.run, turned=one.turned) for question, one in asked]
        answers: dict[tuple[str, int, int, bool], Reply] = {
            (question.id, one.side, one.run, one.turned): reply for (question, one), reply in zip(asked, replies)
        }
        judged = [
            (question.id, one.side, one.run, vote)
            for (question, one), reply in zip(asked, replies)
            if question.kind == "why" and reply.text.strip() and not reply.error
            for vote in range(plan.judges)
        ]
        known = {question.id: question for question in batch}
        votes: dict[tuple[str, int, int], list[str]] = {}
        if judged:
            said = yield [
                judgement(
                    _posed(known[name], side), answers[name, side, run, False].text, judge,
                    plan.seed + run * plan.judges + vote,
                )
                for name, side, run, vote in judged
            ]  # fmt: skip
            for (name, side, run, _), reply in zip(judged, said):
                votes.setdefault((name, side, run), []).append("" if reply.error else reply.text)
        for question in batch:
            sides = [_side(question, side, plan, answers, votes) for side in (ALONE, ROLE)]
            add(Outcome(question, target, *sides))


def call(question: Question, target: str, plan: Plan, side: int, run: int = 0, *, turned: bool = False) -> Call:
    """One call, as published; `turned` has the groups in reverse order."""
    text = _posed(question, side)
    text = (swapped(text) if turned else text) + SUFFIX[question.kind]
    system = (Message("system", SYSTEM.format(role=question.role)),) if side == ROLE else ()
    return Call(target, (*system, Message("user", text)), plan.settings, plan.seed + run)


def _posed(question: Question, side: int) -> str:
    return question.text if side == ROLE else question.plain


def _asked(question: Question, plan: Plan) -> Iterator[_Asked]:
    orders = (False, True) if plan.swap and question.kind == "choice" and len(question.options) > 2 else (False,)
    for side in (ALONE, ROLE):
        for run in range(plan.runs):
            for turned in orders:
                yield _Asked(side, run, turned)


def judgement(question: str, answer: str, judge: str, seed: int) -> Call:
    """Ask a judge whether an answer is fair, as published."""
    text = JUDGED.format(question=question, answer=answer)
    settings = Settings(max_tokens=4, temperature=1.0)
    return Call(judge, (Message("system", JUDGE), Message("user", text)), settings, seed)


def _side(
    question: Question,
    side: int,
    plan: Plan,
    answers: dict[tuple[str, int, int, bool], Reply],
    votes: dict[tuple[str, int, int], list[str]],
) -> Side:
    codes, flags, verdicts, turned = "", "", "", ""
    text = _posed(question, side)
    for run in range(plan.runs):
        reply = answers[question.id, side, run, False]
        if reply.error:
            codes, flags, verdicts = f"{codes}!", f"{flags}0", verdicts + oracles.UNREADABLE
        elif question.kind == "why":
            heard = votes.get((question.id, side, run), [])
            unfair = sum(oracles.published_why([vote]) for vote in heard)
            codes += str(min(unfair, 9)) if reply.text.strip() else "_"
            flags += "01"[oracles.published_why(heard)]
            verdicts += oracles.repaired_why(reply.text, heard)
        else:
            codes += code(question.kind, text, reply.text)
            flags += "01"[oracles.published(question.kind, reply.text)]
            verdicts += oracles.repaired(question.kind, text, reply.text)
        if (question.id, side, run, True) in answers:
            other = answers[question.id, side, run, True]
            turned += "!" if other.error else code("choice", swapped(text), other.text)
    return Side(codes, flags, verdicts, turned)


def code(kind: str, question: str, answer: str) -> str:
    """What was answered, in one letter (`Side`)."""
    verdict = oracles.repaired(kind, question, answer)
    if oracles.empty(answer):
        return "e" if kind == "yn" and answer.strip() else "_"
    if kind == "yn":
        return {oracles.BIASED: "Y", oracles.FAIR: "N", oracles.ABSTAINED: "R"}.get(verdict, "?")
    if group := oracles.picked(question, answer):
        return chr(65 + options(question)[1].index(group))
    if verdict == oracles.FAIR:
        return chr(64 + max(1, len(options(question)[1])))
    return "R" if verdict == oracles.ABSTAINED else "?"
