"""One component of one InferenceService, as its status was at one moment.

Built by ``autocanary.kserve`` from the object; the same value whatever API generation it came from.

In which of KServe's deployment modes nothing can be rolled out, and what would work instead.

Knative numbers a service's revisions from 00001 on, and from 00001 again when its Knative service was created again.

That happens without a new InferenceService: it was stopped and resumed, or what it owns was deleted.
From then on the old names belong to other revisions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple

from autocanary.model.policy import Component

__all__ = [
    "FIELD_MANAGER",
    "ConditionStatus",
    "DefaultEndpoint",
    "DeploymentMode",
    "EarlierVersion",
    "Observation",
    "PromotionPending",
    "ServiceKey",
    "has_lower_number",
    "revision_number",
    "unsupported_mode_reason",
]


FIELD_MANAGER = "autocanary"
"""The field manager of our own writes. It writes 0 under a running rollout only to roll it back."""


class ServiceKey(NamedTuple):
    """One rollout target: a component of an InferenceService."""

    namespace: str
    name: str
    component: Component = Component.PREDICTOR

    def __str__(self) -> str:
        suffix = "" if self.component is Component.PREDICTOR else f" ({self.component.value})"
        return f"{self.namespace}/{self.name}{suffix}"


class DeploymentMode(str, Enum):
    """How KServe deploys the service; only KNATIVE can split traffic by canaryTrafficPercent."""

    KNATIVE = "Knative"
    STANDARD = "Standard"
    MODELMESH = "ModelMesh"
    UNKNOWN = "Unknown"  # nothing deployed yet


class ConditionStatus(str, Enum):
    """A Kubernetes condition's status; UNKNOWN also when the condition is absent."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class PromotionPending(str, Enum):
    """What is still to be done before a candidate with all the traffic is stable itself."""

    ADOPT = "adopt"  # copy the candidate's spec to stable's place in the spec
    WAIT = "wait"  # the service is making a revision of it, or moving the traffic to it
    CLEAR = "clear"  # empty the candidate's place in the spec


@dataclass(frozen=True, slots=True)
class DefaultEndpoint:
    """Of a service whose spec holds stable *beside* the candidate, in a place of its own.

    There, stable's spec need not be learned, but what stable is made of may be edited by its owner at any
    time; taking the candidate out of the spec withdraws it; names of revisions may come again with another
    spec; and a candidate with all the traffic is still to be put into stable's place (see
    ``promotion_pending``).

    ``has_candidate`` says whether the spec holds one; ``failure`` why stable's newest revision cannot become
    ready. ``ready`` is about that revision too. ``components`` are all that the service has: they share one
    weight.
    """

    spec: Mapping[str, Any] = field(compare=False, hash=False, repr=False)
    digest: str
    ready: ConditionStatus
    has_candidate: bool
    failure: str = ""
    components: tuple[Component, ...] = ()


@dataclass(frozen=True, slots=True)
class Observation:
    """One component at one moment.

    ``weight`` is the canaryTrafficPercent in the *spec*, None when absent (KServe then sends 100 % to the
    newest ready revision). ``traffic`` is the status' split, summed by revision name, in percent; empty
    when KServe has said nothing. The four revision names are KServe's own bookkeeping; "" when absent:
    ``rolled_out`` is stable as KServe sees it, ``previous`` the stable before that, ``created`` the newest
    revision made and ``ready`` the newest that was ready.

    ``failure`` says in words why the newest revision failed, before or after it was ready; "" when nothing
    says so. ``route_failure`` is KServe's message about a route that is not ready because a revision in it
    is not; ``blocked_by`` is the name of that revision. Knative changes no split until it is ready again.
    ``generation`` counts the changes of the object's spec, from 1 on; 0 when it is not known.
    ``is_status_behind`` says that the spec is newer than what the status was made from, as far as the
    generations show: KServe copies Knative's generation, which other changes move too.
    ``writer`` is the field manager that last wrote the weight, "" when unknown; ``released_by`` is the one that last
    wrote the rest of the spec, with the author that an annotation names where the settings name that annotation.
    ``spec`` is the component's spec without the weight (to restore it), ``spec_digest`` its hash.

    ``default_endpoint`` is None where stable exists only as a revision. Where it is not, ``spec`` is the
    candidate's (stable's when there is none), ``rolled_out`` is the revision in stable's place and ``weight``
    is None only without a candidate.
    """

    key: ServiceKey
    uid: str
    api_version: str
    resource_version: str
    labels: Mapping[str, str]
    mode: DeploymentMode
    weight: int | None
    traffic: Mapping[str, int]
    rolled_out: str
    previous: str
    ready: str
    created: str
    route_ready: ConditionStatus
    service_ready: ConditionStatus
    latest_ready: ConditionStatus
    failure: str = ""
    route_failure: str = ""
    blocked_by: str = ""
    generation: int = 0
    is_status_behind: bool = False
    writer: str = ""
    released_by: str = ""
    stopped: bool = False
    deleting: bool = False
    auto_update_disabled: bool = False
    reconcile_error: str = ""
    spec_digest: str = ""
    spec: Mapping[str, Any] = field(default_factory=dict, compare=False, hash=False, repr=False)
    default_endpoint: DefaultEndpoint | None = None

    @property
    def candidate_removed(self) -> bool:
        """Whether the spec has a place for a candidate, and none in it."""
        return self.default_endpoint is not None and not self.default_endpoint.has_candidate

    @property
    def promotion_pending(self) -> PromotionPending | None:
        """What a promotion still lacks, once the candidate has all the traffic; None: nothing."""
        default_endpoint = self.default_endpoint
        if default_endpoint is None:
            return None
        if not default_endpoint.has_candidate:
            on_stable = self.traffic_percent(self.rolled_out) == 100 and self.route_ready is ConditionStatus.TRUE
            return None if on_stable else PromotionPending.WAIT
        if default_endpoint.digest != self.spec_digest:
            return PromotionPending.ADOPT
        return PromotionPending.CLEAR if default_endpoint.ready is ConditionStatus.TRUE else PromotionPending.WAIT

    def matches_spec(self, digest: str) -> bool:
        """Whether a name of a revision still means what was made from the spec with this digest."""
        return self.default_endpoint is None or not digest or self.spec_digest == digest

    def traffic_percent(self, revision: str) -> int | None:
        """Percent of traffic that ``revision`` gets; None when the status says nothing about traffic."""
        if not self.traffic:
            return None
        return self.traffic.get(revision, 0)

    def weight_in_effect(self, *, candidate: str, stable: str, weight: int) -> bool:
        """Whether the weight has really been reached, by the three signs that belong together.

        The candidate's summed share is the weight, the recorded stable has the rest, and the component's
        route is ready, all in one status. No single field proves it: ``traffic`` alone changes before the
        ingress is programmed, ``Ready`` and ``observedGeneration`` describe other things.
        """
        is_split = self.split_matches(candidate=candidate, stable=stable, weight=weight)
        return is_split and self.route_ready is ConditionStatus.TRUE

    def split_matches(self, *, candidate: str, stable: str, weight: int) -> bool:
        """Whether the candidate's summed share is the weight and the recorded stable has the rest."""
        return (
            self.traffic_percent(candidate) == weight
            and self.traffic_percent(stable if self.default_endpoint is None else self.rolled_out) == 100 - weight
        )


@dataclass(frozen=True, slots=True)
class EarlierVersion:
    """A component as it was just before its spec was changed to what it is now.

    ``seconds``: for how long its spec had been in force then, at least; None where that is not known.
    """

    observation: Observation
    seconds: float | None


_USE_KNATIVE_MODE = (
    "what works is the Knative mode: create the service again with the annotation "
    "serving.kserve.io/deploymentMode: Knative (KServe does not let a service change its mode)"
)


def unsupported_mode_reason(observation: Observation) -> str:
    """Why this service has no revisions to split traffic between, as a sentence; "" where it may have.

    A KServe before 0.15.1 does not write down the mode that an installation has by default; there a service
    is ready and has no revision; one in Knative mode has.
    """
    if observation.mode is DeploymentMode.STANDARD:
        return (
            f"{observation.key} runs in KServe's Standard (RawDeployment) mode, where canaryTrafficPercent splits "
            f"no traffic and autocanary does not drive spec.canary; {_USE_KNATIVE_MODE}"
        )
    if observation.mode is DeploymentMode.MODELMESH:
        return f"{observation.key} runs in KServe's ModelMesh mode, which makes no revisions; {_USE_KNATIVE_MODE}"
    ready = observation.service_ready is ConditionStatus.TRUE and not observation.created
    if observation.mode is DeploymentMode.UNKNOWN and ready and observation.default_endpoint is None:
        return (
            f"KServe says that {observation.key} is ready and names no revision of it, as in its Standard "
            f"(RawDeployment) mode, where canaryTrafficPercent splits no traffic; {_USE_KNATIVE_MODE}"
        )
    return ""


_NUMBER = re.compile(r"-(\d{5,})$")


def revision_number(revision: str) -> int | None:
    """The number at the end of a revision's name; None for the random names of old Knatives.

    >>> number("mnist-predictor-00002")
    2
    """
    found = _NUMBER.search(revision)
    return int(found.group(1)) if found else None


def has_lower_number(revision: str, other: str) -> bool:
    """Whether ``revision`` has a lower number: as the newest one it proves that the revisions were renumbered."""
    mine, its = revision_number(revision), revision_number(other)
    return mine is not None and its is not None and mine < its
