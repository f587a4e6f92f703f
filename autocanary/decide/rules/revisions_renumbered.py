"""Did the revisions' numbers begin anew under the rollout? Then no name means what the record says."""

from __future__ import annotations

from autocanary.decide import transitions
from autocanary.decide.decision_input import STRAYED_AFTER, Situation
from autocanary.model.decision import Decision, Event
from autocanary.model.observation import Observation, Trinary
from autocanary.model.progress import Phase
from autocanary.model.reason import Reason

__all__ = ["numbered_anew"]

_RULE = "numbered_anew"


def numbered_anew(s: Situation) -> Decision | None:
    """Somebody deleted the Knative service: KServe makes it again of the candidate's spec alone, which then
    has all the traffic under an old name, or none has any. Only stable's spec gets out of that.
    """
    seen, since = s.seen, s.progress.strayed_since
    if seen is None:
        return None
    if s.progress.anew:
        return _put_back(s, seen)
    if not s.is_renumbered:
        return None
    if since is None or s.now - since < STRAYED_AFTER:
        return transitions.unchanged(s, _RULE)
    what = f"the Knative service of {s.rollout.key} was made anew: {seen.created} is made of the newest spec"
    if seen.spec_digest == s.rollout.stable_digest:
        message = f"{what}, which is stable's; {s.rollout.candidate} is gone"
        return transitions.end(s, _RULE, Phase.ABANDONED, Reason.SERVICE_REPLACED, message)
    if s.rollout.stable_spec is None:
        message = f"{what}, which nothing has judged; stable's spec was never seen, so put it back by hand"
        return transitions.end(s, _RULE, Phase.ABANDONED, Reason.SERVICE_REPLACED, message)
    message = f"{what}, which nothing has judged; the stable spec is put back without a weight"
    return transitions.restore(
        s, _RULE, None, Reason.SERVICE_REPLACED, message, Event.ROLLBACK, anew=seen.created
    )


def _put_back(s: Situation, seen: Observation) -> Decision:
    """Over when a revision made after that one serves stable's spec alone."""
    ours = seen.spec_digest == s.rollout.stable_digest
    arrived = ours and seen.created not in ("", s.progress.anew)
    if arrived and seen.share(seen.created) == 100 and seen.route_ready is Trinary.TRUE:
        message = f"{seen.created}, made of stable's spec, has all the traffic: {s.progress.message}"
        return transitions.end(s, _RULE, Phase.ROLLED_BACK, Reason.SERVICE_REPLACED, message)
    if not ours and s.progress.restored:
        message = f"another spec was applied to {s.rollout.key} before stable's was back"
        return transitions.end(s, _RULE, Phase.ABANDONED, Reason.SERVICE_REPLACED, message)
    if not ours:
        return transitions.restore_again(s, _RULE)
    if s.now - (s.progress.escalated_at or s.now) > s.policy.progress_deadline:
        message = f"the stable spec of {s.rollout.key} was put back and does not serve: look now"
        return transitions.warn(s, _RULE, Reason.PROGRESS_DEADLINE_EXCEEDED, message)
    return transitions.unchanged(s, _RULE)
