"""What to ask about a rollout at a look, and what the answers amount to."""

from __future__ import annotations

from collections.abc import Mapping

from autocanary.analysis import Basis, Look, Verdict, judge
from autocanary.analysis.thresholds import HOOK, hook_metric
from autocanary.decide.decision_input import Answer, Situation
from autocanary.model.measurement import Question, Reading, ReadingKind
from autocanary.model.policy import Metric, Policy, Webhook, WebhookType
from autocanary.model.progress import Phase
from autocanary.model.rollout import Rollout
from autocanary.ports import Call, CallResult
from autocanary.promql import fill

__all__ = ["answers", "calls_for", "ended", "measures", "questions_for", "verdict_of"]


def questions_for(rollout: Rollout, policy: Policy) -> tuple[tuple[str, Question], ...]:
    """The questions of every look at this rollout: they do not change while it runs."""
    return tuple((metric.name, _question(rollout, policy, metric)) for metric in policy.analysis.metrics)


def _question(rollout: Rollout, policy: Policy, metric: Metric) -> Question:
    analysis = policy.analysis
    window = metric.window if metric.window is not None else analysis.window
    query = ""
    if metric.query:
        query = fill(
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
    return Question(
        namespace=rollout.namespace,
        service=rollout.service,
        component=rollout.component.value,
        revision=rollout.candidate,
        stable=rollout.stable,
        source=analysis.source,
        window=window,
        metric="" if query else metric.name,
        quantile=metric.quantile,
        query=query,
        counters=metric.compare is not None,
    )


def measures(situation: Situation) -> bool:
    """Whether the metrics say something about the candidate now: it serves, and the warm-up is over.

    Comparisons are asked during the warm-up as well: where the counts stand then is where they begin.
    """
    if not situation.judged:
        return False
    return bool(situation.policy.analysis.compared) or not _warms_up(situation)


def _warms_up(situation: Situation) -> bool:
    verified = situation.progress.verified_at
    return verified is not None and situation.now - verified < situation.policy.analysis.warmup


def calls_for(situation: Situation) -> tuple[Call, ...]:
    """The policy webhooks that have a say at this look."""
    if not situation.policy.webhooks:
        return ()
    wanted: list[WebhookType] = []
    if situation.progress.step < 0:
        if situation.candidate_ready and not situation.gate_open(WebhookType.PRE_ROLLOUT):
            wanted.append(WebhookType.PRE_ROLLOUT)
    elif not situation.progress.phase.is_final and situation.progress.phase is not Phase.ROLLING_BACK:
        wanted.append(WebhookType.ROLLBACK)
        if measures(situation) and not _warms_up(situation):
            wanted.append(WebhookType.ROLLOUT)
        if _before_promotion(situation) and not situation.gate_open(WebhookType.CONFIRM_PROMOTION):
            wanted.append(WebhookType.CONFIRM_PROMOTION)
    return tuple(
        _call(situation.rollout, hook) for kind in wanted for hook in situation.policy.webhooks_of(kind)
    )


def _before_promotion(situation: Situation) -> bool:
    step, verified, steps = situation.step, situation.progress.verified_at, situation.policy.steps
    if step is None or verified is None or situation.progress.step + 1 >= len(steps):
        return False
    return steps[situation.progress.step + 1].weight == 100 and situation.now - verified >= step.hold


def _call(rollout: Rollout, webhook: Webhook) -> Call:
    return Call(
        webhook=webhook,
        namespace=rollout.namespace,
        name=rollout.service,
        phase=rollout.progress.phase.value,
        checksum=rollout.candidate_digest,
    )


def _share_in_effect(situation: Situation) -> int:
    seen, weight = situation.seen, situation.progress.weight
    share = seen.share(situation.rollout.candidate) if seen is not None else None
    if share is not None:
        return share
    return weight if weight is not None else 100


def ended(rollout: Rollout, policy: Policy) -> tuple[Call, ...]:
    """The `post-rollout` calls of a rollout that has ended."""
    return tuple(_call(rollout, webhook) for webhook in policy.webhooks_of(WebhookType.POST_ROLLOUT))


def answers(
    calls: tuple[Call, ...], results: Mapping[Call, CallResult]
) -> Mapping[WebhookType, tuple[Answer, ...]]:
    """The webhooks' answers by type."""
    grouped: dict[WebhookType, tuple[Answer, ...]] = {}
    for call in calls:
        result = results[call]
        answer = Answer(call.webhook.name, result.ok, result.detail)
        grouped[call.webhook.type] = (*grouped.get(call.webhook.type, ()), answer)
    return grouped


def verdict_of(
    situation: Situation,
    questions: tuple[tuple[str, Question], ...],
    readings: Mapping[Question, Reading],
    hooks: tuple[Answer, ...],
) -> Verdict:
    """The judge's verdict on this look; ``hooks`` are new answers of the policy's `rollout` webhooks."""
    analysis = situation.policy.analysis
    found = {name: readings[question] for name, question in questions}
    metrics = list(analysis.metrics)
    for answer in hooks:
        name = f"{HOOK}{answer.name}"
        metrics.append(hook_metric(name))
        found[name] = _hook_reading(answer)
    progress = situation.progress
    look = Look(
        now=situation.now,
        step=progress.step,
        steps=len(situation.policy.steps),
        weight=_share_in_effect(situation),
        warming=_warms_up(situation),
    )
    return judge(analysis, metrics, Basis(look, found, progress.metrics, progress.evidence))


def _hook_reading(answer: Answer) -> Reading:
    if answer.ok is None:
        return Reading(ReadingKind.OUTAGE, detail=answer.detail or "the webhook cannot be reached")
    return Reading(ReadingKind.VALUE, value=1.0 if answer.ok else 0.0, detail=answer.detail)
