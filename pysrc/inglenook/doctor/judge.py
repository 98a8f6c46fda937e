"""Every answer held against what must be true of it, whatever was asked for: the complaints, each by a stable word.

What needs no model of our own (shapes, counts, texts that fit their pieces) holds for any engine; what compares tokens
and numbers needs a `Truth`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from inglenook.doctor import completion
from inglenook.doctor.asks import Ask, Chat, Detokenize, Logits, Odds, Template, Together, Tokenize, Write, Written
from inglenook.doctor.completion import REASONS, Found, odds
from inglenook.doctor.truth import How, Truth
from inglenook.errors import NookError

SMALL, LATE = 0.3, 8  # deviations, and the position from which on a difference is late
ROWS = 8  # positions whose median says something


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
            yield from completion.streamed(ask, reply, truth)
        case Chat():
            yield from completion.whole(ask, reply, truth)
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
        yield from odds([(p, [q for _, q in top]) for _, p, top in reply.told], ask.logprobs)
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


def _differs(found: list[int], wanted: list[int]) -> str:
    at = next((i for i, (a, b) in enumerate(zip(found, wanted)) if a != b), min(len(found), len(wanted)))
    return f"{len(found)} ids for {len(wanted)}; at {at} stands {_short(found[at:])}, not {_short(wanted[at:])}."


def _short(ids: Any) -> str:
    return f"{list(ids[:6])}{'…' if len(ids) > 6 else ''}"
