"""Builders of core values with sensible defaults, so that a test names only what it is about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from autocanary.analysis import Outcome, Verdict
from autocanary.decide.decision_input import DecisionInput
from autocanary.decide.planner import plan
from autocanary.model.decision import Decision
from autocanary.model.measurement import Measurement, MeasurementKind, Unit
from autocanary.model.observation import ConditionStatus, DeploymentMode, Observation, ServiceKey
from autocanary.model.policy import Analysis, Component, Metric, Policy, Range, Selector, Step
from autocanary.model.progress import Phase, Progress
from autocanary.model.progress_json import with_stored_fields
from autocanary.model.reason import Reason
from autocanary.model.rollout import Rollout

STABLE, CANDIDATE = "mnist-predictor-00001", "mnist-predictor-00002"
KEY = ServiceKey("models", "mnist")
NOW = 1_800_000_000.0
SUCCESS = Metric("request-success-rate", Range(min=99.0), Unit.PERCENT, failure_limit=3)
LATENCY = Metric("request-duration", Range(max=0.5), Unit.SECONDS, quantile=0.99, failure_limit=3)


def policy(**changes: Any) -> Policy:
    """10 → 25 → 50 → 100, five minutes each, ten minutes of bake."""
    defaults: dict[str, Any] = {
        "name": "prod",
        "namespace": "",
        "selector": Selector(),
        "steps": (Step(10, 300), Step(25, 300), Step(50, 300), Step(100, 600)),
        "analysis": Analysis(metrics=(SUCCESS, LATENCY)),
        "bake": 600.0,
        "digest": "p1",
        "document": {"stepWeights": [10, 25, 50, 100]},
    }
    return Policy(**{**defaults, **changes})


def make_observation(weight: int | None = 10, traffic_percent: int | None = None, **changes: Any) -> Observation:
    """The candidate is ready and has ``traffic_percent`` (default: the weight) of the traffic."""
    got = traffic_percent if traffic_percent is not None else (100 if weight is None else weight)
    traffic = {CANDIDATE: got, STABLE: 100 - got}
    defaults: dict[str, Any] = {
        "key": KEY,
        "uid": "u1",
        "api_version": "serving.kserve.io/v1beta1",
        "resource_version": "7",
        "labels": {},
        "mode": DeploymentMode.KNATIVE,
        "weight": weight,
        "traffic": traffic,
        "rolled_out": STABLE,
        "previous": "",
        "ready": CANDIDATE,
        "created": CANDIDATE,
        "route_ready": ConditionStatus.TRUE,
        "service_ready": ConditionStatus.TRUE,
        "latest_ready": ConditionStatus.TRUE,
        "spec_digest": "candidate",
        "spec": {"model": {"storageUri": "gs://b/v2"}},
    }
    return Observation(**{**defaults, **changes})


def progress(step: int = 0, weight: int | None = 10, **changes: Any) -> Progress:
    """In a step whose weight has been in effect for a minute; ``changes`` are named as in the stored document."""
    defaults: dict[str, Any] = {
        "step": step,
        "weight": weight,
        "from_weight": 0,
        "step_started_at": NOW - 65,
        "verified_at": NOW - 60,
    }
    begun = Progress(Phase.PROGRESSING, Reason.ANALYSING, "", started_at=NOW - 120, phase_since=NOW - 90)
    return with_stored_fields(begun, {**defaults, **changes})


def rollout(state: Progress | None = None, **changes: Any) -> Rollout:
    defaults: dict[str, Any] = {
        "namespace": "models",
        "name": "mnist-00002",
        "service": "mnist",
        "service_uid": "u1",
        "api_version": "serving.kserve.io/v1beta1",
        "component": Component.PREDICTOR,
        "stable": STABLE,
        "candidate": CANDIDATE,
        "policy_name": "prod",
        "policy_digest": "p1",
        "policy_document": {"stepWeights": [10, 25, 50, 100]},
        "stable_spec": {"model": {"storageUri": "gs://b/v1"}},
        "stable_digest": "stable",
        "progress": state if state is not None else progress(),
    }
    return Rollout(**{**defaults, **changes})


def verdict(outcome: Outcome = Outcome.PASS, **changes: Any) -> Verdict:
    reasons = {
        Outcome.PASS: Reason.ANALYSING,
        Outcome.FAIL: Reason.METRIC_VIOLATION,
        Outcome.INCONCLUSIVE: Reason.TOO_FEW_REQUESTS,
        Outcome.SUSPICIOUS: Reason.SUSPICIOUS,
        Outcome.NO_DATA: Reason.NO_DATA,
        Outcome.OUTAGE: Reason.METRICS_OUTAGE,
    }
    defaults: dict[str, Any] = {
        "outcome": outcome,
        "reason": reasons[outcome],
        "message": f"the verdict is {outcome.value}",
        "metrics": {},
    }
    return Verdict(**{**defaults, **changes})


def make_decision_input(
    state: Progress | None = None,
    observation: Observation | None = None,
    said: Verdict | None = None,
    *,
    gone: bool = False,
    now: float = NOW,
    **changes: Any,
) -> DecisionInput:
    """``gone``: the service does not exist. Other keywords go to the Situation, or to the rollout."""
    of_rollout = {name: changes.pop(name) for name in ("paused", "request", "stable_spec") if name in changes}
    return DecisionInput(
        policy=changes.pop("policy", None) or policy(),
        rollout=rollout(state, **of_rollout),
        observation=None if gone else (observation if observation is not None else make_observation()),
        now=now,
        verdict=said,
        **changes,
    )


def value(number: float, requests: float | None = 1000, unit: Unit = Unit.PERCENT) -> Measurement:
    return Measurement(MeasurementKind.VALUE, value=number, unit=unit, requests=requests)


def evaluations(
    observation: Sequence[Observation], state: Progress | None = None, **changes: Any
) -> list[tuple[Decision, Rollout]]:
    """An evaluation every two seconds, each going on from the one before."""
    now, it, made = NOW, rollout(state), []
    for each in observation:
        at = make_decision_input(it.progress, each, now=now)
        decision = plan(replace(at, rollout=replace(it, **changes)))
        it = replace(it, progress=decision.progress)
        made.append((decision, it))
        now += 2
    return made
