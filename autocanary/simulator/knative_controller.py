"""Knative Serving's rules for one Service: Configuration, Revisions and Route, as measured on 1.21.

A Configuration makes a Revision for each generation of the template. The Route follows the wanted traffic
only while *every* target is ready, also those at 0 %; otherwise the old split stays programmed and the
wanted one waits.

Over 300 lines because Configuration, Revisions and Route act on one state in one pass; apart, their order
would be hidden.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, Protocol

from autocanary.model.observation import ConditionStatus
from autocanary.simulator.pod_behaviour import Behaviour
from autocanary.simulator.pod_template import Template

__all__ = ["Condition", "KnativeService", "Revision", "RoutedRevisions", "SpecTarget", "StatusTarget"]

_TRUE, _FALSE, _UNKNOWN = ConditionStatus.TRUE, ConditionStatus.FALSE, ConditionStatus.UNKNOWN
_FAILED = "RevisionFailed"
_MISSING = "RevisionMissing"
_FAILED_KEPT_SECONDS = 60.0  # measured: then the autoscaler takes the pods of a failed revision away


class Condition(NamedTuple):
    status: ConditionStatus
    reason: str = ""
    message: str = ""


class SpecTarget(NamedTuple):
    """One entry of ``spec.traffic``: ``revision`` is empty for the newest ready one."""

    revision: str
    percent: int
    tag: str = ""


class StatusTarget(NamedTuple):
    """One entry of ``status.traffic``."""

    latest: bool
    revision: str
    percent: int
    tag: str = ""


@dataclass(slots=True, eq=False)
class Revision:
    """A revision and its pods.

    ``warm_at`` is when its pods serve (None: there are none that will); ``runs_unready`` says that pods are there, are
    scraped (by their queue-proxy) and answer no request; ``ready`` is Knative's opinion, which is about pods that were
    there once: a revision scaled to zero stays ready.
    """

    name: str
    number: int
    template: Template
    behaviour: Behaviour
    created_at: float
    ready: ConditionStatus = _UNKNOWN
    message: str = ""
    warm_at: float | None = None
    runs_unready: bool = False
    routed: bool = False
    crash_planned: bool = False
    removal_planned: bool = False
    deleted: bool = False


class RoutedRevisions(Protocol):
    """Revisions, and who of them answers which share of the requests."""

    @property
    def revisions(self) -> Mapping[str, Revision]: ...
    @property
    def programmed(self) -> tuple[StatusTarget, ...]: ...


class KnativeService:
    """One Knative Service. ``reconcile`` is what its controllers do when something has changed.

    ``call_at`` asks for a call at an instant; ``enqueue`` asks for a reconcile soon; ``on_routing_change``
    is called when what serves requests may have changed. The fields marked *fault* are set from outside.
    """

    def __init__(
        self,
        namespace: str,
        name: str,
        *,
        call_at: Callable[[float, Callable[[], None]], None],
        enqueue: Callable[[], None],
        on_routing_change: Callable[[KnativeService], None],
        behaviour_of: Callable[[Template], Behaviour],
        progress_deadline: float,
    ) -> None:
        self.namespace, self.name = namespace, name
        self._call_at, self._enqueue, self._on_routing_change, self._behaviour_of = (
            call_at,
            enqueue,
            on_routing_change,
            behaviour_of,
        )
        self._progress_deadline = progress_deadline
        self.template: Template | None = None
        self.wanted: tuple[SpecTarget, ...] = ()
        self.rollout_duration = 0.0
        self.generation = 0
        self.observed_generation: int | None = None
        self.revisions: dict[str, Revision] = {}
        self.created = ""
        self.ready = ""
        self.traffic: tuple[StatusTarget, ...] = ()
        self.programmed: tuple[StatusTarget, ...] = ()
        self.configuration = Condition(_UNKNOWN)
        self.route = Condition(_UNKNOWN)
        self.refusal = ""  # fault: why creating Revisions is refused
        self.ingress_held = False  # fault: the ingress does not program the Route
        self._configured: Template | None = None
        self._number = 0
        self._ramp: tuple[str, str, float] | None = None  # from, to, started at

    def update(self, template: Template, wanted: tuple[SpecTarget, ...], rollout_duration: float) -> bool:
        """Takes over what KServe writes into ``spec``; whether that was a change."""
        if (template, wanted, rollout_duration) == (self.template, self.wanted, self.rollout_duration):
            return False
        self.template, self.wanted, self.rollout_duration = template, wanted, rollout_duration
        self.generation += 1
        return True

    @property
    def condition(self) -> Condition:
        """``Ready``: the Route's trouble is named before the Configuration's."""
        both = (self.route, self.configuration)
        for status in (_FALSE, _UNKNOWN):
            for each in both:
                if each.status is status:
                    return each
        return Condition(_TRUE)

    def reconcile_soon(self) -> None:
        """Something about it was changed from outside."""
        self._enqueue()

    def reconcile(self, now: float) -> None:
        """Configuration first, then Route: the other order was never seen while Revisions can be made."""
        self.observed_generation = self.generation
        self._reconcile_configuration(now)
        self._reconcile_route(now)
        self._plan_removals(now)
        self._on_routing_change(self)

    # Configuration

    def _reconcile_configuration(self, now: float) -> None:
        if self._configured != self.template:
            self._configured = self.template
            self._number += 1
        name = f"{self.name}-{self._number:05d}"
        if name not in self.revisions and not self.refusal:
            self._create(name, now)
        newest = self.revisions.get(name)
        self._update_latest_ready()
        self.configuration = self._configuration_condition(newest)

    def _create(self, name: str, now: float) -> None:
        template = self._configured
        if template is None:
            return
        behaviour = self._behaviour_of(template)
        revision = Revision(name, self._number, template, behaviour, now)
        self.revisions[name] = revision
        self.created = name
        if behaviour.ready_after is not None:
            up = now + behaviour.ready_after
            self._call_at(up, lambda: self.pods_ready(revision, up))
        if behaviour.fails_after is not None:
            self._call_at(now + behaviour.fails_after, lambda: self._mark_failed(revision, behaviour.failure))
        self._call_at(now + self._progress_deadline, lambda: self._mark_failed(revision, behaviour.failure))

    def _update_latest_ready(self) -> None:
        current = self.revisions.get(self.ready)
        newest = current.number if current is not None else _number_of(self.ready)
        for revision in self.revisions.values():
            if revision.ready is _TRUE and revision.number > newest:
                newest, self.ready = revision.number, revision.name

    def _configuration_condition(self, newest: Revision | None) -> Condition:
        if newest is None:
            return Condition(_FALSE, _FAILED, f"Revision creation failed with message: {self.refusal}.")
        if newest.ready is _FALSE:
            return Condition(_FALSE, _FAILED, f'Revision "{newest.name}" failed with message: {newest.message}')
        return Condition(newest.ready)

    # Revisions

    def pods_ready(self, revision: Revision, now: float) -> None:
        """All pods of the revision serve, for the first time or again."""
        if revision.deleted:
            return
        revision.ready, revision.message = _TRUE, ""
        revision.runs_unready = revision.removal_planned = False
        if revision.routed or revision.name == self.created:
            revision.warm_at = now
        self._on_routing_change(self)
        behaviour = revision.behaviour
        if behaviour.crashes_after is not None and not revision.crash_planned:
            revision.crash_planned = True
            self._call_at(now + behaviour.crashes_after, lambda: self.pods_crash(revision))
            if behaviour.recovers_after is not None:
                again = now + behaviour.crashes_after + behaviour.recovers_after
                self._call_at(again, lambda: self.pods_ready(revision, again))
        self._enqueue()

    def pods_crash(self, revision: Revision, message: str = "Container failed with: model crashed.") -> None:
        """Every pod of the revision crashes; a part of them or failing readiness would not be noticed.

        They are scraped on, until the autoscaler takes them away.
        """
        if revision.deleted:
            return
        revision.runs_unready = revision.warm_at is not None
        revision.ready, revision.message, revision.warm_at = _FALSE, message, None
        self._on_routing_change(self)
        self._enqueue()

    def pods_unready(self, revision: Revision) -> None:
        """Every pod runs and fails its readiness probe: no request is answered, and the Revision stays ready."""
        if revision.deleted:
            return
        revision.warm_at, revision.runs_unready = None, True
        self._on_routing_change(self)

    def _plan_removals(self, now: float) -> None:
        """The pods of a failed revision go after a minute, and their series with them."""
        for revision in self.revisions.values():
            if revision.ready is _FALSE and revision.runs_unready and not revision.removal_planned:
                revision.removal_planned = True
                self._call_at(now + _FAILED_KEPT_SECONDS, partial(self._remove_pods, revision))

    def _remove_pods(self, revision: Revision) -> None:
        if revision.removal_planned:
            revision.runs_unready = revision.removal_planned = False
            self._on_routing_change(self)

    def _mark_failed(self, revision: Revision, message: str) -> None:
        if revision.deleted or revision.ready is not _UNKNOWN:
            return
        inconclusive_timed_out = f'ReplicaSet "{revision.name}-deployment" has timed out progressing.'
        revision.ready, revision.message = _FALSE, message or inconclusive_timed_out
        self._enqueue()

    def delete_revision(self, name: str) -> None:
        revision = self.revisions.pop(name, None)
        if revision is not None:
            revision.deleted = True
            self._enqueue()

    # Route

    def _reconcile_route(self, now: float) -> None:
        trouble, targets = self._resolve()
        if trouble is not None:
            self.route = trouble
            return
        targets, ramping = self._gradual_rollout(targets, now)
        self.traffic = targets
        if not self.ingress_held or _routed(self.programmed) == _routed(targets):
            self.programmed = targets
        self._scale(now)
        if self.programmed != targets:
            self.route = Condition(_UNKNOWN, "IngressNotConfigured", "Ingress has not yet been reconciled.")
        elif ramping:
            said = "A gradual rollout of the latest revision(s) is in progress."
            self.route = Condition(_UNKNOWN, "RolloutInProgress", said)
        else:
            self.route = Condition(_TRUE)

    def _resolve(self) -> tuple[Condition | None, tuple[StatusTarget, ...]]:
        trouble: Condition | None = None
        targets = []
        for wanted in self.wanted:
            name = wanted.revision or self.ready
            targets.append(StatusTarget(not wanted.revision, name, wanted.percent, wanted.tag))
            problem = self._problem_of(name)
            if problem is not None and (trouble is None or problem.status is _FALSE):
                trouble = problem
        return trouble, tuple(targets)

    def _problem_of(self, name: str) -> Condition | None:
        if not name:
            waiting = f'Configuration "{self.name}" is waiting for a Revision to become ready.'
            return Condition(_UNKNOWN, _MISSING, waiting)
        revision = self.revisions.get(name)
        if revision is None:
            return Condition(_FALSE, _MISSING, f'Revision "{name}" referenced in traffic not found.')
        if revision.ready is _FALSE:
            return Condition(_FALSE, _MISSING, f'Revision "{name}" failed to become ready.')
        if revision.ready is _UNKNOWN:
            return Condition(_UNKNOWN, _MISSING, f'Revision "{name}" is not yet ready.')
        return None

    def _gradual_rollout(self, targets: tuple[StatusTarget, ...], now: float) -> tuple[tuple[StatusTarget, ...], bool]:
        """``serving.knative.dev/rollout-duration``: old and new share the latest entry for a while."""
        if self.rollout_duration <= 0:
            return targets, False
        newest = next((target for target in targets if target.latest), None)
        before = {target.revision for target in self.traffic if target.latest}
        if newest is None or newest.percent < 2:
            return targets, False
        if before and newest.revision not in before:
            self._ramp = (max(before), newest.revision, now)
        if self._ramp is None or self._ramp[1] != newest.revision:
            return targets, False
        old, new, since = self._ramp
        share = max(1, int(newest.percent * (now - since) / self.rollout_duration + 1e-9))
        if share >= newest.percent or old not in self.revisions:
            self._ramp = None
            return targets, False
        step = max(self.rollout_duration / 10, 1.0)
        self._call_at(since + step * (int((now - since) / step + 1e-9) + 1), self._enqueue)
        halves = (
            newest._replace(revision=old, percent=newest.percent - share),
            newest._replace(revision=new, percent=share),
        )
        return (*halves, *(target for target in targets if not target.latest)), True

    def _scale(self, now: float) -> None:
        """A revision that is no target any more loses its pods; one that becomes one again starts cold."""
        active = {target.revision for target in self.programmed + self.traffic}
        for revision in self.revisions.values():
            routed = revision.name in active
            if routed and not revision.routed and revision.warm_at is None and revision.ready is _TRUE:
                revision.warm_at = now + (revision.behaviour.ready_after or 0.0)
            elif not routed and revision.routed:
                revision.warm_at = None
            revision.routed = routed


def _routed(targets: tuple[StatusTarget, ...]) -> dict[str, int]:
    """What the Ingress object holds: a target at 0 % is not in it, so there is nothing to program for it."""
    shares: dict[str, int] = {}
    for target in targets:
        if target.percent:
            shares[target.revision] = shares.get(target.revision, 0) + target.percent
    return shares


def _number_of(name: str) -> int:
    return int(name.rsplit("-", 1)[1]) if name else 0
