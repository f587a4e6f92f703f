"""Tests of autocanary.notifications.audit_log."""

from __future__ import annotations

import pytest

from autocanary import logs
from autocanary.model.decision import Event
from autocanary.model.policy import NotificationRoute
from autocanary.notifications.audit_log import AuditLog
from tests.notifications.example_messages import message, policy_of, progress, rollout


def test_audit_line_has_the_documented_keys(logged: logs.CapturedLogs) -> None:
    """The audit line is the event's name with the documented keys."""
    AuditLog(policy_of).send(message())
    [line] = logged.events
    assert line["event"] == "rollout_rolled_back"
    assert {name: line[name] for name in line if name not in ("timestamp", "message", "logger")} == {
        "level": "warning",
        "event": "rollout_rolled_back",
        "namespace": "models",
        "service": "mnist",
        "component": "predictor",
        "rollout": "mnist-00002",
        "stable": "mnist-predictor-00001",
        "candidate": "mnist-predictor-00002",
        "phase": "RolledBack",
        "step": 1,
        "weight": 0,
        "reason": "MetricViolation",
        "metric": "request-success-rate",
        "value": 97.2,
        "threshold": "at least 99 %",
        "requests": 1234.0,
    }


def test_without_evidence_the_metric_keys_are_absent(logged: logs.CapturedLogs) -> None:
    """Nothing measured, nothing claimed."""
    AuditLog().send(message(Event.STARTED, about=rollout(progress=progress(metrics={}))))
    [line] = logged.events
    assert not {"metric", "value", "threshold", "requests"} & set(line)


def test_without_policy_the_threshold_is_absent(logged: logs.CapturedLogs) -> None:
    """A value without its limit is still worth a key."""
    AuditLog().send(message())
    [line] = logged.events
    assert line["metric"] == "request-success-rate"
    assert "threshold" not in line


def test_details_are_added_and_never_replace(logged: logs.CapturedLogs) -> None:
    """What the controller adds is on the line, but cannot change what the line is about."""
    AuditLog().send(message(details=(("writer", "kubectl-edit"), ("service", "other"), ("event", "x"))))
    [line] = logged.events
    assert (line["writer"], line["service"], line["event"]) == (
        "kubectl-edit",
        "mnist",
        "rollout_rolled_back",
    )


@pytest.mark.parametrize(
    ("event", "level"),
    [(Event.STEP, "info"), (Event.PROMOTED, "info"), (Event.ROLLBACK, "warning"), (Event.WARNING, "warning")],
)
def test_level_by_event(logged: logs.CapturedLogs, event: Event, level: str) -> None:
    """What a user should check is a warning."""
    AuditLog().send(message(event))
    assert logged.events[0]["level"] == level


def test_policy_routes_do_not_filter_the_audit_log() -> None:
    """Routes narrow the messages, not the audit trail."""
    assert AuditLog().wants(message(Event.STEP, routes=(NotificationRoute(events=("promoted",)),)))
