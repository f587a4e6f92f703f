"""Evaluate what is due: gather the decision's input, query metrics and call webhooks, then plan on the answers.

Over 300 lines because regular and early evaluations take the same way, from what is due to what is planned.
"""

from __future__ import annotations

from collections.abc import Mapping

from autocanary.controller import metric_queries
from autocanary.controller.act import RolloutActions
from autocanary.controller.context import Dependencies, PendingCalls, isolated, log_failure
from autocanary.controller.early_rounds import EarlyEvaluations, Round
from autocanary.controller.running_rollout import QueryGroup, RunningRollout
from autocanary.controller.state import ControllerState
from autocanary.decide.components import OtherComponent, other_component_of, other_components_matter
from autocanary.decide.decision_input import DecisionInput
from autocanary.decide.detection import current_rollouts
from autocanary.decide.planner import plan
from autocanary.decide.plot_series import record_series
from autocanary.decide.policy_selection import select_policy
from autocanary.model.frozen_copy import replace
from autocanary.model.measurement import MetricQuery
from autocanary.model.observation import Observation, ServiceKey
from autocanary.model.policy import Component, OnUnstaged, Policy
from autocanary.model.rollout import Rollout, RolloutId
from autocanary.ports import Pool, WebhookCall, WebhookResult

__all__ = ["Evaluations"]

_OVERDUE_CHECK_SECONDS = 5.0
_ANSWER_SECONDS = 2.0
_MAX_FAILING_QUERIES = 1000


class Evaluations:
    """The metrics of all rollouts that are due are queried together; a later tick takes the answers.

    Not thread-safe: called on the tick's thread only.
    """

    def __init__(
        self, dependencies: Dependencies, state: ControllerState, calls: PendingCalls, actions: RolloutActions
    ) -> None:
        self._dependencies, self._state, self._pending_calls, self._actions = dependencies, state, calls, actions
        self._failing_queries: frozenset[MetricQuery] = frozenset()
        self._overdue_checked_at = 0.0
        self._querying: set[QueryGroup] = set()  # whose queries a worker runs
        self._waiting: dict[QueryGroup, dict[RolloutId, RunningRollout]] = {}
        self._early = EarlyEvaluations(state.find, dependencies.queries_sent)

    def evaluate(self, now: float) -> None:
        """Evaluate every rollout that is due; the failure of one is its own."""
        to_query: list[RunningRollout] = []
        for running in self._state.take_due(now):
            if running.writing:
                running.evaluate_after_write()
                continue
            try:
                if self._evaluate_one(running, now):
                    to_query.append(running)
            except Exception as error:  # noqa: BLE001 - one rollout's failure must not touch another's evaluation
                self._on_failed(running, error, now)
        self._query_metrics(to_query, now)
        for early_round in self._early.take_due(now):
            self._query_early(early_round, now)

    def next_due_at(self) -> float | None:
        """When the next evaluation is due, regular or early; None when nothing runs."""
        due = [at for at in (self._state.next_due_at(), self._early.next_due_at()) if at is not None]
        return min(due, default=None)

    def _evaluate_one(self, running: RunningRollout, now: float) -> bool:
        """Decide what can be decided without metrics; return whether the metrics must be queried as well."""
        given = self._gather(running, now)
        if given is None:
            return False
        needs_metrics = running.needs_evaluation(given)
        self._call_webhooks(running, given)
        if running.was_planned_from(given) and needs_metrics and given.verdict is None:
            # The plan is made once, with the verdict; without it if Prometheus does not answer soon.
            self._state.schedule(running, now + _ANSWER_SECONDS)
            return True
        self._plan(running, given)
        if not metric_queries.is_measurable(given):
            running.finish_evaluation(given.now)
        if not needs_metrics:
            self._early.ensure_scheduled(running, now)
        return needs_metrics

    def _plan(self, running: RunningRollout, given: DecisionInput) -> None:
        decision = record_series(plan(given), given)
        self._dependencies.listener.on_decision(running.rollout, decision.reason.value)
        self._actions.act(running, given.observation, decision, given.now)

    def _on_failed(self, running: RunningRollout, error: BaseException | None, now: float) -> None:
        running.fail_evaluation(error)
        self._dependencies.listener.on_evaluation_failed(running.rollout)
        log_failure("evaluation_failed", running.key, error, rollout=running.id[1])
        self._state.schedule(running, running.retry_at(now))

    def requeue_overdue(self, now: float) -> None:
        """A rollout that was not evaluated for three intervals is logged, shown in its status, and evaluated again."""
        if 0 <= now - self._overdue_checked_at < _OVERDUE_CHECK_SECONDS:
            return
        self._overdue_checked_at = now
        for running in self._state.running():
            with isolated("overdue_not_handled", namespace=running.id[0], rollout=running.id[1]):
                if running.misses_evaluations(now):
                    self._requeue_overdue(running, now)

    def _requeue_overdue(self, running: RunningRollout, now: float) -> None:
        is_new, hanging = running.mark_overdue(now), running.abandon_calls(now)
        if "query" in hanging:
            group = running.query_group  # as it is now: its step may have changed since the call began
            self._querying -= {group._replace(web=web) for web in (False, True)}
        if hanging:
            log_failure("calls_abandoned", running.key, None, rollout=running.id[1], calls=hanging)
        if is_new:
            log_failure("rollout_overdue", running.key, None, rollout=running.id[1], last_error=running.last_error)
        if (is_new or hanging) and not running.writing:
            self._actions.record_message(running, now)
        self._state.bring_forward(running.id, running.next_due_at(now))

    # --- the decision's input ----------------------------------------------------------------------------

    def _gather(self, running: RunningRollout, now: float) -> DecisionInput | None:
        cluster = self._dependencies.cluster
        observation = cluster.observe(running.key)
        return running.decision_input(
            observation,
            now,
            cache_age=cluster.cache_age(running.key, running.rollout.api_version),
            other_components=self._other_components(running.rollout, observation, now),
        )

    def _other_components(self, rollout: Rollout, own: Observation | None, now: float) -> tuple[OtherComponent, ...]:
        """The components of the same service that release something too; none where they share one weight."""
        if own is None or own.default_endpoint is not None or not other_components_matter(rollout, now):
            return ()
        found = (
            self._other_component(rollout, rollout.key._replace(component=component))
            for component in Component
            if component is not rollout.component
        )
        return tuple(each for each in found if each is not None)

    def _other_component(self, rollout: Rollout, key: ServiceKey) -> OtherComponent | None:
        observation = self._dependencies.cluster.observe(key)
        if observation is None or observation.uid != rollout.service_uid:
            return None
        tracker = self._state.tracker(key)
        if tracker is not None and tracker.uid != observation.uid:
            tracker = None  # of a service that was deleted
        history = current_rollouts(
            self._state.history(key), observation, tracker.history_void_before if tracker is not None else 0.0
        )
        policy = select_policy(self._dependencies.policies.current(), key, observation.labels)
        selected = policy if isinstance(policy, Policy) else None
        return other_component_of(
            rollout,
            observation,
            history,
            tracker.digest if tracker is not None and tracker.stable == observation.rolled_out else "",
            has_policy=selected is not None and _would_roll_out(selected, observation),
            waits_for_this=rollout.component in self._waits_for(key, selected),
        )

    def _waits_for(self, key: ServiceKey, selected: Policy | None) -> tuple[Component, ...]:
        """The components that this one waits for: a rollout that runs keeps its own policy."""
        active = self._state.active(key)
        policy = active.policy if active is not None and active.policy is not None else selected
        return policy.after if policy is not None else ()

    # --- the metrics -------------------------------------------------------------------------------------

    def _query_metrics(self, due: list[RunningRollout], now: float) -> None:
        """By Prometheus server, and the rollouts whose policies have queries of their own by namespace as well.

        One call at a time for each of the latter: such a query may be slow, or have a huge answer, and delays the
        rollouts of its namespace alone; a web metric only those with web metrics. No server waits for another one's
        answers.
        """
        by_server: dict[str, list[RunningRollout]] = {}
        for running in due:
            if running.has_own_queries:
                self._waiting.setdefault(running.query_group, {})[running.id] = running
            else:
                by_server.setdefault(running.server, []).append(running)
        for server, common in by_server.items():
            self._query_together(common, self._pool(server, self._dependencies.query_pool), now)
        for key in [each for each in self._waiting if each not in self._querying]:
            waiting = [each for each in self._waiting.pop(key).values() if self._state.is_tracked(each)]
            if waiting:
                self._querying.add(key)
                self._query_together(waiting, self._own_pool(key), now, key)

    def _pool(self, server: str, main: Pool) -> Pool:
        return self._dependencies.server_pools.get(server, main)

    def _own_pool(self, group: QueryGroup) -> Pool:
        dependencies = self._dependencies
        return dependencies.web_query_pool if group.web else self._pool(group.server, dependencies.own_query_pool)

    def _query_together(self, due: list[RunningRollout], pool: Pool, now: float, key: QueryGroup | None = None) -> None:
        queries = [query for running in due for _, query in running.queries]
        metrics, clock, failing = self._dependencies.metrics, self._dependencies.clock, self._failing_queries
        for running in due:
            running.begin_query(now)
        numbers = [running.call_number for running in due]
        self._pending_calls.run(
            pool.submit,
            lambda: metric_queries.query_apart(metrics, queries, failing, clock.now),
            lambda results, error: self._on_call_ended(
                [running for running, number in zip(due, numbers, strict=True) if running.call_number == number],
                key,
                results,
                error,
            ),
        )

    def _on_call_ended(
        self,
        due: list[RunningRollout],
        key: QueryGroup | None,
        results: metric_queries.QueryResults | None,
        error: BaseException | None,
    ) -> None:
        if key is not None:
            self._querying.discard(key)
        self._on_measurements(due, results, error)
        self._query_metrics([], self._dependencies.clock.now())  # those that came due meanwhile

    def _on_measurements(
        self,
        due: list[RunningRollout],
        results: metric_queries.QueryResults | None,
        error: BaseException | None,
    ) -> None:
        now = self._dependencies.clock.now()
        for running in due:
            running.finish_query(answered=results is not None)
            self._learn_samples(running, results, now)
        if results is not None:
            queried = {query for running in due for _, query in running.queries}
            self._failing_queries = (self._failing_queries - queried) | results.failed
            if len(self._failing_queries) > _MAX_FAILING_QUERIES:
                self._failing_queries = results.failed
        for running in due:
            if not self._state.is_tracked(running) or running.rollout.is_final:
                continue
            if results is None:
                self._on_failed(running, error, now)
                continue
            try:
                self._analyse(running, results, now)
            except Exception as fault:  # noqa: BLE001 - one rollout's failure must not touch another's evaluation
                self._on_failed(running, fault, now)

    def _analyse(self, running: RunningRollout, results: metric_queries.QueryResults, now: float) -> None:
        given = self._gather(running, now)
        if given is None or not given.is_evaluated or not running.is_answer_current:
            return
        verdict = running.analyse(given, results.measurements)
        failed = any(query in results.failed for _, query in running.queries)
        if failed:
            self._dependencies.listener.on_evaluation_failed(running.rollout)
            log_failure("query_failed", running.key, None, rollout=running.id[1], message=verdict.message)
        if running.writing:
            running.keep_verdict(verdict)
        else:
            self._plan(running, replace(given, verdict=verdict))
        running.finish_evaluation(now)

    # --- between two regular evaluations -----------------------------------------------------------------

    def _learn_samples(self, running: RunningRollout, results: metric_queries.QueryResults | None, now: float) -> None:
        if results is not None:
            running.add_samples(results.measurements, now)
        self._early.schedule(running, now)

    def _query_early(self, early_round: Round, now: float) -> None:
        """One call at a time for each server, so that a slow one has no more to do than it can."""
        due = early_round.rollouts
        queries = [query for running in due for _, query in running.preset_queries]
        metrics, clock, failing = self._dependencies.metrics, self._dependencies.clock, self._failing_queries
        for running in due:
            running.begin_query(now, early=True)
        numbers = [running.call_number for running in due]
        self._pending_calls.run(
            self._pool(early_round.server, self._dependencies.query_pool).submit,
            lambda: metric_queries.query_apart(metrics, queries, failing, clock.now),
            lambda results, _: self._on_early_answer(
                early_round,
                [running for running, number in zip(due, numbers, strict=True) if running.call_number == number],
                results,
            ),
        )

    def _on_early_answer(
        self, early_round: Round, due: list[RunningRollout], results: metric_queries.QueryResults | None
    ) -> None:
        now = self._dependencies.clock.now()
        self._early.finish(early_round, now)
        for running in due:
            missed = running.missed_evaluation(now)
            running.finish_query()
            if not self._state.is_tracked(running) or running.rollout.is_final:
                continue
            try:
                self._learn_samples(running, results, now)
                if missed:
                    self._make_up_evaluation(running, results, now)
                elif results is not None:
                    self._analyse_early(running, results, now)
            except Exception as fault:  # noqa: BLE001 - one rollout's failure must not touch another's evaluation
                self._on_failed(running, fault, now)

    def _make_up_evaluation(
        self, running: RunningRollout, results: metric_queries.QueryResults | None, now: float
    ) -> None:
        """A regular evaluation came due meanwhile: these answers are its own, if they are all that it asks for."""
        if results is None or running.has_own_queries:
            self._state.bring_forward(running.id, now)
            return
        running.begin_query(now)
        running.finish_query()
        self._analyse(running, results, now)

    def _analyse_early(self, running: RunningRollout, results: metric_queries.QueryResults, now: float) -> None:
        if running.has_pending_verdict:
            return
        given = self._gather(running, now)
        if given is None or not metric_queries.is_measurable(given) or not running.is_answer_current:
            return
        verdict = running.analyse_early(given, results.measurements)
        if verdict is None:
            return
        if running.writing:
            running.keep_verdict(verdict)
        else:
            self._plan(running, replace(given, verdict=verdict))
        running.finish_evaluation(now)

    # --- the webhooks ------------------------------------------------------------------------------------

    def _call_webhooks(self, running: RunningRollout, given: DecisionInput) -> None:
        """Call the policy's webhooks that have a say now, apart from everything else: one may be slow."""
        calls = running.due_webhook_calls(given)
        if not calls:
            return
        running.begin_webhooks(given.now)
        self._pending_calls.run(
            self._dependencies.webhook_pool.submit,
            lambda: self._dependencies.policy_webhooks.call(calls),
            lambda results, error: self._on_webhooks_answered(running, calls, results, error),
        )

    def _on_webhooks_answered(
        self,
        running: RunningRollout,
        calls: tuple[WebhookCall, ...],
        results: Mapping[WebhookCall, WebhookResult] | None,
        error: BaseException | None,
    ) -> None:
        running.finish_webhooks(answered=results is not None)
        if results is None:
            log_failure("webhook_failed", running.key, error, rollout=running.id[1])
        elif self._state.is_tracked(running):
            running.merge_webhook_answers(metric_queries.webhook_answers_by_type(calls, results))
            self._state.bring_forward(running.id, self._dependencies.clock.now())


def _would_roll_out(policy: Policy, observation: Observation) -> bool:
    unstaged = observation.weight is None or observation.weight >= 100
    return policy.on_unstaged is OnUnstaged.INTERCEPT or not unstaged
