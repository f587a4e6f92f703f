"""Services whose spec holds stable beside the candidate: what their owners do to either, and finalizing.

Where stable exists only as a revision (``Observation.beside`` is None), none of this applies.
"""

from __future__ import annotations

from autocanary.decide import transitions
from autocanary.decide.decision_input import DecisionInput
from autocanary.decide.rules.rule import rule
from autocanary.model.decision import Decision
from autocanary.model.frozen_copy import replace
from autocanary.model.observation import ConditionStatus, DefaultEndpoint, Observation, PromotionPending
from autocanary.model.progress import Phase
from autocanary.model.reason import Reason
from autocanary.model.rollout import Request, Verb
from autocanary.model.value_wording import format_duration

__all__ = ["finalize_promotion", "finish_when_candidate_removed", "finish_when_stable_changed"]


@rule("Finalizing")
def finalize_promotion(given: DecisionInput) -> Decision | None:
    """The candidate has all the traffic and is made stable itself, by one write after the other.

    Which write is next is read from the service alone, so it does not matter where a crash came between;
    and none is made unless what is in the candidate's place is what was analysed.
    """
    observation = given.observation
    if given.progress.phase is not Phase.FINALIZING or observation is None:
        return None
    if given.request is not None and given.request.verb != Verb.PAUSE.value:
        return _answer_request(given, given.request)
    if observation.default_endpoint is None:
        return _finish_promoted(given, observation)
    if observation.candidate_removed:
        return _candidate_cleared(given, observation)
    if not _is_evaluated_candidate(given, observation):
        return _replaced_while_finalizing(given, observation.default_endpoint)
    if observation.weight != 100 or given.rollout.paused:
        return None  # another client's weight, or a user's pause: see the rules about these
    if observation.promotion_pending is PromotionPending.ADOPT:
        return _copy_candidate_to_default(given, observation.default_endpoint)
    if observation.promotion_pending is PromotionPending.CLEAR and (
        _stable_has_candidate_spec(given, observation) or given.progress.requests.promote_all
    ):
        return transitions.finalize(given)
    return _wait_for_stable(given, observation, observation.default_endpoint)


def _answer_request(given: DecisionInput, request: Request) -> Decision:
    if request.verb in (Verb.PROMOTE.value, Verb.PROMOTE_FULL.value):
        after = given.with_progress(
            replace(given.progress, requests=replace(given.progress.requests, promote_all=True))
        )
        text = "it is being made stable already; a new name of stable's revision is not waited for any more"
        return transitions.with_request_answer(transitions.unchanged(after), request, text)
    text = "it is promoted and being made stable; to go back, apply the former spec as a new candidate"
    return transitions.with_request_answer(transitions.unchanged(given), request, text)


def _is_evaluated_candidate(given: DecisionInput, observation: Observation) -> bool:
    return observation.created == given.rollout.candidate and observation.matches_spec(given.rollout.candidate_digest)


def _stable_has_candidate_spec(given: DecisionInput, observation: Observation) -> bool:
    """Whether stable's revision is the one made of the candidate's spec; of an equal spec none is made."""
    return (
        observation.rolled_out != given.rollout.stable or given.rollout.stable_digest == given.rollout.candidate_digest
    )


def _copy_candidate_to_default(given: DecisionInput, default_endpoint: DefaultEndpoint) -> Decision | None:
    if default_endpoint.digest != given.rollout.stable_digest:
        return None  # not what the candidate was measured against: see StableChanged
    if not given.weight_in_effect:
        return transitions.unchanged(given)
    again = transitions.finalize(given)
    if not given.unsupported_reason:
        return again
    warning = transitions.warn(given, Reason.CANARY_UNSUPPORTED, given.unsupported_reason)
    return replace(warning, action=again.action)


def _candidate_cleared(given: DecisionInput, observation: Observation) -> Decision | None:
    """The candidate's place is empty: by autocanary's last write, or by another client."""
    if not observation.matches_spec(given.rollout.candidate_digest):
        return None  # see CandidateRemoved
    if observation.promotion_pending is None:
        return _finish_promoted(given, observation)
    return _warn_when_overdue(given, "the traffic to be on stable's side") or transitions.unchanged(given)


def _replaced_while_finalizing(given: DecisionInput, default_endpoint: DefaultEndpoint) -> Decision | None:
    """Another candidate has been applied meanwhile; whether this one counts depends on how far it came."""
    if default_endpoint.digest != given.rollout.candidate_digest:
        return None  # see CandidateSuperseded
    message = f"the spec of {given.rollout.candidate} is stable's; another candidate has been applied meanwhile"
    return transitions.finish(given, Phase.PROMOTED, Reason.PROMOTED, message)


def _finish_promoted(given: DecisionInput, observation: Observation) -> Decision:
    message = (
        f"{given.rollout.candidate} was promoted: stable is made of its spec and served by {observation.rolled_out}"
    )
    return transitions.finish(given, Phase.PROMOTED, Reason.PROMOTED, message)


def _wait_for_stable(given: DecisionInput, observation: Observation, default_endpoint: DefaultEndpoint) -> Decision:
    if default_endpoint.ready is not ConditionStatus.TRUE:
        what = f"stable's new revision to be ready{': ' + default_endpoint.failure if default_endpoint.failure else ''}"
    elif not _stable_has_candidate_spec(given, observation):
        what = f"a revision of stable with the candidate's spec; it is still {observation.rolled_out}"
    else:
        what = "the traffic"
    late = _warn_when_overdue(given, what)
    if late is not None:
        return late
    message = f"the candidate's spec is stable's; waiting for {what}"
    if message == given.progress.message:
        return transitions.unchanged(given)
    return transitions.unchanged(given.with_progress(replace(given.progress, message=message)))


def _warn_when_overdue(given: DecisionInput, what: str) -> Decision | None:
    """Nothing is in danger, the candidate serves everything; but it should be done by now."""
    waited = given.now - given.progress.phase_since
    if waited <= given.policy.progress_deadline or given.progress.outbox.has_warned(Reason.PROGRESS_DEADLINE_EXCEEDED):
        return None
    message = (
        f"{given.rollout.candidate} has all the traffic, and cannot be made stable for {format_duration(waited)}: "
        f"waiting for {what}"
    )
    return transitions.warn(given, Reason.PROGRESS_DEADLINE_EXCEEDED, message)


@rule("CandidateRemoved")
def finish_when_candidate_removed(given: DecisionInput) -> Decision | None:
    """The candidate was removed from the spec: stable has all the traffic, and nothing is written."""
    observation = given.observation
    if observation is None or not observation.candidate_removed or given.progress.phase is Phase.ROLLING_BACK:
        return None
    rollout = given.rollout
    if rollout.candidate_digest != rollout.stable_digest and observation.spec_digest == rollout.candidate_digest:
        message = f"the spec of {rollout.candidate} was put into stable's place by hand"
        return transitions.finish(given, Phase.PROMOTED, Reason.PROMOTED_BY_USER, message)
    message = f"{rollout.candidate} was removed from the spec of {rollout.key}; stable has all the traffic"
    return transitions.finish(given, Phase.SUPERSEDED, Reason.REVERTED, message)


@rule("StableChanged")
def finish_when_stable_changed(given: DecisionInput) -> Decision | None:
    """Stable was replaced during the rollout: what was measured is about another comparison.

    The candidate is rolled out again, from the weight it has, as soon as the new stable serves; a user's pause
    is left alone.
    """
    observation = given.observation
    if observation is None or observation.default_endpoint is None or given.progress.phase is Phase.PAUSED:
        return None
    replaced = observation.rolled_out not in ("", given.rollout.stable, given.rollout.candidate)
    if not replaced or observation.default_endpoint.ready is not ConditionStatus.TRUE:
        return None
    message = (
        f"stable is {observation.rolled_out} now instead of "
        f"{given.rollout.stable}; {given.rollout.candidate} is analysed again"
    )
    return transitions.finish(given, Phase.SUPERSEDED, Reason.STABLE_CHANGED, message)
