"""What has changed since the last tick, in the ledger and in the cluster."""

from __future__ import annotations

from dataclasses import replace

from autocanary.controller.context import Dependencies
from autocanary.controller.notify import Notifications
from autocanary.controller.running_rollout import RolloutId, RunningRollout
from autocanary.controller.start_rollouts import RolloutStarts
from autocanary.controller.state import ControllerState
from autocanary.model.rollout import Rollout

__all__ = ["WatchChanges"]

_RESYNC_SECONDS = 300.0


class WatchChanges:
    """A change only says what to look at: everything is read anew where it is decided about."""

    def __init__(
        self,
        dependencies: Dependencies,
        state: ControllerState,
        rollout_starts: RolloutStarts,
        notifications: Notifications,
    ) -> None:
        self._dependencies, self._state, self._rollout_starts, self._notifications = (
            dependencies,
            state,
            rollout_starts,
            notifications,
        )
        self._resync_at = 0.0

    def load_state(self, now: float) -> None:
        """After a start, or on becoming leader: everything is read from the ledger and the cluster."""
        for rollout in self._dependencies.store.rollouts():
            if not rollout.has_status:
                continue  # a crash between create and the first status: discovery takes it up
            self._state.add_to_history(rollout)
            if not rollout.is_final or rollout.progress.pending_notifications:
                self._rollout_starts.adopt(rollout, now)
        self._dependencies.cluster.take_changes()
        self._dependencies.store.take_changes()
        self._schedule_detection_of_all(now)
        for past in self._state.finished_rollouts():
            self._rollout_starts.retry_if_requested(past, now)

    def process_changes(self, now: float) -> None:
        """What somebody else has done since."""
        self._process_store_changes(now)
        self._process_service_changes(now)

    def _process_store_changes(self, now: float) -> None:
        """A person's wish, or an object that was deleted by hand."""
        for id_ in self._dependencies.store.take_changes():
            latest, running = self._dependencies.store.cached(*id_), self._state.running_rollouts.get(id_)
            if latest is None:
                self._state.forget_deleted(id_, now)
            elif running is None:
                self._on_unknown_rollout(latest, now)
            elif running.writing:
                running.evaluate_again = True
            else:
                self._on_running_rollout(running, latest, now)

    def _on_unknown_rollout(self, latest: Rollout, now: float) -> None:
        if not latest.has_status or latest.key in self._state.starting:
            return  # being made, by us
        self._state.add_to_history(latest)
        if not latest.is_final:
            self._rollout_starts.adopt(latest, now)
        else:
            self._rollout_starts.retry_if_requested(latest, now)

    def _on_running_rollout(self, running: RunningRollout, latest: Rollout, now: float) -> None:
        id_: RolloutId = running.id
        if latest.progress != running.stored:  # somebody has written the status: it counts
            running.stored = latest.progress
            running.rollout = replace(running.rollout, progress=latest.progress)
            self._notifications.replay_deliveries(running)
        running.rollout = replace(
            running.rollout, paused=latest.paused, request=latest.request, resource_version=latest.resource_version
        )
        self._state.add_to_history(running.rollout)
        self._state.due_queue.set_due(id_, now)
        if running.rollout.is_final:
            self._rollout_starts.retry_if_requested(running.rollout, now)

    def _process_service_changes(self, now: float) -> None:
        for key in self._dependencies.cluster.take_changes():
            self._state.detect_at[key] = now
            active = self._state.active.get(key)
            if active is not None:
                self._state.due_queue.bring_forward(active, now)
        if self._dependencies.policies.current() is not self._rollout_starts.current_policies or now >= self._resync_at:
            self._schedule_detection_of_all(now)

    def _schedule_detection_of_all(self, now: float) -> None:
        """Other policies may select others; and now and then, in case a watch has missed something."""
        self._rollout_starts.current_policies = self._dependencies.policies.current()
        self._resync_at = now + _RESYNC_SECONDS
        self._state.detect_at = {observation.key: now for observation in self._dependencies.cluster.services()}
