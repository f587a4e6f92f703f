"""Is there still a rollout? What makes every other question pointless."""

from __future__ import annotations

from autocanary.analysis.verdict import Outcome
from autocanary.decide import transitions
from autocanary.decide.decision_input import STALE_CACHE, DecisionInput
from autocanary.decide.rules.analysis_result import roll_back_on_failure
from autocanary.decide.rules.rule import rule
from autocanary.decide.rules.user_requests import answer_during_rollback, answer_request
from autocanary.model.decision import Decision
from autocanary.model.progress import Phase
from autocanary.model.reason import Reason
from autocanary.model.rollout import Verb
from autocanary.model.value_wording import format_duration

__all__ = ["abandon_when_service_gone", "answer_when_finished", "hold_on_stale_cache"]


@rule("AlreadyFinished")
def answer_when_finished(given: DecisionInput) -> Decision | None:
    """A finished rollout never moves again; a request is answered."""
    if not given.progress.phase.is_final:
        return None
    decision = transitions.unchanged(given)
    request = given.request
    if request is None:
        return decision
    text = f"this rollout has ended: {given.progress.phase.value} ({given.progress.reason.value})"
    return transitions.with_request_answer(decision, request, text)


@rule("StaleCache")
def hold_on_stale_cache(given: DecisionInput) -> Decision | None:
    """Nothing is concluded from a cache that was not confirmed lately."""
    if given.cache_age <= STALE_CACHE:
        return None
    if given.request is not None and given.request.verb == Verb.ABORT.value:
        return answer_during_rollback(given) or answer_request(given)
    failed = (
        roll_back_on_failure(given) if given.verdict is not None and given.verdict.outcome is Outcome.FAIL else None
    )
    if failed is not None:
        return failed  # every write compares with the present object, so the way back is always safe
    if given.progress.phase not in (Phase.PROGRESSING, Phase.HOLDING, Phase.BAKING):
        return transitions.unchanged(given)
    message = f"the cluster was last seen {format_duration(given.cache_age)} ago; waiting for the API server"
    return transitions.hold(given, Reason.OBSERVATION_STALE, message)


@rule("ServiceGone")
def abandon_when_service_gone(given: DecisionInput) -> Decision | None:
    """Deleted, stopped or replaced by another of the same name: there is nothing left to roll out."""
    observation, name = given.observation, given.rollout.key
    if observation is None or observation.deleting:
        return transitions.finish(given, Phase.ABANDONED, Reason.SERVICE_DELETED, f"{name} was deleted")
    if observation.uid != given.rollout.service_uid:
        message = f"{name} was deleted and created again; its revisions are numbered from 00001"
        return transitions.finish(given, Phase.ABANDONED, Reason.SERVICE_REPLACED, message)
    if observation.stopped:
        message = f"{name} was stopped (serving.kserve.io/stop); KServe forgets its revisions"
        return transitions.finish(given, Phase.ABANDONED, Reason.SERVICE_STOPPED, message)
    return None
