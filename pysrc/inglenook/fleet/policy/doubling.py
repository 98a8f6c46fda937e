"""Preemptive scheduling with a budget that doubles (the idea of SeaLLM, 2504.15720), by what every second of waiting
costs.

Only the paper's abstract and summaries of it could be read, so the formulas here are ours. What is minimised is the
mean of normalised latency, (finish - arrival) / tokens. A second in which an answer does not advance costs it
1/tokens, so

    budget   tokens that an answer is taken to have: first the harmonic mean of its service's; exceeded, it doubles
    weight   E[1/tokens], of the service's answers that are longer than what the budget was before it doubled last
    debt     weight x (seconds since the answer last advanced) ^ `patience`
    worth    of an iteration: the debts it settles / its seconds. The model with the best one runs.

Why not Smith's rule, the smallest expected work x tokens first, which is right for one machine and jobs of known
lengths? Because an iteration serves a whole batch at nearly the price of one answer, and an answer that waits is
served with those that come meanwhile. Models are like pages that a station broadcasts to all who wait for them; there
the best intervals follow a square root (Ammar and Wong, 1985), and the largest (wait x listeners / length) next is
the rule that finds them without knowing the rates (Vaidya and Hameed, 1999, equation for one channel; theirs squares
the wait because their listeners are rates, ours are counted). LOG.md has both rules side by side.

Debts grow while one waits, so no model starves. Against a long tail, the weight grows with the time since arrival:
weight x (1 + seconds x weight / `age`), the generalised c-mu rule (Van Mieghem, 1995) for costs that grow with the
square.

Memory is not part of that order: whom eviction hits is computed again, and a rule that lets the small push out the
large spends more than it saves (LOG.md: more than half of what two larger models read). So nobody starts who would have
to push somebody out, the pages that the oldest of those who wait for memory needs are kept for it, and where answers
outgrow the arena, who came last makes room.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from inglenook.fleet.arena import Arena
from inglenook.fleet.policy import Choice, Queues
from inglenook.fleet.request import Answer
from inglenook.fleet.service import Service

INSTANT = 1e-9  # seconds: what a profile says costs nothing costs a little
MOMENT = 1e-3  # seconds: what advanced just now owes a little, too


class Doubling:
    """`batch` answers and `chunk` tokens an iteration at most; `age`: normalised latency, in seconds a token, at
    which a weight has doubled; `patience`: below 1 it favours who is soon done, at 1 and above who has waited."""

    def __init__(self, batch: int = 16, chunk: int = 512, age: float = 0.1, patience: float = 0.8) -> None:
        self.batch, self.chunk, self.age, self.patience = batch, chunk, age, patience

    def start(self, services: Mapping[str, Service], arena: Arena) -> None:
        self._services, self._arena = services, arena

    def arrive(self, answer: Answer, now: float) -> None:
        outputs = self._services[answer.service].outputs
        answer.weight = outputs.inverse(0)
        answer.budget = 1 / answer.weight

    def choose(self, queues: Queues, now: float) -> Iterator[Choice]:
        unstarted = (answer for queue in queues.values() for answer in queue.values() if not answer.pages)
        oldest = min(unstarted, key=lambda answer: answer.order, default=None)
        proposals = [self._best(name, queue, oldest, now) for name, queue in queues.items() if queue]
        for _, choice in sorted(proposals, key=lambda proposal: -proposal[0]):
            yield choice
        if proposals:
            first = min((next(iter(queue.values())) for queue in queues.values() if queue), key=lambda one: one.order)
            yield Choice(first.service, [(first, min(first.missing, self.chunk))])

    def key(self, answer: Answer, now: float) -> float:
        return answer.arrived

    def ran(self, service: str, answers: Sequence[Answer], seconds: float, now: float) -> None:
        for answer in answers:
            if answer.written > answer.budget:
                answer.weight = self._services[service].outputs.inverse(int(answer.budget))
                answer.budget *= 2

    def debt(self, answer: Answer, now: float) -> float:
        """What it costs that the answer waits since it last advanced."""
        weight = answer.weight * (1 + (now - answer.arrived) * answer.weight / self.age)
        return float(weight * (now - answer.last + MOMENT) ** self.patience)

    def _best(self, name: str, queue: Mapping[str, Answer], oldest: Answer | None, now: float) -> tuple[float, Choice]:
        """The iteration of a model that is worth most, and its worth: answers by debt a second until the batch is
        full. A chunk of a prompt settles its part of the debt. Who holds no pages comes in only if there are enough,
        less those that are kept for `oldest`."""
        profile, free = self._services[name].profile, self._arena.available(name)
        kept = self._pages(oldest) if oldest else 0
        entries = []
        for answer in queue.values():
            pages = 0 if answer.pages else self._pages(answer)
            if pages and pages + (answer is not oldest and kept) > free:
                continue
            count, debt = min(answer.missing, self.chunk), self.debt(answer, now)
            if count == 1:
                seconds = profile.decode + profile.context * answer.computed
            else:
                seconds = count * (profile.prefill + profile.attention * (answer.computed + count / 2))
                debt *= count / answer.missing
            seconds = max(seconds, INSTANT)
            entries.append((-debt / seconds, answer.order, count, seconds, pages, answer))
        entries.sort(key=lambda entry: entry[:2])
        shares: list[tuple[Answer, int]] = []
        room, spent, worth = self.chunk, profile.base, 0.0
        for rate, _, count, seconds, pages, answer in entries:
            taken = min(count, room)
            if len(shares) == self.batch or not taken:
                break
            if pages > free:
                continue
            shares.append((answer, taken))
            room, free = room - taken, free - pages
            spent += seconds * taken / count
            worth -= rate * seconds * taken / count
        return worth / spent, Choice(name, shares)

    def _pages(self, answer: Answer) -> int:
        """How many pages all its tokens so far take."""
        return self._arena.pages_for(answer.service, len(answer.tokens))
