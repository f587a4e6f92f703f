"""From a discovered candidate to a recorded rollout; an unstaged one is caught in the same breath."""

from __future__ import annotations

from dataclasses import dataclass

from autocanary.decide.detection import Mend, Start
from autocanary.errors import AlreadyExists, ClusterError, Conflict, NotLeader
from autocanary.model.observation import Observation
from autocanary.model.rollout import Rollout, rollout_name
from autocanary.ports import Cluster, Leadership, Ledger

__all__ = ["Started", "begin", "mend"]

_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Started:
    """``rollout`` is as recorded, None when it could not be; ``error`` is what went wrong on the way."""

    rollout: Rollout | None
    error: Exception | None = None


def begin(
    cluster: Cluster, ledger: Ledger, leadership: Leadership, start: Start, seen: Observation
) -> Started:
    """Record the rollout; when it has to be caught, set the weight to 0 before the revision is ready.

    The catch is made even if nothing could be recorded: what it leaves behind, a candidate staged at 0, is
    adopted by a later look. A catch that fails is repeated by the planner from the record.
    """
    if not leadership.is_leader():
        return Started(None, NotLeader("leadership was lost before the rollout was recorded"))
    recorded, error = _create(ledger, start.rollout)
    if start.catch and (recorded is None or not recorded.is_final):
        caught = _catch(cluster, leadership, seen)
        error = error if error is not None else caught
    return Started(recorded, error)


def mend(cluster: Cluster, ledger: Ledger, leadership: Leadership, found: Mend, seen: Observation) -> Started:
    """Put stable's spec back without a weight; recorded first, so that people hear of it whatever happens."""
    if not leadership.is_leader():
        return Started(None, NotLeader("leadership was lost before stable could be put back"))
    recorded, error = found.rollout, None
    try:
        recorded = ledger.record(found.rollout)
    except Exception as fault:  # noqa: BLE001 - the traffic is on the wrong revision: that comes first
        error = fault
    try:
        if found.spec is not None:
            cluster.restore(seen, found.spec, None)
    except Exception as fault:  # noqa: BLE001 - whatever it is, it is tried again at a later look
        error = fault
    return Started(recorded, error)


def _create(ledger: Ledger, rollout: Rollout) -> tuple[Rollout | None, Exception | None]:
    wanted = rollout
    fault: Exception | None = None
    for _ in range(_ATTEMPTS):
        try:
            return ledger.create(wanted), None
        except AlreadyExists as error:
            fault = error
        except Exception as error:  # noqa: BLE001 - whatever it is, the catch is still to be made
            return None, error
        try:
            present = ledger.read(wanted.namespace, wanted.name)
        except (ClusterError, NotLeader) as error:
            return None, error
        if present is None:
            continue  # it has gone in between, or was never there
        if _is_about(present, wanted):
            return _finish(ledger, wanted, present)
        # Of a service that was deleted and created anew, whose revisions have the same names; or a namesake
        # by chance: the transformer of `a` and the predictor of `a-transformer`.
        attempt = wanted.attempt + 1
        wanted = wanted.but(attempt=attempt, name=rollout_name(wanted.service, wanted.candidate, attempt))
    return None, fault


def _is_about(present: Rollout, wanted: Rollout) -> bool:
    mine = (present.service_uid, present.component, present.candidate)
    return mine == (wanted.service_uid, wanted.component, wanted.candidate)


def _finish(ledger: Ledger, wanted: Rollout, present: Rollout) -> tuple[Rollout | None, Exception | None]:
    """An earlier create whose answer was lost, or which did not come to write the status."""
    if present.has_status:
        return present, None
    try:
        made = wanted.but(uid=present.uid, resource_version=present.resource_version)
        return ledger.record(made), None
    except (ClusterError, NotLeader) as error:
        return None, error


def _catch(cluster: Cluster, leadership: Leadership, seen: Observation) -> Exception | None:
    try:
        if not leadership.is_leader():
            return NotLeader("leadership was lost before the weight was set")
        try:
            cluster.set_weight(seen, 0)
        except Conflict:
            # KServe writes status all the time while a revision starts; what matters is unchanged.
            fresh = cluster.refresh(seen.key)
            if fresh is None or fresh.uid != seen.uid or fresh.created != seen.created:
                return None
            if fresh.rolled_out == fresh.created:
                return None  # too late: it has all the traffic, and stable's pods are gone
            if fresh.weight is None or fresh.weight >= 100:
                cluster.set_weight(fresh, 0)
    except Exception as error:  # noqa: BLE001 - what was recorded must be taken up all the same
        return error
    return None
