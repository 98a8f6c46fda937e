"""Chat completions in OpenAI's shape, for `Nook.chat`: the request to a message, the events to what clients read.

The same as web/lib/chat.js and chat-request.js in the tab. Beside OpenAI's own fields a request may have `slo`
({"first": ms, "token": ms}), `level` (the sub-model that answers; 0 is the whole one) and `regex` (a pattern that the
whole answer matches); answers have `timing`.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Any

from inglenook.errors import NookError
from inglenook.wire import codec
from inglenook.wire import messages as wire

MODEL = "smollm2-135m-instruct"
TOP = 20
_ONLY = {"n": 1, "frequency_penalty": 0, "presence_penalty": 0}
_TAKEN = {
    "messages", "model", "stream", "stream_options", "max_tokens", "max_completion_tokens", "temperature", "top_p",
    "seed", "stop", "response_format", "regex", "tools", "tool_choice", "parallel_tool_calls", "logprobs",
    "top_logprobs", "slo", "level", "user", "metadata", "store", *_ONLY,
}  # fmt: skip


def request(body: dict[str, Any]) -> wire.Chat:
    """The message of a request. Raises NookError("request") for what is not in the shape of one."""
    body = {name: value for name, value in body.items() if value is not None}
    for name in body.keys() - _TAKEN:
        raise _bad(f"there is no field {name!r}")
    for name, value in _ONLY.items():
        if body.get(name, value) != value:
            raise _bad(f"{name} can only be {value} here")
    top = body.get("top_logprobs", 0)
    if "top_logprobs" in body and not body.get("logprobs"):
        raise _bad("top_logprobs needs logprobs")
    if type(top) is not int or not 0 <= top <= TOP:
        raise _bad(f"top_logprobs is not a number from 0 to {TOP}")
    stop = body.get("stop", [])
    stop = [stop] if isinstance(stop, str) else stop
    if not isinstance(stop, list) or not all(isinstance(text, str) for text in stop):
        raise _bad("stop is neither a string nor a list of strings")
    choice, tool = _choice(body.get("tool_choice", "auto"))
    return wire.Chat(
        messages=[_turn(message, at) for at, message in enumerate(_list("messages", body.get("messages")))],
        max_tokens=_whole("max_tokens", body.get("max_completion_tokens", body.get("max_tokens", 256)), 1),
        temperature=_number("temperature", body.get("temperature", 0), 2),
        top_p=_number("top_p", body.get("top_p", 1), 1),
        seed=_whole("seed", body.get("seed", 0), codec.LEAST),
        stop=stop,
        slo=_slo(body.get("slo", {})),
        form=_form(body),
        tools=[_tool(given) for given in _list("tools", body.get("tools", []))],
        choice=choice,
        tool=tool,
        logprobs=top if body.get("logprobs") else None,
        level=_whole("level", body["level"], 0) if "level" in body else None,
    )


def whole(events: Iterable[object], asked: wire.Chat) -> dict[str, Any]:
    """The completion that the events of a chat make."""
    text, written, calls, timing = "", [], [], wire.Timing()
    for event in events:
        match event:
            case wire.Token():
                text += event.text
                written += event.logprobs
            case wire.Called():
                calls += event.calls
            case wire.Timing():
                timing = event
    message: dict[str, Any] = {"role": "assistant", "content": text}
    if calls:
        message |= {"content": text or None, "tool_calls": [_call(call) for call in calls]}
    told = None if asked.logprobs is None else _logprobs(written)
    reason = _reason(timing, bool(calls))
    choices = [{"index": 0, "message": message, "logprobs": told, "finish_reason": reason}]
    return {
        **_head("chat.completion"),
        **_model(asked),
        "choices": choices,
        "usage": _usage(timing),
        "timing": asdict(timing),
    }


class Chunks:
    """The chunks of a stream, made of its events as they come; with `counted` the last one tells the usage."""

    def __init__(self, asked: wire.Chat, counted: bool = False) -> None:
        self._asked, self._counted = asked, counted
        self._head = {**_head("chat.completion.chunk"), **_model(asked)}
        self._timing, self._called = wire.Timing(), False

    def begin(self) -> dict[str, Any]:
        """What comes first."""
        return self._chunk({"role": "assistant", "content": ""})

    def event(self, event: object) -> dict[str, Any] | None:
        """What an event says to the client, if anything."""
        match event:
            case wire.Token():
                told = _logprobs(event.logprobs) if self._asked.logprobs is not None and event.logprobs else None
                return self._chunk({"content": event.text}, told)
            case wire.Called():
                self._called = True
                return self._chunk({"tool_calls": [{"index": i, **_call(call)} for i, call in enumerate(event.calls)]})
            case wire.Timing():
                self._timing = event
        return None

    def end(self) -> list[dict[str, Any]]:
        """What comes last."""
        reason = _reason(self._timing, self._called)
        last = [{**self._chunk({}, None, reason), "timing": asdict(self._timing)}]
        return [*last, {**self._head, "choices": [], "usage": _usage(self._timing)}] if self._counted else last

    def _chunk(self, delta: dict[str, Any], told: Any = None, reason: str | None = None) -> dict[str, Any]:
        choices = [{"index": 0, "delta": delta, "logprobs": told, "finish_reason": reason}]
        return {**self._head, "choices": choices, **({"usage": None} if self._counted else {})}


def chunks(events: Iterable[object], asked: wire.Chat, counted: bool = False) -> Iterator[dict[str, Any]]:
    """The chunks of all `events` of a stream."""
    made = Chunks(asked, counted)
    yield made.begin()
    for event in events:
        if chunk := made.event(event):
            yield chunk
    yield from made.end()


def counted(body: dict[str, Any]) -> bool:
    """Whether a stream is to tell its usage. Raises NookError("request")."""
    options = body.get("stream_options") or {}
    if not isinstance(options, dict):
        raise _bad("stream_options is no object")
    return bool(options.get("include_usage"))


def bearer(key: str) -> dict[str, str]:
    """The header that carries a key, none for no key. Raises NookError("bad-key"), which does not show it."""
    if not all("!" <= letter <= "~" for letter in key):
        hint = "A key is of ASCII's letters, digits and signs: copy it again, without spaces and line breaks."
        raise NookError("bad-key", "The key has characters that no header can carry.", hint)
    return {"Authorization": f"Bearer {key}"} if key else {}


# ── requests ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _turn(message: Any, at: int) -> wire.Turn:
    if not isinstance(message, dict) or not isinstance(message.get("role"), str):
        raise _bad(f"messages[{at}] has no role")
    parts = message.get("content")
    parts = (
        [{"type": "text", "text": parts}] if isinstance(parts, str) else _list(f"messages[{at}].content", parts or [])
    )
    for part in parts:
        if not isinstance(part, dict) or part.get("type") != "text" or not isinstance(part.get("text"), str):
            raise _bad(f"messages[{at}] has a part that is no text")
    calls = []
    for call in _list(f"messages[{at}].tool_calls", message.get("tool_calls") or []):
        told = call.get("function") if isinstance(call, dict) else None
        if not isinstance(told, dict) or not all(isinstance(told.get(name), str) for name in ("name", "arguments")):
            raise _bad(f"messages[{at}] has a call that is none")
        calls.append(wire.Call(told["name"], told["arguments"]))
    role = "system" if message["role"] == "developer" else message["role"]
    return wire.Turn(role, "".join(part["text"] for part in parts), calls)


def _form(body: dict[str, Any]) -> wire.Form | None:
    told = body.get("response_format", {"type": "text"})
    kind = told.get("type") if isinstance(told, dict) else None
    if "regex" in body:
        if not isinstance(body["regex"], str) or kind != "text":
            raise _bad("regex is a pattern, without a response_format")
        return wire.Form("regex", body["regex"])
    if kind == "text":
        return None
    if kind == "json_object":
        return wire.Form("json")
    named = told.get("json_schema") if kind == "json_schema" else None
    if not isinstance(named, dict) or "schema" not in named:
        raise _bad("response_format is none that there is")
    return wire.Form("schema", _text(named["schema"]))


def _tool(given: Any) -> wire.Tool:
    told = given.get("function") if isinstance(given, dict) and given.get("type") == "function" else None
    if not isinstance(told, dict) or not isinstance(told.get("name"), str):
        raise _bad("tools has one that is no function")
    description = told.get("description") or ""
    if not isinstance(description, str):
        raise _bad("tools has one that is no function")
    return wire.Tool(told["name"], description, _text(told["parameters"]) if told.get("parameters") else "")


def _choice(given: Any) -> tuple[str, str]:
    if isinstance(given, str):
        return given, ""
    told = given.get("function") if isinstance(given, dict) and given.get("type") == "function" else None
    name = told.get("name") if isinstance(told, dict) else None
    if not isinstance(name, str) or not name:
        raise _bad("tool_choice is none that there is")
    return "required", name


def _slo(given: Any) -> wire.Slo:
    right = isinstance(given, dict) and given.keys() <= {"first", "token"}
    if not right or any(type(ms) not in (int, float) or not abs(ms) < 1e15 for ms in given.values()):
        raise _bad("slo is not of first and token, in milliseconds")
    return wire.Slo(**{name: float(ms) for name, ms in given.items()})


def _list(name: str, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise _bad(f"{name} is no list")
    return value


def _number(name: str, value: Any, most: float) -> float:
    if type(value) not in (int, float) or not 0 <= value <= most:
        raise _bad(f"{name} is not 0 to {most}")
    return float(value)


def _whole(name: str, value: Any, least: int) -> int:
    if type(value) is not int or not least <= value <= codec.MOST:
        raise _bad(f"{name} is not a whole number from {least} on")
    return value


def _text(schema: Any) -> str:
    try:
        return json.dumps(schema, ensure_ascii=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise NookError("schema", f"The schema is not JSON: {error}.", "Pass a JSON schema.") from None


def _bad(what: str) -> NookError:
    return NookError("request", f"The request cannot be answered: {what}.", "See the shape of chat completions.")


# ── answers ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _head(kind: str) -> dict[str, Any]:
    return {"id": f"chatcmpl-{uuid.uuid4()}", "object": kind, "created": int(time.time())}


def _model(asked: wire.Chat) -> dict[str, Any]:
    return {"model": asked.model or MODEL}


def _reason(timing: wire.Timing, called: bool) -> str:
    if called:
        return "tool_calls"
    return "length" if timing.stop == "length" else "stop"


def _usage(timing: wire.Timing) -> dict[str, int]:
    total = timing.prompt_tokens + timing.tokens
    return {"prompt_tokens": timing.prompt_tokens, "completion_tokens": timing.tokens, "total_tokens": total}


def _call(call: wire.Call) -> dict[str, Any]:
    return {"id": f"call_{uuid.uuid4()}", "type": "function", "function": asdict(call)}


def _logprobs(written: list[wire.Logprob]) -> dict[str, Any]:
    content = [{**_likely(token), "top_logprobs": [_likely(other) for other in token.top]} for token in written]
    return {"content": content, "refusal": None}


def _likely(token: wire.Logprob | wire.Likely) -> dict[str, Any]:
    return {"token": token.token, "logprob": token.logprob, "bytes": token.codes}
