"""Functionality: algorithms, calls, shapes, exceptions, conditions, types, numbers, assignments, synchronization."""

from __future__ import annotations

import dataclasses
import sys
import time
from typing import Any

import numpy as np
from engine.mutants.mutant import Show, answers, chat, ids, planted
from inglenook.doctor.asks import Load, Logits, State, Write
from inglenook.doctor.engine import Engine
from inglenook.elastic.cache import PAGE
from inglenook.elastic.decode import Generation
from inglenook.errors import NookError
from inglenook.flow import Candidates, Flow
from inglenook.wire.messages import Chat, Likely

# ── incorrect algorithm ───────────────────────────────────────────────────────────────────────────────────────────


@planted("Incorrect algorithm implementation", "inglenook.elastic.reference:_softmax", shows=answers(Logits(ids(320))))
def window_of_another_model(softmax: Any) -> Any:
    """Attention looks back 256 positions at most, as a model with a sliding window does."""

    def new(x: np.ndarray) -> np.ndarray:
        position = (x > -np.inf).sum(axis=-1, keepdims=True) - 1
        return softmax(np.where(np.arange(x.shape[-1]) <= position - 256, np.float32(-np.inf), x))

    return new


@planted("Incorrect algorithm implementation", "inglenook.elastic.reference:_rotation", shows=answers(Logits(ids(60))))
def later_pieces_one_too_far(rotation: Any) -> Any:
    """All pieces of a prompt but the first have positions one too high."""
    return lambda positions, shape: rotation(positions + (len(positions) > 1 and positions[0] > 0), shape)


@planted(
    "Incorrect algorithm implementation", "inglenook.elastic.sample:Sampler.pick",
    shows=answers(Write(ids(20), 24, temperature=1.0, top_p=0.5, seed=3)),
)  # fmt: skip
def nucleus_without_its_last(pick: Any) -> Any:
    """The candidate with which the nucleus reaches top_p is left out."""

    def new(self: Any, candidates: Candidates, written: Any = ()) -> int:
        if self.temperature == 0 or self.top_p == 1:
            return pick(self, candidates, written)
        powers = np.exp((candidates.logits - candidates.logits[0]) / self.temperature)
        kept = max(1, int(np.searchsorted(np.cumsum(powers / powers.sum()), self.top_p)))
        most, self.top_p = self.top_p, 1.0
        try:
            return pick(self, Candidates(candidates.ids[:kept], candidates.logits[:kept]), written)
        finally:
            self.top_p = most

    return new


@planted(
    "Incorrect algorithm implementation", "inglenook.elastic.reference:Reference.best",
    shows=answers(Write(ids(20), logprobs=2), switches=("no drafts",)),
)  # fmt: skip
def odds_among_the_best_only(best: Any) -> Any:
    """Log-probabilities are those among the best candidates, as if there were no others."""

    def new(self: Any, *told: Any, **more: Any) -> Candidates:
        found = best(self, *told, **more)
        peak = found.logits.max(axis=-1, keepdims=True)
        total = np.log(np.exp(found.logits - peak).sum(axis=-1)) + peak[..., 0]
        return Candidates(found.ids, found.logits, total if found.ids.ndim > 1 else float(total))

    return new


@planted(
    "Incorrect algorithm implementation", "inglenook.elastic.passes:Passes._pass",
    shows=answers(Write(4 * ids(16, 4), 60), Write(4 * ids(16, 7), 60), switches=("eager drafts",)),
)  # fmt: skip
def rows_of_drafts_one_late(pass_: Any) -> Any:
    """After a draft that was right comes what would have come after the one before it."""

    def new(self: Any, token: int, left: int) -> Flow:
        first = yield from pass_(self, token, left)
        self._rows = [first, *self._rows][: len(self._rows)]
        return first

    return new


# ── misused API ───────────────────────────────────────────────────────────────────────────────────────────────────


@planted("Misused API", "inglenook.elastic.reference:Reference.best", shows=answers(chat(regex="[a-z]{8}")))
def partition_taken_for_a_sort(best: Any) -> Any:
    """With a mask the best candidates come from a partition, which has them in no order."""

    def new(self: Any, *told: Any, allow: bytes | None = None, **more: Any) -> Candidates:
        found = best(self, *told, allow=allow, **more)
        if allow is None or found.ids.ndim > 1:
            return found
        scores = np.full(8 * len(allow), -np.inf, np.float32)
        scores[found.ids] = found.logits
        order = np.argpartition(-scores, len(found.ids))[: len(found.ids)]
        return Candidates(order.astype(np.int32), scores[order], found.total)

    return new


@planted("Misused API", "inglenook.elastic.grammar.mask:Mask.allow", shows=answers(chat(regex="[a-z]{8}"), chat()))
def bits_in_the_other_order(allow: Any) -> Any:
    """The bits of masks are packed from the high end, the model reads them from the low one."""

    def new(self: Any) -> bytes:
        bits = np.unpackbits(np.frombuffer(allow(self), np.uint8), bitorder="little")
        return np.packbits(bits, bitorder="big").tobytes()

    return new


def slower_than(least: float) -> Show:
    """Whether 40 tokens are said to take longer than so many milliseconds."""

    def shows(engine: Engine) -> bool:
        return bool(engine.answer(Write(ids(9), 40)).ms["decode_ms"] > least)

    return shows


@planted("Misused API", "inglenook.clock:since", shows=slower_than(0.9))
def seconds_for_milliseconds(since: Any) -> Any:
    """What is given as milliseconds are the seconds of the clock."""
    return lambda began: since(began) / 1e3


# ── mismatched shape ──────────────────────────────────────────────────────────────────────────────────────────────


@planted("Mismatched shape", "inglenook.elastic.reference:Reference._attend", shows=answers(Write((9,)), Write((9, 5))))
def single_token_squeezed(attend: Any) -> Any:
    """A prompt of one token loses the axis of its tokens."""

    def new(self: Any, index: int, x: np.ndarray, rotation: Any, *place: int) -> Any:
        return attend(self, index, x.squeeze() if place[0] == 0 else x, rotation, *place)

    return new


@planted("Mismatched shape", "inglenook.doctor.plain:Paged._read", shows=answers(Write(ids(250), 4), Write(ids(260))))
def table_of_four_pages(read: Any) -> Any:
    """The table that passes are given has four places for pages."""

    def new(self: Any, *told: Any) -> list[int]:
        table, places = read(self, *told), np.zeros(4, np.int32)
        for i, page in enumerate(table):
            places[i] = page
        return table

    return new


@planted(
    "Mismatched shape", "inglenook.elastic.reference:Reference.best",
    shows=answers(Logits(ids(20), 1), Logits(ids(20), 5)),
)  # fmt: skip
def rows_read_as_columns(best: Any) -> Any:
    """The candidates after several tokens are read with rows and columns exchanged."""

    def new(self: Any, *told: Any, **more: Any) -> Candidates:
        found = best(self, *told, **more)
        turned = [x if x.ndim < 2 else x.T.reshape(x.shape) for x in (found.ids, found.logits)]
        return Candidates(*turned, found.total)

    return new


# ── exception handling ────────────────────────────────────────────────────────────────────────────────────────────


@planted("Exception handling", "inglenook.elastic.decode:generate", shows=answers(Write(ids(20), dies=4)))
def death_taken_for_an_end(generate: Any) -> Any:
    """Where the backend dies in the middle, the answer just ends."""

    def new(*told: Any, **more: Any) -> Flow:
        try:
            return (yield from generate(*told, **more))
        except NookError as error:
            if error.code != "worker-died":
                raise
            return Generation(stop="end")

    return new


@planted(
    "Exception handling", "inglenook.elastic.cache:Session.close",
    shows=answers(Write(ids(150), leaves=2), State(), Write(ids(30), dies=3), State()),
)  # fmt: skip
def closed_only_when_all_went_well(close: Any) -> Any:
    """A request that fails or is left keeps its pages."""
    return lambda self: None if sys.exc_info()[0] else close(self)


@planted(
    "Exception handling", "inglenook.elastic.tokenizer:Tokenizer.load", shows=answers(Load("tokenizer is no JSON"))
)
def error_of_the_parser(load: Any) -> Any:
    """What a damaged file does to its parser comes out as it is."""

    def new(cls: Any, data: Any) -> Any:
        try:
            return load(cls, data)
        except NookError as error:
            raise error.__cause__ or error from None

    return new


# ── conditional logic ─────────────────────────────────────────────────────────────────────────────────────────────


@planted(
    "Conditional logic", "inglenook.elastic.decode:generate", shows=answers(Write(ids(512), 2), Write(ids(513), 2))
)
def exactly_the_context_is_too_few(generate: Any) -> Any:
    """A prompt as long as the context is not refused."""

    def new(prompt: list[int], *told: Any, context: int, **more: Any) -> Flow:
        return generate(prompt, *told, context=context + (len(prompt) == context), **more)

    return new


@planted(
    "Conditional logic", "inglenook.elastic.sample:Sampler.__init__",
    shows=answers(Write(ids(20), 12, temperature=1.0), Write(ids(20), 12, temperature=1.0)),
)  # fmt: skip
def seed_zero_is_none(init: Any) -> Any:
    """Seed 0 is taken for no seed."""

    def new(self: Any, temperature: float = 0.0, top_p: float = 1.0, seed: int = 0, *rest: Any) -> None:
        init(self, temperature, top_p, seed or time.time_ns(), *rest)

    return new


@planted(
    "Conditional logic", "inglenook.completions:request",
    shows=answers(*[chat(regex="[a-z]{4}", logprobs=True, top_logprobs=top) for top in (0, 1)]),
)  # fmt: skip
def no_alternatives_no_odds(request: Any) -> Any:
    """Who wants log-probabilities and no alternatives gets none."""

    def new(body: Any) -> Chat:
        asked: Chat = request(body)
        return dataclasses.replace(asked, logprobs=asked.logprobs or None)

    return new


@planted(
    "Conditional logic", "inglenook.elastic.sample:Sampler.__init__",
    shows=answers(Write(ids(20), 12, temperature=1.0, top_p=0.0, seed=2)),
)  # fmt: skip
def top_p_zero_is_all(init: Any) -> Any:
    """A top_p of 0 is taken for none, so that all may be drawn instead of the best."""

    def new(self: Any, temperature: float = 0.0, top_p: float = 1.0, *rest: Any, **more: Any) -> None:
        init(self, temperature, top_p or 1.0, *rest, **more)

    return new


# ── incorrect type ────────────────────────────────────────────────────────────────────────────────────────────────


@planted("Incorrect type", "inglenook.elastic.reference:Reference.hidden", shows=answers(Write((40, 269, 261, 9))))
def ids_in_a_byte(hidden: Any) -> Any:
    """Ids are held in a type that is too narrow for the last of the vocabulary."""

    def new(self: Any, tokens: list[int], *told: Any) -> Any:
        return hidden(self, np.array(tokens).astype(np.uint8).tolist(), *told)

    return new


@planted("Incorrect type", "inglenook.elastic.reference:_rotation", shows=answers(Logits(ids(140))))
def positions_in_a_signed_byte(rotation: Any) -> Any:
    """Positions from 128 on are negative."""
    return lambda positions, shape: rotation(positions.astype(np.int8), shape)


@planted(
    "Incorrect type", "inglenook.elastic.decode:_Told._likely",
    shows=answers(chat(regex="[a-z]{4}", logprobs=True), chat(regex="é{4}", logprobs=True)),
)  # fmt: skip
def bytes_with_a_sign(likely: Any) -> Any:
    """The bytes of tokens come as signed numbers, so that those of letters beyond ASCII are negative."""

    def new(self: Any, best: Candidates, index: int) -> Likely:
        found: Likely = likely(self, best, index)
        return dataclasses.replace(found, codes=np.array(found.codes).astype(np.int8).tolist())

    return new


@planted(
    "Incorrect type", "inglenook.elastic.sample:Sampler.__init__",
    shows=answers(Write(ids(20), temperature=1.0, seed=2**31)),
)  # fmt: skip
def seed_in_32_bits(init: Any) -> Any:
    """Seeds have 32 bits and a sign, and larger ones end the request."""

    def new(self: Any, temperature: float = 0.0, top_p: float = 1.0, seed: int = 0, *rest: Any) -> None:
        init(self, temperature, top_p, int(np.int32(seed)), *rest)

    return new


# ── numerical issue ───────────────────────────────────────────────────────────────────────────────────────────────


@planted(
    "Numerical issue", "inglenook.elastic.reference:_total",
    shows=answers(Write(ids(20), logprobs=2), switches=("loud", "no drafts")),
)  # fmt: skip
def sum_with_the_peak_in_it(total: Any) -> Any:
    """Exponentials of logits are summed as they are: large ones overflow."""

    def new(scores: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore"):
            return np.log(np.exp(scores).sum(axis=-1))

    return new


@planted(
    "Numerical issue", "inglenook.elastic.sample:Sampler.pick",
    shows=answers(Write(ids(20), temperature=1e-3, seed=3), Write(ids(20), temperature=0.7, seed=3)),
)  # fmt: skip
def nearly_no_temperature(pick: Any) -> Any:
    """A very low temperature makes the exponentials of the odds overflow."""

    def new(self: Any, candidates: Candidates, written: Any = ()) -> int:
        if self.temperature == 0:
            return pick(self, candidates, written)
        with np.errstate(over="ignore", invalid="ignore"):
            odds = np.exp(np.float32(candidates.logits) / np.float32(self.temperature))
            mass = np.cumsum(odds / odds.sum())
        if np.isfinite(mass).all():
            return pick(self, candidates, written)
        point = self._random.random() * mass[-1]
        return int(candidates.ids[min(int(np.searchsorted(mass, point, side="right")), len(mass) - 1)])

    return new


@planted("Numerical issue", "inglenook.elastic.reference:_softmax", shows=answers(Logits(ids(40)), switches=("loud",)))
def scores_with_the_peak_in_them(softmax: Any) -> Any:
    """Exponentials of attention's scores are taken as they are: large ones overflow."""

    def new(x: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore", invalid="ignore"):
            powers = np.exp(x)
            return powers / powers.sum(axis=-1, keepdims=True)

    return new


@planted("Numerical issue", "inglenook.elastic.reference:_softmax", shows=answers(Logits(ids(400))))
def weights_summed_in_half_precision(softmax: Any) -> Any:
    """The sum of attention's weights is kept in half precision, which stops growing over long texts."""

    def new(x: np.ndarray) -> np.ndarray:
        powers = np.exp(x - x.max(axis=-1, keepdims=True))
        return powers / np.cumsum(powers, axis=-1, dtype=np.float16)[..., -1:].astype(np.float32)

    return new


# ── incorrect assignment ──────────────────────────────────────────────────────────────────────────────────────────


@planted("Incorrect assignment", "inglenook.elastic.decode:generate", shows=answers(chat(), chat()))
def prompt_is_what_was_read(generate: Any) -> Any:
    """Of a prompt only the tokens that were not found in the cache are counted."""

    def new(*told: Any, **more: Any) -> Flow:
        made: Generation = yield from generate(*told, **more)
        made.prompt_tokens = made.prefilled
        return made

    return new


@planted(
    "Incorrect assignment", "inglenook.doctor.plain:Paged.copy",
    shows=answers(Write(ids(100)), Write((*ids(90), *ids(20, 3)))),
)  # fmt: skip
def values_from_keys(copy: Any) -> Any:
    """A page that is copied gets the keys in place of the values."""

    def new(self: Any, source: int, target: int) -> None:
        copy(self, source, target)
        for keys, values in self._paged:
            values[target] = keys[source]

    return new


@planted(
    "Incorrect assignment", "inglenook.elastic.sample:Sampler.__init__",
    shows=answers(Write(ids(20), 24, temperature=0.6, seed=3)),
)  # fmt: skip
def top_p_from_the_temperature(init: Any) -> Any:
    """Where there is a temperature, top_p is that number, too."""

    def new(self: Any, temperature: float = 0.0, top_p: float = 1.0, *rest: Any, **more: Any) -> None:
        init(self, temperature, temperature or top_p, *rest, **more)

    return new


# ── synchronization ───────────────────────────────────────────────────────────────────────────────────────────────


@planted(
    "Synchronization", "inglenook.doctor.plain:Paged",
    shows=answers(Write(ids(100)), Write((*ids(90), *ids(20, 3)))),
)  # fmt: skip
def copy_still_under_way(paged: Any) -> Any:
    """A pass does not wait for the copy of a page that was begun before it."""

    class New(paged):  # type: ignore[misc]
        late: tuple[tuple[int, int], ...] = ()

        def copy(self, source: int, target: int) -> None:
            self.late += ((source, target),)
            self._full[target] = self._full[source]

        def forward(self, *told: Any, **more: Any) -> Candidates:
            found: Candidates = super().forward(*told, **more)
            late, self.late = self.late, ()
            for source, target in late:
                full = self._full[target]
                super().copy(source, target)
                self._full[target] = full
            return found

    return New


@planted("Synchronization", "inglenook.doctor.plain:Paged", shows=answers(Write(ids(60)), Write(ids(150, 2))))
def next_piece_does_not_wait(paged: Any) -> Any:
    """A pass that follows one over a whole page of tokens begins before that page is written."""

    class New(paged):  # type: ignore[misc]
        late: Any = None

        def _write(self, table: list[int], at: int) -> None:
            late, self.late = self.late, None
            if self.held - at < PAGE:
                super()._write(table, at)
            else:
                self.late = list(self._cache), table, at
                for i in range(at // PAGE, len(table)):
                    self._full[table[i]] = min(self.held - i * PAGE, PAGE)
            if late:
                now, full = self._cache, list(self._full)
                self._cache, before, since = late
                super()._write(before, since)
                self._cache, self._full = now, full

    return New
