"""The controller on the simulated cluster, in virtual time: what ``autocanary demo`` runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from autocanary.app.demo_page import DemoPage
from autocanary.controller import Controller
from autocanary.http_server.counters import ControllerMetrics
from autocanary.http_server.endpoints import Health, make_application
from autocanary.http_server.exposition import Exposition, PolicyCount, ScrapeSources
from autocanary.http_server.server import Server
from autocanary.model.observation import Observation
from autocanary.model.policy import Policy
from autocanary.model.progress import Phase
from autocanary.model.rollout import Rollout
from autocanary.ports import DecisionListener
from autocanary.simulator.kubectl_columns import kubectl_get
from autocanary.simulator.scenarios import SCENARIOS
from autocanary.simulator.world import World

__all__ = ["DEFAULT_SCENARIOS", "Demo", "controller_on", "scenarios"]

DEFAULT_SCENARIOS: Sequence[str] = ("approval", "worse-than-stable", "crash-restored")
"""The scenarios that ``demo`` runs by default: a promotion with an approval, a rollback by the comparison, and a crash
after which stable's spec is put back. The first two are analysed as ``policies/first.yaml`` says."""

_TICK_SECONDS = 1.0
"""Virtual seconds between two ticks, as in the real service."""


def scenarios() -> Mapping[str, str]:
    """The names of the scenarios, each with its description."""
    return {name: scenario.sentence for name, scenario in SCENARIOS.items()}


def controller_on(world: World, listener: DecisionListener | None = None, **others: Any) -> Controller:
    """The unchanged controller over the simulated world's ports; ``others`` replace them, by ``Controller``'s names."""
    given: dict[str, Any] = {
        "cluster": world.cluster,
        "store": world.store,
        "metrics": world.metrics,
        "policy_webhooks": world.policy_webhooks,
        "notifier": world.notifier,
        "policies": world.policies,
        "leadership": world.leadership,
        "clock": world.clock,
        "pool": world.pool,
        "query_pool": world.pool,
        "web_query_pool": others.get("query_pool", world.pool),
        "webhook_pool": world.pool,
        "listener": listener if listener is not None else ControllerMetrics(),
    }
    return Controller(**{**given, **others})


class Demo:
    """One scenario; time passes only in ``advance``."""

    def __init__(self, scenario: str, *, serve: bool = False, page: DemoPage | None = None) -> None:
        self._page = page
        self._scenario = SCENARIOS[scenario]
        self._world = self._scenario.open()
        self._counters = ControllerMetrics()
        self._controller = controller_on(self._world, self._counters)
        self._next = self._world.now()
        self._server = self._serving() if serve else None

    @property
    def title(self) -> str:
        return f"{self._scenario.name}: {self._scenario.sentence}"

    @property
    def expected(self) -> tuple[Phase, ...]:
        return tuple(end.phase for end in self._scenario.expected)

    @property
    def horizon(self) -> float:
        return self._scenario.horizon

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._server.port}/metrics" if self._server is not None else ""

    def now(self) -> float:
        return self._world.now()

    def advance(self, seconds: float) -> None:
        """Let virtual time pass; the controller ticks as often as it would in a cluster."""
        until = self._world.now() + seconds
        while self._next <= until:
            self._world.advance(self._next - self._world.now())
            self._controller.tick()
            self._next += _TICK_SECONDS
        self._world.advance(until - self._world.now())
        if self._page is not None:
            rollouts = [rollout for rollout, _, _ in self.shown()]
            self._page.update(self._scenario.name, self._world, rollouts, self._scenario.policy)

    def shown(self) -> Sequence[tuple[Rollout, Policy | None, Observation | None]]:
        running = {(each.namespace, each.name): each for each in self._controller.rollouts()}
        return [
            (
                rollout := running.get((kept.namespace, kept.name), kept),
                self._scenario.policy,
                self._world.cluster.observe(rollout.key),
            )
            for kept in self._world.store.rollouts()
        ]

    def listing(self) -> Sequence[str]:
        """What kubectl would print of the service now, head and row; nothing where that shows no split."""
        place = self._scenario.shown
        document = self._world.kserve.objects.find(place) if place is not None else None
        return kubectl_get(document, self._world.now()) if document is not None else ()

    def close(self) -> None:
        if self._server is not None:
            self._server.stop()

    def _serving(self) -> Server:
        sources = ScrapeSources(
            rollouts=self._controller.rollouts,
            policy_of=self._controller.policy_of,
            is_leader=self._world.leadership.is_leader,
            policies=lambda: PolicyCount(valid=len(self._world.policies.current()), invalid=0),
        )
        health = Health(heartbeat_age=lambda: 0.0, waiting_for=lambda: ())
        server = Server("127.0.0.1", 0, make_application(Exposition(sources, self._counters), health))
        server.start()
        return server
