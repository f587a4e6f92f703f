"""What starts a rollout: a service whose newest revision is not the one that has been rolled out."""

from __future__ import annotations

from collections.abc import Sequence

from autocanary.decide.detection.findings import (
    NoAction,
    Refusal,
    RepairStable,
    StartRollout,
    new_rollout,
    with_first_state,
)
from autocanary.decide.detection.known_bad import block_known_bad
from autocanary.decide.detection.missed_release import detect_missed_release
from autocanary.decide.detection.repair_stable import detect_wrong_stable
from autocanary.decide.detection.rolled_back import is_restored_stable, release_over_rolled_back, restore_removed_weight
from autocanary.decide.detection.stable_revision import UNCHANGED_SECONDS, StableRevisionTracker, current_rollouts
from autocanary.model.observation import Observation, unsupported_mode_reason
from autocanary.model.policy import OnUnstaged, Policy
from autocanary.model.progress import Phase
from autocanary.model.reason import Reason
from autocanary.model.rollout import Rollout

__all__ = ["detect"]


def detect(
    observation: Observation,
    policy: Policy,
    history: Sequence[Rollout],
    tracker: StableRevisionTracker | None,
    now: float,
) -> NoAction | Refusal | StartRollout | RepairStable:
    """Whether a rollout starts. ``history``: this service's rollouts; ``tracker``: from before this observation."""
    if observation.deleting or observation.stopped:
        return NoAction()
    mode = unsupported_mode_reason(observation)
    if mode:
        return Refusal(Reason.UNSUPPORTED_DEPLOYMENT_MODE, mode)
    if not observation.created or not observation.rolled_out:
        return NoAction()
    current = current_rollouts(history, observation, tracker.history_void_before if tracker is not None else 0.0)
    if observation.default_endpoint is None:
        if is_restored_stable(observation, current):
            return NoAction()
        unlearned = new_rollout(observation, policy, history, None, now)
        restored = restore_removed_weight(observation, unlearned, policy, current, now)
        if restored is not None:
            return StartRollout(restored, intercept=True)
    if observation.created == observation.rolled_out:
        return detect_missed_release(observation, policy, history, current, tracker, now)
    repair = detect_wrong_stable(observation, current, tracker, now)
    if repair is not None:
        return repair
    if _is_known(observation, current, tracker, now):
        return NoAction()  # running, or finished: a failed candidate stays out until a user retries it
    if observation.auto_update_disabled:
        return Refusal(
            Reason.AUTO_UPDATE_DISABLED,
            f"{observation.key} has serving.kserve.io/disable-auto-update, so KServe ignores every weight; "
            "remove the annotation to roll out",
        )
    lost_stable = any(past.candidate == observation.created and _lost_its_stable(past) for past in current)
    unstaged = (observation.weight is None or observation.weight >= 100) and not lost_stable
    if unstaged and policy.on_unstaged is OnUnstaged.IGNORE:
        return NoAction()
    known = tracker if tracker is not None and tracker.stable == observation.rolled_out else None
    if known is not None and known.digest == observation.spec_digest:
        known = None  # not stable's spec: it could only put the candidate back
    rollout = new_rollout(observation, policy, history, known, now)
    blocked = block_known_bad(observation, rollout, current, now)
    if blocked is not None:
        return StartRollout(blocked, intercept=unstaged)
    released = release_over_rolled_back(observation, rollout, current, now) if unstaged else None
    if released is not None:
        return StartRollout(released)
    reason = Reason.INTERCEPTED_UNSTAGED if unstaged else Reason.ROLLOUT_STARTED
    weight = 0 if unstaged else observation.weight or 0
    how = (
        "it was applied without a weight and is held at 0 % until it is ready"
        if unstaged
        else f"it was applied at {weight} %"
    )
    message = f"{observation.created} will replace {observation.rolled_out}: {how}; policy {policy.name}"
    started = with_first_state(rollout, observation, Phase.STAGING, reason, message, now, weight=weight)
    return StartRollout(started, intercept=unstaged)


def _is_known(
    observation: Observation, current: Sequence[Rollout], tracker: StableRevisionTracker | None, now: float
) -> bool:
    """Whether the rollout store has this very candidate. Not if only the stable it was compared with has gone.

    A known name with another spec may be a name that came again, or a status that lags behind the spec: it
    is new only after the spec was unchanged for longer than a status lags.
    """
    named = [past for past in current if past.candidate == observation.created]
    same_candidate = [past for past in named if observation.matches_spec(past.candidate_digest)]
    newest = max(same_candidate, key=lambda past: past.attempt, default=None)
    if newest is not None:
        return not (_lost_its_stable(newest) and newest.stable != observation.rolled_out)
    if not named:
        return False
    unchanged = tracker is not None and tracker.observed_digest == observation.spec_digest
    return not (unchanged and tracker is not None and now - tracker.observed_since >= UNCHANGED_SECONDS)


def _lost_its_stable(past: Rollout) -> bool:
    return past.progress.reason is Reason.STABLE_CHANGED
