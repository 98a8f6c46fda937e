"""What a probe may ask of an engine: plain data, so that a reproducer is a list of them and any driver can answer."""

from __future__ import annotations

import json
from dataclasses import MISSING, dataclass, field, fields
from typing import Any

from inglenook.elastic.chat import Message
from inglenook.errors import NookError
from inglenook.types import Json


class Ask:
    """Base class of what is asked."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Properties(Ask):
    """What the engine says it runs with. Answer: a JSON object (`engine.Facts` tells which entries probes know)."""


@dataclass(frozen=True, slots=True)
class Tokenize(Ask):
    """Answer: the ids of `text`. With `special`, control tokens in it count as such."""

    text: str
    special: bool = False


@dataclass(frozen=True, slots=True)
class Detokenize(Ask):
    """Answer: the text of ids."""

    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Template(Ask):
    """Answer: the ids that a chat is made into, ending where the assistant is to go on."""

    messages: tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class Logits(Ask):
    """Answer: scores of the next token after each of `ids`, float32 (len(ids), vocabulary), from pieces of `piece`."""

    ids: tuple[int, ...]
    piece: int = 16


@dataclass(frozen=True, slots=True)
class Odds(Ask):
    """Answer: the log-probability of each of `ids` but the first, given those before it, float32."""

    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Write(Ask):
    """Continue ids. Answer: `Written`.

    The reader leaves after `leaves` pieces of text, if that is not 0; the backend dies in pass number `dies`.
    """

    ids: tuple[int, ...]
    max_tokens: int = 8
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    stop: tuple[str, ...] = ()
    logprobs: int | None = None
    leaves: int = 0
    dies: int = 0


@dataclass(frozen=True, slots=True)
class Chat(Ask):
    """A chat completion in OpenAI's shape. Answer: the completion, or with `stream` in the body the list of chunks."""

    body: Json
    leaves: int = 0
    dies: int = 0


@dataclass(frozen=True, slots=True)
class Together(Ask):
    """Several of the two above at once. Answer: a list of what each gives, in their order, or the NookError of it."""

    asks: tuple[Write | Chat, ...]


@dataclass(frozen=True, slots=True)
class Trace(Ask):
    """Answer: what each operation of a pass over ids gave, arrays by name in the order of computing."""

    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Layer(Ask):
    """Answer: what `Logits` gives of a model that has this layer only, between the same embedding and head."""

    ids: tuple[int, ...]
    layer: int


@dataclass(frozen=True, slots=True)
class State(Ask):
    """What is in use. Answer: {"free": key-value pages, "open": requests, "passes": run, "ran": tokens in them}, and
    with `traced` the "bytes" of Python's memory, which is watched from the first such ask to the next one without."""

    traced: bool = False


@dataclass(frozen=True, slots=True)
class Load(Ask):
    """Load the same model, damaged in a way of `engine.Engine.damages`. Answer: nothing; it should be refused."""

    damage: str


@dataclass(frozen=True, slots=True)
class Within(Ask):
    """The same ask in other surroundings (`engine.SURROUNDINGS`), which must make no difference. Answer: that of it."""

    ask: Ask
    where: str


@dataclass(frozen=True, slots=True)
class Case:
    """Asks one after the other, each to be answered rightly; the last one to be refused with one of these codes, if
    there are any ("*": any code)."""

    asks: tuple[Ask, ...]
    refused: tuple[str, ...] = ()


@dataclass(slots=True)
class Written:
    """`pieces` of the text in their order; `stop` is "end", "length" or "stop"; `told` has for each token its bytes,
    its log-probability and those of the likeliest; `turns` are the numbers of its passes among all of the engine's."""

    text: str = ""
    ids: list[int] = field(default_factory=list)
    stop: str = ""
    pieces: list[str] = field(default_factory=list)
    prompt_tokens: int = 0
    prefilled: int = 0
    told: list[tuple[bytes, float, list[tuple[bytes, float]]]] = field(default_factory=list)
    ms: dict[str, float] = field(default_factory=dict)
    turns: list[int] = field(default_factory=list)


KINDS: dict[str, type[Any]] = {
    kind.__name__.lower(): kind
    for kind in (Properties, Tokenize, Detokenize, Template, Logits, Odds, Write, Chat, Together, Trace, Layer, State,
                 Load, Within)
}  # fmt: skip


def dump(case: Case) -> Json:
    """As JSON, defaults left out."""
    told: dict[str, Any] = {"asks": [_dumped(ask) for ask in case.asks]}
    plain: Json = json.loads(json.dumps(told | ({"refused": case.refused} if case.refused else {})))
    return plain


def load(plain: Any) -> Case:
    """What `dump` made. Raises NookError("case")."""
    try:
        return Case(tuple(map(_loaded, plain["asks"])), tuple(map(str, plain.get("refused", ()))))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise NookError("case", f"This is no case of the doctor's: {error}.", "Take the one a report gives.") from None


def _dumped(ask: Ask) -> dict[str, Any]:
    told: dict[str, Any] = {"ask": type(ask).__name__.lower()}
    for entry in fields(ask):  # type: ignore[arg-type]
        value = getattr(ask, entry.name)
        if isinstance(value, Ask):
            told["of"] = _dumped(value)
        elif entry.name == "asks":
            told["asks"] = [_dumped(one) for one in value]
        elif entry.default is MISSING or value != entry.default:
            told[entry.name] = value
    return told


def _loaded(plain: Any) -> Ask:
    told = dict(plain)
    kind = KINDS[told.pop("ask")]
    for name, value in list(told.items()):
        if name == "asks":
            told[name] = tuple(map(_loaded, value))
        elif name == "of":
            told["ask"] = _loaded(told.pop("of"))
        elif name == "messages":
            told[name] = tuple((str(role), str(content)) for role, content in value)
        elif isinstance(value, list):
            told[name] = tuple(value)
    made: Ask = kind(**told)
    return made
