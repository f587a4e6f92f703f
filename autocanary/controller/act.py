"""Act on a decision: have a worker record and write it, take over its result, and end what is over."""

from __future__ import annotations

from autocanary.controller import metric_queries
from autocanary.controller.context import Dependencies, PendingCalls, isolated, log_failure
from autocanary.controller.notify import Notifications
from autocanary.controller.running_rollout import RunningRollout
from autocanary.controller.state import ControllerState
from autocanary.controller.write import WriteResult, record_and_write
from autocanary.model.decision import Decision
from autocanary.model.observation import Observation, ServiceKey
from autocanary.model.rollout import Rollout

__all__ = ["RolloutActions"]


class RolloutActions:
    """One write at a time per rollout. Not thread-safe: called on the tick's thread only."""

    def __init__(
        self,
        dependencies: Dependencies,
        state: ControllerState,
        calls: PendingCalls,
        notifications: Notifications,
    ) -> None:
        self._dependencies, self._state, self._pending_calls = dependencies, state, calls
        self._notifications = notifications

    def record_deliveries(self, running: RunningRollout, now: float) -> None:
        """Record that notifications were delivered; nothing is decided."""
        progress = running.rollout.progress
        self.act(running, None, Decision(progress, progress.reason), now)

    def record_message(self, running: RunningRollout, now: float) -> None:
        """Record the status message now, although nothing else has changed."""
        progress = running.rollout.progress
        self._start_write(running, None, Decision(progress, progress.reason), now)

    def act(self, running: RunningRollout, observation: Observation | None, decision: Decision, now: float) -> None:
        """Record and write the decision if there is something to write, and schedule the next evaluation."""
        running.apply(decision)
        if running.needs_write(decision, now, self._state.running_count):
            self._start_write(running, observation, decision, now)
            return
        if running.has_ended and not running.rollout.progress.outbox.pending:
            self._on_ended(running, now)  # the last write was another client's, or ours without an answer
        self._state.schedule(running, running.next_due_at(now))

    def _start_write(
        self, running: RunningRollout, observation: Observation | None, decision: Decision, now: float
    ) -> None:
        dependencies, rollout, stored_progress = self._dependencies, running.rollout, running.stored
        running.begin_write(decision, now)
        number = running.call_number
        self._pending_calls.run(
            dependencies.pool.submit_urgent if decision.urgent else dependencies.pool.submit,
            lambda: record_and_write(
                dependencies.cluster,
                dependencies.store,
                dependencies.leadership,
                rollout,
                stored_progress,
                observation,
                decision,
            ),
            lambda result, error: self._on_written(running, number, decision, result, error),
        )

    # --- after a write -----------------------------------------------------------------------------------

    def _on_written(
        self,
        running: RunningRollout,
        number: int,
        decision: Decision,
        result: WriteResult | None,
        error: BaseException | None,
    ) -> None:
        now = self._dependencies.clock.now()
        if number != running.call_number:
            return  # abandoned: what it has written comes as another client's change
        running.finish_write()
        if not self._state.is_tracked(running):
            return
        failure = error if error is not None or result is None else result.error
        if result is not None and result.deleted and not self._is_in_store_cache(running):
            self._state.forget_deleted(running.id, now)
            return
        if result is not None and result.replaced_error is not None:
            self._dependencies.listener.on_evaluation_failed(running.rollout)
            log_failure("record_replaced", running.key, result.replaced_error, rollout=running.id[1])
        running.merge_result(decision, result, failure, now)
        if result is not None and (result.stored or result.changed_by_other):
            self._state.add_to_history(running.rollout)
        if result is not None and result.changed_by_other:
            self._notifications.replay_deliveries(running)
        if failure is not None:
            log_failure("write_failed", running.key, failure, action=decision.action.value, weight=decision.weight)
        self._schedule_after_write(running, now)
        with isolated("notifications_not_queued", namespace=running.id[0], rollout=running.id[1]):
            self._notifications.send_pending(running)
        if running.has_ended:
            self._on_ended(running, now)

    def _is_in_store_cache(self, running: RunningRollout) -> bool:
        """Whether the rollout store's cache still has the object: a server that starts answers 404 for a while."""
        return self._dependencies.store.cached(*running.id) is not None

    def _schedule_after_write(self, running: RunningRollout, now: float) -> None:
        """Evaluate again at once if something came in between, else when the next evaluation is due."""
        if not running.take_evaluate_again(now):
            due = now if running.has_pending_verdict else running.next_due_at(now)
            self._state.schedule(running, due)
            return
        latest = self._dependencies.store.cached(*running.id)
        if latest is not None:
            running.merge_request(latest)
        self._state.schedule(running, now)

    # --- the end -----------------------------------------------------------------------------------------

    def _on_ended(self, running: RunningRollout, now: float) -> None:
        self._state.add_finished(running.rollout)  # a request may have come with the last of several records
        if self._state.mark_ended(running, now):
            self._dependencies.listener.on_rollout_finished(running.rollout)
            self._call_post_rollout_webhooks(running)
        if not running.rollout.progress.outbox.pending:
            self._state.untrack(running)
            self._prune_history(running.key)

    def _call_post_rollout_webhooks(self, running: RunningRollout) -> None:
        calls = metric_queries.post_rollout_calls(running.rollout, running.policy) if running.policy is not None else ()
        if calls:
            self._pending_calls.run(
                self._dependencies.webhook_pool.submit,
                lambda: self._dependencies.policy_webhooks.call(calls),
                lambda _, error: log_failure("webhook_failed", running.key, error) if error is not None else None,
            )

    def _prune_history(self, key: ServiceKey) -> None:
        """Keep the newest finished rollouts of a service and delete the oldest."""
        final = [each for each in self._state.history(key) if each.is_final and not each.progress.outbox.pending]
        final.sort(key=lambda each: (each.progress.finished_at or each.created_at, each.name))
        for old in final[: max(0, len(final) - self._dependencies.history_limit)]:
            self._prune(old)

    def _prune(self, old: Rollout) -> None:
        self._pending_calls.run(
            self._dependencies.pool.submit,
            lambda: self._dependencies.store.delete(old),
            lambda _, error: self._on_pruned(old, error),
        )

    def _on_pruned(self, old: Rollout, error: BaseException | None) -> None:
        """What could not be deleted now is tried again when the next rollout ends."""
        if error is None:
            self._state.discard(old.key, old.name)
        else:
            log_failure("history_not_pruned", old.key, error, rollout=old.name)
