"""Is there still a rollout? What makes every other question pointless."""

from __future__ import annotations

from autocanary.analysis.verdict import Outcome
from autocanary.decide import transitions
from autocanary.decide.decision_input import STALE_PICTURE, Situation
from autocanary.decide.rules.analysis_result import failed
from autocanary.decide.rules.user_requests import asked, asked_too_late
from autocanary.model.decision import Decision
from autocanary.model.progress import Phase
from autocanary.model.reason import Reason
from autocanary.model.rollout import Verb
from autocanary.model.value_wording import duration

__all__ = ["final_stays_final", "picture_is_stale", "service_is_gone"]


def final_stays_final(s: Situation) -> Decision | None:
    """A finished rollout never moves again; what a person asks of it is answered."""
    if not s.progress.phase.is_final:
        return None
    decision = transitions.unchanged(s, "final_stays_final")
    request = s.request
    if request is None:
        return decision
    text = f"this rollout has ended: {s.progress.phase.value} ({s.progress.reason.value})"
    return transitions.answer(decision, request.id, text)


def picture_is_stale(s: Situation) -> Decision | None:
    """Nothing is concluded from a picture of the cluster that nobody has confirmed lately."""
    if s.picture_age <= STALE_PICTURE:
        return None
    if s.request is not None and s.request.verb == Verb.ABORT.value:
        return asked_too_late(s) or asked(s)
    blamed = failed(s) if s.verdict is not None and s.verdict.outcome is Outcome.FAIL else None
    if blamed is not None:
        return blamed  # every write compares with the present object, so the way back is always safe
    if s.progress.phase not in (Phase.PROGRESSING, Phase.HOLDING, Phase.BAKING):
        return transitions.unchanged(s, "picture_is_stale")
    message = f"the cluster was last seen {duration(s.picture_age)} ago; waiting for the API server"
    return transitions.hold(s, "picture_is_stale", Reason.OBSERVATION_STALE, message)


def service_is_gone(s: Situation) -> Decision | None:
    """Deleted, stopped or replaced by another of the same name: there is nothing left to roll out."""
    seen, name = s.seen, s.rollout.key
    if seen is None or seen.deleting:
        return transitions.end(
            s, "service_is_gone", Phase.ABANDONED, Reason.SERVICE_DELETED, f"{name} was deleted"
        )
    if seen.uid != s.rollout.service_uid:
        message = f"{name} was deleted and created anew; its revisions start over"
        return transitions.end(s, "service_is_gone", Phase.ABANDONED, Reason.SERVICE_REPLACED, message)
    if seen.stopped:
        message = f"{name} was stopped (serving.kserve.io/stop); KServe forgets its revisions"
        return transitions.end(s, "service_is_gone", Phase.ABANDONED, Reason.SERVICE_STOPPED, message)
    return None
