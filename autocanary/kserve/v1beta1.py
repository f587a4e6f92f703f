"""``serving.kserve.io/v1beta1``: ``canaryTrafficPercent`` is a field of each component.

Which fields prove what was measured against KServe 0.20 and Knative 1.21; three traps shape this module:
the ``latestRevision`` entry of the traffic list may name any revision, so shares are summed by name;
``modelStatus`` lags, freezes and is never cleared, so it never decides that a revision has failed; and
the API server accepts weights that KServe cannot use.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from autocanary.kserve import merge_patch
from autocanary.kserve.api_generation import ApiResource
from autocanary.kserve.document_fields import (
    EMPTY,
    WEIGHT,
    as_mapping,
    condition_message,
    condition_status,
    conditions_by_type,
    json_digest,
    parse_weight,
    patch_with_preconditions,
    release_author,
    string_field,
    validate_weight,
    weight_manager,
)
from autocanary.kserve.knative_routes import Route, traffic_by_revision
from autocanary.model.observation import ConditionStatus, DeploymentMode, Observation, ServiceKey
from autocanary.model.policy import Component

__all__ = ["WEIGHT", "V1Beta1", "spec_digest"]

_COMPONENTS = tuple((component, component.value, component.value.capitalize()) for component in Component)
_MODES = {
    "knative": DeploymentMode.KNATIVE,
    "serverless": DeploymentMode.KNATIVE,
    "standard": DeploymentMode.STANDARD,
    "rawdeployment": DeploymentMode.STANDARD,
    "modelmesh": DeploymentMode.MODELMESH,
}
_MODE_ANNOTATION = "serving.kserve.io/deploymentMode"
_STOP_ANNOTATION = "serving.kserve.io/stop"
_NO_UPDATE_ANNOTATION = "serving.kserve.io/disable-auto-update"


@dataclass(frozen=True, slots=True)
class V1Beta1(ApiResource):
    """KServe since 0.7; in the group ``serving.kubeflow.org`` KFServing 0.5 and 0.6."""

    group: str = "serving.kserve.io"
    version: str = "v1beta1"

    def observe(self, document: Mapping[str, Any]) -> tuple[Observation, ...]:
        spec = as_mapping(document.get("spec"))
        return tuple(
            self._observation(document, component, title, part)
            for component, name, title in _COMPONENTS
            if isinstance(part := spec.get(name), Mapping)
        )

    def _observation(
        self, document: Mapping[str, Any], component: Component, title: str, spec: Mapping[str, Any]
    ) -> Observation:
        metadata = document["metadata"]
        annotations = as_mapping(metadata.get("annotations"))
        status = as_mapping(document.get("status"))
        state = as_mapping(as_mapping(status.get("components")).get(component.value))
        conditions = conditions_by_type(status)
        weight, weight_error = parse_weight(spec.get(WEIGHT))
        rest = {name: value for name, value in spec.items() if name != WEIGHT}
        created, ready = (
            string_field(state, "latestCreatedRevision"),
            string_field(state, "latestReadyRevision"),
        )
        route_failure, blocked_by = _blocked_route(conditions, title, string_field(state, "latestRolledoutRevision"))
        return Observation(
            key=ServiceKey(metadata.get("namespace", ""), metadata["name"], component),
            uid=metadata.get("uid", ""),
            api_version=document.get("apiVersion") or self.api_version,
            resource_version=metadata.get("resourceVersion", ""),
            labels=metadata.get("labels") or EMPTY,
            mode=_mode(status, annotations, created),
            weight=weight,
            traffic=dict(traffic_by_revision(state.get("traffic"))),
            rolled_out=string_field(state, "latestRolledoutRevision"),
            previous=string_field(state, "previousRolledoutRevision"),
            ready=ready,
            created=created,
            route_ready=condition_status(conditions.get(f"{title}RouteReady")),
            service_ready=condition_status(conditions.get("Ready")),
            latest_ready=condition_status(_newest_condition(conditions, title)),
            failure=_failure(conditions, title, created, was_ready=created == ready) if created else "",
            route_failure=route_failure,
            blocked_by=blocked_by,
            generation=_generation(metadata.get("generation")),
            is_status_behind=_is_behind(status.get("observedGeneration"), metadata.get("generation")),
            writer=weight_manager(
                metadata.get("managedFields"), lambda spec: as_mapping(spec.get(f"f:{component.value}"))
            ),
            released_by=release_author(
                metadata, self.author_annotation, lambda spec: as_mapping(spec.get(f"f:{component.value}"))
            ),
            stopped=_is_true(annotations.get(_STOP_ANNOTATION)),
            deleting=bool(metadata.get("deletionTimestamp")),
            auto_update_disabled=_is_true(annotations.get(_NO_UPDATE_ANNOTATION)),
            reconcile_error=weight_error or _reconcile_error(conditions, title),
            spec_digest=spec_digest(rest),
            spec=rest,
        )

    def weight_patch(self, observation: Observation, weight: int) -> dict[str, Any]:
        return _patch(observation, {WEIGHT: validate_weight(observation, weight)})

    def restore_patch(self, observation: Observation, spec: Mapping[str, Any], weight: int | None) -> dict[str, Any]:
        target = {name: value for name, value in spec.items() if name != WEIGHT}
        change = merge_patch.diff(observation.spec, target)
        change[WEIGHT] = None if weight is None else validate_weight(observation, weight)
        return _patch(observation, change)

    def release_patch(self, observation: Observation, spec: Mapping[str, Any]) -> dict[str, Any]:
        return self.restore_patch(observation, spec, 0)

    def routes(self, document: Mapping[str, Any]) -> tuple[Route, ...]:
        """One for each component, with the split in it."""
        status = as_mapping(document.get("status"))
        conditions = conditions_by_type(status)
        return tuple(
            Route(
                name=f"{document['metadata']['name']}-{name}",
                url=string_field(state, "url"),
                ready=condition_status(conditions.get(f"{title}RouteReady")),
                traffic=traffic_by_revision(state.get("traffic")),
            )
            for _, name, title in _COMPONENTS
            if (state := as_mapping(as_mapping(status.get("components")).get(name)))
        )

    def finalize_patch(self, observation: Observation) -> dict[str, Any]:
        raise ValueError(f"{observation.key}: at 100 % the candidate is stable; there is nothing to finalize")


def spec_digest(spec: Mapping[str, Any]) -> str:
    """Identifies a component's spec without its weight: 16 hex digits over canonical JSON."""
    if WEIGHT in spec:
        spec = {name: value for name, value in spec.items() if name != WEIGHT}
    return json_digest(spec)


def _patch(observation: Observation, change: dict[str, Any]) -> dict[str, Any]:
    return patch_with_preconditions(observation, {observation.key.component.value: change})


def _is_true(value: Any) -> bool:
    return value is True or (isinstance(value, str) and value.lower() == "true")


def _newest_condition(conditions: Mapping[str, Mapping[str, Any]], title: str) -> Mapping[str, Any] | None:
    # LatestDeploymentReady speaks for all components at once, so the component's own is asked first.
    return conditions.get(f"{title}ConfigurationReady") or conditions.get("LatestDeploymentReady")


def _failure(conditions: Mapping[str, Mapping[str, Any]], title: str, created: str, *, was_ready: bool) -> str:
    """Why the newest revision failed. A revision that was ready is accused only by a message that names it.

    The same condition is False when creating the *next* revision is refused.
    """
    condition = _newest_condition(conditions, title)
    if condition is None or condition_status(condition) is not ConditionStatus.FALSE:
        return ""
    message, names_it = condition_message(condition), f'Revision "{created}" failed with message: '
    if was_ready and not message.startswith(names_it):
        return ""
    cause = message.removeprefix(names_it).rstrip(".")
    return cause or "KServe says that it failed and gives no reason"


def _generation(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _is_behind(observed: Any, generation: Any) -> bool:
    return isinstance(observed, int) and isinstance(generation, int) and observed < generation


_NAMED_REVISION = re.compile(r'^Revision "([^"]+)" ')


def _blocked_route(conditions: Mapping[str, Mapping[str, Any]], title: str, rolled_out: str) -> tuple[str, str]:
    """What KServe says about a route that a revision blocks, and which revision that is; "" where none does.

    Where the message names none, the newest revision is not the cause if its configuration is ready: then the
    cause is stable.
    """
    condition = conditions.get(f"{title}RouteReady")
    if condition is None or condition_status(condition) is not ConditionStatus.FALSE:
        return "", ""
    if condition.get("reason") != "RevisionMissing":
        return "", ""
    message = condition_message(condition)
    named = _NAMED_REVISION.match(message)
    if named is not None:
        return message, named.group(1)
    newest_ready = condition_status(conditions.get(f"{title}ConfigurationReady")) is ConditionStatus.TRUE
    return message, rolled_out if newest_ready else ""


def _reconcile_error(conditions: Mapping[str, Mapping[str, Any]], title: str) -> str:
    for kind in (f"{title}Ready", "Ready"):
        condition = conditions.get(kind)
        if condition is not None and condition.get("reason") == "ReconcileFailed":
            return condition.get("message") or "KServe cannot reconcile this service (ReconcileFailed)"
    return ""


def _mode(status: Mapping[str, Any], annotations: Mapping[str, Any], created: str) -> DeploymentMode:
    """status > annotation > a Knative revision exists. Old names and any spelling are understood."""
    for said in (status.get("deploymentMode"), annotations.get(_MODE_ANNOTATION)):
        if isinstance(said, str) and (mode := _MODES.get(said.lower())) is not None:
            return mode
    return DeploymentMode.KNATIVE if created else DeploymentMode.UNKNOWN
