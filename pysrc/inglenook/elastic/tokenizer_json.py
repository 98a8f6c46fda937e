"""Hugging Face's tokenizer.json as the file that `Tokenizer.load` reads: byte-level BPE, however it cuts words."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from inglenook.elastic.pattern import GPT2, SMOLLM, compiled
from inglenook.elastic.tokenizer import FORMAT
from inglenook.errors import NookError


def convert(data: bytes, ends: Iterable[int], template: str = "", names: Mapping[str, str] | None = None) -> bytes:
    """The tokenizer in `data`; any of `ends` ends a text, `template` is that of chats, and `names` are tokens by what
    it calls them; its "eos_token" ends a text, too.

    Raises NookError("model-corrupt" | "model-unsupported").
    """
    try:
        file = json.loads(data)
        model, added = file["model"], file.get("added_tokens") or []
        if model.get("type") != "BPE" or model.get("byte_fallback") or model.get("continuing_subword_prefix"):
            raise _unsupported("it is no byte-level BPE")
        normaliser = file.get("normalizer")
        if normaliser and normaliser["type"] != "NFC":
            raise _unsupported(f"it normalises text by {normaliser['type']}")
        ids = model["vocab"] | {entry["content"]: entry["id"] for entry in added}
        tokens = [""] * (1 + max(ids.values()))
        for token, index in ids.items():
            tokens[index] = token
        merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
        if any("\n" in item for item in (*tokens, *merges)):
            raise _unsupported("a token holds a line break")
        own = [ids[token] for name, token in (names or {}).items() if name == "eos_token" and token in ids]
        made = {
            "format": FORMAT, "tokens": "\n".join(tokens), "merges": "\n".join(merges),
            "special": [entry["id"] for entry in added], "ends": sorted({*ends, *own}), "template": template,
            "cut": _cut(file.get("pre_tokenizer") or {}), "composed": normaliser is not None, "names": names or {},
        }  # fmt: skip
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise NookError("model-corrupt", "The tokenizer's file is damaged.", "Download it again.") from error
    return json.dumps(made, ensure_ascii=False, separators=(",", ":")).encode()


def _cut(pre: dict[str, Any]) -> str:
    """The pattern of words."""
    steps = pre.get("pretokenizers") or [pre]
    kinds, last = [step.get("type") for step in steps], steps[-1]
    if kinds[-1] != "ByteLevel" or last.get("add_prefix_space"):
        raise _unsupported("its words are not cut into bytes")
    gpt2 = last.get("use_regex", True)
    if kinds == ["ByteLevel"] and gpt2:
        return GPT2
    if kinds == ["Digits", "ByteLevel"] and steps[0]["individual_digits"] and gpt2:
        return SMOLLM
    split = steps[0].get("pattern", {}).get("Regex")
    if kinds != ["Split", "ByteLevel"] or not split or gpt2 or steps[0].get("behavior") != "Isolated":
        raise _unsupported("its way of cutting words is not known")
    return str(compiled(split) and split)


def _unsupported(what: str) -> NookError:
    return NookError("model-unsupported", f"This tokenizer is not supported: {what}.", "Use a byte-level BPE model.")
