"""Which rollout is meant by a name: that of an InferenceService, or of one of its CanaryRollouts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from autocanary.model.observation import Observation, ServiceKey
from autocanary.model.progress import Phase
from autocanary.model.rollout import Rollout

__all__ = ["current", "find", "is_of_now", "named", "newest", "rivals"]


def _age_order(rollout: Rollout) -> tuple[float, float, int, str]:
    return (rollout.created_at, rollout.progress.started_at, rollout.attempt, rollout.name)


def newest(rollouts: Iterable[Rollout]) -> Rollout | None:
    return max(rollouts, key=_age_order, default=None)


def named(rollouts: Iterable[Rollout], name: str) -> list[Rollout]:
    """The rollouts that a name may mean, the oldest first; a CanaryRollout's own name wins."""
    every = sorted(rollouts, key=_age_order)
    return [each for each in every if each.name == name] or [each for each in every if each.service == name]


def find(rollouts: Iterable[Rollout], name: str) -> Rollout | None:
    """The one that is running, else the newest."""
    meant = named(rollouts, name)
    return newest(each for each in meant if not each.is_final) or newest(meant)


def rivals(rollouts: Iterable[Rollout], name: str) -> Sequence[Rollout]:
    """The rollouts that a service's name means equally: several components of it are being rolled out."""
    running = [each for each in named(rollouts, name) if not each.is_final and each.name != name]
    return running if len({each.component for each in running}) > 1 else []


def current(rollouts: Iterable[Rollout]) -> Sequence[Rollout]:
    """For each service what runs now, or else what ran last, by namespace and name."""
    of: dict[ServiceKey, list[Rollout]] = {}
    for each in rollouts:
        of.setdefault(each.key, []).append(each)
    shown: list[Rollout] = []
    for _, group in sorted(of.items()):
        running = sorted((each for each in group if not each.is_final), key=_age_order)
        shown += running or [max(group, key=_age_order)]
    return shown


def is_of_now(rollout: Rollout, seen: Observation | None) -> bool:
    """Whether a rollout is about what its service is to run now, and not about something before that.

    Without a look at the service (it is gone, or may not be read) there is nothing newer to wait for.
    """
    if seen is None or seen.deleting or seen.stopped:
        return True
    if seen.uid != rollout.service_uid:
        return False
    if rollout.progress.restored and seen.spec_digest == rollout.stable_digest:
        return True  # the rollback put the stable spec back, which made a revision that is no release
    if seen.beside is not None and not seen.beside.has_candidate:
        return rollout.progress.phase is not Phase.SUPERSEDED
    if rollout.candidate_digest and seen.spec_digest != rollout.candidate_digest:
        return False  # told by the spec, for the status lags behind it
    return seen.created in (rollout.candidate, "")
