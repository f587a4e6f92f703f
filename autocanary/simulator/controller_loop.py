"""The loop of two controllers over services: their events, and when each reconciles which.

One makes Knative Services of a service's spec and a status of theirs, the other is Knative. As with a work
queue, a service has at most one pending reconcile by each. It does not know where the objects are kept:
``on_event`` announces one, ``publish`` is called with a status to write. So the same rules run behind the
world in memory and behind a real API server.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from autocanary.model.policy import Component
from autocanary.simulator.knative_controller import KnativeService, RoutedRevisions
from autocanary.simulator.pod_behaviour import HEALTHY, BehaviourOf
from autocanary.simulator.virtual_clock import VirtualClock

__all__ = ["LAG", "PROGRESS_DEADLINE", "ControllerLoop", "Lag", "NamespacedName", "ReconciledService"]

LAG = 0.6
"""Seconds from a patch until the status shows it; the median measured on an idle cluster is 0.55."""
Lag = float | Callable[[], float]
"""Such seconds, or a function that gives them for each hop: real controllers were 0.3 to 25 s behind."""
PROGRESS_DEADLINE = 600.0
"""Knative's default, after which a revision that is not ready has failed."""

NamespacedName = tuple[str, str]
"""Namespace and name of an InferenceService."""


@dataclass(slots=True, eq=False)
class ReconciledService:
    """One InferenceService as the controllers see it; ``status`` is the one that was written last."""

    name: NamespacedName
    document: Mapping[str, Any]
    status: Mapping[str, Any]
    gone: bool = False
    queued: bool = False
    knative_queued: bool = False


S = TypeVar("S", bound=ReconciledService)


class ControllerLoop(ABC, Generic[S]):
    """Every hop between the two takes a third of ``lag`` seconds; of a function, a third of what it says then.

    ``publish(name, status)`` writes a status. ``down`` and ``knative_down`` may be turned at any time
    (``resume`` after turning one off), ``lag`` too. ``on_traffic_change`` is called at every change of what
    answers requests.
    """

    def __init__(
        self,
        clock: VirtualClock,
        publish: Callable[[NamespacedName, dict[str, Any]], None],
        *,
        behaviour_of: BehaviourOf = lambda _: HEALTHY,
        lag: Lag = LAG,
        progress_deadline: float = PROGRESS_DEADLINE,
    ) -> None:
        self._clock, self._publish = clock, publish
        self.behaviour_of = behaviour_of
        self.lag, self.progress_deadline = lag, progress_deadline
        self.on_traffic_change: Callable[[NamespacedName, Component, RoutedRevisions], None] = lambda *_: None
        self.down = self.knative_down = False
        self._services: dict[NamespacedName, S] = {}

    @abstractmethod
    def _new_service(self, name: NamespacedName, document: Mapping[str, Any], status: Mapping[str, Any]) -> S:
        """A service that was not there before."""

    @abstractmethod
    def _reconcile(self, service: S) -> None:
        """One reconcile of the upper controller."""

    @abstractmethod
    def _children_of(self, service: S) -> Iterable[KnativeService]:
        """What it has made."""

    # events from the world

    def on_event(
        self, name: NamespacedName, document: Mapping[str, Any], status: Mapping[str, Any] | None = None
    ) -> None:
        """An InferenceService was created or changed; another uid than before is another service."""
        service = self._services.get(name)
        if service is not None and _uid(service.document) != _uid(document):
            self.forget(name)
            service = None
        if service is None:
            service = self._services[name] = self._new_service(name, document, status or {})
        service.document = document
        self._enqueue(service)

    def forget(self, name: NamespacedName) -> None:
        """An InferenceService is gone, and everything it owned."""
        service = self._services.pop(name, None)
        if service is not None:
            service.gone = True

    def resume(self) -> None:
        """Reconciles everything again, as controllers do when they start."""
        for service in self._services.values():
            self._enqueue(service)
            self._enqueue_knative(service)

    def now(self) -> float:
        return self._clock.now()

    # one pending reconcile per service and controller

    def _enqueue(self, service: S) -> None:
        if not service.queued:
            service.queued = True
            self._clock.call_at(self._clock.now() + self._hop(), lambda: self._process(service))

    def _enqueue_knative(self, service: S) -> None:
        if not service.knative_queued:
            service.knative_queued = True
            self._clock.call_at(self._clock.now() + self._hop(), lambda: self._process_knative(service))

    def _hop(self) -> float:
        return (self.lag() if callable(self.lag) else self.lag) / 3

    def _process(self, service: S) -> None:
        service.queued = False
        if not service.gone and not self.down:
            self._reconcile(service)

    def _process_knative(self, service: S) -> None:
        service.knative_queued = False
        if service.gone or self.knative_down:
            return
        for child in self._children_of(service):
            child.reconcile(self._clock.now())
        self._enqueue(service)

    # for the rules

    def _new_knative_service(
        self, service: S, name: str, on_routing_change: Callable[[KnativeService], None]
    ) -> KnativeService:
        """A Knative Service in the service's namespace."""
        return KnativeService(
            service.name[0],
            name,
            call_at=self._clock.call_at,
            enqueue=lambda: self._enqueue_knative(service),
            on_routing_change=on_routing_change,
            behaviour_of=lambda template: self.behaviour_of(template[0]),
            progress_deadline=self.progress_deadline,
        )

    def _write(self, service: S, status: dict[str, Any]) -> None:
        if status != service.status:
            service.status = status
            self._publish(service.name, status)


def _uid(document: Mapping[str, Any]) -> Any:
    return document["metadata"].get("uid")
