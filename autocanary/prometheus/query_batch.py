"""All metric queries of a tick in few PromQL queries, and their answers as measurements. Does no I/O.

Queries fall into groups by what can be asked in one query: the traffic (requests, failures and the age of
the newest sample together) per variant and window, and each latency or level per variant, window and
quantile. Success rate, error rate and request count need the traffic alone; every other preset needs it
too, to say from how many requests and how fresh. So four presets of one source are two queries, for one
rollout or for hundreds. The raw counters of comparisons are one more per family of counters.

Each metric query is processed once; hashing them again and again is what a round of
thousands of them would otherwise spend its time on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple, TypeVar

from autocanary.model.frozen_copy import replace
from autocanary.model.measurement import Measurement, MetricQuery, Source
from autocanary.model.policy import DEFAULT_QUANTILE
from autocanary.prometheus.counter_account import CounterStore
from autocanary.prometheus.counter_collection import CollectedCounters, RevisionKey, collect_counters
from autocanary.prometheus.counter_queries import CounterFamily, counter_family
from autocanary.prometheus.custom_queries import CustomQueries
from autocanary.prometheus.exporter_discovery import (
    DiscoveredExporters,
    DiscoveryKey,
    ExporterDiscovery,
    discovery_keys_of,
    revision_targets,
)
from autocanary.prometheus.measurements import (
    QueryOutcome,
    custom_measurement,
    failed_measurement,
    preset_measurement,
    undiscovered_measurement,
    unsupported_measurement,
    with_counters,
)
from autocanary.prometheus.preset_queries import (
    TrafficCounts,
    preset_query,
    preset_rows,
    traffic_query,
    traffic_rows,
)
from autocanary.prometheus.presets import RATES, ExporterVariant, with_cancelled
from autocanary.prometheus.query_plan import (
    ProcessingError,
    QueryLimits,
    QueryPlan,
    QueryResult,
    TargetResults,
    gather_pair,
    gather_plans,
    guard_plan,
    query_in_chunks,
    split_into_chunks,
    store_result,
)
from autocanary.prometheus.revision_labels import RevisionTarget
from autocanary.prometheus.scrape_windows import ScrapeWindows
from autocanary.prometheus.sources import exporter_variants

__all__ = ["QueryLimits", "query_measurements"]


Row = TypeVar("Row")

_NOTHING_DISCOVERED = DiscoveredExporters()
_NO_TRAFFIC = TrafficCounts()
_NO_VALUES: TargetResults[float] = TargetResults()


class _TrafficGroup(NamedTuple):
    variant: ExporterVariant
    window: float


class _PresetGroup(NamedTuple):
    variant: ExporterVariant
    window: float
    metric: str
    quantile: float


@dataclass(slots=True)
class _PendingMeasurement:
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


@dataclass(frozen=True, slots=True)
class _RoundResults:
    """Everything Prometheus said in one round."""

    traffic: dict[_TrafficGroup, TargetResults[TrafficCounts]]
    preset_results: dict[_PresetGroup, TargetResults[float]]
    custom: dict[None, Mapping[str, QueryResult]]
    custom_ages: dict[None, Mapping[str, float]]


def query_measurements(
    metric_queries: Sequence[MetricQuery],
    discovery: ExporterDiscovery,
    custom: CustomQueries,
    limits: QueryLimits,
    store: CounterStore[RevisionKey],
    windows: ScrapeWindows,
) -> QueryPlan[Mapping[MetricQuery, Measurement]]:
    """Exactly one measurement for every query."""
    measurements: dict[MetricQuery, Measurement | None] = dict.fromkeys(metric_queries)
    all_pending = []
    of_revisions: dict[tuple[str, str, str, Source], tuple[tuple[DiscoveryKey, ...], tuple[RevisionTarget, ...]]] = {}
    for metric_query in measurements:
        why = _never_supported_reason(metric_query.source, metric_query.metric, own_query=bool(metric_query.query))
        if why:
            measurements[metric_query] = unsupported_measurement(metric_query, why)
            continue
        revisions = metric_query.namespace, metric_query.revision, metric_query.stable, metric_query.source
        if (known := of_revisions.get(revisions)) is None:
            known = of_revisions[revisions] = discovery_keys_of(metric_query), revision_targets(metric_query)
        all_pending.append(_PendingMeasurement(metric_query, windows.widened(metric_query), *known))
    if all_pending:
        yield from _select_variants(all_pending, discovery)
        yield from _query_all(all_pending, custom, limits, store)
        _report_series(all_pending, discovery)
        again = yield from _changed_variants(all_pending, discovery)
        if again := [*again, *_widened(all_pending, windows)]:
            yield from _query_all(list({id(each): each for each in again}.values()), custom, limits, store)
        for pending in all_pending:
            measurements[pending.asked] = _guarded_measurement(pending)
    return {metric_query: measurement for metric_query, measurement in measurements.items() if measurement is not None}


@cache
def _never_supported_reason(source: Source, metric: str, *, own_query: bool) -> str:
    """Why no variant of the source can ever answer the query; empty when one may."""
    if own_query:
        return ""
    reasons = [variant.exporter.unsupported_reason(metric) for variant in exporter_variants(source)]
    return reasons[0] if all(reasons) else ""


def _select_variants(all_pending: Sequence[_PendingMeasurement], discovery: ExporterDiscovery) -> QueryPlan[None]:
    """The variants that measure each query's revisions."""
    found = yield from discovery.resolve(key for pending in all_pending for key in pending.discovery_keys)
    for pending in all_pending:
        own, *others = (found[key] for key in pending.discovery_keys)
        stable = others[0] if others else None
        metric_query = pending.metric_query
        pending.found = own
        if stable is not None and not own.ever_had_series:  # no request has reached the candidate yet
            pending.found = replace(own, variants=stable.variants or own.variants)
        if stable is not None and stable.ever_had_series:
            pending.found = replace(pending.found, ever_had_series=True)
        pending.variant = pending.found.preferred(metric_query.metric, stable)
        pending.stable_variant = pending.variant
        if stable is not None and stable.variants and pending.variant not in stable.variants:
            pending.stable_variant = stable.preferred(metric_query.metric)
        if pending.variant is None:
            continue
        pending.variant = with_cancelled(pending.variant, metric_query.cancelled)
        if pending.stable_variant is not None:
            pending.stable_variant = with_cancelled(pending.stable_variant, metric_query.cancelled)
        if metric_query.query:
            continue
        pending.unsupported_reason = pending.variant.exporter.unsupported_reason(metric_query.metric)
        if metric_query.counters and not pending.unsupported_reason:
            pending.families = _counter_families(pending, pending.variant, pending.stable_variant or pending.variant)


def _changed_variants(
    all_pending: Sequence[_PendingMeasurement], discovery: ExporterDiscovery
) -> QueryPlan[list[_PendingMeasurement]]:
    """The queries to be made again: their histogram has no series, as it is stored in another form."""
    missing = [
        pending for pending in all_pending if any(_misses_histogram(pending, target) for target in pending.targets)
    ]
    before = [(pending.variant, pending.stable_variant) for pending in missing]
    if missing:
        yield from _select_variants(missing, discovery)
    return [
        pending
        for pending, variants in zip(missing, before, strict=True)
        if (pending.variant, pending.stable_variant) != variants
    ]


def _widened(all_pending: Iterable[_PendingMeasurement], windows: ScrapeWindows) -> list[_PendingMeasurement]:
    """The queries to be made again, because the scrapes are too far apart for their window."""
    found = []
    for pending in all_pending:
        if pending.traffic is None:
            continue
        wider = windows.learn(pending.metric_query, _scrape_interval(pending.traffic.rows, pending.targets))
        if wider is not None:
            pending.metric_query = wider
            found.append(pending)
    return found


def _counter_families(
    pending: _PendingMeasurement, own: ExporterVariant, stable: ExporterVariant
) -> tuple[CounterFamily, ...] | str:
    """The counters of the candidate and of stable, or why they cannot be compared."""
    metric = pending.metric_query.metric
    family, stable_family = counter_family(own, metric), counter_family(stable, metric)
    if isinstance(family, str):
        return family
    if own.source is not stable.source:
        revisions = pending.metric_query.revision, pending.metric_query.stable
        measured = f"{revisions[0]} is measured by {own.source.value}, {revisions[1]} by {stable.source.value}"
        if isinstance(stable_family, str):
            return f"{measured}: {stable_family}"
        if family.latency:
            return f"{measured}: they time different parts of a request, so latencies are not compared"
    return stable_family if isinstance(stable_family, str) else (family, stable_family)


def _query_all(
    all_pending: Sequence[_PendingMeasurement],
    custom: CustomQueries,
    limits: QueryLimits,
    store: CounterStore[RevisionKey],
) -> QueryPlan[None]:
    """Everything that is asked of the server for these queries, once."""
    traffic: dict[_TrafficGroup, tuple[list[_PendingMeasurement], dict[RevisionTarget, None]]] = {}
    preset_results: dict[_PresetGroup, tuple[list[_PendingMeasurement], dict[RevisionTarget, None]]] = {}
    families: dict[CounterFamily, dict[RevisionTarget, None]] = {}
    for pending in all_pending:
        if pending.variant is None or pending.unsupported_reason:
            continue
        group = _TrafficGroup(pending.variant, pending.metric_query.window)
        members, targets = traffic.setdefault(group, ([], {}))
        members.append(pending)
        targets.update(dict.fromkeys(pending.targets))
        if (preset_group := _preset_group(pending.metric_query, pending.variant)) is not None:
            members, targets = preset_results.setdefault(preset_group, ([], {}))
            members.append(pending)
            targets[pending.targets[0]] = None
        if isinstance(pending.families, tuple):
            for family, target in zip(pending.families, pending.targets, strict=False):
                families.setdefault(family, {})[target] = None
    asked = (pending.metric_query for pending in all_pending)
    own_queries = {metric_query.query: metric_query.query_type for metric_query in asked if metric_query.query}
    results = _RoundResults({}, {}, {}, {})
    presets = gather_plans(
        [
            *(
                store_result(results.traffic, group, _guarded(_traffic_plan(group, targets, limits), targets))
                for group, (_, targets) in traffic.items()
            ),
            *(
                store_result(
                    results.preset_results, preset_group, _guarded(_preset_plan(preset_group, targets, limits), targets)
                )
                for preset_group, (_, targets) in preset_results.items()
            ),
            store_result(
                results.custom,
                None,
                guard_plan(custom.query_all(own_queries), lambda error: dict.fromkeys(own_queries, error)),
            ),
            store_result(results.custom_ages, None, guard_plan(custom.query_ages(own_queries), lambda _: {})),
        ]
    )
    _, collected = yield from gather_pair(presets, collect_counters(store, families, limits))
    for group, (members, _) in traffic.items():
        for pending in members:
            pending.traffic = results.traffic[group]
    for preset_group, (members, _) in preset_results.items():
        for pending in members:
            pending.preset_value = results.preset_results[preset_group]
    for pending in all_pending:
        pending.collected = collected
        pending.custom_result = results.custom[None].get(pending.metric_query.query)
        pending.custom_age = results.custom_ages[None].get(pending.metric_query.query)


def _guarded(plan: QueryPlan[TargetResults[Row]], targets: Iterable[RevisionTarget]) -> QueryPlan[TargetResults[Row]]:
    return guard_plan(plan, lambda error: TargetResults(errors=dict.fromkeys(targets, error)))


def _preset_group(metric_query: MetricQuery, variant: ExporterVariant) -> _PresetGroup | None:
    if metric_query.query or metric_query.metric in RATES or metric_query.metric == "request-count":
        return None
    quantile = DEFAULT_QUANTILE if metric_query.quantile is None else metric_query.quantile
    return _PresetGroup(variant, metric_query.window, metric_query.metric, quantile)


def _traffic_plan(
    group: _TrafficGroup, targets: Iterable[RevisionTarget], limits: QueryLimits
) -> QueryPlan[TargetResults[TrafficCounts]]:
    def build(chunk: Sequence[RevisionTarget]) -> str:
        return traffic_query(group.variant, group.window, chunk)

    chunks = split_into_chunks(sorted(targets), build, max_targets=limits.revisions, max_query_bytes=limits.query_bytes)
    return (
        yield from query_in_chunks(chunks, build, lambda chunk, response: traffic_rows(group.variant, chunk, response))
    )


def _preset_plan(
    group: _PresetGroup, targets: Iterable[RevisionTarget], limits: QueryLimits
) -> QueryPlan[TargetResults[float]]:
    def build(chunk: Sequence[RevisionTarget]) -> str:
        return preset_query(group.variant, group.metric, group.quantile, group.window, chunk)

    chunks = split_into_chunks(sorted(targets), build, max_targets=limits.revisions, max_query_bytes=limits.query_bytes)
    return (
        yield from query_in_chunks(chunks, build, lambda chunk, response: preset_rows(group.variant, chunk, response))
    )


def _report_series(all_pending: Iterable[_PendingMeasurement], discovery: ExporterDiscovery) -> None:
    """Report to the discovery which revisions had series; those whose query failed are left out."""
    found: dict[DiscoveryKey, tuple[bool, bool, bool]] = {}
    for pending in all_pending:
        traffic = pending.traffic
        if traffic is None:
            continue
        both_alike = pending.variant is pending.stable_variant
        for key, target in zip(pending.discovery_keys, pending.targets, strict=True):
            if target in traffic.errors:
                continue
            if target is not pending.targets[0] and not (both_alike and target in traffic.rows):
                continue  # a stable revision without traffic is no news
            series, complete, histogram = found.get(key, (False, True, True))
            histogram = histogram and not _misses_histogram(pending, target)
            found[key] = series or target in traffic.rows, complete and both_alike, histogram
    for key, (series, complete, histogram) in found.items():
        discovery.series_found(key, series=series, complete=complete, histogram=histogram)


def _misses_histogram(pending: _PendingMeasurement, target: RevisionTarget) -> bool:
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


def _guarded_measurement(pending: _PendingMeasurement) -> Measurement:
    try:
        return _measurement_with_counters(pending)
    except Exception as error:  # noqa: BLE001 - one measurement's defect must not fail the round
        return failed_measurement(pending.metric_query, ProcessingError(error))


def _measurement_with_counters(pending: _PendingMeasurement) -> Measurement:
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


def _measurement(pending: _PendingMeasurement) -> Measurement:
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
        scrape_interval=_scrape_interval(traffic.rows, pending.targets),
    )


@cache
def _name_of(variant: ExporterVariant) -> str:
    return str(variant)


def _preset_measurement(
    pending: _PendingMeasurement, variant: ExporterVariant, traffic: TargetResults[TrafficCounts]
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
            scrape_interval=_scrape_interval(traffic.rows, pending.targets),
        ),
    )


def _scrape_interval(rows: Mapping[RevisionTarget, TrafficCounts], targets: Iterable[RevisionTarget]) -> float | None:
    """The candidate's, else stable's: one scrape configuration reads both."""
    known = (rows[target].scrape_interval for target in targets if target in rows)
    return next((interval for interval in known if interval is not None), None)


def _requests(pending: _PendingMeasurement) -> float | None:
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
