"""Random counts, drawn fast: thousands of revisions are scraped every few virtual seconds."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from functools import lru_cache
from random import Random

__all__ = ["LATENCY_BOUNDS", "binomial", "buckets", "lognormal_cdf", "poisson"]

LATENCY_BOUNDS = tuple(
    milliseconds / 1000
    for milliseconds in (
        *(5, 10, 20, 40, 60, 80, 100, 150, 200, 250, 300, 350, 400, 450, 500, 600, 700, 800, 900),
        *(1000, 2000, 5000, 10000, 20000, 50000, 100000),
    )
)
"""Upper bounds (seconds) of Knative's queue-proxy latency histogram; +Inf follows."""

_NORMAL_APPROXIMATION_FROM = (
    30.0  # above this mean (or variance) the normal approximation is better than our statistics
)
_DRAW_EACH_UP_TO = 60  # up to so many requests it is faster to throw each


def poisson(rng: Random, mean: float) -> int:
    """How many happen, where ``mean`` are expected."""
    if mean <= 0:
        return 0
    if mean > _NORMAL_APPROXIMATION_FROM:
        return max(0, round(rng.gauss(mean, math.sqrt(mean))))
    limit, product, n = math.exp(-mean), rng.random(), 0
    while product > limit:
        product *= rng.random()
        n += 1
    return n


def binomial(rng: Random, n: int, share: float) -> int:
    """How many of ``n`` succeed, where each does with probability ``share``."""
    if n <= 0 or share <= 0:
        return 0
    if share >= 1:
        return n
    if share > 0.5:
        return n - binomial(rng, n, 1 - share)
    variance = n * share * (1 - share)
    if variance > _NORMAL_APPROXIMATION_FROM:
        return min(n, max(0, round(rng.gauss(n * share, math.sqrt(variance)))))
    # Inversion: walk the distribution from 0; its mean is small here.
    odds, probability = share / (1 - share), (1 - share) ** n
    left, k = rng.random(), 0
    while left > probability and k < n:
        left -= probability
        k += 1
        probability *= odds * (n - k + 1) / k
    return k


@lru_cache(maxsize=4096)
def lognormal_cdf(median: float, spread: float) -> tuple[float, ...]:
    """The share of requests up to each bound (1 last); ``spread`` is the standard deviation of the log."""
    below = (0.5 * math.erfc(-math.log(bound / median) / (spread * math.sqrt(2))) for bound in LATENCY_BOUNDS)
    return (*below, 1.0)


def buckets(rng: Random, n: int, cumulative: Sequence[float]) -> list[int]:
    """``n`` requests thrown into the buckets whose shares add up to ``cumulative`` (a multinomial draw)."""
    counts = [0] * len(cumulative)
    if n <= _DRAW_EACH_UP_TO:
        for _ in range(n):
            counts[bisect_left(cumulative, rng.random())] += 1
        return counts
    left, below = n, 0.0
    for index, height in enumerate(cumulative):
        if height - below > 1e-9:
            counts[index] = binomial(rng, left, (height - below) / (1 - below))
            left -= counts[index]
            if not left:
                break
        below = height
    counts[-1] += left
    return counts
