"""The loop: each tick, for every rollout that is due: gather, judge, plan, act, record, tell.

All state behind it is touched by the one thread that ticks. Whatever blocks (questions, records, writes)
runs in the pool, one piece of work at a time per rollout, and its result is taken up at the next tick; so a
rollout whose call hangs or fails never delays another.
"""

from __future__ import annotations

from collections.abc import Callable

from autocanary.controller.act import RolloutActions
from autocanary.controller.context import Dependencies, PendingCalls
from autocanary.controller.evaluate import Evaluations
from autocanary.controller.notify import Notifications
from autocanary.controller.start_rollouts import RolloutStarts
from autocanary.controller.state import ControllerState
from autocanary.controller.watch_changes import WatchChanges
from autocanary.model.policy import Policy
from autocanary.model.rollout import Rollout
from autocanary.ports import (
    Clock,
    Cluster,
    DecisionListener,
    Leadership,
    Metrics,
    Notifier,
    Policies,
    PolicyWebhooks,
    Pool,
    RolloutStore,
    WritePool,
)

__all__ = ["Controller"]


class Controller:
    """One per process. ``tick`` is called by the metronome, and soon after ``requeue`` was called.

    See ``Dependencies`` for the arguments.
    """

    def __init__(
        self,
        *,
        cluster: Cluster,
        store: RolloutStore,
        metrics: Metrics,
        policy_webhooks: PolicyWebhooks,
        notifier: Notifier,
        policies: Policies,
        leadership: Leadership,
        clock: Clock,
        pool: WritePool,
        query_pool: Pool,
        webhook_pool: Pool,
        listener: DecisionListener,
        ready: Callable[[], bool] = lambda: True,
        requeue: Callable[[], None] = lambda: None,
        on_leadership_lost: Callable[[], None] = lambda: None,
        history_limit: int = 10,
    ) -> None:
        self._dependencies = Dependencies(
            cluster=cluster,
            store=store,
            metrics=metrics,
            policy_webhooks=policy_webhooks,
            notifier=notifier,
            policies=policies,
            leadership=leadership,
            clock=clock,
            pool=pool,
            query_pool=query_pool,
            webhook_pool=webhook_pool,
            listener=listener,
            ready=ready,
            requeue=requeue,
            on_leadership_lost=on_leadership_lost,
            history_limit=history_limit,
        )
        self._reset_state()

    def _reset_state(self) -> None:
        """Begin with empty books: before the first tick, and when another instance has become leader."""
        dependencies = self._dependencies
        self._loaded = False
        self._state = state = ControllerState()
        self._pending_calls = calls = PendingCalls(dependencies.requeue)
        self._notifications = Notifications(dependencies, state)
        self._rollout_starts = RolloutStarts(dependencies, state, calls, self._notifications)
        self._watch_changes = WatchChanges(dependencies, state, self._rollout_starts, self._notifications)
        self._actions = RolloutActions(dependencies, state, calls, self._notifications, self._rollout_starts)
        self._evaluations = Evaluations(dependencies, state, calls, self._actions)

    # --- the tick ----------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Look at whatever is due. Raises nothing that one rollout caused."""
        now = self._dependencies.clock.now()
        self._pending_calls.process_results()  # what was queried and written has been answered
        if not self._may_proceed():
            return
        self._process_changes(now)
        self._record_deliveries(now)
        self._rollout_starts.detect_releases(now)
        self._evaluations.evaluate(now)
        self._pending_calls.process_results()

    def record_remaining_deliveries(self) -> bool:
        """At the end of the process, instead of a tick: record who has been told, and begin nothing.

        Without it the next instance would tell them again. Returns whether a record is still under way.
        """
        self._pending_calls.process_results()
        if not self._loaded or not self._may_proceed():
            return False
        self._record_deliveries(self._dependencies.clock.now())
        return any(running.writing for running in self._state.running_rollouts.values())

    def _may_proceed(self) -> bool:
        is_leader = self._dependencies.leadership.is_leader()
        if self._loaded and not is_leader:
            self._reset_state()
            self._dependencies.on_leadership_lost()
        return is_leader and self._dependencies.ready()

    def _process_changes(self, now: float) -> None:
        if not self._loaded:
            self._watch_changes.load_state(now)
            self._loaded = True
            self._pending_calls.process_results()
        self._watch_changes.process_changes(now)

    def _record_deliveries(self, now: float) -> None:
        for running in self._notifications.collect_deliveries():
            self._actions.record_deliveries(running, now)

    def next_due_at(self) -> float | None:
        """When the next look is due, by the engine's clock; None when nothing runs."""
        return self._state.due_queue.next_due_at()

    # --- what others may see -----------------------------------------------------------------------------

    def rollouts(self) -> list[Rollout]:
        """The rollouts that are running now (for metrics and views)."""
        return [running.rollout for running in list(self._state.running_rollouts.values())]

    def policy_of(self, rollout: Rollout) -> Policy | None:
        """The snapshot that a running rollout is held to."""
        running = self._state.running_rollouts.get((rollout.namespace, rollout.name))
        return running.policy if running else None

    def idle(self) -> bool:
        """Whether no call is under way and no message undelivered."""
        return not self._state.starting and not any(
            running.writing
            or running.querying
            or running.calling_webhooks
            or running.rollout.progress.pending_notifications
            for running in self._state.running_rollouts.values()
        )
