"""Two components of one service are changed at once: only one of them is rolled out at a time.

A request goes through both, so with two candidates in traffic nobody could say which of them is bad. Where
no policy states the order, neither gets traffic until a person says which goes on.
"""

from __future__ import annotations

from autocanary.decide import transitions
from autocanary.decide.components import TOGETHER, Companion
from autocanary.decide.decision_input import Situation
from autocanary.model.decision import Decision
from autocanary.model.progress import Phase
from autocanary.model.reason import Reason

__all__ = ["other_components"]

_RULE = "other_components"


def other_components(s: Situation) -> Decision | None:
    """Held at 0 % beside another component's candidate, or until that one has been promoted."""
    if s.seen is None or s.progress.phase is Phase.PAUSED or s.progress.promote_all:
        return None
    for each in s.companions:
        if each.pending and not each.governed and _is_fresh(s):
            warning = _ungoverned(s, each)
            if warning is not None:
                return warning
    if Reason.COMPONENTS_TOGETHER.value not in s.progress.warned:
        together = next((each for each in s.companions if _is_together(s, each)), None)
        if together is not None:
            return _set_aside(s, together)
    if s.progress.step >= 0:
        return None
    ahead = next((each for each in s.companions if _is_ahead(s, each)), None)
    if ahead is not None:
        return _wait(s, ahead)
    if s.candidate_ready and any(_is_coming(s, each) for each in s.companions):
        return transitions.unchanged(s, _RULE)
    return None


def _is_fresh(s: Situation) -> bool:
    return s.now - s.progress.started_at <= TOGETHER


def _awaits(s: Situation, each: Companion) -> bool:
    """Whether the policy states that the other goes first; two that say it of each other state nothing."""
    return each.component in s.policy.after and not each.follows


def _precedes(s: Situation, each: Companion) -> bool:
    return each.follows and each.component not in s.policy.after


def _is_coming(s: Situation, each: Companion) -> bool:
    """It has changed as well, and its rollout has not begun: what that is about is known in a moment."""
    if not each.pending:
        return False
    ended = each.finished_at
    return _is_fresh(s) or (ended is not None and s.now - ended <= TOGETHER)


def _is_together(s: Situation, each: Companion) -> bool:
    if not each.runs or each.phase is Phase.ROLLING_BACK or _awaits(s, each) or _precedes(s, each):
        return False
    at_once = abs(each.started_at - s.progress.started_at) <= TOGETHER
    return at_once or (each.awaits_a_person and s.progress.step < 0)


def _is_ahead(s: Situation, each: Companion) -> bool:
    if _failed(s, each):
        return True
    if not each.runs or _precedes(s, each):
        return False
    if _awaits(s, each) or each.step >= 0:
        return True
    if each.phase is Phase.PAUSED:
        return False  # without traffic, until a person moves it: then it waits in its turn
    mine = (s.progress.phase_since, s.rollout.component.value)
    return (each.since, each.component.value) < mine


def _failed(s: Situation, each: Companion) -> bool:
    """The one that this waited for was rolled back: what came with it is not rolled out without it."""
    if each.phase is not Phase.ROLLED_BACK or each.reason is Reason.KNOWN_BAD or _precedes(s, each):
        return False
    if _awaits(s, each) or s.progress.reason is Reason.WAITING_FOR_COMPONENT:
        return True
    decided = Reason.COMPONENTS_TOGETHER.value in s.progress.warned
    return not decided and each.started_at < s.progress.started_at - TOGETHER


def _wait(s: Situation, each: Companion) -> Decision | None:
    me, other = s.rollout.candidate, f"the {each.component.value}'s {each.candidate}"
    if each.runs:
        message = f"{me} waits at 0 % until {other} is promoted: one component of {_service(s)} at a time"
    else:
        message = (
            f"{me} was released with {other}, which was rolled back, and waits at 0 % for a better "
            f"{each.component.value}; `autocanary promote {s.rollout.name}` lets it go on alone"
        )
    if s.progress.weight:
        return transitions.put_weight(s, _RULE, 0, Reason.WAITING_FOR_COMPONENT, message)
    if not s.candidate_ready:
        return None
    if not each.runs and Reason.WAITING_FOR_COMPONENT.value not in s.progress.warned:
        warning = transitions.warn(s, _RULE, Reason.WAITING_FOR_COMPONENT, message)
        return transitions.because(warning, Reason.WAITING_FOR_COMPONENT, message)
    return transitions.hold(s, _RULE, Reason.WAITING_FOR_COMPONENT, message)


def _set_aside(s: Situation, each: Companion) -> Decision:
    message = (
        f"{s.rollout.candidate} and the {each.component.value}'s {each.candidate} were released together and "
        f"no policy states which goes first (`after`): both stay at 0 % until "
        f"`autocanary resume {s.rollout.name}`, or the other's, says so"
    )
    return transitions.set_aside(s, _RULE, Reason.COMPONENTS_TOGETHER, message)


def _ungoverned(s: Situation, each: Companion) -> Decision | None:
    if Reason.UNGOVERNED_COMPONENT.value in s.progress.warned:
        return None
    message = (
        f"the {each.component.value} of {_service(s)} was changed as well, and no policy rolls it out: "
        "KServe gives its new revision the traffic as soon as it is ready, all of it where it has no "
        f"canaryTrafficPercent; a policy with component: {each.component.value} would stage it"
    )
    return transitions.warn(s, _RULE, Reason.UNGOVERNED_COMPONENT, message)


def _service(s: Situation) -> str:
    return f"{s.rollout.namespace}/{s.rollout.service}"
