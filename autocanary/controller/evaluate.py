"""Looking and judging: what is due is gathered, its metrics and webhooks asked, the answers judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from autocanary.controller import metric_queries
from autocanary.controller.act import RolloutActions, gather_decision_input
from autocanary.controller.context import Dependencies, PendingCalls, log_failure
from autocanary.controller.running_rollout import RunningRollout
from autocanary.controller.state import ControllerState
from autocanary.decide.decision_input import DecisionInput
from autocanary.model.measurement import Measurement, MetricQuery
from autocanary.model.policy import WebhookType
from autocanary.ports import WebhookCall, WebhookResult

__all__ = ["Evaluations"]


class Evaluations:
    """All questions of one tick are asked together; what they answer is taken up at a later one."""

    def __init__(
        self, dependencies: Dependencies, state: ControllerState, calls: PendingCalls, actions: RolloutActions
    ) -> None:
        self._dependencies, self._state, self._pending_calls, self._actions = (
            dependencies,
            state,
            calls,
            actions,
        )

    def evaluate(self, now: float) -> None:
        """Look at every rollout that is due."""
        due: list[RunningRollout] = []
        for id_ in self._state.due_queue.due(now):
            running = self._state.running_rollouts.get(id_)
            if running is None:
                continue
            if running.writing:
                running.evaluate_again = True
                continue
            try:
                if self._evaluate_one(running, now):
                    due.append(running)
            except Exception as fault:  # noqa: BLE001 - one rollout's fault must not touch another's look
                running.querying = False
                log_failure("evaluation_failed", running.key, fault)
                self._actions.schedule_next(running, now)
        if due:
            self._query_metrics(due)

    def _evaluate_one(self, running: RunningRollout, now: float) -> bool:
        """Decide what can be decided without metrics; whether the metrics are to be asked as well."""
        given = gather_decision_input(self._dependencies, self._state, running, now)
        if given is None:
            return False
        queries_metrics = (
            metric_queries.is_measurable(given) and not running.querying and _is_evaluation_due(running, now)
        )
        if queries_metrics:
            running.querying, running.queried_at = True, now
        self._call_webhooks(running, given)
        self._actions.plan_and_write(running, given)
        return queries_metrics

    # --- the metrics -------------------------------------------------------------------------------------

    def _query_metrics(self, due: list[RunningRollout]) -> None:
        queries = [query for running in due for _, query in running.queries]
        future = self._dependencies.query_pool.submit(lambda: self._dependencies.metrics.query(queries))
        self._pending_calls.when_done(
            future, lambda measurements, error: self._on_measurements(due, measurements, error)
        )

    def _on_measurements(
        self,
        due: list[RunningRollout],
        measurements: Mapping[MetricQuery, Measurement] | None,
        error: BaseException | None,
    ) -> None:
        now = self._dependencies.clock.now()
        for running in due:
            running.querying = False
            if not self._state.is_tracked(running) or running.rollout.is_final:
                continue
            if measurements is None:
                log_failure("evaluation_failed", running.key, error)
                self._actions.schedule_next(running, now)
                continue
            try:
                self._analyse(running, measurements, now)
            except Exception as fault:  # noqa: BLE001 - one rollout's fault must not touch another's look
                log_failure("evaluation_failed", running.key, fault)
                self._actions.schedule_next(running, now)

    def _analyse(self, running: RunningRollout, measurements: Mapping[MetricQuery, Measurement], now: float) -> None:
        given = gather_decision_input(self._dependencies, self._state, running, now)
        if given is None or not given.is_evaluated:
            return
        webhook_answers = running.webhook_answers.pop(WebhookType.ROLLOUT, ())
        verdict = metric_queries.analyse_measurements(given, running.queries, measurements, webhook_answers)
        if running.writing:
            running.pending_verdict = verdict
            return
        self._actions.plan_and_write(running, replace(given, verdict=verdict))

    # --- the webhooks ------------------------------------------------------------------------------------

    def _call_webhooks(self, running: RunningRollout, given: DecisionInput) -> None:
        """Ask the policy's webhooks that have a say now, apart from everything else: one may be slow."""
        if running.calling_webhooks or not given.policy.webhooks:
            return
        interval = given.policy.analysis.interval
        if running.webhooks_called_at is not None and given.now - running.webhooks_called_at < interval * 0.5:
            return
        calls = metric_queries.webhook_calls_for(given)
        if not calls:
            return
        running.calling_webhooks, running.webhooks_called_at = True, given.now
        future = self._dependencies.webhook_pool.submit(lambda: self._dependencies.policy_webhooks.call(calls))
        self._pending_calls.when_done(
            future, lambda results, error: self._on_webhooks_answered(running, calls, results, error)
        )

    def _on_webhooks_answered(
        self,
        running: RunningRollout,
        calls: tuple[WebhookCall, ...],
        results: Mapping[WebhookCall, WebhookResult] | None,
        error: BaseException | None,
    ) -> None:
        running.calling_webhooks = False
        if results is None:
            log_failure("webhook_failed", running.key, error)
        elif self._state.is_tracked(running):
            running.webhook_answers.update(metric_queries.webhook_answers_by_type(calls, results))
            self._state.due_queue.bring_forward(running.id, self._dependencies.clock.now())


def _is_evaluation_due(running: RunningRollout, now: float) -> bool:
    """Once per interval: watch events bring a rollout forward, not the questions about its metrics."""
    return running.queried_at is None or running.evaluation_index(now) > running.evaluation_index(running.queried_at)
