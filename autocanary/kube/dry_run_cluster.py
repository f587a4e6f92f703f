"""The InferenceServices of ``--dry-run``: what would have been written is kept here, and shown as if it were in effect.

So a whole rollout can be followed: the controller sees the weight that it decided on, while KServe sends the traffic as
the user's manifest says. A shadow lasts until its service changes: another revision, another object, a weight that
another client writes. From then on the real service is seen. Metrics are always real.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from autocanary import logs
from autocanary.kserve.v1beta1 import spec_digest
from autocanary.model.observation import FIELD_MANAGER, ConditionStatus, EarlierVersion, Observation, ServiceKey
from autocanary.ports import Cluster

__all__ = ["DryRunCluster"]

_log = logs.logger("autocanary.kube.dry_run_cluster")


@dataclass(frozen=True, slots=True)
class _Shadow:
    """What would be in effect. ``candidate``, ``real_weight`` and ``uid`` are the service's own when it was made.

    ``restored`` is a spec that would have been put back; ``finalized`` says that a promotion would be complete.
    """

    uid: str
    candidate: str
    stable: str
    real_weight: int | None
    weight: int | None
    restored: Mapping[str, Any] | None = field(default=None, repr=False)
    finalized: bool = False

    def is_about(self, real: Observation) -> bool:
        """Whether the service is still what it was when the write was decided on."""
        return (
            real.uid == self.uid
            and real.created == self.candidate
            and real.weight == self.real_weight
            and not real.deleting
            and not real.stopped
        )

    def over(self, real: Observation) -> Observation:
        """The service as it would be."""
        shown = replace(
            real,
            weight=self.weight,
            writer=FIELD_MANAGER,
            route_ready=ConditionStatus.TRUE,
            route_failure="",
            blocked_by="",
        )
        if self.finalized and real.default_endpoint is not None:
            stable = replace(
                real.default_endpoint,
                spec=real.spec,
                digest=real.spec_digest,
                ready=ConditionStatus.TRUE,
                has_candidate=False,
            )
            return replace(
                shown, weight=None, created=self.stable, ready=self.stable, traffic={self.stable: 100},
                rolled_out=self.stable, default_endpoint=stable,
            )  # fmt: skip
        if self.restored is not None:
            name = f"{self.stable}-restored"
            return replace(
                shown, created=name, ready=name, rolled_out=name, previous=self.stable, traffic={name: 100},
                spec=self.restored, spec_digest=spec_digest(self.restored), failure="",
                latest_ready=ConditionStatus.TRUE,
            )  # fmt: skip
        weight = self.weight or 0
        if real.ready != self.candidate:
            return replace(shown, traffic={self.stable: 100}, rolled_out=self.stable)
        shares = {self.candidate: weight, self.stable: 100 - weight}
        promoted = weight == 100 and real.default_endpoint is None
        return replace(
            shown,
            traffic={name: share for name, share in shares.items() if share},
            rolled_out=self.candidate if promoted else self.stable,
            previous=self.stable if promoted else real.previous,
        )


class DryRunCluster:
    """Implements the ``Cluster`` port over another one, of which nothing but reads is used. Thread-safe."""

    def __init__(self, real: Cluster) -> None:
        self._real = real
        self._lock = threading.Lock()
        self._shadows: dict[ServiceKey, _Shadow] = {}
        self._changed: set[ServiceKey] = set()

    def services(self) -> Sequence[Observation]:
        return [self._shown(each) for each in self._real.services()]

    def observe(self, key: ServiceKey) -> Observation | None:
        found = self._real.observe(key)
        return None if found is None else self._shown(found)

    def take_changes(self) -> set[ServiceKey]:
        with self._lock:
            changed, self._changed = self._changed, set()
        return self._real.take_changes() | changed

    def cache_age(self, key: ServiceKey, api_version: str) -> float:
        return self._real.cache_age(key, api_version)

    def refresh(self, key: ServiceKey) -> Observation | None:
        found = self._real.refresh(key)
        return None if found is None else self._shown(found)

    def earlier_version(self, observation: Observation) -> EarlierVersion | None:
        return self._real.earlier_version(observation)

    def set_weight(self, observation: Observation, weight: int) -> Observation:
        return self._keep(observation, "set_weight", weight=weight)

    def restore(self, observation: Observation, spec: Mapping[str, Any], weight: int | None) -> Observation:
        if observation.default_endpoint is not None:  # there, a restore takes the candidate out of the spec
            return self._keep(observation, "restore", weight=None, finalized=True)
        return self._keep(observation, "restore", weight=weight, restored=dict(spec))

    def finalize(self, observation: Observation) -> Observation:
        return self._keep(observation, "finalize", weight=None, finalized=True)

    def _keep(
        self,
        observation: Observation,
        action: str,
        *,
        weight: int | None,
        restored: Mapping[str, Any] | None = None,
        finalized: bool = False,
    ) -> Observation:
        """Remember what would have been written; the service as it would be now."""
        real = self._real.observe(observation.key) or observation
        with self._lock:
            before = self._shadows.get(observation.key)
            stable = before.stable if before is not None and before.is_about(real) else observation.rolled_out
            shadow = _Shadow(real.uid, real.created, stable, real.weight, weight, restored, finalized)
            if shadow != before:
                _log.info("write_skipped", service=str(observation.key), action=action, weight=weight, dry_run=True)
            self._shadows[observation.key] = shadow
            self._changed.add(observation.key)
        return shadow.over(real)

    def _shown(self, real: Observation) -> Observation:
        with self._lock:
            shadow = self._shadows.get(real.key)
            if shadow is None:
                return real
            if not shadow.is_about(real):
                del self._shadows[real.key]
                return real
        return shadow.over(real)
