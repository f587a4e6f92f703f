"""What one evaluation observes, recorded in the progress before anything is decided from it."""

from __future__ import annotations

from autocanary.analysis.verdict import Outcome, Verdict
from autocanary.decide.decision_input import DecisionInput
from autocanary.model.frozen_copy import replace
from autocanary.model.observation import Observation
from autocanary.model.policy import WebhookType
from autocanary.model.progress import AnalysisState, Phase, RollbackState, StepState
from autocanary.model.reason import Reason

__all__ = ["with_observed_progress"]

_TOO_LITTLE_EVIDENCE = (Reason.TOO_FEW_REQUESTS, Reason.WARMING_UP)
"""Evaluations with a few requests: they neither end a time without data nor prove one."""

_BEFORE_SILENCE = 120.0
"""Seconds for which a revision whose scrape has stopped may show no data before it shows old samples."""

_REMEMBERED_WEBHOOKS = (WebhookType.PRE_ROLLOUT, WebhookType.CONFIRM_PROMOTION)
"""Policy webhooks whose yes is remembered; the others are called at each evaluation."""


def with_observed_progress(given: DecisionInput) -> DecisionInput:
    """The input with what this evaluation observed in the progress, and the progress before it beside that."""
    before = after = given.progress
    if before.phase.is_final:
        return given
    observation, verdict = given.observation, given.verdict
    if observation is not None:
        step = _observed_step(given, observation)
        rollback = _observed_rollback(given, observation)
        spec_changed_at = _spec_changed_at(given, observation)
        if step is not before.step or rollback is not before.rollback or spec_changed_at != before.spec_changed_at:
            after = replace(after, step=step, rollback=rollback, spec_changed_at=spec_changed_at)
    if verdict is not None:
        after = replace(after, analysis=_observed_analysis(given, verdict))
    passed = _webhooks_that_passed(given)
    if not passed <= set(before.webhooks_passed):
        after = replace(after, webhooks_passed=tuple(sorted({*before.webhooks_passed, *passed})))
    rollout = replace(given.rollout, progress=after) if after is not before else given.rollout
    return replace(given, rollout=rollout, progress_before=before)


def _observed_step(given: DecisionInput, observation: Observation) -> StepState:
    """Whether the traffic has drifted from the weight, and what share the candidate has."""
    progress, step = given.progress, given.progress.step
    drifted_since = step.drifted_since
    astray = step.verified_at is not None and not given.weight_in_effect
    unready = step.index < 0 and given.candidate_ready and not given.present_weight_in_effect
    if given.is_renumbered or astray or unready:
        if drifted_since is None:
            drifted_since = given.now  # lasts, although the step begins again meanwhile
    elif drifted_since is not None and (given.weight_in_effect or step.index < 0):
        drifted_since = None
    cleared = progress.phase is Phase.FINALIZING and observation.candidate_removed
    # Then it is stable's own revision that serves what the candidate was made of.
    share = observation.traffic_percent(observation.rolled_out if cleared else given.rollout.candidate)
    if share is None:
        share = step.observed_weight
    if drifted_since == step.drifted_since and share == step.observed_weight:
        return step
    return replace(step, drifted_since=drifted_since, observed_weight=share)


def _observed_rollback(given: DecisionInput, observation: Observation) -> RollbackState:
    """Whether the weight 0 is in the field, and whether the stable spec is back."""
    rollback = given.progress.rollback
    restored = rollback.restored
    if rollback.repairing and not restored:
        restored = (
            observation.candidate_removed
            if observation.default_endpoint is not None
            else observation.spec_digest == given.rollout.stable_digest
        )
    written_at = None
    if given.progress.phase is Phase.ROLLING_BACK and observation.weight == 0:
        written_at = rollback.written_at if rollback.written_at is not None else given.now
    if restored == rollback.restored and written_at == rollback.written_at:
        return rollback
    return replace(rollback, restored=restored, written_at=written_at)


def _spec_changed_at(given: DecisionInput, observation: Observation) -> float | None:
    digest = given.rollout.candidate_digest
    if not digest or observation.spec_digest == digest:
        return None
    since = given.progress.spec_changed_at
    return since if since is not None else given.now


def _observed_analysis(given: DecisionInput, verdict: Verdict) -> AnalysisState:
    """What the metrics said, and since when they say nothing or nothing clear."""
    before = given.progress.analysis
    no_data_since = _no_data_since(given, verdict)
    is_outage = verdict.outcome is Outcome.OUTAGE and not _is_still_no_data(given, verdict, no_data_since)
    began = before.outage_since if before.outage_since is not None else given.now
    return replace(
        before,
        metrics={**before.metrics, **verdict.metrics},
        evidence=verdict.evidence if verdict.evidence is not None else before.evidence,
        failed_requests=verdict.failed_requests if verdict.failed_requests is not None else before.failed_requests,
        last_evaluation_at=given.now,
        no_data_since=no_data_since,
        outage_since=began if is_outage else None,
        inconclusive_since=_inconclusive_since(given, verdict),
    )


def _no_data_since(given: DecisionInput, verdict: Verdict) -> float | None:
    """Since when there are no data. The time of an outage does not count: it proves nothing."""
    since, outage = given.progress.analysis.no_data_since, given.progress.analysis.outage_since
    if verdict.outcome is Outcome.NO_DATA and since is None:
        return given.now
    silent = verdict.outcome in (Outcome.NO_DATA, Outcome.OUTAGE) or verdict.reason in _TOO_LITTLE_EVIDENCE
    if since is None or not silent:
        return None
    ended = outage is not None and (verdict.outcome is not Outcome.OUTAGE or _is_still_no_data(given, verdict, since))
    return since + given.now - max(outage, since) if ended and outage is not None else since


def _is_still_no_data(given: DecisionInput, verdict: Verdict, no_data_since: float | None) -> bool:
    """Old samples after no data are still no data: Knative removes a failed revision's pods, and so its series.

    A scrape that stops looks like no data for its first seconds, until its last sample is old.
    """
    if (
        verdict.reason is not Reason.METRICS_STALE
        or no_data_since is None
        or given.progress.analysis.outage_since is not None
    ):
        return False
    return given.now - no_data_since > _BEFORE_SILENCE


def _inconclusive_since(given: DecisionInput, verdict: Verdict) -> float | None:
    """Does not advance during an outage, which says nothing about the candidate."""
    since, outage = given.progress.analysis.inconclusive_since, given.progress.analysis.outage_since
    if verdict.outcome in (Outcome.PASS, Outcome.FAIL):
        return None
    if since is None:
        is_inconclusive = verdict.outcome in (Outcome.INCONCLUSIVE, Outcome.SUSPICIOUS)
        return given.now if is_inconclusive and verdict.reason is not Reason.WARMING_UP else None
    if outage is not None and verdict.outcome is not Outcome.OUTAGE:
        return since + given.now - max(outage, since)
    return since


def _webhooks_that_passed(given: DecisionInput) -> set[str]:
    return {
        f"{kind.value}/{answer.name}"
        for kind in _REMEMBERED_WEBHOOKS
        for answer in given.webhook_answers.get(kind, ())
        if answer.ok
    }
