"""What earlier observations of a service taught: no document says what stable was made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autocanary.model.frozen_copy import replace
from autocanary.model.observation import (
    ConditionStatus,
    DefaultEndpoint,
    EarlierVersion,
    Observation,
    has_lower_number,
)
from autocanary.model.reason import Reason
from autocanary.model.rollout import Rollout

__all__ = [
    "UNCHANGED_SECONDS",
    "StableRevisionTracker",
    "current_rollouts",
    "is_spec_of_stable",
    "revisions_renumbered",
    "track_stable_revision",
]

_RENUMBERED_REASONS = (Reason.SERVICE_STOPPED, Reason.SERVICE_REPLACED)

UNCHANGED_SECONDS = 10.0
"""Seconds for which a service must be seen unchanged and at rest before its spec is taken for stable's.

After a spec was edited the status is the complete old one for up to 6 s (measured), so that the new spec
looks like the one that the old revision was made from.
"""

BEHIND_SECONDS = 120.0
"""The same while ``observedGeneration`` is lower than ``generation``: a busy KServe was 21 s late (measured).

The generations are no proof, so the time is bounded: KServe copies the Knative Service's generation, which does not
move when the field is removed at 100 %, and then stays behind until the next change.
"""


@dataclass(frozen=True, slots=True)
class StableRevisionTracker:
    """What earlier observations of a service taught: its stable revision, and the spec that stable was made from.

    ``spec`` is None until it is certain; ``observed_digest`` is the digest that has been seen at rest since
    ``observed_since``: not always that of ``spec``, for a spec can be changed without a new revision.
    ``history_void_before`` is when KServe last knew no revision at all (stopped, created again): revisions are
    numbered from 00001 again, so older rollouts of the same names were about others.
    """

    uid: str
    stable: str
    spec: Mapping[str, Any] | None = None
    digest: str = ""
    observed_digest: str = ""
    observed_since: float = 0.0
    history_void_before: float = 0.0

    @property
    def knows_spec(self) -> bool:
        return self.spec is not None

    def needs_evaluation(self, now: float) -> bool:
        """Whether another observation, a little later, will teach more although nothing changes."""
        return bool(self.observed_digest) and (not self.knows_spec or now - self.observed_since < UNCHANGED_SECONDS)


def track_stable_revision(
    tracker: StableRevisionTracker | None, observation: Observation, history: Sequence[Rollout], now: float
) -> StableRevisionTracker | None:
    """What to remember after this observation. A spec that is known for a revision is not learned again."""
    if not observation.rolled_out:
        return StableRevisionTracker(observation.uid, "", history_void_before=now)
    if observation.default_endpoint is not None:
        return _track_default_endpoint(tracker, observation, observation.default_endpoint, now)
    void = tracker.history_void_before if tracker is not None and tracker.uid == observation.uid else 0.0
    history = current_rollouts(history, observation, void)
    same = tracker is not None and tracker.uid == observation.uid and tracker.stable == observation.rolled_out
    if tracker is not None and same and tracker.knows_spec:
        other = observation.spec_digest if observation.spec_digest != tracker.digest else ""
        if not observation.created == observation.rolled_out == observation.ready or tracker.observed_digest == other:
            return tracker
        return replace(tracker, observed_digest=other, observed_since=now)
    known = StableRevisionTracker(observation.uid, observation.rolled_out, history_void_before=void)
    for past in history:
        if past.candidate == observation.rolled_out and past.candidate_spec is not None:
            return replace(known, spec=past.candidate_spec, digest=past.candidate_digest)
        if past.stable == observation.rolled_out and past.stable_spec is not None:
            return replace(known, spec=past.stable_spec, digest=past.stable_digest)
    if observation.generation == 1:  # there never was another spec
        return replace(known, spec=observation.spec, digest=observation.spec_digest)
    if not observation.created == observation.rolled_out == observation.ready:
        return tracker if same else known
    if tracker is None or not same or tracker.observed_digest != observation.spec_digest:
        return replace(known, observed_digest=observation.spec_digest, observed_since=now)
    if now - tracker.observed_since < (BEHIND_SECONDS if observation.is_status_behind else UNCHANGED_SECONDS):
        return tracker
    return replace(known, spec=observation.spec, digest=observation.spec_digest)


def is_spec_of_stable(earlier: EarlierVersion, stable: str) -> bool:
    """Whether the spec of an earlier version is certainly what the stable revision was made from.

    The service was at rest then, for long enough that no status could be of a spec before it; or there had never
    been another spec when stable was made.
    """
    before = earlier.observation
    if before.created != stable:
        return False
    if before.generation == 1:
        return True
    at_rest = before.created == before.rolled_out == before.ready
    needed = BEHIND_SECONDS if before.is_status_behind else UNCHANGED_SECONDS
    return at_rest and earlier.seconds is not None and earlier.seconds >= needed


def _track_default_endpoint(
    tracker: StableRevisionTracker | None,
    observation: Observation,
    default_endpoint: DefaultEndpoint,
    now: float,
) -> StableRevisionTracker:
    """Stable's spec is beside the candidate's; kept until a new stable serves, so that a rollout can record it.

    ``observed_digest`` is what the newest revision seems to be made of.
    """
    mine = tracker if tracker is not None and tracker.uid == observation.uid else None
    void = mine.history_void_before if mine is not None else 0.0
    same = mine is not None and mine.observed_digest == observation.spec_digest
    since = mine.observed_since if mine is not None and same else now
    if mine is not None and mine.knows_spec:
        waiting = mine.stable != observation.rolled_out and default_endpoint.ready is not ConditionStatus.TRUE
        if waiting or mine.stable == observation.rolled_out:
            return replace(mine, observed_digest=observation.spec_digest, observed_since=since)
    return StableRevisionTracker(
        observation.uid,
        observation.rolled_out,
        spec=default_endpoint.spec,
        digest=default_endpoint.digest,
        observed_digest=observation.spec_digest,
        observed_since=since,
        history_void_before=void,
    )


def current_rollouts(history: Sequence[Rollout], observation: Observation, history_void_before: float) -> list[Rollout]:
    """The rollouts of this very service whose revision names still mean what they meant, oldest first."""
    mine = [past for past in history if past.service_uid == observation.uid]
    stops = [past.progress.finished_at or 0.0 for past in mine if past.progress.reason in _RENUMBERED_REASONS]
    since = max([history_void_before, *stops])
    kept: list[Rollout] = []
    for past in sorted(mine, key=lambda each: each.progress.started_at):
        if past.progress.started_at <= since:
            continue
        if observation.default_endpoint is None and kept and has_lower_number(past.candidate, kept[-1].candidate):
            kept.clear()
        kept.append(past)
    return [] if revisions_renumbered(observation, kept) else kept


def revisions_renumbered(observation: Observation, history: Sequence[Rollout]) -> bool:
    """Whether the newest revision has an older number than the last that is known of this service."""
    mine = [past for past in history if past.service_uid == observation.uid]
    last = max(mine, key=lambda past: past.progress.started_at, default=None)
    return (
        last is not None
        and observation.default_endpoint is None
        and has_lower_number(observation.created, last.candidate)
    )
