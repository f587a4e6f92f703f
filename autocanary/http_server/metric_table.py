"""Every metric that autocanary exports, once: name, kind, labels, help. docs/metrics.md is made from it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["METRIC_SPECS", "ROLLOUT_LABELS", "MetricSpec", "markdown"]

ROLLOUT_LABELS = ("namespace", "service", "rollout")
"""The labels that every series of a rollout begins with."""


@dataclass(frozen=True, slots=True)
class MetricSpec:
    """``name`` as Prometheus stores it; ``note`` is more for the documentation than fits into a help line."""

    name: str
    kind: str  # gauge | counter | histogram | info
    labels: tuple[str, ...]
    help: str
    note: str = ""


METRIC_SPECS: tuple[MetricSpec, ...] = (
    MetricSpec(
        "autocanary_rollout_info",
        "info",
        (*ROLLOUT_LABELS, "component", "stable", "candidate", "policy"),
        "What a running rollout is about; join the others with it on namespace and rollout.",
    ),
    MetricSpec(
        "autocanary_rollout_weight_percent",
        "gauge",
        ROLLOUT_LABELS,
        "Traffic that a running rollout last asked for its candidate, in percent.",
    ),
    MetricSpec(
        "autocanary_rollout_phase",
        "gauge",
        (*ROLLOUT_LABELS, "phase", "reason"),
        "1 for the present phase of a running rollout and the reason for it.",
        'Only the present phase has a series: alert on `autocanary_rollout_phase{phase="Holding"} == 1`.',
    ),
    MetricSpec(
        "autocanary_rollouts_finished_total",
        "counter",
        ("outcome", "reason"),
        "Rollouts that have ended, by final phase and reason.",
        "`outcome` is Promoted, RolledBack, Superseded, Abandoned or Missed. The ends there are begin at 0.",
    ),
    MetricSpec(
        "autocanary_service_rollouts_finished_total",
        "counter",
        ("namespace", "service", "outcome"),
        "Rollouts of a service that have ended, by final phase.",
        "The ends of a service begin at 0 with its first decision. Of more than 1,000 services the others are counted "
        "together, with empty names.",
    ),
    MetricSpec(
        "autocanary_metric_value",
        "gauge",
        (*ROLLOUT_LABELS, "metric"),
        "Last number read for a metric of the candidate, in the metric's unit.",
        "Rates are in percent (0 to 100) and times in seconds. Absent while there is no number.",
    ),
    MetricSpec(
        "autocanary_metric_threshold",
        "gauge",
        (*ROLLOUT_LABELS, "metric", "bound"),
        "Limit that the policy sets for a metric, in the metric's unit.",
        "`bound` is min or max.",
    ),
    MetricSpec(
        "autocanary_evidence_ratio",
        "gauge",
        ROLLOUT_LABELS,
        "Evidence that the candidate is worse than stable: at 1 it is rolled back.",
        "On a logarithmic scale, 0 when there is none. Absent where the policy compares nothing.",
    ),
    MetricSpec(
        "autocanary_failed_requests",
        "gauge",
        ROLLOUT_LABELS,
        "Requests that the candidate of a running rollout has failed, counted for its budget.",
        "Absent where the policy has no `maxFailedRequests`.",
    ),
    MetricSpec(
        "autocanary_failed_requests_budget",
        "gauge",
        ROLLOUT_LABELS,
        "Requests that the candidate of a running rollout may fail: at so many it is rolled back.",
        "`maxFailedRequests` of the policy.",
    ),
    MetricSpec(
        "autocanary_comparison_requests",
        "gauge",
        (*ROLLOUT_LABELS, "metric", "side"),
        "Requests that a comparison has counted since the rollout began, by side.",
        "`side` is candidate or stable. Absent while the metric is not compared.",
    ),
    MetricSpec(
        "autocanary_comparison_bad_percent",
        "gauge",
        (*ROLLOUT_LABELS, "metric", "side"),
        "Share of the requests of a comparison that were bad, in percent, by side.",
        "Bad is failed, or for a latency slower than the bound that the comparison chose.",
    ),
    MetricSpec(
        "autocanary_comparison_non_inferiority_ratio",
        "gauge",
        (*ROLLOUT_LABELS, "metric"),
        "Evidence that the candidate is no worse than the margin allows: at 1 the metric passes.",
    ),
    MetricSpec(
        "autocanary_decisions_total",
        "counter",
        ("reason",),
        "Decisions taken, by reason.",
        "Every reason has a series from the start, so that `increase()` sees the first one.",
    ),
    MetricSpec(
        "autocanary_evaluations_failed_total",
        "counter",
        (),
        "Evaluations of a rollout that failed, and metric queries that raised an unexpected error.",
        "The events `evaluation_failed`, `query_failed` and `rollout_set_aside` in the log name the rollout.",
    ),
    MetricSpec(
        "autocanary_rollouts_overdue",
        "gauge",
        (),
        "Running rollouts that were not evaluated for three intervals, or whose record cannot be read.",
        "Their status message says since when. They keep their weight and are not rolled back.",
    ),
    MetricSpec(
        "autocanary_guarded_service_without_policy",
        "gauge",
        ("namespace", "service", "component"),
        "1 while a revision waits at 0 % that the guard holds and no policy governs, 0 for a service without one.",
        "A series for each such service, 1,000 at most: give it a policy, or take it out of the chart's `guard`.",
    ),
    MetricSpec(
        "autocanary_tick_duration_seconds",
        "histogram",
        (),
        "How long one evaluation of all due rollouts took.",
    ),
    MetricSpec(
        "autocanary_tick_lag_seconds",
        "histogram",
        (),
        "How late a tick began.",
    ),
    MetricSpec(
        "autocanary_prometheus_queries_total",
        "counter",
        ("server", "outcome"),
        "Queries sent to Prometheus, by outcome.",
        "`server` is `main`, or a name of `prometheus_servers`; `outcome` is ok, partial (a warning that data is "
        "missing), refused or unreachable.",
    ),
    MetricSpec(
        "autocanary_web_metric_requests_total",
        "counter",
        ("outcome",),
        "Requests to the services of web metrics, by outcome.",
        "`outcome` is ok, unknown (the service has no data), unreadable (not the JSON that was asked for), refused (an "
        "address or credentials that the policy may not use) or unreachable.",
    ),
    MetricSpec(
        "autocanary_kube_requests_total",
        "counter",
        ("verb", "code"),
        "Requests to the Kubernetes API server, by verb and status code.",
        "`code` is 0 when there was no answer.",
    ),
    MetricSpec(
        "autocanary_notifications_total",
        "counter",
        ("channel", "outcome"),
        "Attempts to notify, by kind of channel and outcome.",
        "`outcome` is delivered, failed (it will be tried again) or dropped.",
    ),
    MetricSpec(
        "autocanary_watch_healthy",
        "gauge",
        ("kind",),
        "1 while the cache of a watched kind is whole, 0 otherwise.",
        "`kind` is InferenceService, CanaryRollout or RolloutPolicy. At 0 `/readyz` fails.",
    ),
    MetricSpec(
        "autocanary_objects_skipped",
        "gauge",
        ("kind",),
        "Objects that cannot be read and are left out.",
        "Nested too deeply, too long, or not of the expected form. The log event `object_skipped` names each.",
    ),
    MetricSpec("autocanary_leader", "gauge", (), "1 while this instance is the leader, 0 otherwise."),
    MetricSpec("autocanary_policies", "gauge", ("valid",), "Policies that are loaded, by whether they are valid."),
    MetricSpec("autocanary_build_info", "info", ("version", "python"), "The version that is running."),
)


def markdown() -> str:
    """The page docs/metrics.md."""
    lines = [
        "# Metrics",
        "",
        "<!-- Generated by `python docs/generate.py`; do not edit. -->",
        "",
        "Served at `/metrics`. The leader alone exports the series of rollouts, and only while they run:"
        " when one ends, its series are gone with the next scrape and `autocanary_rollouts_finished_total`"
        " has grown.",
        "",
        "| Metric | Type | Labels | Meaning |",
        "|---|---|---|---|",
    ]
    for each in METRIC_SPECS:
        labels = ", ".join(f"`{label}`" for label in each.labels) or "–"
        kind = "gauge" if each.kind == "info" else each.kind
        meaning = f"{each.help} {each.note}".strip()
        lines.append(f"| `{each.name}` | {kind} | {labels} | {meaning} |")
    return "\n".join([*lines, "", _DASHBOARD]) + "\n"


_DASHBOARD = """\
## Dashboard

[files/dashboards/autocanary.json](../charts/autocanary/files/dashboards/autocanary.json) is for
Grafana: by the chart with `dashboards.enabled` and Grafana's sidecar, or imported by hand. It shows the
fleet, the story of one rollout (weight, errors and latency of both sides, evidence, and its decisions
as annotations), and the service itself. Choose the Prometheus, the installation, a namespace, a service
and a rollout at the top; those that have ended are offered as long as the time shown reaches back to
them.

What a panel does not show where there is nothing to show: evidence, and the comparison of both sides,
without `compare` in the policy; limits, without a `thresholdRange`; latency, without a latency metric.
The series of a rollout end with it, so tables show what runs now.

The alerts made of these series: [alerts](alerts.md)."""
