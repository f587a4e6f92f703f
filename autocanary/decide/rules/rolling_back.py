"""The way back to stable: over when the traffic has left the candidate, not when that was asked for."""

from __future__ import annotations

from dataclasses import replace

from autocanary.decide import transitions
from autocanary.decide.decision_input import Situation
from autocanary.decide.rules.weight_and_traffic import external_change
from autocanary.model.decision import Decision
from autocanary.model.observation import Observation, Trinary
from autocanary.model.policy import Leftover
from autocanary.model.progress import Phase
from autocanary.model.reason import Reason
from autocanary.model.value_wording import duration

__all__ = ["rolling_back"]

ESCALATE_AFTER = 30.0
"""Seconds for which a rollback may be without effect before the stable spec itself is put back."""


def rolling_back(s: Situation) -> Decision | None:
    """A rollback is over when the traffic has left the candidate, not when that was asked for."""
    if s.progress.phase is not Phase.ROLLING_BACK or s.seen is None:
        return None
    if _back_on_stable(s, s.seen):
        if _is_left_over(s, s.seen):
            return transitions.withdraw(s, "rolling_back")
        serving = max(s.seen.traffic, key=s.seen.traffic.__getitem__)  # stable's spec may have a new one
        message = f"{serving} has all the traffic again: {s.progress.message}"
        return transitions.end(s, "rolling_back", Phase.ROLLED_BACK, s.progress.reason, message)
    if s.seen.withdrawn:
        return _repair_again(s, s.seen)  # nothing is left to write, the traffic is to follow
    newer = s.seen.created not in ("", s.rollout.stable, s.rollout.candidate)
    if newer and s.seen.spec_digest != s.rollout.stable_digest:
        return None  # somebody released a fix: see newer_candidate
    if s.progress.repairing:
        return _repair_again(s, s.seen)
    if s.seen.weight != 0:
        unwritten = s.seen.weight == s.progress.from_weight and s.acknowledged != 0
        if unwritten or s.seen.weight is None:
            return _unwritten(s, s.seen)
        return external_change(s, s.seen)
    return _blocked(s, s.seen)


def _is_left_over(s: Situation, seen: Observation) -> bool:
    """The candidate still has its place in the spec, and the policy wants that empty."""
    if s.policy.leftover is Leftover.KEEP or seen.beside is None or not seen.beside.has_candidate:
        return False
    return seen.created == s.rollout.candidate and seen.is_made_of(s.rollout.candidate_digest)


def _back_on_stable(s: Situation, seen: Observation) -> bool:
    if seen.weight != s.progress.weight and not seen.withdrawn:
        return False  # an unready candidate has no traffic whatever the field says, until it is ready
    if not seen.traffic or seen.route_ready is not Trinary.TRUE or seen.share(s.rollout.candidate):
        return False
    if seen.beside is not None:
        return seen.share(seen.rolled_out) == 100  # stable's own place, whatever its owner made of it
    shares = seen.traffic
    stable = shares.get(s.rollout.stable, 0)
    if (
        s.progress.repairing
        and seen.spec_digest == s.rollout.stable_digest
        and seen.created != s.rollout.candidate
    ):
        stable += shares.get(seen.created, 0) if seen.created != s.rollout.stable else 0
    return stable == 100


def _repair_again(s: Situation, seen: Observation) -> Decision:
    """The restoring patch is repeated until it has arrived; what somebody makes of the spec then stays."""
    if not s.progress.restored and not seen.withdrawn and _is_candidates(s, seen):
        return transitions.restore_again(s, "rolling_back")
    if _waits_for_a_lost_stable(s, seen):
        return transitions.restore_blocked(s, "rolling_back", whole=True)
    overdue = s.now - (s.progress.escalated_at or s.now) > s.policy.progress_deadline
    if overdue:
        message = (
            f"the stable spec of {s.rollout.key} was put back and the traffic has not followed: look now"
        )
        return transitions.warn(s, "rolling_back", Reason.PROGRESS_DEADLINE_EXCEEDED, message)
    return transitions.unchanged(s, "rolling_back")


def _waits_for_a_lost_stable(s: Situation, seen: Observation) -> bool:
    """The restored revision is ready, and a weight still divides with the old stable, which is gone.

    Only without the field does the restored revision, which is stable's spec, get everything.
    """
    if seen.beside is not None or seen.weight is None or not s.progress.restored:
        return False
    if seen.spec_digest != s.rollout.stable_digest or seen.created in (s.rollout.candidate, s.rollout.stable):
        return False
    waited = s.now - (s.progress.escalated_at if s.progress.escalated_at is not None else s.now)
    return seen.ready == seen.created and waited > ESCALATE_AFTER


def _blocked(s: Situation, seen: Observation) -> Decision:
    """Knative moves no traffic while a revision in the route is not ready; only a new spec unblocks it."""
    waited = s.now - (s.progress.step_started_at or s.now)
    if waited <= ESCALATE_AFTER:
        return transitions.unchanged(s, "rolling_back")
    known = s.rollout.stable_spec is not None
    said = Reason.ROLLBACK_BLOCKED.value in s.progress.warned
    if not said:
        way = (
            "putting the stable spec back"
            if known
            else "its stable spec was never seen, so put it back by hand"
        )
        message = (
            f"the weight of {s.rollout.key} is 0, but after {duration(waited)} {s.rollout.candidate} "
            f"still has {s.progress.observed_weight} % of the traffic; {way}"
        )
        return transitions.warn(s, "rolling_back", Reason.ROLLBACK_BLOCKED, message)
    if not known or not _is_candidates(s, seen):
        return transitions.unchanged(s, "rolling_back")  # what another hand has put there is not overwritten
    return transitions.restore_blocked(s, "rolling_back")


def _unwritten(s: Situation, seen: Observation) -> Decision:
    """The weight 0 does not get through: tried at every look, and said once when that goes on.

    Where every weight is refused, the candidate can still be taken out of the spec.
    """
    if s.unsupported and seen.beside is not None and _is_candidates(s, seen):
        return transitions.restore_blocked(s, "rolling_back", whole=True)
    again = transitions.write_again(s, "rolling_back")
    waited = s.now - (s.progress.step_started_at or s.now)
    if waited <= ESCALATE_AFTER or Reason.ROLLBACK_BLOCKED.value in s.progress.warned:
        return again
    shown = "absent" if seen.weight is None else f"{seen.weight}"
    message = (
        f"the weight of {s.rollout.key} could not be set to 0 for {duration(waited)}, it is {shown}; "
        "tried again and again: see the log for what the API server answers"
    )
    warning = transitions.warn(s, "rolling_back", Reason.ROLLBACK_BLOCKED, message)
    return replace(warning, move=again.move, weight=again.weight, urgent=True)


def _is_candidates(s: Situation, seen: Observation) -> bool:
    return not s.rollout.candidate_digest or seen.spec_digest == s.rollout.candidate_digest
