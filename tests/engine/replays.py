"""Bugs that engines really had, planted in ours as they were reported: what the doctor must find again.

The third of its kind, a quantised model that WebGPU computes wrongly, cannot be planted; `tests/browser` asks the
onnxruntime-web of today, on a graphics processor made of software.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engine.faulty import Fault, Patch


@dataclass(frozen=True)
class Replay:
    """A fault, where it was reported, and the findings one of which tells it behind a URL."""

    fault: Fault
    reports: Sequence[str]
    signs: frozenset[str]


REPLAYS = (
    Replay(
        Fault("missing BOS", "Prompt template", "the first control token of a chat is left out", (
            Patch("inglenook.elastic.chat:encode", lambda encode: lambda *a, **k: encode(*a, **k)[1:]),
        )),
        ("abetlen/llama-cpp-python#1537", "vllm-project/vllm#11432"),
        frozenset({"chat: prompt count"}),
    ),
    Replay(
        Fault("stale prefix cache", "Incorrect cache management", "a page of another prompt is found again", (
            Patch("inglenook.elastic.cache:common", lambda common: lambda a, b: min(common(a, b) + 1, len(a), len(b))),
        )),
        ("vllm-project/vllm#7845", "vllm-project/vllm#5543", "tenstorrent/vllm#415"),
        frozenset({"chat: choice", "chat: differs"}),
    ),
)  # fmt: skip
