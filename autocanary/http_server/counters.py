"""What only grows: counts and histograms, kept by name and label values behind one lock.

prometheus_client has such objects too, but they register themselves and keep their own series for ever;
here the one collector of ``metrics`` reads a consistent copy.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field

from autocanary.model.progress import Phase
from autocanary.model.reason import Reason
from autocanary.model.rollout import Rollout

__all__ = ["BUCKETS", "FINAL_REASONS", "MAIN_SERVER", "ControllerMetrics", "HistogramCounts", "MetricsSnapshot"]

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds in seconds; a tick is meant to take well below its interval of 1 s."""

FINAL_REASONS: Mapping[Phase, tuple[Reason, ...]] = {
    Phase.PROMOTED: (Reason.PROMOTED, Reason.PROMOTED_BY_USER),
    Phase.ROLLED_BACK: (
        Reason.METRIC_VIOLATION,
        Reason.WORSE_THAN_STABLE,
        Reason.TRAFFIC_MISSING,
        Reason.INCONCLUSIVE,
        Reason.NO_DATA_DEADLINE,
        Reason.OUTAGE_DEADLINE,
        Reason.PROGRESS_DEADLINE_EXCEEDED,
        Reason.REVISION_FAILED,
        Reason.ROLLBACK_WEBHOOK,
        Reason.ABORTED_BY_USER,
        Reason.KNOWN_BAD,
        Reason.WRONG_STABLE,
        Reason.ROLLBACK_UNRECORDED,
        Reason.SERVICE_REPLACED,
    ),
    Phase.SUPERSEDED: (Reason.NEW_REVISION, Reason.REVERTED, Reason.STABLE_CHANGED),
    Phase.ABANDONED: (Reason.SERVICE_DELETED, Reason.SERVICE_STOPPED, Reason.SERVICE_REPLACED),
    Phase.MISSED: (Reason.MISSED_UNSTAGED,),
}
"""How rollouts end; each is exported as 0 from the start, because increase() does not see a series' birth."""

MAIN_SERVER = "main"
"""The Prometheus that policies need not name."""
_QUERY_OUTCOMES = ("ok", "partial", "refused", "unreachable")
_WEB_OUTCOMES = ("ok", "unknown", "unreadable", "refused", "unreachable")
_OF_SERVICES = "autocanary_service_rollouts_finished_total"
_MAX_SERVICES = 1000
_OTHER_SERVICES = ("", "")
_NOTIFICATION_OUTCOMES = ("delivered", "failed", "dropped")


@dataclass(frozen=True, slots=True)
class HistogramCounts:
    """Observations per bucket (not cumulated; the last is above all bounds) and their sum."""

    counts: tuple[int, ...] = (0,) * (len(BUCKETS) + 1)
    total: float = 0.0

    def with_observation(self, value: float) -> HistogramCounts:
        bucket = bisect_left(BUCKETS, value)
        counts = (*self.counts[:bucket], self.counts[bucket] + 1, *self.counts[bucket + 1 :])
        return HistogramCounts(counts, self.total + value)


@dataclass(frozen=True, slots=True)
class MetricsSnapshot:
    """Counts by metric name and label values, and distributions by metric name, at one moment."""

    counts: Mapping[str, Mapping[tuple[str, ...], int]] = field(default_factory=dict)
    distributions: Mapping[str, HistogramCounts] = field(default_factory=dict)


class ControllerMetrics:
    """Thread-safe; implements the Listener port. Every method is quick and raises nothing."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[str, dict[tuple[str, ...], int]] = {
            "autocanary_rollouts_finished_total": {
                (phase.value, reason.value): 0 for phase, reasons in FINAL_REASONS.items() for reason in reasons
            },
            _OF_SERVICES: {},
            "autocanary_evaluations_failed_total": {(): 0},
            "autocanary_decisions_total": {(reason.value,): 0 for reason in Reason},
            "autocanary_prometheus_queries_total": {(MAIN_SERVER, outcome): 0 for outcome in _QUERY_OUTCOMES},
            "autocanary_web_metric_requests_total": {(outcome,): 0 for outcome in _WEB_OUTCOMES},
            "autocanary_kube_requests_total": {},
            "autocanary_notifications_total": {},
        }
        self._distributions = {
            "autocanary_tick_duration_seconds": HistogramCounts(),
            "autocanary_tick_lag_seconds": HistogramCounts(),
        }

    def on_decision(self, rollout: Rollout, reason: str) -> None:
        self._labels_of_service(rollout)
        self._increment("autocanary_decisions_total", str(reason))

    def on_rollout_finished(self, rollout: Rollout) -> None:
        progress = rollout.progress
        self._increment("autocanary_rollouts_finished_total", progress.phase.value, progress.reason.value)
        self._increment(_OF_SERVICES, *self._labels_of_service(rollout), progress.phase.value)

    def _labels_of_service(self, rollout: Rollout) -> tuple[str, str]:
        """The service's labels, with all its ends at 0; those of the others, once there are as many as may be."""
        labels = (rollout.namespace, rollout.service)
        with self._lock:
            counts = self._counts[_OF_SERVICES]
            if (*labels, Phase.PROMOTED.value) in counts:
                return labels
            if len(counts) >= _MAX_SERVICES * len(FINAL_REASONS):
                labels = _OTHER_SERVICES
            for phase in FINAL_REASONS:
                counts.setdefault((*labels, phase.value), 0)
        return labels

    def on_evaluation_failed(self, rollout: Rollout) -> None:  # noqa: ARG002 - the port's signature
        self._increment("autocanary_evaluations_failed_total")

    def query(self, outcome: str, server: str = MAIN_SERVER) -> None:
        """One query to a Prometheus has ended; a server's other outcomes begin at 0 with its first."""
        with self._lock:
            counts = self._counts["autocanary_prometheus_queries_total"]
            for each in _QUERY_OUTCOMES:
                counts.setdefault((server, each), 0)
        self._increment("autocanary_prometheus_queries_total", server, outcome)

    def queries_sent(self, server: str) -> int:
        """How many queries the Prometheus of that name has answered or failed; "" is the main one."""
        with self._lock:
            counts = self._counts["autocanary_prometheus_queries_total"]
            return sum(counts.get((server or MAIN_SERVER, each), 0) for each in _QUERY_OUTCOMES)

    def count_web_metric(self, outcome: str) -> None:
        """One question to the service of a web metric has ended."""
        self._increment("autocanary_web_metric_requests_total", outcome)

    def count_kube_request(self, verb: str, code: int) -> None:
        """One request to the API server has ended; ``code`` 0: without an answer."""
        self._increment("autocanary_kube_requests_total", verb, str(code))

    def count_notification(self, channel: str, outcome: str) -> None:
        """One attempt to notify has ended; a channel's other outcomes begin at 0 with its first."""
        with self._lock:
            counts = self._counts["autocanary_notifications_total"]
            for each in _NOTIFICATION_OUTCOMES:
                counts.setdefault((channel, each), 0)
        self._increment("autocanary_notifications_total", channel, outcome)

    def tick(self, duration: float, lag: float) -> None:
        """One tick has ended; both in seconds."""
        with self._lock:
            for name, value in (
                ("autocanary_tick_duration_seconds", duration),
                ("autocanary_tick_lag_seconds", max(0.0, lag)),
            ):
                self._distributions[name] = self._distributions[name].with_observation(value)

    def snapshot(self) -> MetricsSnapshot:
        with self._lock:
            return MetricsSnapshot(
                {name: dict(counts) for name, counts in self._counts.items()}, dict(self._distributions)
            )

    def _increment(self, name: str, *labels: str) -> None:
        with self._lock:
            counts = self._counts[name]
            counts[labels] = counts.get(labels, 0) + 1
