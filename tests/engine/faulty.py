"""Engines with a fault planted in them: what the doctor is measured on.

A fault is code of the engine replaced while the engine runs, other files than the doctor was told of, or both:

    Fault("stale-copy", "Incorrect cache management", "a page is not copied", patches=(
        Patch("inglenook.doctor.plain:Paged.copy", lambda copy: lambda self, source, target: None),
    ))
    Fault("half-scale", "Mismatched precision", "weights are read in half precision", kit=lambda kit: …)

`Patch.target` is "module:name" or "module:Class.name" of anything in `inglenook` or in a module it uses ("json:loads").
`make` is given what stands there and returns what is to stand there instead. A function that other modules imported by
name is replaced in those, too. Patches hold only while the engine is built or answers, so the doctor's own calls of the
same code are never patched: its truth stays true. State between answers lives in what `make` closes over; it is called
anew for every engine, so a fresh engine has fresh state.

`kit` is given the `PlainKit` the engine is made of and returns another one; the truth is that of the first. What the
engine runs: `library`, `answer.chat`, `completions`, all of `elastic` that those reach, `doctor.local` (the driver: how
requests take turns, how effects are performed) and `doctor.plain` (the model: pages, passes).
"""

from __future__ import annotations

import functools
import importlib
import inspect
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from engine.tiny import CONTROL, MERGES, llama
from inglenook.doctor.asks import Ask
from inglenook.doctor.kits import PlainKit
from inglenook.doctor.local import OWN, Local
from inglenook.elastic.tokenizer import _letters


@dataclass(frozen=True)
class Patch:
    """Replace what stands at `target` by what `make` makes of it."""

    target: str
    make: Callable[[Any], Any]


@dataclass(frozen=True)
class Fault:
    """A fault: a name of its own, one of the 28 causes (`doctor.causes.NAMES`), a sentence, and what is done."""

    name: str
    cause: str
    about: str
    patches: tuple[Patch, ...] = ()
    kit: Callable[[PlainKit], PlainKit] = lambda kit: kit

    def engine(self, kit: PlainKit) -> Faulty:
        return Faulty(self, kit)


class Faulty:
    """The engine of a kit with a fault in it."""

    def __init__(self, fault: Fault, kit: PlainKit, switches: Sequence[str] = ()) -> None:
        self._fault, self._kit = fault, kit
        self._patches = [(patch.target, patch.make) for patch in fault.patches]
        self._made: dict[str, Any] = {}
        self.name, self.tiers, self.switches = kit.name, Local.tiers, kit.switches | OWN
        self.damages: Mapping[str, tuple[str, ...]] = kit.damages
        self._on = tuple(switches)
        self._engine: Local | None = None

    def answer(self, ask: Ask) -> Any:
        with self._planted():
            if self._engine is None:
                self._engine = Local(self._fault.kit(self._kit), self._on)
            return self._engine.answer(ask)

    def switched(self, switches: Sequence[str]) -> Faulty:
        made = Faulty(self._fault, self._kit, switches)
        with made._planted():
            made._engine = Local(self._fault.kit(self._kit), switches)
        return made

    def close(self) -> None:
        if self._engine:
            with self._planted():
                self._engine.close()

    @contextmanager
    def _planted(self) -> Iterator[None]:
        undo: list[tuple[Any, str, Any]] = []
        _forget()
        try:
            for target, make in self._patches:
                undo += _replace(target, make, self._made)
            yield
        finally:
            for place, name, before in reversed(undo):
                setattr(place, name, before)
            _forget()


def _replace(target: str, make: Callable[[Any], Any], made: dict[str, Any]) -> list[tuple[Any, str, Any]]:
    """Put what `make` makes in all places of a target; returns what has to be put back."""
    module, _, path = target.partition(":")
    *owners, name = path.split(".")
    place: Any = importlib.import_module(module)
    for owner in owners:
        place = getattr(place, owner)
    before = inspect.getattr_static(place, name)
    inner = before.__func__ if isinstance(before, staticmethod | classmethod) else before
    if target not in made:
        new = make(inner)
        made[target] = type(before)(new) if inner is not before else new
    places = [place]
    if not owners and callable(before):  # modules that imported it by name have it, too
        others = [other for key, other in sys.modules.items() if key.startswith("inglenook.")]
        places += [other for other in others if other is not place and vars(other).get(name) is before]
    for one in places:
        setattr(one, name, made[target])
    return [(one, name, before) for one in places]


def _forget() -> None:
    """What functions keep of their results is of the engine that asked."""
    for key, module in list(sys.modules.items()):
        if key.startswith("inglenook.elastic"):
            for value in list(vars(module).values()):
                if isinstance(value, functools._lru_cache_wrapper):
                    value.cache_clear()


PAIRS = [*MERGES, "o n", "a n", "r e", "e n", "s t", "o r", "Ġ o"]
TEMPLATE = (
    "{% if messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou are tiny<|im_end|>\n' }}{% endif %}"
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
VOCABULARY = 280
"""A multiple of 8, as our kernel has it."""


def kit(activations: str = "f32", seed: int = 5, context: int = 512, weights: str = "Q8_0") -> PlainKit:
    """A Llama of two layers with random weights and the tokenizer of `tiny`, with its first logits beside it."""
    file = llama(vocabulary=VOCABULARY, seed=seed, kind=weights, **{"llama.context_length": context})
    return PlainKit(bytes(file._data), tokenizer(), activations, context).checked()


def tokenizer() -> bytes:
    """All bytes, three control tokens and some merges, as a file."""
    tokens = [*CONTROL, *_letters(), *(merge.replace(" ", "") for merge in PAIRS)]
    told = {"format": 1, "tokens": "\n".join(tokens), "merges": "\n".join(PAIRS), "special": [0, 1, 2]}
    return json.dumps(told | {"ends": [0, 2], "template": TEMPLATE}).encode()


EXAMPLES = (
    Fault("example-mask", "Incorrect algorithm implementation", "attention sees one position too many", (
        Patch("inglenook.elastic.reference:_softmax", lambda softmax: lambda x: softmax(np.where(x == -np.inf, -3, x))),
    )),
    Fault("example-stale", "Incorrect cache management", "a page that is known in part is not copied", (
        Patch("inglenook.doctor.plain:Paged.copy", lambda copy: lambda self, source, target: None),
    )),
)  # fmt: skip
"""How it is done. They are not counted."""
