"""Which exporter measures each revision of a metric query, and why none can."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

from autocanary.model.measurement import Source
from autocanary.prometheus.counter_queries import CounterFamily, counter_family
from autocanary.prometheus.exporter_discovery import ExporterDiscovery
from autocanary.prometheus.exporters import ExporterVariant, with_cancelled
from autocanary.prometheus.pending_measurement import PendingMeasurement, misses_histogram
from autocanary.prometheus.query_plan import QueryPlan
from autocanary.prometheus.sources import exporter_variants

__all__ = ["changed_variants", "never_supported_reason", "select_variants"]


@cache
def never_supported_reason(source: Source, metric: str, *, own_query: bool) -> str:
    """Why no variant of the source can ever answer the query; empty when one may."""
    if own_query:
        return ""
    reasons = [variant.exporter.unsupported_reason(metric) for variant in exporter_variants(source)]
    return reasons[0] if all(reasons) else ""


def select_variants(all_pending: Sequence[PendingMeasurement], discovery: ExporterDiscovery) -> QueryPlan[None]:
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


def changed_variants(
    all_pending: Sequence[PendingMeasurement], discovery: ExporterDiscovery
) -> QueryPlan[list[PendingMeasurement]]:
    """The queries to be made again: their histogram has no series, as it is stored in another form."""
    missing = [
        pending for pending in all_pending if any(misses_histogram(pending, target) for target in pending.targets)
    ]
    before = [(pending.variant, pending.stable_variant) for pending in missing]
    if missing:
        yield from select_variants(missing, discovery)
    return [
        pending
        for pending, variants in zip(missing, before, strict=True)
        if (pending.variant, pending.stable_variant) != variants
    ]


def _counter_families(
    pending: PendingMeasurement, own: ExporterVariant, stable: ExporterVariant
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
