"""Plan, act and record: what is decided about one rollout, carried out by a worker, and what came of it.

What is being released at the other components of a rollout's service, from the books and the cluster.
"""

from __future__ import annotations

import math
from dataclasses import replace

from autocanary.analysis.verdict import Verdict
from autocanary.controller import metric_queries
from autocanary.controller.context import Dependencies, PendingCalls, backoff_seconds, log_failure
from autocanary.controller.notify import Notifications
from autocanary.controller.running_rollout import RolloutId, RunningRollout, must_record
from autocanary.controller.start_rollouts import RolloutStarts
from autocanary.controller.state import ControllerState
from autocanary.controller.write import WriteResult, record_and_write
from autocanary.decide.components import OtherComponent, other_component_of, other_components_matter
from autocanary.decide.decision_input import DecisionInput
from autocanary.decide.detection import current_rollouts
from autocanary.decide.planner import plan
from autocanary.decide.policy_selection import select_policy
from autocanary.errors import CanaryUnsupported
from autocanary.model.decision import Action, Decision
from autocanary.model.observation import Observation, ServiceKey
from autocanary.model.policy import Component, OnUnstaged, Policy
from autocanary.model.rollout import Rollout

__all__ = ["RolloutActions", "gather_decision_input", "other_components"]


def other_components(
    dependencies: Dependencies, state: ControllerState, running: RunningRollout, now: float
) -> tuple[OtherComponent, ...]:
    """The other components in which something happens; none where they share one weight anyway."""
    rollout = running.rollout
    if not other_components_matter(rollout, now):
        return ()
    own = dependencies.cluster.observe(running.key)
    if own is None or own.default_endpoint is not None:
        return ()
    found = (
        _other_component(dependencies, state, rollout, running.key._replace(component=component))
        for component in Component
        if component is not rollout.component
    )
    return tuple(each for each in found if each is not None)


def _other_component(
    dependencies: Dependencies, state: ControllerState, rollout: Rollout, key: ServiceKey
) -> OtherComponent | None:
    observation = dependencies.cluster.observe(key)
    if observation is None or observation.uid != rollout.service_uid:
        return None
    tracker = state.stable_trackers.get(key)
    is_same_service = tracker is not None and tracker.uid == observation.uid
    history = current_rollouts(
        state.history(key),
        observation,
        tracker.history_void_before if is_same_service and tracker is not None else 0.0,
    )
    is_stable_known = is_same_service and tracker is not None and tracker.stable == observation.rolled_out
    policy = select_policy(dependencies.policies.current(), key, observation.labels)
    return other_component_of(
        rollout,
        observation,
        history,
        tracker.digest if is_stable_known and tracker is not None else "",
        has_policy=isinstance(policy, Policy) and _would_roll_out(policy, observation),
        waits_for_this=rollout.component in _waits_for(state, key, policy if isinstance(policy, Policy) else None),
    )


def _would_roll_out(policy: Policy, observation: Observation) -> bool:
    unstaged = observation.weight is None or observation.weight >= 100
    return policy.on_unstaged is OnUnstaged.INTERCEPT or not unstaged


def _waits_for(state: ControllerState, key: ServiceKey, selected: Policy | None) -> tuple[Component, ...]:
    """For which components that one waits: a rollout that runs keeps its own policy."""
    active = state.active.get(key)
    running = state.running_rollouts.get(active) if active is not None else None
    policy = running.policy if running is not None and running.policy is not None else selected
    return policy.after if policy is not None else ()


_REFRESH_SECONDS = 30.0  # no rollout refreshes its unchanged status more often than this ...
_REFRESHES_PER_SECOND = 3.0  # ... nor do all of them together more often than this
_WRITE_SECONDS = 2.0  # a record ends that much after the look it was made for, at most
_UNVERIFIED_SECONDS = 15.0


def gather_decision_input(
    dependencies: Dependencies,
    state: ControllerState,
    running: RunningRollout,
    now: float,
    verdict: Verdict | None = None,
) -> DecisionInput | None:
    """Everything that the decision about one rollout is made from; None while its policy is not known."""
    if running.policy is None:
        return None
    return DecisionInput(
        policy=running.policy,
        rollout=running.rollout,
        observation=dependencies.cluster.observe(running.key),
        now=now,
        verdict=verdict,
        webhook_answers=running.webhook_answers,
        cache_age=dependencies.cluster.cache_age(running.key, running.rollout.api_version),
        acknowledged_weight=running.acknowledged_weight,
        unsupported_reason=running.unsupported_reason,
        other_components=other_components(dependencies, state, running, now),
    )


class RolloutActions:
    """One piece of work at a time per rollout: it is busy from ``take`` until what came of it is settled."""

    def __init__(
        self,
        dependencies: Dependencies,
        state: ControllerState,
        calls: PendingCalls,
        notifications: Notifications,
        rollout_starts: RolloutStarts,
    ) -> None:
        self._dependencies, self._state, self._pending_calls = dependencies, state, calls
        self._notifications, self._rollout_starts = notifications, rollout_starts

    # --- plan and act ------------------------------------------------------------------------------------

    def plan_and_write(self, running: RunningRollout, given: DecisionInput) -> None:
        try:
            decision = plan(given)
            self._dependencies.listener.on_decision(running.rollout, decision.reason.value)
            self._start_write(running, given.observation, decision, given.now)
        except Exception as fault:  # noqa: BLE001 - the planner is total; if it is not, only this one stops
            log_failure("plan_failed", running.key, fault)
            self.schedule_next(running, given.now)

    def record_deliveries(self, running: RunningRollout, now: float) -> None:
        """Nothing is decided, but there is something to record: people have been told."""
        self._start_write(running, None, Decision(running.rollout.progress, running.rollout.progress.reason), now)

    def _start_write(
        self, running: RunningRollout, observation: Observation | None, decision: Decision, now: float
    ) -> None:
        if decision.progress is not running.rollout.progress:
            running.rollout = replace(running.rollout, progress=decision.progress)
        must_be_recorded = must_record(running.stored, decision.progress)
        if decision.action is Action.NONE and not must_be_recorded and not self._is_refresh_due(running, now):
            if (
                running.rollout.is_final
                and running.stored is running.rollout.progress
                and not running.stored.pending_notifications
            ):
                self._on_ended(running, now)  # somebody else's record, or ours without an answer, was the last
            self.schedule_next(running, now)
            return
        running.writing, running.writing_since = True, now
        if decision.action is not Action.NONE:
            running.acknowledged_weight = None
        dependencies, rollout, stored_progress = self._dependencies, running.rollout, running.stored
        submit = dependencies.pool.submit_urgent if decision.urgent else dependencies.pool.submit
        future = submit(
            lambda: record_and_write(
                dependencies.cluster,
                dependencies.store,
                dependencies.leadership,
                rollout,
                stored_progress,
                observation,
                decision,
            )
        )
        self._pending_calls.when_done(future, lambda result, error: self._on_written(running, decision, result, error))

    def _is_refresh_due(self, running: RunningRollout, now: float) -> bool:
        """Whether an unchanged status is worth a write: they take turns, so that writes come evenly."""
        if running.stored is running.rollout.progress:
            return False
        since_last_write = now - running.stored_at + _WRITE_SECONDS
        period = max(_REFRESH_SECONDS, len(self._state.running_rollouts) / _REFRESHES_PER_SECOND)
        every_nth = max(1, math.ceil(period / running.interval))
        if since_last_write < _REFRESH_SECONDS:
            return False
        return (
            running.evaluation_index(now) % every_nth == running.sequence % every_nth
            or since_last_write > 2 * every_nth * running.interval
        )

    # --- what came of it ---------------------------------------------------------------------------------

    def _on_written(
        self,
        running: RunningRollout,
        decision: Decision,
        result: WriteResult | None,
        error: BaseException | None,
    ) -> None:
        now = self._dependencies.clock.now()
        running.writing = False
        if not self._state.is_tracked(running):
            return
        failure = error if error is not None else (result.error if result is not None else None)
        if result is not None and result.deleted and not self._is_in_store_cache(running.id):
            self._state.forget_deleted(running.id, now)
            return
        if result is not None and (result.stored or result.changed_by_other):
            running.rollout = result.rollout
            running.stored, running.stored_at = result.rollout.progress, now
            self._state.add_to_history(running.rollout)
            if result.changed_by_other:
                self._notifications.replay_deliveries(running)
        if result is not None and result.written and decision.action is Action.WEIGHT:
            running.acknowledged_weight = decision.weight
        if isinstance(failure, CanaryUnsupported):
            running.unsupported_reason = str(failure)
        elif result is not None and result.written:
            running.unsupported_reason = ""
        if failure is not None:
            running.failures += 1
            log_failure("write_failed", running.key, failure, action=decision.action.value, weight=decision.weight)
        else:
            running.failures = 0
        self._notifications.send_pending(running)
        self._after_write(running, now)

    def _is_in_store_cache(self, id_: RolloutId) -> bool:
        """Whether the ledger's picture still has the object: a server that starts answers 404 for a while."""
        return self._dependencies.store.cached(*id_) is not None

    def _after_write(self, running: RunningRollout, now: float) -> None:
        """After a write: end it, look again at once if something came in between, or at the next beat."""
        if running.rollout.is_final and running.stored == running.rollout.progress:
            running.failures = 0
            self._on_ended(running, now)
        verdict, running.pending_verdict = running.pending_verdict, None
        evaluate_again, running.evaluate_again = (
            running.evaluate_again or self._missed_evaluation(running, now),
            False,
        )
        if evaluate_again and running.id in self._state.running_rollouts:
            self._reload_request(running)
        decided_verdict = (
            verdict is not None and not running.rollout.is_final and self._apply_pending_verdict(running, verdict, now)
        )
        if running.writing:
            running.evaluate_again = evaluate_again  # what was judged is being written: the look comes after that
        elif evaluate_again:
            self._state.schedule_at(running, now)
        elif not decided_verdict:
            self.schedule_next(running, now)

    def _missed_evaluation(self, running: RunningRollout, now: float) -> bool:
        """Whether one came due while the rollout was busy; what has failed waits for its own time instead."""
        return not running.failures and running.evaluation_index(now) > running.evaluation_index(running.writing_since)

    def _apply_pending_verdict(self, running: RunningRollout, verdict: Verdict, now: float) -> bool:
        try:
            given = gather_decision_input(self._dependencies, self._state, running, now, verdict)
        except Exception as fault:  # noqa: BLE001 - one rollout's fault must not touch another's look
            log_failure("evaluation_failed", running.key, fault)
            return False
        if given is not None:
            self.plan_and_write(running, given)
        return given is not None

    def _reload_request(self, running: RunningRollout) -> None:
        """A wish that arrived while the rollout was busy."""
        fresh = self._dependencies.store.cached(*running.id)
        if fresh is not None:
            running.rollout = replace(running.rollout, paused=fresh.paused, request=fresh.request)

    # --- the end -----------------------------------------------------------------------------------------

    def _on_ended(self, running: RunningRollout, now: float) -> None:
        if self._state.mark_ended(running, now):
            self._dependencies.listener.on_rollout_finished(running.rollout)
            if running.policy is not None:
                calls = metric_queries.post_rollout_calls(running.rollout, running.policy)
                if calls:
                    self._dependencies.webhook_pool.submit(lambda: self._dependencies.policy_webhooks.call(calls))
            self._rollout_starts.retry_if_requested(running.rollout, now)
        if not running.rollout.progress.pending_notifications:
            self._state.untrack(running)
            self._prune_history(running.key)

    def _prune_history(self, key: ServiceKey) -> None:
        """Keep the newest finished rollouts of a service; the oldest go."""
        final = [each for each in self._state.history(key) if each.is_final and not each.progress.pending_notifications]
        final.sort(key=lambda each: (each.progress.finished_at or each.created_at, each.name))
        store = self._dependencies.store
        for old in final[: max(0, len(final) - self._dependencies.history_limit)]:
            future = self._dependencies.pool.submit(lambda old=old: store.delete(old))  # type: ignore[misc]
            self._pending_calls.when_done(future, lambda _, error, old=old: self._on_pruned(old, error))  # type: ignore[misc]

    def _on_pruned(self, old: Rollout, error: BaseException | None) -> None:
        """What could not be deleted now is tried again when the next rollout ends."""
        if error is None:
            self._state.discard(old.key, old.name)
        else:
            log_failure("history_not_pruned", old.key, error)

    # --- when to look again ------------------------------------------------------------------------------

    def schedule_next(self, running: RunningRollout, now: float) -> None:
        """The next look: on a grid, so that all rollouts of one interval share their queries."""
        if running.failures:
            self._state.schedule_at(running, now + backoff_seconds(running.failures))
            return
        limit = math.inf
        if running.rollout.progress.verified_at is None:
            limit = _UNVERIFIED_SECONDS  # deadlines of ours run, not the policy's looks
        self._state.schedule_at(running, running.next_evaluation_at(now, limit))
