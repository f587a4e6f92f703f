"""Where a trap is set: one service in its own namespace, with autocanary over it. Three kinds of ground exist.

``simulated`` is the world in memory, ``real`` a real API server with the status simulator, a real
Prometheus and ``autocanary run`` as its own process, ``kserve`` the same with the real controllers of KServe and
Knative instead of the simulator. A trap is written once and run on all three.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from autocanary.model.observation import ConditionStatus, Observation
from autocanary.model.policy import Component
from tests.real import manifests
from tests.real.manifests import analysis

__all__ = [
    "ABSENT",
    "BAD",
    "SERVICE",
    "SentNotification",
    "TrapWorld",
    "manifest",
    "policy_document",
    "without_repetitions",
]

SERVICE = "mnist"
BAD = 0.2
"""The share of the requests that a bad version fails."""
ABSENT: None = None
"""A release without the field, as an owner applies it who knows nothing of canaries."""


@dataclass(frozen=True, slots=True)
class SentNotification:
    """One transition that users were notified of."""

    event: str
    reason: str
    message: str


def policy_document(namespace: str, **changes: Any) -> dict[str, Any]:
    """A policy whose whole rollout takes some twenty seconds, for one component in one namespace."""
    component = changes.get("component", "predictor")
    spec: dict[str, Any] = {
        "selector": {"namespaces": [namespace]},
        "stepDuration": "6s",
        "progressDeadline": "2m",
        "analysis": analysis(),
    }
    name = namespace if component == "predictor" else f"{namespace}-{component}"
    return manifests.policy_document(name, **{**spec, **changes})


def manifest(namespace: str, version: str, weight: int | None = ABSENT, **metadata: Any) -> dict[str, Any]:
    """The InferenceService as its owner keeps it."""
    return manifests.service_document(namespace, SERVICE, version, weight, **metadata)


class TrapWorld(ABC):
    """What can be done to the service and what can be seen of it. Revisions are named by their number.

    A version's name says how it behaves: ``v2-slow8`` is ready after 8 s, ``crash`` and ``never`` never
    are, and one with ``bad`` in it answers every fifth request with an error. Every ``until`` fails the
    test when its condition does not come within ``seconds``.
    """

    namespace: str
    kind: str
    is_late: bool = False
    """Whether statuses may be older than a step lasts: a weight may then be raised before the status shows a fault."""
    rest_seconds: float = 12.0
    """Seconds at rest after which stable's spec is certain (see ``discovery.SETTLED_AFTER``), and some more."""

    # --- what happens ------------------------------------------------------------------------------------

    @abstractmethod
    def policy(self, **changes: Any) -> None:
        """Put the policy of this namespace in force; with ``component``, the one of that component."""

    @abstractmethod
    def apply(self, version: str, weight: int | None = ABSENT, **metadata: Any) -> None:
        """``kubectl apply`` of the manifest with this model; ``metadata`` adds labels and annotations."""

    @abstractmethod
    def apply_document(self, document: Mapping[str, Any]) -> None:
        """``kubectl apply`` of a manifest of another form."""

    @abstractmethod
    def patch(self, body: Mapping[str, Any], by: str = "kubectl-edit") -> None:
        """A user's merge patch, under the name of their tool."""

    @abstractmethod
    def replace(self, version: str, weight: int | None = ABSENT) -> None:
        """``kubectl replace`` with the manifest."""

    @abstractmethod
    def delete(self) -> None:
        """``kubectl delete inferenceservice``."""

    @abstractmethod
    def ask(self, number: int, verb: str) -> None:
        """A user's request, as the commands write it."""

    @abstractmethod
    def wait(self, seconds: float) -> None:
        """Let time go by."""

    @abstractmethod
    def until(self, condition: Callable[[], object], what: str, seconds: float = 150) -> None: ...

    # --- what happens within the cluster -----------------------------------------------------------------

    @abstractmethod
    def crash(self, number: int) -> None:
        """All pods of a revision crash-loop."""

    @abstractmethod
    def unready(self, number: int) -> None:
        """All pods of a revision run and fail their readiness probe; KServe's status does not change."""

    @abstractmethod
    def recover(self, number: int) -> None:
        """The pods of a revision are ready again."""

    @abstractmethod
    def delete_revision(self, number: int) -> None: ...

    @abstractmethod
    def refuse_revisions(self, refused: bool = True) -> None:
        """Creating Revisions is refused, as a quota or an admission policy does, or allowed again."""

    @abstractmethod
    def hold_ingress(self, held: bool = True) -> None:
        """The ingress does not program what the Route says."""

    @abstractmethod
    def freeze(self, frozen: bool = True) -> None:
        """KServe writes the status no more, although everything else goes on."""

    @abstractmethod
    def take_webhook_away(self, away: bool = True) -> None:
        """KServe's admission webhook cannot be reached, so every write of the service is refused; or it is back."""

    @abstractmethod
    def delete_knative_service(self) -> None:
        """The predictor's Knative Service is deleted by hand; KServe makes it again."""

    @abstractmethod
    def edit_knative_traffic(self, percent: int, number: int) -> None:
        """The predictor's Knative Service is edited by hand: the rest for the latest revision, so much for this."""

    @abstractmethod
    def lose_rolled_out(self) -> None:
        """KServe's bookkeeping of the predictor's stable revision is gone from the status."""

    # --- what is seen ------------------------------------------------------------------------------------

    @abstractmethod
    def seen(self, component: Component = Component.PREDICTOR) -> Observation | None:
        """The InferenceService as the API server has it now."""

    @abstractmethod
    def document(self) -> Mapping[str, Any]: ...

    @abstractmethod
    def split(self) -> Mapping[str, int]:
        """Percent of the requests by revision, as they are really routed now."""

    @abstractmethod
    def history(self) -> Sequence[Mapping[str, int]]:
        """What ``split`` has been so far, one entry per sampled moment."""

    @abstractmethod
    def written_weights(self) -> list[int | None]:
        """Every weight that autocanary wrote, in order; None where it removed the field."""

    @abstractmethod
    def rollouts(self) -> Mapping[str, tuple[str, str, str]]:
        """Phase, reason and message of every CanaryRollout by name."""

    @abstractmethod
    def notifications(self, number: int | None = None) -> list[SentNotification]:
        """What users were notified of, of one candidate or of all."""

    @abstractmethod
    def rejections(self) -> list[str]:
        """Why no rollout was begun: the reason and the sentence."""

    @abstractmethod
    def exists(self) -> bool:
        """Whether the InferenceService is there."""

    # --- words for the traps -----------------------------------------------------------------------------

    def revision(self, number: int) -> str:
        return f"{SERVICE}-predictor-{number:05d}"

    def serve(self, version: str = "v1", weight: int | None = ABSENT) -> None:
        """A first revision that has all the traffic and has been seen at rest."""
        self.apply(version, weight)
        self.until_stable(1)
        self.wait(self.rest_seconds)

    def release(self, version: str = "v2", weight: int | None = 0) -> None:
        self.apply(version, weight)

    def promoted(self, version: str = "v2") -> None:
        """A second revision rolled out by autocanary from the bottom to the top."""
        self.serve()
        self.release(version)
        self.until_phase(2, "Promoted")

    def weight(self, value: int | None, by: str = "kubectl-edit") -> None:
        """A user writes the field, or removes it."""
        self.patch({"spec": {"predictor": {"canaryTrafficPercent": value}}}, by)

    def field(self) -> int | None:
        """``canaryTrafficPercent`` as it stands."""
        value = self.document()["spec"]["predictor"].get("canaryTrafficPercent")
        return None if value is None else int(value)

    def ready(self) -> str:
        """The newest revision that was ready."""
        seen = self.seen()
        return seen.ready if seen is not None else ""

    def share(self, number: int) -> int:
        return self.split().get(self.revision(number), 0)

    def shares(self, number: int) -> list[int]:
        """A revision's share at every sampled moment."""
        looked = self.history()
        assert looked, "no sample was taken at what is routed"
        return [each.get(self.revision(number), 0) for each in looked]

    def highest(self, number: int) -> int:
        return max(self.shares(number))

    def phase(self, number: int) -> str:
        return self._rollout(number)[0]

    def reason(self, number: int) -> str:
        return self._rollout(number)[1]

    def message(self, number: int) -> str:
        return self._rollout(number)[2]

    def _name(self, number: int) -> str:
        """The newest attempt at a candidate; "" while there is none."""
        found = [name for name in self.rollouts() if name.startswith(f"{SERVICE}-{number:05d}")]
        return max(found, key=lambda name: (len(name), name), default="")

    def _rollout(self, number: int) -> tuple[str, str, str]:
        return self.rollouts().get(self._name(number), ("", "", ""))

    def events(self, number: int) -> list[str]:
        return [each.event for each in self.notifications(number)]

    def until_phase(self, number: int, *phases: str, seconds: float = 200) -> None:
        self.until(lambda: self.phase(number) in phases, f"{number:05d} to be {' or '.join(phases)}", seconds)

    def until_reason(self, number: int, *reasons: str, seconds: float = 150) -> None:
        self.until(lambda: self.reason(number) in reasons, f"{number:05d}: {' or '.join(reasons)}", seconds)

    def until_share(self, number: int, percent: int, seconds: float = 150) -> None:
        self.until(lambda: self.share(number) == percent, f"{number:05d} to have {percent} %", seconds)

    def until_shown(self, number: int, percent: int, seconds: float = 60) -> None:
        """Until the status says of a revision what the routing does: a promote is answered by the status."""

        def so() -> bool:
            seen = self.seen()
            is_ready = seen is not None and seen.route_ready is ConditionStatus.TRUE
            return seen is not None and is_ready and seen.traffic_percent(self.revision(number)) == percent

        self.until(so, f"the status to show {number:05d} at {percent} %", seconds)

    def until_notified(self, number: int, event: str, reason: str = "", seconds: float = 150) -> None:
        self.until(
            lambda: any(
                each.event == event and (not reason or each.reason == reason) for each in self.notifications(number)
            ),
            f"{event} {reason} to be notified of {number:05d}",
            seconds,
        )

    def until_stable(self, number: int, seconds: float = 60) -> None:
        def so() -> bool:
            seen = self.seen()
            return seen is not None and seen.rolled_out == self.revision(number)

        self.until(so, f"{number:05d} to be rolled out", seconds)

    def until_created(self, number: int, seconds: float = 60) -> None:
        def so() -> bool:
            seen = self.seen()
            return seen is not None and seen.created == self.revision(number)

        self.until(so, f"{number:05d} to be created", seconds)

    def until_step_analyzed(self, number: int = 2, weight: int = 10) -> None:
        """Until a candidate really has this share and its step is being judged."""
        self.until_share(number, weight)
        self.until(lambda: self.reason(number) in ("Analysing", "WarmingUp"), f"{number:05d} to be judged")

    def hold(self, number: int = 2, weight: int = 10) -> int:
        """Let a candidate come to this share, and have a user pause it there.

        The weight at which it really stopped: on a slow machine it may have come a step further meanwhile.
        """
        self.until(lambda: self.share(number) >= weight, f"{number:05d} to have {weight} %")
        self.ask(number, "pause")
        self.until_phase(number, "Paused")
        stopped = self.field()
        assert stopped is not None
        self.until_share(number, stopped)
        return stopped


def without_repetitions(values: Iterable[Any]) -> list[Any]:
    """Without identical neighbours."""
    return [value for value, _ in groupby(values)]
