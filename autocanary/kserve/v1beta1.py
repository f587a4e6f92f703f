"""``serving.kserve.io/v1beta1``: where ``canaryTrafficPercent`` stands on each component.

Which fields prove what was measured against KServe 0.20 and Knative 1.21; three traps shape this module:
the ``latestRevision`` entry of the traffic list may name any revision, so shares are summed by name;
``modelStatus`` lags, freezes and is never cleared, so it never decides that a revision has failed; and
the API server accepts weights that KServe cannot use.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from autocanary.core.observation import Mode, Observation, ServiceKey, Trinary
from autocanary.core.policy import Component
from autocanary.kserve import merge

__all__ = ["WEIGHT", "V1Beta1", "spec_digest"]

WEIGHT = "canaryTrafficPercent"
_NOTHING: Mapping[str, Any] = {}
_COMPONENTS = tuple((component, component.value, component.value.capitalize()) for component in Component)
_MODES = {
    "knative": Mode.KNATIVE,
    "serverless": Mode.KNATIVE,
    "standard": Mode.STANDARD,
    "rawdeployment": Mode.STANDARD,
    "modelmesh": Mode.MODELMESH,
}
_TRINARY = {each.value: each for each in Trinary}
_MODE_ANNOTATION = "serving.kserve.io/deploymentMode"
_STOP_ANNOTATION = "serving.kserve.io/stop"
_NO_UPDATE_ANNOTATION = "serving.kserve.io/disable-auto-update"
_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode


@dataclass(frozen=True, slots=True)
class V1Beta1:
    """KServe since 0.7, and KFServing 0.7 on."""

    group: str = "serving.kserve.io"
    version: str = "v1beta1"
    plural: str = "inferenceservices"

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}"

    def observe(self, document: Mapping[str, Any]) -> tuple[Observation, ...]:
        spec = _mapping(document.get("spec"))
        return tuple(
            self._observation(document, component, title, part)
            for component, name, title in _COMPONENTS
            if isinstance(part := spec.get(name), Mapping)
        )

    def _observation(
        self, document: Mapping[str, Any], component: Component, title: str, spec: Mapping[str, Any]
    ) -> Observation:
        metadata = document["metadata"]
        annotations = _mapping(metadata.get("annotations"))
        status = _mapping(document.get("status"))
        state = _mapping(_mapping(status.get("components")).get(component.value))
        conditions = _conditions(status)
        weight, fault = _weight(spec.get(WEIGHT))
        rest = {name: value for name, value in spec.items() if name != WEIGHT}
        created, ready = _text(state, "latestCreatedRevision"), _text(state, "latestReadyRevision")
        return Observation(
            key=ServiceKey(metadata.get("namespace", ""), metadata["name"], component),
            uid=metadata.get("uid", ""),
            api_version=document.get("apiVersion") or self.api_version,
            resource_version=metadata.get("resourceVersion", ""),
            labels=metadata.get("labels") or _NOTHING,
            mode=_mode(status, annotations, created),
            weight=weight,
            traffic=_traffic(state.get("traffic")),
            rolled_out=_text(state, "latestRolledoutRevision"),
            previous=_text(state, "previousRolledoutRevision"),
            ready=ready,
            created=created,
            route_ready=_trinary(conditions.get(f"{title}RouteReady")),
            service_ready=_trinary(conditions.get("Ready")),
            latest_ready=_trinary(_newest_condition(conditions, title)),
            failure=_failure(conditions, title, created) if created and created != ready else "",
            writer=_writer(metadata.get("managedFields"), component.value),
            stopped=_is_true(annotations.get(_STOP_ANNOTATION)),
            deleting=bool(metadata.get("deletionTimestamp")),
            auto_update_disabled=_is_true(annotations.get(_NO_UPDATE_ANNOTATION)),
            reconcile_error=fault or _reconcile_error(conditions, title),
            spec_digest=spec_digest(rest),
            spec=rest,
        )

    def weight_patch(self, seen: Observation, weight: int) -> dict[str, Any]:
        return _patch(seen, {WEIGHT: _checked(seen, weight)})

    def restore_patch(self, seen: Observation, spec: Mapping[str, Any], weight: int | None) -> dict[str, Any]:
        target = {name: value for name, value in spec.items() if name != WEIGHT}
        change = merge.diff(seen.spec, target)
        change[WEIGHT] = None if weight is None else _checked(seen, weight)
        return _patch(seen, change)


def spec_digest(spec: Mapping[str, Any]) -> str:
    """Identifies a component's spec without its weight: 16 hex digits over canonical JSON."""
    if WEIGHT in spec:
        spec = {name: value for name, value in spec.items() if name != WEIGHT}
    return hashlib.sha256(_encode(spec).encode("ascii")).hexdigest()[:16]


def _patch(seen: Observation, change: dict[str, Any]) -> dict[str, Any]:
    # resourceVersion makes it compare-and-set; uid refuses a namesake that replaced the service.
    return {
        "metadata": {"resourceVersion": seen.resource_version, "uid": seen.uid},
        "spec": {seen.key.component.value: change},
    }


def _checked(seen: Observation, weight: int) -> int:
    if not 0 <= weight <= 100:
        raise ValueError(f"{seen.key}: weight {weight} is outside 0..100; KServe would stop reconciling")
    return weight


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else _NOTHING


def _text(state: Mapping[str, Any], name: str) -> str:
    return state.get(name) or ""


def _is_true(value: Any) -> bool:
    return value is True or (isinstance(value, str) and value.lower() == "true")


def _weight(value: Any) -> tuple[int | None, str]:
    """The weight, and in words what is wrong with it."""
    if value is None:
        return None, ""
    if isinstance(value, int) and not isinstance(value, bool):
        return value, ""
    if isinstance(value, float) and value.is_integer():
        return int(value), ""
    return None, f"{WEIGHT} is {value!r}, but must be a whole number from 0 to 100; KServe cannot use it"


def _traffic(entries: Any) -> Mapping[str, int]:
    """Shares summed by revision: one revision can have several entries, and one is on the list at 0 %."""
    shares: dict[str, int] = {}
    for entry in entries or ():
        name = entry.get("revisionName") if isinstance(entry, Mapping) else None
        if name:
            percent = entry.get("percent")
            number = isinstance(percent, int | float) and not isinstance(percent, bool)
            shares[name] = shares.get(name, 0) + (int(percent) if number else 0)
    return shares


def _conditions(status: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    return {
        condition["type"]: condition
        for condition in status.get("conditions") or ()
        if isinstance(condition, Mapping) and "type" in condition
    }


def _trinary(condition: Mapping[str, Any] | None) -> Trinary:
    if condition is None:
        return Trinary.UNKNOWN
    return _TRINARY.get(condition.get("status", ""), Trinary.UNKNOWN)


def _newest_condition(conditions: Mapping[str, Mapping[str, Any]], title: str) -> Mapping[str, Any] | None:
    # LatestDeploymentReady speaks for all components at once, so the component's own is asked first.
    return conditions.get(f"{title}ConfigurationReady") or conditions.get("LatestDeploymentReady")


def _failure(conditions: Mapping[str, Mapping[str, Any]], title: str, created: str) -> str:
    condition = _newest_condition(conditions, title)
    if condition is None or _trinary(condition) is not Trinary.FALSE:
        return ""
    said = condition.get("message") or condition.get("reason") or ""
    cause = said.removeprefix(f'Revision "{created}" failed with message: ').rstrip(".")
    return cause or "KServe says that it failed and gives no reason"


def _reconcile_error(conditions: Mapping[str, Mapping[str, Any]], title: str) -> str:
    for kind in (f"{title}Ready", "Ready"):
        condition = conditions.get(kind)
        if condition is not None and condition.get("reason") == "ReconcileFailed":
            return condition.get("message") or "KServe cannot reconcile this service (ReconcileFailed)"
    return ""


def _mode(status: Mapping[str, Any], annotations: Mapping[str, Any], created: str) -> Mode:
    """status > annotation > a Knative revision exists. Old names and any spelling are understood."""
    for said in (status.get("deploymentMode"), annotations.get(_MODE_ANNOTATION)):
        if isinstance(said, str) and (mode := _MODES.get(said.lower())) is not None:
            return mode
    return Mode.KNATIVE if created else Mode.UNKNOWN


def _writer(managed_fields: Any, component: str) -> str:
    """The manager that owns the weight; on the minimal CRD, whose spec is atomic, the spec's owner."""
    newest, name = "", ""
    for at, manager in _owners(managed_fields or (), component):
        if at >= newest:
            newest, name = at, manager
    return name


def _owners(managed_fields: Iterable[Mapping[str, Any]], component: str) -> Iterator[tuple[str, str]]:
    for entry in managed_fields:
        if entry.get("subresource"):
            continue
        owned = _mapping(entry.get("fieldsV1"))
        if "f:spec" not in owned:
            continue
        spec = _mapping(owned["f:spec"])
        if not spec or f"f:{WEIGHT}" in _mapping(spec.get(f"f:{component}")):
            yield entry.get("time") or "", entry.get("manager") or ""
