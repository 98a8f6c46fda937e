"""Any ONNX decoder with a key-value cache behind the face of our kernel: for models the kernel cannot run.

    model = await OnnxModel.create("static/models/other/onnx/model.onnx", providers=["webgpu", "wasm"])
    best = await model.forward_async(tokens, at, pages=session.pages)   # what flow.Forward asks for

It takes what Hugging Face exports: input_ids, attention_mask, position_ids, past_key_values.N.key and .value → logits,
present.N.key and .value; where a model has `use_cache_branch` (merged decoders) or `num_logits_to_keep`, they are set.
The model has one level, the whole. Keys and values are kept by pages as in the kernel, so sessions may share them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from inglenook.elastic.cache import PAGE
from inglenook.errors import NookError
from inglenook.flow import Candidates
from inglenook.onnx import DTYPES, InferenceSession, Model, Report
from inglenook.platform.session import NodeArg
from inglenook.types import Json

CONTEXT = 2048  # positions of a session at most
MEMORY = 256 << 20  # bytes of all pages together
PAST, PRESENT = "past_key_values", "present"
_OTHERS = {"input_ids", "attention_mask", "position_ids", "use_cache_branch", "num_logits_to_keep"}


class OnnxModel:
    """A decoder and its pages. `config` is the model's config.json, of which only the context's length is read."""

    def __init__(self, session: InferenceSession, config: Json | None = None) -> None:
        self.config = config or {}
        self._session = session
        self._inputs = {entry.name: entry for entry in session.get_inputs()}
        outputs = [entry.name for entry in session.get_outputs()]
        self._past = [name for name in self._inputs if name.startswith(f"{PAST}.")]
        self._present = [name.replace(PAST, PRESENT, 1) for name in self._past]
        missing = {"input_ids", "logits", *self._present} - {*self._inputs, *outputs}
        unknown = {*self._inputs} - {*self._past} - _OTHERS
        if missing or unknown or not self._past:
            what = f"it lacks {_list(missing)}" if missing else f"it wants {_list(unknown)}" if unknown else "no cache"
            raise _unsupported(what)
        self._heads, self._width = _sizes([self._inputs[name] for name in self._past])
        self._dtype = DTYPES[self._inputs[self._past[0]].type]
        size = len(self._past) * self._heads * PAGE * self._width * self._dtype.itemsize
        longest = self.config.get("max_position_embeddings")
        self.context = min(CONTEXT, longest) if isinstance(longest, int) else CONTEXT
        self.pages = max(-(-self.context // PAGE), min(64, MEMORY // size))
        self._pages: dict[int, np.ndarray] = {}
        self._held: tuple[tuple[int, ...], list[np.ndarray]] = ((), [])  # the last pass's cache, whole, and its pages

    @classmethod
    async def create(
        cls, model: Model, providers: Sequence[str] = (), config: Json | None = None, report: Report | None = None
    ) -> OnnxModel:
        """Load a model without blocking; `report` hears of its bytes. Raises NookError("onnx" |
        "model-unsupported")."""
        return cls(await InferenceSession.create(model, providers, report), config)

    @property
    def providers(self) -> list[str]:
        """What it runs on."""
        return self._session.get_providers()

    def forward(
        self, tokens: list[int], at: int, top: int = 64, *, level: int = 0, pages: Sequence[int] = (), each: int = 1,
        allow: bytes | None = None,
    ) -> Candidates:  # fmt: skip
        """What `flow.Forward` asks for. Raises NookError("forward" | "context" | "tokens" | "onnx")."""
        names, feeds = self._asked(tokens, at, level, pages, max(each, 1))
        logits = self._answered(self._session.run(names, feeds), tokens, at, pages)
        return candidates(logits, top, each, allow)

    async def forward_async(
        self, tokens: list[int], at: int, top: int = 64, *, level: int = 0, pages: Sequence[int] = (), each: int = 1,
        allow: bytes | None = None,
    ) -> Candidates:  # fmt: skip
        """The same without blocking; one at a time."""
        names, feeds = self._asked(tokens, at, level, pages, max(each, 1))
        logits = self._answered(await self._session.run_async(names, feeds), tokens, at, pages)
        return candidates(logits, top, each, allow)

    def score(self, tokens: list[int], at: int, *, level: int = 0, pages: Sequence[int] = ()) -> np.ndarray:
        """What `flow.Score` asks for. Raises as `forward` does."""
        names, feeds = self._asked(tokens, at, level, pages, len(tokens))
        return _scores(self._answered(self._session.run(names, feeds), tokens, at, pages), tokens)

    async def score_async(self, tokens: list[int], at: int, *, level: int = 0, pages: Sequence[int] = ()) -> np.ndarray:
        """The same without blocking; one at a time."""
        names, feeds = self._asked(tokens, at, level, pages, len(tokens))
        return _scores(self._answered(await self._session.run_async(names, feeds), tokens, at, pages), tokens)

    def copy(self, source: int, target: int) -> None:
        """Make page `target` hold what page `source` holds."""
        if source not in self._pages or not 0 <= target < self.pages:
            raise NookError("forward", f"There are no pages {source} and {target}.", "")
        self._pages[target] = self._pages[source].copy()
        self._held = ((), [])

    def close(self) -> None:
        """Free the memory."""
        self._session.close()
        self._pages.clear()
        self._held = ((), [])

    def _asked(
        self, tokens: list[int], at: int, level: int, pages: Sequence[int], kept: int
    ) -> tuple[list[str], dict[str, np.ndarray]]:
        """Outputs and inputs of a pass over `tokens` from position `at` on, with the logits of `kept` of them."""
        end = at + len(tokens)
        if end > self.context:
            raise NookError("context", f"The model reads {self.context} tokens at most.", "Shorten the prompt.")
        if not tokens or at < 0 or level or kept > len(tokens):
            raise NookError("forward", f"{len(tokens)} tokens at {at}, level {level}, cannot be run.", "")
        if min(tokens) < 0:
            raise NookError("tokens", "A token is not in the model's vocabulary.", "Use the model's own tokenizer.")
        whole: dict[str, np.ndarray] = {
            "input_ids": np.array([tokens]), "attention_mask": np.ones((1, end)),
            "position_ids": np.arange(at, end)[None], "use_cache_branch": np.array([at > 0]),
            "num_logits_to_keep": np.array(kept),
        }  # fmt: skip
        feeds = {
            name: array.astype(DTYPES[self._inputs[name].type]) for name, array in whole.items() if name in self._inputs
        }
        feeds |= dict(zip(self._past, self._known(at, self._table(end, pages)), strict=True))
        return ["logits", *self._present], feeds

    def _answered(self, outputs: list[np.ndarray], tokens: list[int], at: int, pages: Sequence[int]) -> np.ndarray:
        """Put what the pass knows into its pages; the logits it gave, float32 (tokens, vocabulary)."""
        logits: np.ndarray = outputs[0][0].astype(np.float32)
        present = outputs[1:]
        end = at + len(tokens)
        table = self._table(end, pages)
        for index in range(at // PAGE, len(table)):
            first, last = max(at, index * PAGE), min(end, (index + 1) * PAGE)
            page = self._pages.get(table[index])
            if page is None:
                shape = (len(self._past), self._heads, PAGE, self._width)
                page = self._pages[table[index]] = np.zeros(shape, self._dtype)
            for row, array in enumerate(present):
                page[row, :, first - index * PAGE : last - index * PAGE] = array[0, :, first:last]
        self._held = (table, present)
        return logits

    def _table(self, end: int, pages: Sequence[int]) -> tuple[int, ...]:
        """The pages of positions [0, end)."""
        needed = -(-end // PAGE)
        table = tuple(pages)[:needed] if len(pages) else tuple(range(needed))
        if len(table) < needed or any(not 0 <= page < self.pages for page in table):
            raise NookError("forward", f"The pages {list(table)} do not hold {end} positions.", "")
        return table

    def _known(self, at: int, table: tuple[int, ...]) -> list[np.ndarray]:
        """Keys and values of positions [0, at), each (1, heads, at, width): the last pass's if it goes on, else put
        together from pages."""
        held, arrays = self._held
        used = -(-at // PAGE)
        if not at:
            return [np.zeros((1, self._heads, 0, self._width), self._dtype) for _ in self._past]
        if held[:used] == table[:used] and arrays[0].shape[2] >= at:
            return [array[:, :, :at] for array in arrays]
        if any(page not in self._pages for page in table[:used]):
            raise NookError("forward", f"Position {at} does not continue what the model has read.", "")
        whole = np.concatenate([self._pages[page] for page in table[:used]], axis=2)[:, :, :at]
        return [row[None] for row in whole]


def candidates(logits: np.ndarray, top: int, each: int, allow: bytes | None) -> Candidates:
    """The `top` best of the last `each` rows of logits (rows, vocabulary); ties go to the lower id."""
    if each == 0:
        return Candidates(np.zeros(0, np.int32), np.zeros(0, np.float32))
    rows = logits[-each:]
    totals = _total(rows).astype(np.float32)
    ids, values = np.full((each, top), -1, np.int32), np.full((each, top), -np.inf, np.float32)
    for i, row in enumerate(rows):
        order = _best(row, top, allow if i == each - 1 else None)
        ids[i, : len(order)], values[i, : len(order)] = order, row[order]
    if each > 1:
        return Candidates(ids, values, totals)
    found = ids[0] >= 0
    return Candidates(ids[0][found], values[0][found], float(totals[0]))


def _best(row: np.ndarray, top: int, allow: bytes | None) -> np.ndarray:
    """Ids of the best, best first."""
    among = np.arange(len(row))
    if allow is not None:
        bits = np.unpackbits(np.frombuffer(allow, np.uint8), bitorder="little")[: len(row)]
        if len(bits) < len(row):
            raise NookError("forward", f"{len(allow)} bytes do not say of every token whether it is allowed.", "")
        among = np.flatnonzero(bits)
    values = row[among]
    if 0 < top < len(values):
        least = np.partition(values, -top)[-top]
        among, values = among[values >= least], values[values >= least]
    order: np.ndarray = among[np.argsort(-values, kind="stable")[:top]]
    return order


def _total(rows: np.ndarray) -> np.ndarray:
    """Log-sum-exp of each row, in double precision."""
    peak = rows.max(axis=1, keepdims=True).astype(np.float64)
    total: np.ndarray = peak[:, 0] + np.log(np.exp(rows - peak).sum(axis=1))
    return total


def _scores(logits: np.ndarray, tokens: list[int]) -> np.ndarray:
    """Log-probabilities of tokens[1:], each after those before it."""
    picked = logits[np.arange(len(tokens) - 1), tokens[1:]]
    scores: np.ndarray = (picked - _total(logits[:-1])).astype(np.float32) if len(tokens) > 1 else picked
    return scores


def _sizes(past: list[NodeArg]) -> tuple[int, int]:
    """Heads and channels of a head, which all layers must have in common."""
    shapes = {tuple(entry.shape[i] for i in (1, 3)) for entry in past if len(entry.shape) == 4}
    found = [size for shape in shapes for size in shape if isinstance(size, int)]
    if len(shapes) != 1 or len(found) != 2:
        raise _unsupported("the sizes of its cache are not stated")
    return found[0], found[1]


def _unsupported(what: str) -> NookError:
    return NookError(
        "model-unsupported", f"This ONNX model is not supported: {what}.",
        "Use a decoder exported with its key-value cache, named as Hugging Face does.",
    )  # fmt: skip


def _list(names: set[str]) -> str:
    return ", ".join(sorted(names)[:4])
