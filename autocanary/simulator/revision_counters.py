"""One revision's counters since they were first looked at, as the scrapes read them."""

from __future__ import annotations

import math
from itertools import accumulate
from operator import add, sub

from autocanary.model.measurement import Totals
from autocanary.simulator.random_counts import BOUNDS
from autocanary.simulator.traffic import Sample, Series

__all__ = ["Account", "newest_by"]

_NOTHING = Sample(-math.inf, 0, 0, (0,) * (len(BOUNDS) + 1))


class Account:
    """What one revision's counters have grown by since they were first looked at."""

    def __init__(self, series: Series | None, newest: Sample | None) -> None:
        self._created_at = series.created_at if series is not None else None
        self._last = newest if newest is not None else _NOTHING
        self._requests = self._errors = 0
        self._up_to = [0] * len(BOUNDS)
        self._totals = Totals(0.0, 0.0, (0.0,) * len(BOUNDS))

    def look(self, series: Series | None, newest: Sample | None) -> Totals:
        if series is not None and newest is not None:
            if series.created_at != self._created_at:  # another revision of the same name: it began at 0
                self._created_at, self._last = series.created_at, _NOTHING
            self._grow(newest)
        return self._totals

    def _grow(self, newest: Sample) -> None:
        if newest is self._last:
            return
        self._requests += newest.requests - self._last.requests
        self._errors += newest.errors - self._last.errors
        grown = accumulate(map(sub, newest.buckets, self._last.buckets))  # beyond the last bound, too
        self._up_to = list(map(add, self._up_to, grown))
        errors = self._errors
        within = map(max, self._totals.within, [float(each - errors) for each in self._up_to])
        self._totals = Totals(float(self._requests), float(errors), tuple(within))
        self._last = newest


def newest_by(series: Series | None, until: float) -> Sample | None:
    """The last sample that was scraped by then."""
    samples = reversed(series.samples) if series is not None else ()
    return next((sample for sample in samples if sample.at <= until), None)
