"""Prompts one after another: each fills its slots from what was given and from what the ones before it wrote.

Recording is the rows' business: every call of a chain has its row, so a second run with its rows asks nothing. To
*replay*, drive it with `recorded` in the place of a target: a call without a row is then an error that names it.
A step that is stubbed is not asked; so each can be tested by itself, with recorded outputs of the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from inglenook.errors import NookError
from inglenook.evals.calls import Call, Reply, Work
from inglenook.prompt.ast import Prompt, nearest
from inglenook.prompt.case import Case
from inglenook.prompt.oracle import Judged, Judges, check, judge
from inglenook.prompt.suite import NO_JUDGES


@dataclass(frozen=True, slots=True)
class Link:
    """A step: its prompt, and of its slots where they come from: the name of an input or of an earlier step. A slot
    that is not named takes what has its own name, if there is such a thing."""

    name: str
    prompt: Prompt
    slots: Mapping[str, str] = field(default_factory=dict)
    target: str = ""


@dataclass(frozen=True, slots=True)
class Chained:
    """What a chain did: the replies of its steps by name (a stub's, too), the calls that were asked, the verdict on the
    last answer, and the step that `broke`, after which nothing ran ("": none)."""

    replies: Mapping[str, Reply]
    calls: Mapping[str, Call]
    judged: Judged
    broke: str = ""


def run(
    links: Sequence[Link], case: Case, target: str = "", judges: Judges = NO_JUDGES, *,
    stubs: Mapping[str, str] | None = None, seed: int = 0,
) -> Work[Chained]:  # fmt: skip
    """Run a chain; the case has its inputs, its assertions judge the last answer. Raises NookError("chain") for steps
    that take what is not there, before anything runs."""
    stubs = stubs or {}
    _check(links, case, stubs)
    check(case, judges)
    known: dict[str, object] = dict(case.values)
    replies: dict[str, Reply] = {}
    calls: dict[str, Call] = {}
    for link in links:
        if link.name in stubs:
            reply = Reply(stubs[link.name])
        else:
            call = link.prompt.call(_values(link, known), link.target or target, seed)
            calls[link.name] = call
            [reply] = yield [call]
        replies[link.name] = reply
        known[link.name] = reply.text
        if reply.error:
            return Chained(replies, calls, (yield from judge(case, reply, judges)), link.name)
    return Chained(replies, calls, (yield from judge(case, replies[links[-1].name], judges)))


def recorded(call: Call) -> Reply:
    """Answers nothing: what is not among the rows was not recorded. Raises NookError("not-recorded")."""
    last = str(call.messages[-1].content)[:60] if call.messages else ""
    message = f"The call {call.key} to {call.target} was not recorded: {last!r}…"
    raise NookError("not-recorded", message, "Record it: run the chain once with its target.")


def _values(link: Link, known: Mapping[str, object]) -> dict[str, object]:
    sources = {slot.name: link.slots.get(slot.name, slot.name) for slot in link.prompt.slots}
    return {slot: known[source] for slot, source in sources.items() if source in known}


def _check(links: Sequence[Link], case: Case, stubs: Mapping[str, str]) -> None:
    if not links:
        raise NookError("chain", "The chain has no step.", "Give it at least one.")
    known, names = set(case.values), [link.name for link in links]
    for name in stubs:
        if name not in names:
            raise NookError("chain", f"There is no step {name} to stub.", nearest(name, names))
    for link in links:
        if link.name in known:
            raise NookError("chain", f"Two things in the chain are called {link.name}.", "Rename the step.")
        for slot in link.prompt.slots:
            source = link.slots.get(slot.name, slot.name)
            if source not in known and (slot.name in link.slots or (slot.required and slot.default is None)):
                message = f"The step {link.name} fills {slot.name} from {source}, which comes from nowhere before it."
                raise NookError("chain", message, nearest(source, known))
        known.add(link.name)
