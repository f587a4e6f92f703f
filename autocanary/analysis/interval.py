"""How well a rate is known: an interval for one moment, and one that holds at all moments at once."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from math import lgamma, log, log1p, sqrt
from statistics import NormalDist

__all__ = ["anytime", "wilson"]

_HALVINGS = 60


def wilson(bad: float, requests: float, confidence: float = 0.95) -> tuple[float, float]:
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


def anytime(bad: float, requests: float, confidence: float = 0.95) -> tuple[float, float]:
    """An interval that holds the true fraction at all looks together with this confidence.

    All p whose mixture likelihood ratio (Robbins 1970; Howard et al., AoS 2021), with the Beta(1/2, 1/2)
    mixture, is below 1 / (1 - confidence). It is wider than Wilson's, and may be looked at at any time.
    """
    if requests <= 0:
        return 0.0, 1.0
    good, most = requests - bad, -log(1.0 - confidence)
    mixture = lgamma(bad + 0.5) + lgamma(good + 0.5) - lgamma(requests + 1.0) - 2.0 * lgamma(0.5)

    def excess(p: float) -> float:
        likelihood = (bad * log(p) if bad > 0 else 0.0) + (good * log1p(-p) if good > 0 else 0.0)
        return mixture - likelihood - most

    rate = bad / requests
    low = 0.0 if bad <= 0 else _edge(excess, 0.0, rate)
    high = 1.0 if good <= 0 else _edge(excess, 1.0, rate)
    return low, high


def _edge(excess: Callable[[float], float], outside: float, inside: float) -> float:
    """Where excess changes its sign between a fraction that is ruled out and one that is not."""
    for _ in range(_HALVINGS):
        middle = (outside + inside) / 2.0
        if not 0.0 < middle < 1.0 or middle in (outside, inside):
            break
        if excess(middle) >= 0.0:
            outside = middle
        else:
            inside = middle
    return outside
