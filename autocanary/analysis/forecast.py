"""What a comparison can see at this traffic: how soon harm is caught, and how small it may be.

The evidence of an average block is added up until it is enough. That is a forecast of the middle of the
road: half of the rollouts take longer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import exp, inf, lgamma, log, sqrt

from autocanary.analysis.e_values import PATHS, gross, log_mean, log_mix, not_worse, worse
from autocanary.analysis.parameters import FACTOR_WEIGHTS, FACTORS, Terms, idle_weight, step_weight

__all__ = ["caught_after", "passes_after", "smallest_caught"]

_HALVINGS = 40
_MOST_BLOCKS = 1_000_000


def caught_after(
    terms: Terms,
    *,
    rps: float,
    weight: float,
    stable: float,
    candidate: float,
    steps: int = 1,
    part: float = 1.0,
) -> float | None:
    """Seconds until a candidate with this failure rate is rolled back; None if never.

    ``rps`` are the requests per second of both revisions, ``weight`` the candidate's percent, ``stable``
    and ``candidate`` fractions. ``part`` is what the metric weighs among all that are compared. The harm is
    there from the first step on.
    """
    growth = _growth(terms, rps, weight, stable, candidate)
    idle, stake = idle_weight(1, steps), log(step_weight(0, steps))
    slow_part, fast_part = PATHS

    def evidence(many: int, each: Sequence[float]) -> float:
        return log_mix([stake + many * one for one in each], FACTOR_WEIGHTS, idle)

    wanted = terms.bound - log(part * slow_part)
    blocks = _first(lambda many: evidence(many, growth) >= wanted)
    times = [] if blocks is None else [blocks * terms.block]
    if not terms.latency:
        look = terms.block / terms.looks
        n_c, n_s = _requests(look, rps, weight)
        sudden = worse(n_c, n_s, [(n_c * candidate, n_s * stable)], terms.fail)[0]
        believed = gross(n_c, n_c * candidate)
        wanted = terms.bound - log(part * fast_part)
        looks = _first(
            lambda many: min(evidence(many, sudden), log_mean([many * each for each in believed])) >= wanted
        )
        times += [] if looks is None else [looks * look]
    return min(times, default=None)


def passes_after(terms: Terms, *, rps: float, weight: float, rate: float) -> float | None:
    """Seconds until a candidate that fails as often as stable is shown to be not worse; None if never."""
    n_c, n_s = _requests(terms.block, rps, weight)
    most = inf if terms.cap is None else log(terms.cap)
    growth = [min(each, most) for each in not_worse(n_c, n_s, [(n_c * rate, n_s * rate)], terms.pass_)[0]]
    blocks = _first(lambda many: log_mean([many * each for each in growth]) >= -log(terms.beta))
    return None if blocks is None else blocks * terms.block


def smallest_caught(
    terms: Terms,
    *,
    rps: float,
    weight: float,
    stable: float,
    within: float,
    steps: int = 1,
    part: float = 1.0,
) -> float | None:
    """The smallest failure rate that is caught within so many seconds; None: not even 100 %."""

    def caught(rate: float) -> bool:
        after = caught_after(
            terms, rps=rps, weight=weight, stable=stable, candidate=rate, steps=steps, part=part
        )
        return after is not None and after <= within

    if not caught(1.0):
        return None
    low, high = stable, 1.0
    for _ in range(_HALVINGS):
        middle = sqrt(low * high) if low > 0.0 else high / 2.0
        if high - low <= 1e-3 * high:
            break
        low, high = (low, middle) if caught(middle) else (middle, high)
    return high


def _requests(seconds: float, rps: float, weight: float) -> tuple[float, float]:
    """Of both revisions."""
    every = rps * seconds
    return every * weight / 100.0, every * (100.0 - weight) / 100.0


def _growth(terms: Terms, rps: float, weight: float, stable: float, candidate: float) -> list[float]:
    """By how much an average block moves the evidence of each factor, with its cap."""
    n_c, n_s = _requests(terms.block, rps, weight)
    expected = n_c * candidate
    # The cap bites on lucky blocks alone, so the spread of the candidate's failures matters.
    spread = 6.0 * sqrt(expected) + 6.0
    first, last = max(int(expected - spread), 0), int(expected + spread)
    stride = max((last - first) // 60, 1)
    chances = {e: _poisson(e, expected) for e in range(first, last + 1, stride)}
    total = sum(chances.values())
    most = inf if terms.cap is None else log(terms.cap)
    growth = [0.0] * len(FACTORS)
    ratios = worse(n_c, n_s, [(e, n_s * stable) for e in chances], terms.fail)
    for chance, logs in zip(chances.values(), ratios, strict=True):
        for index, each in enumerate(logs):
            growth[index] += chance / total * min(each, most)
    return growth


def _poisson(count: int, mean: float) -> float:
    return exp(count * log(mean) - mean - lgamma(count + 1)) if mean > 0.0 else float(count == 0)


def _first(enough: Callable[[int], bool]) -> int | None:
    """The smallest number of blocks that is enough; more are never less."""
    high = 1
    while not enough(high):
        high *= 2
        if high > _MOST_BLOCKS:
            return None
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
