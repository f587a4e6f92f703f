"""From rows to measurements: which of the several kinds of "no number" this one is. Pure.

The order of the checks is the order of doubt: no answer, an incomplete answer, an old answer, no requests,
and only then a number.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from autocanary.errors import MetricsError, MetricsRefused
from autocanary.model.measurement import (
    Measurement,
    MeasurementKind,
    MetricQuery,
    RequestCounters,
    Source,
    Unit,
)
from autocanary.model.policy import DEFAULT_QUANTILE
from autocanary.prometheus.exporter_discovery import DiscoveredExporters, search_hint
from autocanary.prometheus.exporters import PRESETS, RATES, ExporterVariant
from autocanary.prometheus.preset_queries import TrafficCounts, largest_finite_bound, summary_hint
from autocanary.prometheus.query_answer import QueryResponse
from autocanary.prometheus.query_plan import QueryResult
from autocanary.promql import promql_duration

__all__ = [
    "QueryOutcome",
    "custom_measurement",
    "failed_measurement",
    "preset_measurement",
    "short_window_problem",
    "undiscovered_measurement",
    "unsupported_measurement",
    "with_counters",
]

_MAX_DETAIL_LENGTH = 400
_MIN_INTERVALS_IN_WINDOW = 2.0
"""A window this many scrape intervals long always holds two samples, which a rate needs."""
_ADVISED_INTERVALS_IN_WINDOW = 3
_SCRAPE_JITTER = 0.01
"""The share by which a measured scrape interval may exceed the configured one."""
_ROUNDING = 1 + 1e-9
_NOTED_DELAY = 5.0
"""Seconds from which on a measurement says that its server answers from the past."""


@dataclass(frozen=True, slots=True)
class QueryOutcome:
    """What Prometheus answered to one query.

    ``preset_value`` is None where the preset follows from the traffic alone, or where no row came;
    ``ever_had_series`` is whether the source is known to measure this service; ``scrape_interval`` is that of
    either revision in seconds, None where it is not known.
    """

    traffic: TrafficCounts = field(default_factory=TrafficCounts)
    preset_value: float | None = None
    error: MetricsError | None = None
    warning: str = ""
    ever_had_series: bool = False
    scrape_interval: float | None = None


def unsupported_measurement(metric_query: MetricQuery, why: str, source: Source | None = None) -> Measurement:
    """The source cannot give this, and never will."""
    if source is None and metric_query.source is not Source.AUTO:
        source = metric_query.source
    return Measurement(MeasurementKind.UNSUPPORTED, unit=_unit(metric_query), source=source, detail=why)


def failed_measurement(metric_query: MetricQuery, error: MetricsError) -> Measurement:
    """There is no answer to this query, for the reason that the error gives."""
    return Measurement(_error_kind(error), unit=_unit(metric_query), detail=_truncate(str(error)))


def undiscovered_measurement(metric_query: MetricQuery, found: DiscoveredExporters) -> Measurement:
    """No source is known to measure the service."""
    unit = _unit(metric_query)
    if found.error is not None:
        return Measurement(_error_kind(found.error), unit=unit, detail=_truncate(str(found.error)))
    if found.warning:
        return Measurement(MeasurementKind.PARTIAL, unit=unit, detail=_truncate(found.warning))
    return Measurement(
        MeasurementKind.NO_SERIES,
        unit=unit,
        detail=f"nothing measures {_revisions_text(metric_query)}; looked for {search_hint(metric_query.source)}",
    )


def preset_measurement(metric_query: MetricQuery, variant: ExporterVariant, outcome: QueryOutcome) -> Measurement:
    """The measurement of a preset."""
    traffic = outcome.traffic

    def measurement(kind: MeasurementKind, value: float | None = None, detail: str = "") -> Measurement:
        detail = "; ".join(filter(None, (detail, _delay_note(traffic.delay))))
        return Measurement(
            kind,
            value,
            _unit(metric_query),
            traffic.requests,
            traffic.age,
            variant.source,
            _truncate(detail),
            sample_at=traffic.sample_at,
        )

    if outcome.error is not None:
        return measurement(_error_kind(outcome.error), detail=str(outcome.error))
    value = _value(metric_query, outcome)
    number = value if value is not None and math.isfinite(value) else None
    if outcome.warning:
        return measurement(MeasurementKind.PARTIAL, number, f"Prometheus warns: {outcome.warning}")
    if traffic.age is not None and traffic.age > metric_query.window:
        age, window = promql_duration(round(traffic.age)), promql_duration(metric_query.window)
        detail = f"the newest sample is {age} old, older than the window of {window}"
        return measurement(MeasurementKind.STALE, number, detail)
    if traffic.count is None:
        return _without_count(metric_query, variant, outcome)
    if traffic.age is None:
        window = promql_duration(metric_query.window)
        return measurement(
            MeasurementKind.STALE,
            number,
            f"the scrape of {_first_metric_name(variant)} has stopped within the last {window}",
        )
    if traffic.count <= 0 and math.isfinite(traffic.count):
        return measurement(
            MeasurementKind.NO_SERIES,
            detail=f"{metric_query.revision} completed no request within {promql_duration(metric_query.window)}",
        )
    if value is None:
        return _without_value(metric_query, variant, traffic)
    if number is None:
        detail = f"{metric_query.metric} is {value} over {promql_duration(metric_query.window)}"
        return measurement(MeasurementKind.NOT_A_NUMBER, detail=detail)
    return measurement(MeasurementKind.VALUE, number, _saturation_note(metric_query, variant, number))


def _delay_note(delay: float) -> str:
    if delay < _NOTED_DELAY:
        return ""
    return f"the server evaluates queries {promql_duration(round(delay))} in the past"


def with_counters(measurement: Measurement, counters: RequestCounters | None, problem: str) -> Measurement:
    """The measurement with the counts; what is wrong with those is no fault of the value."""
    if problem and problem not in measurement.detail:
        about = f"no new counts: {problem}" if counters is not None else f"no counts: {problem}"
        detail = f"{measurement.detail}; {about}" if measurement.detail else about
        measurement = replace(measurement, detail=_truncate(detail))
    return replace(measurement, counters=counters)


def _without_count(metric_query: MetricQuery, variant: ExporterVariant, outcome: QueryOutcome) -> Measurement:
    """No increase: never scraped, just begun, or silent."""
    unit, age, interval = _unit(metric_query), outcome.traffic.age, outcome.scrape_interval
    if age is not None and interval is not None:
        detail = short_window_problem(_first_metric_name(variant), interval, metric_query.window)
        if detail:
            return Measurement(MeasurementKind.UNSUPPORTED, unit=unit, age=age, source=variant.source, detail=detail)
    if age is not None:
        detail = (
            f"fewer than two samples of {variant} within {promql_duration(metric_query.window)}: they have just"
            " begun, or the window is shorter than two scrape intervals"
        )
        return Measurement(
            MeasurementKind.NO_SERIES, unit=unit, age=age, source=variant.source, detail=_truncate(detail)
        )
    if outcome.ever_had_series:
        detail = f"{metric_query.revision} has no series of {variant}: no request has reached it, or its pods are gone"
        return Measurement(
            MeasurementKind.NO_SERIES,
            unit=unit,
            requests=0.0,
            source=variant.source,
            detail=_truncate(detail),
        )
    detail = f"nothing measures {_revisions_text(metric_query)}; looked for {variant}"
    return Measurement(MeasurementKind.NO_SERIES, unit=unit, source=variant.source, detail=_truncate(detail))


def short_window_problem(metric_name: str, interval: float, window: float) -> str:
    """Why a window (seconds) is too short for series with this scrape interval (seconds); empty when it is not."""
    if window >= _MIN_INTERVALS_IN_WINDOW * interval * (1 - _SCRAPE_JITTER):
        return ""
    every, enough = round(interval), _ADVISED_INTERVALS_IN_WINDOW * round(interval)
    return (
        f"{metric_name} is scraped every {promql_duration(every)}, the window is {promql_duration(window)}: "
        f"use at least {promql_duration(enough)}"
    )


def _without_value(metric_query: MetricQuery, variant: ExporterVariant, traffic: TrafficCounts) -> Measurement:
    """Requests are counted, yet the preset's own series are missing."""
    hint = summary_hint(variant, metric_query.metric)
    kind = MeasurementKind.UNSUPPORTED if hint else MeasurementKind.NO_SERIES
    names = " or ".join(measure.metric for measure in variant.measures(metric_query.metric))
    detail = hint or f"{names} has no series for {metric_query.revision} although requests are counted"
    return Measurement(
        kind, None, _unit(metric_query), traffic.requests, traffic.age, variant.source, _truncate(detail)
    )


def _value(metric_query: MetricQuery, outcome: QueryOutcome) -> float | None:
    count, failed = outcome.traffic.count, outcome.traffic.failed
    if metric_query.metric == "request-count":
        return count
    if metric_query.metric not in RATES:
        return outcome.preset_value
    if count is not None and not math.isfinite(count):
        return count
    if count is None or count <= 0:
        return None
    # Failures are a part of the requests; only rounding could make them more.
    share = min(failed / count, 1.0) * 100
    return share if metric_query.metric == "error-rate" else 100 - share


def _saturation_note(metric_query: MetricQuery, variant: ExporterVariant, value: float) -> str:
    if metric_query.metric == "request-count" or metric_query.metric in RATES:
        return ""
    largest_bound = largest_finite_bound(variant, metric_query.metric)
    if largest_bound is None or value < largest_bound:
        return ""
    if variant.native and value > largest_bound * _ROUNDING:  # exponential buckets have no end
        return ""
    quantile = metric_query.quantile or DEFAULT_QUANTILE
    return f"at least {largest_bound:g} s: the histogram ends there, so the {quantile:g} quantile may be longer"


def custom_measurement(result: QueryResult, requests: float | None, age: float | None = None) -> Measurement:
    """The measurement of a query of the policy's own; ``age`` is that of the oldest of its metrics' newest samples."""
    if isinstance(result, MetricsError):
        return Measurement(_error_kind(result), requests=requests, detail=_truncate(str(result)))
    kind, value, detail = _custom_value(result)
    if result.warnings:
        kind, detail = MeasurementKind.PARTIAL, f"Prometheus warns: {'; '.join(result.warnings)}"
    return Measurement(kind, value, requests=requests, age=age, detail=_truncate(detail))


def _custom_value(response: QueryResponse) -> tuple[MeasurementKind, float | None, str]:
    if response.kind not in ("vector", "scalar"):
        wanted = "wrap it so that it gives one number, for example sum(rate(…))"
        return MeasurementKind.AMBIGUOUS, None, f"the query gives a {response.kind}, not a number: {wanted}"
    if not response.samples:
        return MeasurementKind.NO_SERIES, None, "the query gives no series"
    if len(response.samples) > 1:
        examples = " and ".join(_format_labels(sample.labels) for sample in response.samples[:2])
        many = f"the query gives {len(response.samples)} series, for example {examples}"
        detail = f"{many}: aggregate it, for example with sum()"
        return MeasurementKind.AMBIGUOUS, None, detail
    value = response.samples[0].value
    if value is None:
        remedy = "wrap it in histogram_quantile() or histogram_avg()"
        detail = f"the query gives a native histogram, not a number: {remedy}"
        return MeasurementKind.NOT_A_NUMBER, None, detail
    if not math.isfinite(value):
        return MeasurementKind.NOT_A_NUMBER, None, f"the query gives {value}"
    return MeasurementKind.VALUE, value, ""


def _format_labels(labels: object) -> str:
    items = sorted(labels.items()) if isinstance(labels, dict) else []
    return "{" + ", ".join(f'{name}="{value}"' for name, value in items) + "}"


def _error_kind(error: MetricsError) -> MeasurementKind:
    return MeasurementKind.REFUSED if isinstance(error, MetricsRefused) else MeasurementKind.OUTAGE


def _unit(metric_query: MetricQuery) -> Unit:
    return PRESETS.get(metric_query.metric, Unit.NUMBER)


def _revisions_text(metric_query: MetricQuery) -> str:
    revisions = dict.fromkeys((metric_query.revision, metric_query.stable or metric_query.revision))
    return f"{metric_query.namespace}/{' or '.join(revisions)}"


def _first_metric_name(variant: ExporterVariant) -> str:
    return variant.counted[0].metric


def _truncate(text: str) -> str:
    return text if len(text) <= _MAX_DETAIL_LENGTH else f"{text[:_MAX_DETAIL_LENGTH]}…"
