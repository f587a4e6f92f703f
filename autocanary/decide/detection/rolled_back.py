"""After a rollback the bad revision stays out: a removed weight is put back, and it is never used as stable."""

from __future__ import annotations

from collections.abc import Sequence

from autocanary.decide.detection.findings import with_first_state
from autocanary.model.frozen_copy import replace
from autocanary.model.observation import Observation
from autocanary.model.policy import OnWeightRemoved, Policy
from autocanary.model.progress import Phase
from autocanary.model.reason import Reason
from autocanary.model.rollout import Rollout

__all__ = ["is_restored_stable", "release_over_rolled_back", "restore_removed_weight"]


def restore_removed_weight(
    observation: Observation, rollout: Rollout, policy: Policy, current: Sequence[Rollout], now: float
) -> Rollout | None:
    """A new attempt that rolls back at once: the field was removed over a candidate that had been rolled back.

    KServe promotes the candidate within seconds. While it names the old stable as the previous revision, 0 still
    gives that one the traffic again (measured 6 s after the promotion; its pods start cold).
    """
    if observation.weight is not None or policy.on_weight_removed is not OnWeightRemoved.RESTORE:
        return None
    past = _rolled_back_as(observation.created, current)
    if past is None or past.candidate_digest != observation.spec_digest:
        return None
    promoted = observation.rolled_out == observation.created and observation.previous == past.stable
    if not promoted and observation.rolled_out != past.stable:
        return None
    who = f" by {observation.writer}" if observation.writer else ""
    message = (
        f"canaryTrafficPercent was removed{who}, which gives {past.candidate} all the traffic; it was rolled back "
        f"({past.progress.reason.value}), so 0 is put back for {past.stable}. Revert the commit, or release a fix"
    )
    attempt = replace(rollout, stable=past.stable, stable_spec=past.stable_spec, stable_digest=past.stable_digest)
    return with_first_state(attempt, observation, Phase.ROLLING_BACK, Reason.KNOWN_BAD, message, now)


def release_over_rolled_back(
    observation: Observation, rollout: Rollout, current: Sequence[Rollout], now: float
) -> Rollout | None:
    """A release without the field, seen when KServe has already promoted the rolled-back candidate.

    A ramp would leave most of the traffic on the revision that is known to be bad. The release goes to 100 % as
    KServe does it, and is analysed in the bake; the way back is the spec of the last good stable.
    """
    past = _rolled_back_as(observation.rolled_out, current)
    if past is None:
        return None
    message = (
        f"{past.candidate} was rolled back ({past.progress.reason.value}) and has all the traffic: a release without "
        f"canaryTrafficPercent promoted it. {rollout.candidate} replaces it at 100 % as soon as it is ready, without "
        f"steps, and is analysed then; on a failure the spec of {past.stable} is put back"
    )
    release = replace(rollout, stable_spec=past.stable_spec, stable_digest=past.stable_digest)
    started = with_first_state(release, observation, Phase.STAGING, Reason.ROLLOUT_STARTED, message, now, weight=100)
    return replace(
        started, progress=replace(started.progress, rollback=replace(started.progress.rollback, stable_is_bad=True))
    )


def is_restored_stable(observation: Observation, current: Sequence[Rollout]) -> bool:
    """Whether the newest revision is the one that a rollback made of stable's spec: it is no release."""
    last = max(current, key=lambda past: past.progress.started_at, default=None)
    return (
        last is not None
        and last.progress.phase is Phase.ROLLED_BACK
        and last.progress.rollback.repairing
        and observation.created != last.candidate
        and bool(last.stable_digest)
        and observation.spec_digest == last.stable_digest
    )


def _rolled_back_as(revision: str, current: Sequence[Rollout]) -> Rollout | None:
    newest = max((past for past in current if past.candidate == revision), key=lambda past: past.attempt, default=None)
    return newest if newest is not None and newest.progress.phase is Phase.ROLLED_BACK else None
