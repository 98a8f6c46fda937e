"""Loads: what a trace says, what scaling and stretching keep, and mixes with the rates and the variation asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from inglenook.errors import NookError
from inglenook.fleet.simulate import STOP
from inglenook.fleet.workload import Row, arrivals, clients, faster, gamma, scaled, stretched, trace

HEAD = "TIMESTAMP,ContextTokens,GeneratedTokens\n"
TRACES = Path(__file__).parents[2].parent / "shared" / "data" / "traces"


def variation(rows: list[Row]) -> float:
    gaps = np.diff([row.at for row in rows])
    return float(gaps.std() / gaps.mean())


def test_a_trace_is_read_in_order_from_its_first_request(tmp_path):
    path = tmp_path / "trace.csv"
    path.write_text(HEAD + "2023-11-16 18:17:04.0319600,3180,8\n2023-11-16 18:17:03.9799600,4808,0\n", encoding="utf-8")
    assert trace(path) == [Row(0.0, 4808, 1), Row(pytest.approx(0.052), 3180, 8)]


@pytest.mark.parametrize("text", ["", HEAD, HEAD + "yesterday,1,2\n", "a,b\n1,2\n", HEAD + "2023-11-16 18:17:04,x,2\n"])
def test_what_is_no_trace_is_said(tmp_path, text):
    path = tmp_path / "trace.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(NookError) as error:
        trace(path)
    assert error.value.code == "trace" and error.value.hint
    with pytest.raises(NookError):
        trace(tmp_path / "none.csv")


def test_azure_traces_are_what_they_are_known_for():
    if not TRACES.exists():
        pytest.skip(f"no traces at {TRACES}")
    code = trace(TRACES / "AzureLLMInferenceTrace_code.csv")
    assert len(code) == 8819 and 3400 < code[-1].at < 3500
    assert np.median([row.output for row in code]) == 13
    assert variation(stretched(code, 7.0)) == pytest.approx(variation(code)) == pytest.approx(13.2, rel=0.02)


def test_scaling_keeps_ratios_and_leaves_no_request_without_tokens():
    rows = [Row(0, 100, 10), Row(1, 3, 1), Row(2, 4000, 400)]
    assert scaled(rows, 4) == [Row(0, 25, 3), Row(1, 1, 1), Row(2, 1000, 100)]
    assert scaled(rows, 4, most=100) == [Row(0, 25, 3), Row(1, 1, 1)]


def test_stretching_changes_the_rate_alone():
    rows = [Row(at, 1, 1) for at in (5.0, 6.0, 9.0, 9.5, 15.0)]
    made = stretched(rows, 10.0)
    assert made[0].at == 0.0 and made[-1].at == pytest.approx(0.5)
    assert variation(made) == pytest.approx(variation(rows))


@pytest.mark.parametrize("cv", [0.5, 1.0, 4.0])
def test_gamma_gaps_have_the_mean_and_the_variation_asked_for(cv):
    rows = [Row(0.0, n, 1) for n in range(1, 20_001)]
    made = gamma(rows, 5.0, cv, np.random.default_rng(1))
    assert len(made) / made[-1].at == pytest.approx(5.0, rel=0.1)
    assert variation(made) == pytest.approx(cv, rel=0.1)
    assert [row.prompt for row in made] == [row.prompt for row in rows]


def test_few_clients_send_most():
    rows = [Row(0.0, n, 1) for n in range(1, 8001)]
    made = clients(rows, 10.0, 2.0, np.random.default_rng(2), count=8, skew=1.2)
    assert len(made) == pytest.approx(8000, abs=8)
    assert [row.at for row in made] == sorted(row.at for row in made)
    owners = np.bincount([(row.prompt - 1) // 1000 for row in made], minlength=8)
    assert owners.max() > 900
    busiest = sorted(made[:2000], key=lambda row: row.prompt)
    assert len({row.prompt // 1000 for row in busiest}) > 1


def test_streams_become_one_and_no_request_tells_its_length():
    streams = {"a": [Row(0.0, 3, 5), Row(2.0, 1, 1)], "b": [Row(1.0, 2, 9)]}
    made = arrivals(streams, 50)
    assert [(one.at, one.request.service, len(one.request.prompt), one.output) for one in made] == [
        (0.0, "a", 3, 5), (1.0, "b", 2, 9), (2.0, "a", 1, 1),
    ]  # fmt: skip
    assert {one.request.most for one in made} == {50} and {one.request.stops for one in made} == {frozenset({STOP})}
    assert len({one.request.id for one in made}) == 3
    assert [one.at for one in faster(made, 4.0)] == [0.0, 0.25, 0.5]
