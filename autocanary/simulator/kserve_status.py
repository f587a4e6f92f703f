"""An InferenceService's status, written field by field as KServe 0.20 writes it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from autocanary.model.observation import ConditionStatus
from autocanary.model.policy import Component
from autocanary.model.time_format import format_time
from autocanary.simulator.knative_controller import Condition, StatusTarget
from autocanary.simulator.revision_history import ComponentRecord, ServiceRecord

__all__ = ["render", "render_stopped", "render_without_revisions", "with_transition_times"]

_TERMINAL = frozenset({"IngressReady", "PredictorReady", "TransformerReady", "ExplainerReady", "Ready"})
_TRUE, _FALSE, _UNKNOWN = ConditionStatus.TRUE, ConditionStatus.FALSE, ConditionStatus.UNKNOWN


def render(namespace: str, name: str, record: ServiceRecord, before: Mapping[str, Any], now: float) -> dict[str, Any]:
    """The status; ``before`` is the present one, whose transition times are kept where nothing moved."""
    status: dict[str, Any] = {
        "components": {
            component.value: _component(namespace, name, component, part)
            for component, part in record.parts.items()
            if part.created or part.rolled_out
        },
        "conditions": with_transition_times(_conditions(record), before, now),
        "deploymentMode": "Knative",
        "modelStatus": _model_status(record),
    }
    if record.observed_generation is not None:
        status["observedGeneration"] = record.observed_generation
    if record.parts and all(part.has_url for part in record.parts.values()):
        status["url"] = f"http://{name}.{namespace}.example.com"
        status["address"] = {"url": f"http://{name}.{namespace}.svc.cluster.local"}
    return status


def render_stopped(before: Mapping[str, Any], now: float) -> dict[str, Any]:
    """``serving.kserve.io/stop``: everything that was known is wiped."""
    stopped = Condition(_FALSE, "Stopped")
    conditions = {
        "IngressReady": stopped,
        "PredictorReady": stopped,
        "Ready": stopped,
        "Stopped": Condition(_TRUE),
    }
    return {"conditions": with_transition_times(conditions, before, now), "deploymentMode": "Knative"}


def render_without_revisions(mode: str, before: Mapping[str, Any], now: float) -> dict[str, Any]:
    """A service in Standard (raw) or ModelMesh mode: something that is up, no revisions and no split."""
    up = {name: Condition(_TRUE) for name in ("IngressReady", "PredictorReady", "Ready")}
    return {
        "conditions": with_transition_times(up, before, now),
        "deploymentMode": mode,
        "components": {"predictor": {}},
    }


def _component(namespace: str, name: str, component: Component, part: ComponentRecord) -> dict[str, Any]:
    host = f"{name}-{component.value}.{namespace}"
    names = {
        "latestCreatedRevision": part.created,
        "latestReadyRevision": part.ready,
        "latestRolledoutRevision": part.rolled_out,
        "previousRolledoutRevision": part.previous,
    }
    said: dict[str, Any] = {field: revision for field, revision in names.items() if revision}
    if part.traffic:
        said["traffic"] = [_entry(host, target) for target in part.traffic]
    if part.has_url:
        said["url"] = f"http://{host}.example.com"
        said["address"] = {"url": f"http://{host}.svc.cluster.local"}
    return said


def _entry(host: str, target: StatusTarget) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "latestRevision": target.latest,
        "percent": target.percent,
        "revisionName": target.revision,
    }
    if target.tag:
        entry["tag"] = target.tag
        entry["url"] = f"http://{target.tag}-{host}.example.com"
    return entry


def _conditions(record: ServiceRecord) -> dict[str, Condition]:
    conditions: dict[str, Condition] = {}
    for component, part in record.parts.items():
        title = component.value.capitalize()
        conditions[f"{title}Ready"] = part.condition
        if part.configuration is not None and part.route is not None:
            conditions[f"{title}ConfigurationReady"] = part.configuration
            conditions[f"{title}RouteReady"] = part.route
    titles = [component.value.capitalize() for component in record.parts]
    conditions["IngressReady"] = _ingress(record)
    conditions["LatestDeploymentReady"] = _all_of(conditions, [f"{each}ConfigurationReady" for each in titles])
    conditions["RoutesReady"] = _all_of(conditions, [f"{each}RouteReady" for each in titles])
    if record.failure:
        conditions["PredictorReady"] = Condition(_FALSE, "ReconcileFailed", record.failure)
    conditions["Ready"] = _most_severe([conditions["IngressReady"], *(conditions[f"{each}Ready"] for each in titles)])
    conditions["Stopped"] = Condition(_FALSE)
    return dict(sorted(conditions.items()))


def _ingress(record: ServiceRecord) -> Condition:
    for component, part in record.parts.items():
        if not part.has_url:
            return Condition(_UNKNOWN, f"{component.value.capitalize()} ingress not created")
    return Condition(_TRUE)


def _all_of(conditions: Mapping[str, Condition], names: Iterable[str]) -> Condition:
    for status in (_FALSE, _UNKNOWN):
        for name in names:
            if conditions.get(name, Condition(_UNKNOWN)).status is status:
                return Condition(status, f"{name} not ready")
    return Condition(_TRUE)


def _most_severe(conditions: Iterable[Condition]) -> Condition:
    present = list(conditions)
    for status in (_FALSE, _UNKNOWN):
        for condition in present:
            if condition.status is status:
                return condition
    return Condition(_TRUE)


def with_transition_times(
    conditions: Mapping[str, Condition], before: Mapping[str, Any], now: float
) -> list[dict[str, Any]]:
    """The conditions as a status holds them; a transition's time stays while its status does."""
    old = {each["type"]: each for each in before.get("conditions", ())}
    at = format_time(now)
    rows = []
    for kind, condition in conditions.items():
        row: dict[str, Any] = {"type": kind, "status": condition.status.value}
        if condition.reason:
            row["reason"] = condition.reason
        if condition.message:
            row["message"] = condition.message
        if kind not in _TERMINAL:
            row["severity"] = "Info"
        was = old.get(kind)
        kept = was is not None and was["status"] == row["status"]
        row["lastTransitionTime"] = was["lastTransitionTime"] if was is not None and kept else at
        rows.append(row)
    return rows


def _model_status(record: ServiceRecord) -> dict[str, Any]:
    """Never cleared and often late: nothing may be concluded from it, and it is here to tempt."""
    part = record.parts.get(Component.PREDICTOR)
    ready = part is not None and part.condition.status is _TRUE
    target = "Loaded" if ready else record.model_state or "Pending"
    transition = {"Loaded": "UpToDate", "FailedToLoad": "BlockedByFailedLoad"}.get(target, "InProgress")
    said: dict[str, Any] = {
        "copies": {"failedCopies": 0} | ({"totalCopies": 1} if ready else {}),
        "states": {"activeModelState": "Loaded" if record.loaded else "", "targetModelState": target},
        "transitionStatus": transition,
    }
    if record.last_failure:
        said["lastFailureInfo"] = {"exitCode": 1, "message": record.last_failure, "reason": "ModelLoadFailed"}
    return said
