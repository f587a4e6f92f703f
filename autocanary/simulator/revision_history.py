"""What KServe remembers of a service beyond its spec, and how it learns it from the Knative Service."""

from __future__ import annotations

from dataclasses import dataclass, field

from autocanary.model.observation import ConditionStatus
from autocanary.model.policy import Component
from autocanary.simulator.knative_controller import Condition, KnativeService, StatusTarget

__all__ = ["ComponentRecord", "ServiceRecord", "propagate_status"]

_TRUE = ConditionStatus.TRUE
_UNKNOWN_CONDITION = Condition(ConditionStatus.UNKNOWN)


@dataclass(slots=True)
class ComponentRecord:
    """What KServe remembers of one component; ``rolled_out`` and ``previous`` live only here."""

    rolled_out: str = ""
    previous: str = ""
    created: str = ""
    ready: str = ""
    traffic: tuple[StatusTarget, ...] = ()
    has_url: bool = False  # its url has been known once
    condition: Condition = _UNKNOWN_CONDITION
    configuration: Condition | None = None
    route: Condition | None = None

    @property
    def conditions(self) -> tuple[Condition | None, ...]:
        return (self.condition, self.configuration, self.route)


@dataclass(slots=True)
class ServiceRecord:
    """What KServe remembers of one service."""

    parts: dict[Component, ComponentRecord] = field(default_factory=dict)
    observed_generation: int | None = None
    failure: str = ""  # why the last reconcile failed
    loaded: bool = False
    model_state: str = ""
    last_failure: str = ""

    def summary(self) -> tuple[object, ...]:
        """Everything that shows in the status: while it is equal, nothing needs to be written."""
        parts = (
            (kind, p.rolled_out, p.previous, p.created, p.ready, p.traffic, p.has_url, *p.conditions)
            for kind, p in self.parts.items()
        )
        said = (self.observed_generation, self.failure, self.loaded, self.model_state, self.last_failure)
        return (*said, *parts)


def propagate_status(part: ComponentRecord, child: KnativeService) -> None:
    """Copies the Knative Service's status into the component's and keeps the rolled-out bookkeeping.

    KServe ``PropagateStatus``: a revision has been rolled out when the latest entry names the newest ready
    one and has 100 %. The last branch is the roll-back after a promotion, and also the trap: whenever the
    newest *created* revision is the rolled-out one and its share is split over two entries, the revision
    before it becomes stable.
    """
    part.created, part.ready = child.created, child.ready
    part.traffic = child.traffic
    summed: dict[str, int] = {}
    for target in child.traffic:
        summed[target.revision] = summed.get(target.revision, 0) + target.percent
    for target in child.traffic:
        if not target.latest or target.revision != child.ready:
            continue
        if part.rolled_out != child.ready:
            if target.percent == 100:
                part.previous, part.rolled_out = part.rolled_out, child.ready
        elif child.ready == child.created and target.percent < 100 and summed[target.revision] == 100 and part.previous:
            part.rolled_out = part.previous
    if child.observed_generation is None:
        return
    part.condition, part.configuration, part.route = child.condition, child.configuration, child.route
    part.has_url = part.has_url or part.condition.status is _TRUE
