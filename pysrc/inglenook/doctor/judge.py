"""Every answer held against what must be true of it, whatever was asked for: the complaints, each by a stable word.

What needs no model of our own (shapes, counts, texts that fit their pieces) holds for any engine; what compares tokens
and numbers needs a `Truth`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from inglenook.depth import parse
from inglenook.doctor.asks import Ask, Chat, Detokenize, Logits, Odds, Template, Together, Tokenize, Write, Written
from inglenook.doctor.truth import How, Truth
from inglenook.errors import NookError

SMALL, LATE = 0.3, 8  # deviations, and the position from which on a difference is late
ROWS = 8  # positions whose median says something
REASONS = {"end": "stop", "stop": "stop", "length": "length"}


@dataclass(frozen=True, slots=True)
class Complaint:
    """What is wrong with an answer: `sign` is a stable word, `text` a sentence for people with what was found, `detail`
    the code of the error or the kind of exception there was."""

    sign: str
    text: str
    detail: str = ""


def complaints(ask: Ask, reply: Any, truth: Truth | None) -> list[Complaint]:
    """What is wrong with the reply to an ask."""
    found: list[Complaint] = []
    try:
        for sign, text in _of(ask, reply, truth):
            found.append(Complaint(sign, text))
    except TypeError as error:
        found.append(Complaint("type", f"The answer has parts of the wrong type: {error}."))
    except (ValueError, KeyError, AttributeError, IndexError, ArithmeticError) as error:
        what = f"{type(error).__name__}: {error}"
        found.append(Complaint("shape", f"The answer is not of the shape it must have: {what}."))
    return found


Found = Iterator[tuple[str, str]]


def _of(ask: Ask, reply: Any, truth: Truth | None) -> Found:
    match ask:
        case Tokenize(text, special):
            yield from _ids(reply)
            if truth and (wanted := truth.encode(text, special)) != list(reply):
                yield "tokens", f"{text[:40]!r} becomes {_short(reply)}, not {_short(wanted)}."
        case Detokenize(ids):
            if truth and (text := truth.decode(ids)) != reply:
                yield "text of tokens", f"Tokens {_short(ids)} become {reply[:40]!r}, not {text[:40]!r}."
        case Template(messages):
            yield from _ids(reply)
            if truth and (wanted := truth.chat(messages)) != list(reply):
                yield "template", _differs(list(reply), wanted)
        case Logits(ids):
            yield from _scores(list(ids), reply, truth)
        case Odds(ids):
            yield from _scored(list(ids), reply, truth)
        case Write():
            yield from _written(ask, reply, truth)
        case Chat(body) if body.get("stream"):
            yield from _stream(ask, reply, truth)
        case Chat():
            yield from _completion(ask, reply, truth)
        case Together(parts):
            if len(reply) != len(parts):
                yield "count", f"{len(parts)} requests got {len(reply)} answers."
            for part, one in zip(parts, reply):
                if isinstance(one, NookError) and not part.dies:
                    yield "error", f"A request failed: {one}"
                elif part.dies == 1 and not isinstance(one, NookError):
                    yield "accepted", "A request went on though the backend had died under it."
                elif not part.dies:
                    yield from _of(part, one, truth)


# ── tokens and numbers ────────────────────────────────────────────────────────────────────────────────────────────


def _ids(reply: Any) -> Found:
    if not isinstance(reply, list) or any(type(token) is not int for token in reply):
        yield "type", f"Ids are {type(reply).__name__} of {sorted({type(token).__name__ for token in reply})}."


def _scores(ids: list[int], reply: np.ndarray, truth: Truth | None) -> Found:
    if reply.dtype != np.float32:
        yield "type", f"Logits are {reply.dtype}, not float32."
    if np.isnan(reply).any():
        yield "not a number", f"{int(np.isnan(reply).any(axis=1).sum())} of {len(reply)} rows have what is no number."
        return
    if not truth or not truth.computes:
        return
    wanted = truth.logits(ids)
    if wanted.shape != reply.shape:
        yield "shape", f"Logits have the shape {reply.shape}, not {wanted.shape}."
        return
    far = np.abs(reply - wanted).max(axis=1) / np.maximum(wanted.std(axis=1), 1e-6)
    off = len(ids) > ROWS and np.median(far) > truth.typical
    if len(bad := np.flatnonzero(far > (truth.typical if off else truth.slack))):
        at = int(bad[0])
        share = len(bad) / len(ids)
        where = "all" if share == 1 else f"{len(bad)} of {len(ids)}"
        sign = "small" if far.max() < SMALL else "late" if at >= LATE else "logits"
        yield sign, f"The scores of {where} positions differ, by {far[at]:.3g} deviations at the first, {at}."


def _scored(ids: list[int], reply: np.ndarray, truth: Truth | None) -> Found:
    if reply.dtype != np.float32 or reply.shape != (len(ids) - 1,):
        yield "shape", f"{len(ids)} tokens have odds of the shape {reply.shape}, {reply.dtype}."
    elif truth and truth.computes:
        rows = truth.logits(ids)[:-1].astype(np.float64)
        total = rows.max(axis=1) + np.log(np.exp(rows - rows.max(axis=1, keepdims=True)).sum(axis=1))
        far = np.abs(reply - (rows[np.arange(len(rows)), ids[1:]] - total))
        if len(bad := np.flatnonzero(~(far <= 4 * truth.slack * rows.std(axis=1) + 1e-4))):
            yield "logprobs", f"The odds of token {int(bad[0]) + 1} are off by {far[bad[0]]:.4f}."


def _written(ask: Write, reply: Written, truth: Truth | None) -> Found:
    yield from _ids(reply.ids)
    if type(reply.text) is not str or any(type(piece) is not str for piece in reply.pieces):
        yield "type", "Text is no text."
        return
    if ask.leaves or ask.dies:
        return
    if ask.max_tokens <= 0:
        if reply.ids or reply.text:
            yield "length", f"{len(reply.ids)} tokens were written where none was asked for."
        return
    if reply.stop not in REASONS:
        yield "stop reason", f"It stopped by {reply.stop!r}, which is none of {', '.join(REASONS)}."
    if reply.prompt_tokens != len(ask.ids):
        yield "prompt count", f"{len(ask.ids)} tokens were sent and {reply.prompt_tokens} counted."
    if not 0 < reply.prefilled <= len(ask.ids):
        yield "prefill count", f"Of {len(ask.ids)} tokens {reply.prefilled} are said to have been computed."
    if "".join(reply.pieces) != reply.text:
        yield "stream", f"The pieces {''.join(reply.pieces)[-40:]!r} are not the text {reply.text[-40:]!r}."
    if any(not piece for piece in reply.pieces):
        yield "stream", "A piece is empty."
    if len(reply.pieces) < min(2, len(reply.text) // 8):
        yield "stream", f"{len(reply.text)} characters came in {len(reply.pieces)} piece: nothing was streamed."
    if any(not math.isfinite(ms) or ms < 0 for ms in reply.ms.values()):
        yield "times", f"Times are {reply.ms}."
    if reply.ms and reply.ms["prefill_ms"] > reply.ms["first_ms"] + 1:
        yield "times", "Reading the prompt took longer than the first token."
    most = ask.max_tokens
    if truth:
        most = min(most, truth.context - len(ask.ids) + 1)
        yield from _text(ask, reply, truth)
    if len(reply.ids) > most:
        yield "length", f"{len(reply.ids)} tokens were written where {most} are the most."
    if reply.stop == "length" and len(reply.ids) < most:
        yield "length", f"It stopped by length after {len(reply.ids)} of {most} tokens."
    if truth and truth.computes and reply.ids:
        yield from _explained(ask, reply, truth)


def _text(ask: Write, reply: Written, truth: Truth) -> Found:
    """The text is that of the ids, up to a stop string."""
    whole, cut = truth.written(reply.ids), None
    for end in range(1, len(reply.ids) + 1 if ask.stop else 0):
        seen = truth.written(reply.ids[:end])
        hits = [(at + len(stop), at) for stop in ask.stop if stop and (at := seen.find(stop)) >= 0]
        if hits:
            cut = seen[: min(hits)[1]]
            if end < len(reply.ids):
                yield "stop string", f"It went on for {len(reply.ids) - end} tokens after a stop string."
            break
    if cut is None and reply.stop == "stop":
        yield "stop string", "It says that a stop string came; none did."
    if cut is not None and reply.stop != "stop":
        yield "stop string", f"A stop string came, and it stopped by {reply.stop!r}."
    if reply.text != (wanted := whole if cut is None else cut):
        yield "text", f"The text ends {reply.text[-40:]!r}; its tokens say {wanted[-40:]!r}."
    if any(token in truth.ends for token in reply.ids):
        yield "end", "It went on after a token that ends a text."
    if ask.logprobs is not None:
        shown = [truth.piece(i) for i in reply.ids if truth.tokens[i] not in truth.specials]
        told = [codes for codes, _, _ in reply.told]
        if told != shown[: len(told)] or (reply.stop != "stop" and b"".join(told) and len(told) < len(shown) - 4):
            yield "logprobs", f"{len(told)} tokens are told of, {len(shown)} were written, or they are others."
        yield from _odds([(p, [q for _, q in top]) for _, p, top in reply.told], ask.logprobs)
    elif reply.told:
        yield "logprobs", "Odds are told that were not asked for."


def _explained(ask: Write, reply: Written, truth: Truth) -> Found:
    """Each token could have been chosen, and what ended it came next."""
    how = How(ask.temperature, ask.top_p, ask.seed)
    ids = list(reply.ids)
    if found := truth.unexplained(ask.ids, ids, how):
        at, wanted = found
        yield "choice", f"Token {at} is {truth._name(ids[at])}; {wanted} was to come."
        return
    if reply.stop == "end" and all(truth.unexplained(ask.ids, [*ids, end], how) for end in sorted(truth.ends)):
        yield "end", f"It ended after {len(ids)} tokens, though no end was to come."
    if ask.logprobs is not None and all(truth.tokens[i] not in truth.specials for i in ids):
        rows = truth.logits([*ask.ids, *ids[:-1]])[len(ask.ids) - 1 :].astype(np.float64)
        for at, (_, told, top) in enumerate(reply.told):
            row = rows[at] - np.log(np.exp(rows[at] - rows[at].max()).sum()) - rows[at].max()
            near = 4 * truth.slack * float(rows[at].std()) + 1e-4
            best = np.sort(row)[::-1][: len(top)]
            if abs(told - row[ids[at]]) > near or any(abs(p - q) > near for (_, p), q in zip(top, best)):
                yield "logprobs", f"Token {at} has the log-probability {row[ids[at]]:.4f}, told as {told:.4f}."
                return


def _odds(told: Sequence[tuple[float, Sequence[float]]], top: int) -> Found:
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


# ── OpenAI's shape ────────────────────────────────────────────────────────────────────────────────────────────────


def _completion(ask: Chat, reply: Any, truth: Truth | None) -> Found:
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


def _stream(ask: Chat, reply: Any, truth: Truth | None) -> Found:
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
    yield from _odds(
        [(e["logprob"], [other["logprob"] for other in e["top_logprobs"]]) for e in entries],
        body.get("top_logprobs", 0),
    )
    data = b"".join(bytes(entry["bytes"]) for entry in entries)
    if not body.get("stop") and text != _whole(data):
        yield "text", f"The text ends {text[-30:]!r}; its tokens say {_whole(data)[-30:]!r}."
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


def _whole(data: bytes) -> str:
    import codecs

    return codecs.getincrementaldecoder("utf-8")("replace").decode(data)


def _differs(found: list[int], wanted: list[int]) -> str:
    at = next((i for i, (a, b) in enumerate(zip(found, wanted)) if a != b), min(len(found), len(wanted)))
    return f"{len(found)} ids for {len(wanted)}; at {at} stands {_short(found[at:])}, not {_short(wanted[at:])}."


def _short(ids: Any) -> str:
    return f"{list(ids[:6])}{'…' if len(ids) > 6 else ''}"
