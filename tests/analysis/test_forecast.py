"""Forecasts: near what the judge really does, and honest where nothing can be said."""

from __future__ import annotations

import random
from math import log, sqrt
from statistics import median

import pytest

from autocanary.analysis.forecast import caught_after, passes_after, smallest_caught
from autocanary.analysis.parameters import Terms, terms_of
from autocanary.analysis.sequential_test import begin, looked
from autocanary.model.measurement import Counters, Totals
from autocanary.model.policy import Compare, Preset

DEFAULT = terms_of(Compare())


def poisson(rng: random.Random, mean: float) -> int:
    if mean > 30.0:
        return max(round(rng.gauss(mean, sqrt(mean))), 0)
    count, left = 0, rng.expovariate(1.0)
    while left < mean:
        count, left = count + 1, left + rng.expovariate(1.0)
    return count


def judged(terms: Terms, rps: float, stable: float, candidate: float, seed: int) -> tuple[float, float]:
    """When the judge itself catches and passes a release at a weight of 10 %."""
    rng = random.Random(seed)
    state, caught, passed = begin(), 1e9, 1e9
    sums = [0, 0, 0, 0]
    for tick in range(250):
        seen = Counters("one", tick * 10.0, Totals(sums[0], sums[1]), Totals(sums[2], sums[3]))
        state = looked(state, terms, seen, step=0, steps=3, weight=10)
        if caught == 1e9 and state.evidence >= terms.bound:
            caught = tick * 10.0
        if passed == 1e9 and state.non_inferiority >= -log(terms.beta):
            passed = tick * 10.0
        if min(caught, passed) < 1e9:
            break
        n_c, n_s = rps, 9.0 * rps
        more = (n_c, poisson(rng, n_c * candidate), n_s, poisson(rng, n_s * stable))
        sums = [have + round(new) for have, new in zip(sums, more, strict=True)]
    return caught, passed


@pytest.mark.parametrize("preset", list(Preset))
@pytest.mark.parametrize(
    ("rps", "stable", "candidate"), [(100, 0.001, 0.01), (1000, 0.005, 0.05), (300, 0.01, 0.02)]
)
def test_near_what_the_judge_does(preset: Preset, rps: float, stable: float, candidate: float) -> None:
    """The forecast is within a third and two blocks of the median of 21 rollouts."""
    terms = terms_of(Compare(preset=preset))
    found = caught_after(terms, rps=rps, weight=10, stable=stable, candidate=candidate, steps=3)
    real = median(judged(terms, rps, stable, candidate, seed)[0] for seed in range(21))
    assert found is not None
    assert abs(found - real) <= 2 * terms.block + real / 3


def test_passing_is_forecast_too() -> None:
    """A canary as good as stable: the time to show it."""
    found = passes_after(DEFAULT, rps=100, weight=10, rate=0.002)
    real = median(judged(DEFAULT, 100, 0.002, 0.002, seed)[1] for seed in range(21))
    assert found is not None
    assert abs(found - real) <= 2 * DEFAULT.block + real / 3


def test_gross_failures_are_caught_at_once() -> None:
    """The fast path does not wait for blocks."""
    found = caught_after(DEFAULT, rps=10, weight=10, stable=0.001, candidate=1.0, steps=3)
    assert found is not None
    assert found <= 30.0


def test_within_the_margin_is_never_caught() -> None:
    """What the margin allows is not harm."""
    assert caught_after(DEFAULT, rps=1000, weight=10, stable=0.01, candidate=0.011) is None
    assert passes_after(DEFAULT, rps=0.0, weight=10, rate=0.01) is None
    assert caught_after(DEFAULT, rps=0.0, weight=10, stable=0.01, candidate=1.0) is None


def test_more_traffic_sees_smaller_harm_sooner() -> None:
    """Both in time and in size; a part of the evidence only makes it later."""
    times = [
        caught_after(DEFAULT, rps=r, weight=10, stable=0.001, candidate=0.01) or 0.0 for r in (1, 10, 100)
    ]
    assert times == sorted(times, reverse=True)
    sizes = [
        smallest_caught(DEFAULT, rps=r, weight=10, stable=0.001, within=600) or 0.0 for r in (1, 10, 100)
    ]
    assert sizes == sorted(sizes, reverse=True)
    part = caught_after(DEFAULT, rps=10, weight=10, stable=0.001, candidate=0.01, part=0.45)
    assert part is not None
    assert part >= times[1]


def test_the_smallest_harm_is_the_smallest() -> None:
    """What it names is caught in time, and a tenth less is not; with no time nothing is."""
    found = smallest_caught(DEFAULT, rps=20, weight=10, stable=0.002, within=900, steps=3)
    assert found is not None

    def after(rate: float) -> float:
        return caught_after(DEFAULT, rps=20, weight=10, stable=0.002, candidate=rate, steps=3) or 1e9

    assert after(found) <= 900 < after(0.9 * found)
    assert smallest_caught(DEFAULT, rps=20, weight=10, stable=0.002, within=1.0) is None
    assert smallest_caught(DEFAULT, rps=20, weight=10, stable=0.0, within=900) is not None
