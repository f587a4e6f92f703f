"""What starts a rollout: a service whose newest revision is not the one that has been rolled out."""

from __future__ import annotations

from collections.abc import Sequence

from autocanary.decide.detection.findings import Mend, Nothing, Refusal, Start, born, new_rollout
from autocanary.decide.detection.known_bad import kept_out
from autocanary.decide.detection.missed_release import missed
from autocanary.decide.detection.repair_stable import mending
from autocanary.decide.detection.stable_revision import SETTLED_AFTER, Memory, in_force
from autocanary.decide.outbox import telling
from autocanary.model.decision import Event
from autocanary.model.observation import Observation, unsupported
from autocanary.model.policy import OnUnstaged, Policy
from autocanary.model.progress import Phase
from autocanary.model.reason import Reason
from autocanary.model.rollout import Rollout

__all__ = ["discover", "retried"]


def discover(
    seen: Observation,
    policy: Policy,
    history: Sequence[Rollout],
    memory: Memory | None,
    now: float,
) -> Nothing | Refusal | Start | Mend:
    """Whether a rollout starts. ``history``: this service's rollouts; ``memory``: from before this look."""
    if seen.deleting or seen.stopped:
        return Nothing()
    mode = unsupported(seen)
    if mode:
        return Refusal(Reason.UNSUPPORTED_DEPLOYMENT_MODE, mode)
    if not seen.created or not seen.rolled_out:
        return Nothing()
    own = in_force(history, seen, memory.void_before if memory is not None else 0.0)
    if seen.created == seen.rolled_out:
        return missed(seen, policy, history, own, memory, now)
    mend = mending(seen, own, memory, now)
    if mend is not None:
        return mend
    if _is_known(seen, own, memory, now):
        return Nothing()  # running, or finished: a failed candidate stays out until a person retries
    if seen.auto_update_disabled:
        return Refusal(
            Reason.AUTO_UPDATE_DISABLED,
            f"{seen.key} has serving.kserve.io/disable-auto-update, so KServe ignores every weight; "
            "remove the annotation to roll out",
        )
    taken_up = any(past.candidate == seen.created and _lost_its_stable(past) for past in own)
    unstaged = (seen.weight is None or seen.weight >= 100) and not taken_up
    if unstaged and policy.on_unstaged is OnUnstaged.IGNORE:
        return Nothing()
    known = memory if memory is not None and memory.stable == seen.rolled_out else None
    if known is not None and known.digest == seen.spec_digest:
        known = None  # not stable's spec: it could only put the candidate back
    rollout = new_rollout(seen, policy, history, known, now)
    stays_out = kept_out(seen, rollout, own, now)
    if stays_out is not None:
        return Start(stays_out, catch=unstaged)
    reason = Reason.CAUGHT_UNSTAGED if unstaged else Reason.ROLLOUT_STARTED
    weight = 0 if unstaged else seen.weight or 0
    how = (
        "it was applied without a weight and is held at 0 % until it is ready"
        if unstaged
        else f"it was applied at {weight} %"
    )
    message = f"{seen.created} is to replace {seen.rolled_out}: {how}; policy {policy.name}"
    begun = born(rollout, seen, Phase.STAGING, reason, message, now, weight=weight)
    return Start(_with_word_of_a_bad_stable(begun, own, now), catch=unstaged)


def _with_word_of_a_bad_stable(begun: Rollout, own: Sequence[Rollout], now: float) -> Rollout:
    """A release without the field over a rolled-back candidate makes KServe roll that out first: told.

    Not undone, for the way back would take the release with it, which is probably the remedy.
    """
    of_it = [past for past in own if past.candidate == begun.stable]
    last = max(of_it, key=lambda past: past.attempt, default=None)
    if last is None or last.progress.phase is not Phase.ROLLED_BACK:
        return begun
    message = (
        f"{begun.stable} was rolled back ({last.progress.reason.value}), and is stable for KServe: it has "
        f"the traffic until {begun.candidate}, applied without a weight, takes over"
    )
    warning = begun.progress.but(reason=Reason.WRONG_STABLE, message=message)
    told = telling(begun, warning, Event.WARNING, now).but(
        reason=begun.progress.reason,
        message=begun.progress.message,
        warned=(*begun.progress.warned, Reason.WRONG_STABLE.value),
    )
    return begun.but(progress=told)


def retried(
    past: Rollout, seen: Observation, policy: Policy, history: Sequence[Rollout], now: float
) -> Start:
    """A new attempt at a candidate that was rolled back; it starts staged at the weight it was left at.

    The caller has made sure that the candidate is still the newest revision and stable still stable.
    """
    rollout = new_rollout(seen, policy, history, None, now).but(
        stable_spec=past.stable_spec, stable_digest=past.stable_digest
    )
    unstaged = seen.weight is None or seen.weight >= 100
    message = f"{seen.created} is tried again, attempt {rollout.attempt}; policy {policy.name}"
    weight = 0 if unstaged else seen.weight
    again = born(rollout, seen, Phase.STAGING, Reason.RETRIED_BY_USER, message, now, weight=weight)
    return Start(again, catch=unstaged)


def _is_known(seen: Observation, own: Sequence[Rollout], memory: Memory | None, now: float) -> bool:
    """Whether the ledger has this very candidate. Not if only the stable it was held against has gone.

    A known name with another spec may be a name that came again, or a status that lags behind the spec: it
    is new only after the spec has stood for longer than a status lags.
    """
    named = [past for past in own if past.candidate == seen.created]
    of_it = [past for past in named if seen.is_made_of(past.candidate_digest)]
    newest = max(of_it, key=lambda past: past.attempt, default=None)
    if newest is not None:
        return not (_lost_its_stable(newest) and newest.stable != seen.rolled_out)
    if not named:
        return False
    stood = memory is not None and memory.maybe == seen.spec_digest
    return not (stood and memory is not None and now - memory.maybe_since >= SETTLED_AFTER)


def _lost_its_stable(past: Rollout) -> bool:
    return past.progress.reason is Reason.STABLE_CHANGED
