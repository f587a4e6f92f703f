"""What an exporter is made of: its counters, histograms, levels and labels, and the presets that they answer.

A ``Exporter`` is one exporter's set of metrics; a ``ExporterVariant`` is an exporter with the label
scheme that its series carry in this Prometheus. What an exporter cannot give it says in a sentence, so that a
policy that asks for it learns why instead of waiting for data that never comes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache

from autocanary.model.measurement import CancelledCalls, Source, Unit
from autocanary.prometheus.revision_labels import RevisionLabels

__all__ = [
    "CLIENT_BOUNDS",
    "ENVOY_BOUNDS",
    "PRESETS",
    "RATES",
    "Exporter",
    "ExporterVariant",
    "GaugeMetric",
    "HistogramMetric",
    "PresetMetric",
    "RequestCounter",
    "SummaryMetric",
    "native_form",
    "with_cancelled",
]

PRESETS: Mapping[str, Unit] = {
    "request-success-rate": Unit.PERCENT,
    "error-rate": Unit.PERCENT,
    "request-count": Unit.REQUESTS,
    "request-duration": Unit.SECONDS,
    "time-to-first-token": Unit.SECONDS,
    "time-per-output-token": Unit.SECONDS,
    "queue-time": Unit.SECONDS,
    "kv-cache-usage": Unit.PERCENT,
}
CLIENT_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
"""Seconds: the default buckets of Prometheus' Python client."""
ENVOY_BOUNDS = (
    *(0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000, 60_000),
    *(300_000, 600_000, 1_800_000, 3_600_000),
)
"""Milliseconds: Envoy's default buckets."""
RATES = frozenset({"request-success-rate", "error-rate"})


@dataclass(frozen=True, slots=True)
class RequestCounter:
    """A counter of completed requests, and which of them failed: RE2 patterns on the values of ``label``.

    ``bad`` names the failed ones, ``good`` the others; with neither, all of them are ``failed`` or none.
    ``matchers`` leave out calls that the client cancelled: they are neither requests nor failures.
    ``histogram`` is the histogram whose count it is, if any; ``native``: the metric is that histogram itself,
    stored as a native one.
    """

    metric: str
    label: str = ""
    bad: str = ""
    good: str = ""
    failed: bool = False
    matchers: str = ""
    histogram: str = ""
    native: bool = False

    def count_of(self, vector: str) -> str:
        """The requests in a vector of its samples (or of their increase)."""
        return f"histogram_count({vector})" if self.native else vector

    def fails(self, value: str) -> bool:
        """Whether the series with this value of ``label`` counts failures."""
        if self.good:
            return re.fullmatch(self.good, value) is None
        return re.fullmatch(self.bad, value) is not None if self.bad else self.failed


@dataclass(frozen=True, slots=True)
class HistogramMetric:
    """A histogram, classic (``metric_bucket``) or ``native``; ``per_second`` of its units make a second.

    ``ceiling`` is the largest finite bucket in seconds where that is fixed: a quantile that reaches it is
    only known to be at least that. ``label`` and ``bad`` name the failed requests, as in ``RequestCounter``,
    where the histogram distinguishes them. ``bounds`` are the exporter's own bounds, in the histogram's unit:
    a native histogram with custom buckets (one that Prometheus made of a classic one) shows no empty bucket.
    """

    metric: str
    per_second: float = 1.0
    ceiling: float | None = None
    matchers: str = ""
    label: str = ""
    bad: str = ""
    bounds: tuple[float, ...] = ()
    native: bool = False


@dataclass(frozen=True, slots=True)
class SummaryMetric:
    """Quantiles computed by the exporter. They cannot be merged over pods, so the worst pod counts."""

    metric: str
    per_second: float = 1.0
    hint: str = ""  # why the series may be missing


@dataclass(frozen=True, slots=True)
class GaugeMetric:
    """A level, averaged over the window, of the worst pod; ``factor`` turns it into the preset's unit."""

    metric: str
    factor: float = 1.0


PresetMetric = HistogramMetric | SummaryMetric | GaugeMetric


@dataclass(frozen=True, slots=True, eq=False)  # constants: the same one or another one
class Exporter:
    """One exporter's metrics.

    ``measures`` gives the alternatives of a preset, the preferred name first. ``unsupported_presets`` says
    why a preset is not there. ``matchers`` are added to every selector. ``also_exported_by`` names others
    that export the same names for the same requests, so that only a pod's name says which of them counted.
    ``model_label`` names the model where one request is counted by several models (a pipeline): only the model
    that the service names counts, else the largest count of any model (``models_add``: each request is one model's,
    so else they add up). ``cancelled`` counts the calls that the
    client cancelled, which ``counted`` leaves out; empty where the exporter cannot tell them.
    """

    source: Source
    revision_label_schemes: tuple[RevisionLabels, ...]
    counted: tuple[RequestCounter, ...]
    measures: Mapping[str, tuple[PresetMetric, ...]] = field(default_factory=dict)
    unsupported_presets: Mapping[str, str] = field(default_factory=dict)
    matchers: str = ""
    also_exported_by: str = ""
    model_label: str = ""
    models_add: bool = False
    cancelled: tuple[RequestCounter, ...] = ()

    def unsupported_reason(self, metric: str) -> str:
        """Why the preset cannot be had from this exporter, as a sentence; empty when it can."""
        if metric in self.unsupported_presets:
            return self.unsupported_presets[metric]
        if metric == "request-count" or metric in RATES or metric in self.measures:
            return ""
        if metric not in PRESETS:
            return f"there is no preset {metric!r}: known are {', '.join(PRESETS)}"
        return f"{self.source.value} does not measure {metric}"

    def __str__(self) -> str:
        return " + ".join(counted.metric for counted in self.counted)


@dataclass(frozen=True, slots=True)
class ExporterVariant:
    """An exporter with its label scheme.

    ``native``: this Prometheus stores its histograms as native ones alone. ``cancelled_fail``: the calls that the
    client cancelled are requests that failed.
    """

    exporter: Exporter
    revision_labels: RevisionLabels
    native: bool = False
    cancelled_fail: bool = False

    @property
    def source(self) -> Source:
        return self.exporter.source

    @property
    def counted(self) -> tuple[RequestCounter, ...]:
        """The counters of requests, as they are stored."""
        return _stored_counters(self.exporter, self.native) + self.cancelled

    @property
    def cancelled(self) -> tuple[RequestCounter, ...]:
        """The counters of calls that the client cancelled, where those are requests that failed."""
        return self.exporter.cancelled if self.cancelled_fail else ()

    def measures(self, metric: str) -> tuple[PresetMetric, ...]:
        """The alternatives of a preset, as they are stored."""
        return _stored_measures(self.exporter, metric, self.native)

    @property
    def histogram(self) -> HistogramMetric | None:
        """The histogram of request durations, as it is stored; None where there is none."""
        first = next(iter(self.measures("request-duration")), None)
        return first if isinstance(first, HistogramMetric) else None

    def __str__(self) -> str:
        names = " + ".join(dict.fromkeys(counted.metric for counted in self.counted))
        return f"{names}{{{','.join(self.revision_labels.required_labels)}}}"


@cache
def native_form(variant: ExporterVariant) -> ExporterVariant:
    """The variant with its histograms stored as native ones."""
    return replace(variant, native=True)


@cache
def with_cancelled(variant: ExporterVariant, cancelled: CancelledCalls) -> ExporterVariant:
    """The variant that follows the rule for cancelled calls; the same where it cannot tell them."""
    if cancelled is CancelledCalls.IGNORE or not variant.exporter.cancelled:
        return variant
    return replace(variant, cancelled_fail=True)


@cache
def _stored_counters(exporter: Exporter, native: bool) -> tuple[RequestCounter, ...]:
    if not native:
        return exporter.counted
    return tuple(
        replace(counted, metric=counted.histogram, native=True) if counted.histogram else counted
        for counted in exporter.counted
    )


@cache
def _stored_measures(exporter: Exporter, metric: str, native: bool) -> tuple[PresetMetric, ...]:
    measures = exporter.measures.get(metric, ())
    if not native:
        return measures
    return tuple(replace(each, native=True) if isinstance(each, HistogramMetric) else each for each in measures)
