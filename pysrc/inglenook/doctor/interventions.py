"""Interventions: change one thing, ask again, and see whether it is gone. That tells more of a cause than any symptom
(developers of engines do the same: in more than 60 % of silent errors they toggled settings, 2606.04594)."""

from __future__ import annotations

from typing import Any

from inglenook.doctor.asks import Ask, Case, Chat, Template, Together, Tokenize, Within, Write
from inglenook.doctor.truth import Truth

SWITCHES = {
    "no prefix cache": "every prompt is read from its beginning",
    "one chunk": "a prompt is read in one piece",
    "no KV cache": "every pass computes all positions anew",
    "batch 1": "what is asked at once runs one after the other",
    "fp32": "activations in full precision",
    "scalar kernels": "the plain build of the kernels",
    "one thread": "one thread",
    "no drafts": "every token has a pass of its own",
    "fresh engine": "a new engine for every question",
}
"""What an engine may be able to change of itself."""
REWRITES = {
    "raw ids": "token ids in place of a chat",
    "no template": "the same text without the template",
}
"""What can be changed of the question, where the truth can tokenise."""


def rewritten(case: Case, how: str, truth: Truth) -> Case | None:
    """A case with its chats as ids; None where there is nothing to rewrite."""
    found = [_ask(ask, how, truth) for ask in case.asks]
    if case.refused or any(ask is None for ask in found) or found == list(case.asks):
        return None
    return Case(tuple(ask for ask in found if ask is not None))


def _ask(ask: Ask, how: str, truth: Truth) -> Ask | None:
    match ask:
        case Chat(body):
            return _raw(body, how, truth, ask)
        case Together(parts):
            made = [_ask(part, how, truth) for part in parts]
            return Together(tuple(made)) if all(isinstance(part, Write) for part in made) else None  # type: ignore[arg-type]
        case Within(inner, where):
            raw = _ask(inner, how, truth)
            return Within(raw, where) if raw else None
        case Tokenize() | Template():
            return None
    return ask


def _raw(body: Any, how: str, truth: Truth, ask: Chat) -> Ask | None:
    told = {"messages", "max_tokens", "temperature", "top_p", "seed", "stop", "stream", "stream_options", "logprobs",
            "top_logprobs", "n", "max_completion_tokens"}  # fmt: skip
    messages = body["messages"]
    if body.keys() - told or any(not isinstance(message.get("content"), str) for message in messages):
        return None
    pairs = [(message["role"], message["content"]) for message in messages]
    ids = truth.chat(pairs) if how == "raw ids" else truth.encode("\n".join(content for _, content in pairs))
    stop = body.get("stop", ())
    return Write(
        tuple(ids), int(body.get("max_completion_tokens") or body.get("max_tokens", 256)),
        float(body.get("temperature", 0)), float(body.get("top_p", 1)), int(body.get("seed", 0)),
        (stop,) if isinstance(stop, str) else tuple(stop), leaves=ask.leaves, dies=ask.dies,
    )  # fmt: skip
