"""Random counts have the mean and the spread that they should have."""

from __future__ import annotations

import math
from random import Random

import pytest

from autocanary.simulator.random_counts import LATENCY_BOUNDS, binomial, buckets, lognormal_cdf, poisson

DRAWS = 4000


def moments(values: list[int]) -> tuple[float, float]:
    mean = sum(values) / len(values)
    return mean, sum((value - mean) ** 2 for value in values) / len(values)


@pytest.mark.parametrize("mean", [0.3, 4.0, 29.0, 300.0])
def test_poisson_counts(mean: float) -> None:
    """Mean and variance are equal, on both sides of the normal approximation."""
    rng = Random(1)
    found, variance = moments([poisson(rng, mean) for _ in range(DRAWS)])
    assert found == pytest.approx(mean, abs=4 * math.sqrt(mean / DRAWS))
    assert variance == pytest.approx(mean, rel=0.12)


@pytest.mark.parametrize(("n", "share"), [(5, 0.5), (100, 0.01), (100, 0.97), (10_000, 0.001), (10_000, 0.3)])
def test_binomial_counts(n: int, share: float) -> None:
    """Mean n p, variance n p (1 - p), never outside 0..n."""
    rng = Random(2)
    drawn = [binomial(rng, n, share) for _ in range(DRAWS)]
    found, variance = moments(drawn)
    assert all(0 <= value <= n for value in drawn)
    assert found == pytest.approx(n * share, abs=4 * math.sqrt(n * share * (1 - share) / DRAWS))
    assert variance == pytest.approx(n * share * (1 - share), rel=0.12)


def test_counts_at_probability_zero_and_one() -> None:
    """Zero trials, probability 0 and probability 1 need no random draw."""
    rng = Random(3)
    assert (poisson(rng, 0.0), poisson(rng, -1.0)) == (0, 0)
    assert (binomial(rng, 0, 0.5), binomial(rng, 9, 0.0), binomial(rng, 9, 1.0), binomial(rng, 9, 1.5)) == (
        0,
        0,
        9,
        9,
    )


@pytest.mark.parametrize("n", [0, 1, 60, 61, 50_000])
def test_buckets_sum_to_all_requests(n: int) -> None:
    """The counts add up to n, whichever way they were drawn."""
    counts = buckets(Random(4), n, lognormal_cdf(0.08, 0.5))
    assert sum(counts) == n
    assert len(counts) == len(LATENCY_BOUNDS) + 1
    assert min(counts) >= 0


def test_buckets_follow_the_distribution() -> None:
    """Half of the requests are faster than the median, and what is beyond the last bound falls into +Inf."""
    heights = lognormal_cdf(0.1, 0.5)
    counts = buckets(Random(5), 200_000, heights)
    assert sum(counts[: LATENCY_BOUNDS.index(0.1) + 1]) / 200_000 == pytest.approx(0.5, abs=0.01)
    assert buckets(Random(6), 1000, lognormal_cdf(1e6, 0.1))[-1] == 1000
