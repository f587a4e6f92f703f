"""Watch changes: what other clients have changed since the last tick, in the rollout store and in the cluster."""

from __future__ import annotations

from autocanary.controller.adopted_record import check_record
from autocanary.controller.context import Dependencies, isolated, log_failure
from autocanary.controller.notify import Notifications
from autocanary.controller.running_rollout import RunningRollout
from autocanary.controller.start_rollouts import RolloutStarts
from autocanary.controller.state import ControllerState
from autocanary.model.rollout import Rollout, RolloutId

__all__ = ["WatchChanges"]

_RESYNC_SECONDS = 300.0
_DETECT_ALL_SECONDS = 2.0


class WatchChanges:
    """A change only says which rollout to evaluate; the evaluation reads everything again.

    Not thread-safe: called on the tick's thread only.
    """

    def __init__(
        self,
        dependencies: Dependencies,
        state: ControllerState,
        rollout_starts: RolloutStarts,
        notifications: Notifications,
    ) -> None:
        self._dependencies, self._state = dependencies, state
        self._rollout_starts, self._notifications = rollout_starts, notifications
        self._resync_at = 0.0
        self._detected_all_at = float("-inf")

    def load_state(self, now: float) -> None:
        """Read everything from the rollout store and the cluster: after a start, or on becoming leader."""
        for rollout in self._dependencies.store.rollouts():
            with isolated("rollout_not_loaded", namespace=rollout.namespace, rollout=rollout.name):
                self._load(rollout, now)
        self._dependencies.cluster.take_changes()
        self._dependencies.store.take_changes()
        self._schedule_detection_of_all(now)

    def _load(self, rollout: Rollout, now: float) -> None:
        if not rollout.has_status:
            self._state.add_without_status(rollout)  # the process ended between create and the first status
            return
        self._state.add_to_history(rollout)
        if rollout.is_final:
            self._state.add_finished(rollout)
        if not rollout.is_final or rollout.progress.outbox.pending:
            self._rollout_starts.adopt(rollout, now)

    def process_changes(self, now: float) -> None:
        """Take over what other clients have changed."""
        for id_ in self._dependencies.store.take_changes():
            with isolated("change_not_processed", namespace=id_[0], rollout=id_[1]):
                self._on_store_change(id_, now)
        for key in self._dependencies.cluster.take_changes():
            self._state.detect_at(key, now)
            active = self._state.active(key)
            if active is not None:
                self._state.bring_forward(active.id, now)
        if now >= self._resync_at or self._policies_changed(now):
            self._schedule_detection_of_all(now)

    def _policies_changed(self, now: float) -> bool:
        """At most every two seconds: detection at all services must not depend on how often one policy changes."""
        changed = self._dependencies.policies.current() is not self._rollout_starts.current_policies
        return changed and not 0 <= now - self._detected_all_at < _DETECT_ALL_SECONDS

    def _on_store_change(self, id_: RolloutId, now: float) -> None:
        """A user request, a status written by another client, or a deleted object."""
        store = self._dependencies.store
        latest, running = store.cached(*id_), self._state.find(id_)
        if latest is None and store.is_unreadable(*id_):
            if running is not None:
                self._keep_record(running, None, None, now)
        elif latest is None:
            self._state.forget_deleted(id_, now)
        elif running is not None and running.rollout.uid != latest.uid:
            self._state.forget_deleted(id_, now)  # and another object of that name was created
            self._on_unknown_rollout(latest, now)
        elif running is None:
            self._on_unknown_rollout(latest, now)
        elif running.writing:
            running.evaluate_after_write()
        else:
            self._on_running_rollout(running, latest, now)

    def _on_unknown_rollout(self, latest: Rollout, now: float) -> None:
        if not latest.has_status:
            self._state.add_without_status(latest)
        if not latest.has_status or self._state.is_starting(latest.key):
            return  # a worker is recording it
        self._state.add_to_history(latest)
        if latest.is_final:
            self._state.clear_set_aside((latest.namespace, latest.name))
            self._state.add_finished(latest)
        else:
            self._rollout_starts.adopt(latest, now)

    def _on_running_rollout(self, running: RunningRollout, latest: Rollout, now: float) -> None:
        if latest.progress != running.stored:
            try:
                check_record(latest)
            except Exception as error:  # noqa: BLE001 - whatever another client has written is this rollout's alone
                self._keep_record(running, latest, error, now)
                return
        if running.merge_stored(latest, now):
            self._notifications.replay_deliveries(running)
        self._state.add_to_history(running.rollout)
        self._state.schedule(running, now)
        if running.rollout.is_final:
            self._state.add_finished(running.rollout)

    def _keep_record(
        self, running: RunningRollout, latest: Rollout | None, error: Exception | None, now: float
    ) -> None:
        """The rollout continues from what this process knows of it, and its status is written again."""
        running.keep_record(latest)
        self._dependencies.listener.on_evaluation_failed(running.rollout)
        log_failure("record_replaced", running.key, error, rollout=running.id[1])
        self._state.schedule(running, now)

    def _schedule_detection_of_all(self, now: float) -> None:
        """New policies may select other services; and every 5 minutes, in case a watch has missed something."""
        self._rollout_starts.use_policies(self._dependencies.policies.current())
        self._resync_at, self._detected_all_at = now + _RESYNC_SECONDS, now
        for observation in self._dependencies.cluster.services():
            self._state.detect_at(observation.key, now)
