"""Which root causes a pattern of findings speaks for: a table of likelihoods, and the reasons shown.

The 28 causes are those of the study of bugs in inference engines (2506.09713, v2), with how often each was found.
Nineteen names are the paper's; nine leaves of it could not be read, and their names here are working names of ours
(`Cause.ours`). The counts come from a reading note of the paper, not from its text. The table of likelihoods and the
rule that combines it are ours as well: a judgement of what an engine with such a bug would show, not a measurement.
How often the first cause named, or one of the first three, is right is measured (`build.py bench workbench`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

CONFIGURATION, FUNCTIONALITY, ENVIRONMENT = "Configuration", "Functionality", "Environment"
RESOURCE, INPUT = "Resource", "In/output processing"


@dataclass(frozen=True, slots=True)
class Cause:
    """`count` is how often the paper found it; for our working names an equal part of what is left of its category."""

    name: str
    category: str
    count: float
    ours: bool = False


CAUSES: tuple[Cause, ...] = (
    Cause("Misconfiguration", CONFIGURATION, 105),
    Cause("Incompatible model", CONFIGURATION, 65),
    Cause("Concurrency", CONFIGURATION, 39),
    Cause("Mismatched precision", CONFIGURATION, 17),
    Cause("Documentation", CONFIGURATION, 13),
    Cause("Job context", CONFIGURATION, 3),
    Cause("Incorrect algorithm implementation", FUNCTIONALITY, 184),
    Cause("Misused API", FUNCTIONALITY, 75),
    Cause("Mismatched shape", FUNCTIONALITY, 53),
    Cause("Exception handling", FUNCTIONALITY, 37),
    Cause("Conditional logic", FUNCTIONALITY, 24),
    Cause("Incorrect type", FUNCTIONALITY, 24),
    Cause("Numerical issue", FUNCTIONALITY, 17),
    Cause("Incorrect assignment", FUNCTIONALITY, 15),
    Cause("Synchronization", FUNCTIONALITY, 3),
    Cause("Incompatible backend", ENVIRONMENT, 138),
    Cause("Incompatible version", ENVIRONMENT, 98),
    Cause("Dependent module", ENVIRONMENT, 65),
    Cause("Incorrect cache management", RESOURCE, 11),
    Cause("Memory estimation / OOM", RESOURCE, 26 / 3, True),
    Cause("Memory leak", RESOURCE, 26 / 3, True),
    Cause("Resource contention / deadlock", RESOURCE, 26 / 3, True),
    Cause("Tokenization", INPUT, 41 / 6, True),
    Cause("Input validation", INPUT, 41 / 6, True),
    Cause("Prompt template", INPUT, 41 / 6, True),
    Cause("Detokenisation / streaming", INPUT, 41 / 6, True),
    Cause("Termination handling", INPUT, 41 / 6, True),
    Cause("Response formatting", INPUT, 41 / 6, True),
)
NAMES = tuple(cause.name for cause in CAUSES)

SURE, LIKELY, POSSIBLE, ELSE = 0.6, 0.3, 0.12, 0.02
"""How likely a finding is, given the cause."""

(MISCONF, MODEL, CONCUR, PRECISION, DOCS, JOB, ALGORITHM, API, SHAPE, EXCEPTION, CONDITION, TYPE, NUMERIC, ASSIGN,
 SYNC, BACKEND, VERSION, MODULE, CACHE, OOM, LEAK, DEADLOCK, TOKENS, INPUTS, TEMPLATE, STREAM, END, FORMAT,
 ) = NAMES  # fmt: skip


@dataclass(frozen=True, slots=True)
class Clue:
    """`pattern` over what was seen, "probe: sign", "raised kind", "refused code" or "gone with: switch" (`fnmatch`),
    why it speaks for these causes, and how much."""

    pattern: str
    why: str
    speaks: Mapping[str, float]
    depth: int = 3  # 0: nearest to a cause; what is seen nearer explains what is seen further away


def _clue(pattern: str, why: str, *speaks: Any) -> Clue:
    """`speaks`: names for which it is sure, likely, possible; then its depth."""
    *named, depth = speaks
    weighed = zip((SURE, LIKELY, POSSIBLE), named, strict=True)
    return Clue(pattern, why, {name: odds for odds, names in weighed for name in names.split("|") if name}, depth)


def _any(*names: str) -> str:
    return "|".join(names)


CLUES: tuple[Clue, ...] = (
    # files and configuration
    _clue("files: setting", "it runs with other numbers than its files say", MISCONF, _any(MODEL, VERSION),
          _any(ASSIGN, OOM), 0),
    _clue("files: room", "its cache is smaller than what it promises", OOM, MISCONF, ASSIGN, 0),
    _clue("files: vocabulary", "tokenizer and scores have different sizes", MODEL, _any(TOKENS, VERSION), SHAPE, 0),
    _clue("files: specials", "control tokens differ from the file's", TOKENS, _any(MODEL, MISCONF), TEMPLATE, 0),
    _clue("files: ends", "the tokens that end a text differ from the file's", END, _any(MISCONF, MODEL), ASSIGN, 0),
    _clue("files: template", "the template differs from the file's", TEMPLATE, _any(MODEL, MISCONF), VERSION, 0),
    _clue("files: identity", "it is not what it says it is", VERSION, _any(DOCS, BACKEND), MISCONF, 0),
    _clue("files: error", "it does not load", "", _any(MODEL, MODULE, BACKEND, VERSION, OOM), MISCONF, 0),
    _clue("files: crash", "it does not load", "", _any(MODULE, BACKEND, VERSION, TYPE), _any(MODEL, API), 0),
    _clue("load: accepted", "a file of another kind or version is taken", VERSION, _any(MODEL, BACKEND),
          _any(INPUTS, EXCEPTION, CONDITION), 0),
    _clue("load: error code", "a bad file is refused for another reason", EXCEPTION, _any(VERSION, MODEL), DOCS, 1),
    _clue("load: crash", "a bad file is not caught", EXCEPTION, _any(VERSION, MODEL), MODULE, 1),
    _clue("load: hang", "a bad file never ends", EXCEPTION, CONDITION, "", 1),
    # tokens and template
    _clue("tokens: tokens", "text becomes other tokens", TOKENS, _any(MODULE, VERSION), _any(ALGORITHM, API), 1),
    _clue("tokens: text of tokens", "tokens become another text", STREAM, TOKENS, _any(API, MODULE), 1),
    _clue("tokens: differs", "the same text becomes other tokens the second time", TOKENS, CACHE, ASSIGN, 1),
    _clue("tokens: type", "ids have another type", TYPE, API, TOKENS, 1),
    _clue("tokens: crash", "some text cannot be made into tokens", TOKENS, _any(MODULE, EXCEPTION, INPUTS), TYPE, 1),
    _clue("tokens: error", "some text is refused", TOKENS, _any(INPUTS, MODULE), "", 1),
    _clue("template: template", "a chat becomes another prompt", TEMPLATE, _any(MODEL, MISCONF), CONDITION, 1),
    _clue("template: accepted", "an unknown role is taken", INPUTS, TEMPLATE, CONDITION, 1),
    _clue("template: error*", "roles are refused wrongly, or not in words", _any(TEMPLATE, INPUTS), DOCS, EXCEPTION, 1),
    _clue("template: crash", "a chat cannot be made into a prompt", TEMPLATE, _any(TYPE, EXCEPTION), "", 1),
    # scores
    _clue("scores: logits", "scores differ from those of the same weights", ALGORITHM,
          _any(BACKEND, PRECISION, MODEL, NUMERIC), _any(API, ASSIGN, MISCONF, VERSION, SHAPE), 1),
    _clue("scores: small", "scores differ a little everywhere", PRECISION, NUMERIC, _any(BACKEND, MISCONF), 0),
    _clue("scores: late", "scores differ only from some position on", CONDITION, _any(CACHE, SHAPE, ALGORITHM),
          _any(MISCONF, SYNC), 0),
    _clue("scores: not a number", "scores are no numbers", NUMERIC, _any(PRECISION, BACKEND), ALGORITHM, 0),
    _clue("scores: shape", "scores have another shape", SHAPE, _any(MODEL, API), "", 0),
    _clue("scores: type", "scores have another type", TYPE, _any(PRECISION, API), "", 0),
    _clue("scores: crash", "a pass fails", SHAPE, _any(BACKEND, API, MODULE, TYPE), _any(MODEL, CONDITION), 1),
    _clue("loud: not a number", "large scores overflow", NUMERIC, PRECISION, "", 0),
    _clue("loud: crash", "large scores overflow", NUMERIC, PRECISION, "", 0),
    _clue("loud: *", "large scores are handled otherwise", NUMERIC, _any(PRECISION, ALGORITHM), BACKEND, 2),
    _clue("operations: operation *", "a single operation differs", ALGORITHM, _any(BACKEND, NUMERIC, PRECISION),
          _any(API, ASSIGN, MODEL), 1),
    _clue("layers: operation *", "a single layer differs", ALGORITHM, _any(BACKEND, PRECISION), _any(API, VERSION), 1),
    # choosing and ending
    _clue("greedy: choice", "another token than the best is written", ALGORITHM, _any(CACHE, CONDITION),
          _any(ASSIGN, API, BACKEND), 2),
    _clue("drawn: choice", "tokens are drawn by other odds or another seed", ALGORITHM, _any(MISCONF, API, NUMERIC),
          _any(ASSIGN, CONDITION), 1),
    _clue("drawn: differs", "the same seed draws other tokens", JOB, SYNC, "", 0),
    _clue("greedy: crash", "writing fails", "", _any(SHAPE, API, EXCEPTION, MODULE, TYPE), CONDITION, 2),
    _clue("drawn: crash", "drawing fails", NUMERIC, _any(API, TYPE), CONDITION, 1),
    _clue("drawn: error", "drawing is refused", "", _any(CONDITION, INPUTS, MISCONF), "", 2),
    _clue("ends: end", "it ends in other places than the model", END, _any(MISCONF, MODEL), CONDITION, 1),
    _clue("ends: stop reason", "the reason for the end is another", END, _any(FORMAT, DOCS), ASSIGN, 1),
    _clue("*: stop string", "stop strings do not stop where they come", END, STREAM, CONDITION, 1),
    _clue("*: stop reason", "the reason for the end is none there is", END, _any(FORMAT, DOCS), ASSIGN, 2),
    _clue("*: length", "it writes more or fewer tokens than asked", END, CONDITION, _any(MISCONF, ASSIGN), 1),
    _clue("*: end", "it goes on after an end, or ends without one", END, MISCONF, CONDITION, 1),
    _clue("bounds: error", "what should fit does not", OOM, _any(CONDITION, MISCONF), _any(INPUTS, DOCS), 1),
    _clue("bounds: accepted", "what cannot fit is taken", INPUTS, _any(CONDITION, OOM, MISCONF), "", 1),
    _clue("bounds: crash", "the last positions fail", CONDITION, _any(OOM, SHAPE), INPUTS, 1),
    _clue("bounds: choice", "the last positions are wrong", CONDITION, _any(SHAPE, CACHE), OOM, 1),
    _clue("bounds: error *", "the error says something else", DOCS, EXCEPTION, INPUTS, 1),
    # what people are given
    _clue("*: text", "the text is not that of its tokens", STREAM, END, _any(MODULE, API), 1),
    _clue("*: stream", "the pieces do not make up the text", STREAM, FORMAT, CONDITION, 1),
    _clue("*: logprobs", "log-probabilities are not the model's", _any(FORMAT, ASSIGN), _any(NUMERIC, ALGORITHM, DOCS),
          _any(API, TYPE), 2),
    _clue("*: prompt count", "the prompt is counted wrong, or another one", ASSIGN, _any(TEMPLATE, FORMAT), TOKENS, 1),
    _clue("*: prefill count", "what was computed is counted wrong", ASSIGN, CACHE, "", 1),
    _clue("*: usage", "counts do not add up", _any(ASSIGN, FORMAT), "", TYPE, 1),
    _clue("*: times", "times are impossible", ASSIGN, FORMAT, "", 1),
    _clue("*: format", "the answer is not in OpenAI's shape", FORMAT, _any(DOCS, VERSION), API, 1),
    _clue("*: type", "a value has another type", TYPE, _any(FORMAT, API), VERSION, 1),
    _clue("*: shape", "a part of the answer is missing", FORMAT, _any(SHAPE, VERSION), TYPE, 2),
    _clue("forms: form", "what is written breaks the form asked for", API, _any(FORMAT, ALGORITHM), CONDITION, 1),
    _clue("forms: crash", "forms fail", API, _any(MODULE, TYPE), VERSION, 1),
    _clue("forms: error", "forms are refused", _any(DOCS, API), _any(VERSION, INPUTS), "", 1),
    _clue("forms: hang", "forms never end", CONDITION, END, "", 1),
    # what is shared
    _clue("prefixes: choice", "what was read before changes an answer", CACHE, _any(SYNC, ASSIGN), CONDITION, 1),
    _clue("prefixes: differs", "the same prompt is answered otherwise the second time", CACHE, JOB, SYNC, 1),
    _clue("prefixes: crash", "what is found again fails", CACHE, _any(SHAPE, CONDITION), "", 1),
    _clue("prefixes: error", "what is found again is refused", CACHE, _any(OOM, CONDITION), "", 1),
    _clue("pressure: error", "there is too little room though nobody is there", _any(OOM, LEAK), CACHE, MISCONF, 1),
    _clue("pressure: crash", "making room fails", CACHE, OOM, CONDITION, 1),
    _clue("pressure: *", "answers change when room is made", CACHE, OOM, SYNC, 2),
    _clue("crowd: choice", "others change an answer", CONCUR, _any(SYNC, CACHE), ASSIGN, 1),
    _clue("crowd: differs", "others change an answer", CONCUR, _any(SYNC, CACHE), JOB, 1),
    _clue("crowd: error", "one of several is refused", CONCUR, _any(DEADLOCK, OOM), _any(CACHE, MISCONF), 1),
    _clue("crowd: crash", "several at once fail", CONCUR, _any(SYNC, CACHE), SHAPE, 1),
    _clue("crowd: hang", "several at once wait for each other", DEADLOCK, _any(CONCUR, SYNC), "", 0),
    _clue("together: hang", "several at once wait for each other", DEADLOCK, _any(CONCUR, SYNC), "", 0),
    _clue("together: *", "several at once are answered otherwise", CONCUR, _any(SYNC, DEADLOCK), CACHE, 1),
    _clue("drafts: *", "drafts change what is written", ALGORITHM, _any(CONDITION, CACHE), ASSIGN, 2),
    _clue("after failure: accepted", "a failure is hidden", EXCEPTION, "", CONDITION, 0),
    _clue("after failure: error", "after a failure it refuses", _any(EXCEPTION, DEADLOCK), LEAK, CACHE, 1),
    _clue("after failure: hang", "after a failure it waits for ever", DEADLOCK, _any(EXCEPTION, SYNC), "", 0),
    _clue("after failure: error code", "a failure becomes another one", EXCEPTION, DOCS, "", 1),
    _clue("after failure: crash", "a failure becomes a crash", EXCEPTION, CACHE, "", 1),
    _clue("after failure: *", "after a failure answers differ", _any(EXCEPTION, CACHE), SYNC, CONCUR, 1),
    # bad input
    _clue("bad *: accepted", "what cannot be answered is taken", INPUTS, _any(CONDITION, TYPE), DOCS, 1),
    _clue("bad *: crash", "bad input is not caught", INPUTS, _any(EXCEPTION, TYPE), "", 1),
    _clue("bad *: error code", "bad input is refused for another reason", _any(EXCEPTION, INPUTS), DOCS, "", 1),
    _clue("*: error text", "an error does not say what to do", DOCS, EXCEPTION, "", 1),
    _clue("bad requests: error", "a good request is refused", INPUTS, CONDITION, DOCS, 1),
    _clue("bad *: hang", "bad input never ends", INPUTS, EXCEPTION, "", 1),
    # surroundings, time, memory
    _clue("surroundings: differs", "where it runs changes what it answers", JOB, "", SYNC, 0),
    _clue("surroundings: *", "where it runs it fails", JOB, MODULE, MISCONF, 1),
    _clue("*: slow", "passes take far longer than the plain ones", BACKEND, _any(DEADLOCK, MISCONF), MODULE, 1),
    _clue("economy: slow tokens", "long words take out of all proportion", TOKENS, ALGORITHM, MODULE, 1),
    _clue("economy: work", "more is computed than needed", CACHE, _any(CONDITION, MISCONF), ALGORITHM, 1),
    _clue("economy: reuse", "what is known is computed again", CACHE, CONDITION, ASSIGN, 1),
    _clue("queue: waits", "one of several has to wait for the others", DEADLOCK, CONCUR, CONDITION, 1),
    _clue("queue: busy", "too many are let in, or too few", DEADLOCK, _any(CONCUR, MISCONF), _any(CONDITION, DOCS), 1),
    _clue("queue: *", "many at once change what follows", CONCUR, _any(DEADLOCK, CACHE), SYNC, 1),
    _clue("*: identity", "it is not what it says it is", VERSION, _any(DOCS, ASSIGN), MISCONF, 1),
    _clue("leaks: memory", "each answer leaves memory behind", LEAK, CACHE, "", 0),
    _clue("leaks: pages", "each answer leaves pages behind", LEAK, _any(CACHE, EXCEPTION), "", 0),
    _clue("leaks: places", "requests stay open", DEADLOCK, _any(LEAK, EXCEPTION), "", 0),
    _clue("leaks: error", "after some answers it refuses", LEAK, _any(DEADLOCK, OOM), EXCEPTION, 1),
    _clue("chat: error", "plain chats are refused", "", _any(MODEL, API, MISCONF, MODULE, TEMPLATE), INPUTS, 2),
    _clue("chat: crash", "plain chats fail", "", _any(API, TYPE, MODULE, FORMAT, VERSION), SHAPE, 2),
    _clue("chat: differs", "whole and streamed answers differ", STREAM, _any(FORMAT, CONDITION), JOB, 2),
    _clue("chat: choice", "chats get other answers than the tokens alone", TEMPLATE, _any(MISCONF, ASSIGN), "", 2),
    _clue("*: crash", "it fails with an error that is none of its own", "", _any(EXCEPTION, TYPE, API, SHAPE, MODULE),
          _any(VERSION, BACKEND), 3),
    _clue("*: hang", "it does not come back", "", _any(DEADLOCK, SYNC, END), CONDITION, 3),
    _clue("*: error", "a good request is refused", "", _any(CONDITION, MISCONF, EXCEPTION), INPUTS, 3),
    _clue("*: choice", "other tokens are written than should be", "", _any(ALGORITHM, CACHE), CONDITION, 3),
    _clue("*: differs", "asked again it answers otherwise", "", _any(CACHE, SYNC, JOB), CONCUR, 3),
    # what was raised, and what was refused
    _clue("raised TypeError", "a value of another type came where it does not fit", TYPE, API, VERSION, 1),
    _clue("raised AttributeError", "something asked for is not there", _any(API, VERSION), TYPE, MODULE, 1),
    _clue("raised IndexError", "something lies beyond the end", SHAPE, _any(CONDITION, INPUTS), API, 1),
    _clue("raised ValueError", "sizes or values do not fit", SHAPE, _any(API, INPUTS, CONDITION), TYPE, 1),
    _clue("raised AssertionError", "what was taken for certain is not", CONDITION, _any(ASSIGN, SHAPE), "", 1),
    _clue("raised KeyError", "something was not put where it is looked for", CONDITION, _any(ASSIGN, API), CACHE, 1),
    _clue("raised *ModuleNotFoundError", "a module is missing", MODULE, VERSION, BACKEND, 0),
    _clue("raised ImportError", "a module is missing or another version", MODULE, VERSION, BACKEND, 0),
    _clue("raised OSError", "a library or a file cannot be had", MODULE, _any(BACKEND, JOB), "", 1),
    _clue("raised NotImplementedError", "something is not there on this backend", BACKEND, MODEL, VERSION, 0),
    _clue("raised FileNotFoundError", "a file is not where it is looked for", JOB, _any(MISCONF, MODULE), "", 0),
    _clue("raised MemoryError", "memory was not enough", OOM, LEAK, "", 0),
    _clue("raised RecursionError", "it calls itself without end", CONDITION, INPUTS, "", 1),
    _clue("raised ZeroDivisionError", "something is divided by zero", NUMERIC, _any(CONDITION, INPUTS), "", 1),
    _clue("raised FloatingPointError", "a number cannot be told", NUMERIC, PRECISION, "", 0),
    _clue("raised OverflowError", "a number is too large", NUMERIC, _any(TYPE, INPUTS), "", 0),
    _clue("raised Unicode*", "bytes are no text", STREAM, TOKENS, "", 0),
    _clue("raised RuntimeError", "it changed while in use", _any(CONCUR, SYNC), _any(BACKEND, MODULE), EXCEPTION, 1),
    _clue("refused memory", "its memory is said to be full", OOM, _any(LEAK, CACHE), _any(MISCONF, CONCUR), 1),
    _clue("refused backend", "its first scores are wrong", BACKEND, _any(MODEL, ALGORITHM, VERSION), PRECISION, 0),
    _clue("refused forward", "a pass does not continue what was read", CACHE, _any(SHAPE, SYNC), CONDITION, 1),
    _clue("refused context", "its context is said to be too short", MISCONF, CONDITION, _any(OOM, MODEL), 1),
    _clue("refused model-*", "its model is said to be damaged or of another kind", MODEL, VERSION, MISCONF, 0),
    _clue("refused kernel-missing", "its kernel is missing", MODULE, BACKEND, VERSION, 0),
    _clue("refused onnx", "onnxruntime refuses", MODULE, _any(BACKEND, SHAPE), VERSION, 1),
    _clue("refused busy", "it says that it is busy, with nobody there", DEADLOCK, _any(LEAK, CONCUR), "", 0),
    _clue("refused closed", "it goes on with a request that has ended", SYNC, _any(DEADLOCK, EXCEPTION), "", 0),
    _clue("refused worker-died", "its model is said to have died", EXCEPTION, SYNC, CACHE, 1),
    _clue("refused tokens", "its own tokens are said not to be in its vocabulary", MODEL, TOKENS, INPUTS, 1),
    _clue("refused role", "a role there is is said not to be", TEMPLATE, _any(INPUTS, DOCS), "", 1),
    _clue("refused request", "what it documents is refused", _any(INPUTS, DOCS), CONDITION, API, 1),
    # interventions
    _clue("gone with: raw ids", "with ids in place of a chat it is right", _any(TEMPLATE, TOKENS), FORMAT, API, 0),
    _clue("gone with: no template", "without the template it is right", TEMPLATE, MODEL, "", 0),
    _clue("gone with: no prefix cache", "with nothing found again it is right", CACHE, _any(SYNC, ASSIGN), "", 0),
    _clue("gone with: one chunk", "with the prompt in one piece it is right", CONDITION, _any(SHAPE, SYNC, CACHE),
          ALGORITHM, 0),
    _clue("gone with: no KV cache", "with all computed anew it is right", CACHE, _any(SHAPE, CONDITION, PRECISION),
          SYNC, 0),
    _clue("gone with: batch 1", "one after the other it is right", CONCUR, _any(SYNC, DEADLOCK), CACHE, 0),
    _clue("gone with: fp32", "in full precision it is right", PRECISION, NUMERIC, "", 0),
    _clue("gone with: scalar kernels", "with the plain build it is right", BACKEND, _any(ALGORITHM, VERSION), "", 0),
    _clue("gone with: one thread", "on one thread it is right", SYNC, CONCUR, "", 0),
    _clue("gone with: fresh engine", "with a fresh engine each time it is right", _any(CACHE, LEAK),
          _any(EXCEPTION, DEADLOCK, JOB), ASSIGN, 0),
    _clue("gone with: no drafts", "without drafts it is right", ALGORITHM, CONDITION, CACHE, 0),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Suspect:
    """A cause, its share of all that is possible, and the clues that speak most for it."""

    cause: Cause
    share: float
    reasons: tuple[str, ...]


def rank(observed: Iterable[str]) -> list[Suspect]:
    """All causes, the likeliest first, from what was seen: "probe: sign" and "gone with: switch".

    Naive Bayes over the clues with the paper's counts as prior, in fourth roots (rare causes would never be named). One
    bug is seen in many places, so clues are no independent witnesses: what is nearest to a cause counts in full, what
    lies further away less, and several of the same kind count as their mean.
    """
    clues = [clue for seen in dict.fromkeys(observed) if (clue := _nearest(seen))]
    nearest = min((clue.depth for clue in clues if not clue.pattern.startswith("gone")), default=0)
    weights = {clue.pattern: _weight(clue, nearest) for clue in clues}
    unique = {clue.pattern: clue for clue in clues}.values()
    calm = max(1.0, math.sqrt(sum(not clue.pattern.startswith("gone") for clue in unique)))
    scores: dict[str, float] = {}
    reasons: dict[str, list[tuple[float, str]]] = {}
    for cause in CAUSES:
        score = 0.25 * math.log(cause.count)
        for clue in unique:
            odds = math.log(clue.speaks.get(cause.name, ELSE) / ELSE) * weights[clue.pattern]
            score += odds if clue.pattern.startswith("gone") else odds / calm
            if odds > 0:
                reasons.setdefault(cause.name, []).append((odds, clue.why))
        scores[cause.name] = score
    peak = max(scores.values())
    total = sum(math.exp(score - peak) for score in scores.values())
    ranked = sorted(CAUSES, key=lambda cause: -scores[cause.name])
    return [
        Suspect(cause, math.exp(scores[cause.name] - peak) / total,
                tuple(why for _, why in sorted(reasons.get(cause.name, []), reverse=True)[:3]))
        for cause in ranked
    ]  # fmt: skip


def _nearest(seen: str) -> Clue | None:
    """The clue for what was seen: the first pattern that names it."""
    return next((clue for clue in CLUES if fnmatchcase(seen, clue.pattern)), None)


def _weight(clue: Clue, nearest: int) -> float:
    return 1.5 if clue.pattern.startswith("gone") else 0.5 ** max(0, clue.depth - nearest)
