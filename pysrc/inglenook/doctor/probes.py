"""The probes: what each needs, what it asks, and what it complains of. Pure: generators that yield asks.

Most are lists of `cases`; a few measure. What a probe finds is a list of `Finding`s, empty if all is well; `Unknown`
says why it cannot tell.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from inglenook.doctor import samples
from inglenook.doctor.asks import Ask, Case, Chat, Layer, Load, Properties, State, Together, Tokenize, Trace, Write
from inglenook.doctor.cases import Finding, Probing, cases
from inglenook.doctor.engine import API, FILES, INSIDE, SURROUNDINGS, TOKENS, Asked, Crash, Hang
from inglenook.doctor.operations import first_difference
from inglenook.doctor.samples import Facts
from inglenook.doctor.truth import sizes
from inglenook.errors import NookError

SLOW = 20.0
"""A pass may take so many times the plain pass's time, and `PASS` milliseconds beside it."""
PASS = 15.0
TRIES = 12
"""What took too long is asked so often before that is said: others may have had the processor."""
ALONE = 0.04
"""Deviations by which scores after a layer alone may differ: root mean square, in the median of positions."""
LEAK = 1024  # bytes that an answer may leave behind


class Unknown(Exception):
    """The probe cannot tell; the reason for people."""


@dataclass(frozen=True, slots=True)
class Probe:
    """`switches` are those the engine is to have on while it is asked."""

    name: str
    tier: str
    about: str
    run: Callable[[Facts], Probing]
    switches: tuple[str, ...] = ()


def _of(make: Callable[[Facts], Iterable[Case]]) -> Callable[[Facts], Probing]:
    return lambda facts: cases(facts, make(facts))


# ── files and configuration ───────────────────────────────────────────────────────────────────────────────────────


def _files(facts: Facts) -> Probing:
    """What it runs with is what its files say."""
    truth = facts.truth
    told: Any = (yield Properties()).value
    asked = Case((Properties(),))
    found: list[Finding] = []

    def unless(right: bool, sign: str, text: str) -> None:
        if not right:
            found.append(Finding(sign, text, asked))

    if truth is None:
        raise Unknown("its files are not here to compare with")
    for name, value in sizes(truth.told).items():
        if name in told:
            near = abs(told[name] - value) <= 1e-6 * abs(value)
            unless(near, "setting", f"It runs with {name} {told[name]}; its file says {value}.")
    context = told.get("context", 0)
    most = truth.told.get("context") or context
    unless(0 < context <= most, "setting", f"It takes {context} tokens; the model was made for {most}.")
    unless(context == truth.context, "setting", f"It takes {context} tokens, not {truth.context}.")
    if told.get("page"):
        room = told["pages"] * told["page"]
        unless(room >= context, "room", f"Its pages hold {room} positions, fewer than the {context} of one session.")
    unless(told["tokens"] == len(truth.tokens), "vocabulary", f"{told['tokens']} tokens, not {len(truth.tokens)}.")
    if rows := told.get("vocabulary"):
        unless(len(truth.tokens) <= rows, "vocabulary", f"{len(truth.tokens)} tokens, scores for {rows}.")
    unless(told["specials"] == truth.specials, "specials", f"Control tokens are {told['specials']}.")
    unless(set(told["ends"]) == truth.ends, "ends", f"It ends at {told['ends']}, not at {sorted(truth.ends)}.")
    unless(bool(truth.ends), "ends", "No token ends a text.")
    unless(told["template"] == truth.template, "template", "The chat template is not that of the model's file.")
    for name, value in facts.expected.items():
        unless(told.get(name) == value, "identity", f"Its {name} is {told.get(name)!r}, not {value!r}.")
    return found


def _load(facts: Facts) -> Probing:
    """What is damaged or of another kind is refused."""
    if not facts.damages:
        raise Unknown("it cannot be given other files")
    return (yield from cases(facts, [Case((Load(name),), codes) for name, codes in facts.damages.items()]))


# ── measures ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _economy(facts: Facts) -> Probing:
    """It computes what is new, once, in pieces of a sensible size, and about as fast as the plain pass."""
    found: dict[str, Finding] = {}
    ids = facts.ids(min(150, facts.room), 31)
    ask = Write(ids, 8)
    asked = Case((ask, ask))
    before: Any = (yield State()).value
    first: Any = (yield ask).value
    middle: Any = (yield State()).value
    timed = yield ask
    again: Any = timed.value
    after: Any = (yield State()).value

    def unless(right: bool, sign: str, text: str) -> None:
        if not right:
            found.setdefault(sign, Finding(sign, text, asked))

    ran, passes = middle["ran"] - before["ran"], middle["passes"] - before["passes"]
    count = len(first.ids)
    unless(ran <= len(ids) + 9 * (count + 1), "work", f"{len(ids)} tokens were read and {count} written by {ran}.")
    unless(
        passes <= len(ids) // 64 + count + 2, "work", f"{passes} passes for {len(ids)} tokens read, {count} written."
    )
    known = "no prefix cache" not in facts.switches
    unless(not known or again.prefilled <= 65, "reuse", f"Of a prompt that is known {again.prefilled} are read again.")
    unless(not known or after["ran"] - middle["ran"] <= 65 + 9 * (len(again.ids) + 1), "reuse",
           f"A prompt that is known takes passes over {after['ran'] - middle['ran']} tokens.")  # fmt: skip
    if facts.truth and facts.truth.computes:
        limit = PASS + SLOW * facts.plain_ms()
        first_ms = timed.ms / max(1, after["passes"] - middle["passes"])
        took = yield from _least(ask, limit, lambda one: one.ms / max(1, len(one.value.ids)), first_ms)
        unless(took <= limit, "slow", f"A pass takes {took:.1f} ms; up to {limit:.1f} was expected.")
    if known and not facts.few:
        kept = Write(facts.ids(150, 32), 2)
        yield kept
        for group in range(4):
            for i in range(3):
                yield Write(facts.ids(120, 300 + 3 * group + i), 2)
            last: Any = (yield kept).value
        unless(last.prefilled <= 65, "reuse", f"What is used again and again is forgotten: {last.prefilled} are read.")
        newer, newest = Write(facts.ids(120, 330), 2), Write(facts.ids(120, 331), 2)
        yield newer
        yield newest
        last = (yield newer).value
        unless(last.prefilled <= 65, "reuse", f"What was used just before is forgotten: {last.prefilled} are read.")
    text = "ab" * 3000
    once = math.inf
    for _ in range(3):
        once = min(once, (yield Tokenize(text)).ms)
    limit = 10 * once + 40
    more = yield from _least(Tokenize(text * 4), limit, lambda one: one.ms)
    unless(more <= limit, "slow tokens", f"A word four times as long takes {more:.0f} ms, not {once:.0f}.")
    return list(found.values())


def _least(
    ask: Ask, limit: float, ms: Callable[[Asked], float], took: float = math.inf
) -> Generator[Ask, Asked, float]:
    """The fewest milliseconds that an ask takes, `took` the first time: again while they are above `limit`, but no more
    than `TRIES` times."""
    for _ in range(TRIES):
        if took <= limit:
            break
        took = min(took, ms((yield ask)))
    return took


def _queue(facts: Facts) -> Probing:
    """Who asks at the same time gets the same, by turns; who is too many is told so, and nobody is forgotten."""
    found: dict[str, Finding] = {}
    equal = Together(tuple(Write(facts.ids(40, 200 + i), 8) for i in range(4)))
    many = Together(tuple(Write(facts.ids(8, 210 + i), 2) for i in range(24)))
    one = yield equal
    for written in one.value:
        turns = written.turns
        if turns and max(np.diff(turns), default=0) > 12:
            text = f"One of four waits for {max(np.diff(turns))} passes of others."
            found.setdefault("waits", Finding("waits", text, Case((equal,))))
    crowd = (yield many).value
    refused = [error for error in crowd if isinstance(error, NookError)]
    if len(refused) != 4 or any(error.code != "busy" for error in refused) or crowd[20:] != refused:
        codes = ", ".join(sorted({error.code for error in refused}))
        text = f"Of 24 at once {len(refused)} are refused ({codes}), not the last 4 as busy."
        found["busy"] = Finding("busy", text, Case((many,)))
    again = yield equal
    if [written.ids for written in again.value] != [written.ids for written in one.value]:
        found["differs"] = Finding("differs", "After many had come, answers differ.", Case((equal, many, equal)))
    return list(found.values())


def _leak(facts: Facts) -> Probing:
    """Answers leave nothing behind: no pages, no places, no memory."""
    asks: list[Ask] = [Write(facts.ids(20, 41), 4, stop=("x",)), Write(facts.ids(90, 42), 4, leaves=1), *[
        Chat({"messages": [{"role": "user", "content": "a b c"}], "max_tokens": 4}),
        Write(facts.ids(30, 43), 4, dies=1),
    ]]  # fmt: skip
    found: list[Finding] = []
    shown = Case((*asks, *asks))

    def once(them: list[Ask]) -> Generator[Ask, Asked, None]:
        for ask in them:
            try:
                yield ask
            except NookError:
                pass

    for _ in range(2):
        yield from once(asks)
    before: Any = (yield State()).value
    yield from once(asks * 3)
    after: Any = (yield State()).value
    if after["free"] < before["free"] or after["free"] < after["pages"]:
        found.append(Finding("pages", f"Of {after['pages']} pages {after['free']} are free with nobody there.", shown))
    if after["open"] or after["running"]:
        found.append(Finding("places", f"{after['open']} requests are open with nobody there.", shown))
    yield State(traced=True)
    yield from once(asks * 3)
    left: list[int] = []
    for _ in range(4):
        state = yield State(traced=True)
        left.append(state.value["bytes"])
        yield from once(asks * 3)
    yield State()
    grown = np.diff(left) / (3 * len(asks))
    if grown.min() > LEAK:
        found.append(Finding("memory", f"Each answer leaves {grown.min():.0f} bytes behind.", shown))
    return found


def _pace(facts: Facts) -> Probing:
    """Through the API alone: longer prompts and answers do not take out of all proportion."""

    def body(words: int, most: int) -> dict[str, Any]:
        return {"messages": [{"role": "user", "content": "word " * words}], "max_tokens": most}

    times: dict[tuple[int, int], float] = {}
    for words, most in ((8, 1), (8, 16), (8, 1), (8, 16), (64, 1)):
        asked = yield Chat(body(words, most))
        times[words, most] = min(times.get((words, most), 1e9), asked.ms)
    short, long = times[8, 1], times[8, 16]
    found = []
    if long > 40 * short + 2000:
        found.append(Finding("slow", f"16 tokens take {long:.0f} ms, one {short:.0f}.", Case((Chat(body(8, 16)),))))
    return found


def _operations(facts: Facts) -> Probing:
    """Each operation of a pass gives what the plain one gives."""
    truth = facts.truth
    if truth is None or not truth.computes:
        raise Unknown("there is no reference pass for this model")
    found: list[Finding] = []
    for ids in (facts.ids(40, 51), facts.ids(min(70, facts.room), 52)):
        ask = Trace(ids)
        try:
            traced = (yield ask).value
        except NookError as error:
            if error.code == "no-trace":
                raise Unknown("its operations cannot be looked at") from None
            raise
        if different := first_difference(traced, truth.model().traced(list(ids)), truth.slack):
            found.append(Finding(f"operation {different.kind}", different.text, Case((ask,))))
            break
    return found


def _layers(facts: Facts) -> Probing:
    """Each layer alone gives what the plain one gives: but for values between two steps of rounding, which are few in
    one layer."""
    truth = facts.truth
    if truth is None or truth.layer is None:
        raise Unknown("its layers cannot be run alone")
    count, ids = int(truth.told["layers"]), facts.ids(24, 53)
    found: list[Finding] = []
    for layer in sorted({0, count // 2, count - 1} if facts.few else range(count)):
        ask = Layer(ids, layer)
        asked = yield ask
        far = np.sqrt(np.mean((asked.value - truth.layer(layer, ids)) ** 2, axis=1))
        size = float(np.std(asked.value))
        if not (np.median(far) <= ALONE * size and far.max() <= 10 * ALONE * size):
            text = f"Layer {layer} computes otherwise: by {np.median(far) / size:.3g} deviations in the median."
            found.append(Finding("operation layer", text, Case((ask,))))
            break
    return found


def _raised(run: Callable[[Facts], Probing]) -> Callable[[Facts], Probing]:
    """What a measuring probe runs into is a finding, too."""

    def safe(facts: Facts) -> Probing:
        last: list[Ask] = []
        probing = run(facts)
        try:
            ask = next(probing)
            while True:
                last.append(ask)
                try:
                    asked = yield ask
                except (NookError, Crash, Hang) as error:
                    ask = probing.throw(error)
                else:
                    ask = probing.send(asked)
        except StopIteration as end:
            made: list[Finding] = end.value
            return made
        except NookError as error:
            return [Finding("error", f"It was refused: {error}", Case(tuple(last)), error.code)]
        except Crash as error:
            return [Finding("crash", f"{error.what} ({error.where})", Case(tuple(last)), error.kind)]
        except Hang as error:
            return [Finding("hang", str(error) or "It does not come back.", Case(tuple(last)))]
        except (TypeError, ValueError, KeyError, AttributeError, IndexError) as error:
            return [Finding("shape", f"An answer is not of the shape it must have: {error!r}.", Case(tuple(last)))]

    return safe


# ── all of them ───────────────────────────────────────────────────────────────────────────────────────────────────

PROBES: tuple[Probe, ...] = (
    Probe("files", FILES, "what it runs with is what its files say", _raised(_files)),
    Probe("load", FILES, "damaged and foreign files are refused", _raised(_load)),
    Probe("tokens", TOKENS, "texts become the right tokens, and tokens the right texts", _of(samples.texts)),
    Probe("template", TOKENS, "chats become the right tokens", _of(samples.chats)),
    Probe("scores", TOKENS, "scores are those of the plain pass, at any length", _of(samples.scores)),
    Probe("greedy", TOKENS, "the best token is written, at any length", _of(samples.greedy)),
    Probe("drawn", TOKENS, "tokens are drawn as temperature, top_p and seed say", _of(samples.drawn)),
    Probe("ends", TOKENS, "it ends where the model ends, and not before", _of(samples.ends)),
    Probe("bounds", TOKENS, "the first and the last token that fit", _of(samples.bounds)),
    Probe("stops", TOKENS, "stop strings stop, and are not shown", _of(samples.stops)),
    Probe("odds", TOKENS, "log-probabilities are the model's", _of(samples.odds)),
    Probe("prefixes", TOKENS, "what was read before changes nothing", _of(samples.prefixes)),
    Probe("pressure", TOKENS, "nor does what had to be forgotten", _of(samples.pressure)),
    Probe("crowd", TOKENS, "nor do others who ask at the same time", _of(samples.crowd)),
    Probe("drafts", TOKENS, "nor do drafts", _of(samples.drafts), ("eager drafts",)),
    Probe("loud", TOKENS, "large scores do not overflow", _of(samples.loud), ("loud",)),
    Probe("after failure", TOKENS, "it goes on after a failure, and after somebody left", _of(samples.failures)),
    Probe("bad tokens", TOKENS, "what cannot be read is refused", _of(samples.bad_tokens)),
    Probe("chat", API, "chat completions, whole and streamed", _of(samples.completions)),
    Probe("forms", API, "JSON, patterns and functions", _of(samples.forms)),
    Probe("together", API, "several chats at once", _of(samples.together)),
    Probe("bad requests", API, "what cannot be answered is refused", _of(samples.bad_requests)),
    Probe("surroundings", TOKENS, "where it runs changes nothing", _of(samples.surroundings)),
    Probe("pace", API, "longer is not out of all proportion slower", _raised(_pace)),
    Probe("queue", TOKENS, "those who ask at the same time get the same, by turns", _raised(_queue)),
    Probe("layers", INSIDE, "each layer of a pass alone", _raised(_layers)),
    Probe("economy", INSIDE, "nothing is computed twice", _raised(_economy)),
    Probe("leaks", INSIDE, "answers leave nothing behind", _raised(_leak)),
    Probe("operations", INSIDE, "each operation of a pass", _raised(_operations)),
)
NAMES = tuple(probe.name for probe in PROBES)
assert set(SURROUNDINGS) and len(set(NAMES)) == len(NAMES)
