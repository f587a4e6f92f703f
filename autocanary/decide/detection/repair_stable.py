"""KServe gave stable's share away with no rollout running that could notice: what to do about it."""

from __future__ import annotations

from collections.abc import Sequence

from autocanary.decide.detection.findings import Refusal, RepairStable
from autocanary.decide.detection.stable_revision import UNCHANGED_SECONDS, StableRevisionTracker
from autocanary.decide.outbox import record_transition
from autocanary.model.decision import Event
from autocanary.model.frozen_copy import replace
from autocanary.model.observation import Observation
from autocanary.model.progress import Phase
from autocanary.model.reason import Reason
from autocanary.model.rollout import Rollout
from autocanary.model.time_format import parse_time

__all__ = ["detect_wrong_stable"]

NOTIFY_INTERVAL = 600.0
"""Seconds between two messages about one spec that comes again and again."""


def detect_wrong_stable(
    observation: Observation, current: Sequence[Rollout], tracker: StableRevisionTracker | None, now: float
) -> RepairStable | Refusal | None:
    """The grand-previous trap: a changed spec that made no revision, with a weight, moves stable back.

    A user's rollback after the promotion differs: the spec is stable's then. What was stable at the observation
    before shows it too. A process without an earlier observation continues what the rollout store says was begun,
    and only notifies of the rest.
    """
    if (
        observation.default_endpoint is not None
        or observation.weight is None
        or observation.weight >= 100
        or tracker is None
    ):
        return None
    if tracker.uid != observation.uid or observation.rolled_out == observation.created or not observation.spec_digest:
        return None
    past = max(
        (each for each in current if each.candidate == observation.created and each.is_final),
        key=lambda each: each.attempt,
        default=None,
    )
    warning_key = f"{Reason.WRONG_STABLE.value}/{observation.spec_digest}"
    message = (
        f"KServe gave the share of {observation.created} to "
        f"{observation.rolled_out}: the spec was changed and no revision "
        f"came of it, with canaryTrafficPercent at {observation.weight}"
    )
    if tracker.stable != observation.created:
        return _continue_repair(observation, past, warning_key, message, now)
    if observation.spec_digest == tracker.digest:
        return None
    if tracker.observed_digest == observation.spec_digest and now - tracker.observed_since >= UNCHANGED_SECONDS:
        # The spec had all traffic on its revision before the weight came: that may be intended.
        return _notify_only(past, warning_key, f"{message}; unless that is meant, {_BY_HAND}", now)
    if past is None or tracker.spec is None:
        return _notify_only(past, warning_key, f"{message}; {_BY_HAND}", now)
    text = f"{message}; the spec of {observation.created} is put back without a weight: release again when it works"
    return RepairStable(_with_warning(past, warning_key, text, now) or past, tracker.spec)


_BY_HAND = "put stable's spec back without the field"


def _continue_repair(
    observation: Observation, past: Rollout | None, warning_key: str, message: str, now: float
) -> RepairStable | Refusal | None:
    """What to go on with when this process did not see what was stable before."""
    if past is None or past.progress.phase is not Phase.PROMOTED or past.stable != observation.rolled_out:
        return None
    if warning_key in past.progress.outbox.warnings_sent and past.candidate_spec is not None:
        return RepairStable(past, past.candidate_spec)
    if past.candidate_digest in ("", observation.spec_digest):
        return None  # a user went back to the revision before
    return _notify_only(past, warning_key, f"{message}; unless that is meant, {_BY_HAND}", now)


def _notify_only(past: Rollout | None, warning_key: str, message: str, now: float) -> RepairStable | Refusal:
    """Nothing is put back; notified with the rollout that it undid, if there was one."""
    notified = _with_warning(past, f"{warning_key}/told", message, now) if past is not None else None
    return RepairStable(notified, None) if notified is not None else Refusal(Reason.WRONG_STABLE, message)


def _with_warning(past: Rollout, warning_key: str, message: str, now: float) -> Rollout | None:
    """``past`` with the notification; None when one was sent lately: a client may repeat it."""
    known = past.progress.outbox.warnings_sent
    times = [
        parse_time(each["time"]) for each in past.progress.decisions if each["reason"] == Reason.WRONG_STABLE.value
    ]
    if warning_key in known and any(at is not None and now - at < NOTIFY_INTERVAL for at in times):
        return None
    warning = replace(past.progress, reason=Reason.WRONG_STABLE, message=message)
    notified = replace(
        record_transition(past, warning, Event.WARNING, now), reason=past.progress.reason, message=past.progress.message
    )
    return replace(
        past,
        progress=notified
        if warning_key in known
        else replace(notified, outbox=replace(notified.outbox, warnings_sent=(*known, warning_key))),
    )
