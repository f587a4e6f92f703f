"""A cluster with KServe in it: the API server in memory and the controllers behind it, in virtual time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from autocanary.model.policy import Component
from autocanary.simulator.api_server import InMemoryApiServer, NamespacedName
from autocanary.simulator.controller_loop import LAG, PROGRESS_DEADLINE, Lag
from autocanary.simulator.kfserving_controller import API_VERSION, ComponentSides, KFServingController
from autocanary.simulator.knative_controller import KnativeService, Revision, RoutedRevisions
from autocanary.simulator.kserve_controller import KServeController
from autocanary.simulator.pod_behaviour import HEALTHY, BehaviourOf
from autocanary.simulator.virtual_clock import VirtualClock

__all__ = ["KServeCluster"]

_FINALIZER_SECONDS = 0.3  # seconds until the finalizer has let a deleted object go


class KServeCluster:
    """InferenceServices with their controllers: written as with kubectl, with faults set from outside.

    ``objects``, ``controller`` (KServe's) and ``kfserving`` are open to those who need more than the methods
    here; ``split`` and ``revisions`` say what is really so, which the status may show late, partly or never.
    """

    def __init__(
        self,
        clock: VirtualClock,
        *,
        behaviour_of: BehaviourOf = lambda _: HEALTHY,
        lag: Lag = LAG,
        progress_deadline: float = PROGRESS_DEADLINE,
        minimal_crd: bool = False,
    ) -> None:
        self.clock = clock
        self.objects = InMemoryApiServer(clock, minimal_crd=minimal_crd)
        self.controller = KServeController(
            clock,
            self.objects.write_status,
            behaviour_of=behaviour_of,
            lag=lag,
            progress_deadline=progress_deadline,
        )
        self.kfserving = KFServingController(
            clock,
            self.objects.write_status,
            behaviour_of=behaviour_of,
            lag=lag,
            progress_deadline=progress_deadline,
        )
        self.objects.watch(self._changed)

    # what users and GitOps tools do

    def create(self, document: Mapping[str, Any], manager: str = "kubectl") -> Mapping[str, Any]:
        return self.objects.create(document, manager)

    def apply(
        self,
        document: Mapping[str, Any],
        manager: str = "kubectl",
        *,
        server_side: bool = True,
        force: bool = False,
    ) -> Mapping[str, Any]:
        return self.objects.apply(document, manager, server_side=server_side, force=force)

    def replace(self, document: Mapping[str, Any], manager: str = "kubectl") -> Mapping[str, Any]:
        return self.objects.replace(document, manager)

    def patch(self, namespace: str, name: str, body: Mapping[str, Any], manager: str = "kubectl") -> Mapping[str, Any]:
        return self.objects.patch((namespace, name), body, manager)

    def delete(self, namespace: str, name: str) -> None:
        """The object is marked at once and gone a moment later; what it owned goes with it."""
        marked = self.objects.delete((namespace, name))
        uid = marked["metadata"]["uid"]
        self.clock.call_at(self.clock.now() + _FINALIZER_SECONDS, lambda: self._finalize((namespace, name), uid))

    def document(self, namespace: str, name: str) -> Mapping[str, Any]:
        """The object as GET answers it; NotFound when there is none. Not to be written into."""
        return self.objects.get((namespace, name))

    def documents(self) -> Sequence[Mapping[str, Any]]:
        return tuple(self.objects)

    def advance(self, to: float) -> None:
        self.clock.advance_to(to)

    # what is really so

    def revisions(
        self, namespace: str, name: str, component: Component = Component.PREDICTOR
    ) -> Mapping[str, Revision]:
        child = self._child(namespace, name, component)
        return child.revisions if child is not None else {}

    def split(self, namespace: str, name: str, component: Component = Component.PREDICTOR) -> Mapping[str, int]:
        """Percent of the requests that each revision gets now, by the programmed ingress."""
        child = self._child(namespace, name, component)
        shares: dict[str, int] = {}
        for target in child.programmed if child is not None else ():
            shares[target.revision] = shares.get(target.revision, 0) + target.percent
        return shares

    def _child(self, namespace: str, name: str, component: Component) -> RoutedRevisions | None:
        place = (namespace, name)
        return self.controller.children(place).get(component) or self.kfserving.children(place).get(component)

    # what goes wrong

    def crash(self, namespace: str, name: str, revision: str) -> None:
        """All pods of the revision crash-loop."""
        child, found = self._revision(namespace, name, revision)
        child.pods_crash(found)

    def recover(self, namespace: str, name: str, revision: str) -> None:
        """All pods of the revision are (again) ready."""
        child, found = self._revision(namespace, name, revision)
        child.pods_ready(found, self.clock.now())

    def delete_revision(self, namespace: str, name: str, revision: str) -> None:
        child, _ = self._revision(namespace, name, revision)
        child.delete_revision(revision)

    def refuse_revisions(self, namespace: str, name: str, reason: str = "quota exceeded") -> None:
        """Creating Revisions is refused (quota, admission policy, webhook outage); "" allows it again."""
        for child in self._knative_services((namespace, name)):
            child.refusal = reason
            if not reason:
                child.reconcile_soon()

    def hold_ingress(self, namespace: str, name: str, held: bool = True) -> None:
        """The ingress does not program the Route."""
        for child in self._knative_services((namespace, name)):
            child.ingress_held = held
            child.reconcile_soon()

    def set_runtime_image(self, image: str) -> None:
        """A user edits the ServingRuntime: every service that uses it gets a new revision."""
        self.controller.runtime_image = image
        self.controller.resume()

    def set_kserve_down(self, down: bool = True) -> None:
        """The KServe manager is down, and with it the admission webhook of every write."""
        self.objects.webhook_down = self.controller.down = down
        self._resume(down)

    def set_knative_down(self, down: bool = True) -> None:
        """The Knative controller is down: the status stays as it was and shows no fault."""
        self.controller.knative_down = self.kfserving.knative_down = down
        self._resume(down)

    def set_knative_webhook_down(self, down: bool = True) -> None:
        """Patches are accepted, KServe's reconcile fails."""
        self.controller.knative_webhook_down = down
        self._resume(down)

    def _resume(self, down: bool) -> None:
        if not down:
            self.controller.resume()
            self.kfserving.resume()

    def _revision(self, namespace: str, name: str, revision: str) -> tuple[KnativeService, Revision]:
        for child in self._knative_services((namespace, name)):
            if revision in child.revisions:
                return child, child.revisions[revision]
        raise KeyError(f"{namespace}/{name} has no revision {revision}")

    def _knative_services(self, name: NamespacedName) -> list[KnativeService]:
        pairs: list[ComponentSides] = list(self.kfserving.children(name).values())
        return [*self.controller.children(name).values(), *(part for pair in pairs for part in pair.parts)]

    def _changed(self, name: NamespacedName, spec_changed: bool) -> None:
        document = self.objects.find(name)
        if document is None:
            self.controller.forget(name)
            self.kfserving.forget(name)
        elif spec_changed and not document["metadata"].get("deletionTimestamp"):
            rules = self.kfserving if document["apiVersion"] == API_VERSION else self.controller
            rules.on_event(name, document, document.get("status"))

    def _finalize(self, name: NamespacedName, uid: str) -> None:
        document = self.objects.find(name)
        if document is not None and document["metadata"]["uid"] == uid:
            self.objects.remove(name)
