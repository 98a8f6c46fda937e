"""Cases, asked one after another: every answer is held against the truth (`judge`), equal asks against each other."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from inglenook.doctor.asks import Ask, Case, Chat, Detokenize, Template, Together, Tokenize, Within, Write, Written
from inglenook.doctor.engine import Asked, Crash, Hang
from inglenook.doctor.judge import Complaint, complaints
from inglenook.doctor.samples import Facts
from inglenook.errors import NookError


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong: a stable `sign` within the probe, what was found, the case that shows it, and the code of the
    error or the kind of exception where there was one."""

    sign: str
    text: str
    case: Case = field(default_factory=lambda: Case(()))
    detail: str = ""


Probing: TypeAlias = Generator[Ask, Asked, list[Finding]]


def case(facts: Facts, what: Case) -> Probing:
    """Run one case; what is wrong with its answers."""
    found: list[Finding] = []
    seen: dict[Any, tuple[Any, Ask]] = {}
    ids: set[str] = set()

    def complain(complaint: Complaint, upto: int) -> None:
        cut = replace(what, asks=what.asks[: upto + 1])
        found.append(Finding(complaint.sign, complaint.text, cut, complaint.detail))

    for at, ask in enumerate(what.asks):
        refused = what.refused if at == len(what.asks) - 1 else ()
        dies = getattr(_inner(ask), "dies", 0)
        try:
            value = (yield ask).value
        except NookError as error:
            if not facts.ours and not refused and error.code == "refused":
                return found  # a feature it does not have
            for complaint in _refusal(error, refused or (("worker-died",) if dies else ())):
                complain(complaint, at)
            if error.code == "context" and isinstance(ask, Write) and str(len(ask.ids)) not in error.message:
                complain(Complaint("error text", f"It does not say how long the prompt is: {error.message}"), at)
            if not refused and not dies:
                return found
            continue
        except Crash as error:
            complain(Complaint("crash", f"{error.what} ({error.where})", error.kind), at)
            return found
        except Hang as error:
            complain(Complaint("hang", str(error) or "It does not come back."), at)
            return found
        if refused or dies == 1:
            complain(Complaint("accepted", f"It should have failed: {_told(ask)}"), at)
        elif not dies:
            wrong = complaints(_inner(ask), value, facts.truth)
            for complaint in wrong:
                complain(complaint, at)
            if not wrong and isinstance(_inner(ask), Chat):
                name = (value[0] if isinstance(value, list) else value)["id"]
                if name in ids:
                    complain(Complaint("format", f"Two answers have the id {name!r}."), at)
                ids.add(name)
            readable = not {complaint.sign for complaint in wrong} & {"shape", "type", "stream", "count"}
            for key, answer in _answers(_inner(ask), value) if readable else ():
                if key in seen and seen[key][0] != answer:
                    complain(
                        Complaint("differs", f"Asked again it answers {answer!r:.60}, not {seen[key][0]!r:.60}"), at
                    )
                seen.setdefault(key, (answer, ask))
    return found


def cases(facts: Facts, them: Iterable[Case]) -> Probing:
    """Run cases; a sign is reported with the first case that shows it."""
    found: dict[str, Finding] = {}
    for what in them:
        for one in (yield from case(facts, what)):
            found.setdefault(one.sign, one)
        if "crash" in found or "hang" in found:
            break
    return list(found.values())


def _refusal(error: NookError, codes: tuple[str, ...]) -> Iterator[Complaint]:
    if not codes:
        yield Complaint("error", f"It was refused: {error}", error.code)
    elif "*" not in codes and error.code not in codes:
        yield Complaint("error code", f"The error's code is {error.code!r}, not {' or '.join(codes)}: {error.message}")
    if error.code == "onnx":
        return  # its words are onnxruntime's
    if not error.message or not error.message.rstrip().endswith((".", "!", "?", ")", "”", '"')):
        yield Complaint("error text", f"The error {error.code!r} has no sentence for people: {error.message!r}")
    if codes and not error.hint and error.code not in ("forward",):
        yield Complaint("error text", f"The error {error.code!r} does not say what to do.")


def _inner(ask: Ask) -> Ask:
    return ask.ask if isinstance(ask, Within) else ask


def _answers(ask: Ask, value: Any) -> Iterator[tuple[Any, Any]]:
    """What must be equal wherever it is asked again."""
    match ask:
        case Write() if not ask.leaves and not ask.dies and isinstance(value, Written):
            yield replace(ask, logprobs=None), (value.text, tuple(value.ids), value.stop)
        case Chat(body) if not ask.leaves and not ask.dies:
            kept = {k: v for k, v in body.items() if k not in ("stream", "stream_options", "logprobs", "top_logprobs")}
            yield repr(sorted(kept.items(), key=str)), _content(value)
        case Together(parts):
            for part, one in zip(parts, value):
                if not isinstance(one, NookError):
                    yield from _answers(part, one)
        case Tokenize() | Detokenize() | Template():
            yield ask, value


def _content(value: Any) -> Any:
    """The text of a completion, streamed or not, and the functions it calls."""
    whole = value if isinstance(value, list) else [value]
    parts = [c.get("delta") or c.get("message") or {} for one in whole for c in one.get("choices") or []]
    calls = [(call.get("function") or {}).get("arguments") for part in parts for call in part.get("tool_calls") or []]
    return "".join(part.get("content") or "" for part in parts), calls


def _told(ask: Ask) -> str:
    text = repr(_inner(ask))
    return text if len(text) < 200 else text[:200] + "…"
