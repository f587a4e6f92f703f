"""Intervals of a rate: known values, coverage, and edges."""

from __future__ import annotations

import random
from collections.abc import Callable
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autocanary.model.rate_intervals import anytime_difference, anytime_interval, wilson_interval


def test_wilson_interval_matches_published_values() -> None:
    """Newcombe (1998): 15 of 148 gives 0.0624 to 0.1605, 1 of 29 gives 0.0061 to 0.1718."""
    assert wilson_interval(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert wilson_interval(1, 29) == pytest.approx((0.0061, 0.1718), abs=5e-5)


@pytest.mark.parametrize("interval", [wilson_interval, anytime_interval])
def test_intervals_of_zero_and_all_failures(interval: Callable[[float, float], tuple[float, float]]) -> None:
    """Nothing seen: nothing known. None bad: the lower end is 0; all bad: the upper end is 1."""
    assert interval(0, 0) == (0.0, 1.0)
    low, high = interval(0, 300)
    assert low == 0.0
    assert 0.005 < high < 0.04
    low, high = interval(300, 300)
    assert high == 1.0
    assert 0.96 < low < 0.995


@given(n=st.integers(1, 10**9), part=st.floats(0, 1), confidence=st.sampled_from([0.9, 0.95, 0.99]))
def test_anytime_interval_contains_the_rate_and_wilson_interval(n: int, part: float, confidence: float) -> None:
    """Both hold what was seen; the one that is valid at every moment is not the narrower one by much."""
    bad = int(part * n)
    for low, high in (wilson_interval(bad, n, confidence), anytime_interval(bad, n, confidence)):
        assert 0.0 <= low <= bad / n * (1 + 1e-9)
        assert bad / n * (1 - 1e-9) <= high <= 1.0
        assert low < high


def test_the_anytime_interval_is_wider() -> None:
    """The price of looking whenever one likes."""
    for bad, n in ((5, 1000), (50, 1000), (500, 100000)):
        low, high = wilson_interval(bad, n)
        always_low, always_high = anytime_interval(bad, n)
        assert always_low < low < high < always_high


def test_the_anytime_interval_holds_at_all_evaluations() -> None:
    """Of 150 runs evaluated 25 times, at most 5 % should ever exclude the truth; Wilson's does far more often."""
    rng = random.Random(5)
    missed = {wilson_interval: 0, anytime_interval: 0}
    for _ in range(150):
        bad = n = 0
        out = set()
        for _ in range(25):
            n += 25
            bad += sum(rng.random() < 0.03 for _ in range(25))
            out |= {of for of in missed if not of(bad, n)[0] <= 0.03 <= of(bad, n)[1]}
        for of in out:
            missed[of] += 1
    assert missed[anytime_interval] <= 16  # at 5 % more than 16 of 150 has a probability of 2e-3
    assert missed[wilson_interval] > 20


def test_the_anytime_interval_covers_exactly() -> None:
    """At one fixed time its exact coverage is above what it promises."""
    n, p = 60, 0.1
    covered = 0.0
    for bad in range(n + 1):
        low, high = anytime_interval(bad, n)
        if low <= p <= high:
            covered += comb(n, bad) * p**bad * (1 - p) ** (n - bad)
    assert covered >= 0.95


def test_the_anytime_difference_holds_at_all_evaluations() -> None:
    """Of 150 runs read 20 times, at most 5 % ever exclude the true difference."""
    rng = random.Random(6)
    missed = 0
    for _ in range(150):
        counts = [0, 0, 0, 0]
        out = False
        for _ in range(20):
            counts[0] += sum(rng.random() < 0.05 for _ in range(20))
            counts[2] += sum(rng.random() < 0.02 for _ in range(60))
            counts[1], counts[3] = counts[1] + 20, counts[3] + 60
            low, high = anytime_difference(*counts)
            out = out or not low <= 0.03 <= high
        missed += out
    assert missed <= 16


def test_difference_without_requests_is_unknown() -> None:
    """A side without requests may have any rate."""
    assert anytime_difference(0, 0, 0, 0) == (-1.0, 1.0)
    low, high = anytime_difference(0, 0, 5, 1000)
    assert low < -0.005
    assert 0.98 < high <= 1.0


@given(n=st.integers(1, 10**7), m=st.integers(1, 10**7), a=st.floats(0, 1), b=st.floats(0, 1))
def test_difference_interval_contains_what_was_seen(n: int, m: int, a: float, b: float) -> None:
    """And it turns with its sides."""
    bad, other = int(a * n), int(b * m)
    low, high = anytime_difference(bad, n, other, m)
    assert -1.0 <= low <= bad / n - other / m + 1e-9
    assert bad / n - other / m - 1e-9 <= high <= 1.0
    assert anytime_difference(other, m, bad, n) == pytest.approx((-high, -low), abs=1e-12)
