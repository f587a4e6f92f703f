"""The metric queries and webhook calls of one evaluation, and what their answers amount to.

Over 300 lines because each kind of metric (preset, own query, web, webhook) has its query, and its answer is read here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import NamedTuple

from autocanary.analysis import AnalysisInput, Evaluation, Verdict, analyse, early_evaluation
from autocanary.analysis.analyse import BUDGET_METRIC
from autocanary.analysis.thresholds import WEBHOOK_PREFIX, webhook_metric
from autocanary.decide.decision_input import DecisionInput, WebhookAnswer
from autocanary.model.foreign_text import clean_text
from autocanary.model.frozen_copy import replace
from autocanary.model.measurement import Measurement, MeasurementKind, MetricQuery, Unit, WebQuestion
from autocanary.model.policy import Analysis, Metric, Policy, Range, Webhook, WebhookType
from autocanary.model.progress import Phase
from autocanary.model.rollout import Rollout
from autocanary.model.url_template import fill_url
from autocanary.ports import Metrics, WebhookCall, WebhookResult
from autocanary.promql import fill_placeholders

__all__ = [
    "MeasuredRevisions",
    "QueryResults",
    "analyse_measurements",
    "build_metric_query",
    "is_measurable",
    "is_worth_an_evaluation",
    "metric_queries_for",
    "post_rollout_calls",
    "query_apart",
    "webhook_answers_by_type",
    "webhook_calls_for",
]


def metric_queries_for(rollout: Rollout, policy: Policy, step: int) -> tuple[tuple[str, MetricQuery], ...]:
    """The queries of every evaluation of this rollout at a step."""
    analysis = policy.analysis_at(step)
    revisions = MeasuredRevisions(
        rollout.namespace, rollout.service, rollout.component.value, rollout.candidate, rollout.stable
    )
    queries = tuple((metric.name, build_metric_query(revisions, analysis, metric)) for metric in analysis.metrics)
    if analysis.max_failed_requests is None:
        return queries
    failed = build_metric_query(revisions, analysis, _FAILED_REQUESTS)
    return (*queries, (BUDGET_METRIC, replace(failed, counters=True, failures=True)))


_FAILED_REQUESTS = Metric("error-rate", Range(), Unit.PERCENT)
"""What the budget of failed requests counts."""


class MeasuredRevisions(NamedTuple):
    """Whose metrics are queried."""

    namespace: str
    service: str
    component: str
    candidate: str
    stable: str


def build_metric_query(measured: MeasuredRevisions, analysis: Analysis, metric: Metric) -> MetricQuery:
    """The query of one metric, with its placeholders filled."""
    window = metric.window if metric.window is not None else analysis.window
    follows = metric.window is None and analysis.window_follows
    promql = template = ""
    if metric.query:
        values: dict[str, str | float] = {
            **_names(measured),
            "revision": measured.candidate,
        }
        promql = fill_placeholders(metric.query, {**values, "window": window, "interval": window})
        template = fill_placeholders(metric.query, values, keep=("window", "interval")) if follows else ""
    return MetricQuery(
        namespace=measured.namespace,
        service=measured.service,
        component=measured.component,
        revision=measured.candidate,
        stable=measured.stable,
        source=analysis.source,
        window=window,
        metric="" if promql or metric.web is not None else metric.name,
        quantile=metric.quantile,
        query=promql,
        query_type=metric.query_type,
        counters=metric.compare is not None,
        server=analysis.server,
        cancelled=analysis.cancelled_calls,
        follows_scrapes=follows and metric.web is None,
        query_template="" if template == promql else template,
        web=_web_question(measured, metric, window) if metric.web is not None else None,
    )


def _names(measured: MeasuredRevisions) -> dict[str, str | float]:
    return {
        "namespace": measured.namespace,
        "name": measured.service,
        "service": measured.service,
        "component": measured.component,
        "stableRevision": measured.stable,
    }


def _web_question(measured: MeasuredRevisions, metric: Metric, window: float) -> WebQuestion:
    """Of stable only what is compared with it is asked."""
    web = metric.web
    assert web is not None  # noqa: S101 - the caller has looked
    values = {**_names(measured), "candidateRevision": measured.candidate, "window": window, "interval": window}
    url, stable_url = (
        fill_url(web.url, {**values, "revision": each}) for each in (measured.candidate, measured.stable)
    )
    return WebQuestion(url, stable_url if metric.compare is not None else "", web.form, web.timeout, web.credentials)


@dataclass(frozen=True, slots=True)
class QueryResults:
    """The measurements of all queries; ``failed`` are those that raised when they were queried alone."""

    measurements: Mapping[MetricQuery, Measurement]
    failed: frozenset[MetricQuery] = frozenset()


def query_apart(
    metrics: Metrics, queries: Sequence[MetricQuery], failing: Set[MetricQuery], now: Callable[[], float]
) -> QueryResults:
    """Query all together; when that raises, halve them until only the queries at fault fail. Raises nothing.

    A query at fault is an outage of its own. ``failing`` are those that raised last time: they are queried alone,
    after the others. ``now`` in seconds bounds the time for the retries; what is left then is an outage too.
    """
    measurements: dict[MetricQuery, Measurement] = {}
    failed: set[MetricQuery] = set()
    unique = list(dict.fromkeys(queries))
    parts = [[each for each in unique if each not in failing], *([each] for each in unique if each in failing)]
    began, any_failed = now(), False
    while parts:
        part = parts.pop(0)
        if not part:
            continue
        if any_failed and now() - began > _RETRY_SECONDS:
            measurements.update(dict.fromkeys(part, _NOT_RETRIED))
            continue
        try:
            measurements.update(metrics.query(part))
        except Exception as error:  # noqa: BLE001 - one query's failure is that query's outage
            any_failed = True
            if len(part) == 1:
                failed.add(part[0])
                measurements[part[0]] = Measurement(MeasurementKind.OUTAGE, detail=f"the query failed: {_name(error)}")
            else:
                middle = len(part) // 2
                parts[:0] = [part[:middle], part[middle:]]
    return QueryResults(measurements, frozenset(failed))


_RETRY_SECONDS = 20.0
_UNANSWERED = Measurement(MeasurementKind.OUTAGE, detail="the query has no answer")
_NOT_RETRIED = Measurement(MeasurementKind.OUTAGE, detail="not queried: the queries of other rollouts failed")


def _name(error: Exception) -> str:
    text = clean_text(str(error), 200)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def is_measurable(given: DecisionInput) -> bool:
    """Whether metrics can be measured on the candidate now: it serves, and the warm-up is over.

    Comparisons are queried during the warm-up too: their counts begin with those at its end. The budget of failed
    requests counts all of them.
    """
    if not given.is_evaluated:
        return False
    analysis = given.analysis
    counts = bool(analysis.compared) or analysis.max_failed_requests is not None
    return counts or not _is_warming_up(given)


def _is_warming_up(given: DecisionInput) -> bool:
    verified = given.progress.step.verified_at
    return verified is not None and given.now - verified < given.warmup


def webhook_calls_for(given: DecisionInput) -> tuple[WebhookCall, ...]:
    """The policy webhooks to call at this evaluation."""
    if not given.policy.webhooks:
        return ()
    types: list[WebhookType] = []
    if given.progress.step.index < 0:
        if given.candidate_ready and not given.webhooks_allow(WebhookType.PRE_ROLLOUT):
            types.append(WebhookType.PRE_ROLLOUT)
    elif not given.progress.phase.is_final and given.progress.phase is not Phase.ROLLING_BACK:
        types.append(WebhookType.ROLLBACK)
        if is_measurable(given) and not _is_warming_up(given):
            types.append(WebhookType.ROLLOUT)
        if _is_before_promotion(given) and not given.webhooks_allow(WebhookType.CONFIRM_PROMOTION):
            types.append(WebhookType.CONFIRM_PROMOTION)
    return tuple(_webhook_call(given.rollout, hook) for kind in types for hook in given.policy.webhooks_of_type(kind))


def _is_before_promotion(given: DecisionInput) -> bool:
    step, verified, steps = given.step, given.progress.step.verified_at, given.policy.steps
    if step is None or verified is None or given.progress.step.index + 1 >= len(steps):
        return False
    return steps[given.progress.step.index + 1].weight == 100 and given.now - verified >= step.hold


def _webhook_call(rollout: Rollout, webhook: Webhook) -> WebhookCall:
    return WebhookCall(
        webhook=webhook,
        namespace=rollout.namespace,
        name=rollout.service,
        phase=rollout.progress.phase.value,
        checksum=rollout.candidate_digest,
    )


def _effective_weight(given: DecisionInput) -> int:
    observation, weight = given.observation, given.progress.step.weight
    traffic_percent = observation.traffic_percent(given.rollout.candidate) if observation is not None else None
    if traffic_percent is not None:
        return traffic_percent
    return weight if weight is not None else 100


def post_rollout_calls(rollout: Rollout, policy: Policy) -> tuple[WebhookCall, ...]:
    """The `post-rollout` calls of a rollout that has ended."""
    return tuple(_webhook_call(rollout, webhook) for webhook in policy.webhooks_of_type(WebhookType.POST_ROLLOUT))


def webhook_answers_by_type(
    calls: tuple[WebhookCall, ...], results: Mapping[WebhookCall, WebhookResult]
) -> Mapping[WebhookType, tuple[WebhookAnswer, ...]]:
    """The webhooks' answers by type."""
    grouped: dict[WebhookType, tuple[WebhookAnswer, ...]] = {}
    for call in calls:
        result = results.get(call)
        if result is None:
            continue  # not called: neither a yes nor a no
        answer = WebhookAnswer(call.webhook.name, result.ok, result.detail, result.called)
        grouped[call.webhook.type] = (*grouped.get(call.webhook.type, ()), answer)
    return grouped


def analyse_measurements(
    given: DecisionInput,
    queries: tuple[tuple[str, MetricQuery], ...],
    measurements: Mapping[MetricQuery, Measurement],
    webhook_answers: tuple[WebhookAnswer, ...],
    all_metrics: tuple[Metric, ...] | None = None,
    *,
    early: bool = False,
) -> Verdict:
    """The verdict of this evaluation; ``webhook_answers`` are new answers of the policy's `rollout` webhooks.

    ``all_metrics`` are those of all steps of the policy, None where no step changes them; ``early``: the evaluation
    comes between two regular ones.
    """
    analysis = given.analysis
    metrics, by_name = list(analysis.metrics), _measurements_by_name(queries, measurements)
    for answer in webhook_answers:
        name = f"{WEBHOOK_PREFIX}{answer.name}"
        metrics.append(webhook_metric(name))
        by_name[name] = _webhook_measurement(answer)
    return analyse(analysis, metrics, _analysis_input(given, by_name, early=early), all_metrics)


def is_worth_an_evaluation(
    given: DecisionInput,
    queries: tuple[tuple[str, MetricQuery], ...],
    measurements: Mapping[MetricQuery, Measurement],
) -> bool:
    """Whether these measurements must not wait for the next regular evaluation."""
    analysis_input = _analysis_input(given, _measurements_by_name(queries, measurements), early=True)
    return early_evaluation.is_worth_an_evaluation(given.analysis, analysis_input)


def _measurements_by_name(
    queries: tuple[tuple[str, MetricQuery], ...], measurements: Mapping[MetricQuery, Measurement]
) -> dict[str, Measurement]:
    return {name: measurements.get(query, _UNANSWERED) for name, query in queries}


def _analysis_input(given: DecisionInput, measurements: Mapping[str, Measurement], *, early: bool) -> AnalysisInput:
    progress = given.progress
    evaluation = Evaluation(
        now=given.now,
        step=progress.step.index,
        steps=len(given.policy.steps),
        weight=_effective_weight(given),
        warming=_is_warming_up(given),
        early=early,
    )
    return AnalysisInput(
        evaluation,
        measurements,
        progress.analysis.metrics,
        progress.analysis.evidence,
        progress.analysis.failed_requests,
        retried=given.rollout.attempt > 1,
    )


def _webhook_measurement(answer: WebhookAnswer) -> Measurement:
    if answer.ok is None:
        return Measurement(MeasurementKind.OUTAGE, detail=answer.detail or "the webhook cannot be reached")
    return Measurement(MeasurementKind.VALUE, value=1.0 if answer.ok else 0.0, detail=answer.detail)
