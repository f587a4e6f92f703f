"""Candidates that are not to be tried without a person: known to be bad, or one of too many."""

from __future__ import annotations

from collections.abc import Sequence

from autocanary.decide.decision_input import BY_FAILURE
from autocanary.decide.detection.findings import born
from autocanary.model.observation import Observation
from autocanary.model.progress import Phase
from autocanary.model.reason import Reason
from autocanary.model.rollout import Rollout
from autocanary.model.value_wording import duration

__all__ = ["kept_out"]

BLAMED = frozenset(
    {
        Reason.METRIC_BREACH,
        Reason.WORSE_THAN_STABLE,
        Reason.TRAFFIC_MISSING,
        Reason.REVISION_FAILED,
        Reason.ROLLBACK_WEBHOOK,
        Reason.ABORTED_BY_USER,
        Reason.KNOWN_BAD,
    }
)
"""Reasons of a rollback that blame the candidate itself, and not what was around it."""

CHURN_LIMIT = 5
CHURN_SECONDS = 900.0
"""So many candidates replaced one by the next within that time, and none is tried until a person looks."""


def kept_out(seen: Observation, rollout: Rollout, own: Sequence[Rollout], now: float) -> Rollout | None:
    """A candidate that is not to be tried without a person, at 0 from its first moment; None: any other."""
    past = max(
        (each for each in own if each.candidate_digest == seen.spec_digest and _says_something(each)),
        key=lambda each: each.progress.started_at,
        default=None,
    )
    if past is not None and past.progress.phase is Phase.ROLLED_BACK and past.progress.reason in BLAMED:
        message = (
            f"{seen.created} is made of the spec that was rolled back as {past.candidate} "
            f"({past.progress.reason.value}) and gets no traffic; change the spec, or ask for a retry"
        )
        return born(rollout, seen, Phase.ROLLING_BACK, Reason.KNOWN_BAD, message, now)
    latest = sorted(own, key=lambda each: each.progress.started_at)[-CHURN_LIMIT:]
    replaced = all(each.progress.reason is Reason.NEW_REVISION for each in latest)
    if len(latest) == CHURN_LIMIT and replaced and now - latest[0].progress.started_at < CHURN_SECONDS:
        message = (
            f"{CHURN_LIMIT} candidates of {seen.key} were each replaced by the next within "
            f"{duration(now - latest[0].progress.started_at)}: something makes new revisions; "
            f"{seen.created} stays at 0 % until a person resumes it"
        )
        paused = born(rollout, seen, Phase.PAUSED, Reason.REVISION_CHURN, message, now)
        return paused.but(progress=paused.progress.but(paused_by=BY_FAILURE))
    return None


def _says_something(past: Rollout) -> bool:
    """Of its spec: one that was replaced before its end acquits nobody, unless a person wanted it tried."""
    return past.progress.phase in (Phase.ROLLED_BACK, Phase.PROMOTED) or past.attempt > 1
