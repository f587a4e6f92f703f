"""Revisions that took all traffic between two looks, without a rollout: said, not undone."""

from __future__ import annotations

from collections.abc import Sequence

from autocanary.decide.detection.findings import Nothing, Start, born, new_rollout
from autocanary.decide.detection.stable_revision import Memory, is_renumbered
from autocanary.model.observation import Beside, Observation, Trinary
from autocanary.model.policy import OnUnstaged, Policy
from autocanary.model.progress import Phase
from autocanary.model.reason import Reason
from autocanary.model.rollout import Rollout

__all__ = ["missed"]


def missed(
    seen: Observation,
    policy: Policy,
    history: Sequence[Rollout],
    own: Sequence[Rollout],
    memory: Memory | None,
    now: float,
) -> Nothing | Start:
    """A revision that took all traffic between two looks, without a rollout: said, not undone.

    Lowering the weight now would move the traffic to a revision whose pods are gone.
    """
    if seen.beside is not None and _is_no_news(seen, seen.beside, own):
        return Nothing()
    of_it = [past for past in own if past.candidate == seen.rolled_out]
    newest = max(of_it, key=lambda past: past.attempt, default=None)
    if newest is not None:
        return _promoted_elsewhere(newest, seen, policy, history, now)
    bad = _rolled_back_under_another_name(seen, history)
    if bad is not None:
        return _record_missed(seen, policy, history, bad.stable, _RENUMBERED.format(seen=seen, bad=bad), now)
    fresh = memory is None or memory.uid != seen.uid or memory.stable in (seen.rolled_out, "")
    known = any(seen.rolled_out == past.stable for past in own)
    same_content = memory is not None and memory.digest == seen.spec_digest
    if fresh or known or same_content or memory is None or policy.on_unstaged is OnUnstaged.IGNORE:
        return Nothing()
    message = f"{seen.rolled_out} took 100 % of the traffic before it could be caught, without analysis"
    return _record_missed(seen, policy, history, memory.stable, message, now)


_RENUMBERED = (
    "the revisions of {seen.key} are numbered anew (its Knative service was deleted, or it was stopped and "
    "resumed): {seen.rolled_out} is made of the spec that was rolled back as {bad.candidate} and has 100 % "
    "of the traffic"
)


def _rolled_back_under_another_name(seen: Observation, history: Sequence[Rollout]) -> Rollout | None:
    """The rollout whose rolled-back spec came back as the only one when the numbers began anew."""
    if not is_renumbered(seen, history):
        return None
    mine = [past for past in history if past.service_uid == seen.uid]
    of_it = [past for past in mine if past.candidate_digest == seen.spec_digest]
    last = max(of_it, key=lambda past: past.progress.started_at, default=None)
    return last if last is not None and last.progress.phase is Phase.ROLLED_BACK else None


def _is_no_news(seen: Observation, beside: Beside, own: Sequence[Rollout]) -> bool:
    """A candidate without a name yet, a stable that does not serve yet, or one made of what was promoted."""
    if beside.has_candidate or beside.ready is not Trinary.TRUE:
        return True
    promoted = {past.candidate_digest for past in own if past.progress.phase is Phase.PROMOTED}
    return seen.spec_digest in promoted


def _promoted_elsewhere(
    newest: Rollout, seen: Observation, policy: Policy, history: Sequence[Rollout], now: float
) -> Nothing | Start:
    """A candidate that was rolled back and has all the traffic now: somebody removed or raised the field."""
    if newest.progress.phase is not Phase.ROLLED_BACK:
        return Nothing()
    who = f" by {seen.writer}" if seen.writer else ""
    message = (
        f"{seen.rolled_out} was rolled back ({newest.progress.reason.value}) and has 100 % of the traffic "
        f"now: canaryTrafficPercent was removed or raised{who}"
    )
    return _record_missed(seen, policy, history, newest.stable, message, now)


def _record_missed(
    seen: Observation, policy: Policy, history: Sequence[Rollout], stable: str, message: str, now: float
) -> Start:
    rollout = new_rollout(seen, policy, history, None, now).but(stable=stable)
    return Start(born(rollout, seen, Phase.MISSED, Reason.MISSED_UNSTAGED, message, now, weight=seen.weight))
