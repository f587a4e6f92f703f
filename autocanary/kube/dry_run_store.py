"""The rollout store of ``--dry-run``: records live in memory, and nothing is written to the cluster."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace

from autocanary.errors import AlreadyExists, Conflict, NotFound
from autocanary.model.rollout import Request, Rollout
from autocanary.ports import Clock

__all__ = ["DryRunRolloutStore"]

_Id = tuple[str, str]


class DryRunRolloutStore:
    """Implements the ``RolloutStore`` port. Thread-safe: workers write, the tick's thread reads."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._rollouts: dict[_Id, Rollout] = {}
        self._changed: set[_Id] = set()
        self._version = 0

    def rollouts(self) -> Sequence[Rollout]:
        with self._lock:
            return list(self._rollouts.values())

    def cached(self, namespace: str, name: str) -> Rollout | None:
        with self._lock:
            return self._rollouts.get((namespace, name))

    def is_unreadable(self, namespace: str, name: str) -> bool:  # noqa: ARG002 - the port's signature
        return False

    def take_changes(self) -> set[_Id]:
        with self._lock:
            changed, self._changed = self._changed, set()
            return changed

    def create(self, rollout: Rollout) -> Rollout:
        with self._lock:
            if (rollout.namespace, rollout.name) in self._rollouts:
                raise AlreadyExists(f'the dry run has a rollout "{rollout.namespace}/{rollout.name}" already')
            uid = f"dry-run-{self._version + 1}"
            return self._put(replace(rollout, uid=uid, created_at=self._clock.now(), has_status=True))

    def update_status(self, rollout: Rollout) -> Rollout:
        with self._lock:
            stored = self._find(rollout.namespace, rollout.name)
            if stored.resource_version != rollout.resource_version:
                raise Conflict(f'"{rollout.namespace}/{rollout.name}" has changed since it was read')
            return self._put(replace(stored, progress=rollout.progress, has_status=True))

    def replace_status(self, rollout: Rollout) -> Rollout:
        return self.update_status(rollout)

    def read(self, namespace: str, name: str) -> Rollout | None:
        return self.cached(namespace, name)

    def write_request(self, namespace: str, name: str, *, paused: bool | None, request: Request | None) -> Rollout:
        with self._lock:
            stored = self._find(namespace, name)
            self._changed.add((namespace, name))
            return self._put(
                replace(
                    stored,
                    paused=stored.paused if paused is None else paused,
                    request=stored.request if request is None else request,
                )
            )

    def delete(self, rollout: Rollout) -> None:
        with self._lock:
            self._rollouts.pop((rollout.namespace, rollout.name), None)

    def _find(self, namespace: str, name: str) -> Rollout:
        stored = self._rollouts.get((namespace, name))
        if stored is None:
            raise NotFound(f'the dry run has no rollout "{namespace}/{name}"')
        return stored

    def _put(self, rollout: Rollout) -> Rollout:
        self._version += 1
        stored = replace(rollout, resource_version=str(self._version))
        self._rollouts[rollout.namespace, rollout.name] = stored
        return stored
