"""`inglenook train elastic`: a model's weights to an artifact with levels, in steps that each leave a checkpoint.

    text        windows of token ids to measure and to learn on
    importance  what each unit is worth (`importance`)
    order       units in order, the sizes of the levels (`reorder`, `ladder`)
    rounding    which of the reordered down matrices have 8 bits, not 4 (`rounding`)
    taught      the whole model's states, which the levels are to come near (`distil.teach`)
    fit         recovery in closed form, all levels (`recover`)
    learned.<i> and further by distillation (`distil`)
    figures     perplexity of every level on text held out
    rivals      the same of what the levels have to beat (`baseline`), where that is asked for
    recipe      all that cannot be made again from the weights (`elastic.recipe`); applied to them: the artifact

The same options give the same bytes on the same machine, also when it was stopped on the way (Ctrl+C) and started
again.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from inglenook.elastic.recipe import Recipe
from inglenook.errors import NookError
from inglenook.train import baseline, distil, export, ladder, measure, recover, rounding, text
from inglenook.train.checkpoint import Arrays, Folder
from inglenook.train.importance import CRITERIA, Importance
from inglenook.train.importance import measure as weigh
from inglenook.train.model import Model, Recovery, Size
from inglenook.train.reorder import Order, moved, reordered
from inglenook.train.weights import Weights

Array = np.ndarray
Report = Callable[[str, int, int, str], None]
"""Told of the step, how much of it is done, of how much, and a note."""


@dataclass(frozen=True)
class Options:
    """What the result depends on. `weighed`, `fitted` and `learned` are windows of `length` tokens; there is one of
    `ranks` and of `steps` for each ratio below 1. `fine` down matrices have 8 bits.

    `group_worth` scales the importance of key-value groups against that of neurons, whose sum over a block of 32 says
    more than the block is worth together.
    """

    ratios: tuple[float, ...] = (0.8, 0.65, 0.5, 0.4, 0.3)
    ranks: tuple[int, ...] = (32, 32, 32, 32, 32)
    steps: tuple[int, ...] = (200, 200, 200, 200, 200)
    length: int = 512
    weighed: int = 48
    fitted: int = 64
    learned: int = 800
    batch: int = 4
    rate: float = 1e-3
    fine: int = 24
    criterion: str = "taylor"
    group_worth: float = 30.0
    anchors: tuple[int, ...] = ()
    seed: int = 0
    dtype: str = "bfloat16"
    latency: ladder.Latency = field(default_factory=ladder.Latency)

    def __post_init__(self) -> None:
        falling = all(a > b for a, b in zip((1.0, *self.ratios), self.ratios, strict=False))
        if not falling or not self.ratios or self.ratios[-1] <= 0:
            raise NookError("ratio", "The ratios do not fall from below 1 to above 0.", "Such as 0.8,0.5.")
        if len(self.ranks) != len(self.ratios) or len(self.steps) != len(self.ratios):
            raise NookError("ratio", "There is not one rank and one number of steps for each ratio.", "Count them.")
        if any(rank % ladder.BLOCK or rank < 0 for rank in self.ranks):
            raise NookError("rank", "A rank is 0 or a multiple of 32.", "Such as 32.")
        if self.criterion not in CRITERIA or self.dtype not in ("float32", "bfloat16"):
            raise NookError("option", "There is no such criterion or dtype.", f"One of {', '.join(CRITERIA)}.")


@dataclass
class Pipeline:
    """One run in one folder. `sources` are streams of token ids to learn from, `held_out` one to measure on."""

    weights: Weights
    sources: Sequence[np.ndarray]
    held_out: np.ndarray
    folder: Path
    options: Options
    device: str = "cpu"
    report: Report = lambda step, done, total, note: None
    compare: bool = False
    """Whether rivals are measured too, which takes as long again as fitting does."""

    def __post_init__(self) -> None:
        digest = hashlib.sha256()
        for array in (*self.weights.tensors.values(), *self.sources, self.held_out):
            digest.update(np.ascontiguousarray(array).tobytes())
        said = dataclasses.asdict(self.options) | {"input": digest.hexdigest()}
        self._folder = Folder(self.folder, json.loads(json.dumps(said)))
        torch.manual_seed(self.options.seed)

    def run(self) -> Recipe:
        """All steps; what is done already is read."""
        order, sizes = self.order()
        base = self._base(order)
        fitted = self.fitted(base, sizes)
        levels = [self.level(i, base, size, fitted[i - 1]) for i, size in enumerate(sizes, 1)]
        figures = self.figures(base, sizes, levels)
        ranks, whole = (0, *self.options.ranks), Size.whole(self.weights.shape)
        said = [figure | {"hidden": size.hidden, "groups": size.groups, "rank": rank}
                for figure, size, rank in zip(figures, (whole, *sizes), ranks, strict=True)]  # fmt: skip
        recipe = export.recipe(order, self.fine(order), said, levels)
        if self.compare:
            recipe.config["rivals"] = self.rivals(base, sizes)
        recipe.save(self.folder / "recipe.npz")
        return recipe

    def windows(self) -> np.ndarray:
        """All windows there are to learn from, shuffled."""
        return self._folder.step(
            "text", lambda: {"windows": text.mixed(self.sources, self.options.length, self.options.seed)}
        )["windows"]

    def importance(self) -> Importance:
        """By the criterion of the options."""
        found = self._weighed(self.options.criterion)
        return dataclasses.replace(found, groups=found.groups * self.options.group_worth)

    def _weighed(self, criterion: str) -> Importance:
        """By one criterion; all of them are kept."""

        def make() -> Arrays:
            model = self._model(self.weights)
            chosen = self.windows()[: self.options.weighed]
            found = weigh(model, chosen, self.options.batch, report=lambda n, of: self.report("importance", n, of, ""))
            return {f"{name}.{f.name}": getattr(one, f.name) for name, one in found.items()
                    for f in dataclasses.fields(one)}  # fmt: skip

        held = self._folder.step("importance", make)
        return Importance(**{f.name: held[f"{criterion}.{f.name}"] for f in dataclasses.fields(Importance)})

    def order(self) -> tuple[Order, list[Size]]:
        """The order of the units, and the sizes of the levels below the whole."""
        found = self.importance()
        order = Order.by(found)
        options, shape = self.options, self.weights.shape
        sizes = ladder.ladder(shape, moved(found, order), options.latency, options.ratios, options.anchors)
        return order, sizes

    def level(self, i: int, base: Model, size: Size, fitted: Recovery) -> Recovery:
        """What recovers level `i` (from 1 on) in the end: distilled from `fitted`, rounded as it will be stored."""
        options, layers = self.options, self.weights.shape.layers
        steps = options.steps[i - 1]

        def learn() -> Arrays:
            windows = self.windows()[: options.learned]
            plan = distil.Plan(steps, options.rate, options.batch, options.seed)
            found = distil.distil(
                base, windows, self._taught(), size, fitted, plan=plan, kept=self.folder / f"learning.{i}.pt",
                report=lambda n, of, loss: self.report("learn", n, of, f"level {i}: {loss:.3f}"),
            )  # fmt: skip
            return _arrays(found)

        return export.stored(
            _recovery(self._folder.step(f"learned.{i}", learn), layers, self.device) if steps else fitted
        )

    def fitted(self, base: Model, sizes: list[Size]) -> list[Recovery]:
        """What recovers each level in closed form."""

        def make() -> Arrays:
            found = self._fit(base, sizes, "fit")
            return {f"{i}.{name}": value for i, one in enumerate(found) for name, value in _arrays(one).items()}

        held = self._folder.step("fit", make)
        return [
            _recovery({name.partition(".")[2]: value for name, value in held.items() if name.startswith(f"{i}.")},
                      self.weights.shape.layers, self.device)
            for i in range(len(sizes))
        ]  # fmt: skip

    def figures(self, base: Model, sizes: list[Size], levels: list[Recovery]) -> list[dict[str, float]]:
        """Perplexity on the text held out of the whole model and of each level, with and without recovery."""
        windows = text.windows(self.held_out, self.options.length, None)

        def score(model: Model, size: Size | None, recovery: Recovery | None, n: int) -> float:
            found = _perplexity(model, windows, size, recovery)
            self.report("figures", n, 2 * len(sizes) + 2, f"{found:.2f}")
            return found

        def make() -> Arrays:
            whole = [score(self._model(self.weights), None, None, 1), score(base, None, None, 2)]
            plain = [score(base, size, None, 3 + n) for n, size in enumerate(sizes)]
            full = [score(base, size, recovery, 3 + len(sizes) + n)
                    for n, (size, recovery) in enumerate(zip(sizes, levels, strict=True))]  # fmt: skip
            return {"whole": np.array(whole), "plain": np.array(plain), "recovered": np.array(full)}

        found = self._folder.step("figures", make)
        first = {"ratio": 1.0, "perplexity": float(found["whole"][1]), "before": float(found["whole"][0])}
        shape = self.weights.shape
        return [first] + [
            {"ratio": ladder.ratio(shape, size), "perplexity": float(full), "before": float(plain)}
            for size, full, plain in zip(sizes, found["recovered"], found["plain"], strict=True)
        ]

    def rivals(self, base: Model, sizes: list[Size]) -> dict[str, list[float]]:
        """Perplexity of other ways to the same ratios, by name and level from 1 on.

        Those by magnitude and by layers get the recovery in closed form that ours gets, on the same text with the same
        ranks; the one by magnitude is not rounded again, which favours it. "fitted" is ours before distillation.
        """
        windows, shape = text.windows(self.held_out, self.options.length, None), self.weights.shape

        def scores(model: Model, sizes: list[Size], recoveries: list[Recovery]) -> Array:
            found = zip(sizes, recoveries, strict=True)
            return np.array([_perplexity(model, windows, size, recovery) for size, recovery in found])

        def by_magnitude() -> Array:
            worth = baseline.magnitude(self.weights)
            other = Order.by(worth)
            cut = ladder.ladder(shape, moved(worth, other), self.options.latency, self.options.ratios)
            model = self._model(reordered(self.weights, other))
            return scores(model, cut, self._fit(model, cut, "rivals", "magnitude"))

        def make() -> Arrays:
            cut = baseline.layers(shape, self.importance(), self.options.ratios)
            each = [measure.perplexity(base, baseline.contextual(base, size), windows) for size in sizes]
            return {
                "fitted": scores(base, sizes, self.fitted(base, sizes)), "magnitude": by_magnitude(),
                "layers": scores(base, cut, self._fit(base, cut, "rivals", "layers")), "contextual": np.array(each),
            }  # fmt: skip

        return {name: values.tolist() for name, values in self._folder.step("rivals", make).items()}

    def _fit(self, model: Model, sizes: list[Size], step: str, note: str = "") -> list[Recovery]:
        """What recovers a model of the same units at some sizes, in closed form, as `step` tells it."""
        tokens = torch.from_numpy(self.windows()[: self.options.fitted])
        told = lambda n, of: self.report(step, n, of, note)
        whole, options = self._model(self.weights), self.options
        return recover.fit(whole, model, tokens, sizes, options.ranks, batch=options.batch, report=told)

    def fine(self, order: Order) -> Array:
        """Which down matrices are rounded to 8 bits."""

        def make() -> Arrays:
            squares = moved(self._weighed("norm"), order)
            costs = rounding.costs(reordered(self.weights, order), squares, self.importance().slopes)
            return {"fine": rounding.finest(costs, self.options.fine), "costs": costs}

        return self._folder.step("rounding", make)["fine"]

    def _base(self, order: Order) -> Model:
        """The model as it will be stored: in order, down matrices rounded."""
        return self._model(rounding.rounded(reordered(self.weights, order), self.fine(order)))

    def _taught(self) -> np.ndarray:
        def make() -> Arrays:
            chosen = self.windows()[: self.options.learned]
            told = lambda n, of: self.report("taught", n, of, "")
            return {"states": distil.teach(self._model(self.weights), chosen, self.options.batch, told)}

        return self._folder.step("taught", make)["states"]

    def _model(self, weights: Weights) -> Model:
        return Model(weights, self.device, getattr(torch, self.options.dtype))


def _perplexity(model: Model, windows: Array, size: Size | None, recovery: Recovery | None) -> float:
    return measure.perplexity(model, lambda tokens: model(tokens, size, recovery), windows)


def _arrays(recovery: Recovery) -> Arrays:
    return {name: value.cpu().numpy() for name, value in recovery.tensors().items()}


def _recovery(arrays: Arrays, layers: int, device: str) -> Recovery:
    return Recovery.of({name: torch.from_numpy(value).to(device) for name, value in arrays.items()}, layers)
