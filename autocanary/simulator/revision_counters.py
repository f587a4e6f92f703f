"""One revision's counters since they were first read, as the scrapes see them."""

from __future__ import annotations

import math
from itertools import accumulate
from operator import add, sub

from autocanary.model.measurement import RequestTotals
from autocanary.simulator.random_counts import LATENCY_BOUNDS
from autocanary.simulator.traffic import RevisionSeries, ScrapedSample

__all__ = ["RevisionCounters", "last_sample_until"]

_ZERO_SAMPLE = ScrapedSample(-math.inf, 0, 0, (0,) * (len(LATENCY_BOUNDS) + 1))


class RevisionCounters:
    """What one revision's counters have grown by since they were first read."""

    def __init__(self, series: RevisionSeries | None, newest: ScrapedSample | None) -> None:
        self._created_at = series.created_at if series is not None else None
        self._last = newest if newest is not None else _ZERO_SAMPLE
        self._requests = self._errors = 0
        self._cumulative = [0] * len(LATENCY_BOUNDS)
        self._totals = RequestTotals(0.0, 0.0, (0.0,) * len(LATENCY_BOUNDS))

    @property
    def failed(self) -> float:
        """What the revision has failed since it was first read."""
        return float(self._errors)

    @property
    def failed_by_process(self) -> dict[str, float]:
        """The raw counter: the pods are one process."""
        return {f"{self._created_at}": float(self._last.errors)} if self._last.errors else {}

    def update(self, series: RevisionSeries | None, newest: ScrapedSample | None) -> RequestTotals:
        if series is not None and newest is not None:
            if series.created_at != self._created_at:  # another revision of the same name: it began at 0
                self._created_at, self._last = series.created_at, _ZERO_SAMPLE
            self._add_increment(newest)
        return self._totals

    def _add_increment(self, newest: ScrapedSample) -> None:
        if newest is self._last:
            return
        self._requests += newest.requests - self._last.requests
        self._errors += newest.errors - self._last.errors
        grown = accumulate(map(sub, newest.buckets, self._last.buckets))  # beyond the last bound, too
        self._cumulative = list(map(add, self._cumulative, grown))
        errors = self._errors
        bucket_counts = map(max, self._totals.bucket_counts, [float(each - errors) for each in self._cumulative])
        self._totals = RequestTotals(float(self._requests), float(errors), tuple(bucket_counts))
        self._last = newest


def last_sample_until(series: RevisionSeries | None, until: float) -> ScrapedSample | None:
    """The last sample that was scraped by then."""
    samples = reversed(series.samples) if series is not None else ()
    return next((sample for sample in samples if sample.at <= until), None)
