"""Where the page's data come from: the running service, the caches of a dashboard, or the demo."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence

from autocanary.controller.policy_snapshots import PolicySnapshots
from autocanary.errors import PolicyError
from autocanary.model.observation import Observation
from autocanary.model.policy import Policy
from autocanary.model.rollout import Rollout
from autocanary.page import render_report
from autocanary.policy_files import ActivePolicies
from autocanary.ports import Cluster, RolloutStore
from autocanary.prometheus.shown_queries import shown_query

__all__ = ["ClusterPageSource", "SnapshotReader", "render_rollout_report"]


class SnapshotReader:
    """The policies of rollouts, from their snapshots; thread-safe."""

    def __init__(self) -> None:
        self._snapshots = PolicySnapshots(ActivePolicies())
        self._lock = threading.Lock()

    def policy_of(self, rollout: Rollout) -> Policy | None:
        """None where this version cannot read the snapshot."""
        with self._lock:
            try:
                return self._snapshots.restore(rollout)
            except PolicyError:
                return None


class ClusterPageSource:
    """The ``PageSource`` over caches that are kept elsewhere. ``running`` are rollouts as the controller has them,
    which is newer than their records; ``missing`` says what could not be read."""

    def __init__(
        self,
        store: RolloutStore,
        cluster: Cluster,
        policies: ActivePolicies,
        *,
        running: Callable[[], Sequence[Rollout]] = tuple,
        missing: Callable[[], Sequence[str]] = tuple,
        cluster_name: str = "",
        now: Callable[[], float] = time.time,
    ) -> None:
        self._store, self._cluster, self._policies = store, cluster, policies
        self._running, self._missing, self._now = running, missing, now
        self._cluster_name = cluster_name
        self._snapshots = SnapshotReader()

    @property
    def cluster_name(self) -> str:
        return self._cluster_name

    def now(self) -> float:
        return self._now()

    def rollouts(self) -> Sequence[Rollout]:
        stored = self._store.rollouts()
        running = {(each.namespace, each.name): each for each in self._running()}
        return [running.get((each.namespace, each.name), each) for each in stored] if running else stored

    def policy_of(self, rollout: Rollout) -> Policy | None:
        return self._snapshots.policy_of(rollout)

    def services(self) -> Sequence[Observation]:
        return self._cluster.services()

    def policies(self) -> Sequence[Policy]:
        return self._policies.current()

    def problems(self) -> Mapping[str, Sequence[str]]:
        return {name: [str(each) for each in problems] for name, problems in self._policies.policy_problems()}

    def query_text(self, rollout: Rollout, metric: str) -> str:
        return shown_query(rollout, self.policy_of(rollout), metric)

    def missing(self) -> Sequence[str]:
        return self._missing()


def render_rollout_report(rollout: Rollout, now: float | None = None) -> str:
    """The report of one rollout from its record alone; ``now`` (epoch seconds) is the time of a running one."""
    policy = SnapshotReader().policy_of(rollout)
    return render_report(
        rollout,
        policy,
        time.time() if now is None else now,
        query_text=lambda metric: shown_query(rollout, policy, metric),
    )
