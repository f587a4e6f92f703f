"""What is known: which rollouts run and ran, what each service looked like, and when to look at what."""

from __future__ import annotations

from itertools import count

from autocanary.controller.running_rollout import RolloutId, RunningRollout
from autocanary.decide.detection import StableRevisionTracker
from autocanary.logs import logger
from autocanary.model.observation import ServiceKey
from autocanary.model.rollout import Rollout
from autocanary.scheduler.due_queue import GROUP_SIZE, DueQueue, PhaseOffsets

__all__ = ["ControllerState"]

_log = logger("engine")


class ControllerState:
    """In memory only; made anew from the ledger after a start and on becoming leader.

    ``running_rollouts`` are the rollouts that run, or of which people have still to hear; ``active`` names
    the one that runs for a service. ``memory`` is what was seen of a service, to tell a release from a
    restart; ``detect_at`` says when to see whether one has begun there; ``starting`` are those for which that
    is being recorded. ``due_queue`` says when to look at which rollout.
    """

    def __init__(self) -> None:
        self.running_rollouts: dict[RolloutId, RunningRollout] = {}
        self.active: dict[ServiceKey, RolloutId] = {}
        self.stable_trackers: dict[ServiceKey, StableRevisionTracker] = {}
        self.detect_at: dict[ServiceKey, float] = {}
        self.starting: set[ServiceKey] = set()
        self.due_queue: DueQueue[RolloutId] = DueQueue()
        self._history: dict[ServiceKey, dict[str, Rollout]] = {}
        self._phase_offsets: PhaseOffsets[RolloutId] = PhaseOffsets(GROUP_SIZE)
        self._sequence = count()

    def is_tracked(self, running: RunningRollout) -> bool:
        """Whether this is still what is known of its rollout: not deleted, nor made anew, meanwhile."""
        return self.running_rollouts.get(running.id) is running

    # --- rollouts ----------------------------------------------------------------------------------------

    def add_to_history(self, rollout: Rollout) -> None:
        self._history.setdefault(rollout.key, {})[rollout.name] = rollout

    def history(self, key: ServiceKey) -> list[Rollout]:
        """All recorded rollouts of a service, running ones included."""
        return list(self._history.get(key, {}).values())

    def finished_rollouts(self) -> list[Rollout]:
        """The finished rollouts of all services."""
        return [each for by_name in self._history.values() for each in by_name.values() if each.is_final]

    def track(self, running: RunningRollout, now: float) -> None:
        """A recorded rollout is to be looked at from now on."""
        self._release_offset(self.running_rollouts.get(running.id))
        running.sequence = next(self._sequence)
        running.phase_offset = self._phase_offsets.assign(running.id, running.interval)
        self.running_rollouts[running.id] = running
        if not running.rollout.is_final:
            self.active[running.key] = running.id
        self.due_queue.set_due(running.id, now)

    def mark_ended(self, running: RunningRollout, now: float) -> bool:
        """The rollout no longer runs: its service may start another. Whether that is news."""
        if self.active.get(running.key) != running.id:
            return False
        del self.active[running.key]
        self.detect_at[running.key] = now
        return True

    def schedule_at(self, running: RunningRollout, when: float) -> None:
        """The next look is then, unless the rollout has ended."""
        if running.id in self.running_rollouts:
            self.due_queue.set_due(running.id, when)

    def untrack(self, running: RunningRollout) -> None:
        """It has ended and everybody knows it."""
        self._release_offset(self.running_rollouts.pop(running.id, None))
        self.due_queue.drop(running.id)

    def _release_offset(self, running: RunningRollout | None) -> None:
        if running is not None:
            self._phase_offsets.release(running.id)

    def forget_deleted(self, id_: RolloutId, now: float) -> None:
        """The record was deleted: the service is looked at anew, and adopted at the weight it has."""
        running = self.running_rollouts.pop(id_, None)
        for key in [key for key in self._history if key.namespace == id_[0]]:
            self.discard(key, id_[1])
        if running is not None:
            self._release_offset(running)
            self.due_queue.drop(id_)
            if self.active.get(running.key) == id_:
                del self.active[running.key]
            self.detect_at[running.key] = now
            _log.warning("rollout_deleted", namespace=id_[0], rollout=id_[1])

    def discard(self, key: ServiceKey, name: str) -> None:
        """A rollout is no longer part of its service's history."""
        by_name = self._history.get(key, {})
        by_name.pop(name, None)
        if not by_name:
            self._history.pop(key, None)

    # --- services ----------------------------------------------------------------------------------------

    def set_tracker(self, key: ServiceKey, tracker: StableRevisionTracker | None) -> None:
        if tracker is None:
            self.stable_trackers.pop(key, None)
        else:
            self.stable_trackers[key] = tracker

    def has_active_rollout(self, key: ServiceKey) -> bool:
        """Whether a rollout of the service runs or is being started."""
        return key in self.active or key in self.starting
