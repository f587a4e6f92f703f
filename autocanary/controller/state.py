"""Which rollouts run and ran, what each service was like, and when each is due."""

from __future__ import annotations

from itertools import count

from autocanary.controller.running_rollout import RunningRollout
from autocanary.decide.detection import StableRevisionTracker
from autocanary.logs import logger
from autocanary.model.observation import ServiceKey
from autocanary.model.rollout import Rollout, RolloutId, with_known_subject
from autocanary.scheduler.due_queue import GROUP_SIZE, DueQueue, PhaseOffsets

__all__ = ["ControllerState"]

_log = logger("autocanary.controller")


class ControllerState:
    """The controller's memory, read from the rollout store after a start and on becoming leader.

    Not thread-safe: only the tick's thread changes it; ``running`` alone may be called from other threads.
    """

    def __init__(self) -> None:
        self._running: dict[RolloutId, RunningRollout] = {}  # or ended with undelivered notifications
        self._active: dict[ServiceKey, RolloutId] = {}
        self._starting: set[ServiceKey] = set()
        self._stable_trackers: dict[ServiceKey, StableRevisionTracker] = {}
        self._detect_at: dict[ServiceKey, float] = {}
        self._set_aside: dict[RolloutId, ServiceKey] = {}
        self._finished: dict[RolloutId, Rollout] = {}
        self._without_status: dict[ServiceKey, set[RolloutId]] = {}
        self._due_queue: DueQueue[RolloutId] = DueQueue()
        self._history: dict[ServiceKey, dict[str, Rollout]] = {}
        self._phase_offsets: PhaseOffsets[RolloutId] = PhaseOffsets(GROUP_SIZE)
        self._sequence = count()

    # --- running rollouts --------------------------------------------------------------------------------

    def running(self) -> list[RunningRollout]:
        """The rollouts that run, or of which notifications are undelivered."""
        return list(self._running.values())

    @property
    def running_count(self) -> int:
        return len(self._running)

    def find(self, id_: RolloutId) -> RunningRollout | None:
        return self._running.get(id_)

    def is_tracked(self, running: RunningRollout) -> bool:
        """Whether this object still holds the rollout's state: the record was not deleted or adopted again."""
        return self._running.get(running.id) is running

    def track(self, running: RunningRollout, now: float) -> None:
        """Evaluate a recorded rollout from now on."""
        self._release_offset(self._running.get(running.id))
        running.join(next(self._sequence), self._phase_offsets.assign(running.id, running.interval), now)
        self._running[running.id] = running
        if not running.rollout.is_final:
            self._active[running.key] = running.id
        self._due_queue.set_due(running.id, now)

    def mark_ended(self, running: RunningRollout, now: float) -> bool:
        """The rollout no longer runs: its service may start another. Whether it ran until now."""
        if self._active.get(running.key) != running.id:
            return False
        del self._active[running.key]
        self.detect_at(running.key, now)
        return True

    def set_aside(self, rollout: Rollout) -> None:
        """The record cannot be used: its service is left alone until the record changes."""
        self._set_aside[rollout.namespace, rollout.name] = rollout.key

    def clear_set_aside(self, id_: RolloutId) -> None:
        """The record has changed, or is gone."""
        self._set_aside.pop(id_, None)

    @property
    def set_aside_count(self) -> int:
        return len(self._set_aside)

    def untrack(self, running: RunningRollout) -> None:
        """The rollout has ended and all its notifications are delivered."""
        self._release_offset(self._running.pop(running.id, None))
        self._due_queue.drop(running.id)

    def _release_offset(self, running: RunningRollout | None) -> None:
        if running is not None:
            self._phase_offsets.release(running.id)

    def forget_deleted(self, id_: RolloutId, now: float) -> None:
        """The record was deleted: detect again what its service releases, from the weight that it has."""
        running = self._running.pop(id_, None)
        set_aside = self._set_aside.pop(id_, None)
        if set_aside is not None:
            self.detect_at(set_aside, now)
        for key in [key for key in self._history if key.namespace == id_[0]]:
            self.discard(key, id_[1])
        if running is not None:
            self._release_offset(running)
            self._due_queue.drop(id_)
            if self._active.get(running.key) == id_:
                del self._active[running.key]
            self.detect_at(running.key, now)
            _log.warning("rollout_deleted", namespace=id_[0], rollout=id_[1])

    # --- when to evaluate --------------------------------------------------------------------------------

    def take_due(self, now: float) -> list[RunningRollout]:
        """The rollouts whose evaluation is due, the longest due first."""
        found = (self._running.get(id_) for id_ in self._due_queue.due(now))
        return [running for running in found if running is not None]

    def schedule(self, running: RunningRollout, when: float) -> None:
        """Evaluate the rollout at ``when``, unless it has ended."""
        if running.id in self._running:
            self._due_queue.set_due(running.id, when)

    def bring_forward(self, id_: RolloutId, when: float) -> None:
        """Evaluate the rollout at ``when`` if it is not due earlier."""
        if id_ in self._running:
            self._due_queue.bring_forward(id_, when)

    def next_due_at(self) -> float | None:
        return self._due_queue.next_due_at()

    # --- recorded rollouts -------------------------------------------------------------------------------

    def add_to_history(self, rollout: Rollout) -> None:
        """What was read of the rollout earlier stays, where another client has changed it since."""
        by_name = self._history.setdefault(rollout.key, {})
        known = by_name.get(rollout.name)
        by_name[rollout.name] = with_known_subject(rollout, known) if known is not None else rollout

    def history(self, key: ServiceKey) -> list[Rollout]:
        """All recorded rollouts of a service, running ones included."""
        return list(self._history.get(key, {}).values())

    def discard(self, key: ServiceKey, name: str) -> None:
        """A rollout is no longer part of its service's history."""
        by_name = self._history.get(key, {})
        by_name.pop(name, None)
        if not by_name:
            self._history.pop(key, None)

    def add_finished(self, rollout: Rollout) -> None:
        """A finished rollout may hold a user request: it is answered in this tick or the next."""
        self._finished[rollout.namespace, rollout.name] = rollout

    def take_finished(self) -> list[Rollout]:
        """The rollouts that were added since, each once, as it was last."""
        finished, self._finished = self._finished, {}
        return list(finished.values())

    def add_without_status(self, rollout: Rollout) -> None:
        """The rollout was created and its first status is not written: detection completes or ends it."""
        self._without_status.setdefault(rollout.key, set()).add((rollout.namespace, rollout.name))

    def take_without_status(self, key: ServiceKey) -> set[RolloutId]:
        """The service's rollouts that were added since."""
        return self._without_status.pop(key, set())

    # --- services ----------------------------------------------------------------------------------------

    def detect_at(self, key: ServiceKey, when: float) -> None:
        """Detect at ``when`` whether the service releases something."""
        self._detect_at[key] = when

    def take_detections(self, now: float) -> list[ServiceKey]:
        """The services whose detection is due."""
        keys = [key for key, when in self._detect_at.items() if when <= now]
        for key in keys:
            del self._detect_at[key]
        return keys

    def tracker(self, key: ServiceKey) -> StableRevisionTracker | None:
        """What is known of a service's stable revision: it distinguishes a release from a restart."""
        return self._stable_trackers.get(key)

    def set_tracker(self, key: ServiceKey, tracker: StableRevisionTracker | None) -> None:
        if tracker is None:
            self._stable_trackers.pop(key, None)
        else:
            self._stable_trackers[key] = tracker

    def active(self, key: ServiceKey) -> RunningRollout | None:
        """The rollout that runs for a service."""
        id_ = self._active.get(key)
        return self._running.get(id_) if id_ is not None else None

    def begin_start(self, key: ServiceKey) -> None:
        """A worker records a new rollout of the service from now on."""
        self._starting.add(key)

    def finish_start(self, key: ServiceKey) -> None:
        self._starting.discard(key)

    def is_starting(self, key: ServiceKey) -> bool:
        return key in self._starting

    @property
    def any_starting(self) -> bool:
        return bool(self._starting)

    def has_active_rollout(self, key: ServiceKey) -> bool:
        """Whether a rollout of the service runs or is being started, or has a record that was set aside."""
        return key in self._active or key in self._starting or key in self._set_aside.values()
