"""The page over the demo's worlds: each scenario is a namespace, and what is asked on the page happens in it."""

from __future__ import annotations

import queue
import threading
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace

from autocanary.app.page_data import SnapshotReader
from autocanary.http_server.server import Server
from autocanary.model.observation import Observation
from autocanary.model.policy import Policy
from autocanary.model.rollout import Request, Rollout
from autocanary.page import AccessDenied, PageOptions, Visitor, WebPage
from autocanary.prometheus.shown_queries import shown_query
from autocanary.simulator.world import World
from autocanary.views import UndoTarget

__all__ = ["DemoPage"]

_LOOPBACK = "127.0.0.1"


class DemoPage:
    """``PageSource`` and ``PageAccess`` at once. The demo's thread calls ``update``; the page's threads do the rest.

    A world belongs to the demo's thread: the page sees values that were taken from it, and requests wait in a queue.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._shown: dict[str, tuple[Rollout, ...]] = {}
        self._services: dict[str, tuple[Observation, ...]] = {}
        self._policies: dict[str, Policy] = {}
        self._now = 0.0
        self._requests: queue.SimpleQueue[tuple[str, str, bool | None, Request | None]] = queue.SimpleQueue()
        self._snapshots = SnapshotReader()
        self._page = WebPage(self, self, PageOptions(shortest_round=0.5))
        self._server = Server(_LOOPBACK, 0, self._page.application)

        self._server.start()
        hosts = [f"{name}:{self._server.port}" for name in (_LOOPBACK, "localhost")]
        self._page.application.allow_hosts(hosts)
        self.address = f"http://{_LOOPBACK}:{self._server.port}/"

    def close(self) -> None:
        self._page.close()
        self._server.stop()

    def update(self, scenario: str, world: World, rollouts: Sequence[Rollout], policy: Policy) -> None:
        """Carry out what was requested on the page, and show the world as it is now. The demo's thread calls it."""
        waiting = []
        while not self._requests.empty():
            waiting.append(self._requests.get())
        for namespace, name, paused, request in waiting:
            place = next((each for each in rollouts if each.name == name and namespace == scenario), None)
            if place is not None:
                world.store.write_request(place.namespace, place.name, paused=paused, request=request)
        with self._lock:
            before = {each.name: each for each in self._shown.get(scenario, ())}
            self._shown[scenario] = tuple(_unless_same(before, replace(each, namespace=scenario)) for each in rollouts)
            self._services[scenario] = tuple(
                replace(each, key=each.key._replace(namespace=scenario)) for each in world.cluster.services()
            )
            self._policies[scenario] = replace(
                policy, namespace=scenario, selector=replace(policy.selector, namespaces=())
            )
            self._now = world.now()

    # --- PageSource --------------------------------------------------------------------------------------

    @property
    def cluster_name(self) -> str:
        return "demo"

    def now(self) -> float:
        return self._now

    def rollouts(self) -> Sequence[Rollout]:
        with self._lock:
            return [each for shown in self._shown.values() for each in shown]

    def policy_of(self, rollout: Rollout) -> Policy | None:
        return self._snapshots.policy_of(rollout)

    def services(self) -> Sequence[Observation]:
        with self._lock:
            return [each for services in self._services.values() for each in services]

    def policies(self) -> Sequence[Policy]:
        with self._lock:
            return list(self._policies.values())

    def problems(self) -> Mapping[str, Sequence[str]]:
        return {}

    def query_text(self, rollout: Rollout, metric: str) -> str:
        return shown_query(rollout, self.policy_of(rollout), metric)

    def missing(self) -> Sequence[str]:
        return ()

    # --- PageAccess --------------------------------------------------------------------------------------

    def identify(self, headers: Mapping[str, str]) -> Visitor:
        del headers
        return Visitor("you", "demo")

    def readable(self, visitor: Visitor, namespaces: AbstractSet[str]) -> AbstractSet[str]:
        del visitor
        return namespaces

    def may_act(self, visitor: Visitor, namespace: str) -> bool:
        """Only in the scenario that runs; no time passes in those that have ended."""
        del visitor
        with self._lock:
            running = any(not each.is_final for each in self._shown.get(namespace, ()))
            return running and namespace == next(reversed(self._shown), "")

    def refusal(self, namespace: str) -> str:
        return f"the demo's scenario {namespace} has ended"

    def act(self, visitor: Visitor, rollout: Rollout, *, paused: bool | None, request: Request | None) -> None:
        del visitor
        self._requests.put((rollout.namespace, rollout.name, paused, request))

    def may_undo(self, visitor: Visitor, rollout: Rollout) -> bool:
        """The scenario ends with its rollout, so nothing would follow."""
        del visitor, rollout
        return False

    def undo(self, visitor: Visitor, target: UndoTarget, reason: str) -> None:
        del visitor, target, reason
        raise AccessDenied(403, "the demo's world has ended")


def _unless_same(before: Mapping[str, Rollout], rollout: Rollout) -> Rollout:
    """The value that was shown before, where nothing has changed: live updates go by identity."""
    known = before.get(rollout.name)
    return known if known == rollout else rollout
