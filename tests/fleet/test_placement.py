"""Where services go, when they are moved, and profiles fitted to measurements."""

from __future__ import annotations

from dataclasses import astuple
from itertools import product

import numpy as np
import pytest
from fleet.sharing import PAGE, load, services
from hypothesis import given, settings
from hypothesis import strategies as st
from inglenook.errors import NookError
from inglenook.fleet.calibrate import Measured, errors, fit, measure, split
from inglenook.fleet.iteration import Iteration, Sampling
from inglenook.fleet.placement import Group, Placement, groupings, parallel
from inglenook.fleet.policy.fcfs import FirstCome
from inglenook.fleet.profile import Profile, Work
from inglenook.fleet.replacement import Replacement, aligned, located


def placement(workers: int = 2, memory: int = 100_000, count: int = 80, pace: float = 3.0, **more) -> Placement:
    return Placement(
        services(), workers, memory, load(count, 3, 2.0, pace), lambda: FirstCome(8, 64), page_bytes=PAGE, **more
    )


def test_groupings_are_all_partitions_by_powers_of_two():
    assert list(groupings(4)) == [(4,), (2, 2), (2, 1, 1), (1, 1, 1, 1)]
    assert [len(list(groupings(n))) for n in (1, 3, 8)] == [1, 2, 10]


def test_the_plan_is_the_best_of_all():
    """Against every assignment to every grouping."""
    asked = placement()
    names = [service.name for service in asked.services]
    every = []
    for sizes in groupings(2):
        for homes in product(range(len(sizes)), repeat=3):
            plan = tuple(
                Group(size, tuple(name for name, home in zip(names, homes) if home == n))
                for n, size in enumerate(sizes)
            )
            every.append(asked.estimate(plan))
    assert asked.estimate(asked.best()) == pytest.approx(min(every))
    assert max(every) > 1.2 * min(every)


def test_a_service_takes_the_degrees_that_fit_and_are_in_time():
    asked = placement(4)
    large = asked.services[2]
    assert asked.degrees(large) == [1, 2, 4]
    alone = large.profile.alone(round(large.prompts.mean), round(large.outputs.mean)) / round(large.outputs.mean)
    asked.objective = alone * 0.9
    assert asked.degrees(large) == [2, 4]
    assert placement(4, memory=20_000).degrees(large) == [2, 4]
    with pytest.raises(NookError, match="No number of workers") as error:
        placement(1, memory=20_000).best()
    assert error.value.hint


def test_workers_in_parallel_are_faster_but_not_that_much():
    profile = Profile(1.0, 1.0, 1.0)
    assert parallel(profile, 1) == profile
    assert 0.25 < parallel(profile, 4).base < 0.5


def test_what_fits_alone_but_not_together_is_said():
    asked = placement(1, memory=34_500)
    with pytest.raises(NookError, match="do not fit") as error:
        asked.best()
    assert error.value.code == "placement"


def test_a_move_must_be_worth_it_and_the_next_look_follows():
    asked = placement(pace=5.0)
    best = asked.best()
    bad = (Group(1, tuple(service.name for service in asked.services)), Group(1, ()))
    quick = Replacement(link=1e9, interval=60)
    assert not quick.due(59) and quick.due(60)
    assert set(quick.consider(asked, asked.named, bad, 60)) == set(best)
    assert quick.interval == 30 and not quick.due(89) and quick.due(90)
    slow = Replacement(link=1.0, interval=60)  # a thousand bytes a service: a quarter of an hour each
    assert slow.consider(asked, asked.named, bad, 60) == bad
    assert slow.interval == 120
    assert Replacement(link=1e9).consider(asked, asked.named, best, 60) == best


def test_who_stays_is_not_moved():
    current = (Group(1, ("a",)), Group(1, ("b", "c")))
    turned = (Group(1, ("b", "c", "d")), Group(1, ("a",)))
    assert aligned(turned, current) == (turned[1], turned[0])
    assert located(current) == {"a": (0, 1), "b": (1, 1), "c": (1, 1)}
    moved = Replacement(link=100.0).cost({}, current, current, 0.0)
    assert moved == 0.0
    asked = placement()
    one = (Group(1, ("code", "chat")), Group(1, ("large",)))
    two = (Group(1, ("code",)), Group(1, ("large", "chat")))
    cost = Replacement(link=100.0).cost
    assert cost(asked.named, one, one, 0.0) == 0.0
    assert cost(asked.named, one, two, 0.0) > Replacement(link=1000.0).cost(asked.named, one, two, 0.0) > 0


def noisy(terms, seed, flat):
    """A profile, and iterations as it predicts them with 3 % of noise; `flat`: reading the context costs nothing."""
    truth = Profile(*terms[:3], 0.0 if flat else terms[3] / 1e3, 0.0 if flat else terms[4] / 1e4, *terms[5:])
    rng = np.random.default_rng(seed)
    rows = []
    for decodes, prefill in product((0, 1, 4, 16), (0, 16, 64, 256) * 2):
        if decodes + prefill:
            start = int(rng.integers(0, 300))
            pairs = prefill * start + prefill * (prefill + 1) // 2
            prompts, changed = int(rng.integers(1, 5)) * bool(prefill), int(rng.integers(2))
            work = Work(decodes, prefill, decodes * int(rng.integers(1, 400)), pairs, prompts, changed)
            rows.append(Measured(work, truth.seconds(work) * float(rng.normal(1, 0.03))))
    fitted, held = split(rows, seed=seed)
    assert len(fitted) == 18 and len(held) == 12 and not {*fitted} & {*held}
    return truth, fitted, held


@settings(max_examples=100)
@given(st.lists(st.floats(1e-6, 1e-1), min_size=7, max_size=7), st.integers(0, 100), st.booleans())
def test_no_profile_is_nearer_than_the_fit(terms, seed, flat):
    """Not even the one that made the rows."""
    truth, fitted, _ = noisy(terms, seed, flat)
    found = fit(fitted)
    assert np.square(errors(found, fitted)).sum() <= np.square(errors(truth, fitted)).sum() + 1e-9
    assert min(astuple(found)) >= 0


@pytest.mark.parametrize("flat", [False, True])
def test_a_fit_finds_what_made_the_rows(flat):
    for seed in range(40):
        terms = np.random.default_rng(1000 + seed).uniform(1e-6, 1e-1, 7)
        _, fitted, held = noisy(terms, seed, flat)
        assert np.median(errors(fit(fitted), held)) < 0.1


def test_too_few_rows_are_refused():
    with pytest.raises(NookError) as error:
        fit([Measured(Work(1), 0.1)] * 4)
    assert error.value.code == "calibrate"


class Recording:
    """An executor that runs nothing and notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Iteration] = []
        self.here: set[str] = set()

    def admit(self, request: str, sampling: Sampling) -> None:
        self.here.add(request)

    def run(self, iteration: Iteration) -> dict[str, int]:
        assert {piece.request for piece in iteration.pieces} <= self.here
        self.asked.append(iteration)
        return {}

    def release(self, request: str) -> None:
        self.here.remove(request)


def test_answers_of_several_lengths_are_measured_together():
    seen = Recording()
    rows = measure(seen, "m", pages=1000, per_page=16, context=512, rounds=1, among=[(8, 1, 64, 100), (1, 0, 0, 500)])
    [eight] = {iteration.pieces for iteration in seen.asked if len(iteration.pieces) == 9}
    starts = [piece.start for piece in eight[:8]]
    assert starts == sorted({*starts}) and starts[0] < 40 and starts[-1] > 250 and eight[8].start == 100
    assert all(len(piece.pages) * 16 >= piece.start + len(piece.tokens) for piece in eight)
    assert len({page for piece in eight for page in piece.pages}) == sum(len(piece.pages) for piece in eight)
    assert [row.work.decodes for row in rows] == [8, 1] and not seen.here
    assert measure(seen, "m", pages=9, per_page=16, context=120, rounds=1, among=[(4, 0, 0, 100)])
    assert max(piece.start for piece in seen.asked[-1].pieces) == 119  # no more than the context


def test_each_size_is_measured_after_another_model_and_after_its_own():
    seen = Recording()
    rows = measure(seen, "m", pages=100, per_page=16, context=512, rounds=2, among=[(1, 0, 0, 16)], others=["a", "b"])
    assert [iteration.model for iteration in seen.asked][-6:] == ["a", "m", "m", "b", "m", "m"]
    assert [row.work.changed for row in rows] == [1, 0]


def test_a_prompt_in_pieces_is_as_many_tokens():
    seen = Recording()
    one, four = measure(
        seen, "m", pages=100, per_page=16, context=512, rounds=1, among=[(2, 1, 64, 16), (2, 4, 64, 16)]
    )
    assert one.work.prefill == four.work.prefill == 64 and (one.work.prompts, four.work.prompts) == (1, 4)
    prompts = seen.asked[-1].pieces[2:]
    assert len({page for piece in prompts for page in piece.pages}) == 4 * 2  # 16 tokens after 16, each in its own
