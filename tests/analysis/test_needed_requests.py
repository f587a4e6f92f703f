"""What a comparison still needs: the estimate against what then happens."""

from __future__ import annotations

from math import log

import pytest

from autocanary.analysis.needed_requests import needed_requests
from autocanary.analysis.parameters import gate, parameters_of
from autocanary.analysis.sequential_test import Comparison, new_comparison, update_comparison
from autocanary.model.measurement import RequestCounters, RequestTotals
from autocanary.model.policy import ComparisonPolicy

DEFAULT = parameters_of(ComparisonPolicy())
EVERY = 15.0


def counted(evaluations: int, n_c: int, n_s: int, candidate: float, stable: float, step: int = 0) -> Comparison:
    """Traffic without chance: every evaluation has its share of failures."""
    state = new_comparison()
    for i in range(evaluations):
        totals = RequestTotals(i * n_c, round(i * n_c * candidate)), RequestTotals(i * n_s, round(i * n_s * stable))
        counters = RequestCounters("one", 1000.0 + i * EVERY, *totals)
        state = update_comparison(state, DEFAULT, counters, step=step, steps=3, weight=10)
    return state


def passes(state: Comparison, step: int = 0) -> bool:
    return state.non_inferiority >= log(gate(DEFAULT, step, 3)) and state.step_non_inferiority >= log(3.0)


@pytest.mark.parametrize(("n_c", "n_s", "rate"), [(30, 270, 0.005), (300, 2700, 0.01), (15, 135, 0.02)])
@pytest.mark.parametrize("step", [0, 1])
def test_estimate_is_when_it_passes(n_c: int, n_s: int, rate: float, step: int) -> None:
    """Asked halfway, it names the evaluation at which a steady healthy candidate passes, within a third."""
    first = next(i for i in range(4, 2000) if passes(counted(i, n_c, n_s, rate, rate, step), step))
    early = counted(first // 2, n_c, n_s, rate, rate, step)
    found = needed_requests(early, DEFAULT, step=step, steps=3, required=0)
    assert found is not None
    truly = (first - first // 2) * EVERY
    assert 0.66 * truly - 60.0 <= found.seconds <= 1.33 * truly + 60.0
    assert found.requests == pytest.approx(found.seconds * n_c / EVERY, rel=0.35)  # the dropped block has no requests


def test_nothing_is_needed_when_it_passes() -> None:
    state = counted(400, 300, 2700, 0.005, 0.005)
    assert passes(state)
    assert needed_requests(state, DEFAULT, step=0, steps=3, required=50) == (0.0, 0.0)


def test_missing_requests_count_too() -> None:
    """The proof is there, and ``minRequests`` of the step are not."""
    state = counted(400, 300, 2700, 0.005, 0.005)
    found = needed_requests(state, DEFAULT, step=0, steps=3, required=state.step.candidate + 10_000)
    assert found is not None
    assert found.requests >= 10_000


def test_a_worse_candidate_has_no_estimate() -> None:
    """At its rate the proof does not grow."""
    assert needed_requests(counted(40, 300, 2700, 0.08, 0.01), DEFAULT, step=0, steps=3, required=0) is None


def test_without_requests_nothing_is_said() -> None:
    assert needed_requests(new_comparison(), DEFAULT, step=0, steps=3, required=50) is None
    assert needed_requests(counted(40, 0, 2700, 0.0, 0.01), DEFAULT, step=0, steps=3, required=50) is None
