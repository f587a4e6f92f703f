"""What a decision was made from, as the JSON that is kept with it: nothing that mattered is left out.

Kept apart is only what never changes during a rollout and stands in the same CanaryRollout: the policy's
snapshot, the names of the revisions, and the specs. ``replay`` makes the same decision again from both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from enum import Enum
from typing import Any

from autocanary.analysis.verdict import Basis, Verdict
from autocanary.decide.components import Companion
from autocanary.decide.decision_input import Answer, Situation
from autocanary.model.observation import Beside, Mode, Observation, ServiceKey, Trinary
from autocanary.model.policy import Component, WebhookType
from autocanary.model.progress import Progress
from autocanary.model.rollout import Request

__all__ = ["BOOKS", "inputs_of", "situation_inputs"]

BOOKS: Mapping[str, Any] = {"decisions": (), "untold": (), "told": (), "receipts": {}}
"""Fields of a progress that only tell what was done; nothing is decided from them."""


def inputs_of(situation: Situation) -> dict[str, Any]:
    """JSON-safe. ``metrics`` are the states after the look, for people; everything else is from before it."""
    progress = situation.before if situation.before is not None else situation.progress
    found: dict[str, Any] = {
        "now": situation.now,
        "metrics": {name: state.to_dict() for name, state in situation.progress.metrics.items()},
        "progress": progress.but(**BOOKS).to_dict(),
        "pictureAge": situation.picture_age,
        "acknowledged": situation.acknowledged,
        "paused": situation.rollout.paused,
    }
    request = situation.rollout.request
    if request is not None:
        found["request"] = {"id": request.id, "verb": request.verb, "by": request.by}
    if situation.unsupported:
        found["unsupported"] = situation.unsupported
    if situation.gates:
        found["gates"] = {
            kind.value: [[answer.name, answer.ok, answer.detail] for answer in answers]
            for kind, answers in situation.gates.items()
        }
    if situation.verdict is not None:
        found["verdict"] = _verdict(situation.verdict, progress)
    if situation.companions:
        found["companions"] = [each.to_dict() for each in situation.companions]
    if situation.seen is not None:
        found["seen"] = _seen(situation.seen)
    return found


def situation_inputs(raw: Mapping[str, Any]) -> tuple[dict[str, Any], Progress, Basis | None]:
    """The inverse: the fields of the Situation, the progress before, and what the verdict was made from.

    Raises KeyError, TypeError or ValueError when the inputs are not what ``inputs_of`` wrote.
    """
    progress = Progress.from_dict(raw["progress"])
    verdict = raw.get("verdict") or {}
    basis = None
    if "readings" in verdict:
        known = {"states": raw["progress"].get("metrics", {}), "evidence": progress.evidence}
        basis = Basis.from_dict({**known, **verdict})
    request = raw.get("request")
    values: dict[str, Any] = {
        "seen": _observation(raw["seen"]) if "seen" in raw else None,
        "now": raw["now"],
        "gates": {
            WebhookType(kind): tuple(Answer(*each) for each in answers)
            for kind, answers in raw.get("gates", {}).items()
        },
        "picture_age": raw["pictureAge"],
        "acknowledged": raw["acknowledged"],
        "unsupported": raw.get("unsupported", ""),
        "companions": tuple(Companion.from_dict(each) for each in raw.get("companions", ())),
        "paused": raw["paused"],
        "request": Request(**request) if request else None,
    }
    return values, progress, basis


def _verdict(verdict: Verdict, progress: Progress) -> dict[str, Any]:
    """The basis' states and evidence are the progress' own, unless the look was made from an older one."""
    raw: dict[str, Any] = {"outcome": verdict.outcome.value, "reason": verdict.reason.value}
    if verdict.basis is None:
        return raw | {"message": verdict.message}
    basis = verdict.basis.to_dict()
    if verdict.basis.states == progress.metrics:
        basis.pop("states", None)
    else:
        basis.setdefault("states", {})
    if verdict.basis.evidence == progress.evidence:
        basis.pop("evidence", None)
    else:
        basis.setdefault("evidence", {})
    return raw | basis


# The specs are large, and nothing is decided from more than their digests; the policy is selected before.
_APART = frozenset({"spec", "components"})
_READ: Mapping[str, Any] = {
    "key": lambda raw: ServiceKey(raw[0], raw[1], Component(raw[2])),
    "mode": Mode,
    "route_ready": Trinary,
    "service_ready": Trinary,
    "latest_ready": Trinary,
    "beside": lambda raw: None if raw is None else _beside(raw),
}


def _seen(seen: Observation) -> dict[str, Any]:
    return {
        _camel(each.name): _plain(getattr(seen, each.name))
        for each in fields(seen)
        if each.name not in _APART
    }


def _plain(value: Any) -> Any:
    if isinstance(value, Beside):
        return {
            _camel(each.name): _plain(getattr(value, each.name))
            for each in fields(value)
            if each.name not in _APART
        }
    if isinstance(value, ServiceKey):
        return [value.namespace, value.name, value.component.value]
    if isinstance(value, Enum):
        return value.value
    return dict(value) if isinstance(value, Mapping) else value


def _observation(raw: Mapping[str, Any]) -> Observation:
    values = {
        each.name: _READ.get(each.name, _as_it_is)(raw[_camel(each.name)])
        for each in fields(Observation)
        if _camel(each.name) in raw
    }
    return Observation(**values)


def _beside(raw: Mapping[str, Any]) -> Beside:
    values = {each.name: raw[_camel(each.name)] for each in fields(Beside) if _camel(each.name) in raw}
    return Beside(**{**values, "spec": {}, "ready": Trinary(raw["ready"])})


def _as_it_is(value: Any) -> Any:
    return value


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
