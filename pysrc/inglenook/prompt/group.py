"""Which of a prompt's parts make an effect that comes and goes: searches that choose whom to try next.

A search is a generator: it yields a *mask* (bool per part: is it in?) and is sent whether the effect was seen in one
run of that; it returns what it `Found`. Two of them, in one interface:

    bayes   noisy group testing (Dorfman, 1943; information gain chooses, as in Cavagnaro and others, 2010), then a
            sequential leave-one-out of what is proposed. Its model of prompts is ours, see `Belief`.
    ddmin   delta debugging (Zeller and Hildebrandt, 2002), each question decided by repeated runs: the baseline.

The effect may be that the prompt fails, and the parts those that can be taken out; or, mirrored, that it passes, and
the parts what could be put in.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from inglenook.errors import NookError
from inglenook.prompt.sequential import Claim, Sprt

Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]
Search = Generator[Mask, bool, "Found"]
How = Literal["alone", "together", "either", "always", "never", "unknown"]

SURE = 0.95  # of a hypothesis, before it is put to the test
SEEN, NOISE = (0.3, 0.6, 0.8, 0.95), (0.03, 0.15, 0.35)  # how often the effect comes, with and without what makes it
STEADY = (0.99,), (0.01,)  # the same where a mask always gives the same
STRAIN = ((0.0, 0.5), (0.8, 0.3), (3.0, 0.2))  # (how a prompt suffers from changes as such, how likely that is)
SHAPES: dict[How, float] = {"alone": 0.55, "together": 0.2, "either": 0.1, "always": 0.1, "never": 0.05}
HYPOTHESES = 30_000  # at most, so that a step takes milliseconds


@dataclass(frozen=True, slots=True)
class Found:
    """The `parts` that make the effect: one `alone`, two or more only `together` or `either` by itself.

    `always` and `never`: no part of these makes it. `unknown`: the runs ended before anything was sure. `certainty` is
    the search's own, 0 … 1; `confirmed` says that the leave-one-out agreed; `runs` counts every run.
    """

    parts: tuple[int, ...]
    how: How
    certainty: float
    confirmed: bool
    runs: int


class Belief:
    """What is held of every set of up to `most` parts, of how often the effect comes, and of how much changes strain.

    With the makers in, the effect is seen in `SEEN` of runs, without in `NOISE`. A prompt that is changed a lot may
    fail for that alone: with a share r of its parts changed it survives with probability exp(-strain r). All of this
    is a grid of rates beside each hypothesis and learned with it, so nobody has to know them.
    """

    def __init__(
        self, count: int, most: int, failure: bool, suspicion: Sequence[float] | None = None, noisy: bool = True
    ) -> None:
        if count < 1:
            raise NookError("no-parts", "There is nothing to search: the prompt has no part that may go.",
                            "Split the prompt into segments, and protect only those it cannot do without.")  # fmt: skip
        self.count, self._failure = count, failure
        members: list[tuple[int, ...]] = [(i,) for i in range(count)]
        hows: list[How] = ["alone"] * count
        for size in range(2, min(most, count) + 1):
            if len(members) + 2 * math.comb(count, size) > HYPOTHESES:
                break
            for how in ("together", "either"):
                sets = list(itertools.combinations(range(count), size))
                members += sets
                hows += [how] * len(sets)
        self.members, self.hows = [*members, (), ()], [*hows, "always", "never"]
        self._matrix = np.zeros((len(self.members), count), np.float32)
        for row, parts in enumerate(self.members):
            self._matrix[row, list(parts)] = 1
        sizes = self._matrix.sum(axis=1)
        self._needed = np.where([how == "together" for how in self.hows], sizes, [how != "always" for how in self.hows])
        seen, noise = (SEEN, NOISE) if noisy else STEADY
        grid = [(hi, lo, strain, p) for hi in seen for lo in noise for strain, p in STRAIN if hi >= 2 * lo]
        self._seen, self._noise, self._strain, odds = (np.array(column) for column in zip(*grid, strict=True))
        shares = {how: self.hows.count(how) for how in SHAPES}
        prior = np.log([SHAPES[how] / shares[how] for how in self.hows])
        if suspicion is not None:
            prior = prior + self._matrix @ np.log(np.asarray(suspicion, np.float64))
        self._log: Floats = prior[:, None] + np.log(odds / odds.sum())[None, :]

    @property
    def odds(self) -> Floats:
        """The probability of each hypothesis, float64 (hypotheses)."""
        weights = np.exp(self._log - self._log.max())
        each: Floats = weights.sum(axis=1) / weights.sum()
        return each

    def best(self) -> tuple[int, float]:
        """The likeliest hypothesis and its probability."""
        odds = self.odds
        row = int(odds.argmax())
        return row, float(odds[row])

    @property
    def blame(self) -> Floats:
        """The probability that a part is among the makers, of each: float64 (parts)."""
        each: Floats = self.odds @ self._matrix
        return each

    def rates(self, row: int) -> tuple[float, float]:
        """How often the effect is expected with the makers in, and without, if hypothesis `row` holds."""
        weights = np.exp(self._log[row] - self._log[row].max())
        weights /= weights.sum()
        return float(weights @ self._seen), float(weights @ self._noise)

    def present(self, masks: Mask) -> Mask:
        """Of each mask and hypothesis, whether its makers are in: bool (masks, hypotheses)."""
        found: Mask = masks.astype(np.float32) @ self._matrix.T >= self._needed
        return found

    def _chances(self, masks: Mask) -> tuple[Floats, Floats]:
        """How likely the effect is with the makers in, and without: float64 (masks, rates) each."""
        changed = (1 - masks.mean(axis=1)) if self._failure else masks.mean(axis=1)
        well = np.exp(-changed[:, None] * self._strain[None, :])
        if self._failure:
            return 1 - (1 - self._seen) * well, 1 - (1 - self._noise) * well
        return self._seen * well, self._noise * well

    def learn(self, mask: Mask, effect: bool) -> None:
        """One run of `mask` showed the effect, or did not."""
        with_them, without = (chance[0] if effect else 1 - chance[0] for chance in self._chances(mask[None]))
        inside = self.present(mask[None])[0]
        self._log += np.where(inside[:, None], np.log(with_them)[None, :], np.log(without)[None, :])

    def gain(self, masks: Mask) -> Floats:
        """What one run of each mask would tell about the hypotheses, in nats: float64 (masks)."""
        weights = np.exp(self._log - self._log.max())
        weights /= weights.sum()
        odds = weights.sum(axis=1)
        inside = self.present(masks).T
        with_them, without = self._chances(masks)
        chance = np.where(inside, weights @ with_them.T, weights @ without.T)  # jointly with the hypothesis
        each = chance / np.maximum(odds, 1e-300)[:, None]
        told: Floats = _entropy(chance.sum(axis=0)) - odds @ _entropy(each)
        return told

    def choose(self, rng: np.random.Generator) -> Mask:
        """The mask that would tell most, of random ones and of what single changes make of the best."""
        shares = rng.choice([0.2, 0.5, 0.8], 48)
        masks = rng.random((48, self.count)) < shares[:, None]
        row = self.members[rng.choice(len(self.members), p=self.odds)]
        masks[:24, list(row)] = rng.random((24, len(row))) < 0.5
        gains = self.gain(masks)
        best: Mask = masks[int(gains.argmax())]
        told = float(gains.max())
        for _ in range(3):
            flips: Mask = best ^ np.eye(self.count, dtype=np.bool_)
            gains = self.gain(flips)
            if float(gains.max()) <= told * 1.01:
                break
            best, told = flips[int(gains.argmax())], float(gains.max())
        return best


def _entropy(chance: Floats) -> Floats:
    """Of a coin, in nats."""
    p = np.clip(chance, 1e-12, 1 - 1e-12)
    nats: Floats = -p * np.log(p) - (1 - p) * np.log1p(-p)
    return nats


def bayes(
    count: int, *, most: int = 2, failure: bool = True, runs: int = 400, seed: int = 0, error: float = 0.05,
    suspicion: Sequence[float] | None = None, noisy: bool = True, told: Callable[[Floats], None] | None = None,
) -> Search:  # fmt: skip
    """Search `count` parts for a set of at most `most` that makes the effect, in at most `runs` runs.

    `failure` tells whether the effect is that the prompt fails. `suspicion` weighs parts beforehand (1 is neutral; a
    linter's findings, say). A proposal is accepted when taking out each of its parts ends the effect, each tested
    sequentially with `error`; a refuted one has taught the belief and the search goes on. Where the same mask always
    shows the same (not `noisy`), one run tells. `told` hears after each run how likely each part is to blame.
    """
    belief, rng, used = Belief(count, most, failure, suspicion, noisy), np.random.default_rng(seed), 0

    def probe(mask: Mask) -> Generator[Mask, bool, bool]:
        nonlocal used
        effect = yield mask
        used += 1
        belief.learn(mask, effect)
        if told:
            told(belief.blame)
        return effect

    while used < runs:
        row, certainty = belief.best()
        if certainty < SURE:
            yield from probe(belief.choose(rng))
            continue
        parts, how = belief.members[row], belief.hows[row]
        agreed = True
        checks = list(_checks(count, parts, how))
        if parts and belief.rates(row)[0] < 0.5:  # seldom seen: is it there at all?
            checks.insert(0, (np.ones(count, np.bool_), True))
        for mask, expected in checks:
            if noisy:
                seen, noise = belief.rates(row)
                gate = Sprt(Claim(1 - noise, 1 - seen, error, error), max(1, runs - used))
                while gate.open:
                    gate.add(int(not (yield from probe(mask))))
                agreed = gate.decision == ("fail" if expected else "pass")
            else:
                agreed = (yield from probe(mask)) == expected
            if not agreed:
                break
        if agreed:
            return Found(parts, how, belief.best()[1], bool(parts), used)
        if belief.best()[0] == row and used < runs:  # what refuted it did not move the belief: look elsewhere
            yield from probe(belief.choose(rng))
    row, certainty = belief.best()
    return Found(belief.members[row], "unknown" if certainty < 0.5 else belief.hows[row], certainty, False, used)


def _checks(count: int, parts: tuple[int, ...], how: How) -> Iterator[tuple[Mask, bool]]:
    """What to run to confirm a proposal, and whether the effect is expected there."""
    whole = np.ones(count, np.bool_)
    if how == "always":
        yield ~whole, True
    elif how == "never":
        yield whole, False
    elif how == "either":
        yield _without(whole, parts), False
        for part in parts:
            yield _without(whole, [other for other in parts if other != part]), True
    else:
        for part in parts:
            yield _without(whole, [part]), False


def _without(mask: Mask, parts: Iterable[int]) -> Mask:
    left = np.array(mask)
    left[list(parts)] = False
    return left


# ── the baseline ──────────────────────────────────────────────────────────────────────────────────────────────────


Decide = Callable[[Mask], Generator[Mask, bool, bool]]


def majority(repeats: int) -> Decide:
    """A question is decided by the majority of `repeats` runs (an odd number)."""

    def decide(mask: Mask) -> Generator[Mask, bool, bool]:
        seen = 0
        for _ in range(repeats):
            seen += yield mask
        return 2 * seen > repeats

    return decide


def sequentially(seen: float, noise: float, error: float = 0.05) -> Decide:
    """A question is decided by an SPRT between the two rates of the effect, which somebody has to know."""

    def decide(mask: Mask) -> Generator[Mask, bool, bool]:
        gate = Sprt(Claim(1 - noise, 1 - seen, error, error))
        while gate.open:
            gate.add(int(not (yield mask)))
        return gate.decision == "fail"

    return decide


def ddmin(count: int, decide: Decide) -> Search:
    """A smallest set of parts that shows the effect: from it no part can go. One set, even where others do as well."""
    runs = 0

    def shows(parts: Sequence[int]) -> Generator[Mask, bool, bool]:
        nonlocal runs
        question = decide(_only(count, parts))
        try:
            mask = next(question)
            while True:
                runs += 1
                mask = question.send((yield mask))
        except StopIteration as decided:
            return bool(decided.value)

    parts, pieces = list(range(count)), 2
    while len(parts) > 1:
        cuts = np.linspace(0, len(parts), pieces + 1).astype(int)
        groups = [parts[a:b] for a, b in itertools.pairwise(cuts)]
        for group in groups:
            if (yield from shows(group)):
                parts, pieces = group, 2
                break
        else:
            for group in groups if pieces > 2 else []:
                rest = [part for part in parts if part not in group]
                if (yield from shows(rest)):
                    parts, pieces = rest, max(pieces - 1, 2)
                    break
            else:
                if pieces >= len(parts):
                    break
                pieces = min(len(parts), 2 * pieces)
    return Found(tuple(parts), "alone" if len(parts) == 1 else "together", 1.0, False, runs)


def _only(count: int, parts: Iterable[int]) -> Mask:
    return _without(np.ones(count, np.bool_), set(range(count)) - set(parts))


def drive(search: Search, effect: Callable[[Mask], bool]) -> Found:
    """Run a search against a function that tells of one run whether the effect was seen."""
    try:
        mask = next(search)
        while True:
            mask = search.send(bool(effect(mask)))
    except StopIteration as found:
        result: Found = found.value
        return result
