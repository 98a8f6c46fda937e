"""Completions in OpenAI's shape, whole and streamed, held against what must be true of them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from typing import Any

from inglenook.depth import parse
from inglenook.doctor.asks import Chat
from inglenook.doctor.truth import How, Truth

REASONS = {"end": "stop", "stop": "stop", "length": "length"}
Found = Iterator[tuple[str, str]]
"""Complaints: a stable word and a sentence for people."""


def whole(ask: Chat, reply: Any, truth: Truth | None) -> Found:
    """What is wrong with one that came at once."""
    json.dumps(reply, allow_nan=False)
    yield from _head(reply, "chat.completion")
    [choice] = reply["choices"]
    message = choice["message"]
    if message["role"] != "assistant" or choice["index"] != 0:
        yield "format", "The message is not the assistant's first."
    yield from _timed(reply.get("timing"), reply["usage"], None if ask.leaves else truth)
    yield from _said(ask, message, choice, reply["usage"], truth)


def _timed(timing: Any, usage: Any, truth: Truth | None) -> Found:
    """What our own engines tell beside OpenAI's shape."""
    if not timing or not truth:
        return
    names = ("search_ms", "load_ms", "queue_ms", "prefill_ms", "decode_ms", "first_ms", "token_ms")
    if any(type(timing[name]) not in (int, float) or not 0 <= timing[name] < 1e7 for name in names):
        yield "times", f"Times are {[timing[name] for name in names]}."
        return
    if timing["prefill_ms"] > timing["first_ms"] + 1 or timing["search_ms"]:
        yield "times", "Reading the prompt took longer than the first token, or something was searched."
    steps = max(1, timing["tokens"] - 1)
    if abs(timing["token_ms"] * steps - timing["decode_ms"]) > 0.01 + timing["decode_ms"] / 100:
        yield "times", f"{steps} tokens of {timing['token_ms']:.3f} ms did not take {timing['decode_ms']:.3f} ms."
    if timing["stop"] not in REASONS or timing["where"] != "machine" or timing["level"] or timing["ratio"] != 1:
        yield "identity", f"It says {timing['stop']!r}, {timing['where']!r}, level {timing['level']}."
    told = (usage or {}).get("prompt_tokens"), (usage or {}).get("completion_tokens")
    if usage and told != (timing["prompt_tokens"], timing["tokens"]):
        yield "usage", f"{told} tokens are told and {(timing['prompt_tokens'], timing['tokens'])} timed."
    if timing["whole_tokens"] != timing["prompt_tokens"]:
        yield (
            "prompt count",
            f"{timing['prompt_tokens']} of {timing['whole_tokens']} tokens are said to have been read.",
        )


def streamed(ask: Chat, reply: Any, truth: Truth | None) -> Found:
    """What is wrong with one that came in chunks."""
    json.dumps(reply, allow_nan=False)
    if not reply:
        yield "stream", "The stream is empty."
        return
    if len({chunk["id"] for chunk in reply}) != 1:
        yield "format", "Chunks of one stream have several ids."
    calls: list[Any] = []
    reasons: list[str] = []
    told: list[Any] = []
    usage, content = None, ""
    for at, chunk in enumerate(reply):
        yield from _head(chunk, "chat.completion.chunk")
        usage = chunk.get("usage") or usage
        for choice in chunk["choices"]:
            if reasons:
                yield "stream", "Something came after the reason for its end."
            delta = choice["delta"]
            if at == 0 and delta.get("role") != "assistant":
                yield "format", "The first chunk does not say who speaks."
            content += delta.get("content") or ""
            calls += delta.get("tool_calls") or []
            told += (choice.get("logprobs") or {}).get("content") or []
            reasons += [choice["finish_reason"]] if choice.get("finish_reason") else []
    if len(reasons) != 1:
        yield "stream", f"The stream has {len(reasons)} ends."
        return
    if sum(bool((c.get("delta") or {}).get("content")) for x in reply for c in x["choices"]) < min(
        2, len(content) // 12
    ):
        yield "stream", f"{len(content)} characters came in one piece: nothing was streamed."
    options: Any = ask.body.get("stream_options") or {}
    if options.get("include_usage") and not usage:
        yield "format", "The stream does not tell the usage that was asked for."
    if truth and any(("usage" in chunk) != bool(options.get("include_usage")) for chunk in reply):
        yield "format", "Usage stands in chunks of a stream that was not asked for it, or is missing in one that was."
    if truth and usage and (reply[-1]["choices"] or any(chunk.get("usage") for chunk in reply[:-1])):
        yield "format", "Usage does not come last, and alone."
    timing = next((chunk["timing"] for chunk in reply if chunk.get("timing")), None)
    yield from _timed(timing, usage, None if ask.leaves else truth)
    message: dict[str, Any] = {"content": content or (None if calls else ""), "tool_calls": calls}
    choice = {"finish_reason": reasons[0], "logprobs": {"content": told} if told else None}
    yield from _said(ask, message, choice, usage, truth)


def _head(reply: Any, kind: str) -> Found:
    if not isinstance(reply["id"], str) or not reply["id"]:
        yield "format", "There is no id."
    if reply["object"] != kind:
        yield "format", f"The object is {reply['object']!r}, not {kind!r}."
    if type(reply["created"]) is not int or not isinstance(reply["model"], str):
        yield "type", "When it was made, or by which model, is no number or no text."
    if not isinstance(reply["choices"], list):
        yield "type", "Choices are no list."


def _said(ask: Chat, message: Any, choice: Any, usage: Any, truth: Truth | None) -> Found:
    """What holds of a completion, streamed or not."""
    body: Any = ask.body
    content, calls, reason = message["content"], message.get("tool_calls") or [], choice["finish_reason"]
    most = body.get("max_completion_tokens") or body.get("max_tokens", 256)
    if content is not None and type(content) is not str:
        yield "type", f"The content is {type(content).__name__}."
        return
    text = content or ""
    if reason not in ("stop", "length", "tool_calls"):
        yield "stop reason", f"The finish reason is {reason!r}."
    if ask.leaves or ask.dies:
        return
    stops = body.get("stop") or []
    for stop in [stops] if isinstance(stops, str) else stops:
        if stop and stop in text:
            yield "stop string", f"The stop string {stop!r} is in the answer."
    if usage:
        numbers = [usage[name] for name in ("prompt_tokens", "completion_tokens", "total_tokens")]
        if any(type(number) is not int for number in numbers):
            yield "type", f"Counts are {[type(number).__name__ for number in numbers]}."
            return
        prompt, completion, total = numbers
        if total != prompt + completion:
            yield "usage", f"{prompt} and {completion} tokens are told as {total}."
        if completion > most:
            yield "length", f"{completion} tokens were written where {most} are the most."
        if reason == "length" and completion < most and not _full(truth, prompt, completion):
            yield "length", f"It stopped by length after {completion} of {most} tokens."
        free = not stops and not body.get("tools") and "regex" not in body and "response_format" not in body
        if truth and free and reason == "stop" and completion >= most:
            yield "stop reason", f"It wrote all of its {most} tokens and says that it had come to an end."
        if completion == 0 and text:
            yield "usage", "There is text, and no token of it was counted."
        yield from _counted(ask, prompt, truth)
    yield from _formed(body, text, calls, reason)
    yield from _told(ask, choice.get("logprobs"), text, usage, truth)


def _full(truth: Truth | None, prompt: int, completion: int) -> bool:
    return truth is None or prompt + completion > truth.context


def _plain(body: Any) -> list[tuple[str, str]] | None:
    """The messages, where the prompt is nothing but them."""
    if body.get("tools") or (body.get("response_format") or {}).get("type") in ("json_object", "json_schema"):
        return None
    if any(not isinstance(message["content"], str) or message.get("tool_calls") for message in body["messages"]):
        return None
    roles = {"developer": "system"}
    return [(roles.get(message["role"], message["role"]), message["content"]) for message in body["messages"]]


def _counted(ask: Chat, prompt: int, truth: Truth | None) -> Found:
    messages = _plain(ask.body)
    if truth and messages and (wanted := len(truth.chat(messages))) != prompt:
        yield "prompt count", f"The prompt has {wanted} tokens by the model's template; {prompt} were counted."
    if not truth or messages is not None:
        return
    told: Any = ask.body  # what is to be kept to stands in the prompt, as JSON
    shown = [tool["function"]["parameters"] for tool in told.get("tools") or [] if told.get("tool_choice") != "none"]
    form = told.get("response_format") or {}
    if form.get("type") == "json_schema" and told.get("tool_choice") != "required":
        shown.append(form["json_schema"]["schema"])
    texts = [json.dumps(one, ensure_ascii=False, separators=(",", ":")) for one in shown]
    said = [str(message["content"]) for message in told["messages"] if isinstance(message["content"], str)]
    least = sum(len(truth.encode(text)) for text in (*texts, *said))
    if not least <= prompt <= least + 500:
        yield "prompt count", f"The prompt has {prompt} tokens; what must be in it has {least}."


def _formed(body: Any, text: str, calls: list[Any], reason: str) -> Found:
    """What was written has the form that was asked for."""
    form = body.get("response_format") or {}
    names = {tool["function"]["name"]: tool["function"].get("parameters") for tool in body.get("tools") or []}
    if calls and reason != "tool_calls":
        yield "format", f"Functions are called, and the finish reason is {reason!r}."
    if not calls and reason == "tool_calls":
        yield "format", "The finish reason is tool_calls, and nothing is called."
    for call in calls:
        function = call["function"]
        if call["type"] != "function" or not call["id"] or function["name"] not in names:
            yield "form", f"A call is of {function['name']!r}, which is no function there is."
        elif not isinstance(parse(function["arguments"]), dict):
            yield "form", "The arguments of a call are no object."
        else:
            yield from _fits(parse(function["arguments"]), names[function["name"]] or {})
    if body.get("tool_choice") == "required" and not calls and reason == "stop":
        yield "form", "A call was required, and none was made."
    if "regex" in body and reason == "stop" and not re.fullmatch(body["regex"], text):
        yield "form", f"{text[:40]!r} does not match {body['regex']!r}."
    if form.get("type") in ("json_object", "json_schema") and reason == "stop" and not calls:
        try:
            value = parse(text)
        except ValueError:
            yield "form", f"{text[:60]!r} is no JSON."
            return
        yield from _fits(value, form["json_schema"]["schema"] if "json_schema" in form else {"type": "object"})


def _fits(value: Any, schema: Any) -> Found:
    """Against the few words of JSON Schema that the doctor's own schemas use."""
    kinds: dict[str, Any] = {"object": dict, "array": list, "string": str, "integer": int, "boolean": bool}
    if (kind := schema.get("type")) and not isinstance(value, kinds[kind]):
        yield "form", f"{str(value)[:40]} is no {kind}."
        return
    if kind == "integer" and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        yield "form", f"{value} is out of bounds."
    if kind in ("string", "array") and len(value) > schema.get("maxItems", schema.get("maxLength", len(value))):
        yield "form", f"{str(value)[:40]} is too long."
    if "enum" in schema and value not in schema["enum"]:
        yield "form", f"{value!r} is none of {schema['enum']}."
    if isinstance(value, dict):
        for name in schema.get("required", []):
            if name not in value:
                yield "form", f"There is no {name!r}."
        for name, of in schema.get("properties", {}).items():
            if name in value:
                yield from _fits(value[name], of)


def _told(ask: Chat, told: Any, text: str, usage: Any, truth: Truth | None) -> Found:
    """Log-probabilities in OpenAI's shape, and with them which tokens were written."""
    body: Any = ask.body
    if not body.get("logprobs"):
        if told:
            yield "logprobs", "Odds are told that were not asked for."
        return
    entries = (told or {}).get("content") or []
    if text and not entries:
        yield "logprobs", "Odds were asked for, and none are told."
        return
    for entry in entries:
        if bytes(entry["bytes"]).decode("utf-8", "replace") != entry["token"]:
            yield "logprobs", f"The bytes of {entry['token']!r} are others."
            return
    yield from odds(
        [(e["logprob"], [other["logprob"] for other in e["top_logprobs"]]) for e in entries],
        body.get("top_logprobs", 0),
    )
    data = b"".join(bytes(entry["bytes"]) for entry in entries)
    if not body.get("stop") and text != _text(data):
        yield "text", f"The text ends {text[-30:]!r}; its tokens say {_text(data)[-30:]!r}."
    if truth and truth.computes and usage and usage["completion_tokens"] == len(entries):
        yield from _chat_explained(ask, entries, truth)


def _chat_explained(ask: Chat, entries: list[Any], truth: Truth) -> Found:
    """Tokens by their bytes: in a vocabulary of byte pairs each text is one token."""
    messages, body = _plain(ask.body), ask.body
    if messages is None or body.get("regex"):
        return
    known = {truth.piece(i): i for i in range(len(truth.tokens)) if truth.tokens[i] not in truth.specials}
    ids = [known.get(bytes(entry["bytes"]), -1) for entry in entries]
    if -1 in ids:
        yield "text of tokens", "A token is told that is not in the vocabulary."
        return
    told: Any = body
    how = How(told.get("temperature", 0.0), told.get("top_p", 1.0), told.get("seed", 0))
    prompt = truth.chat(messages)
    if found := truth.unexplained(prompt, ids, how):
        yield "choice", f"Token {found[0]} is {truth._name(ids[found[0]])}; {found[1]} was to come."


def _text(data: bytes) -> str:
    import codecs

    return codecs.getincrementaldecoder("utf-8")("replace").decode(data)


def odds(told: Sequence[tuple[float, Sequence[float]]], top: int) -> Found:
    """What is wrong with log-probabilities: of each token its own, and those of its `top` alternatives."""
    for own, others in told:
        if not own <= 1e-6 or any(not p <= 1e-6 for p in others):
            yield "logprobs", f"A log-probability of {own:.4f} is above 0."
            return
        if list(others) != sorted(others, reverse=True) or sum(math.exp(p) for p in others) > 1.001:
            yield "logprobs", "Alternatives are out of order, or more than certain together."
            return
        if len(others) != top:
            yield "logprobs", f"{top} alternatives were asked for, {len(others)} came."
            return
