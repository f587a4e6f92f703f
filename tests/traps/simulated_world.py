"""The ground in the world in memory: the unchanged engine, the same policy document, virtual seconds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from types import TracebackType
from typing import Any

from autocanary import logs
from autocanary.app.demo_run import controller_on
from autocanary.kserve import dialect_for
from autocanary.model.observation import Observation
from autocanary.model.policy import Component, Policy
from autocanary.model.rollout import Request
from autocanary.model.time_format import parse_duration
from autocanary.policy_files import validate
from autocanary.simulator.controller_loop import LAG, Lag
from autocanary.simulator.kserve_controller import KServeController
from autocanary.simulator.pod_behaviour import Behaviour, behaviour_from_uri, storage_uri
from autocanary.simulator.response_quality import Quality
from autocanary.simulator.traffic import RequestLoad
from autocanary.simulator.world import World
from tests.traps.simulator_rules import SimulatorRulesWorld
from tests.traps.world import BAD, SERVICE, SentNotification, manifest, policy_document

_TICK_SECONDS = 0.25
_SLOW_SECONDS = 4.0


class SimulatedTrapWorld(SimulatorRulesWorld):
    """The controller ticks four times a virtual second, and soon after every change, as the watch has it."""

    kind = "simulated"

    def __init__(self, namespace: str, lag: Lag = LAG, patience: float = 1.0) -> None:
        """`patience`: how many times longer deadlines and starts of slow pods are, where controllers are late."""
        self.namespace, self._patience = namespace, patience
        self.is_late = patience > 1
        self.rest_seconds = 12.0 * patience
        self._world = World(load=RequestLoad(50.0), scrape_seconds=1.0, lag=lag)
        self._world.kserve.controller.behaviour_of = self._behaviour_of
        self._world.traffic.quality_of = _quality
        self._controller = controller_on(self._world)
        self._history: list[Mapping[str, int]] = []
        self._asked = 0
        self._policies: dict[str, Policy] = {}
        self._stack = ExitStack()
        self._world.kserve.objects.watch(lambda *_: self._world.after(0.05, self._controller.tick))
        self.policy()

    def __enter__(self) -> SimulatedTrapWorld:
        self._log = self._stack.enter_context(logs.capture())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _behaviour_of(self, spec: Mapping[str, Any]) -> Behaviour:
        """Slow pods stay slower than the statuses."""
        found = behaviour_from_uri(spec)
        is_slow = found.ready_after is not None and found.ready_after >= _SLOW_SECONDS
        return replace(found, ready_after=(found.ready_after or 0.0) * self._patience) if is_slow else found

    # --- what happens ------------------------------------------------------------------------------------

    def policy(self, **changes: Any) -> None:
        document = policy_document(self.namespace, **changes)
        deadline = parse_duration(document["spec"]["progressDeadline"]) * self._patience
        document["spec"]["progressDeadline"] = f"{deadline:.0f}s"
        policy, problems = validate(document)
        assert policy is not None, problems
        self._policies[policy.name] = policy
        self._world.policies.put(*self._policies.values())

    def apply(self, version: str, weight: int | None = None, **metadata: Any) -> None:
        document = manifest(self.namespace, version, weight, **metadata)
        self.apply_document(document)

    def apply_document(self, document: Mapping[str, Any]) -> None:
        """See `TrapWorld.apply_document`."""
        self._world.kserve.apply(document, "kubectl", server_side=False)

    def patch(self, body: Mapping[str, Any], by: str = "kubectl-edit") -> None:
        self._world.kserve.patch(self.namespace, SERVICE, body, by)

    def replace(self, version: str, weight: int | None = None) -> None:
        document = manifest(self.namespace, version, weight)
        document["metadata"]["resourceVersion"] = self.document()["metadata"]["resourceVersion"]
        self._world.kserve.replace(document, "kubectl-replace")

    def delete(self) -> None:
        self._world.kserve.delete(self.namespace, SERVICE)

    def run_in_cluster(self, action: Callable[[KServeController], None]) -> None:
        action(self._world.kserve.controller)

    def take_webhook_away(self, away: bool = True) -> None:
        """See `TrapWorld.take_webhook_away`."""
        self._world.kserve.objects.webhook_down = away

    def ask(self, number: int, verb: str) -> None:
        name = self._name(number)
        if verb in ("pause", "resume"):
            self._world.store.write_request(self.namespace, name, paused=verb == "pause", request=None)
            return
        self._asked += 1
        request = Request(f"request-{self._asked}", verb, "ann")
        self._world.store.write_request(self.namespace, name, paused=None, request=request)

    def wait(self, seconds: float) -> None:
        for _ in range(int(seconds / _TICK_SECONDS)):
            self._world.advance(_TICK_SECONDS)
            self._controller.tick()
            self._history.append(self.split())

    def until(self, condition: Callable[[], object], what: str, seconds: float = 150) -> None:
        for _ in range(int(self._patience * seconds / _TICK_SECONDS)):
            if condition():
                return
            self.wait(_TICK_SECONDS)
        assert condition(), f"waited {seconds} s for {what}: {self.rollouts()}, wrote {self.written_weights()}"

    # --- what is seen ------------------------------------------------------------------------------------

    def seen(self, component: Component = Component.PREDICTOR) -> Observation | None:
        document = self._world.kserve.objects.find((self.namespace, SERVICE))
        if document is None:
            return None
        parts = dialect_for(document["apiVersion"]).observe(document)
        return next((part for part in parts if part.key.component is component), None)

    def exists(self) -> bool:
        """See `TrapWorld.exists`."""
        return self._world.kserve.objects.find((self.namespace, SERVICE)) is not None

    def document(self) -> Mapping[str, Any]:
        return self._world.kserve.document(self.namespace, SERVICE)

    def split(self) -> Mapping[str, int]:
        return dict(self._world.kserve.split(self.namespace, SERVICE))

    def history(self) -> Sequence[Mapping[str, int]]:
        return self._history

    def written_weights(self) -> list[int | None]:
        return [each.weight for each in self._world.cluster.writes]

    def rollouts(self) -> Mapping[str, tuple[str, str, str]]:
        found = {each.name: each.progress for each in self._world.store.rollouts()}
        return {name: (each.phase.value, each.reason.value, each.message) for name, each in found.items()}

    def notifications(self, number: int | None = None) -> list[SentNotification]:
        wanted = None if number is None else self.revision(number)
        notifications = {
            each.notification.id: SentNotification(
                each.notification.event, each.notification.reason, each.notification.message
            )
            for each in self._world.notifier.messages
            if wanted in (None, each.rollout.candidate)
        }
        return list(notifications.values())

    def rejections(self) -> list[str]:
        return [f"{line['reason']}: {line['message']}" for line in self._log.named("rollout_refused")]


def _quality(spec: Mapping[str, Any]) -> Quality:
    return Quality(error_percent=100 * BAD if "bad" in storage_uri(spec) else 0.0)
