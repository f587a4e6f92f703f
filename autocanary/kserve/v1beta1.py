"""``serving.kserve.io/v1beta1``: where ``canaryTrafficPercent`` stands on each component.

Which fields prove what was measured against KServe 0.20 and Knative 1.21; three traps shape this module:
the ``latestRevision`` entry of the traffic list may name any revision, so shares are summed by name;
``modelStatus`` lags, freezes and is never cleared, so it never decides that a revision has failed; and
the API server accepts weights that KServe cannot use.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from autocanary.kserve import merge_patch
from autocanary.kserve.api_generation import Generation
from autocanary.kserve.document_fields import (
    NOTHING,
    WEIGHT,
    checked,
    conditions_of,
    digest_of,
    guarded,
    mapping,
    text,
    trinary,
    weight_of,
    words_of,
    writer_of,
)
from autocanary.kserve.knative_routes import Route, shares_of
from autocanary.model.observation import Mode, Observation, ServiceKey, Trinary
from autocanary.model.policy import Component

__all__ = ["WEIGHT", "V1Beta1", "spec_digest"]

_COMPONENTS = tuple((component, component.value, component.value.capitalize()) for component in Component)
_MODES = {
    "knative": Mode.KNATIVE,
    "serverless": Mode.KNATIVE,
    "standard": Mode.STANDARD,
    "rawdeployment": Mode.STANDARD,
    "modelmesh": Mode.MODELMESH,
}
_MODE_ANNOTATION = "serving.kserve.io/deploymentMode"
_STOP_ANNOTATION = "serving.kserve.io/stop"
_NO_UPDATE_ANNOTATION = "serving.kserve.io/disable-auto-update"


@dataclass(frozen=True, slots=True)
class V1Beta1(Generation):
    """KServe since 0.7; in the group ``serving.kubeflow.org`` KFServing 0.5 and 0.6."""

    group: str = "serving.kserve.io"
    version: str = "v1beta1"

    def observe(self, document: Mapping[str, Any]) -> tuple[Observation, ...]:
        spec = mapping(document.get("spec"))
        return tuple(
            self._observation(document, component, title, part)
            for component, name, title in _COMPONENTS
            if isinstance(part := spec.get(name), Mapping)
        )

    def _observation(
        self, document: Mapping[str, Any], component: Component, title: str, spec: Mapping[str, Any]
    ) -> Observation:
        metadata = document["metadata"]
        annotations = mapping(metadata.get("annotations"))
        status = mapping(document.get("status"))
        state = mapping(mapping(status.get("components")).get(component.value))
        conditions = conditions_of(status)
        weight, fault = weight_of(spec.get(WEIGHT))
        rest = {name: value for name, value in spec.items() if name != WEIGHT}
        created, ready = text(state, "latestCreatedRevision"), text(state, "latestReadyRevision")
        return Observation(
            key=ServiceKey(metadata.get("namespace", ""), metadata["name"], component),
            uid=metadata.get("uid", ""),
            api_version=document.get("apiVersion") or self.api_version,
            resource_version=metadata.get("resourceVersion", ""),
            labels=metadata.get("labels") or NOTHING,
            mode=_mode(status, annotations, created),
            weight=weight,
            traffic=dict(shares_of(state.get("traffic"))),
            rolled_out=text(state, "latestRolledoutRevision"),
            previous=text(state, "previousRolledoutRevision"),
            ready=ready,
            created=created,
            route_ready=trinary(conditions.get(f"{title}RouteReady")),
            service_ready=trinary(conditions.get("Ready")),
            latest_ready=trinary(_newest_condition(conditions, title)),
            failure=_failure(conditions, title, created) if created and created != ready else "",
            writer=writer_of(
                metadata.get("managedFields"), lambda spec: mapping(spec.get(f"f:{component.value}"))
            ),
            stopped=_is_true(annotations.get(_STOP_ANNOTATION)),
            deleting=bool(metadata.get("deletionTimestamp")),
            auto_update_disabled=_is_true(annotations.get(_NO_UPDATE_ANNOTATION)),
            reconcile_error=fault or _reconcile_error(conditions, title),
            spec_digest=spec_digest(rest),
            spec=rest,
        )

    def weight_patch(self, seen: Observation, weight: int) -> dict[str, Any]:
        return _patch(seen, {WEIGHT: checked(seen, weight)})

    def restore_patch(self, seen: Observation, spec: Mapping[str, Any], weight: int | None) -> dict[str, Any]:
        target = {name: value for name, value in spec.items() if name != WEIGHT}
        change = merge_patch.diff(seen.spec, target)
        change[WEIGHT] = None if weight is None else checked(seen, weight)
        return _patch(seen, change)

    def routes(self, document: Mapping[str, Any]) -> tuple[Route, ...]:
        """One for each component, with the split in it."""
        status = mapping(document.get("status"))
        conditions = conditions_of(status)
        return tuple(
            Route(
                name=f"{document['metadata']['name']}-{name}",
                url=text(state, "url"),
                ready=trinary(conditions.get(f"{title}RouteReady")),
                traffic=shares_of(state.get("traffic")),
            )
            for _, name, title in _COMPONENTS
            if (state := mapping(mapping(status.get("components")).get(name)))
        )

    def settle_patch(self, seen: Observation) -> dict[str, Any]:
        raise ValueError(f"{seen.key}: at 100 % the candidate is stable; there is nothing to settle")


def spec_digest(spec: Mapping[str, Any]) -> str:
    """Identifies a component's spec without its weight: 16 hex digits over canonical JSON."""
    if WEIGHT in spec:
        spec = {name: value for name, value in spec.items() if name != WEIGHT}
    return digest_of(spec)


def _patch(seen: Observation, change: dict[str, Any]) -> dict[str, Any]:
    return guarded(seen, {seen.key.component.value: change})


def _is_true(value: Any) -> bool:
    return value is True or (isinstance(value, str) and value.lower() == "true")


def _newest_condition(conditions: Mapping[str, Mapping[str, Any]], title: str) -> Mapping[str, Any] | None:
    # LatestDeploymentReady speaks for all components at once, so the component's own is asked first.
    return conditions.get(f"{title}ConfigurationReady") or conditions.get("LatestDeploymentReady")


def _failure(conditions: Mapping[str, Mapping[str, Any]], title: str, created: str) -> str:
    condition = _newest_condition(conditions, title)
    if condition is None or trinary(condition) is not Trinary.FALSE:
        return ""
    cause = words_of(condition).removeprefix(f'Revision "{created}" failed with message: ').rstrip(".")
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
