"""What a decision was made from, as the JSON that is kept with it: nothing that mattered is left out.

Kept apart is only what never changes during a rollout and is in the same CanaryRollout: the policy's
snapshot, the names of the revisions, and the specs. ``replay`` makes the same decision again from both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from enum import Enum
from typing import Any

from autocanary.analysis.verdict import AnalysisInput, Verdict
from autocanary.decide.components import OtherComponent
from autocanary.decide.decision_input import DecisionInput, WebhookAnswer
from autocanary.model.frozen_copy import replace
from autocanary.model.observation import (
    ConditionStatus,
    DefaultEndpoint,
    DeploymentMode,
    Observation,
    ServiceKey,
)
from autocanary.model.policy import Component, WebhookType
from autocanary.model.progress import Outbox, Progress
from autocanary.model.progress_json import progress_from_json, progress_to_json
from autocanary.model.rollout import Request

__all__ = ["decision_inputs_from_json", "decision_inputs_to_json", "without_effects"]


def without_effects(progress: Progress) -> Progress:
    """``progress`` without what only records what was done: nothing is decided from that."""
    outbox = Outbox(warnings_sent=progress.outbox.warnings_sent)
    return replace(progress, decisions=(), outbox=outbox, series={})


def decision_inputs_to_json(given: DecisionInput) -> dict[str, Any]:
    """JSON-safe. ``metrics`` are the states after the evaluation, for users; everything else is from before it."""
    progress = given.progress_before if given.progress_before is not None else given.progress
    found: dict[str, Any] = {
        "now": given.now,
        "metrics": {name: state.to_dict() for name, state in given.progress.analysis.metrics.items()},
        "progress": progress_to_json(without_effects(progress)),
        "cacheAge": given.cache_age,
        "acknowledgedWeight": given.acknowledged_weight,
        "paused": given.rollout.paused,
    }
    request = given.rollout.request
    if request is not None:
        found["request"] = {"id": request.id, "verb": request.verb, "by": request.by, "weight": request.weight}
        if request.reason:
            found["request"]["reason"] = request.reason
    if given.unsupported_reason:
        found["unsupportedReason"] = given.unsupported_reason
    if given.webhook_answers:
        found["webhookAnswers"] = {
            kind.value: [[answer.name, answer.ok, answer.detail] for answer in answers]
            for kind, answers in given.webhook_answers.items()
        }
    if given.verdict is not None:
        found["verdict"] = _verdict(given.verdict, progress)
    if given.other_components:
        found["otherComponents"] = [each.to_dict() for each in given.other_components]
    if given.observation is not None:
        found["observation"] = _observation_to_json(given.observation)
    return found


def decision_inputs_from_json(
    raw: Mapping[str, Any],
) -> tuple[dict[str, Any], Progress, AnalysisInput | None]:
    """The inverse: the fields of the Situation, the progress before, and what the verdict was made from.

    Raises KeyError, TypeError or ValueError when the inputs are not what ``decision_inputs_to_json`` wrote.
    """
    progress = progress_from_json(raw["progress"])
    verdict = raw.get("verdict") or {}
    analysis_input = None
    if "measurements" in verdict or "readings" in verdict:
        known = {
            "states": raw["progress"].get("metrics", {}),
            "evidence": progress.analysis.evidence,
            "failedRequests": progress.analysis.failed_requests,
        }
        analysis_input = AnalysisInput.from_dict({**known, **verdict})
    request = raw.get("request")
    values: dict[str, Any] = {
        "observation": _observation_from_json(raw["observation"]) if "observation" in raw else None,
        "now": raw["now"],
        "webhook_answers": {
            WebhookType(kind): tuple(WebhookAnswer(*each) for each in answers)
            for kind, answers in raw.get("webhookAnswers", {}).items()
        },
        "cache_age": raw["cacheAge"],
        "acknowledged_weight": raw["acknowledgedWeight"],
        "unsupported_reason": raw.get("unsupportedReason", ""),
        "other_components": tuple(OtherComponent.from_dict(each) for each in raw.get("otherComponents", ())),
        "paused": raw["paused"],
        "request": Request(**request) if request else None,
    }
    return values, progress, analysis_input


def _verdict(verdict: Verdict, progress: Progress) -> dict[str, Any]:
    """The basis' states and evidence are the progress' own, unless the evaluation was made from an older one."""
    raw: dict[str, Any] = {"outcome": verdict.outcome.value, "reason": verdict.reason.value}
    if verdict.analysis_input is None:
        return raw | {"message": verdict.message}
    analysis_input = verdict.analysis_input.to_dict()
    if verdict.analysis_input.states == progress.analysis.metrics:
        analysis_input.pop("states", None)
    else:
        analysis_input.setdefault("states", {})
    if verdict.analysis_input.evidence == progress.analysis.evidence:
        analysis_input.pop("evidence", None)
    else:
        analysis_input.setdefault("evidence", {})
    if verdict.analysis_input.failed_requests == progress.analysis.failed_requests:
        analysis_input.pop("failedRequests", None)
    else:
        analysis_input.setdefault("failedRequests", {})
    return raw | analysis_input


# The specs are large, and nothing is decided from more than their digests; the policy is selected before.
_NOT_RECORDED = frozenset({"spec", "components"})
_READ: Mapping[str, Any] = {
    "key": lambda raw: ServiceKey(raw[0], raw[1], Component(raw[2])),
    "mode": DeploymentMode,
    "route_ready": ConditionStatus,
    "service_ready": ConditionStatus,
    "latest_ready": ConditionStatus,
    "default_endpoint": lambda raw: None if raw is None else _default_endpoint_from_json(raw),
}


def _observation_to_json(observation: Observation) -> dict[str, Any]:
    return {
        _camel(each.name): _plain(getattr(observation, each.name))
        for each in fields(observation)
        if each.name not in _NOT_RECORDED
    }


def _plain(value: Any) -> Any:
    if isinstance(value, DefaultEndpoint):
        return {
            _camel(each.name): _plain(getattr(value, each.name))
            for each in fields(value)
            if each.name not in _NOT_RECORDED
        }
    if isinstance(value, ServiceKey):
        return [value.namespace, value.name, value.component.value]
    if isinstance(value, Enum):
        return value.value
    return dict(value) if isinstance(value, Mapping) else value


def _observation_from_json(raw: Mapping[str, Any]) -> Observation:
    values = {
        each.name: _READ.get(each.name, _identity)(raw[_camel(each.name)])
        for each in fields(Observation)
        if _camel(each.name) in raw
    }
    return Observation(**values)


def _default_endpoint_from_json(raw: Mapping[str, Any]) -> DefaultEndpoint:
    values = {each.name: raw[_camel(each.name)] for each in fields(DefaultEndpoint) if _camel(each.name) in raw}
    return DefaultEndpoint(**{**values, "spec": {}, "ready": ConditionStatus(raw["ready"])})


def _identity(value: Any) -> Any:
    return value


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
