"""The tab's engine for the doctor: the same kernels, weights and flows, in the workbench's own worker, where each step
can be asked for and waited for.

The plain way beside it is the kernel's other build (no relaxed SIMD) from an empty cache, with no pages shared, no
drafts and no pieces but of sixteen tokens. A float pass over these weights takes a tab minutes a prompt, so what both
builds get wrong alike is left to the first logits at load (`elastic.selfcheck`) and to `inglenook doctor native`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import js
import numpy as np
from pyodide.ffi import JsException, to_js

from inglenook.doctor.truth import Truth
from inglenook.elastic import selfcheck
from inglenook.flow import Candidates, Forward, Loaded, drive
from inglenook.platform.browser.engine import candidates, from_js, ints, options

EACH = 16  # rows of scores that a pass gives at most


class Model:
    """A `LanguageModel` of web/lib/wasm-model.js, with the methods of `platform.native.lm.Model`."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle
        self.pages, self.context = int(handle.pages), int(handle.context)
        self.config: Any = json.loads(js.JSON.stringify(handle.whole().config))

    def forward(
        self, tokens: list[int], at: int, top: int = 64, *, level: int = 0, pages: Sequence[int] = (), each: int = 1,
        allow: bytes | None = None,
    ) -> Candidates:  # fmt: skip
        """What `flow.Forward` asks for."""
        bits = to_js(np.frombuffer(allow, np.uint8)) if allow is not None else None
        how = options(level=level, pages=ints(pages), each=each, allow=bits)
        return candidates(_called(lambda: self._handle.forward(ints(tokens), at, top, how)), each)

    def score(self, tokens: list[int], at: int, level: int = 0, *, pages: Sequence[int] = ()) -> np.ndarray:
        """What `flow.Score` asks for."""
        found = _called(lambda: self._handle.score(ints(tokens), at, options(level=level, pages=ints(pages))))
        return np.frombuffer(found.to_bytes(), np.float32)

    def copy(self, source: int, target: int) -> None:
        """Make page `target` hold what page `source` holds."""
        _called(lambda: self._handle.copy(source, target))

    def close(self) -> None:
        """Let go of it: its memory comes back when JavaScript next looks."""
        self._handle = None


class Plain:
    """The reference pass (`truth.Truth.model`) by another build."""

    def __init__(self, model: Model) -> None:
        self._model, self._vocabulary = model, int(model.config["vocabulary"])

    def logits(self, ids: list[int]) -> np.ndarray:
        """Scores after each of ids, float32 (len(ids), vocabulary)."""
        out = np.full((len(ids), self._vocabulary), np.nan, np.float32)
        for at in range(0, len(ids), EACH):
            part = ids[at : at + EACH]
            found = self._model.forward(part, at, self._vocabulary, each=len(part))
            for i in range(len(part)):
                row = found.row(i)
                out[at + i, row.ids] = row.logits
        return out

    def best(self, ids: list[int], at: int, top: int) -> Candidates:
        """The best scores after the last of ids, which stand from position `at` on."""
        return self._model.forward(ids, at, top)


@dataclass(frozen=True)
class TabKit:
    """A `doctor.kits.Kit`. `lab` (web/lib/lab.js) has the files and makes models of them: `lab.open(plain, damage)`."""

    lab: Any
    damage: str = ""
    name: str = "tab"
    activations: str = "int8"
    switches: frozenset[str] = frozenset({"scalar kernels"})
    damages: Mapping[str, tuple[str, ...]] = field(
        default_factory=lambda: {
            "model cut short": ("model-corrupt",),
            "model with a changed byte": ("model-corrupt",),
            "later format of the model": ("model-corrupt", "model-unsupported"),
        }
    )

    @property
    def backend(self) -> str:
        return f"kernels: {self.lab.build}"

    def open(self, switches: frozenset[str]) -> tuple[Any, Loaded]:
        model = self._model("scalar kernels" in switches)
        answer: Callable[[Any, Any], Any] = lambda effect, emit: _passed(model, effect)
        list(drive(selfcheck.flow(self.lab.check.to_bytes()), answer))
        tokenizer = self.lab.tokenizer.to_bytes()
        return model, Loaded(tokenizer, model.config, model.pages, model.context, 1, "here")

    def truth(self) -> Truth:
        """Asked for once: it keeps a model of its own."""
        model = self._model(plain=True)
        names = ("layers", "width", "hidden", "heads", "kv_heads", "vocabulary", "theta", "epsilon", "context")
        told = {name: model.config[name] for name in names if name in model.config}
        made: Any = lambda activations: Plain(model)
        return Truth(made, self.lab.tokenizer.to_bytes(), self.activations, model.context, told=told, noise="kernel")

    def damaged(self, damage: str) -> TabKit:
        return replace(self, damage=damage)

    def _model(self, plain: bool) -> Model:
        return Model(_called(lambda: self.lab.open(plain, self.damage)))


def _passed(model: Model, effect: Any) -> Any:
    assert isinstance(effect, Forward)
    return model.forward(effect.tokens, effect.at, effect.top, level=effect.level, each=effect.each, allow=effect.allow)


def _called(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except JsException as error:
        raise from_js(error) from None
