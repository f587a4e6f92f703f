"""One metric query on its way to a measurement: what is found out about it, and the measurement made of that."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache

from autocanary.model.frozen_copy import replace
from autocanary.model.measurement import Measurement, MetricQuery
from autocanary.prometheus.counter_collection import CollectedCounters
from autocanary.prometheus.counter_queries import CounterFamily
from autocanary.prometheus.exporter_discovery import DiscoveredExporters, DiscoveryKey
from autocanary.prometheus.exporters import ExporterVariant
from autocanary.prometheus.measurements import (
    QueryOutcome,
    custom_measurement,
    failed_measurement,
    preset_measurement,
    undiscovered_measurement,
    unsupported_measurement,
    with_counters,
)
from autocanary.prometheus.preset_queries import TrafficCounts
from autocanary.prometheus.query_plan import ProcessingError, QueryResult, TargetResults
from autocanary.prometheus.revision_labels import RevisionTarget

__all__ = ["PendingMeasurement", "guarded_measurement", "misses_histogram", "scrape_interval_of"]


_NOTHING_DISCOVERED = DiscoveredExporters()
_NO_TRAFFIC = TrafficCounts()
_NO_VALUES: TargetResults[float] = TargetResults()


@dataclass(slots=True)
class PendingMeasurement:
    """A query, and what is found out on the way to its measurement.

    ``asked`` is the query as it came, ``metric_query`` the one with the window that its scrapes need.
    ``discovery_keys`` and ``targets`` are the candidate's and stable's. ``variant`` measures the candidate,
    ``stable_variant`` the stable revision: another one when the release changes the exporter. ``variant`` is
    None while nothing measures the service; ``unsupported_reason`` says why it cannot give the metric.
    ``families`` are those of the counters asked for, in the order of the targets, or why there are none; None
    when none were asked for.
    """

    asked: MetricQuery
    metric_query: MetricQuery
    discovery_keys: tuple[DiscoveryKey, ...]
    targets: tuple[RevisionTarget, ...]
    found: DiscoveredExporters = _NOTHING_DISCOVERED
    variant: ExporterVariant | None = None
    stable_variant: ExporterVariant | None = None
    unsupported_reason: str = ""
    traffic: TargetResults[TrafficCounts] | None = None
    preset_value: TargetResults[float] | None = None
    families: tuple[CounterFamily, ...] | str | None = None
    collected: CollectedCounters | None = None
    custom_result: QueryResult | None = None
    custom_age: float | None = None


def misses_histogram(pending: PendingMeasurement, target: RevisionTarget) -> bool:
    """Whether requests of the revision are counted, and the classic histogram of their durations has no series."""
    if isinstance(pending.families, tuple) and pending.collected is not None:
        family = pending.families[pending.targets.index(target)]
        if (family, target) in pending.collected.native:
            return True
    if pending.preset_value is None or pending.traffic is None or target is not pending.targets[0]:
        return False
    if pending.variant is None or pending.variant.histogram is None:
        return False
    counted = pending.traffic.rows.get(target, _NO_TRAFFIC).requests
    answered = target in pending.preset_value.rows or target in pending.preset_value.errors
    return bool(counted) and not answered


def guarded_measurement(pending: PendingMeasurement) -> Measurement:
    try:
        return _measurement_with_counters(pending)
    except Exception as error:  # noqa: BLE001 - one measurement's defect must not fail the round
        return failed_measurement(pending.metric_query, ProcessingError(error))


def _measurement_with_counters(pending: PendingMeasurement) -> Measurement:
    measurement = _measurement(pending)
    if not pending.metric_query.counters:
        return measurement
    if pending.families is None or pending.collected is None:
        why = "a query of the policy's own has no counters" if pending.metric_query.query else ""
        return with_counters(measurement, None, why)
    if isinstance(pending.families, str):
        return with_counters(measurement, None, pending.families)
    measurement = with_counters(measurement, *pending.collected.for_revisions(pending.families, pending.targets))
    if pending.metric_query.failures:
        failures = pending.collected.store.failures((pending.families[0], pending.targets[0]))
        measurement = replace(measurement, failures=failures)
    return measurement


def _measurement(pending: PendingMeasurement) -> Measurement:
    metric_query, variant, traffic = pending.metric_query, pending.variant, pending.traffic
    if pending.custom_result is not None:
        return custom_measurement(pending.custom_result, _requests(pending), pending.custom_age)
    if variant is None:
        return undiscovered_measurement(metric_query, pending.found)
    if pending.unsupported_reason or traffic is None:
        return unsupported_measurement(metric_query, pending.unsupported_reason, variant.source)
    return replace(
        _preset_measurement(pending, variant, traffic),
        exporter=_name_of(variant),
        window=metric_query.window,
        scrape_interval=scrape_interval_of(traffic.rows, pending.targets),
    )


@cache
def _name_of(variant: ExporterVariant) -> str:
    return str(variant)


def _preset_measurement(
    pending: PendingMeasurement, variant: ExporterVariant, traffic: TargetResults[TrafficCounts]
) -> Measurement:
    metric_query = pending.metric_query
    target, *others = pending.targets
    preset_value = pending.preset_value if pending.preset_value is not None else _NO_VALUES
    warnings = dict.fromkeys([each.warnings[target] for each in (traffic, preset_value) if target in each.warnings])
    return preset_measurement(
        metric_query,
        variant,
        QueryOutcome(
            traffic=traffic.rows.get(target, _NO_TRAFFIC),
            preset_value=preset_value.rows.get(target),
            error=traffic.errors.get(target) or preset_value.errors.get(target),
            warning="; ".join(warnings),
            ever_had_series=pending.found.ever_had_series or any(other in traffic.rows for other in others),
            scrape_interval=scrape_interval_of(traffic.rows, pending.targets),
        ),
    )


def scrape_interval_of(rows: Mapping[RevisionTarget, TrafficCounts], targets: Iterable[RevisionTarget]) -> float | None:
    """The candidate's, else stable's: one scrape configuration reads both."""
    known = (rows[target].scrape_interval for target in targets if target in rows)
    return next((interval for interval in known if interval is not None), None)


def _requests(pending: PendingMeasurement) -> float | None:
    """How many requests the revision completed in the window of a custom query; None when no source counts them."""
    traffic = pending.traffic
    if traffic is None:
        return None
    target, *others = pending.targets
    row = traffic.rows.get(target)
    if row is not None:
        return row.requests
    silent = target not in traffic.errors and target not in traffic.warnings
    return 0.0 if silent and any(other in traffic.rows for other in others) else None
