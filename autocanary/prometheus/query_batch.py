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
from typing import NamedTuple, TypeVar

from autocanary.model.measurement import Measurement, MetricQuery, Source
from autocanary.model.policy import DEFAULT_QUANTILE
from autocanary.prometheus.counter_account import CounterStore
from autocanary.prometheus.counter_collection import RevisionKey, collect_counters
from autocanary.prometheus.counter_queries import CounterFamily
from autocanary.prometheus.custom_queries import CustomQueries
from autocanary.prometheus.exporter_discovery import (
    DiscoveryKey,
    ExporterDiscovery,
    discovery_keys_of,
    revision_targets,
)
from autocanary.prometheus.exporter_selection import changed_variants, never_supported_reason, select_variants
from autocanary.prometheus.exporters import RATES, ExporterVariant
from autocanary.prometheus.measurements import unsupported_measurement
from autocanary.prometheus.pending_measurement import (
    PendingMeasurement,
    guarded_measurement,
    misses_histogram,
    scrape_interval_of,
)
from autocanary.prometheus.preset_queries import TrafficCounts, preset_query, preset_rows, traffic_query, traffic_rows
from autocanary.prometheus.query_plan import (
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

__all__ = ["QueryLimits", "query_measurements"]


Row = TypeVar("Row")


class _TrafficGroup(NamedTuple):
    variant: ExporterVariant
    window: float


class _PresetGroup(NamedTuple):
    variant: ExporterVariant
    window: float
    metric: str
    quantile: float


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
        why = never_supported_reason(metric_query.source, metric_query.metric, own_query=bool(metric_query.query))
        if why:
            measurements[metric_query] = unsupported_measurement(metric_query, why)
            continue
        revisions = metric_query.namespace, metric_query.revision, metric_query.stable, metric_query.source
        if (known := of_revisions.get(revisions)) is None:
            known = of_revisions[revisions] = discovery_keys_of(metric_query), revision_targets(metric_query)
        all_pending.append(PendingMeasurement(metric_query, windows.widened(metric_query), *known))
    if all_pending:
        yield from select_variants(all_pending, discovery)
        yield from _query_all(all_pending, custom, limits, store)
        _report_series(all_pending, discovery)
        again = yield from changed_variants(all_pending, discovery)
        if again := [*again, *_widened(all_pending, windows)]:
            yield from _query_all(list({id(each): each for each in again}.values()), custom, limits, store)
        for pending in all_pending:
            measurements[pending.asked] = guarded_measurement(pending)
    return {metric_query: measurement for metric_query, measurement in measurements.items() if measurement is not None}


def _widened(all_pending: Iterable[PendingMeasurement], windows: ScrapeWindows) -> list[PendingMeasurement]:
    """The queries to be made again, because the scrapes are too far apart for their window."""
    found = []
    for pending in all_pending:
        if pending.traffic is None:
            continue
        wider = windows.learn(pending.metric_query, scrape_interval_of(pending.traffic.rows, pending.targets))
        if wider is not None:
            pending.metric_query = wider
            found.append(pending)
    return found


def _query_all(
    all_pending: Sequence[PendingMeasurement],
    custom: CustomQueries,
    limits: QueryLimits,
    store: CounterStore[RevisionKey],
) -> QueryPlan[None]:
    """Everything that is asked of the server for these queries, once."""
    traffic: dict[_TrafficGroup, tuple[list[PendingMeasurement], dict[RevisionTarget, None]]] = {}
    preset_results: dict[_PresetGroup, tuple[list[PendingMeasurement], dict[RevisionTarget, None]]] = {}
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


def _report_series(all_pending: Iterable[PendingMeasurement], discovery: ExporterDiscovery) -> None:
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
            histogram = histogram and not misses_histogram(pending, target)
            found[key] = series or target in traffic.rows, complete and both_alike, histogram
    for key, (series, complete, histogram) in found.items():
        discovery.series_found(key, series=series, complete=complete, histogram=histogram)
