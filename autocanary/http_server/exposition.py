"""``/metrics``: every series is made from the present state, at the moment of the scrape.

Nothing is remembered per rollout, so a rollout that has ended, or whose service is gone, leaves no series
behind. A standby exports no rollouts: both replicas would otherwise show each of them.

The only module that knows prometheus_client. It uses a registry of its own, because the global one also holds
what any library puts into it. The answer is always the text format 0.0.4, which every Prometheus reads.
"""

from __future__ import annotations

import math
import platform
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

from autocanary import __version__
from autocanary.decide.guarded_services import GuardedService
from autocanary.http_server import rollout_series
from autocanary.http_server.counters import BUCKETS, ControllerMetrics, HistogramCounts
from autocanary.http_server.metric_table import METRIC_SPECS, MetricSpec
from autocanary.model.policy import Policy, Range
from autocanary.model.rollout import Rollout

__all__ = ["CONTENT_TYPE", "Exposition", "PolicyCount", "ScrapeSources", "WatchState"]

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
_MAX_CACHED_POLICIES = 1000
_MAX_GUARDED = 1000
_Sample = tuple[tuple[str, ...], float]


@dataclass(frozen=True, slots=True)
class PolicyCount:
    """How many policies are loaded."""

    valid: int
    invalid: int


@dataclass(frozen=True, slots=True)
class WatchState:
    """One kind of objects: whether its cache is whole, and how many of its objects cannot be read."""

    kind: str
    healthy: bool
    skipped: int


@dataclass(frozen=True, slots=True)
class ScrapeSources:
    """What a scrape reads; each callable answers at once, from memory, in any thread.

    ``policy_of`` gives the policy that a rollout follows, None when it cannot be read; it is asked once per
    ``policy_digest``.
    """

    rollouts: Callable[[], Sequence[Rollout]]
    policy_of: Callable[[Rollout], Policy | None]
    is_leader: Callable[[], bool]
    policies: Callable[[], PolicyCount]
    watches: Callable[[], Sequence[WatchState]] = tuple
    overdue: Callable[[], int] = lambda: 0
    guarded_without_policy: Callable[[], Sequence[GuardedService]] = tuple


class Exposition:
    """The text of ``/metrics``; may be rendered by several threads at once."""

    def __init__(self, sources: ScrapeSources, counters: ControllerMetrics) -> None:
        self._sources = sources
        self._ranges: OrderedDict[tuple[str, int], Mapping[str, Range]] = OrderedDict()
        self._registry = CollectorRegistry()
        self._registry.register(_Collector(sources, counters))

    def render(self) -> bytes:
        running: list[Rollout] = []
        if self._sources.is_leader():
            running = [each for each in self._sources.rollouts() if not each.is_final]
        self._cache_ranges(running)
        return rollout_series.render_rollouts(running, self._ranges_of).encode() + generate_latest(self._registry)

    def _cache_ranges(self, running: Iterable[Rollout]) -> None:
        """Keep the limits of the policies in use, and no more: restoring a policy is not free."""
        for each in running:
            if _ranges_key(each) not in self._ranges:
                policy = self._sources.policy_of(each)
                metrics = policy.analysis_at(each.progress.step.index).metrics if policy else ()
                self._ranges[_ranges_key(each)] = {metric.name: metric.range for metric in metrics}
        while len(self._ranges) > _MAX_CACHED_POLICIES:
            self._ranges.popitem(last=False)

    def _ranges_of(self, rollout: Rollout) -> Mapping[str, Range]:
        return self._ranges.get(_ranges_key(rollout), {})


def _ranges_key(rollout: Rollout) -> tuple[str, int]:
    """The policy, and the step at which the present analysis was stated: from there on the limits are the same."""
    return rollout.policy_digest, rollout.progress.analysis.from_step


class _Collector(Collector):
    """Everything that is not about one rollout."""

    def __init__(self, sources: ScrapeSources, counters: ControllerMetrics) -> None:
        self._sources, self._counters = sources, counters

    def describe(self) -> Iterable[Metric]:
        """Nothing: registering must not read the state, which may not be there yet."""
        return ()

    def collect(self) -> Iterator[Metric]:
        snapshot, gauges = self._counters.snapshot(), self._gauges()
        for each in METRIC_SPECS:
            if each.name in rollout_series.ROLLOUT_METRIC_NAMES:
                continue
            if each.kind == "counter":
                yield _counter(each, snapshot.counts[each.name].items())
            elif each.kind == "histogram":
                yield _histogram(each, snapshot.distributions[each.name])
            else:
                yield _gauge(each, gauges[each.name])

    def _gauges(self) -> Mapping[str, Iterable[_Sample]]:
        policies, watches = self._sources.policies(), self._sources.watches()
        return {
            "autocanary_watch_healthy": [((each.kind,), float(each.healthy)) for each in watches],
            "autocanary_objects_skipped": [((each.kind,), float(each.skipped)) for each in watches],
            "autocanary_rollouts_overdue": [((), float(self._sources.overdue()))],
            "autocanary_guarded_service_without_policy": self._guarded(),
            "autocanary_leader": [((), float(self._sources.is_leader()))],
            "autocanary_policies": [
                (("true",), float(policies.valid)),
                (("false",), float(policies.invalid)),
            ],
            "autocanary_build_info": [((__version__, platform.python_version()), 1.0)],
        }

    def _guarded(self) -> Iterator[_Sample]:
        """Those that wait come first: of many, they are the ones to know."""
        found = self._sources.guarded_without_policy() if self._sources.is_leader() else ()
        for each in sorted(found, key=lambda each: not each.waits)[:_MAX_GUARDED]:
            yield (each.key.namespace, each.key.name, each.key.component.value), float(each.waits)


def _gauge(spec: MetricSpec, samples: Iterable[_Sample]) -> Metric:
    family = GaugeMetricFamily(spec.name, spec.help, labels=spec.labels)
    for labels, value in samples:
        family.add_metric(labels, value)
    return family


def _counter(spec: MetricSpec, samples: Iterable[tuple[tuple[str, ...], int]]) -> Metric:
    family = CounterMetricFamily(spec.name, spec.help, labels=spec.labels)
    for labels, value in samples:
        family.add_metric(labels, value)
    return family


def _histogram(spec: MetricSpec, histogram: HistogramCounts) -> Metric:
    cumulative, buckets = 0, []
    for bound, count in zip((*BUCKETS, math.inf), histogram.counts, strict=True):
        cumulative += count
        buckets.append(("+Inf" if bound == math.inf else str(bound), float(cumulative)))
    family = HistogramMetricFamily(spec.name, spec.help)
    family.add_metric([], buckets=buckets, sum_value=histogram.total)
    return family
