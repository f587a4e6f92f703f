"""The benchmark's judge of many runs is the package's judge, look by look."""

from __future__ import annotations

import numpy as np
import pytest

from autocanary.analysis.parameters import parameters_of
from autocanary.analysis.sequential_test import evidence_within_block, new_comparison, update_comparison
from autocanary.model.measurement import RequestCounters, RequestTotals
from autocanary.model.policy import ComparisonPolicy, ComparisonPreset
from benchmarks.judge.crowd import BatchComparison
from benchmarks.judge.traffic import ROWS, TICK, Scrape, TickCounts, scraped_ticks

RUNS = 6
STEPS = ((0, 10), (70, 25), (131, 50))


def traffic(seed: int, rate: float, load: float) -> list[tuple[int, int, TickCounts]]:
    """Three short steps with loads that swing, and failure rates that differ between runs and jump."""
    rng = np.random.default_rng(seed)
    seen = []
    for tick in range(190):
        step, weight = max((s, w) for s, (first, w) in enumerate(STEPS) if tick >= first)
        swing = load * rng.choice([0.0, 0.1, 1.0, 10.0])
        n_c = rng.poisson(swing * weight / 100.0, RUNS)
        n_s = rng.poisson(swing * (100 - weight) / 100.0, RUNS)
        p_s = min(rate * rng.choice([0.2, 1.0, 5.0]), 1.0)
        p_c = np.minimum(p_s * np.array([0.3, 1.0, 1.3, 2.0, 5.0, 1000.0]), 1.0)
        seen.append((step, weight, TickCounts(n_c, rng.binomial(n_c, p_c), n_s, rng.binomial(n_s, p_s))))
    return seen


@pytest.mark.parametrize("preset", list(ComparisonPreset))
@pytest.mark.parametrize(("rate", "load"), [(0.01, 10.0), (0.001, 1000.0), (0.1, 100.0)])
def test_batch_comparison_equals_the_comparison(preset: ComparisonPreset, rate: float, load: float) -> None:
    """Evidence and non-inferiority are the same at every evaluation, across steps, dropped blocks and empty ticks."""
    parameters = parameters_of(ComparisonPolicy(preset=preset))
    batch = BatchComparison(parameters, RUNS, len(STEPS))
    states = [new_comparison()] * RUNS
    sums = np.zeros((4, RUNS))
    empty = RequestCounters("one", 0.0, RequestTotals(), RequestTotals())
    states = [update_comparison(each, parameters, empty, step=0, steps=len(STEPS), weight=10) for each in states]
    for tick, (step, weight, counts) in enumerate(traffic(7, rate, load), start=1):
        batch.update(step, weight, counts)
        sums += np.array(counts)
        for run in range(RUNS):
            n_c, e_c, n_s, e_s = (float(each) for each in sums[:, run])
            seen = RequestCounters("one", tick * TICK, RequestTotals(n_c, e_c), RequestTotals(n_s, e_s))
            states[run] = update_comparison(states[run], parameters, seen, step=step, steps=len(STEPS), weight=weight)
        evidence = np.array([each.evidence for each in states])
        fine = np.array([each.non_inferiority for each in states])
        np.testing.assert_allclose(batch.evidence(), evidence, rtol=1e-8, atol=1e-8, err_msg=f"tick {tick}")
        in_step = np.array([each.step_non_inferiority for each in states])
        np.testing.assert_allclose(batch.step_non_inferiority(), in_step, rtol=1e-8, atol=1e-8, err_msg=f"tick {tick}")
        np.testing.assert_allclose(batch.non_inferiority(), fine, rtol=1e-8, atol=1e-8, err_msg=f"tick {tick}")
        early = np.array([evidence_within_block(each, parameters) for each in states])
        np.testing.assert_allclose(batch.evidence_within_block(), early, rtol=1e-8, atol=1e-8, err_msg=f"tick {tick}")
    assert states[-1].evidence > parameters.bound
    assert states[0].non_inferiority > states[-1].non_inferiority


@pytest.mark.parametrize("name", ["D1", "D2", "D3", "C7", "C9", "D5"])
def test_batch_comparison_equals_the_comparison_in_the_rows(name: str) -> None:
    """With scrapes that are missed or lost on one side, shared outages, and in the bake."""
    parameters = parameters_of(ComparisonPolicy())
    row = ROWS[name]
    batch = BatchComparison(parameters, RUNS, len(row.steps))
    sums, at, stood = np.zeros((4, RUNS)), 0.0, np.zeros((4, RUNS))
    empty = RequestCounters("one", 0.0, RequestTotals(), RequestTotals())
    begun = update_comparison(new_comparison(), parameters, empty, step=0, steps=len(row.steps), weight=10)
    states = [begun] * RUNS
    highest = 0.0
    rows = scraped_ticks(row, 100.0, RUNS, np.random.default_rng(3))
    for tick, (step, weight, counts, scrape) in enumerate(rows, start=1):
        if tick > 600:
            break
        batch.update(step, weight, counts, None, scrape)
        sums += np.array(counts)
        if scrape is Scrape.BOTH:
            at, stood = tick * TICK, sums.copy()
        for run in range(RUNS):
            n_c, e_c, n_s, e_s = (float(each) for each in stood[:, run])
            current = scrape is not Scrape.SILENT
            sides = RequestTotals(n_c, e_c), RequestTotals(n_s, e_s)
            seen = RequestCounters("one", at, *sides, stable_current=current)
            states[run] = update_comparison(
                states[run], parameters, seen, step=step, steps=len(row.steps), weight=weight
            )
        evidence = np.array([each.evidence for each in states])
        highest = max(highest, evidence.max())
        np.testing.assert_allclose(batch.evidence(), evidence, rtol=1e-8, atol=1e-8, err_msg=f"tick {tick}")
        early = np.array([evidence_within_block(each, parameters) for each in states])
        np.testing.assert_allclose(batch.evidence_within_block(), early, rtol=1e-8, atol=1e-8, err_msg=f"tick {tick}")
    assert (highest > parameters.bound) == row.harmful
