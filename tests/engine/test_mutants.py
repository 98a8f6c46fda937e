"""Every mutant is one: it differs from the engine it was made of, and leaves nothing behind."""

from __future__ import annotations

from collections import Counter

import pytest
from engine import faulty
from engine.mutants import MUTANTS
from engine.mutants.mutant import Mutant
from inglenook.doctor.causes import NAMES
from inglenook.doctor.kits import PlainKit
from inglenook.doctor.local import Local


@pytest.fixture(scope="module")
def kit() -> PlainKit:
    return faulty.kit()


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_it_shows(mutant: Mutant, kit: PlainKit) -> None:
    clean = mutant.shows(Local(kit))
    assert mutant.shows(mutant.engine(kit)) != clean
    assert mutant.shows(Local(kit)) == clean  # another clean engine; and nothing stays planted


def test_each_cause_has_two_and_each_mutant_its_own_name() -> None:
    causes = Counter(mutant.cause for mutant in MUTANTS)
    assert causes.keys() == {*NAMES} and min(causes.values()) >= 2
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)
    assert all(mutant.about for mutant in MUTANTS)
