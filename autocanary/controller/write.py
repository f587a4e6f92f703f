"""Record, then act: what a worker does for one decision. The only place that writes for a running rollout.

The intended weight is recorded before it is written, so that after a crash between the two the next look
can tell its own unfinished write from somebody else's. A rollback is written even when it could not be
recorded: taking traffic from a bad candidate must not wait for the ledger.
"""

from __future__ import annotations

from dataclasses import dataclass

from autocanary.errors import ClusterError, Conflict, NotFound, NotLeader
from autocanary.model.decision import Decision, Move
from autocanary.model.observation import Observation
from autocanary.model.progress import Progress
from autocanary.model.rollout import Rollout
from autocanary.ports import Cluster, Leadership, Ledger

__all__ = ["Carried", "carry"]


@dataclass(frozen=True, slots=True)
class Carried:
    """What came of it.

    ``rollout`` is as the ledger holds it now (or as it was planned, when ``recorded`` is False);
    ``recorded`` whether the ledger has the planned progress; ``foreign`` whether somebody else has written
    the status, so that the plan was made from an old state; ``gone`` whether the ledger's object was
    deleted; ``error`` what stopped the record or the write.
    """

    rollout: Rollout
    recorded: bool
    wrote: bool = False
    foreign: bool = False
    gone: bool = False
    error: Exception | None = None


def carry(
    cluster: Cluster,
    ledger: Ledger,
    leadership: Leadership,
    rollout: Rollout,
    known: Progress | None,
    seen: Observation | None,
    decision: Decision,
) -> Carried:
    """Record ``rollout`` (unless the ledger holds its progress already) and make the decision's write.

    ``known`` is the progress that the ledger is known to hold.
    """
    if not leadership.is_leader():
        return Carried(rollout, False, error=NotLeader("leadership was lost before the write"))
    done = (
        Carried(rollout, True)
        if known is not None and known == rollout.progress
        else _record(ledger, rollout, known)
    )
    if done.foreign or done.gone or (done.error is not None and not decision.urgent):
        return done
    if decision.move is Move.NONE or seen is None:
        return done
    if not leadership.is_leader():
        return Carried(done.rollout, done.recorded, error=NotLeader("leadership was lost before the write"))
    try:
        arrived = _write(cluster, seen, rollout, decision)
    except (ClusterError, NotLeader) as error:
        return Carried(done.rollout, done.recorded, error=error)
    return Carried(done.rollout, done.recorded, wrote=arrived, error=done.error)


def _record(ledger: Ledger, rollout: Rollout, known: Progress | None) -> Carried:
    try:
        return Carried(ledger.record(rollout), True)
    except Conflict:
        return _record_again(ledger, rollout, known)
    except NotFound as error:
        return Carried(rollout, False, gone=True, error=error)
    except (ClusterError, NotLeader) as error:
        return Carried(rollout, False, error=error)


def _record_again(ledger: Ledger, rollout: Rollout, known: Progress | None) -> Carried:
    """After a conflict: a person's new wish is taken along, a foreign status is not overwritten."""
    try:
        fresh = ledger.read(rollout.namespace, rollout.name)
        if fresh is None or fresh.uid != rollout.uid:
            return Carried(rollout, False, gone=True, error=NotFound(f"{rollout.name} was deleted"))
        if known is not None and fresh.progress not in (known, rollout.progress):
            return Carried(fresh, False, foreign=True)
        merged = fresh.but(progress=rollout.progress)
        return Carried(ledger.record(merged), True)
    except (ClusterError, NotLeader) as error:
        return Carried(rollout, False, error=error)


def _write(cluster: Cluster, seen: Observation, rollout: Rollout, decision: Decision) -> bool:
    """Whether the answer shows what was written; in a dry run it does not."""
    try:
        return _send(cluster, seen, rollout, decision)
    except Conflict:
        fresh = cluster.refresh(seen.key)
        if fresh is None or not _same_ground(seen, fresh):
            raise
        if decision.move is Move.SETTLE and fresh.unsettled is not seen.unsettled:
            return True  # it has come further by itself; what is next is for the next look
        return _send(cluster, fresh, rollout, decision)


def _same_ground(before: Observation, after: Observation) -> bool:
    """Whether only things changed that the decision did not depend on: KServe writes status all along."""
    return (
        before.uid == after.uid
        and before.weight == after.weight
        and before.created == after.created
        and before.spec_digest == after.spec_digest
        and before.rolled_out == after.rolled_out
        and _stable_of(before) == _stable_of(after)
        and not after.deleting
        and not after.stopped
    )


def _stable_of(seen: Observation) -> tuple[str, bool] | None:
    """What stands in the spec beside the candidate, where that is its place."""
    return (seen.beside.digest, seen.beside.has_candidate) if seen.beside is not None else None


def _still_needed(fresh: Observation, rollout: Rollout, *, withdraws: bool) -> bool:
    """Whether the candidate still has traffic, or KServe still takes another revision for stable.

    ``withdraws``: not because of its traffic, but because it is to leave the spec.
    """
    if fresh.beside is not None:
        return not fresh.withdrawn and (withdraws or fresh.share(rollout.candidate) != 0)
    if rollout.progress.anew:
        return fresh.created == rollout.progress.anew
    return bool(fresh.share(rollout.candidate)) or fresh.rolled_out != rollout.stable


def _send(cluster: Cluster, seen: Observation, rollout: Rollout, decision: Decision) -> bool:
    if decision.move is Move.RESTORE:
        # The one write that replaces what a person wrote: never from an old picture.
        fresh = cluster.refresh(seen.key)
        if (
            fresh is None
            or not _same_ground(seen, fresh)
            or not _still_needed(fresh, rollout, withdraws=decision.weight is None)
        ):
            return True
        if rollout.stable_spec is not None:
            cluster.restore(fresh, rollout.stable_spec, decision.weight)
        return True
    if decision.move is Move.SETTLE:
        cluster.settle(seen)
        return True
    weight = decision.weight if decision.weight is not None else 0
    return cluster.set_weight(seen, weight).weight == weight
