"""Which samples a metric counts: each once, and those of the same outcome about an interval apart.

Evaluations come when there are new samples, and at the latest every interval. What they count must not depend on how
often that is: a limit of three violations means three intervals, whether samples come every second or every minute.
"""

from __future__ import annotations

from autocanary.model.measurement import Measurement
from autocanary.model.policy import Metric
from autocanary.model.progress import MetricState

__all__ = ["COUNTS_SPACING", "counts_sample", "is_spaced", "sample_spacing"]

COUNTS_SPACING = 0.5
"""The part of an interval between the counts of a comparison that early evaluations add.

Bursts shorter than an interval must not become several evaluations' counts.
"""
_REGULARITY = 0.9
"""The part of an interval after which the next count may follow: evaluations are not quite regular."""
_MAX_SCRAPE_PART = 0.5
_SAME_SAMPLE_SECONDS = 0.005
"""Sums of the same times may differ by so little."""
_CLOCK_SET_BACK_SECONDS = 300.0
"""A sample older than the last one by this much is of a clock that was set back, or of another server."""


def sample_spacing(interval: float, scrape_interval: float | None) -> float:
    """Seconds between two samples that a metric counts, for evaluations every ``interval`` seconds.

    Evaluations every ``interval`` see samples that are at least ``interval`` less the scrape interval apart, so what
    is counted this far apart is counted no later. A scrape interval of None is not known.
    """
    longest = _MAX_SCRAPE_PART * interval
    return _REGULARITY * interval - (longest if scrape_interval is None else min(scrape_interval, longest))


def is_spaced(at: float, since: float, spacing: float) -> bool:
    """Whether a sample of ``at`` is far enough from the one of ``since``; both in epoch seconds."""
    return at - since >= max(spacing, _SAME_SAMPLE_SECONDS) or at - since < -_CLOCK_SET_BACK_SECONDS


def counts_sample(metric: Metric, measurement: Measurement, state: MetricState, interval: float) -> bool:
    """Whether a value counts after what ``state`` has counted last.

    Out of range after in range counts at once. A measurement that does not say of which sample it is counts always.
    """
    last = state.last
    if state.ok is None or last is None or last.sample_at is None or measurement.sample_at is None:
        return True
    if state.ok and measurement.value is not None and not metric.range.contains(measurement.value):
        return True
    spacing = sample_spacing(interval, measurement.scrape_interval)
    return is_spaced(measurement.sample_at, last.sample_at, spacing)
