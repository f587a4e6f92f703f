"""Revisions that took all traffic between two observations: recorded as Missed, and not undone."""

from __future__ import annotations

from collections.abc import Sequence

from autocanary.decide.detection.findings import NoAction, StartRollout, new_rollout, with_first_state
from autocanary.decide.detection.stable_revision import StableRevisionTracker, revisions_renumbered
from autocanary.model.frozen_copy import replace
from autocanary.model.observation import ConditionStatus, DefaultEndpoint, Observation
from autocanary.model.policy import OnUnstaged, Policy
from autocanary.model.progress import Phase
from autocanary.model.reason import Reason
from autocanary.model.rollout import Rollout

__all__ = ["detect_missed_release", "missed_without_status"]


def detect_missed_release(
    observation: Observation,
    policy: Policy,
    history: Sequence[Rollout],
    current: Sequence[Rollout],
    tracker: StableRevisionTracker | None,
    now: float,
) -> NoAction | StartRollout:
    """A revision that took all traffic between two observations, without a rollout: recorded, not undone.

    Lowering the weight now would move the traffic to a revision whose pods are gone.
    """
    if observation.default_endpoint is not None and _is_expected(observation, observation.default_endpoint, current):
        return NoAction()
    same_candidate = [past for past in current if past.candidate == observation.rolled_out]
    newest = max(same_candidate, key=lambda past: past.attempt, default=None)
    if newest is not None:
        return _promoted_by_user(newest, observation, policy, history, now)
    bad = _rolled_back_before_renumbering(observation, history)
    if bad is not None:
        return _record_missed(
            observation,
            policy,
            history,
            bad.stable,
            _RENUMBERED.format(observation=observation, bad=bad),
            now,
        )
    fresh = tracker is None or tracker.uid != observation.uid or tracker.stable in (observation.rolled_out, "")
    known = any(observation.rolled_out == past.stable for past in current)
    same_content = tracker is not None and tracker.digest == observation.spec_digest
    if fresh or known or same_content or tracker is None or policy.on_unstaged is OnUnstaged.IGNORE:
        return NoAction()
    message = f"{observation.rolled_out} took 100 % of the traffic before it could be intercepted, without analysis"
    return _record_missed(observation, policy, history, tracker.stable, message, now)


def missed_without_status(rollout: Rollout, observation: Observation, now: float) -> Rollout:
    """The end of a rollout that was created and never began: its candidate has all the traffic meanwhile."""
    who = f" by {observation.writer}" if observation.writer else ""
    message = (
        f"{rollout.candidate} took 100 % of the traffic{who} before its rollout could be started, without analysis"
    )
    reason = Reason.MISSED_UNSTAGED
    return with_first_state(rollout, observation, Phase.MISSED, reason, message, now, weight=observation.weight)


_RENUMBERED = (
    "the revisions of {observation.key} are numbered from 00001 again (its Knative service was deleted, or it was "
    "stopped and resumed): {observation.rolled_out} is made of the spec that was rolled back as {bad.candidate} and "
    "has 100 % of the traffic"
)


def _rolled_back_before_renumbering(observation: Observation, history: Sequence[Rollout]) -> Rollout | None:
    """The rollout whose rolled-back spec came back as the only one when the revisions were renumbered."""
    if not revisions_renumbered(observation, history):
        return None
    mine = [past for past in history if past.service_uid == observation.uid]
    same_candidate = [past for past in mine if past.candidate_digest == observation.spec_digest]
    last = max(same_candidate, key=lambda past: past.progress.started_at, default=None)
    return last if last is not None and last.progress.phase is Phase.ROLLED_BACK else None


def _is_expected(observation: Observation, default_endpoint: DefaultEndpoint, current: Sequence[Rollout]) -> bool:
    """A candidate without a name yet, a stable that does not serve yet, or one made of what was promoted."""
    if default_endpoint.has_candidate or default_endpoint.ready is not ConditionStatus.TRUE:
        return True
    promoted = {past.candidate_digest for past in current if past.progress.phase is Phase.PROMOTED}
    return observation.spec_digest in promoted


def _promoted_by_user(
    newest: Rollout, observation: Observation, policy: Policy, history: Sequence[Rollout], now: float
) -> NoAction | StartRollout:
    """A candidate that was rolled back and has all the traffic now: the field was removed or raised.

    With a weight below 100 in the field KServe gives the share back to the previous revision: what the status shows is
    a moment of its way there.
    """
    if newest.progress.phase is not Phase.ROLLED_BACK:
        return NoAction()
    held_back = observation.weight is not None and observation.weight < 100
    if held_back and observation.previous == newest.stable:
        return NoAction()
    who = f" by {observation.writer}" if observation.writer else ""
    message = (
        f"{observation.rolled_out} was rolled back ({newest.progress.reason.value}) and has 100 % of the traffic "
        f"now: canaryTrafficPercent was removed or raised{who}"
    )
    return _record_missed(observation, policy, history, newest.stable, message, now)


def _record_missed(
    observation: Observation,
    policy: Policy,
    history: Sequence[Rollout],
    stable: str,
    message: str,
    now: float,
) -> StartRollout:
    rollout = replace(new_rollout(observation, policy, history, None, now), stable=stable)
    return StartRollout(
        with_first_state(
            rollout,
            observation,
            Phase.MISSED,
            Reason.MISSED_UNSTAGED,
            message,
            now,
            weight=observation.weight,
        )
    )
