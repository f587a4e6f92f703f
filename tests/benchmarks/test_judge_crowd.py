"""The benchmark's judge of many runs is the package's judge, look by look."""

from __future__ import annotations

import numpy as np
import pytest

from autocanary.analysis.parameters import terms_of
from autocanary.analysis.sequential_test import begin, looked
from autocanary.model.measurement import Counters, Totals
from autocanary.model.policy import Compare, Preset
from benchmarks.judge.crowd import Crowd
from benchmarks.judge.traffic import TICK, Counts

RUNS = 6
STEPS = ((0, 10), (70, 25), (131, 50))


def traffic(seed: int, rate: float, load: float) -> list[tuple[int, int, Counts]]:
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
        seen.append((step, weight, Counts(n_c, rng.binomial(n_c, p_c), n_s, rng.binomial(n_s, p_s))))
    return seen


@pytest.mark.parametrize("preset", list(Preset))
@pytest.mark.parametrize(("rate", "load"), [(0.01, 10.0), (0.001, 1000.0), (0.1, 100.0)])
def test_the_crowd_is_the_judge(preset: Preset, rate: float, load: float) -> None:
    """Evidence and non-inferiority are the same at every look, across steps, dropped blocks and empty ticks."""
    terms = terms_of(Compare(preset=preset))
    crowd = Crowd(terms, RUNS, len(STEPS))
    states = [begin()] * RUNS
    sums = np.zeros((4, RUNS))
    empty = Counters("one", 0.0, Totals(), Totals())
    states = [looked(each, terms, empty, step=0, steps=len(STEPS), weight=10) for each in states]
    for tick, (step, weight, counts) in enumerate(traffic(7, rate, load), start=1):
        crowd.look(step, weight, counts)
        sums += np.array(counts)
        for run in range(RUNS):
            n_c, e_c, n_s, e_s = (float(each) for each in sums[:, run])
            seen = Counters("one", tick * TICK, Totals(n_c, e_c), Totals(n_s, e_s))
            states[run] = looked(states[run], terms, seen, step=step, steps=len(STEPS), weight=weight)
        evidence = np.array([each.evidence for each in states])
        fine = np.array([each.non_inferiority for each in states])
        np.testing.assert_allclose(crowd.evidence(), evidence, rtol=1e-8, atol=1e-8, err_msg=f"tick {tick}")
        np.testing.assert_allclose(
            crowd.non_inferiority(), fine, rtol=1e-8, atol=1e-8, err_msg=f"tick {tick}"
        )
    assert states[-1].evidence > terms.bound
    assert states[0].non_inferiority > states[-1].non_inferiority
