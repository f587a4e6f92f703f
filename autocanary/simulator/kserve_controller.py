"""KServe's controller: what it makes of a spec, and the status it writes, as measured on 0.20."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from autocanary.kserve.v1beta1 import WEIGHT
from autocanary.model.observation import ConditionStatus
from autocanary.model.policy import Component
from autocanary.simulator.controller_loop import ControllerLoop, NamespacedName, ReconciledService
from autocanary.simulator.knative_controller import KnativeService, Revision, SpecTarget
from autocanary.simulator.kserve_status import render, render_stopped, render_without_revisions
from autocanary.simulator.pod_template import template_of
from autocanary.simulator.revision_history import ComponentRecord, ServiceRecord, propagate_status

__all__ = ["KServeController"]

_WITHOUT_REVISIONS = {"standard": "Standard", "rawdeployment": "Standard", "modelmesh": "ModelMesh"}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(slots=True, eq=False)
class _KServeService(ReconciledService):
    record: ServiceRecord = field(default_factory=ServiceRecord)
    children: dict[Component, KnativeService] = field(default_factory=dict)
    written: tuple[object, ...] = ()
    frozen: bool = False


class KServeController(ControllerLoop[_KServeService]):
    """KServe over Knative; ``knative_webhook_down`` is a switch like those of the loop."""

    runtime_image = "runtime:1"
    knative_webhook_down = False

    def children(self, name: NamespacedName) -> Mapping[Component, KnativeService]:
        service = self._services.get(name)
        return service.children if service is not None else {}

    def _new_service(
        self, name: NamespacedName, document: Mapping[str, Any], status: Mapping[str, Any]
    ) -> _KServeService:
        return _KServeService(name, document, status)

    def _children_of(self, service: _KServeService) -> Iterable[KnativeService]:
        return service.children.values()

    # faults that reach inside

    def freeze(self, name: NamespacedName, frozen: bool = True) -> None:
        """The status is written no more, although everything else goes on."""
        service = self._services[name]
        service.frozen = frozen
        self._enqueue(service)

    def lose_rolled_out(self, name: NamespacedName) -> None:
        """The status comes back from a backup without its bookkeeping."""
        service = self._services[name]
        for part in service.record.parts.values():
            part.rolled_out = part.previous = ""
        self._enqueue(service)

    def drop_child(self, name: NamespacedName, component: Component) -> None:
        """A user deletes the Knative Service."""
        service = self._services[name]
        self._delete_child(service, component)
        self._enqueue(service)

    def edit_child(self, name: NamespacedName, component: Component, wanted: tuple[SpecTarget, ...]) -> None:
        """A user edits the Knative Service's traffic by hand; KServe reverts it."""
        service = self._services[name]
        child = service.children[component]
        child.wanted = wanted
        child.generation += 1
        self._enqueue_knative(service)

    # KServe

    def _reconcile(self, service: _KServeService) -> None:
        metadata = service.document["metadata"]
        annotations = metadata.get("annotations") or {}
        if _is_true(annotations.get("serving.kserve.io/stop")):
            self._stop(service)
        elif mode := _WITHOUT_REVISIONS.get(str(annotations.get("serving.kserve.io/deploymentMode", "")).lower()):
            self._write(service, render_without_revisions(mode, service.status, self._clock.now()))
        elif not (_is_true(annotations.get("serving.kserve.io/disable-auto-update")) and _is_ready(service.status)):
            self._reconcile_revisions(service, annotations)

    def _stop(self, service: _KServeService) -> None:
        for component in tuple(service.children):
            self._delete_child(service, component)
        service.record = ServiceRecord()
        service.written = ()
        self._write(service, render_stopped(service.status, self._clock.now()))

    def _reconcile_revisions(self, service: _KServeService, annotations: Mapping[str, str]) -> None:
        record = service.record
        record.failure = self._apply_spec(service, annotations)
        if service.frozen:
            return
        before = {component: part.rolled_out for component, part in record.parts.items()}
        if not record.failure:
            for component, part in record.parts.items():
                propagate_status(part, service.children[component])
                record.observed_generation = service.children[component].observed_generation
            self._update_model_state(service)
        summary = record.summary()
        if summary != service.written:
            namespace, name = service.name
            self._write(service, render(namespace, name, record, service.status, self._clock.now()))
            service.written = summary
        if before != {component: part.rolled_out for component, part in record.parts.items()}:
            self._enqueue(service)

    def _apply_spec(self, service: _KServeService, annotations: Mapping[str, str]) -> str:
        """Spec to Knative Services; in words why that failed, and then nothing at all was changed."""
        spec = service.document.get("spec") or {}
        present = {each: spec[each.value] for each in Component if isinstance(spec.get(each.value), Mapping)}
        for component in tuple(service.children):
            if component not in present:
                self._delete_child(service, component)
                service.record.parts.pop(component, None)
        duration = _seconds(annotations.get("serving.knative.dev/rollout-duration", ""))
        tagged = _is_true(annotations.get("serving.kserve.io/enable-tag-routing"))
        for component, part_spec in present.items():
            part = service.record.parts.setdefault(component, ComponentRecord())
            weight = part_spec.get(WEIGHT)
            wanted = _traffic_of(weight, part.rolled_out, tagged)
            template = template_of(service.document, part_spec, self.runtime_image)
            child = service.children.get(component)
            if child is not None and (template, wanted, duration) == (
                child.template,
                child.wanted,
                child.rollout_duration,
            ):
                continue
            failure = self._validate_traffic(component, wanted)
            if failure:
                return failure
            if child is None:
                child = service.children[component] = self._new_child(service, component)
            child.update(template, wanted, duration)
            self._enqueue_knative(service)
        return ""

    def _validate_traffic(self, component: Component, wanted: tuple[SpecTarget, ...]) -> str:
        """Knative's admission webhook, which KServe asks with a dry run."""
        where = f"fails to reconcile {component.value}: fails to reconcile knative service: "
        if self.knative_webhook_down:
            return f'{where}Internal error occurred: failed calling webhook "webhook.serving.knative.dev"'
        for each in wanted:
            if not 0 <= each.percent <= 100:
                return (
                    f'{where}admission webhook "validation.webhook.serving.knative.dev" denied the request: '
                    f"validation failed: expected 0 <= {each.percent} <= 100: spec.traffic[0].percent"
                )
        return ""

    def _new_child(self, service: _KServeService, component: Component) -> KnativeService:
        return self._new_knative_service(
            service,
            f"{service.name[1]}-{component.value}",
            lambda child: self.on_traffic_change(service.name, component, child),
        )

    def _delete_child(self, service: _KServeService, component: Component) -> None:
        child = service.children.pop(component, None)
        for revision in child.revisions.values() if child is not None else ():
            revision.deleted = True

    def _update_model_state(self, service: _KServeService) -> None:
        record = service.record
        child = service.children.get(Component.PREDICTOR)
        newest = child.revisions.get(child.created) if child is not None else None
        if newest is None:
            return
        record.loaded = record.loaded or newest.ready is ConditionStatus.TRUE
        record.model_state = _model_state_of(newest)
        if record.model_state == "FailedToLoad":
            record.last_failure = newest.message or "model failed to load"


def _model_state_of(revision: Revision) -> str:
    if revision.ready is ConditionStatus.FALSE and revision.behaviour.ready_after is not None:
        return "FailedToLoad"  # it had been ready, and crashed
    return revision.behaviour.model_state or "Loaded"


def _traffic_of(weight: Any, rolled_out: str, tagged: bool) -> tuple[SpecTarget, ...]:
    """KServe ``createKnativeService``: without the field, or before any revision was rolled out, 100 %."""
    tag = "latest" if tagged else ""
    if not isinstance(weight, int) or not rolled_out:
        return (SpecTarget("", 100, tag),)
    newest = SpecTarget("", weight, tag)
    return (newest, SpecTarget(rolled_out, 100 - weight, "prev")) if weight < 100 else (newest,)


def _is_true(value: Any) -> bool:
    return isinstance(value, str) and value.lower() == "true"


def _is_ready(status: Mapping[str, Any]) -> bool:
    return any(each["type"] == "Ready" and each["status"] == "True" for each in status.get("conditions", ()))


def _seconds(text: str) -> float:
    return sum(float(number) * _SECONDS[unit] for number, unit in _DURATION.findall(text))
