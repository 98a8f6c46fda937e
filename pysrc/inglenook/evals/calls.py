"""Calls and replies: what is asked of a model, under which address its answer is kept, and what came back."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Generator, Sequence
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, Protocol, Self, TypeAlias, TypeVar

from inglenook.errors import NookError
from inglenook.types import Json
from inglenook.wire.messages import Likely, Logprob, Slo

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Image:
    """A picture in a message: the bytes of its file and their media type."""

    data: bytes
    media: str = "image/png"


Part: TypeAlias = str | Image


@dataclass(frozen=True, slots=True)
class Message:
    """One turn; `role` is "system", "user" or "assistant"."""

    role: str
    content: str | tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Settings:
    """How an answer is written. `response_format` is OpenAI's; `logprobs` counts the alternatives told for each token,
    0 for none. `slo` is a latency to keep and `level` a part of the model to use (0 is all of it): what is not an
    elastic model of ours is not told of them."""

    max_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 1.0
    stop: tuple[str, ...] = ()
    response_format: Json | None = None
    logprobs: int = 0
    slo: Slo | None = None
    level: int | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """One question to one target. Repeats differ by `seed`."""

    target: str
    messages: tuple[Message, ...]
    settings: Settings = field(default_factory=Settings)
    seed: int = 0

    @property
    def key(self) -> str:
        """The address of its row: the first 32 hex digits of the sha256 of its canonical JSON."""
        return hashlib.sha256(self.canonical().encode("utf-8", "surrogatepass")).hexdigest()[:32]

    def canonical(self) -> str:
        """All of it as JSON, keys sorted. What is as by default is left out, so that a setting which is new tomorrow
        moves no row of today; pictures stand as the sha256 of their bytes."""
        plain = _plain(self)
        return json.dumps(plain, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back. `finish` is "stop", "length" or what else the target said; times are milliseconds from sending.

    With an `error` ("code: message hint") nothing else of it holds; such a reply is not kept: the next run asks again.
    """

    text: str = ""
    finish: str = "stop"
    first_ms: float = 0.0
    total_ms: float = 0.0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    logprobs: tuple[Logprob, ...] | None = None
    error: str = ""

    @classmethod
    def failed(cls, error: NookError, total_ms: float = 0.0) -> Reply:
        said = f"{error.code}: {error.message} {error.hint}".rstrip()
        return cls(finish="error", total_ms=total_ms, error=said)


class Target(Protocol):
    """Answers calls. `name` is what stands in `Call.target`."""

    name: str

    def __call__(self, call: Call) -> Reply: ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


Work: TypeAlias = Generator[Sequence[Call], list[Reply], R]
"""A core: it yields a batch of calls and is sent their replies, in order. It does no I/O."""


def body(call: Call) -> Json:
    """The call as the body of a chat completion in OpenAI's shape, without a model; pictures as data URLs."""
    settings = call.settings
    told: dict[str, Any] = {
        "messages": [{"role": message.role, "content": _content(message.content)} for message in call.messages],
        "max_tokens": settings.max_tokens,
        "temperature": settings.temperature,
        "top_p": settings.top_p,
        "seed": call.seed,
    }
    if settings.stop:
        told["stop"] = list(settings.stop)
    if settings.response_format is not None:
        told["response_format"] = settings.response_format
    if settings.logprobs:
        told |= {"logprobs": True, "top_logprobs": settings.logprobs}
    return told


def dump(reply: Reply) -> Json:
    """A reply as plain JSON, defaults left out."""
    plain: Json = _plain(reply)
    return plain


def load(plain: Any) -> Reply:
    """The reply of such JSON. Raises ValueError for anything else."""
    try:
        told = dict(plain)
        if logprobs := told.get("logprobs"):
            told["logprobs"] = tuple(
                Logprob(**{**one, "top": [Likely(**other) for other in one["top"]]}) for one in logprobs
            )
        return Reply(**told)
    except (TypeError, KeyError) as error:
        raise ValueError(f"not a reply: {error}") from None


def _content(content: str | tuple[Part, ...]) -> Any:
    if isinstance(content, str):
        return content
    return [
        {"type": "text", "text": part}
        if isinstance(part, str)
        else {
            "type": "image_url",
            "image_url": {"url": f"data:{part.media};base64,{base64.b64encode(part.data).decode()}"},
        }
        for part in content
    ]


def _plain(value: Any) -> Any:
    if isinstance(value, Image):
        return {"image": hashlib.sha256(value.data).hexdigest(), "media": value.media}
    if hasattr(value, "__dataclass_fields__"):
        plain = {}
        for one in fields(value):
            item = getattr(value, one.name)
            if one.default is MISSING or item != one.default:
                plain[one.name] = float(item) if type(item) is int and "float" in str(one.type) else _plain(item)
        return plain
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value
