"""Services whose spec holds stable beside the candidate: what their owners do to either, and settling.

Where stable lives on only as a revision (``Observation.beside`` is None), none of this applies.
"""

from __future__ import annotations

from dataclasses import replace

from autocanary.decide import transitions
from autocanary.decide.decision_input import Situation
from autocanary.model.decision import Decision
from autocanary.model.observation import Beside, Observation, Trinary, Unsettled
from autocanary.model.progress import Phase
from autocanary.model.reason import Reason
from autocanary.model.rollout import Verb
from autocanary.model.value_wording import duration

__all__ = ["settling", "stable_changed", "withdrawn"]


def settling(s: Situation) -> Decision | None:
    """The candidate has all the traffic and is made stable itself, by one write after the other.

    Which write is next is read from the service alone, so it does not matter where a crash came between;
    and none is made unless what stands in the candidate's place is what was judged.
    """
    seen = s.seen
    if s.progress.phase is not Phase.SETTLING or seen is None:
        return None
    if s.request is not None:
        return _asked(s, s.request.verb, s.request.id)
    if seen.beside is None:
        return _stable_now(s, seen)
    if seen.withdrawn:
        return _emptied(s, seen)
    if not _is_judged(s, seen):
        return _overtaken(s, seen.beside)
    if seen.weight != 100 or s.rollout.paused:
        return None  # somebody's weight, or somebody's pause: see the rules about these
    if seen.unsettled is Unsettled.ADOPT:
        return _adopt(s, seen.beside)
    if seen.unsettled is Unsettled.CLEAR and (_stable_is_new(s, seen) or s.progress.promote_all):
        return transitions.settle(s, "settling")
    return _waits(s, seen, seen.beside)


def _asked(s: Situation, verb: str, id_: str) -> Decision:
    if verb in (Verb.PROMOTE.value, Verb.PROMOTE_FULL.value):
        after = s.with_progress(s.progress.but(promote_all=True))
        text = "it is being made stable already; a new name of stable's revision is not waited for any more"
        return transitions.answer(transitions.unchanged(after, "settling"), id_, text)
    text = "it is promoted and being made stable; to go back, apply the former spec as a new candidate"
    return transitions.answer(transitions.unchanged(s, "settling"), id_, text)


def _is_judged(s: Situation, seen: Observation) -> bool:
    return seen.created == s.rollout.candidate and seen.is_made_of(s.rollout.candidate_digest)


def _stable_is_new(s: Situation, seen: Observation) -> bool:
    """Whether stable's revision is the one made of the candidate's spec; of an equal spec none is made."""
    return seen.rolled_out != s.rollout.stable or s.rollout.stable_digest == s.rollout.candidate_digest


def _adopt(s: Situation, beside: Beside) -> Decision | None:
    if beside.digest != s.rollout.stable_digest:
        return None  # not what the candidate was measured against: see stable_changed
    if not s.in_effect:
        return transitions.unchanged(s, "settling")
    again = transitions.settle(s, "settling")
    if not s.unsupported:
        return again
    warning = transitions.warn(s, "settling", Reason.CANARY_UNSUPPORTED, s.unsupported)
    return replace(warning, move=again.move)


def _emptied(s: Situation, seen: Observation) -> Decision | None:
    """The candidate's place is empty: by our own last write, or by somebody's hand."""
    if not seen.is_made_of(s.rollout.candidate_digest):
        return None  # see withdrawn
    if seen.unsettled is None:
        return _stable_now(s, seen)
    return _overdue(s, "the traffic to be on stable's side") or transitions.unchanged(s, "settling")


def _overtaken(s: Situation, beside: Beside) -> Decision | None:
    """Another candidate has been applied meanwhile; whether this one counts depends on how far it came."""
    if beside.digest != s.rollout.candidate_digest:
        return None  # see newer_candidate
    message = f"the spec of {s.rollout.candidate} is stable's; another candidate has been applied meanwhile"
    return transitions.end(s, "settling", Phase.PROMOTED, Reason.PROMOTED, message)


def _stable_now(s: Situation, seen: Observation) -> Decision:
    message = (
        f"{s.rollout.candidate} was promoted: stable is made of its spec and served by {seen.rolled_out}"
    )
    return transitions.end(s, "settling", Phase.PROMOTED, Reason.PROMOTED, message)


def _waits(s: Situation, seen: Observation, beside: Beside) -> Decision:
    if beside.ready is not Trinary.TRUE:
        what = f"stable's new revision to be ready{': ' + beside.failure if beside.failure else ''}"
    elif not _stable_is_new(s, seen):
        what = f"a revision of stable with the candidate's spec; it is still {seen.rolled_out}"
    else:
        what = "the traffic"
    late = _overdue(s, what)
    if late is not None:
        return late
    message = f"the candidate's spec is stable's; waiting for {what}"
    if message == s.progress.message:
        return transitions.unchanged(s, "settling")
    return transitions.unchanged(s.with_progress(s.progress.but(message=message)), "settling")


def _overdue(s: Situation, what: str) -> Decision | None:
    """Nothing is in danger, the candidate serves everything; but a person should look."""
    waited = s.now - s.progress.phase_since
    if waited <= s.policy.progress_deadline or Reason.PROGRESS_DEADLINE_EXCEEDED.value in s.progress.warned:
        return None
    message = (
        f"{s.rollout.candidate} has all the traffic, and cannot be made stable for {duration(waited)}: "
        f"waiting for {what}"
    )
    return transitions.warn(s, "settling", Reason.PROGRESS_DEADLINE_EXCEEDED, message)


def withdrawn(s: Situation) -> Decision | None:
    """Somebody took the candidate out of the spec: stable has all the traffic, and nothing is fought."""
    seen = s.seen
    if seen is None or not seen.withdrawn or s.progress.phase is Phase.ROLLING_BACK:
        return None
    rollout = s.rollout
    if rollout.candidate_digest != rollout.stable_digest and seen.spec_digest == rollout.candidate_digest:
        message = f"the spec of {rollout.candidate} was put into stable's place by hand"
        return transitions.end(s, "withdrawn", Phase.PROMOTED, Reason.PROMOTED_BY_USER, message)
    message = f"{rollout.candidate} was taken out of the spec of {rollout.key}; stable has all the traffic"
    return transitions.end(s, "withdrawn", Phase.SUPERSEDED, Reason.REVERTED, message)


def stable_changed(s: Situation) -> Decision | None:
    """Stable was replaced during the rollout: what was measured is about another comparison.

    The candidate is taken up anew, at the weight it has, as soon as the new stable serves; a person's pause
    is left alone.
    """
    seen = s.seen
    if seen is None or seen.beside is None or s.progress.phase is Phase.PAUSED:
        return None
    replaced = seen.rolled_out not in ("", s.rollout.stable, s.rollout.candidate)
    if not replaced or seen.beside.ready is not Trinary.TRUE:
        return None
    message = (
        f"stable is {seen.rolled_out} now instead of {s.rollout.stable}; {s.rollout.candidate} is judged anew"
    )
    return transitions.end(s, "stable_changed", Phase.SUPERSEDED, Reason.STABLE_CHANGED, message)
