"""Two components of one service are changed at once: only one of them is rolled out at a time.

A request goes through both, so with two candidates in traffic the metrics cannot show which of them is bad. Where
no policy states the order, neither gets traffic until a user says which goes on.
"""

from __future__ import annotations

from autocanary.decide import transitions
from autocanary.decide.components import SAME_APPLY_SECONDS, OtherComponent
from autocanary.decide.decision_input import DecisionInput
from autocanary.decide.rules.rule import rule
from autocanary.model.decision import Decision
from autocanary.model.progress import Phase
from autocanary.model.reason import Reason

__all__ = ["coordinate_components"]


@rule("OtherComponentActive")
def coordinate_components(given: DecisionInput) -> Decision | None:
    """Held at 0 % beside another component's candidate, or until that one has been promoted."""
    if given.observation is None or given.progress.phase is Phase.PAUSED or given.progress.requests.promote_all:
        return None
    for each in given.other_components:
        if each.rollout_pending and not each.has_policy and _just_started(given):
            warning = _warn_no_policy(given, each)
            if warning is not None:
                return warning
    if not given.progress.outbox.has_warned(Reason.COMPONENTS_TOGETHER):
        together = next((each for each in given.other_components if _changed_together(given, each)), None)
        if together is not None:
            return _pause_without_traffic(given, together)
    if given.progress.step.index >= 0:
        return None
    ahead = next((each for each in given.other_components if _has_priority(given, each)), None)
    if ahead is not None:
        return _wait(given, ahead)
    if given.candidate_ready and any(_rollout_expected(given, each) for each in given.other_components):
        return transitions.unchanged(given)
    return None


def _just_started(given: DecisionInput) -> bool:
    return given.now - given.progress.started_at <= SAME_APPLY_SECONDS


def _goes_after(given: DecisionInput, each: OtherComponent) -> bool:
    """Whether the policy states that the other goes first; two that say it of each other state nothing."""
    return each.component in given.policy.after and not each.waits_for_this


def _goes_before(given: DecisionInput, each: OtherComponent) -> bool:
    return each.waits_for_this and each.component not in given.policy.after


def _rollout_expected(given: DecisionInput, each: OtherComponent) -> bool:
    """It has changed as well, and its rollout has not begun: what that is about is known in a moment."""
    if not each.rollout_pending:
        return False
    ended = each.finished_at
    return _just_started(given) or (ended is not None and given.now - ended <= SAME_APPLY_SECONDS)


def _changed_together(given: DecisionInput, each: OtherComponent) -> bool:
    if not each.is_running or each.phase is Phase.ROLLING_BACK or _goes_after(given, each) or _goes_before(given, each):
        return False
    at_once = abs(each.started_at - given.progress.started_at) <= SAME_APPLY_SECONDS
    return at_once or (each.awaits_user and given.progress.step.index < 0)


def _has_priority(given: DecisionInput, each: OtherComponent) -> bool:
    if _blocks_after_rollback(given, each):
        return True
    if not each.is_running or _goes_before(given, each):
        return False
    if _goes_after(given, each) or each.step >= 0:
        return True
    if each.phase is Phase.PAUSED:
        return False  # without traffic, until a user resumes it: then it waits in its turn
    mine = (given.progress.phase_since, given.rollout.component.value)
    return (each.since, each.component.value) < mine


def _blocks_after_rollback(given: DecisionInput, each: OtherComponent) -> bool:
    """The one that this waited for was rolled back: what came with it is not rolled out without it."""
    if each.phase is not Phase.ROLLED_BACK or each.reason is Reason.KNOWN_BAD or _goes_before(given, each):
        return False
    if _goes_after(given, each) or given.progress.reason is Reason.WAITING_FOR_COMPONENT:
        return True
    decided = given.progress.outbox.has_warned(Reason.COMPONENTS_TOGETHER)
    return not decided and each.started_at < given.progress.started_at - SAME_APPLY_SECONDS


def _wait(given: DecisionInput, each: OtherComponent) -> Decision | None:
    me, other = given.rollout.candidate, f"the {each.component.value}'s {each.candidate}"
    if each.is_running:
        message = f"{me} waits at 0 % until {other} is promoted: one component of {_service_name(given)} at a time"
    else:
        promote = f"`kubectl autocanary promote {given.rollout.name} -n {given.rollout.namespace}`"
        message = (
            f"{me} was released with {other}, which was rolled back, and waits at 0 % for a better "
            f"{each.component.value}; {promote} lets it go on alone"
        )
    if given.progress.step.weight:
        return transitions.write_weight(given, 0, Reason.WAITING_FOR_COMPONENT, message)
    if not given.candidate_ready:
        return None
    if not each.is_running and not given.progress.outbox.has_warned(Reason.WAITING_FOR_COMPONENT):
        warning = transitions.warn(given, Reason.WAITING_FOR_COMPONENT, message)
        return transitions.with_reason(warning, Reason.WAITING_FOR_COMPONENT, message)
    return transitions.hold(given, Reason.WAITING_FOR_COMPONENT, message)


def _pause_without_traffic(given: DecisionInput, each: OtherComponent) -> Decision:
    message = (
        f"{given.rollout.candidate} and the {each.component.value}'s {each.candidate} were released together and "
        f"no policy states which goes first (`after`): both stay at 0 % until "
        f"`kubectl autocanary resume {given.rollout.name} -n {given.rollout.namespace}`, or the other's, says so"
    )
    return transitions.pause_without_traffic(given, Reason.COMPONENTS_TOGETHER, message)


def _warn_no_policy(given: DecisionInput, each: OtherComponent) -> Decision | None:
    if given.progress.outbox.has_warned(Reason.UNGOVERNED_COMPONENT):
        return None
    message = (
        f"the {each.component.value} of {_service_name(given)} was changed as well, and no policy rolls it out: "
        "KServe gives its new revision the traffic as soon as it is ready, all of it where it has no "
        f"canaryTrafficPercent; a policy with component: {each.component.value} would stage it"
    )
    return transitions.warn(given, Reason.UNGOVERNED_COMPONENT, message)


def _service_name(given: DecisionInput) -> str:
    return f"{given.rollout.namespace}/{given.rollout.service}"
