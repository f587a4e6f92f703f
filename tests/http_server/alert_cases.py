"""For each alert: series in which it must fire, and series in which it must not.

``series`` are in promtool's notation (`1x9` is ten times 1, `0+6x9` grows by 6), a value a minute.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["CASES", "Case"]

_ITSELF = 'namespace="autocanary",job="autocanary"'
_PODS = tuple(f'{_ITSELF},instance="10.0.0.{number}:8080"' for number in (1, 2))
_ROLLOUT = 'namespace="models",service="mnist",rollout="mnist-00002"'
_OF_ROLLOUT = {"namespace": "models", "service": "mnist", "rollout": "mnist-00002"}
_OF_ITSELF = {"namespace": "autocanary", "job": "autocanary"}


@dataclass(frozen=True)
class Case:
    """At ``minute`` the alert fires with the labels, or with None it has not until then."""

    alert: str
    what: str
    series: Mapping[str, str]
    minute: int
    fires: Mapping[str, str] | None = field(default=None)

    def __str__(self) -> str:
        return f"{self.alert}: {self.what}"


def _lag(pod: str, total: str, ticks: str) -> dict[str, str]:
    name = "autocanary_tick_lag_seconds"
    return {f"{name}_sum{{{pod}}}": total, f"{name}_count{{{pod}}}": ticks}


def _queries(server: str = "main", **outcomes: str) -> dict[str, str]:
    name = f'autocanary_prometheus_queries_total{{{_PODS[0]},server="{server}",outcome='
    return {f'{name}"{outcome}"}}': values for outcome, values in outcomes.items()}


def _writes(verb: str, code: str, values: str) -> dict[str, str]:
    return {f'autocanary_kube_requests_total{{{_PODS[0]},verb="{verb}",code="{code}"}}': values}


def _phase(phase: str, reason: str, values: str) -> dict[str, str]:
    return {f'autocanary_rollout_phase{{{_ROLLOUT},phase="{phase}",reason="{reason}"}}': values}


def _notified(channel: str, **outcomes: str) -> dict[str, str]:
    name = f'autocanary_notifications_total{{{_PODS[0]},channel="{channel}",outcome='
    return {f'{name}"{outcome.replace("_", "-")}"}}': values for outcome, values in outcomes.items()}


def _by_kind(metric: str, kind: str, *values: str) -> dict[str, str]:
    return {f'{metric}{{{pod},kind="{kind}"}}': each for pod, each in zip(_PODS, values, strict=True)}


def _leaders(first: str, second: str) -> dict[str, str]:
    return {f"autocanary_leader{{{_PODS[0]}}}": first, f"autocanary_leader{{{_PODS[1]}}}": second}


def _overdue(first: str, second: str) -> dict[str, str]:
    return {f"autocanary_rollouts_overdue{{{pod}}}": values for pod, values in zip(_PODS, (first, second), strict=True)}


def _failed_evaluations(values: str) -> dict[str, str]:
    return {f"autocanary_evaluations_failed_total{{{_PODS[0]}}}": values}


_OF_SERVICE = {"namespace": "models", "service": "mnist", "component": "predictor"}


def _guarded(values: str) -> dict[str, str]:
    labels = 'namespace="models",service="mnist",component="predictor"'
    return {f"autocanary_guarded_service_without_policy{{{labels}}}": values}


CASES = (
    Case("AutocanaryRolloutsOverdue", "one rollout of the leader is", _overdue("0 1x9", "0x10"), 3, _OF_ITSELF),
    Case("AutocanaryRolloutsOverdue", "none is", _overdue("0x9", "0x9"), 9),
    Case("AutocanaryRolloutsOverdue", "one was for a moment", _overdue("0 1 0x9", "0x11"), 9),
    Case("AutocanaryEvaluationsFail", "each minute four", _failed_evaluations("0+4x19"), 12, _OF_ITSELF),
    Case("AutocanaryEvaluationsFail", "none does", _failed_evaluations("7x19"), 19),
    Case("AutocanaryEvaluationsFail", "once", _failed_evaluations("0 0 1x19"), 19),
    Case("AutocanaryDown", "nothing is scraped", {"up": "0x9"}, 6, {}),
    Case("AutocanaryDown", "one of two instances is", {f"autocanary_build_info{{{_PODS[0]}}}": "1x9"}, 8),
    Case(
        "AutocanaryDown",
        "gone for a moment",
        {f"autocanary_build_info{{{_PODS[0]}}}": "1 stale stale 1x9"},
        9,
    ),
    Case("AutocanaryNoLeader", "two stand by", _leaders("0x9", "0x9"), 3, _OF_ITSELF),
    Case("AutocanaryNoLeader", "one leads", _leaders("0x9", "1x9"), 9),
    Case("AutocanaryNoLeader", "leadership changes hands", _leaders("1 1 0 0 0 0", "0 0 0 1 1 1"), 5),
    Case(
        "AutocanaryTickLate",
        "each tick is half a second late",
        _lag(_PODS[0], "0+20x19", "0+40x19"),
        12,
        {**_OF_ITSELF, "instance": "10.0.0.1:8080"},
    ),
    Case(
        "AutocanaryTickLate",
        "the ticks have stopped",
        _lag(_PODS[0], "0+0.1x4 0.4x19", "0+60x4 240x19"),
        16,
        {**_OF_ITSELF, "instance": "10.0.0.1:8080"},
    ),
    Case("AutocanaryTickLate", "in time", _lag(_PODS[0], "0+0.6x19", "0+60x19"), 19),
    Case("AutocanaryTickLate", "one look of 70 s", _lag(_PODS[0], "0x4 70x19", "0+60x19"), 19),
    Case(
        "AutocanaryPrometheusUnreachable",
        "no query is answered",
        _queries(ok="9x19", unreachable="0+6x19"),
        8,
        _OF_ITSELF | {"server": "main"},
    ),
    Case(
        "AutocanaryPrometheusUnreachable",
        "it never was",
        _queries(ok="0x19", refused="0+6x19"),
        8,
        _OF_ITSELF | {"server": "main"},
    ),
    Case(
        "AutocanaryPrometheusUnreachable",
        "one of two servers",
        _queries(ok="0+60x19") | _queries("team-a", unreachable="0+6x19"),
        8,
        _OF_ITSELF | {"server": "team-a"},
    ),
    Case("AutocanaryPrometheusUnreachable", "one query is refused", _queries(ok="0+6x19", refused="0+2x19"), 19),
    Case("AutocanaryPrometheusUnreachable", "nothing is asked", _queries(ok="9x19", unreachable="4x19"), 19),
    Case(
        "AutocanaryPrometheusUnreachable",
        "away for three minutes",
        _queries(ok="0+6x4 24x2 30+6x12", unreachable="0x4 6+6x2 18x12"),
        19,
    ),
    Case("AutocanaryWritesFail", "KServe's webhook is away", _writes("patch", "500", "0+4x19"), 8, _OF_ITSELF),
    Case("AutocanaryWritesFail", "a right is missing", _writes("create", "403", "0+1x19"), 8, _OF_ITSELF),
    Case("AutocanaryWritesFail", "no answer", _writes("update", "0", "0+30x19"), 8, _OF_ITSELF),
    Case("AutocanaryWritesFail", "conflicts", _writes("patch", "409", "0+4x19"), 19),
    Case("AutocanaryWritesFail", "one that failed", _writes("patch", "500", "0x3 4x15"), 9),
    Case("AutocanaryWritesFail", "reads that fail", _writes("watch", "0", "0+1x19"), 19),
    Case(
        "AutocanaryWatchUnhealthy",
        "one instance does not follow the policies",
        _by_kind("autocanary_watch_healthy", "RolloutPolicy", "1x19", "1 0x18"),
        7,
        {**_OF_ITSELF, "kind": "RolloutPolicy"},
    ),
    Case(
        "AutocanaryWatchUnhealthy",
        "the API server restarts",
        _by_kind("autocanary_watch_healthy", "InferenceService", "1x19", "1 0 0 0 1x15"),
        19,
    ),
    Case(
        "AutocanaryObjectsSkipped",
        "a nested service",
        _by_kind("autocanary_objects_skipped", "InferenceService", "1x19", "1x19"),
        6,
        {**_OF_ITSELF, "kind": "InferenceService"},
    ),
    Case(
        "AutocanaryObjectsSkipped",
        "deleted soon",
        _by_kind("autocanary_objects_skipped", "InferenceService", "0 1 1 0x16", "0x19"),
        19,
    ),
    Case("AutocanaryReleaseWithoutPolicy", "a revision waits", _guarded("0 0 1x19"), 13, _OF_SERVICE),
    Case("AutocanaryReleaseWithoutPolicy", "none does", _guarded("0x19"), 19),
    Case("AutocanaryReleaseWithoutPolicy", "a policy is written soon", _guarded("1x5 stale"), 19),
    Case(
        "AutocanaryRollbackBlocked",
        "the traffic stays",
        _phase("RollingBack", "MetricViolation", "1x9"),
        3,
        _OF_ROLLOUT,
    ),
    Case(
        "AutocanaryRollbackBlocked",
        "it stays, and the reason changes on the way",
        _phase("RollingBack", "MetricViolation", "1 1 _x9") | _phase("RollingBack", "RollbackBlocked", "_ _ 1x9"),
        4,
        _OF_ROLLOUT,
    ),
    Case(
        "AutocanaryRollbackBlocked",
        "it goes within a minute",
        _phase("RollingBack", "MetricViolation", "1 1 stale"),
        3,
    ),
    Case("AutocanaryRollbackBlocked", "it is judged", _phase("Progressing", "Analysing", "1x9"), 9),
    Case("AutocanaryRolloutHeld", "no data for long", _phase("Holding", "NoData", "1x40"), 31, _OF_ROLLOUT),
    Case(
        "AutocanaryRolloutHeld",
        "no data, then an outage",
        _phase("Holding", "NoData", "1x14 stale") | _phase("Holding", "MetricsOutage", "_x14 1x20"),
        32,
        _OF_ROLLOUT,
    ),
    Case("AutocanaryRolloutHeld", "no data for 20 minutes", _phase("Holding", "NoData", "1x20 stale"), 35),
    Case("AutocanaryRolloutHeld", "until Monday", _phase("Holding", "WindowClosed", "1x60"), 59),
    Case(
        "AutocanaryRolloutPaused",
        "since this morning",
        _phase("Paused", "AwaitingApproval", "1x250"),
        241,
        _OF_ROLLOUT,
    ),
    Case("AutocanaryRolloutPaused", "over lunch", _phase("Paused", "PausedByUser", "1x60 stale"), 241),
    Case("AutocanaryRolloutPaused", "it moves", _phase("Progressing", "Analysing", "1x250"), 249),
    Case(
        "AutocanaryPolicyInvalid",
        "one cannot be used",
        {f'autocanary_policies{{{_PODS[0]},valid="false"}}': "1x9"},
        6,
        _OF_ITSELF,
    ),
    Case(
        "AutocanaryPolicyInvalid",
        "all are valid",
        {
            f'autocanary_policies{{{_PODS[0]},valid="false"}}': "0x9",
            f'autocanary_policies{{{_PODS[0]},valid="true"}}': "3x9",
        },
        9,
    ),
    Case(
        "AutocanaryPolicyInvalid",
        "mended at once",
        {f'autocanary_policies{{{_PODS[0]},valid="false"}}': "0 1 1 0x9"},
        9,
    ),
    Case(
        "AutocanaryNotificationUndelivered",
        "Slack is dead",
        _notified("slack", delivered="7x19", failed="0+1x19", dropped="0x19"),
        8,
        {**_OF_ITSELF, "channel": "slack"},
    ),
    Case(
        "AutocanaryNotificationUndelivered",
        "one was given up, others arrive",
        _notified("webhook", delivered="0+3x19", failed="0x19", dropped="0x2 1x19"),
        9,
        {**_OF_ITSELF, "channel": "webhook"},
    ),
    Case(
        "AutocanaryNotificationUndelivered",
        "tried again and delivered",
        _notified("slack", delivered="0x3 1x19", failed="0x2 1x19", dropped="0x19"),
        9,
    ),
    Case(
        "AutocanaryNotificationUndelivered",
        "another channel is well",
        _notified("log", delivered="0+3x19", failed="0x19", dropped="0x19"),
        19,
    ),
)
