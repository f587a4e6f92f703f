"""Harm that begins late, bursts, and outages of both sides: many rollouts at once, by the benchmark's comparison."""

from __future__ import annotations

import random
from statistics import median

import numpy as np
import pytest
from numpy.typing import NDArray

from autocanary.analysis.parameters import ComparisonParameters, Margin, parameters_of
from autocanary.analysis.sequential_test import new_comparison, update_comparison
from autocanary.model.measurement import RequestCounters, RequestTotals
from autocanary.model.policy import ComparisonPolicy
from benchmarks.judge.crowd import BatchComparison
from benchmarks.judge.traffic import ROWS, TickCounts, ticks

DEFAULT = parameters_of(ComparisonPolicy())
NEVER = 10**9


def ends(
    rps: float, stable: float, candidate: float, onset: int, runs: int = 100, limit: int = 360
) -> NDArray[np.int64]:
    """The ticks of 10 s, from the onset on, after which the runs are rolled back; negative before it."""
    rng = np.random.default_rng(1)
    batch, ended = BatchComparison(DEFAULT, runs, 3), np.full(runs, NEVER)
    for tick in range(1, onset + limit):
        n_c, n_s = rng.poisson(rps, runs), rng.poisson(9 * rps, runs)
        p_c = candidate if tick > onset else stable
        batch.update(0, 10, TickCounts(n_c, rng.binomial(n_c, p_c), n_s, rng.binomial(n_s, stable)))
        ended[batch.reached(DEFAULT.bound) & (ended == NEVER)] = tick - onset
        if (ended < NEVER).all():
            break
    return ended


@pytest.mark.parametrize(
    ("stable", "candidate", "onset_minutes", "minutes"),
    [
        (0.005, 0.05, 0, 2.0),
        (0.005, 0.05, 30, 8.0),
        (0.005, 0.05, 120, 8.0),
        (0.005, 0.5, 30, 1.5),
        (0.01, 0.02, 0, 7.0),
        (0.01, 0.02, 30, 20.0),
    ],
)
def test_late_harm_in_a_step_is_found(stable: float, candidate: float, onset_minutes: int, minutes: float) -> None:
    """At 200 requests a second and 10 %: the median of 100 rollouts; none is rolled back before the onset."""
    ended = ends(200.0, stable, candidate, 6 * onset_minutes)
    assert (ended > 0).all()
    assert np.median(ended) / 6.0 <= minutes


def bake_ends(candidate: float, onset: int, seed: int, ticks_in_bake: int = 300, swing: float = 0.0) -> float:
    """Minutes from the onset to the rollback in a bake, after 20 minutes at 50 %; stable fails 0.5 %.

    ``swing``: the service's rate is multiplied by up to 1 + swing, redrawn every minute, before and in the bake.
    """
    rng = np.random.default_rng(seed)
    factors = random.Random(seed)
    state, sums, factor = new_comparison(), [0, 0, 0, 0], 1.0
    for tick in range(120 + ticks_in_bake):
        baking = tick >= 120
        if tick % 6 == 0:
            factor = 1.0 + swing * factors.random()
        late = tick - 120 > onset
        n_c, n_s = (2000, 0) if baking else (1000, 1000)
        p_c = min((candidate if late else 0.005) * factor, 1.0)
        more = (n_c, int(rng.binomial(n_c, p_c)), n_s, int(rng.binomial(n_s, min(0.005 * factor, 1.0))))
        sums = [have + new for have, new in zip(sums, more, strict=True)]
        seen = RequestCounters(
            "one",
            tick * 10.0,
            RequestTotals(float(sums[0]), float(sums[1])),
            RequestTotals(float(sums[2]), float(sums[3])),
        )
        state = update_comparison(state, DEFAULT, seen, step=int(baking), steps=2, weight=100 if baking else 50)
        if state.evidence >= DEFAULT.bound:
            return (tick - 120 - onset) / 6.0
    return 1e9


@pytest.mark.parametrize(("candidate", "minutes"), [(0.05, 8.0), (0.5, 1.5)])
def test_late_harm_in_a_bake_is_found(candidate: float, minutes: float) -> None:
    """30 minutes into it; stable has no traffic any more."""
    found = [bake_ends(candidate, 180, seed) for seed in range(11)]
    assert min(found) > 0.0
    assert median(found) <= minutes


@pytest.mark.parametrize("swing", [0.0, 4.0])
def test_a_healthy_bake_is_not_rolled_back(swing: float) -> None:
    """Neither when the service's failure rate swings in the bake as it did before."""
    assert [bake_ends(0.005, 0, seed, swing=swing) for seed in range(12)] == [1e9] * 12


@pytest.mark.parametrize("scrape", [15, 60])
@pytest.mark.parametrize("after_minutes", [3, 20])
@pytest.mark.parametrize("failing", [1.0, 0.5])
def test_shared_outages_do_not_count_against_the_side_that_is_scraped_first(
    scrape: int, after_minutes: int, failing: float
) -> None:
    """Each side has its own scrape phase, so that one shows the beginning and the end of an outage earlier."""
    runs, rng = 400, np.random.default_rng(3)
    batch = BatchComparison(DEFAULT, runs, 3)
    ahead = rng.uniform(-scrape, scrape, runs)
    begins = 60.0 * after_minutes + rng.uniform(0, scrape, runs)
    until = begins + rng.choice([20.0, 60.0, 300.0], runs)

    def rate(end: float, shift: NDArray[np.float64] | float) -> NDArray[np.float64]:
        first, last = end - scrape + shift, end + shift
        down = np.clip(np.minimum(last, until) - np.maximum(first, begins), 0.0, scrape) / scrape
        rates: NDArray[np.float64] = 0.005 + (failing - 0.005) * down
        return rates

    ever = np.zeros(runs, dtype=np.bool_)
    for tick in range(1, (60 * after_minutes + 900) // scrape):
        n_c, n_s = rng.poisson(10 * scrape, runs), rng.poisson(90 * scrape, runs)
        e_c, e_s = rng.binomial(n_c, rate(tick * scrape, ahead)), rng.binomial(n_s, rate(tick * scrape, 0.0))
        batch.update(0, 10, TickCounts(n_c, e_c, n_s, e_s))
        ever |= batch.reached(DEFAULT.bound)
    assert ever.sum() <= 1


@pytest.mark.parametrize(
    ("row", "load", "most"), [("A2", 10.0, 0), ("A5", 100.0, 0), ("A8", 1000.0, 1), ("A6", 10.0, 9)]
)
def test_restarts_do_not_roll_back_healthy_rollouts(row: str, load: float, most: int) -> None:
    """150 rollouts of four hours; in A6 bursts strike one side, which is not promised."""
    batch, ever = BatchComparison(DEFAULT, 150, 3), np.zeros(150, dtype=np.bool_)
    for step, weight, counts in ticks(ROWS[row], load, 150, np.random.default_rng(2)):
        batch.update(step, weight, counts)
        ever |= batch.reached(DEFAULT.bound)
    assert ever.sum() <= most


def test_few_candidates_beyond_the_margin_pass_each_step() -> None:
    """At the edge of the pass margin with rates that jump: one in 3, 6 and 20 at most ever passes a step."""
    parameters = ComparisonParameters(block=10.0, samples=1, cap=None, pass_margin=Margin(1.5, 0.005))
    runs, rng = 4000, np.random.default_rng(5)
    for step, most in ((0, 1 / 3), (1, 1 / 6), (2, 1 / 20)):
        batch, ever = BatchComparison(parameters, runs, 4), np.zeros(runs, dtype=np.bool_)
        for _ in range(120):
            p_s = rng.choice([0.0, 0.005, 0.03])
            n_c, n_s = rng.poisson(100, runs), rng.poisson(300, runs)
            batch.update(step, 25, TickCounts(n_c, rng.binomial(n_c, 1.5 * p_s + 0.005), n_s, rng.binomial(n_s, p_s)))
            ever |= batch.passed()
        assert 0.01 * most <= ever.mean() <= most
