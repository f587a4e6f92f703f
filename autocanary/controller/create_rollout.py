"""Record a rollout for a detected candidate, and intercept one that is not staged in the same call."""

from __future__ import annotations

from dataclasses import dataclass

from autocanary.controller.context import log_failure
from autocanary.decide.detection import RepairStable, StartRollout, is_spec_of_stable
from autocanary.errors import AlreadyExists, ClusterError, Conflict, NotLeader
from autocanary.model.frozen_copy import replace
from autocanary.model.observation import Observation
from autocanary.model.rollout import Rollout, rollout_name
from autocanary.ports import Cluster, Leadership, RolloutStore

__all__ = ["StartResult", "create_rollout", "repair_stable"]

_MAX_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class StartResult:
    """``rollout`` is as recorded, None when it could not be; ``error`` is what went wrong on the way."""

    rollout: Rollout | None
    error: Exception | None = None


def create_rollout(
    cluster: Cluster,
    store: RolloutStore,
    leadership: Leadership,
    start: StartRollout,
    observation: Observation,
) -> StartResult:
    """Record the rollout; when it must be intercepted, set the weight to 0 before the revision is ready.

    It is intercepted even if nothing could be recorded: a later detection adopts the candidate that is then staged
    at 0. An interception that fails is repeated by the planner from the record.
    """
    if not leadership.is_leader():
        return StartResult(None, NotLeader("leadership was lost before the rollout was recorded"))
    stored, error = _create(store, _with_stable_spec(cluster, start.rollout, observation))
    if start.intercept and (stored is None or not stored.is_final):
        intercept_error = _intercept(cluster, leadership, observation)
        error = error if error is not None else intercept_error
    return StartResult(stored, error)


def repair_stable(
    cluster: Cluster,
    store: RolloutStore,
    leadership: Leadership,
    found: RepairStable,
    observation: Observation,
) -> StartResult:
    """Put stable's spec back without a weight; recorded first, so that users are notified whatever happens."""
    if not leadership.is_leader():
        return StartResult(None, NotLeader("leadership was lost before stable could be put back"))
    stored, error = found.rollout, None
    try:
        stored = store.update_status(found.rollout)
    except Exception as last_error:  # noqa: BLE001 - the traffic is on the wrong revision: that comes first
        error = last_error
    try:
        if found.spec is not None:
            cluster.restore(observation, found.spec, None)
    except Exception as last_error:  # noqa: BLE001 - whatever it is, a later evaluation tries it again
        error = last_error
    return StartResult(stored, error)


def _create(store: RolloutStore, rollout: Rollout) -> tuple[Rollout | None, Exception | None]:
    desired = rollout
    last_error: Exception | None = None
    for _ in range(_MAX_ATTEMPTS):
        try:
            return store.create(desired), None
        except AlreadyExists as error:
            last_error = error
        except Exception as error:  # noqa: BLE001 - whatever it is, the candidate is still to be intercepted
            return None, error
        try:
            existing = store.read(desired.namespace, desired.name)
        except (ClusterError, NotLeader) as error:
            return None, error
        if existing is None:
            continue  # it has gone in between, or was never there
        if _is_same_candidate(existing, desired):
            return _complete_record(store, desired, existing)
        # Of a service that was deleted and created again, whose revisions have the same names; or a namesake
        # by chance: the transformer of `a` and the predictor of `a-transformer`.
        attempt = desired.attempt + 1
        desired = replace(desired, attempt=attempt, name=rollout_name(desired.service, desired.candidate, attempt))
    return None, last_error


def _with_stable_spec(cluster: Cluster, rollout: Rollout, observation: Observation) -> Rollout:
    """With stable's spec from an earlier version of the service, where this process has not seen it itself.

    After a restart, or in the first seconds of a service, nothing else says what stable was made from.
    """
    if rollout.stable_spec is not None or rollout.is_final or observation.default_endpoint is not None:
        return rollout
    try:
        earlier = cluster.earlier_version(observation)
    except Exception as error:  # noqa: BLE001 - the rollout starts all the same
        log_failure("earlier_version_unknown", observation.key, error)
        return rollout
    if earlier is None or not is_spec_of_stable(earlier, rollout.stable):
        return rollout
    found = earlier.observation
    return replace(rollout, stable_spec=found.spec, stable_digest=found.spec_digest)


def _is_same_candidate(existing: Rollout, desired: Rollout) -> bool:
    mine = (existing.service_uid, existing.component, existing.candidate)
    return mine == (desired.service_uid, desired.component, desired.candidate)


def _complete_record(
    store: RolloutStore, desired: Rollout, existing: Rollout
) -> tuple[Rollout | None, Exception | None]:
    """An earlier create whose answer was lost, or which did not come to write the status."""
    if existing.has_status:
        return existing, None
    try:
        # With the specs that the object holds: after a restart ``desired`` may not know stable's spec.
        return store.update_status(replace(existing, progress=desired.progress)), None
    except (ClusterError, NotLeader) as error:
        return None, error


def _intercept(cluster: Cluster, leadership: Leadership, observation: Observation) -> Exception | None:
    try:
        if not leadership.is_leader():
            return NotLeader("leadership was lost before the weight was set")
        try:
            cluster.set_weight(observation, 0)
        except Conflict:
            # KServe writes status all the time while a revision starts; what matters is unchanged.
            fresh = cluster.refresh(observation.key)
            if fresh is None or fresh.uid != observation.uid or fresh.created != observation.created:
                return None
            if fresh.rolled_out == fresh.created:
                return None  # too late: it has all the traffic, and stable's pods are gone
            if fresh.weight is None or fresh.weight >= 100:
                cluster.set_weight(fresh, 0)
    except Exception as error:  # noqa: BLE001 - what was recorded must be adopted all the same
        return error
    return None
