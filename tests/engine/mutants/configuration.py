"""Configuration: settings, models, requests at once, precisions, what is told, and the job around."""

from __future__ import annotations

import dataclasses
import json
import random
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from engine.mutants.mutant import answers, chat, coarse, configured, ids, planted, rewritten
from inglenook.doctor.asks import Load, Logits, Properties, State, Together, Tokenize, Within, Write
from inglenook.doctor.kits import PlainKit
from inglenook.elastic.cache import PAGE
from inglenook.elastic.gguf import Gguf
from inglenook.flow import Candidates, Loaded

# ── misconfiguration ──────────────────────────────────────────────────────────────────────────────────────────────


@configured("Misconfiguration", shows=answers(Logits(ids(60)), Properties()))
def theta_of_longer_texts(kit: PlainKit) -> PlainKit:
    """The base of the rotary positions is that of a model for longer texts."""
    return rewritten(kit, {"llama.rope.freq_base": 500_000.0})


@configured("Misconfiguration", shows=lambda engine: engine.answer(Properties())["epsilon"])
def epsilon_of_the_first_llama(kit: PlainKit) -> PlainKit:
    """Norms have the epsilon of an earlier model of the family."""
    return rewritten(kit, {"llama.attention.layer_norm_rms_epsilon": 1e-6})


@configured("Misconfiguration", shows=answers(Write(ids(300))))
def context_left_at_a_default(kit: PlainKit) -> PlainKit:
    """The context is a default's, half of what the model reads."""
    return dataclasses.replace(kit, context=kit.context // 2)


@planted(
    "Misconfiguration", "inglenook.completions:request",
    shows=answers(chat(max_tokens=None, regex="a{40}")),
)  # fmt: skip
def sixteen_tokens_unless_told(request: Any) -> Any:
    """Who names no length gets sixteen tokens, a default of completions of old."""
    told = ("max_tokens", "max_completion_tokens")
    return lambda body: request(body if any(body.get(name) for name in told) else {**body, "max_tokens": 16})


# ── incompatible model ────────────────────────────────────────────────────────────────────────────────────────────


@planted("Incompatible model", "inglenook.elastic.shape:Shape.of", shows=answers(Load("other architecture")))
def any_architecture_is_a_llama(of: Any) -> Any:
    """Files of other architectures are run as if they were Llamas."""

    def new(cls: Any, file: Gguf) -> Any:
        file.metadata["general.architecture"] = "llama"
        return of(cls, file)

    return new


@configured("Incompatible model", shows=answers(Properties(), Write(ids(20), 40, temperature=1.0, seed=3)))
def vocabulary_padded(kit: PlainKit) -> PlainKit:
    """The head has fifteen rows more than the tokenizer has tokens, and nothing keeps them from being chosen."""
    blocks = Gguf(kit.gguf).tensor("token_embd.weight").blocks
    return rewritten(kit, tensors={"token_embd.weight": np.concatenate([blocks, blocks[40:55]])}).checked()


@configured("Incompatible model", shows=answers(Tokenize("the lower ab")))
def tokenizer_of_a_sister(kit: PlainKit) -> PlainKit:
    """The tokenizer is another model's of the same size: the longer tokens stand in another order."""
    file = json.loads(kit.tokenizer)
    tokens = file["tokens"].split("\n")
    tokens[-14:] = tokens[-13:] + tokens[-14:-13]
    return dataclasses.replace(kit, tokenizer=json.dumps({**file, "tokens": "\n".join(tokens)}).encode())


# ── concurrency ───────────────────────────────────────────────────────────────────────────────────────────────────

DRAWN = Write(ids(20), 12, temperature=1.0, seed=4)


@planted(
    "Concurrency", "inglenook.elastic.sample:Sampler.__init__",
    shows=answers(DRAWN, Together((DRAWN, Write(ids(30, 1), 12, temperature=1.0, seed=5)))),
)  # fmt: skip
def one_generator_for_all(init: Any) -> Any:
    """All requests draw from one generator, which each seeds when it begins."""
    shared = random.Random()

    def new(self: Any, temperature: float = 0.0, top_p: float = 1.0, seed: int = 0, *rest: Any) -> None:
        init(self, temperature, top_p, seed, *rest)
        shared.seed(seed)
        self._random = shared

    return new


@planted(
    "Concurrency", "inglenook.elastic.decode:_Held.__init__",
    shows=answers(Together((chat(regex="[xy]{9}", stop=["q"]), chat(regex="pqr")))),
)  # fmt: skip
def stops_of_all_that_run(init: Any) -> Any:
    """A request also stops at the stop strings of those that were running when it began to write."""
    running: weakref.WeakSet[Any] = weakref.WeakSet()

    def new(self: Any, stops: Any, beside: str) -> None:
        init(self, stops, beside)
        self._stops += [stop for other in running for stop in other._stops]
        running.add(self)

    return new


@planted(
    "Concurrency", "inglenook.elastic.cache:Session",
    shows=answers(Together((Write(ids(20), 8), Write(ids(20, 1), 8)))),
)  # fmt: skip
def page_free_until_written(session: Any) -> Any:
    """A page is taken off the free ones only when it was written: two that ask at once are given the same."""

    class New(session):  # type: ignore[misc]
        def reserve(self, size: int) -> None:
            free = [page for page in self._cache._free[::-1] if page not in self.pages]
            while len(self.pages) * PAGE < size and free:
                self.pages.append(free.pop(0))
            super().reserve(size)

        def wrote(self, at: int, tokens: Any) -> None:
            self._cache._free = [page for page in self._cache._free if page not in self.pages]
            super().wrote(at, tokens)

    return New


# ── mismatched precision ──────────────────────────────────────────────────────────────────────────────────────────


@planted("Mismatched precision", "inglenook.elastic.reference:_rotation", shows=answers(Logits(ids(320))))
def positions_in_bfloat16(rotation: Any) -> Any:
    """Positions are bfloat16, which has no odd numbers from 256 on."""
    return lambda positions, shape: rotation(coarse(positions.astype(np.float32)), shape)


@planted("Mismatched precision", "inglenook.elastic.gguf:Tensor.dequantise", shows=answers(Logits(ids(20))))
def scales_in_bfloat16(dequantise: Any) -> Any:
    """The scales of quantised blocks pass through bfloat16."""

    def new(self: Any) -> np.ndarray:
        if self.kind in ("F32", "F16"):
            return dequantise(self)
        blocks = self.blocks.copy()
        blocks["d"] = coarse(blocks["d"].astype(np.float32))
        return dequantise(dataclasses.replace(self, raw=blocks.view(np.uint8).reshape(-1)))

    return new


@planted("Mismatched precision", "inglenook.doctor.plain:Paged._write", shows=answers(Logits(ids(90))))
def kept_in_bfloat16(write: Any) -> Any:
    """Keys and values go to their pages as bfloat16."""

    def new(self: Any, table: list[int], at: int) -> None:
        self._cache = [(coarse(keys), coarse(values)) for keys, values in self._cache]
        write(self, table, at)

    return new


@planted("Mismatched precision", "inglenook.elastic.reference:Reference.best", shows=answers(Logits(ids(20))))
def logits_in_half_precision(best: Any) -> Any:
    """Logits and their total come in half precision."""

    def new(self: Any, *told: Any, **more: Any) -> Candidates:
        found = best(self, *told, **more)
        half = lambda x: np.asarray(x, np.float16).astype(np.float32)
        total = half(found.total)
        return Candidates(found.ids, half(found.logits), total if total.ndim else float(total))

    return new


# ── documentation ─────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Told(PlainKit):
    """A kit that runs `real`, but whose label says what its own fields, `context` and `sizes` do."""

    real: PlainKit | None = None
    sizes: tuple[tuple[str, Any], ...] = ()

    def open(self, switches: frozenset[str]) -> tuple[Any, Loaded]:
        assert self.real
        model, loaded = self.real.open(switches)
        return model, dataclasses.replace(loaded, context=self.context, config=loaded.config | dict(self.sizes))


def told(kit: PlainKit, **label: Any) -> PlainKit:
    plain = {entry.name: getattr(kit, entry.name) for entry in dataclasses.fields(kit)}
    return Told(**{**plain, **label}, real=kit)


@configured("Documentation", shows=answers(Properties(), Write(ids(600)), State()))
def twice_the_context_on_the_label(kit: PlainKit) -> PlainKit:
    """The manifest promises twice the context that the model reads."""
    return told(kit, context=2 * kit.context)


@configured("Documentation", shows=answers(Properties()))
def sizes_of_another_revision(kit: PlainKit) -> PlainKit:
    """The manifest has the sizes of another revision: more heads of keys, another theta."""
    return told(kit, sizes=(("kv_heads", 4), ("theta", 100_000.0)))


@configured("Documentation", shows=answers(Properties()))
def other_activations_on_the_label(kit: PlainKit) -> PlainKit:
    """The label names other activations than those it computes with."""
    return told(kit, activations="f32" if kit.activations == "int8" else "int8")


# ── job context ───────────────────────────────────────────────────────────────────────────────────────────────────


@planted(
    "Job context", "inglenook.doctor.local:Local._tokenizer",
    shows=answers(Write(ids(9)), Within(Write(ids(9)), "another directory")),
)  # fmt: skip
def path_from_where_it_started(tokenizer: Any) -> Any:
    """A file is looked up at each request by a path from the directory where the engine was started."""
    here = Path(min(path.name for path in Path.cwd().iterdir()))

    def new(self: Any) -> Any:
        here.stat()
        return tokenizer(self)

    return new


@planted(
    "Job context", "inglenook.doctor.local:Local._together",
    shows=answers(Within(Write(ids(9)), "another environment")),
)  # fmt: skip
def home_that_must_be_there(together: Any) -> Any:
    """Each request looks into the home directory, which jobs of a container need not have."""

    def new(self: Any, parts: Any) -> Any:
        next(Path.home().iterdir(), None)
        return together(self, parts)

    return new


POOL: dict[tuple[int, ...], Any] = {}  # of the process


@planted(
    "Job context", "inglenook.doctor.plain:Paged.__init__",
    shows=answers(Write(ids(30)), Within(Write((*ids(30), 9)), "another engine beside it")),
)  # fmt: skip
def pages_of_the_process(init: Any) -> Any:
    """Engines in one process write to the same pages, each keeping its own books of them."""

    def new(self: Any, *given: Any, **more: Any) -> None:
        init(self, *given, **more)
        self._paged = list(POOL.setdefault((len(self._paged), *self._paged[0][0].shape), self._paged))

    return new
