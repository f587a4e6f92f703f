"""Record, then write: what a worker does for one decision. The only place that writes for a running rollout.

The intended weight is recorded before it is written: after a crash between the two, the next evaluation
distinguishes its own unfinished write from another client's. A rollback is written even when it could not be
recorded: taking traffic from a bad candidate must not wait for the rollout store.
"""

from __future__ import annotations

from dataclasses import dataclass

from autocanary.controller.adopted_record import check_record
from autocanary.errors import ClusterError, Conflict, NotFound, NotLeader, Refused
from autocanary.model.decision import Action, Decision
from autocanary.model.frozen_copy import replace
from autocanary.model.observation import Observation
from autocanary.model.progress import Progress
from autocanary.model.rollout import Rollout
from autocanary.ports import Cluster, Leadership, RolloutStore

__all__ = ["WriteResult", "record_and_write"]


@dataclass(frozen=True, slots=True)
class WriteResult:
    """The result of recording and writing one decision.

    ``rollout`` is as the rollout store holds it now (or as it was planned, when ``stored`` is False);
    ``stored`` whether the store has the planned progress; ``changed_by_other`` whether another client has
    written the status, so that the plan was made from an old state; ``deleted`` whether the store's object
    was deleted; ``error`` what stopped the record or the write. ``replaced_error`` is why another client's record,
    which was overwritten, could not be used; None where there was none.
    """

    rollout: Rollout
    stored: bool
    written: bool = False
    changed_by_other: bool = False
    deleted: bool = False
    error: Exception | None = None
    replaced_error: Exception | None = None


def record_and_write(
    cluster: Cluster,
    store: RolloutStore,
    leadership: Leadership,
    rollout: Rollout,
    stored_progress: Progress | None,
    observation: Observation | None,
    decision: Decision,
) -> WriteResult:
    """Record ``rollout`` (unless the rollout store holds its progress already) and make the decision's write.

    ``stored_progress`` is the progress that the store is known to hold.
    """
    if not leadership.is_leader():
        return WriteResult(rollout, False, error=NotLeader("leadership was lost before the write"))
    result = (
        WriteResult(rollout, True)
        if stored_progress is not None and stored_progress == rollout.progress
        else _record(store, rollout, stored_progress)
    )
    if result.changed_by_other or result.deleted or (result.error is not None and not decision.urgent):
        return result
    if decision.action is Action.NONE or observation is None:
        return result
    if not leadership.is_leader():
        return WriteResult(result.rollout, result.stored, error=NotLeader("leadership was lost before the write"))
    try:
        is_written = _write_with_retry(cluster, observation, rollout, decision)
    except (ClusterError, NotLeader) as error:
        return replace(result, error=error)
    return replace(result, written=is_written)


def _record(store: RolloutStore, rollout: Rollout, stored_progress: Progress | None) -> WriteResult:
    try:
        return WriteResult(store.update_status(rollout), True)
    except Conflict:
        return _record_after_conflict(store, rollout, stored_progress)
    except NotFound as error:
        return WriteResult(rollout, False, deleted=True, error=error)
    except (ClusterError, NotLeader) as error:
        return WriteResult(rollout, False, error=error)


def _record_after_conflict(store: RolloutStore, rollout: Rollout, stored_progress: Progress | None) -> WriteResult:
    """After a conflict: take over the user's new request, and overwrite no usable status of another client."""
    try:
        try:
            fresh = store.read(rollout.namespace, rollout.name)
        except Refused as error:
            is_new = stored_progress is not None  # otherwise the watch has shown it before, and it is logged
            return WriteResult(store.replace_status(rollout), True, replaced_error=error if is_new else None)
        if fresh is None or fresh.uid != rollout.uid:
            return WriteResult(rollout, False, deleted=True, error=NotFound(f"{rollout.name} was deleted"))
        is_foreign = stored_progress is not None and fresh.progress not in (stored_progress, rollout.progress)
        defect = _defect_of(fresh) if is_foreign else None
        if is_foreign and defect is None:
            return WriteResult(fresh, False, changed_by_other=True)
        merged = replace(fresh, progress=rollout.progress)
        return WriteResult(store.update_status(merged), True, replaced_error=defect)
    except (ClusterError, NotLeader) as error:
        return WriteResult(rollout, False, error=error)


def _defect_of(record: Rollout) -> Exception | None:
    """Why the record cannot be used; None where it can."""
    try:
        check_record(record)
    except Exception as error:  # noqa: BLE001 - whatever another client has written
        return error
    return None


def _write_with_retry(cluster: Cluster, observation: Observation, rollout: Rollout, decision: Decision) -> bool:
    """Whether the answer shows what was written; in a dry run it does not."""
    try:
        return _send_patch(cluster, observation, rollout, decision)
    except Conflict:
        fresh = cluster.refresh(observation.key)
        if fresh is None or not _is_same_for_decision(observation, fresh):
            raise
        if decision.action is Action.FINALIZE and fresh.promotion_pending is not observation.promotion_pending:
            return True  # it has moved on meanwhile; the next evaluation decides what follows
        return _send_patch(cluster, fresh, rollout, decision)


def _is_same_for_decision(before: Observation, after: Observation) -> bool:
    """Whether only things changed that the decision did not depend on: KServe writes status all along."""
    return (
        before.uid == after.uid
        and before.weight == after.weight
        and before.created == after.created
        and before.spec_digest == after.spec_digest
        and before.rolled_out == after.rolled_out
        and _kfserving_default_of(before) == _kfserving_default_of(after)
        and not after.deleting
        and not after.stopped
    )


def _kfserving_default_of(observation: Observation) -> tuple[str, bool] | None:
    """The default endpoint of the spec, where kfserving keeps the candidate beside it."""
    return (
        (observation.default_endpoint.digest, observation.default_endpoint.has_candidate)
        if observation.default_endpoint is not None
        else None
    )


def _is_restore_needed(fresh: Observation, rollout: Rollout, *, removes_candidate: bool) -> bool:
    """Whether the candidate still has traffic, or the revision that is stable for KServe is another one, or a bad one.

    ``removes_candidate``: not because of its traffic, but because it is to leave the spec.
    """
    if fresh.default_endpoint is not None:
        return not fresh.candidate_removed and (removes_candidate or fresh.traffic_percent(rollout.candidate) != 0)
    if rollout.progress.rollback.renumbered_revision:
        return fresh.created == rollout.progress.rollback.renumbered_revision
    if rollout.progress.rollback.stable_is_bad:
        return fresh.spec_digest != rollout.stable_digest
    return bool(fresh.traffic_percent(rollout.candidate)) or fresh.rolled_out != rollout.stable


def _send_patch(cluster: Cluster, observation: Observation, rollout: Rollout, decision: Decision) -> bool:
    if decision.action is Action.RESTORE:
        # The one write that replaces what a user wrote: never from an old cache.
        fresh = cluster.refresh(observation.key)
        if (
            fresh is None
            or not _is_same_for_decision(observation, fresh)
            or not _is_restore_needed(fresh, rollout, removes_candidate=decision.weight is None)
        ):
            return True
        if rollout.stable_spec is not None:
            cluster.restore(fresh, rollout.stable_spec, decision.weight)
        return True
    if decision.action is Action.FINALIZE:
        cluster.finalize(observation)
        return True
    weight = decision.weight if decision.weight is not None else 0
    return cluster.set_weight(observation, weight).weight == weight
