"""Candidates that get no traffic until a user asks: known to be bad, or one of too many."""

from __future__ import annotations

from collections.abc import Sequence

from autocanary.decide.decision_input import BY_FAILURE
from autocanary.decide.detection.findings import with_first_state
from autocanary.model.frozen_copy import replace
from autocanary.model.observation import Observation
from autocanary.model.progress import Phase
from autocanary.model.reason import Reason
from autocanary.model.rollout import Rollout
from autocanary.model.value_wording import format_duration

__all__ = ["block_known_bad"]

CANDIDATE_FAULTS = frozenset(
    {
        Reason.METRIC_VIOLATION,
        Reason.WORSE_THAN_STABLE,
        Reason.TRAFFIC_MISSING,
        Reason.REVISION_FAILED,
        Reason.ROLLBACK_WEBHOOK,
        Reason.ABORTED_BY_USER,
        Reason.KNOWN_BAD,
    }
)
"""Reasons of a rollback whose cause is the candidate itself, not its environment."""

CHURN_LIMIT = 5
CHURN_WINDOW = 900.0
"""So many candidates replaced one by the next within that time, and none gets traffic until a user resumes it."""


def block_known_bad(
    observation: Observation, rollout: Rollout, current: Sequence[Rollout], now: float
) -> Rollout | None:
    """A candidate that gets no traffic until a user asks, at 0 from its first moment; None: any other."""
    past = max(
        (each for each in current if each.candidate_digest == observation.spec_digest and _is_conclusive(each)),
        key=lambda each: each.progress.started_at,
        default=None,
    )
    if past is not None and past.progress.phase is Phase.ROLLED_BACK and past.progress.reason in CANDIDATE_FAULTS:
        message = (
            f"{observation.created} is made of the spec that was rolled back as {past.candidate} "
            f"({past.progress.reason.value}) and gets no traffic; change the spec, or ask for a retry"
        )
        return with_first_state(rollout, observation, Phase.ROLLING_BACK, Reason.KNOWN_BAD, message, now)
    latest = sorted(current, key=lambda each: each.progress.started_at)[-CHURN_LIMIT:]
    replaced = all(each.progress.reason is Reason.NEW_REVISION for each in latest)
    if len(latest) == CHURN_LIMIT and replaced and now - latest[0].progress.started_at < CHURN_WINDOW:
        message = (
            f"{CHURN_LIMIT} candidates of {observation.key} were each replaced by the next within "
            f"{format_duration(now - latest[0].progress.started_at)}: something makes new revisions; "
            f"{observation.created} stays at 0 % until you resume it"
        )
        paused = with_first_state(rollout, observation, Phase.PAUSED, Reason.REVISION_CHURN, message, now)
        return replace(
            paused, progress=replace(paused.progress, hold=replace(paused.progress.hold, paused_by=BY_FAILURE))
        )
    return None


def _is_conclusive(past: Rollout) -> bool:
    """Of its spec: one that was replaced before its end proves nothing, unless a user asked for the attempt."""
    return past.progress.phase in (Phase.ROLLED_BACK, Phase.PROMOTED) or past.attempt > 1
