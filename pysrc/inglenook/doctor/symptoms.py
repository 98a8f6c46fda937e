"""What a user sees, in the six classes of the study of engine bugs (2506.09713)."""

from __future__ import annotations

from collections.abc import Iterable

CRASH, OUTPUT, FEATURE = "Crash", "Unexpected output", "Feature failure"
PERFORMANCE, HANG, SILENT = "Abnormal performance", "Hang", "Silent error"
SYMPTOMS = {CRASH: 603, OUTPUT: 122, FEATURE: 107, PERFORMANCE: 53, HANG: 35, SILENT: 12}
"""The classes, and how many of the paper's 932 instances each had."""
ORDER = (CRASH, HANG, OUTPUT, FEATURE, PERFORMANCE, SILENT)
"""The one that is seen first stands first."""

_OF = {
    "crash": CRASH,
    "hang": HANG,
    **dict.fromkeys(
        ("slow", "slow tokens", "work", "reuse", "waits", "memory", "pages", "places", "room"), PERFORMANCE
    ),
    **dict.fromkeys(
        ("error", "error code", "error text", "accepted", "busy", "form", "format", "type", "shape"), FEATURE
    ),
    **dict.fromkeys(
        ("logits", "small", "late", "prompt count", "prefill count", "usage", "logprobs", "times", "setting"), SILENT
    ),
    **dict.fromkeys(("vocabulary", "specials", "ends", "identity", "not a number"), SILENT),
}


def symptom(sign: str) -> str:
    """The class of a finding's sign. What is wrong in numbers alone, so that nobody sees it, is a silent error."""
    return SILENT if sign.startswith("operation ") else _OF.get(sign, OUTPUT)


def seen(signs: Iterable[str]) -> list[str]:
    """The classes of several findings, the one that is noticed first at the front."""
    found = {symptom(sign) for sign in signs}
    return [name for name in ORDER if name in found]
