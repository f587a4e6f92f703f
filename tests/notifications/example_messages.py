"""A rollout, its policy and messages about it, for the tests of notify."""

from __future__ import annotations

from typing import Any

from autocanary.model.decision import Event
from autocanary.model.measurement import Measurement, MeasurementKind, Unit
from autocanary.model.policy import (
    Analysis,
    Component,
    Metric,
    NotificationRoute,
    Policy,
    Range,
    Selector,
    Step,
)
from autocanary.model.progress import MetricState, Notification, Phase, Progress
from autocanary.model.progress_json import with_stored_fields
from autocanary.model.reason import Reason
from autocanary.model.rollout import Rollout
from autocanary.model.time_format import format_time
from autocanary.ports import Message

AT = 1_767_225_600.0  # 2026-01-01T00:00:00Z

VIOLATED = MetricState(3, 0, False, Measurement(MeasurementKind.VALUE, 97.2, Unit.PERCENT, requests=1234.0))
PASSED = MetricState(0, 5, True, Measurement(MeasurementKind.VALUE, 0.34, Unit.SECONDS, requests=1234.0))
SILENT = MetricState(0, 0, None, Measurement(MeasurementKind.NO_SERIES, unit=Unit.NUMBER, detail="no series matches"))

POLICY = Policy(
    name="prod-models",
    namespace="models",
    selector=Selector(names=("mnist",)),
    steps=(Step(10, 300.0), Step(50, 300.0), Step(100, 300.0)),
    analysis=Analysis(
        metrics=(
            Metric("request-duration", Range(max=0.5), Unit.SECONDS, quantile=0.99),
            Metric("request-success-rate", Range(min=99.0), Unit.PERCENT),
            Metric("drift", Range(max=0.0), Unit.NUMBER, query="x", dry_run=True),
        )
    ),
    digest="d1",
)

METRICS = {"drift": SILENT, "request-duration": PASSED, "request-success-rate": VIOLATED}


def policy_of(_: Rollout) -> Policy | None:
    return POLICY


def progress(**changes: Any) -> Progress:
    values: dict[str, Any] = {
        "step": 0,
        "weight": 0,
        "metrics": METRICS,
    }
    message = "success rate 97.2 % (needs 99 %), 1,234 requests, 3 of 3 violations"
    done = Progress(Phase.ROLLED_BACK, Reason.METRIC_VIOLATION, message, started_at=AT - 600, phase_since=AT)
    return with_stored_fields(done, {**values, **changes})


def rollout(name: str = "mnist-00002", **changes: Any) -> Rollout:
    values: dict[str, Any] = {
        "namespace": "models",
        "name": name,
        "service": "mnist",
        "service_uid": "u1",
        "api_version": "serving.kserve.io/v1beta1",
        "component": Component.PREDICTOR,
        "stable": "mnist-predictor-00001",
        "candidate": "mnist-predictor-00002",
        "policy_name": "prod-models",
        "policy_digest": "d1",
        "policy_document": {},
        "progress": progress(),
    }
    return Rollout(**{**values, **changes})


def notification(event: Event = Event.ROLLED_BACK, **changes: Any) -> Notification:
    values: dict[str, Any] = {
        "id": f"models/mnist-00002/{event.value}/{round(AT * 1000)}",
        "event": event.value,
        "at": AT,
        "phase": Phase.ROLLED_BACK.value,
        "step": 1,
        "weight": 0,
        "reason": Reason.METRIC_VIOLATION.value,
        "message": "success rate 97.2 % (needs 99 %), 1,234 requests, 3 of 3 violations",
    }
    return Notification(**{**values, **changes})


def message(
    event: Event = Event.ROLLED_BACK,
    *,
    routes: tuple[NotificationRoute, ...] = (),
    details: tuple[tuple[str, str], ...] = (),
    about: Rollout | None = None,
    **changes: Any,
) -> Message:
    return Message(notification(event, **changes), about or rollout(), routes, details)


def decision(event: Event, metrics: dict[str, MetricState]) -> dict[str, Any]:
    """As the planner records it beside a notification."""
    inputs = {"metrics": {name: state.to_dict() for name, state in metrics.items()}}
    return {"time": format_time(AT), "event": event.value, "inputs": inputs}
