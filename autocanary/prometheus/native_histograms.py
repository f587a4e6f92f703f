"""Exact counts from native histograms: how many observations lie within a bound. Pure.

A native histogram has either custom buckets (Prometheus made it of a classic one), whose bounds the exporter
chose, or exponential ones, whose bounds are powers of 2^(2^-schema): every power of two is one, at every
resolution from schema 0 on. The query API leaves empty buckets out, so a bound that is not seen may yet exist.
Whatever bound is asked for, its count is exact unless a bucket with observations lies on both sides of it.
https://prometheus.io/docs/specs/native_histograms/
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from autocanary.prometheus.query_answer import NativeHistogram

__all__ = ["bounds_of", "counts_within"]

_SHORTEST, _LONGEST = 0.0005, 4096.0
"""Seconds between which exponential buckets are counted."""
_MOST_STEPS = 2**8
"""Bounds between two powers of two at the highest resolution (schema 8)."""
_ROUNDING = 1e-9


def bounds_of(
    histograms: Iterable[NativeHistogram], exporter_bounds: Sequence[float], per_second: float
) -> tuple[float, ...]:
    """The bounds to count by, ascending, in the histograms' unit, of which ``per_second`` make a second.

    They are the powers of two for exponential buckets, else the exporter's own and those that are seen.
    """
    seen = {
        bound
        for histogram in histograms
        for low, high, _ in histogram.buckets
        for bound in (low, high)
        if math.isfinite(bound) and bound > 0
    }
    known = {bound for bound in seen if any(math.isclose(bound, own, rel_tol=_ROUNDING) for own in exporter_bounds)}
    if seen - known and all(_is_exponential(bound) for bound in seen):
        first, last = math.ceil(math.log2(_SHORTEST * per_second)), math.floor(math.log2(_LONGEST * per_second))
        return tuple(2.0**power for power in range(first, last + 1))
    return tuple(sorted({*map(float, exporter_bounds), *(seen - known)}))


def counts_within(histogram: NativeHistogram, bounds: Iterable[float]) -> Mapping[float, float]:
    """How many observations were at most each bound, for the bounds where that is exactly known."""
    found = {}
    for bound in bounds:
        low_side, high_side = bound * (1 - _ROUNDING), bound * (1 + _ROUNDING)
        if not any(low < low_side and high > high_side for low, high, _ in histogram.buckets):
            found[bound] = float(sum(count for _, high, count in histogram.buckets if high <= high_side))
    return found


def _is_exponential(bound: float) -> bool:
    steps = math.log2(bound) * _MOST_STEPS
    return abs(steps - round(steps)) < 1e-6
