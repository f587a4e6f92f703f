"""Which exporters have data for a revision: probed once, remembered, probed again when in doubt.

A release may change the model server, so each revision has exporters of its own. Probes go out grouped by
label scheme, for all revisions in doubt together. They also find out whether histograms are stored as native
ones alone. They are repeated at most every 30 seconds: while nothing
is found, while a probe fails, when a revision has gone silent, and while a candidate lacks the exporter that
stable is measured by (queue-proxy has no series before its first request).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from functools import cache
from typing import NamedTuple

from autocanary.errors import MetricsError, MetricsUnreachable
from autocanary.model.measurement import MetricQuery, Source
from autocanary.prometheus.exporters import ExporterVariant, native_form
from autocanary.prometheus.preset_queries import probe_query, probe_rows, probed_name
from autocanary.prometheus.query_plan import (
    QueryPlan,
    TargetResults,
    gather_plans,
    query_in_chunks,
    split_into_chunks,
)
from autocanary.prometheus.revision_labels import RevisionLabels, RevisionTarget
from autocanary.prometheus.sources import exporter_variants

__all__ = [
    "DiscoveredExporters",
    "DiscoveryKey",
    "ExporterDiscovery",
    "discovery_keys_of",
    "revision_targets",
    "search_hint",
]

_PROBE_INTERVAL = 30.0
_EXPIRE_AFTER = 3600.0


class DiscoveryKey(NamedTuple):
    """What is discovered: the variants of a source (or of any, AUTO) that have series of a revision."""

    target: RevisionTarget
    source: Source


@dataclass(frozen=True, slots=True)
class DiscoveredExporters:
    """``variants``, the preferred one first, are empty while nothing is found.

    ``ever_had_series`` is whether the revision ever had series; ``error`` and ``warning`` say why nothing can
    be concluded from what the latest probes did not find.
    """

    variants: tuple[ExporterVariant, ...] = ()
    ever_had_series: bool = False
    error: MetricsError | None = None
    warning: str = ""

    @property
    def conclusive(self) -> bool:
        return bool(self.variants) and self.error is None and not self.warning

    def preferred(self, metric: str, stable: DiscoveredExporters | None = None) -> ExporterVariant | None:
        """The first variant that can give the metric, else the first that says why it cannot.

        Variants that measure ``stable`` as well come first, so that both revisions are measured alike.
        """
        common = frozenset(stable.variants) if stable is not None else frozenset()
        return min(
            self.variants,
            key=lambda variant: (bool(variant.exporter.unsupported_reason(metric)), variant not in common),
            default=None,
        )


@dataclass(slots=True)
class _DiscoveryState:
    found: DiscoveredExporters = field(default_factory=DiscoveredExporters)
    probed_at: float | None = None
    recheck_due: bool = False
    histogram_missing: bool = False
    last_used_at: float = 0.0


def discovery_keys_of(metric_query: MetricQuery) -> tuple[DiscoveryKey, ...]:
    """The revision's key, and the stable revision's."""
    return tuple(DiscoveryKey(target, metric_query.source) for target in revision_targets(metric_query))


def revision_targets(metric_query: MetricQuery) -> tuple[RevisionTarget, ...]:
    """The revision, and the stable one: it distinguishes a silent canary from a missing source."""
    own = RevisionTarget(metric_query.namespace, metric_query.revision)
    if metric_query.stable in ("", metric_query.revision):
        return (own,)
    return own, RevisionTarget(metric_query.namespace, metric_query.stable)


@cache
def search_hint(source: Source) -> str:
    """What you can search for in Prometheus when nothing was found."""
    by_exporter: dict[str, list[str]] = {}
    for variant in exporter_variants(source):
        by_exporter.setdefault(str(variant.exporter), []).append(
            "{" + ",".join(variant.revision_labels.required_labels) + "}"
        )
    return "; ".join(f"{exporter} with {' or '.join(forms)}" for exporter, forms in by_exporter.items())


class ExporterDiscovery:
    """Thread-safe memory of what was found; ``resolve`` is a plan and does no I/O itself."""

    def __init__(self, now: Callable[[], float], *, max_targets: int, max_query_bytes: int) -> None:
        self._now = now
        self._max_targets = max_targets
        self._max_query_bytes = max_query_bytes
        self._states: dict[DiscoveryKey, _DiscoveryState] = {}
        self._lock = threading.Lock()

    def resolve(self, asked: Iterable[DiscoveryKey]) -> QueryPlan[Mapping[DiscoveryKey, DiscoveredExporters]]:
        """What is known of every revision, after probing for those where that is due."""
        keys = tuple(dict.fromkeys(asked))
        due = self._due(keys)
        outcomes = (yield from self._probe(due)) if due else {}
        return self._update_states(keys, outcomes)

    def limit_query_bytes(self, query_bytes: int) -> None:
        """No probe is longer from now on."""
        self._max_query_bytes = min(self._max_query_bytes, query_bytes)

    def series_found(
        self, discovery_key: DiscoveryKey, *, series: bool, complete: bool = True, histogram: bool = True
    ) -> None:
        """Whether the latest round found any series; not ``complete``: another exporter is still expected.

        ``histogram`` False: requests are counted and their histogram has no series, perhaps because it is stored
        in the other form, classic or native.
        """
        with self._lock:
            state = self._states.get(discovery_key)
            if state is not None:
                state.histogram_missing = not histogram
                state.recheck_due = not series or not complete or not histogram
                if series and not state.found.ever_had_series:
                    state.found = replace(state.found, ever_had_series=True)

    def _due(self, asked: Iterable[DiscoveryKey]) -> list[DiscoveryKey]:
        with self._lock:
            now = self._now()
            self._states = {
                discovery_key: state
                for discovery_key, state in self._states.items()
                if now - state.last_used_at < _EXPIRE_AFTER
            }
            due = []
            for discovery_key in asked:
                state = self._states.setdefault(discovery_key, _DiscoveryState())
                state.last_used_at = now
                conclusive = exporter_variants(discovery_key.source)
                if len(conclusive) == 1 and not state.found.variants:
                    state.found = replace(state.found, variants=conclusive)
                if state.found.variants == conclusive and len(conclusive) == 1 and not state.histogram_missing:
                    continue  # nothing to find out
                has_decided = state.found.conclusive and not state.recheck_due
                interval_passed = state.probed_at is None or now - state.probed_at >= _PROBE_INTERVAL
                if interval_passed and not has_decided:
                    due.append(discovery_key)
            return due

    def _probe(self, due: Sequence[DiscoveryKey]) -> QueryPlan[Mapping[DiscoveryKey, DiscoveredExporters]]:
        probes = [
            _SeriesProbe(labels, {matchers: tuple(names) for matchers, names in metrics.items()}, tuple(targets))
            for labels, (metrics, targets) in _group_by_labels(due)
        ]
        gathered = yield from gather_plans([probe.plan(self._max_targets, self._max_query_bytes) for probe in probes])
        return {discovery_key: _discovered(discovery_key, probes, gathered) for discovery_key in due}

    def _update_states(
        self, asked: Iterable[DiscoveryKey], outcomes: Mapping[DiscoveryKey, DiscoveredExporters]
    ) -> Mapping[DiscoveryKey, DiscoveredExporters]:
        with self._lock:
            now = self._now()
            result: dict[DiscoveryKey, DiscoveredExporters] = {}
            for discovery_key in asked:
                state = self._states.setdefault(discovery_key, _DiscoveryState(last_used_at=now))
                outcome = outcomes.get(discovery_key)
                if outcome is not None:
                    state.probed_at = now
                    # What was known is better than nothing found now: the revision may be scaled to zero.
                    known = outcome if outcome.variants else state.found
                    state.found = replace(known, error=outcome.error, warning=outcome.warning)
                result[discovery_key] = state.found
            return result


@dataclass(frozen=True, slots=True)
class _SeriesProbe:
    """Metrics (by further matchers) that may carry one label scheme, and the revisions that they are probed for."""

    revision_labels: RevisionLabels
    metrics: Mapping[str, tuple[str, ...]]
    targets: tuple[RevisionTarget, ...]

    def plan(self, max_targets: int, max_query_bytes: int) -> QueryPlan[TargetResults[set[str]]]:
        def build(targets: Sequence[RevisionTarget]) -> str:
            return probe_query(self.revision_labels, self.metrics, targets)

        chunks = split_into_chunks(self.targets, build, max_targets=max_targets, max_query_bytes=max_query_bytes)
        return query_in_chunks(
            chunks,
            build,
            lambda targets, response: _per_target(probe_rows(self.revision_labels, targets, response)),
        )


def _per_target(pairs: Iterable[tuple[str, RevisionTarget]]) -> Mapping[RevisionTarget, set[str]]:
    found: dict[RevisionTarget, set[str]] = {}
    for metric, target in pairs:
        found.setdefault(target, set()).add(metric)
    return found


def _group_by_labels(
    due: Iterable[DiscoveryKey],
) -> Iterable[tuple[RevisionLabels, tuple[dict[str, dict[str, None]], dict[RevisionTarget, None]]]]:
    """Per label scheme: every metric (by further matchers) and every revision that is probed for."""
    forms: dict[RevisionLabels, tuple[dict[str, dict[str, None]], dict[RevisionTarget, None]]] = {}
    for discovery_key in due:
        for variant in exporter_variants(discovery_key.source):
            metrics, targets = forms.setdefault(variant.revision_labels, ({}, {}))
            metrics.setdefault(variant.exporter.matchers, {}).update(dict.fromkeys(_probed_metrics(variant)))
            targets[discovery_key.target] = None
    return forms.items()


def _probed_metrics(variant: ExporterVariant) -> Iterable[str]:
    yield from (counted.metric for counted in variant.counted)
    if variant.histogram is not None:
        yield f"{variant.histogram.metric}_count"
        yield variant.histogram.metric


def _as_stored(variant: ExporterVariant, found: Set[str]) -> ExporterVariant | None:
    """The variant as this Prometheus stores it; None when it has no series. A classic histogram is preferred."""

    def has_series(metric: str) -> bool:
        return probed_name(metric, variant.exporter.matchers) in found

    histogram, stored = variant.histogram, variant
    if histogram is not None and has_series(histogram.metric) and not has_series(f"{histogram.metric}_count"):
        stored = native_form(variant)
    return stored if any(has_series(counted.metric) for counted in stored.counted) else None


def _discovered(
    discovery_key: DiscoveryKey,
    probes: Sequence[_SeriesProbe],
    gathered: Sequence[TargetResults[set[str]]],
) -> DiscoveredExporters:
    variants = []
    error: MetricsError | None = None
    warning = ""
    target = discovery_key.target
    by_form = {probe.revision_labels: got for probe, got in zip(probes, gathered, strict=True)}
    for variant in exporter_variants(discovery_key.source):
        got = by_form[variant.revision_labels]
        if (stored := _as_stored(variant, got.rows.get(target, set()))) is not None:
            variants.append(stored)
        failure = got.errors.get(target)
        if isinstance(failure, MetricsUnreachable):  # a label scheme that is refused has no data for us
            error = failure
        warning = warning or got.warnings.get(target, "")
    return DiscoveredExporters(tuple(variants), bool(variants), error, warning)
