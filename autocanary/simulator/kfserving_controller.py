"""KFServing 0.4's controller: two Knative Services per component, and a router above them.

``spec.default`` and ``spec.canary`` each become a Knative Service per component; the router sends
``canaryTrafficPercent`` of the requests to the canary's. While any of them is not ready the router is not
written: the former configuration goes on, ``RoutesReady`` is False, and the status has neither url nor split.
``Ready`` says nothing of the canary.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from autocanary.kserve.v1alpha2 import V1Alpha2
from autocanary.kserve.v1beta1 import WEIGHT
from autocanary.model.observation import ConditionStatus
from autocanary.model.policy import Component
from autocanary.simulator.controller_loop import ControllerLoop, NamespacedName, ReconciledService
from autocanary.simulator.knative_controller import (
    Condition,
    KnativeService,
    Revision,
    SpecTarget,
    StatusTarget,
)
from autocanary.simulator.kserve_status import with_transition_times

__all__ = ["API_VERSION", "SIDES", "ComponentSides", "KFServingController"]

API_VERSION = V1Alpha2().api_version
SIDES = ("default", "canary")
_ALL_TO_LATEST = (SpecTarget("", 100),)
_TRUE, _FALSE = ConditionStatus.TRUE, ConditionStatus.FALSE
_NOT_ROUTED = Condition(_FALSE, "PredictorStatusUnknown")


class ComponentSides:
    """One component's two Knative Services and what the router makes of them, seen as one."""

    def __init__(self) -> None:
        self.services: dict[str, KnativeService] = {}
        self.weights: Mapping[str, int] = {}

    @property
    def parts(self) -> tuple[KnativeService, ...]:
        return tuple(self.services.values())

    @property
    def revisions(self) -> Mapping[str, Revision]:
        return {name: each for part in self.parts for name, each in part.revisions.items()}

    @property
    def programmed(self) -> tuple[StatusTarget, ...]:
        """Who answers the requests: the router's weights, and within a side its own route."""
        return tuple(
            target._replace(percent=target.percent * weight // 100)
            for side, weight in self.weights.items()
            if side in self.services
            for target in self.services[side].programmed
        )


@dataclass(slots=True, eq=False)
class _KFServingService(ReconciledService):
    sides: dict[Component, ComponentSides] = field(default_factory=dict)
    route: Condition = _NOT_ROUTED


class KFServingController(ControllerLoop[_KFServingService]):
    """KFServing over Knative and the router."""

    def children(self, name: NamespacedName) -> Mapping[Component, ComponentSides]:
        service = self._services.get(name)
        return service.sides if service is not None else {}

    def _new_service(
        self, name: NamespacedName, document: Mapping[str, Any], status: Mapping[str, Any]
    ) -> _KFServingService:
        return _KFServingService(name, document, status)

    def _children_of(self, service: _KFServingService) -> Iterable[KnativeService]:
        return (child for sides in service.sides.values() for child in sides.parts)

    # one pass

    def _reconcile(self, service: _KFServingService) -> None:
        spec = service.document.get("spec") or {}
        for component in Component:
            sides = service.sides.setdefault(component, ComponentSides())
            for side in SIDES:
                endpoint = spec.get(side)
                self._apply_spec(service, component, side, endpoint if isinstance(endpoint, Mapping) else {})
        self._route(service, spec)
        status = self._render(service)
        for component, sides in service.sides.items():
            if sides.services:
                self.on_traffic_change(service.name, component, sides)
        self._write(service, status)

    def _apply_spec(
        self, service: _KFServingService, component: Component, side: str, endpoint: Mapping[str, Any]
    ) -> None:
        """One side's component to its Knative Service; what a side has no more is deleted."""
        sides, spec = service.sides[component], endpoint.get(component.value)
        child = sides.services.get(side)
        if not isinstance(spec, Mapping):
            if child is not None:
                del sides.services[side]
                for revision in child.revisions.values():
                    revision.deleted = True
            return
        if child is None:
            child = sides.services[side] = self._new_child(service, component, side)
            sides.services = {each: sides.services[each] for each in SIDES if each in sides.services}
        if child.update((_known_fields(spec), {}, {}, ""), _ALL_TO_LATEST, 0.0):
            self._enqueue_knative(service)

    def _new_child(self, service: _KFServingService, component: Component, side: str) -> KnativeService:
        return self._new_knative_service(
            service,
            f"{service.name[1]}-{component.value}-{side}",
            lambda _: self.on_traffic_change(service.name, component, service.sides[component]),
        )

    def _route(self, service: _KFServingService, spec: Mapping[str, Any]) -> None:
        for component, sides in service.sides.items():
            for side, child in sides.services.items():
                if child.condition.status is not _TRUE or child.generation != child.observed_generation:
                    said = f"{side.capitalize()} {component.value} is not ready"
                    service.route = Condition(_FALSE, f"{component.value.capitalize()}HostnameUnknown", said)
                    return
        weight = int(spec.get(WEIGHT) or 0) if isinstance(spec.get("canary"), Mapping) else 0
        for sides in service.sides.values():
            weights = {"default": 100 - weight, "canary": weight}
            sides.weights = {side: weights[side] for side in SIDES if side in sides.services}
        service.route = Condition(_TRUE)

    def _render(self, service: _KFServingService) -> dict[str, Any]:
        namespace, name = service.name
        status: dict[str, Any] = {}
        for side in SIDES:
            entries = {
                component.value: {
                    "name": sides.services[side].created,
                    "host": f"{name}-{component.value}-{side}.{namespace}.example.com",
                }
                for component, sides in service.sides.items()
                if side in sides.services and sides.services[side].created
            }
            if entries:
                status[side] = entries
        if service.route.status is _TRUE:
            weights = service.sides[Component.PREDICTOR].weights
            shares = {"traffic": weights.get("default", 0), "canaryTraffic": weights.get("canary", 0)}
            status |= {field: share for field, share in shares.items() if share}  # omitempty, both
            status["url"] = f"http://{name}.{namespace}.example.com/v1/models/{name}"
            status["address"] = {"url": f"http://{name}.{namespace}.svc.cluster.local/v1/models/{name}:predict"}
        status["conditions"] = with_transition_times(_conditions(service), service.status, self._clock.now())
        return status


def _conditions(service: _KFServingService) -> dict[str, Condition]:
    found = {
        f"{side.capitalize()}{component.value.capitalize()}Ready": child.condition
        for component, sides in service.sides.items()
        for side, child in sides.services.items()
    }
    defaults = [condition for kind, condition in found.items() if kind.startswith("Default")]
    found["RoutesReady"] = service.route
    found["Ready"] = next((each for each in (*defaults, service.route) if each.status is not _TRUE), Condition(_TRUE))
    return dict(sorted(found.items()))


_IGNORED = ("x-",)


def _known_fields(spec: Mapping[str, Any]) -> Mapping[str, Any]:
    """Without fields that this controller does not know: they are kept, and make no revision."""
    return {name: value for name, value in spec.items() if not name.startswith(_IGNORED)}
