"""Sample rollouts for views and commands, and a client that answers from memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from autocanary.errors import AutocanaryError
from autocanary.kserve.knative_routes import Route
from autocanary.model.measurement import Measurement, MeasurementKind, Unit
from autocanary.model.observation import ConditionStatus, DeploymentMode, Observation, ServiceKey
from autocanary.model.policy import Analysis, Component, Metric, Policy, Range, Selector, Step
from autocanary.model.progress import MetricState, Phase, Progress
from autocanary.model.progress_json import with_stored_fields
from autocanary.model.reason import Reason
from autocanary.model.rollout import Request, Rollout, rollout_name

START = 1_767_225_600.0

DOCUMENT = {
    "selector": {"names": ["mnist"]},
    "stepWeights": [10, 25, 50, 100],
    "stepDuration": "5m",
    "analysis": {"metrics": [{"name": "request-success-rate", "thresholdRange": {"min": 99}}]},
}

POLICY = Policy(
    name="prod",
    namespace="",
    selector=Selector(names=("mnist",)),
    steps=(Step(10, 300), Step(25, 300), Step(50, 300, approval=True), Step(100, 0)),
    analysis=Analysis(
        (
            Metric("request-success-rate", Range(min=99), Unit.PERCENT, failure_limit=3),
            Metric("request-duration", Range(max=0.5), Unit.SECONDS, dry_run=True),
        )
    ),
)


def metrics(value: float = 99.7, violations: int = 0, ok: bool | None = True) -> dict[str, MetricState]:
    return {
        "request-success-rate": MetricState(
            violations, 3, ok, Measurement(MeasurementKind.VALUE, value, Unit.PERCENT, requests=1234)
        ),
        "request-duration": MetricState(0, 0, None, Measurement(MeasurementKind.NO_SERIES, unit=Unit.SECONDS)),
    }


def rollout(
    phase: Phase = Phase.PROGRESSING,
    *,
    service: str = "mnist",
    number: int = 2,
    namespace: str = "models",
    reason: Reason = Reason.ANALYSING,
    message: str = "1 of 3 evaluations passed",
    started_at: float = START,
    paused: bool = False,
    request: Request | None = None,
    **progress: Any,
) -> Rollout:
    candidate = f"{service}-predictor-{number:05d}"
    values: dict[str, Any] = {
        "step": 1,
        "weight": 25,
        "verified_at": started_at,
        "finished_at": started_at + 720 if phase.is_final else None,
        "metrics": metrics(),
    }
    return Rollout(
        namespace=namespace,
        name=rollout_name(service, candidate),
        service=service,
        service_uid="uid",
        api_version="serving.kserve.io/v1beta1",
        component=Component.PREDICTOR,
        stable=f"{service}-predictor-{number - 1:05d}",
        candidate=candidate,
        policy_name="prod",
        policy_digest="digest",
        policy_document=DOCUMENT,
        paused=paused,
        request=request,
        created_at=started_at,
        progress=with_stored_fields(
            Progress(phase, reason, message, started_at=started_at, phase_since=started_at), {**values, **progress}
        ),
    )


def decision(seconds: int, event: str, weight: int, reason: str, message: str) -> dict[str, Any]:
    minute, second = divmod(seconds, 60)
    return {
        "time": f"2026-01-01T00:{minute:02d}:{second:02d}Z",
        "event": event,
        "phase": "Progressing",
        "reason": reason,
        "message": message,
        "weight": weight,
    }


def observation(of: Rollout, share: int) -> Observation:
    return Observation(
        key=ServiceKey(of.namespace, of.service),
        uid="uid",
        api_version=of.api_version,
        resource_version="1",
        labels={},
        mode=DeploymentMode.KNATIVE,
        weight=share,
        traffic={of.candidate: share, of.stable: 100 - share},
        rolled_out=of.stable,
        previous="",
        ready=of.candidate,
        created=of.candidate,
        route_ready=ConditionStatus.TRUE,
        service_ready=ConditionStatus.TRUE,
        latest_ready=ConditionStatus.TRUE,
    )


FakeController = Callable[[Rollout], Rollout]
"""How the controller changes a rollout between two reads."""


class FakeRolloutClient:
    """An ``RolloutClient`` in memory; ``script`` holds what the next reads find or raise, one each.

    ``observations`` is what is seen of InferenceServices, by name; ``limits`` are the times that were set.
    """

    def __init__(self, *rollouts: Rollout, service: FakeController | None = None) -> None:
        self.objects = {(each.namespace, each.name): each for each in rollouts}
        self.namespace = "models"
        self.asked: list[tuple[str, bool | None, Request | None]] = []
        self.script: list[AutocanaryError | FakeController] = []
        self.closed = False
        self.observations: dict[str, Observation | AutocanaryError] = {}
        self.limits: list[float] = []
        self.known_routes: list[tuple[str, Route]] = []
        self.user = ""
        self.policy_objects: list[dict[str, Any]] = []
        self.released: list[tuple[str, Mapping[str, Any], str, str]] = []
        self.on_release: FakeController | None = None
        self._service = service

    def user_name(self) -> str:
        return self.user

    def services(self, namespace: str | None) -> Sequence[Observation]:
        found = [each for each in self.observations.values() if isinstance(each, Observation)]
        return [each for each in found if namespace in (None, each.key.namespace)]

    def policy_documents(self, namespace: str | None) -> Sequence[Mapping[str, Any]]:
        return [each for each in self.policy_objects if namespace in (None, each["metadata"]["namespace"])]

    def release(self, rollout: Rollout, spec: Mapping[str, Any], *, by: str, reason: str) -> None:
        self.released.append((rollout.service, spec, by, reason))
        if self.on_release is not None:
            made = self.on_release(rollout)
            self.objects[made.namespace, made.name] = made

    def rollouts(self, namespace: str | None) -> Sequence[Rollout]:
        self._happen()
        return [each for each in self.objects.values() if namespace in (None, each.namespace)]

    def read(self, namespace: str, name: str) -> Rollout | None:
        self._happen()
        return self.objects.get((namespace, name))

    def observe(self, rollout: Rollout) -> Observation | None:
        found = self.observations.get(rollout.service)
        if isinstance(found, AutocanaryError):
            raise found
        return found

    def routes(self, rollouts: Sequence[Rollout]) -> Sequence[tuple[str, Route]]:
        services = {(each.namespace, each.service) for each in rollouts}
        return [
            (namespace, route)
            for namespace, route in self.known_routes
            if any(namespace == of[0] and route.name.startswith(of[1]) for of in services)
        ]

    def set_timeout(self, seconds: float) -> None:
        self.limits.append(seconds)

    def write_request(self, namespace: str, name: str, *, paused: bool | None, request: Request | None) -> Rollout:
        self.asked.append((name, paused, request))
        before = self.objects[namespace, name]
        after = replace(
            before,
            paused=before.paused if paused is None else paused,
            request=before.request if request is None else request,
        )
        self.objects[namespace, name] = after
        if self._service is not None:
            self.script.append(self._service)
        return after

    def close(self) -> None:
        self.closed = True

    def _happen(self) -> None:
        if not self.script:
            return
        next_ = self.script.pop(0)
        if isinstance(next_, AutocanaryError):
            raise next_
        take_changes = {key: next_(each) for key, each in self.objects.items()}
        self.objects = {key: each for key, each in take_changes.items() if each.uid != "deleted"}
