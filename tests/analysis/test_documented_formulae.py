"""The formulae of docs/how-it-decides.md, written down once more from that page, give the same evidence."""

from __future__ import annotations

import random
from math import exp, log

import pytest

from autocanary.analysis.parameters import parameters_of
from autocanary.analysis.sequential_test import new_comparison, update_comparison
from autocanary.model.measurement import RequestCounters, RequestTotals
from autocanary.model.policy import ComparisonPolicy

G = (1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 100.0, 1000.0)
RAW = [exp(-0.5 * (log(g / 5.0) / 1.5) ** 2) + 0.1 for g in G]
WEIGHTS = [each / sum(RAW) for each in RAW]
A = (0.9, 0.75, 0.5, 0.25, 0.1, 0.02)
A_WEIGHTS = (0.05, 0.25, 0.35, 0.25, 0.05, 0.05)
Q = (0.4, 0.7, 0.95, 0.999)


def worse(g: float, n_c: float, e_c: float, n_s: float, e_s: float) -> float:
    if not n_c or not n_s:
        return 1.0
    b = (1.25 * n_c + n_s) / (1.25 * g * n_c + n_s)
    a = g * b
    return float(a**e_c * b**e_s * exp(-0.0005 * n_c * (a - 1.0)))


def fine(a: float, n_c: float, e_c: float, n_s: float, e_s: float) -> float:
    if not n_c or not n_s:
        return 1.0
    return float(a**e_c * (1.0 + 1.5 * n_c / n_s * (1.0 - a)) ** e_s * exp(0.005 * n_c * (1.0 - a)))


def stake(k: int) -> float:
    """Of a rollout with a single step."""
    return 0.7 if k == 1 else 0.3 / (k * (k - 1))


@pytest.mark.parametrize("seed", range(5))
def test_page_and_package_agree(seed: int) -> None:
    """150 evaluations of 10 s, three to a block, with rates that jump."""
    rng, parameters = random.Random(seed), parameters_of(ComparisonPolicy())
    samples: list[tuple[int, int, int, int]] = []
    sums = [0, 0, 0, 0]
    state = update_comparison(
        new_comparison(),
        parameters,
        RequestCounters("one", 0.0, RequestTotals(), RequestTotals()),
        step=0,
        steps=1,
        weight=10,
    )
    slow, fast, gross = [0.0] * len(G), [0.0] * len(G), [0.0] * len(Q)
    passing = [1.0] * len(A)
    for tick in range(1, 151):
        n_c, n_s = rng.randint(0, 12), rng.randint(5, 60)
        p_c, p_s = rng.choice([0.01, 0.05, 0.6]), rng.choice([0.01, 0.03])
        samples.append(
            (n_c, sum(rng.random() < p_c for _ in range(n_c)), n_s, sum(rng.random() < p_s for _ in range(n_s)))
        )
        sums = [have + new for have, new in zip(sums, samples[-1], strict=True)]
        seen = RequestCounters("one", 10.0 * tick, RequestTotals(sums[0], sums[1]), RequestTotals(sums[2], sums[3]))
        state = update_comparison(state, parameters, seen, step=0, steps=1, weight=10)

        for index, g in enumerate(G):
            fast[index] += stake(tick)
            if tick > 1:
                around = samples[max(tick - 3, 0) : tick]
                candidate = samples[tick - 2][:2]
                fast[index] *= min(worse(g, *candidate, *each[2:]) for each in around)
        for index, q in enumerate(Q):
            n, e = samples[-1][:2]
            more = e * log(q / 0.2) + (n - e) * log((1.0 - q) / 0.8)
            gross[index] = min(max(gross[index], 0.0) + min(more, 4.5), 9.0)
        if tick % 3 == 0:
            block = [sum(each) for each in zip(*samples[-3:], strict=True)]
            for index, g in enumerate(G):
                slow[index] = (slow[index] + stake(tick // 3)) * min(worse(g, *block), 3.0)
            passing = [each * min(fine(a, *block), 3.0) for each, a in zip(passing, A, strict=True)]

        blocks = tick // 3
        slow_path = sum(w * m for w, m in zip(WEIGHTS, slow, strict=True)) + (0.3 / blocks if blocks else 1.0)
        fast_path = min(
            sum(w * m for w, m in zip(WEIGHTS, fast, strict=True)) + 0.3 / tick, sum(map(exp, gross)) / len(Q)
        )
        assert state.evidence == pytest.approx(log(0.9 * slow_path + 0.1 * fast_path), abs=1e-9)
        shown = sum(w * m for w, m in zip(A_WEIGHTS, passing, strict=True))
        assert state.non_inferiority == pytest.approx(log(shown), abs=1e-9)
