"""Forecasts: near what the analysis really does, and honest where nothing can be said."""

from __future__ import annotations

import random
from math import log, sqrt
from statistics import median

import pytest

from autocanary.analysis.forecast import seconds_to_rollback, smallest_detectable_rate
from autocanary.analysis.parameters import ComparisonParameters, parameters_of
from autocanary.analysis.sequential_test import new_comparison, update_comparison
from autocanary.model.measurement import RequestCounters, RequestTotals
from autocanary.model.policy import ComparisonPolicy, ComparisonPreset

DEFAULT = parameters_of(ComparisonPolicy())


def poisson(rng: random.Random, mean: float) -> int:
    if mean > 30.0:
        return max(round(rng.gauss(mean, sqrt(mean))), 0)
    count, left = 0, rng.expovariate(1.0)
    while left < mean:
        count, left = count + 1, left + rng.expovariate(1.0)
    return count


def simulated_rollback_time(
    parameters: ComparisonParameters, rps: float, stable: float, candidate: float, seed: int
) -> float:
    """When the analysis itself fails a release at a weight of 10 %, unless it has passed by then."""
    rng = random.Random(seed)
    state = new_comparison()
    sums = [0, 0, 0, 0]
    for tick in range(250):
        seen = RequestCounters("one", tick * 10.0, RequestTotals(sums[0], sums[1]), RequestTotals(sums[2], sums[3]))
        state = update_comparison(state, parameters, seen, step=0, steps=3, weight=10)
        if state.evidence >= parameters.bound:
            return tick * 10.0
        if state.non_inferiority >= -log(parameters.beta):
            break
        n_c, n_s = rps, 9.0 * rps
        more = (n_c, poisson(rng, n_c * candidate), n_s, poisson(rng, n_s * stable))
        sums = [have + round(new) for have, new in zip(sums, more, strict=True)]
    return 1e9


@pytest.mark.parametrize("preset", list(ComparisonPreset))
@pytest.mark.parametrize(("rps", "stable", "candidate"), [(100, 0.001, 0.01), (1000, 0.005, 0.05), (300, 0.01, 0.02)])
def test_forecast_is_near_the_simulated_rollback_time(
    preset: ComparisonPreset, rps: float, stable: float, candidate: float
) -> None:
    """The forecast is within a third and two blocks of the median of 21 rollouts."""
    parameters = parameters_of(ComparisonPolicy(preset=preset))
    found = seconds_to_rollback(parameters, rps=rps, weight=10, stable=stable, candidate=candidate, steps=3)
    real = median(simulated_rollback_time(parameters, rps, stable, candidate, seed) for seed in range(21))
    assert found is not None
    assert abs(found - real) <= 2 * parameters.block + real / 3


def test_forecasts_immediate_rollback_of_gross_failures() -> None:
    """The fast path does not wait for blocks."""
    found = seconds_to_rollback(DEFAULT, rps=10, weight=10, stable=0.001, candidate=1.0, steps=3)
    assert found is not None
    assert found <= 30.0


def test_no_rollback_forecast_within_the_margin() -> None:
    """What the margin allows is not harm."""
    assert seconds_to_rollback(DEFAULT, rps=1000, weight=10, stable=0.01, candidate=0.011) is None
    assert seconds_to_rollback(DEFAULT, rps=0.0, weight=10, stable=0.01, candidate=1.0) is None


def test_more_traffic_detects_smaller_harm_sooner() -> None:
    """Both in time and in size; a part of the evidence only makes it later."""
    times = [seconds_to_rollback(DEFAULT, rps=r, weight=10, stable=0.001, candidate=0.01) or 0.0 for r in (1, 10, 100)]
    assert times == sorted(times, reverse=True)
    sizes = [smallest_detectable_rate(DEFAULT, rps=r, weight=10, stable=0.001, within=600) or 0.0 for r in (1, 10, 100)]
    assert sizes == sorted(sizes, reverse=True)
    metric_weight = seconds_to_rollback(DEFAULT, rps=10, weight=10, stable=0.001, candidate=0.01, metric_weight=0.45)
    assert metric_weight is not None
    assert metric_weight >= times[1]


def test_smallest_detectable_rate_is_tight() -> None:
    """What it names is detected in time, and a tenth less is not; with no time nothing is."""
    found = smallest_detectable_rate(DEFAULT, rps=20, weight=10, stable=0.002, within=900, steps=3)
    assert found is not None

    def after(rate: float) -> float:
        return seconds_to_rollback(DEFAULT, rps=20, weight=10, stable=0.002, candidate=rate, steps=3) or 1e9

    assert after(found) <= 900 < after(0.9 * found)
    assert smallest_detectable_rate(DEFAULT, rps=20, weight=10, stable=0.002, within=1.0) is None
    assert smallest_detectable_rate(DEFAULT, rps=20, weight=10, stable=0.0, within=900) is not None
