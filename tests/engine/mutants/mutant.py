"""A mutant: a fault of which is known how it shows, and short ways to write one.

    @planted("Numerical issue", "inglenook.elastic.reference:_total", shows=answers(Write(ids(20), logprobs=3)))
    def name_of_the_mutant(total: Any) -> Any:
        \"\"\"What is wrong.\"\"\"
        return lambda scores: …

`shows` is asked of a clean engine and of the mutant: what it gives must differ, and be the same for any two clean ones.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from engine.faulty import Fault, Patch
from engine.tiny import gguf
from inglenook.doctor.asks import Ask, Chat, Written
from inglenook.doctor.engine import Crash, Engine, Hang, ask
from inglenook.doctor.kits import PlainKit
from inglenook.elastic.gguf import Gguf
from inglenook.errors import NookError

PATIENCE = 30.0  # seconds for an answer: more than any takes that comes at all
Show = Callable[[Engine], Any]


@dataclass(frozen=True)
class Mutant(Fault):
    """A fault, and a function of an engine by which it differs from a clean one."""

    shows: Show = field(kw_only=True)


def planted(cause: str, target: str, *, shows: Show) -> Callable[[Callable[[Any], Any]], Mutant]:
    """Of a function that makes what is to stand at `target` of what stood there: its name and docstring are its own."""
    return lambda make: Mutant(_name(make), cause, make.__doc__ or "", (Patch(target, make),), shows=shows)


def configured(cause: str, *, shows: Show) -> Callable[[Callable[[PlainKit], PlainKit]], Mutant]:
    """Of a function that gives the engine other files or settings than the doctor is told of."""
    return lambda change: Mutant(_name(change), cause, change.__doc__ or "", kit=change, shows=shows)


def _name(function: Callable[..., Any]) -> str:
    return function.__name__.replace("_", "-")


# ── what to ask ───────────────────────────────────────────────────────────────────────────────────────────────────


def ids(count: int, salt: int = 0) -> tuple[int, ...]:
    """Tokens of text, no control tokens; another salt gives others from the first on."""
    return tuple((7 * i * i + 3 * i + 5 + 31 * salt) % 270 + 3 for i in range(count))


def chat(text: str = "hi", **more: Any) -> Chat:
    return Chat({"messages": [{"role": "user", "content": text}], "max_tokens": 12, **more})


# ── what came ─────────────────────────────────────────────────────────────────────────────────────────────────────


def answers(*asks: Ask, switches: Sequence[str] = ()) -> Show:
    """What comes of these, one after the other."""
    return lambda engine: [
        outcome(one, what) for one in [engine.switched(switches) if switches else engine] for what in asks
    ]


def outcome(engine: Engine, what: Ask) -> Any:
    """An answer without what differs each time (times, passes, ids of completions), or how it failed."""
    try:
        return plain(ask(engine, what, PATIENCE).value)
    except NookError as error:
        return plain(error)
    except Crash as error:
        return "crashed", error.what
    except Hang:
        return "hangs"


def plain(value: Any) -> Any:
    """Something that compares: numbers to three places."""
    match value:
        case NookError():
            return "refused", value.code, value.message
        case Written():
            fields = [entry.name for entry in dataclasses.fields(value) if entry.name not in ("ms", "turns")]
            return plain([getattr(value, name) for name in fields])
        case {"passes": _, "ran": _, **state}:  # drafts are made as they are seen to pay
            return state
        case dict():
            return {name: plain(one) for name, one in value.items() if name not in ("id", "created", "timing")}
        case list() | tuple():
            return [plain(one) for one in value]
        case float():
            return round(value, 3)
        case np.ndarray():
            return np.round(value, 3).tolist()
    return value


# ── files ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def rewritten(
    kit: PlainKit, metadata: Mapping[str, Any] | None = None, tensors: Mapping[str, np.ndarray] | None = None
) -> PlainKit:  # fmt: skip
    """A kit with other metadata or other blocks of tensors in its model's file, which comes without first logits."""
    file = Gguf(kit.gguf)
    held = {name: (one.kind, one.blocks) for name, one in file.tensors.items()}
    held |= {name: (file.tensors[name].kind, blocks) for name, blocks in (tensors or {}).items()}
    columns = {name: one.shape[-1] for name, one in file.tensors.items()}
    packed = {name: (kind, (*b.shape[:-1], columns[name]), b.tobytes()) for name, (kind, b) in held.items()}
    return dataclasses.replace(kit, gguf=gguf({**file.metadata, **(metadata or {})}, packed), check=b"")


def coarse(x: np.ndarray) -> np.ndarray:
    """float32 rounded to bfloat16's eight bits."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    rounded: np.ndarray = (bits + 0x7FFF + (bits >> 16 & 1) & np.uint32(0xFFFF0000)).view(np.float32)
    return rounded
