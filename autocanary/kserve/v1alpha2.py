"""``serving.kubeflow.org/v1alpha2`` (KFServing up to 0.4): ``spec.default`` beside ``spec.canary``.

Each side is an endpoint of its own (a Knative Service per component), and ``canaryTrafficPercent`` splits
the requests between the two endpoints as wholes: all components of a service share one weight and one
candidate spec. The status shows the split as two numbers and each side's revisions by component.

Traps that shape this module: the weight is an ``omitempty`` integer, so absent is 0 and 0 may be absent; the
names in the status are of the *newest created* revisions, ready or not; while either side is not ready, the
split is not written again, ``RoutesReady`` is False and the two numbers are gone.
"""

from __future__ import annotations

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
from autocanary.kserve.knative_routes import Route
from autocanary.model.observation import (
    ConditionStatus,
    DefaultEndpoint,
    DeploymentMode,
    Observation,
    PromotionPending,
    ServiceKey,
)
from autocanary.model.policy import Component

__all__ = ["CANARY_REFUSED_TEXT", "CANARY_UNSUPPORTED_MESSAGE", "V1Alpha2"]

CANARY_REFUSED_TEXT = "no longer supported on v1alpha2"
"""How the webhook of KFServing 0.5 and 0.6, which only serve v1alpha2 for old clients, refuses any weight."""

CANARY_UNSUPPORTED_MESSAGE = (
    "this KFServing (0.5 or 0.6) splits no traffic for services of v1alpha2; apply the service as "
    "serving.kubeflow.org/v1beta1, where canaryTrafficPercent is a field of the predictor"
)

_SIDES = ("default", "canary")
_Conditions = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class V1Alpha2(ApiResource):
    """KFServing 0.2 to 0.4; 0.5 and 0.6 still serve it, and refuse canaries in it."""

    group: str = "serving.kubeflow.org"
    version: str = "v1alpha2"

    def observe(self, document: Mapping[str, Any]) -> tuple[Observation, ...]:
        spec = as_mapping(document.get("spec"))
        default, canary = (as_mapping(spec.get(side)) for side in _SIDES)
        present = tuple(
            component
            for component in Component
            if isinstance(default.get(component.value), Mapping) or isinstance(canary.get(component.value), Mapping)
        )
        return tuple(self._observation(document, component, default, canary, present) for component in present)

    def _observation(
        self,
        document: Mapping[str, Any],
        component: Component,
        default: Mapping[str, Any],
        canary: Mapping[str, Any],
        present: tuple[Component, ...],
    ) -> Observation:
        metadata = document["metadata"]
        status = as_mapping(document.get("status"))
        conditions = conditions_by_type(status)
        stable, candidate = (
            string_field(as_mapping(as_mapping(status.get(side)).get(component.value)), "name") for side in _SIDES
        )
        has_candidate = bool(canary)
        created = candidate if has_candidate and candidate else stable
        weight, weight_error = parse_weight(as_mapping(document.get("spec")).get(WEIGHT))
        stable_ready = _side_ready(conditions, "default", default)
        newest_ready = _side_ready(conditions, "canary", canary) if has_candidate else stable_ready
        is_ready = newest_ready is ConditionStatus.TRUE
        return Observation(
            key=ServiceKey(metadata.get("namespace", ""), metadata["name"], component),
            uid=metadata.get("uid", ""),
            api_version=document.get("apiVersion") or self.api_version,
            resource_version=metadata.get("resourceVersion", ""),
            labels=metadata.get("labels") or EMPTY,
            mode=DeploymentMode.KNATIVE if created else DeploymentMode.UNKNOWN,
            weight=(0 if weight is None and not weight_error else weight) if has_candidate else None,
            traffic=_traffic(status, stable, candidate),
            rolled_out=stable,
            previous="",
            ready=created if is_ready else (stable if has_candidate else ""),
            created=created,
            route_ready=condition_status(conditions.get("RoutesReady")),
            service_ready=condition_status(conditions.get("Ready")),
            latest_ready=newest_ready,
            failure=_side_failure(conditions, "canary", canary) if has_candidate else "",
            writer=weight_manager(metadata.get("managedFields")),
            released_by=release_author(
                metadata,
                self.author_annotation,
                lambda spec: as_mapping(spec.get("f:canary" if has_candidate else "f:default")),
            ),
            deleting=bool(metadata.get("deletionTimestamp")),
            reconcile_error=weight_error,
            spec_digest=_digest(canary if has_candidate else default),
            spec=canary if has_candidate else default,
            default_endpoint=DefaultEndpoint(
                spec=default,
                digest=_digest(default),
                ready=stable_ready,
                has_candidate=has_candidate,
                failure=_side_failure(conditions, "default", default),
                components=present,
            ),
        )

    def weight_patch(self, observation: Observation, weight: int) -> dict[str, Any]:
        return patch_with_preconditions(observation, {WEIGHT: validate_weight(observation, weight)})

    def restore_patch(
        self,
        observation: Observation,
        spec: Mapping[str, Any],  # noqa: ARG002 - the protocol's
        weight: int | None,
    ) -> dict[str, Any]:
        """The candidate out of the spec, and its weight with it.

        Stable's spec is there already, as its owner wants it, so it is not written; nor is a weight, which
        the controller refuses to have without a candidate.
        """
        if weight is not None:
            validate_weight(observation, weight)
        return patch_with_preconditions(observation, {"canary": None, WEIGHT: None})

    def release_patch(self, observation: Observation, spec: Mapping[str, Any]) -> dict[str, Any]:
        """Into the candidate's place; stable's stays."""
        before = observation.spec if not observation.candidate_removed else {}
        return patch_with_preconditions(observation, {"canary": merge_patch.diff(before, spec), WEIGHT: 0})

    def finalize_patch(self, observation: Observation) -> dict[str, Any]:
        """First the candidate's spec in stable's place, the weight untouched; then its own place emptied."""
        promotion_pending, default_endpoint = observation.promotion_pending, observation.default_endpoint
        if promotion_pending is PromotionPending.ADOPT and default_endpoint is not None:
            return patch_with_preconditions(
                observation, {"default": merge_patch.diff(default_endpoint.spec, observation.spec)}
            )
        if promotion_pending is PromotionPending.CLEAR:
            return patch_with_preconditions(observation, {"canary": None, WEIGHT: None})
        raise ValueError(f"{observation.key}: there is nothing to finalize by a write now")

    def routes(self, document: Mapping[str, Any]) -> tuple[Route, ...]:
        """One for each side's component: there the split is above the routes, not in them."""
        status, name = as_mapping(document.get("status")), document["metadata"]["name"]
        conditions = conditions_by_type(status)
        found = []
        for component in Component:
            for side in _SIDES:
                state = as_mapping(as_mapping(status.get(side)).get(component.value))
                revision, host = string_field(state, "name"), string_field(state, "host")
                if revision:
                    found.append(
                        Route(
                            name=f"{name}-{component.value}-{side}",
                            url=f"http://{host}" if host else "",
                            ready=condition_status(
                                conditions.get(f"{side.capitalize()}{component.value.capitalize()}Ready")
                            ),
                            traffic=((revision, 100),),
                        )
                    )
        return tuple(found)


def _digest(endpoint: Mapping[str, Any]) -> str:
    """Of what a merge-patch can carry over: a null in an object is as good as no field."""
    return json_digest(merge_patch.apply(None, endpoint))


def _traffic(status: Mapping[str, Any], stable: str, candidate: str) -> Mapping[str, int]:
    """Empty when the status does not account for all of it: then it says nothing about the split."""
    shares = [_percent(status.get("traffic")), _percent(status.get("canaryTraffic"))]
    if sum(shares) != 100 or not stable:
        return {}
    return {name: share for name, share in zip((stable, candidate), shares, strict=True) if name}


def _percent(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _condition_types(side: str, endpoint: Mapping[str, Any]) -> list[str]:
    """The conditions that a side's components have."""
    return [
        f"{side.capitalize()}{component.value.capitalize()}Ready"
        for component in Component
        if isinstance(endpoint.get(component.value), Mapping)
    ]


def _side_ready(conditions: _Conditions, side: str, endpoint: Mapping[str, Any]) -> ConditionStatus:
    """A side is ready with all its components, for only then the split is written."""
    said = {condition_status(conditions.get(kind)) for kind in _condition_types(side, endpoint)}
    for each in (ConditionStatus.FALSE, ConditionStatus.UNKNOWN):
        if each in said:
            return each
    return ConditionStatus.TRUE if said else ConditionStatus.UNKNOWN


def _side_failure(conditions: _Conditions, side: str, endpoint: Mapping[str, Any]) -> str:
    for kind in _condition_types(side, endpoint):
        condition = conditions.get(kind)
        if condition is not None and condition_status(condition) is ConditionStatus.FALSE:
            said = condition_message(condition).rstrip(".")
            return said or "KFServing says that it failed and gives no reason"
    return ""
