"""The controller's loop: in each tick, watch changes, notify, start rollouts, and evaluate what is due.

Whatever blocks (metric queries, webhooks, writes) runs on a worker, one write at a time per rollout, and a later
tick takes its result. A rollout whose call hangs or fails delays no other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from autocanary.controller.act import RolloutActions
from autocanary.controller.context import Dependencies, PendingCalls, isolated
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

_RECORD_SECONDS = 3.0
"""How long the record of a delivery waits for another write of the rollout, which records it as well."""


class Controller:
    """One per process; see ``Dependencies`` for the arguments.

    ``tick`` and ``record_remaining_deliveries`` are not thread-safe: the timer calls them, one at a time.
    ``rollouts``, ``policy_of``, ``overdue`` and ``idle`` may be called from any thread.
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
        server_pools: Mapping[str, Pool] | None = None,
        own_query_pool: Pool | None = None,
        web_query_pool: Pool | None = None,
        listener: DecisionListener,
        ready: Callable[[], bool] = lambda: True,
        requeue: Callable[[], None] = lambda: None,
        on_leadership_lost: Callable[[], None] = lambda: None,
        history_limit: int = 10,
        external_url: str = "",
        runbook_url: str = "",
        dry_run: bool = False,
        queries_sent: Callable[[str], int] = lambda _server: 0,
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
            server_pools=server_pools or {},
            own_query_pool=own_query_pool if own_query_pool is not None else query_pool,
            web_query_pool=web_query_pool if web_query_pool is not None else query_pool,
            webhook_pool=webhook_pool,
            listener=listener,
            ready=ready,
            requeue=requeue,
            on_leadership_lost=on_leadership_lost,
            history_limit=history_limit,
            external_url=external_url,
            runbook_url=runbook_url,
            dry_run=dry_run,
            queries_sent=queries_sent,
        )
        self._reset_state()

    def _reset_state(self) -> None:
        """Begin with empty state: before the first tick, and when another instance has become leader."""
        dependencies = self._dependencies
        self._loaded = False
        self._state = state = ControllerState()
        self._pending_calls = calls = PendingCalls(dependencies.requeue)
        self._notifications = Notifications(dependencies, state)
        self._rollout_starts = RolloutStarts(dependencies, state, calls, self._notifications)
        self._watch_changes = WatchChanges(dependencies, state, self._rollout_starts, self._notifications)
        self._actions = RolloutActions(dependencies, state, calls, self._notifications)
        self._evaluations = Evaluations(dependencies, state, calls, self._actions)

    # --- the tick ----------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Reconcile what is due. Raises nothing that one rollout caused."""
        now = self._dependencies.clock.now()
        self._pending_calls.process_results()  # of the calls that earlier ticks began
        if not self._may_proceed():
            return
        if not self._loaded:
            self._watch_changes.load_state(now)
            self._loaded = True
        self._watch_changes.process_changes(now)
        self._notifications.collect_deliveries(now)
        self._rollout_starts.start(now)
        self._evaluations.evaluate(now)
        self._record_deliveries(now)  # what has waited; not before the evaluations, which may write it as well
        self._notifications.send_backlog()
        self._pending_calls.process_results()
        self._evaluations.requeue_overdue(now)

    def record_remaining_deliveries(self) -> bool:
        """At the end of the process, instead of a tick: record what was delivered, and begin nothing.

        Without it the next instance would deliver it again. Returns whether a write is still under way.
        """
        self._pending_calls.process_results()
        if not self._loaded or not self._may_proceed():
            return False
        now = self._dependencies.clock.now()
        self._notifications.collect_deliveries(now)
        self._record_deliveries(now, wait=0.0)
        return any(running.writing for running in self._state.running())

    def _may_proceed(self) -> bool:
        is_leader = self._dependencies.leadership.is_leader()
        if self._loaded and not is_leader:
            self._reset_state()
            self._dependencies.on_leadership_lost()
        return is_leader and self._dependencies.ready()

    def _record_deliveries(self, now: float, wait: float = _RECORD_SECONDS) -> None:
        for running in self._notifications.take_unrecorded(now, wait):
            with isolated("deliveries_not_recorded", namespace=running.id[0], rollout=running.id[1]):
                self._actions.record_deliveries(running, now)

    def next_due_at(self) -> float | None:
        """When the next evaluation is due, by the controller's clock; None when nothing runs."""
        return self._evaluations.next_due_at()

    # --- for metrics and views ---------------------------------------------------------------------------

    def rollouts(self) -> list[Rollout]:
        """The rollouts that are running now."""
        return [running.rollout for running in self._state.running()]

    def policy_of(self, rollout: Rollout) -> Policy | None:
        """The policy that a running rollout keeps."""
        running = self._state.find((rollout.namespace, rollout.name))
        return running.policy if running else None

    def overdue(self) -> int:
        """How many running rollouts were not evaluated for three intervals, or have a record that cannot be read."""
        return sum(running.is_overdue for running in self._state.running()) + self._state.set_aside_count

    def idle(self) -> bool:
        """Whether no call is under way and no notification undelivered."""
        return not self._state.any_starting and all(running.is_idle for running in self._state.running())
