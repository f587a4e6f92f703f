"""``serving.kubeflow.org/v1alpha2`` (KFServing up to 0.4): ``spec.default`` beside ``spec.canary``.

Each side is an endpoint of its own (a Knative Service per component), and ``canaryTrafficPercent`` splits
the requests between the two endpoints as wholes: all components of a service share one weight and one
candidate spec. The status shows the split as two numbers and each side's revisions by component.

Traps that shape this module: the weight is an ``omitempty`` integer, so absent is 0 and 0 may be absent; the
names in the status are of the *newest created* revisions, ready or not; while either side is not ready, the
split is not written anew, ``RoutesReady`` is False and the two numbers are gone.
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
from autocanary.kserve.knative_routes import Route
from autocanary.model.observation import Beside, Mode, Observation, ServiceKey, Trinary, Unsettled
from autocanary.model.policy import Component

__all__ = ["NO_CANARIES", "NO_SUCH_CANARY", "V1Alpha2"]

NO_SUCH_CANARY = "no longer supported on v1alpha2"
"""How the webhook of KFServing 0.5 and 0.6, which only serve v1alpha2 for old clients, refuses any weight."""

NO_CANARIES = (
    "this KFServing (0.5 or 0.6) splits no traffic for services of v1alpha2; apply the service as "
    "serving.kubeflow.org/v1beta1, where canaryTrafficPercent stands on the predictor"
)

_SIDES = ("default", "canary")
_Conditions = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class V1Alpha2(Generation):
    """KFServing 0.2 to 0.4; 0.5 and 0.6 still serve it, and refuse canaries in it."""

    group: str = "serving.kubeflow.org"
    version: str = "v1alpha2"

    def observe(self, document: Mapping[str, Any]) -> tuple[Observation, ...]:
        spec = mapping(document.get("spec"))
        default, canary = (mapping(spec.get(side)) for side in _SIDES)
        present = tuple(
            component
            for component in Component
            if isinstance(default.get(component.value), Mapping)
            or isinstance(canary.get(component.value), Mapping)
        )
        return tuple(
            self._observation(document, component, default, canary, present) for component in present
        )

    def _observation(
        self,
        document: Mapping[str, Any],
        component: Component,
        default: Mapping[str, Any],
        canary: Mapping[str, Any],
        present: tuple[Component, ...],
    ) -> Observation:
        metadata = document["metadata"]
        status = mapping(document.get("status"))
        conditions = conditions_of(status)
        stable, candidate = (
            text(mapping(mapping(status.get(side)).get(component.value)), "name") for side in _SIDES
        )
        has_candidate = bool(canary)
        created = candidate if has_candidate and candidate else stable
        weight, fault = weight_of(mapping(document.get("spec")).get(WEIGHT))
        stable_ready = _side_ready(conditions, "default", default)
        newest_ready = _side_ready(conditions, "canary", canary) if has_candidate else stable_ready
        is_ready = newest_ready is Trinary.TRUE
        return Observation(
            key=ServiceKey(metadata.get("namespace", ""), metadata["name"], component),
            uid=metadata.get("uid", ""),
            api_version=document.get("apiVersion") or self.api_version,
            resource_version=metadata.get("resourceVersion", ""),
            labels=metadata.get("labels") or NOTHING,
            mode=Mode.KNATIVE if created else Mode.UNKNOWN,
            weight=(0 if weight is None and not fault else weight) if has_candidate else None,
            traffic=_traffic(status, stable, candidate),
            rolled_out=stable,
            previous="",
            ready=created if is_ready else (stable if has_candidate else ""),
            created=created,
            route_ready=trinary(conditions.get("RoutesReady")),
            service_ready=trinary(conditions.get("Ready")),
            latest_ready=newest_ready,
            failure=_side_failure(conditions, "canary", canary) if has_candidate else "",
            writer=writer_of(metadata.get("managedFields")),
            deleting=bool(metadata.get("deletionTimestamp")),
            reconcile_error=fault,
            spec_digest=_digest(canary if has_candidate else default),
            spec=canary if has_candidate else default,
            beside=Beside(
                spec=default,
                digest=_digest(default),
                ready=stable_ready,
                has_candidate=has_candidate,
                failure=_side_failure(conditions, "default", default),
                components=present,
            ),
        )

    def weight_patch(self, seen: Observation, weight: int) -> dict[str, Any]:
        return guarded(seen, {WEIGHT: checked(seen, weight)})

    def restore_patch(
        self,
        seen: Observation,
        spec: Mapping[str, Any],  # noqa: ARG002 - the protocol's
        weight: int | None,
    ) -> dict[str, Any]:
        """The candidate out of the spec, and its weight with it.

        Stable's spec is there already, as its owner wants it, so it is not written; nor is a weight, which
        the controller refuses to have without a candidate.
        """
        if weight is not None:
            checked(seen, weight)
        return guarded(seen, {"canary": None, WEIGHT: None})

    def settle_patch(self, seen: Observation) -> dict[str, Any]:
        """First the candidate's spec in stable's place, the weight untouched; then its own place emptied."""
        unsettled, beside = seen.unsettled, seen.beside
        if unsettled is Unsettled.ADOPT and beside is not None:
            return guarded(seen, {"default": merge_patch.diff(beside.spec, seen.spec)})
        if unsettled is Unsettled.CLEAR:
            return guarded(seen, {"canary": None, WEIGHT: None})
        raise ValueError(f"{seen.key}: there is nothing to settle by a write now")

    def routes(self, document: Mapping[str, Any]) -> tuple[Route, ...]:
        """One for each side's component: there the split is above the routes, not in them."""
        status, name = mapping(document.get("status")), document["metadata"]["name"]
        conditions = conditions_of(status)
        found = []
        for component in Component:
            for side in _SIDES:
                state = mapping(mapping(status.get(side)).get(component.value))
                revision, host = text(state, "name"), text(state, "host")
                if revision:
                    found.append(
                        Route(
                            name=f"{name}-{component.value}-{side}",
                            url=f"http://{host}" if host else "",
                            ready=trinary(
                                conditions.get(f"{side.capitalize()}{component.value.capitalize()}Ready")
                            ),
                            traffic=((revision, 100),),
                        )
                    )
        return tuple(found)


def _digest(endpoint: Mapping[str, Any]) -> str:
    """Of what a merge-patch can carry over: a null in an object is as good as no field."""
    return digest_of(merge_patch.apply(None, endpoint))


def _traffic(status: Mapping[str, Any], stable: str, candidate: str) -> Mapping[str, int]:
    """Empty when the status does not account for all of it: then it says nothing about the split."""
    shares = [_share(status.get("traffic")), _share(status.get("canaryTraffic"))]
    if sum(shares) != 100 or not stable:
        return {}
    return {name: share for name, share in zip((stable, candidate), shares, strict=True) if name}


def _share(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _parts(side: str, endpoint: Mapping[str, Any]) -> list[str]:
    """The conditions that a side's components have."""
    return [
        f"{side.capitalize()}{component.value.capitalize()}Ready"
        for component in Component
        if isinstance(endpoint.get(component.value), Mapping)
    ]


def _side_ready(conditions: _Conditions, side: str, endpoint: Mapping[str, Any]) -> Trinary:
    """A side is ready with all its components, for only then the split is written."""
    said = {trinary(conditions.get(kind)) for kind in _parts(side, endpoint)}
    for each in (Trinary.FALSE, Trinary.UNKNOWN):
        if each in said:
            return each
    return Trinary.TRUE if said else Trinary.UNKNOWN


def _side_failure(conditions: _Conditions, side: str, endpoint: Mapping[str, Any]) -> str:
    for kind in _parts(side, endpoint):
        condition = conditions.get(kind)
        if condition is not None and trinary(condition) is Trinary.FALSE:
            said = words_of(condition).rstrip(".")
            return said or "KFServing says that it failed and gives no reason"
    return ""
