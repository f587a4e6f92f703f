"""How well a rate is known: an interval for one moment, one that holds at all moments, and one for a difference.

Pure functions of counts; the rate is a fraction, 0 to 1.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from math import lgamma, log, log1p, sqrt
from statistics import NormalDist

__all__ = ["anytime_difference", "anytime_interval", "wilson_interval"]

_BISECTIONS = 60


def wilson_interval(bad: float, requests: float, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's two-sided score interval (1927) for a fraction, at one time chosen beforehand."""
    if requests <= 0:
        return 0.0, 1.0
    z = _normal_quantile(0.5 + confidence / 2.0)
    rate, squared = bad / requests, z * z / requests
    middle = rate + squared / 2.0
    half = z * sqrt(max(rate * (1.0 - rate) / requests + squared / (4.0 * requests), 0.0))
    low, high = (middle - half) / (1.0 + squared), (middle + half) / (1.0 + squared)
    return (0.0 if bad <= 0 else max(low, 0.0)), (1.0 if bad >= requests else min(high, 1.0))


@cache
def _normal_quantile(part: float) -> float:
    return NormalDist().inv_cdf(part)


def anytime_interval(bad: float, requests: float, confidence: float = 0.95) -> tuple[float, float]:
    """An interval that holds the true fraction at all evaluations together with this confidence.

    All p whose mixture likelihood ratio (Robbins 1970; Howard et al., AoS 2021), with the Beta(1/2, 1/2)
    mixture, is below 1 / (1 - confidence). It is wider than Wilson's, and may be read at any time.
    """
    if requests <= 0:
        return 0.0, 1.0
    good, most = requests - bad, -log(1.0 - confidence)
    mixture = lgamma(bad + 0.5) + lgamma(good + 0.5) - lgamma(requests + 1.0) - 2.0 * lgamma(0.5)

    def excess(p: float) -> float:
        likelihood = (bad * log(p) if bad > 0 else 0.0) + (good * log1p(-p) if good > 0 else 0.0)
        return mixture - likelihood - most

    rate = bad / requests
    low = 0.0 if bad <= 0 else _bisect_edge(excess, 0.0, rate)
    high = 1.0 if good <= 0 else _bisect_edge(excess, 1.0, rate)
    return low, high


def _bisect_edge(excess: Callable[[float], float], outside: float, inside: float) -> float:
    """Where excess changes its sign between a fraction that is ruled out and one that is not."""
    for _ in range(_BISECTIONS):
        middle = (outside + inside) / 2.0
        if not 0.0 < middle < 1.0 or middle in (outside, inside):
            break
        if excess(middle) >= 0.0:
            outside = middle
        else:
            inside = middle
    return outside


def anytime_difference(
    bad: float, requests: float, other_bad: float, other_requests: float, confidence: float = 0.95
) -> tuple[float, float]:
    """An interval for the difference of two fractions, the first less the second, valid at all evaluations together.

    Each side's ``anytime_interval`` with half of the error, put together: so it holds while each side's fraction
    stays what it is. A region of both together (a product of the two ratios) is wider where one side has far more
    requests. Where a side has no requests, anything is possible.
    """
    each = (1.0 + confidence) / 2.0
    low, high = anytime_interval(bad, requests, each)
    other_low, other_high = anytime_interval(other_bad, other_requests, each)
    return low - other_high, high - other_low
