"""KServe gave stable's share away with no rollout running that could notice: what to do about it."""

from __future__ import annotations

from collections.abc import Sequence

from autocanary.decide.detection.findings import Mend, Refusal
from autocanary.decide.detection.stable_revision import SETTLED_AFTER, Memory
from autocanary.decide.outbox import telling
from autocanary.model.decision import Event
from autocanary.model.observation import Observation
from autocanary.model.progress import Phase
from autocanary.model.reason import Reason
from autocanary.model.rollout import Rollout
from autocanary.model.time_format import epoch

__all__ = ["mending"]

TOLD_EVERY = 600.0
"""Seconds between two messages about one spec that comes again and again."""


def mending(
    seen: Observation, own: Sequence[Rollout], memory: Memory | None, now: float
) -> Mend | Refusal | None:
    """The grand-previous trap: a changed spec that made no revision, with a weight, moves stable back.

    Told from a person's rollback after the promotion by the spec, which is stable's then, and by what was
    stable at the look before. A process that has seen no look before goes on with what the ledger says was
    begun; of what it does not say, a person is told.
    """
    if seen.beside is not None or seen.weight is None or seen.weight >= 100 or memory is None:
        return None
    if memory.uid != seen.uid or seen.rolled_out == seen.created or not seen.spec_digest:
        return None
    past = max(
        (each for each in own if each.candidate == seen.created and each.is_final),
        key=lambda each: each.attempt,
        default=None,
    )
    noted = f"{Reason.WRONG_STABLE.value}/{seen.spec_digest}"
    message = (
        f"KServe gave the share of {seen.created} to {seen.rolled_out}: the spec was changed and no revision "
        f"came of it, with canaryTrafficPercent at {seen.weight}"
    )
    if memory.stable != seen.created:
        return _mend_begun(seen, past, noted, message, now)
    if seen.spec_digest == memory.digest:
        return None
    if memory.maybe == seen.spec_digest and now - memory.maybe_since >= SETTLED_AFTER:
        # The spec stood with all traffic on its revision before the weight came: that may be a person's wish.
        return _only_told(past, noted, f"{message}; unless that is meant, {_BY_HAND}", now)
    if past is None or memory.spec is None:
        return _only_told(past, noted, f"{message}; {_BY_HAND}", now)
    text = f"{message}; the spec of {seen.created} is put back without a weight: release anew when it works"
    return Mend(_told(past, noted, text, now) or past, memory.spec)


_BY_HAND = "put stable's spec back without the field"


def _mend_begun(
    seen: Observation, past: Rollout | None, noted: str, message: str, now: float
) -> Mend | Refusal | None:
    """What to go on with when this process did not see what was stable before."""
    if past is None or past.progress.phase is not Phase.PROMOTED or past.stable != seen.rolled_out:
        return None
    if noted in past.progress.warned and past.candidate_spec is not None:
        return Mend(past, past.candidate_spec)
    if past.candidate_digest in ("", seen.spec_digest):
        return None  # a person went back to the revision before
    return _only_told(past, noted, f"{message}; unless that is meant, {_BY_HAND}", now)


def _only_told(past: Rollout | None, noted: str, message: str, now: float) -> Mend | Refusal:
    """Nothing is put back; people hear of it with the rollout that it undid, if there was one."""
    told = _told(past, f"{noted}/told", message, now) if past is not None else None
    return Mend(told, None) if told is not None else Refusal(Reason.WRONG_STABLE, message)


def _told(past: Rollout, noted: str, message: str, now: float) -> Rollout | None:
    """``past`` with people told; None when they have been lately: somebody may do it again and again."""
    known = past.progress.warned
    times = [
        epoch(each["time"]) for each in past.progress.decisions if each["reason"] == Reason.WRONG_STABLE.value
    ]
    if noted in known and any(at is not None and now - at < TOLD_EVERY for at in times):
        return None
    warning = past.progress.but(reason=Reason.WRONG_STABLE, message=message)
    told = telling(past, warning, Event.WARNING, now).but(
        reason=past.progress.reason, message=past.progress.message
    )
    return past.but(progress=told if noted in known else told.but(warned=(*known, noted)))
