"""The searches for what makes an effect: the truth is found among noise, with fewer runs than delta debugging."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
from inglenook.errors import NookError
from inglenook.prompt.group import Belief, Found, Mask, bayes, ddmin, drive, majority, sequentially


def world(
    rng: np.random.Generator, makers: tuple[int, ...], how: str, rates: tuple[float, float], needed: int | None = None
) -> Callable[[Mask], bool]:
    """A prompt that fails with the first of `rates` if the makers are in, else the second; mostly, too, without
    the part that is `needed`."""

    def effect(mask: Mask) -> bool:
        if needed is not None and not mask[needed] and rng.random() < 0.8:
            return True
        inside = [bool(mask[part]) for part in makers]
        return bool(rng.random() < rates[not (any if how == "either" else all)(inside)])

    return effect


def many(
    trials: int, count: int, kind: tuple[int, str], rates: tuple[float, float], needed: bool = False
) -> list[tuple[Found, bool]]:
    rng, found, (size, how) = np.random.default_rng(11), [], kind
    for trial in range(trials):
        makers = tuple(sorted(rng.choice(count, size, replace=False).tolist()))
        other = next(i for i in range(count) if i not in makers) if needed else None
        one = drive(bayes(count, seed=trial), world(rng, makers, how, rates, other))
        found.append((one, one.parts == makers and one.how == how))
    return found


@pytest.mark.parametrize(
    ("count", "kind", "rates", "needed", "runs"),
    [
        (12, (1, "alone"), (0.9, 0.1), False, 32),
        (12, (1, "alone"), (0.7, 0.05), False, 45),
        (10, (1, "alone"), (0.35, 0.02), False, 110),  # seldom, but only with it
        (10, (1, "alone"), (0.95, 0.3), False, 45),
        (12, (1, "alone"), (0.9, 0.1), True, 45),
        (12, (2, "together"), (0.85, 0.1), False, 60),
        (10, (2, "either"), (0.9, 0.1), False, 65),
    ],
)
def test_makers_are_found_among_noise(count, kind, rates, needed, runs) -> None:
    found = many(8, count, kind, rates, needed)
    assert np.mean([right for _, right in found]) >= 0.8
    assert np.mean([one.runs for one, _ in found]) <= runs
    assert all(one.confirmed for one, right in found if right)


def test_what_no_part_makes_is_said_to_be_so() -> None:
    rng = np.random.default_rng(12)
    always = [drive(bayes(8, seed=i), lambda mask: bool(rng.random() < 0.9)) for i in range(3)]
    never = [drive(bayes(8, seed=i), lambda mask: bool(rng.random() < 0.05)) for i in range(5)]
    assert {one.how for one in always} == {"always"} and {one.how for one in never} == {"never"}
    assert all(one.parts == () and not one.confirmed for one in always + never)


def test_the_mirrored_search_finds_what_mends() -> None:
    rng, right = np.random.default_rng(13), 0
    for trial in range(8):
        repair = int(rng.integers(9))

        def passes(mask: Mask, repair: int = repair) -> bool:  # every addition costs a little
            return bool(rng.random() < (0.9 if mask[repair] else 0.1) * 0.97 ** int(mask.sum()))

        right += drive(bayes(9, failure=False, seed=trial), passes).parts == (repair,)
    assert right >= 7


def test_suspicion_saves_runs_and_does_not_blind() -> None:
    def mean(hint: int) -> tuple[float, float]:
        rng = np.random.default_rng(14)
        suspicion = [10.0 if part == hint else 1.0 for part in range(16)]
        ones = [drive(bayes(16, seed=i, suspicion=suspicion), world(rng, (5,), "alone", (0.9, 0.1))) for i in range(20)]
        return float(np.mean([one.runs for one in ones])), float(np.mean([one.parts == (5,) for one in ones]))

    (helped, right), (misled, still) = mean(5), mean(9)
    assert helped < misled and right == 1 and still >= 0.9


def test_gain_is_what_bayes_rule_says_it_is() -> None:
    """Held against the definition: entropy before, minus the mean entropy after, computed by learning both outcomes."""
    rng = np.random.default_rng(15)

    def fresh() -> Belief:
        belief = Belief(4, 2, True)
        for mask, effect in history:
            belief.learn(mask, effect)
        return belief

    def entropy(belief: Belief) -> float:
        odds = belief.odds
        return float(-(odds * np.log(np.maximum(odds, 1e-300))).sum())

    history: list[tuple[Mask, bool]] = []
    for _ in range(4):
        belief = fresh()
        masks = np.array(list(itertools.product([False, True], repeat=4)))
        gains = belief.gain(masks)
        for mask, gain in list(zip(masks, gains, strict=True))[::5]:
            sure, unsure = fresh(), fresh()
            sure.learn(mask, True)
            unsure.learn(mask, False)
            before, after = belief._log.max(), (sure._log, unsure._log)
            chance = math.exp(np.log(np.exp(after[0] - before).sum()) - np.log(np.exp(belief._log - before).sum()))
            expected = entropy(belief) - chance * entropy(sure) - (1 - chance) * entropy(unsure)
            assert gain == pytest.approx(expected, abs=1e-9)
        assert belief.gain(belief.choose(rng)[None])[0] >= 0.9 * gains.max()
        history.append((belief.choose(rng), bool(rng.random() < 0.5)))


def test_delta_debugging_is_exact_without_noise() -> None:
    for makers in ((3,), (0, 6), (2, 3, 7)):
        rng = np.random.default_rng(0)
        found = drive(ddmin(8, majority(1)), world(rng, makers, "together", (1, 0)))
        assert found.parts == makers


def test_delta_debugging_asks_more_at_equal_accuracy() -> None:
    rng, searches = np.random.default_rng(16), {"bayes": 0, "majority": 0, "sprt": 0}
    right = dict.fromkeys(searches, 0)
    for trial in range(10):
        makers = tuple(sorted(rng.choice(12, 2, replace=False).tolist()))
        effect = world(rng, makers, "together", (0.85, 0.12))
        for name, search in (
            ("bayes", bayes(12, seed=trial)),
            ("majority", ddmin(12, majority(15))),
            ("sprt", ddmin(12, sequentially(0.85, 0.12, 0.01))),
        ):
            found = drive(search, effect)
            searches[name], right[name] = searches[name] + found.runs, right[name] + (found.parts == makers)
    assert right["bayes"] >= right["sprt"] - 1 and right["bayes"] >= 8
    assert searches["bayes"] * 1.5 < searches["sprt"]
    assert searches["bayes"] * 5 < searches["majority"]


def test_it_ends_where_runs_do_and_refuses_nothing_to_search() -> None:
    rng = np.random.default_rng(17)
    found = drive(bayes(20, runs=15), lambda mask: bool(rng.random() < 0.5))
    assert found.runs <= 15 and not found.confirmed
    with pytest.raises(NookError) as refused:
        next(bayes(0))
    assert refused.value.code == "no-parts"
