"""A user's retry: a new attempt at a candidate that was rolled back, or why there can be none."""

from __future__ import annotations

from collections.abc import Sequence

from autocanary.decide.detection.findings import StartRollout, new_rollout, with_first_state
from autocanary.model.foreign_text import clean_text
from autocanary.model.frozen_copy import replace
from autocanary.model.observation import Observation
from autocanary.model.policy import Policy
from autocanary.model.progress import Phase
from autocanary.model.reason import Reason
from autocanary.model.rollout import Request, Rollout

__all__ = ["retry_rollout"]


def retry_rollout(
    past: Rollout,
    observation: Observation | None,
    policy: Policy | None,
    history: Sequence[Rollout],
    now: float,
    *,
    is_busy: bool = False,
) -> StartRollout | str:
    """The new attempt, which starts staged at the weight it was left at; a sentence where there can be none.

    ``policy`` is the one that governs the service now, None without one. ``is_busy``: another rollout of it runs.
    """
    if is_busy:
        return "another rollout of this service is running"
    if past.progress.phase is not Phase.ROLLED_BACK:
        return f"only a rolled-back rollout can be tried again; this one is {past.progress.phase.value}"
    if (
        observation is None
        or observation.created != past.candidate
        or not observation.matches_spec(past.candidate_digest)
    ):
        return f"{past.candidate} is no longer the newest revision; there is nothing to try again"
    if observation.rolled_out == past.candidate:
        return f"{past.candidate} has been rolled out meanwhile; there is nothing to try again"
    if observation.rolled_out != past.stable:
        return f"stable is {observation.rolled_out} now, not {past.stable}; release the candidate again instead"
    if policy is None:
        return "no policy selects the service any more"
    rollout = replace(
        new_rollout(observation, policy, history, None, now),
        stable_spec=past.stable_spec,
        stable_digest=past.stable_digest,
    )
    unstaged = observation.weight is None or observation.weight >= 100
    by = clean_text(past.request.by, 120) if past.request is not None else ""
    why = clean_text(past.request.reason, 300) if past.request is not None else ""
    message = (
        f"{observation.created} is tried again{f' by {by}' if by else ''}{f': {why}' if why else ''}; "
        f"attempt {rollout.attempt}, policy {policy.name}"
    )
    weight = 0 if unstaged else observation.weight
    again = with_first_state(rollout, observation, Phase.STAGING, Reason.RETRIED_BY_USER, message, now, weight=weight)
    return StartRollout(_with_request(again, past.request), intercept=unstaged)


def _with_request(rollout: Rollout, request: Request | None) -> Rollout:
    """The first decision with the user who requested it, and why."""
    if request is None:
        return rollout
    *earlier, newest = rollout.progress.decisions
    asked = {"requestVerb": request.verb, "requestedBy": request.by, "requestReason": request.reason}
    decisions = (*earlier, {**newest, **{name: text for name, text in asked.items() if text}})
    return replace(rollout, progress=replace(rollout.progress, decisions=decisions))
