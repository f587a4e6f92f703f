"""What to ask about a rollout at a look, and what the answers amount to."""

from __future__ import annotations

from collections.abc import Mapping

from autocanary.analysis import AnalysisInput, Evaluation, Verdict, analyse
from autocanary.analysis.thresholds import WEBHOOK_PREFIX, webhook_metric
from autocanary.decide.decision_input import DecisionInput, WebhookAnswer
from autocanary.model.measurement import Measurement, MeasurementKind, MetricQuery
from autocanary.model.policy import Metric, Policy, Webhook, WebhookType
from autocanary.model.progress import Phase
from autocanary.model.rollout import Rollout
from autocanary.ports import WebhookCall, WebhookResult
from autocanary.promql import fill_placeholders

__all__ = [
    "analyse_measurements",
    "is_measurable",
    "metric_queries_for",
    "post_rollout_calls",
    "webhook_answers_by_type",
    "webhook_calls_for",
]


def metric_queries_for(rollout: Rollout, policy: Policy) -> tuple[tuple[str, MetricQuery], ...]:
    """The questions of every look at this rollout: they do not change while it runs."""
    return tuple((metric.name, _metric_query(rollout, policy, metric)) for metric in policy.analysis.metrics)


def _metric_query(rollout: Rollout, policy: Policy, metric: Metric) -> MetricQuery:
    analysis = policy.analysis
    window = metric.window if metric.window is not None else analysis.window
    promql = ""
    if metric.query:
        promql = fill_placeholders(
            metric.query,
            {
                "namespace": rollout.namespace,
                "name": rollout.service,
                "service": rollout.service,
                "component": rollout.component.value,
                "revision": rollout.candidate,
                "stableRevision": rollout.stable,
                "window": window,
                "interval": window,
            },
        )
    return MetricQuery(
        namespace=rollout.namespace,
        service=rollout.service,
        component=rollout.component.value,
        revision=rollout.candidate,
        stable=rollout.stable,
        source=analysis.source,
        window=window,
        metric="" if promql else metric.name,
        quantile=metric.quantile,
        query=promql,
        query_type=metric.query_type,
        counters=metric.compare is not None,
    )


def is_measurable(given: DecisionInput) -> bool:
    """Whether the metrics say something about the candidate now: it serves, and the warm-up is over.

    Comparisons are asked during the warm-up as well: where the counts stand then is where they begin.
    """
    if not given.is_evaluated:
        return False
    return bool(given.policy.analysis.compared) or not _is_warming_up(given)


def _is_warming_up(given: DecisionInput) -> bool:
    verified = given.progress.verified_at
    return verified is not None and given.now - verified < given.policy.analysis.warmup


def webhook_calls_for(given: DecisionInput) -> tuple[WebhookCall, ...]:
    """The policy webhooks that have a say at this look."""
    if not given.policy.webhooks:
        return ()
    types: list[WebhookType] = []
    if given.progress.step < 0:
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
    step, verified, steps = given.step, given.progress.verified_at, given.policy.steps
    if step is None or verified is None or given.progress.step + 1 >= len(steps):
        return False
    return steps[given.progress.step + 1].weight == 100 and given.now - verified >= step.hold


def _webhook_call(rollout: Rollout, webhook: Webhook) -> WebhookCall:
    return WebhookCall(
        webhook=webhook,
        namespace=rollout.namespace,
        name=rollout.service,
        phase=rollout.progress.phase.value,
        checksum=rollout.candidate_digest,
    )


def _effective_weight(given: DecisionInput) -> int:
    observation, weight = given.observation, given.progress.weight
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
        result = results[call]
        answer = WebhookAnswer(call.webhook.name, result.ok, result.detail, result.called)
        grouped[call.webhook.type] = (*grouped.get(call.webhook.type, ()), answer)
    return grouped


def analyse_measurements(
    given: DecisionInput,
    queries: tuple[tuple[str, MetricQuery], ...],
    measurements: Mapping[MetricQuery, Measurement],
    webhook_answers: tuple[WebhookAnswer, ...],
) -> Verdict:
    """The judge's verdict on this look; ``webhook_answers`` are new answers of the policy's `rollout` webhooks."""
    analysis = given.policy.analysis
    measurement_by_name = {name: measurements[query] for name, query in queries}
    metrics = list(analysis.metrics)
    for answer in webhook_answers:
        name = f"{WEBHOOK_PREFIX}{answer.name}"
        metrics.append(webhook_metric(name))
        measurement_by_name[name] = _webhook_measurement(answer)
    progress = given.progress
    evaluation = Evaluation(
        now=given.now,
        step=progress.step,
        steps=len(given.policy.steps),
        weight=_effective_weight(given),
        warming=_is_warming_up(given),
    )
    return analyse(
        analysis, metrics, AnalysisInput(evaluation, measurement_by_name, progress.metrics, progress.evidence)
    )


def _webhook_measurement(answer: WebhookAnswer) -> Measurement:
    if answer.ok is None:
        return Measurement(MeasurementKind.OUTAGE, detail=answer.detail or "the webhook cannot be reached")
    return Measurement(MeasurementKind.VALUE, value=1.0 if answer.ok else 0.0, detail=answer.detail)
