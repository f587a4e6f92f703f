"""When a rollout's next sample can be expected, learnt from the samples that were seen. Does no I/O."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from autocanary.model.measurement import Measurement

__all__ = ["SampleTimes"]

_SAME_SAMPLE_SECONDS = 0.005
_LEAST_DELAY = 0.3
"""Seconds from a sample's time to when a query finds it: the scrape itself takes a while."""
_DELAY_DECAY = 0.8
_UNKNOWN_INTERVAL = 5.0
"""Seconds between two tries while the scrape interval is not known: the first five minutes of a revision."""
_MAX_RETRY = 8.0
_MAX_FIRST_RETRY = 60.0
"""Seconds between two tries while the candidate has no samples at all."""
_MAX_DOUBLINGS = 10


@dataclass(slots=True)
class SampleTimes:
    """The newest sample of the candidate, the scrape interval, and how late samples are found.

    Times are seconds by the controller's clock: Prometheus' own clock only distinguishes samples. Where the pods of a
    revision are scraped one after the other, the samples of the one that was seen last are followed.
    """

    _sample_at: float | None = None
    _found_at: float = 0.0
    _interval: float | None = None
    _delay: float = _LEAST_DELAY
    _misses: int = 0
    _tried_at: float = 0.0
    _source_has_times: bool = True

    def add(self, measurements: Iterable[Measurement], now: float) -> None:
        """Take over what one query of the rollout's metrics has found at ``now``."""
        measurements = list(measurements)
        found = [(each.sample_at, each.age, each) for each in measurements]
        with_sample = [(at, age, each) for at, age, each in found if at is not None and age is not None]
        if not with_sample:
            # A value without a sample's time is of a source that never says it.
            self._source_has_times = not any(each.is_value for each in measurements)
            self._count_miss(now)
            return
        sample_at, age, newest = max(with_sample, key=lambda each: each[0])
        self._source_has_times = True
        if newest.scrape_interval is not None:
            self._interval = newest.scrape_interval
        if self._sample_at is None or abs(sample_at - self._sample_at) > _SAME_SAMPLE_SECONDS:
            if self._misses and self._sample_at is not None:  # it came between this try and the one before
                self._delay = max(_LEAST_DELAY, min(age, self._interval or age))
            else:
                self._delay = max(_LEAST_DELAY, self._delay * _DELAY_DECAY)
            self._sample_at, self._found_at, self._misses = sample_at, now - age, 0
        else:
            self._count_miss(now)
        self._tried_at = now

    def _count_miss(self, now: float) -> None:
        expected = self.next_at()
        if expected is not None and now >= expected:
            self._misses = min(self._misses + 1, _MAX_DOUBLINGS)
        self._tried_at = now

    def next_at(self, spacing: float = 0.0) -> float | None:
        """When to look for the next sample that is ``spacing`` seconds after the newest.

        At once where none was looked for; None where the source does not say which samples it has.
        """
        if not self._source_has_times:
            return None
        if self._sample_at is None:
            wait = min(_UNKNOWN_INTERVAL * 2.0**self._misses, _MAX_FIRST_RETRY)
            return self._tried_at + wait if self._tried_at else 0.0
        if self._misses:
            return self._tried_at + min(2.0 ** (self._misses - 1), _MAX_RETRY)
        if self._interval is None:
            return self._tried_at + max(_UNKNOWN_INTERVAL, spacing)
        steps = max(1, -int(-spacing // self._interval))
        return self._found_at + steps * self._interval + self._delay
