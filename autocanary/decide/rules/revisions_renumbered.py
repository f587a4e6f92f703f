"""Were the revisions numbered from 00001 again during the rollout? Then no recorded name is valid."""

from __future__ import annotations

from autocanary.decide import transitions
from autocanary.decide.decision_input import DRIFTED_AFTER, DecisionInput
from autocanary.decide.rules.rule import rule
from autocanary.model.decision import Decision, Event
from autocanary.model.frozen_copy import replace
from autocanary.model.observation import ConditionStatus, Observation
from autocanary.model.progress import Phase
from autocanary.model.reason import Reason

__all__ = ["handle_renumbered_revisions"]


@rule("RevisionsRenumbered")
def handle_renumbered_revisions(given: DecisionInput) -> Decision | None:
    """The Knative service was deleted: KServe makes it again of the candidate's spec alone, which then
    has all the traffic under an old name, or none has any. Only stable's spec gets out of that.
    """
    observation, since = given.observation, given.progress.step.drifted_since
    if observation is None:
        return None
    if given.progress.rollback.renumbered_revision:
        return _restore_stable(given, observation)
    if not given.is_renumbered:
        return None
    if since is None or given.now - since < DRIFTED_AFTER:
        return transitions.unchanged(given)
    what = f"the Knative service of {given.rollout.key} is new: {observation.created} is made of the newest spec"
    if observation.spec_digest == given.rollout.stable_digest:
        message = f"{what}, which is stable's; {given.rollout.candidate} is gone"
        return transitions.finish(given, Phase.ABANDONED, Reason.SERVICE_REPLACED, message)
    if given.rollout.stable_spec is None:
        message = f"{what}, which was not analysed; stable's spec is unknown to autocanary, so apply it"
        return transitions.finish(given, Phase.ABANDONED, Reason.SERVICE_REPLACED, message)
    message = f"{what}, which was not analysed; the stable spec is put back without a weight"
    return transitions.restore_stable_spec(
        given,
        None,
        Reason.SERVICE_REPLACED,
        message,
        Event.ROLLBACK,
        replace(given.progress, rollback=replace(given.progress.rollback, renumbered_revision=observation.created)),
    )


def _restore_stable(given: DecisionInput, observation: Observation) -> Decision:
    """Over when a revision made after that one serves stable's spec alone."""
    ours = observation.spec_digest == given.rollout.stable_digest
    arrived = ours and observation.created not in ("", given.progress.rollback.renumbered_revision)
    if (
        arrived
        and observation.traffic_percent(observation.created) == 100
        and observation.route_ready is ConditionStatus.TRUE
    ):
        message = f"{observation.created}, made of stable's spec, has all the traffic: {given.progress.message}"
        return transitions.finish(given, Phase.ROLLED_BACK, Reason.SERVICE_REPLACED, message)
    if not ours and given.progress.rollback.restored:
        message = f"another spec was applied to {given.rollout.key} before stable's was back"
        return transitions.finish(given, Phase.ABANDONED, Reason.SERVICE_REPLACED, message)
    if not ours:
        return transitions.retry_restore(given)
    if given.now - (given.progress.rollback.escalated_at or given.now) > given.policy.progress_deadline:
        message = f"the stable spec of {given.rollout.key} was put back and does not serve: see its conditions"
        return transitions.warn(given, Reason.PROGRESS_DEADLINE_EXCEEDED, message)
    return transitions.unchanged(given)
