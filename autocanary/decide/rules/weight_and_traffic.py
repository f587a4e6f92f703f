"""Is the traffic where it should be? What makes a rollout dangerous; the way back is in ``rollback``."""

from __future__ import annotations

from dataclasses import replace

from autocanary.decide import transitions
from autocanary.decide.decision_input import (
    BY_FAILURE,
    BY_STEP,
    BY_USER,
    EFFECT_OVERDUE,
    REVISION_OVERDUE,
    STRAYED_AFTER,
    Situation,
)
from autocanary.decide.rules.analysis_result import failed
from autocanary.model.decision import Decision, Event
from autocanary.model.observation import Observation
from autocanary.model.policy import OnUnstaged, OnWeightRemoved
from autocanary.model.progress import Phase
from autocanary.model.reason import Reason
from autocanary.model.value_wording import duration

__all__ = ["newer_candidate", "strayed", "took_all_traffic", "weight_differs", "wrong_stable"]

OURS = "autocanary"
"""The field manager of our own writes. It writes 0 under a running rollout only to roll it back."""


def newer_candidate(s: Situation) -> Decision | None:
    """A newer revision takes this one's place; it must not inherit the weight."""
    seen = s.seen
    if seen is None or not seen.created:
        return None
    if seen.created == s.rollout.candidate and not _replaced_in_place(s, seen):
        return None
    if seen.created == s.rollout.stable:
        return None  # a status from before the candidate was made
    reverted = bool(s.rollout.stable_digest) and seen.spec_digest == s.rollout.stable_digest
    reason = Reason.REVERTED if reverted else Reason.NEW_REVISION
    what = "the spec was changed back to stable's" if reverted else "a newer revision was applied"
    message = f"{what}: {seen.created} takes the place of {s.rollout.candidate}"
    if seen.rolled_out == s.rollout.candidate and not s.at_last_step:
        message += ", which took 100 % of the traffic before it was judged and is stable now"
    unstaged = seen.weight is None or seen.weight >= 100
    write = seen.weight != 0 and not (unstaged and s.policy.on_unstaged is OnUnstaged.IGNORE)
    return transitions.end(s, "newer_candidate", Phase.SUPERSEDED, reason, message, weight=0, write=write)


def _replaced_in_place(s: Situation, seen: Observation) -> bool:
    """Taken out and put in again with another spec, under a name that came again; not a status that lags."""
    since = s.progress.spec_changed_at
    if since is None or seen.is_made_of(s.rollout.candidate_digest):
        return False
    return s.now - since >= REVISION_OVERDUE


def took_all_traffic(s: Situation) -> Decision | None:
    """The catch came too late: said, not undone, for stable's pods are gone by now."""
    seen = s.seen
    if seen is None or s.progress.step >= 0 or seen.rolled_out != s.rollout.candidate:
        return None
    if seen.weight is not None and seen.weight < 100:
        return None
    message = f"{s.rollout.candidate} took 100 % of the traffic before it could be caught, without analysis"
    return transitions.end(s, "took_all_traffic", Phase.MISSED, Reason.MISSED_UNSTAGED, message)


def wrong_stable(s: Situation) -> Decision | None:
    """KServe took the revision before stable for stable: repair at once, by spec and without a weight."""
    seen = s.seen
    if seen is None or not seen.rolled_out or seen.rolled_out in (s.rollout.stable, s.rollout.candidate):
        return None
    if seen.beside is not None:
        return None  # its owner's own doing: see stable_changed
    message = (
        f"KServe sends the stable share of {s.rollout.key} to {seen.rolled_out} instead of {s.rollout.stable}"
    )
    if s.rollout.stable_spec is None:
        if Reason.STABLE_SPEC_UNKNOWN.value in s.progress.warned:
            return None  # told; the candidate is judged on
        text = f"{message}, and the stable spec was never seen; put it back by hand and remove the weight"
        return transitions.warn(s, "wrong_stable", Reason.STABLE_SPEC_UNKNOWN, text)
    text = f"{message}; the stable spec is put back without a weight"
    return transitions.restore(s, "wrong_stable", None, Reason.WRONG_STABLE, text, Event.ROLLBACK)


def weight_differs(s: Situation) -> Decision | None:
    """The field is not what this rollout last asked for: not written yet, lost, or written by somebody."""
    seen, progress = s.seen, s.progress
    if seen is None or seen.weight == progress.weight:
        return None
    if progress.weight is None or (progress.weight == 100 and seen.weight is None):
        return None  # KServe treats an absent field as 100
    mine = progress.verified_at is None and s.acknowledged != progress.weight
    if mine and seen.weight == progress.from_weight:
        return failed(s) or _write_again(s)  # judged at the weight that it still has
    if seen.weight is None and s.policy.on_weight_removed is OnWeightRemoved.RESTORE:
        who = f" by {seen.writer}" if seen.writer else ""
        message = (
            f"canaryTrafficPercent was removed{who}, which would promote {s.rollout.candidate} unjudged; "
            f"put back at {progress.weight} %"
        )
        told = Reason.WEIGHT_LOST.value in progress.warned  # whoever removes it every minute is told once
        event = None if told else Event.EXTERNAL_CHANGE
        return transitions.put_weight(
            s, "weight_differs", progress.weight, Reason.WEIGHT_LOST, message, event
        )
    since = s.progress.spec_changed_at
    if since is not None and s.now - since < REVISION_OVERDUE:
        return transitions.unchanged(
            s, "weight_differs"
        )  # a release brought its own weight: see newer_candidate
    if seen.weight == 0 and seen.writer == OURS:
        message = (
            f"the weight of {s.rollout.key} is 0 by autocanary's own hand, and the record does not say why: "
            "a rollback was written whose record was lost; it is finished"
        )
        return transitions.roll_back(s, "weight_differs", Reason.ROLLBACK_UNRECORDED, message, asked=True)
    return external_change(s, seen)


def _write_again(s: Situation) -> Decision:
    """The weight does not get through: tried at every look, and told when that goes on.

    That has no deadline: an API server or a webhook that is away says nothing about the candidate.
    """
    again = transitions.write_again(s, "weight_differs")
    waited = s.now - (s.progress.step_started_at if s.progress.step_started_at is not None else s.now)
    if s.progress.phase is Phase.PAUSED or (waited <= EFFECT_OVERDUE and not s.unsupported):
        return again
    if s.unsupported:
        reason, message = Reason.CANARY_UNSUPPORTED, f"{s.progress.weight} % is refused: {s.unsupported}"
    else:
        message = f"{s.progress.weight} % could not be written for {duration(waited)}; tried again and again"
        reason = Reason.WAITING_FOR_EFFECT
    waiting = transitions.hold(s, "weight_differs", reason, message)
    return replace(waiting, move=again.move, weight=again.weight)


def external_change(s: Situation, seen: Observation) -> Decision:
    who = seen.writer or "somebody"
    made = (
        f"set canaryTrafficPercent from {s.progress.weight} to {seen.weight}"
        if seen.weight is not None
        else f"removed canaryTrafficPercent ({s.progress.weight} before), so {s.rollout.candidate} gets 100 %"
    )
    message = f"{who} {made}; paused, not fought"
    return transitions.pause(
        s,
        "weight_differs",
        f"client {who}" if who in (BY_USER, BY_STEP, BY_FAILURE) else who,
        Reason.EXTERNAL_CHANGE,
        message,
        weight=100 if seen.weight is None else seen.weight,
        from_weight=None,
        step_started_at=s.now,
        **transitions.UNSEEN,
    )


def strayed(s: Situation) -> Decision | None:
    """A weight that was in effect is so no longer, although the field stands: a person is told, once.

    Where KServe takes the candidate for stable (its bookkeeping was lost), the candidate has everything,
    whatever the weight: only stable's spec as a new revision gets out of that.
    """
    seen, since = s.seen, s.progress.strayed_since
    if seen is None or since is None or s.now - since < STRAYED_AFTER or s.progress.weight is None:
        return None
    shares = ", ".join(f"{revision} {share} %" for revision, share in sorted(seen.traffic.items()))
    message = f"{s.progress.weight} % was in effect, and for {duration(s.now - since)} is no longer: {shares}"
    lost = seen.beside is None and seen.rolled_out == s.rollout.candidate and s.progress.weight < 100
    if lost and s.rollout.stable_spec is not None:
        text = f"{message}; KServe takes {s.rollout.candidate} for stable: the stable spec is put back"
        return transitions.restore(s, "strayed", None, Reason.WRONG_STABLE, text, Event.ROLLBACK)
    if Reason.TRAFFIC_STRAYED.value in s.progress.warned:
        return None
    return transitions.warn(
        s, "strayed", Reason.TRAFFIC_STRAYED, f"{message}; look at the service's conditions"
    )
