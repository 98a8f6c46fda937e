"""Sequential tests: the errors they promise are the errors they make, and they stop early."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from inglenook.errors import NookError
from inglenook.prompt.binomial import fixed, pmf, quantile
from inglenook.prompt.sequential import (
    Bets,
    Claim,
    Drift,
    Evidence,
    Gate,
    Paired,
    Sprt,
    bounds,
    evidence,
    interval,
    together,
)

CLAIMS = [Claim(), Claim(0.95, 0.85), Claim(0.9, 0.8, 0.1, 0.1), Claim(1.0, 0.9), Claim(0.6, 0.4), Claim(0.9, 0.2)]


def run(gate: Gate, rate: float, rng: np.random.Generator) -> Gate:
    while gate.open:
        gate.add(int(rng.random() < rate))
    return gate


def test_distributions_are_those_of_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    for runs, rate in ((1, 0.5), (30, 0.05), (400, 0.9), (7, 0.0), (7, 1.0)):
        assert np.allclose(pmf(runs, rate), stats.binom.pmf(np.arange(runs + 1), runs, rate), atol=1e-12)
    for p in (1e-6, 0.05, 0.5, 0.9, 0.999):
        assert quantile(p) == pytest.approx(stats.norm.ppf(p), abs=1e-9)


def test_the_fixed_test_is_the_smallest() -> None:
    for claim in CLAIMS:
        runs, allowed = fixed(claim.good, claim.bad, claim.alpha, claim.beta)

        def errors(size: int, most: int, claim: Claim = claim) -> tuple[float, float]:
            alarm = 1 - pmf(size, 1 - claim.good)[: most + 1].sum()
            return alarm, pmf(size, 1 - claim.bad)[: most + 1].sum()

        alarm, miss = errors(runs, allowed)
        assert alarm <= claim.alpha + 1e-12 and miss <= claim.beta
        for size in range(1, runs):
            for most in range(size):
                alarm, miss = errors(size, most)
                assert alarm > claim.alpha - 1e-12 or miss > claim.beta


@pytest.mark.parametrize("claim", CLAIMS)
def test_the_exact_errors_of_the_bounds_are_within_alpha_and_beta_everywhere(claim: Claim) -> None:
    found = bounds(claim)
    for good in np.linspace(claim.good, 1, 5):
        assert found.operate(float(good))[0] <= claim.alpha
    for bad in np.linspace(0.01, claim.bad, 5):
        assert 1 - found.operate(float(bad))[0] <= claim.beta
    size, _ = fixed(claim.good, claim.bad, claim.alpha, claim.beta)
    assert found.most <= math.ceil(1.5 * size)
    assert max(found.operate(claim.bad)[1], found.operate(min(1.0, claim.good + 0.03))[1]) <= size


def test_what_the_bounds_promise_is_what_runs_show() -> None:
    rng, claim = np.random.default_rng(3), Claim()
    for rate in (0.95, 0.9, 0.8, 0.75):
        gates = [run(Sprt(claim), rate, rng) for _ in range(600)]
        failed, runs = bounds(claim).operate(rate)
        assert np.mean([gate.decision == "fail" for gate in gates]) == pytest.approx(failed, abs=0.05)
        assert np.mean([gate.runs for gate in gates]) == pytest.approx(runs, rel=0.12)
        assert all(gate.decision != "undecided" for gate in gates)


def test_bets_keep_their_errors_at_the_worst_rates_and_hardly_cost_more() -> None:
    rng, claim = np.random.default_rng(4), Claim()
    for rate, wrong in ((0.9, "fail"), (0.75, "pass")):
        gates = [run(Bets(claim, 400), rate, rng) for _ in range(150)]
        assert np.mean([gate.decision == wrong for gate in gates]) <= 0.05 + 0.04
        assert np.mean([gate.runs for gate in gates]) <= 1.4 * bounds(claim).operate(rate)[1]


def test_bets_take_scores_between_nothing_and_all() -> None:
    rng = np.random.default_rng(5)
    gates = {mean: Bets(Claim(0.7, 0.5), 500) for mean in (0.8, 0.4)}
    for mean, gate in gates.items():
        while gate.open:
            gate.add(float(np.clip(rng.normal(mean, 0.1), 0, 1)))
    assert [gate.decision for gate in gates.values()] == ["pass", "fail"]
    assert all(gate.runs < 40 for gate in gates.values())


def test_looking_after_each_run_does_not_break_the_interval() -> None:
    """Where a Wilson interval looked at after each run excludes the truth in a third of all cases."""
    rng, missed = np.random.default_rng(6), 0
    for _ in range(60):
        scores: dict[float, int] = {}
        evidence = Evidence(0.8, "above"), Evidence(0.8, "below")
        for _ in range(150):
            score = float(rng.random() < 0.8)
            scores[score] = scores.get(score, 0) + 1
            if max(one.add(score) for one in evidence) >= math.log(2 / 0.05):
                low, high = interval(scores)
                assert not low <= 0.8 <= high
                missed += 1
                break
    assert missed / 60 <= 0.05


@given(st.integers(0, 60), st.integers(0, 60))
def test_intervals_hold_the_mean_and_narrow(kept: int, lost: int) -> None:
    low, high = interval({1.0: kept, 0.0: lost})
    assert 0 <= low <= high <= 1
    if kept + lost:
        assert low <= kept / (kept + lost) <= high
        wider = interval({1.0: kept, 0.0: lost}, 0.01)
        assert wider[0] <= low + 1e-9 and high <= wider[1] + 1e-9


def test_paired_runs_tell_lost_gained_and_the_same() -> None:
    rng = np.random.default_rng(7)

    def compare(flip: float, to: float) -> Paired:
        gate = Paired(0.1, most=2000, wholly=True)
        while gate.open:
            old = float(rng.random() < 0.8)
            gate.pair(old, float(rng.random() < to) if rng.random() < flip else old)
        return gate

    lost, same, gained = compare(0.3, 0.1), compare(0.0, 0.0), compare(0.9, 1.0)
    assert [one.change for one in (lost, same, gained)] == ["lost", "same", "gained"]
    assert [one.decision for one in (lost, same, gained)] == ["fail", "pass", "pass"]
    assert lost.lost > lost.gained and gained.gained > gained.lost == 0 and same.lost == same.gained == 0
    assert lost.difference()[0] < 0 < gained.difference()[0]
    assert same.runs < 80  # equal pairs do count for being the same


def test_a_worse_version_passes_as_rarely_as_promised() -> None:
    rng, passed, failed = np.random.default_rng(8), 0, 0
    for _ in range(100):
        worse, equal = Paired(0.1, most=150), Paired(0.1, most=150)
        while worse.open:
            worse.pair(1, float(rng.random() < 0.9))
        while equal.open:
            equal.pair(float(rng.random() < 0.8), float(rng.random() < 0.8))
        passed, failed = passed + (worse.decision == "pass"), failed + (equal.decision == "fail")
    assert passed / 100 <= 0.05 + 0.03
    assert failed / 100 <= 0.05 + 0.03


def test_drift_is_seen_soon_and_seldom_where_there_is_none() -> None:
    rng = np.random.default_rng(9)

    def until(rate: float, most: int) -> int:
        watch = Drift(0.9, 0.75, 1 / 300)
        while watch.runs < most and not watch.add(float(rng.random() < rate)):
            pass
        return watch.runs

    assert np.mean([until(0.9, 5000) for _ in range(25)]) > 300
    assert np.mean([until(0.6, 5000) for _ in range(25)]) < 25


def test_what_cannot_be_tested_is_refused() -> None:
    for make in (lambda: Claim(0.7, 0.8), lambda: Claim(alpha=0.0), lambda: Paired(0), lambda: Drift(0.5, 0.6)):
        with pytest.raises(NookError) as refused:
            make()
        assert refused.value.code == "claim" and refused.value.hint
    with pytest.raises(NookError) as refused:
        bounds(Claim(0.9, 0.8999))
    assert refused.value.code == "test-size"
    for gate, score in ((Bets(Claim()), 1.5), (Sprt(Claim()), 0.5)):
        with pytest.raises(NookError) as refused:
            gate.add(score)
        assert refused.value.code == "score"
        assert gate.runs == 0


def test_claims_together_share_the_false_alarms_and_keep_their_misses() -> None:
    some = [Claim(alpha=0.05), Claim(0.95, 0.8, 0.02, 0.1), Claim(0.8, 0.6, 0.03)]
    shared = together(some)
    assert sum(one.alpha for one in shared) == pytest.approx(0.05)
    assert all(one.alpha < was.alpha and one.beta == was.beta for one, was in zip(shared, some))
    assert shared[0].alpha / shared[1].alpha == pytest.approx(2.5)
    assert together([Claim()]) == [Claim()] and together([]) == []
    # exactly: what each may err adds up
    assert sum(bounds(one).operate(one.good)[0] for one in shared) <= 0.05


def test_evidence_of_counts_is_that_of_runs_one_by_one_and_is_fair() -> None:
    claim = Claim(0.9, 0.75)
    gate = Bets(claim, 40)
    for score in (1, 0, 1, 1, 0, 1):
        gate.add(score)
    good, bad = evidence(claim, 4, 6)
    assert (math.log(good), math.log(bad)) == pytest.approx((gate._fails.log, gate._passes.log))
    # an e-value has a mean of at most 1 under what it speaks against
    for rate, which in ((0.9, 0), (0.75, 1)):
        odds = pmf(30, rate)
        assert sum(odds[kept] * evidence(claim, kept, 30)[which] for kept in range(31)) <= 1 + 1e-9
    assert evidence(Claim(1.0, 0.9), 10, 10)[0] <= 1 < evidence(Claim(1.0, 0.9), 9, 10)[0]
