"""Objects and roles that several tests of this room use."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from autocanary.model.policy import Component
from autocanary.model.progress import AnalysisState, MetricState, Notification, Outbox, Phase, Progress, StepState
from autocanary.model.reason import Reason
from autocanary.model.rollout import Rollout


class Leader:
    """Leadership that a test gives and takes."""

    def __init__(self, leading: bool = True) -> None:
        self.leading = leading

    def is_leader(self) -> bool:
        return self.leading


def service(name: str = "mnist", namespace: str = "ml", weight: int | None = 10) -> dict[str, Any]:
    """An InferenceService in the middle of a rollout, as KServe shows it."""
    predictor: dict[str, Any] = {"model": {"modelFormat": {"name": "sklearn"}, "storageUri": "s3://m/v2"}}
    if weight is not None:
        predictor["canaryTrafficPercent"] = weight
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"predictor": predictor},
        "status": {
            "components": {
                "predictor": {
                    "latestCreatedRevision": f"{name}-predictor-00002",
                    "latestReadyRevision": f"{name}-predictor-00002",
                    "latestRolledoutRevision": f"{name}-predictor-00001",
                    "traffic": [
                        {"latestRevision": True, "percent": 10, "revisionName": f"{name}-predictor-00002"},
                        {"percent": 90, "revisionName": f"{name}-predictor-00001", "tag": "prev"},
                    ],
                }
            },
            "conditions": [{"type": "PredictorRouteReady", "status": "True"}],
        },
    }


def rollout(name: str = "mnist-00002", namespace: str = "ml", **changes: Any) -> Rollout:
    """An attempt whose state holds everything that is easily lost: nulls, fractions, empty text."""
    progress = Progress(
        phase=Phase.PROGRESSING,
        reason=Reason.ANALYSING,
        message="10 % is held and judged",
        started_at=1_700_000_000.25,
        phase_since=1_700_000_010.0,
        step=StepState(index=0, weight=None, from_weight=None, verified_at=1_700_000_020.5),
        analysis=AnalysisState(metrics={"error-rate": MetricState(violations=1, passes=2, ok=None)}),
        decisions=({"at": 1.5, "rule": "hold", "inputs": {"value": None, "list": [1, None]}},),
        outbox=Outbox(pending=(notification(),), delivered=("a/1",)),
    )
    made = Rollout(
        namespace=namespace,
        name=name,
        service="mnist",
        service_uid="7e0c5e63-8a3d-4a53-9d7d-0e5a0d3f3d10",
        api_version="serving.kserve.io/v1beta1",
        component=Component.PREDICTOR,
        stable="mnist-predictor-00001",
        candidate="mnist-predictor-00002",
        policy_name="prod",
        policy_digest="abc",
        policy_document={"stepWeights": [10, 100], "analysis": {"unknown": {"deep": [None, 0.5]}}},
        progress=progress,
        stable_spec={"model": {"storageUri": "s3://m/v1", "args": None}},
        stable_digest="def",
    )
    return replace(made, **changes)


def notification(**changes: Any) -> Notification:
    """A transition to tell users of."""
    values: dict[str, Any] = {
        "id": "mnist-00002/3",
        "event": "step_taken",
        "at": 1_700_000_030.0,
        "phase": "Progressing",
        "step": 1,
        "weight": 25,
        "reason": "StepPassed",
        "message": "25 % of traffic now",
    }
    return Notification(**values | changes)


def bare(made: Rollout) -> Rollout:
    """Without what only the server knows."""
    return replace(made, uid="", resource_version="", created_at=0.0)
