"""Tests of autocanary.http_server.metric_table."""

from __future__ import annotations

import pytest

from autocanary.http_server.metric_table import METRIC_SPECS, ROLLOUT_LABELS


def test_names_are_the_stable_surface() -> None:
    """A metric that is renamed or dropped breaks dashboards and alerts."""
    assert [row.name for row in METRIC_SPECS] == [
        "autocanary_rollout_info",
        "autocanary_rollout_weight_percent",
        "autocanary_rollout_phase",
        "autocanary_rollouts_finished_total",
        "autocanary_service_rollouts_finished_total",
        "autocanary_metric_value",
        "autocanary_metric_threshold",
        "autocanary_evidence_ratio",
        "autocanary_failed_requests",
        "autocanary_failed_requests_budget",
        "autocanary_comparison_requests",
        "autocanary_comparison_bad_percent",
        "autocanary_comparison_non_inferiority_ratio",
        "autocanary_decisions_total",
        "autocanary_evaluations_failed_total",
        "autocanary_rollouts_overdue",
        "autocanary_guarded_service_without_policy",
        "autocanary_tick_duration_seconds",
        "autocanary_tick_lag_seconds",
        "autocanary_prometheus_queries_total",
        "autocanary_web_metric_requests_total",
        "autocanary_kube_requests_total",
        "autocanary_notifications_total",
        "autocanary_watch_healthy",
        "autocanary_objects_skipped",
        "autocanary_leader",
        "autocanary_policies",
        "autocanary_build_info",
    ]


@pytest.mark.parametrize("row", METRIC_SPECS, ids=lambda row: row.name)
def test_row_is_well_formed(row: object) -> None:
    """Names end as Prometheus wants, help is one sentence of one line without what would need escaping."""
    [each] = [each for each in METRIC_SPECS if each is row]
    assert each.name.endswith("_total") == (each.kind == "counter")
    assert each.name.endswith("_info") == (each.kind == "info")
    assert each.kind in ("gauge", "counter", "histogram", "info")
    assert each.help.endswith(".")
    assert not {"\n", "\\"} & set(each.help)
    assert "rollout" not in each.labels or each.labels[:3] == ROLLOUT_LABELS
