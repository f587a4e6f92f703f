"""Rollouts and a policy for the tests of serve."""

from __future__ import annotations

from typing import Any

from autocanary.decide.guarded_services import GuardedService
from autocanary.http_server.counters import ControllerMetrics
from autocanary.http_server.exposition import Exposition, PolicyCount, ScrapeSources, WatchState
from autocanary.model.measurement import Measurement, MeasurementKind, Unit
from autocanary.model.policy import Analysis, Component, Metric, Policy, Range, Selector, Step
from autocanary.model.progress import MetricState, Phase, Progress
from autocanary.model.progress_json import FIELD_PLACES, with_stored_fields
from autocanary.model.reason import Reason
from autocanary.model.rollout import Rollout

POLICY = Policy(
    name="prod",
    namespace="models",
    selector=Selector(),
    steps=(Step(10, 60.0), Step(100, 60.0)),
    analysis=Analysis(
        metrics=(
            Metric("request-success-rate", Range(min=99.0), Unit.PERCENT),
            Metric("request-duration", Range(max=0.5), Unit.SECONDS),
            Metric("kv-cache-usage", Range(min=1.0, max=90.0), Unit.PERCENT),
        )
    ),
)
METRICS = {
    "request-success-rate": MetricState(0, 3, True, Measurement(MeasurementKind.VALUE, 99.5, Unit.PERCENT, 1234.0)),
    "request-duration": MetricState(0, 3, True, Measurement(MeasurementKind.VALUE, 0.25, Unit.SECONDS, 1234.0)),
    "kv-cache-usage": MetricState(last=Measurement(MeasurementKind.NO_SERIES, unit=Unit.PERCENT)),
}


def rollout(service: str = "mnist", phase: Phase = Phase.PROGRESSING, **changes: Any) -> Rollout:
    progress = Progress(phase, Reason.ANALYSING, "", started_at=0.0, phase_since=0.0)
    own = {name: changes.pop(name) for name in list(changes) if name in FIELD_PLACES}
    values: dict[str, Any] = {
        "namespace": "models",
        "name": f"{service}-00002",
        "service": service,
        "service_uid": "u",
        "api_version": "serving.kserve.io/v1beta1",
        "component": Component.PREDICTOR,
        "stable": f"{service}-predictor-00001",
        "candidate": f"{service}-predictor-00002",
        "policy_name": "prod",
        "policy_digest": "d1",
        "policy_document": {},
        "progress": with_stored_fields(progress, {"weight": 10, "metrics": METRICS, **own}),
    }
    return Rollout(**{**values, **changes})


class World:
    """What a scrape looks at; change it between scrapes."""

    def __init__(self, *rollouts: Rollout) -> None:
        self.rollouts: list[Rollout] = list(rollouts)
        self.policy: Policy | None = POLICY
        self.leads = True
        self.asked: list[str] = []
        self.guarded: list[GuardedService] = []
        self.counters = ControllerMetrics()
        self.exposition = Exposition(
            ScrapeSources(
                lambda: self.rollouts,
                self.policy_of,
                lambda: self.leads,
                lambda: PolicyCount(3, 1),
                lambda: [WatchState("InferenceService", True, 0), WatchState("RolloutPolicy", False, 2)],
                guarded_without_policy=lambda: self.guarded,
            ),
            self.counters,
        )

    def policy_of(self, rollout: Rollout) -> Policy | None:
        self.asked.append(rollout.policy_digest)
        return self.policy
