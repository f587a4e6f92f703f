"""What starts a rollout: a service whose newest revision is not the one that has been rolled out.

Pure: one observation, the policy that selects the service, what the ledger knows of it, and what was
remembered from earlier looks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from autocanary.core.decision import Event
from autocanary.core.modes import unsupported
from autocanary.core.observation import Beside, Observation, Trinary
from autocanary.core.policy import OnUnstaged, Policy
from autocanary.core.progress import Phase, Progress
from autocanary.core.reason import Reason
from autocanary.core.rollout import Rollout, rollout_name
from autocanary.core.situation import BY_FAILURE
from autocanary.core.telling import telling

__all__ = [
    "SETTLED_AFTER",
    "Memory",
    "Mend",
    "Nothing",
    "Refusal",
    "Start",
    "discover",
    "in_force",
    "remember",
    "retried",
]


BLAMED = frozenset(
    {
        Reason.METRIC_BREACH,
        Reason.WORSE_THAN_STABLE,
        Reason.TRAFFIC_MISSING,
        Reason.REVISION_FAILED,
        Reason.ROLLBACK_WEBHOOK,
        Reason.ABORTED_BY_USER,
        Reason.KNOWN_BAD,
    }
)
"""Reasons of a rollback that blame the candidate itself, and not what was around it."""

CHURN_LIMIT = 5
CHURN_SECONDS = 900.0
"""So many candidates replaced one by the next within that time, and none is tried until a person looks."""

SETTLED_AFTER = 10.0
"""Seconds for which a service must be seen unchanged and at rest before its spec is taken for stable's.

After a spec was edited the status is the complete old one for up to 6 s (measured), so that the new spec
looks like the one that the old revision was made from.
"""


@dataclass(frozen=True, slots=True)
class Memory:
    """What earlier looks at a service taught: its stable revision, and the spec that stable was made from.

    ``spec`` is None until it is certain; ``maybe`` is the digest that has been seen at rest since
    ``maybe_since``: not always that of ``spec``, for a spec can be changed without a new revision.
    ``void_before`` is when KServe last knew no revision at all (stopped, created anew): revisions are
    numbered from 00001 again, so older rollouts of the same names were about others.
    """

    uid: str
    stable: str
    spec: Mapping[str, Any] | None = None
    digest: str = ""
    maybe: str = ""
    maybe_since: float = 0.0
    void_before: float = 0.0

    @property
    def is_certain(self) -> bool:
        return self.spec is not None

    def is_unsure(self, now: float) -> bool:
        """Whether another look, a little later, will teach more although nothing changes."""
        return bool(self.maybe) and (not self.is_certain or now - self.maybe_since < SETTLED_AFTER)


@dataclass(frozen=True, slots=True)
class Nothing:
    """No rollout to start."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """The policy selects the service, but it cannot be rolled out; told once per service and reason."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Mend:
    """KServe gave stable's share to the revision before it, with no rollout running that could notice.

    ``rollout`` is the promotion that it undid, with what people are to be told; ``spec`` is stable's, to be
    put back without a weight: the only way out (measured).
    """

    rollout: Rollout
    spec: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Start:
    """A rollout to create. ``catch``: its first write (weight 0) races against the revision's readiness."""

    rollout: Rollout
    catch: bool = False


def remember(
    memory: Memory | None, seen: Observation, history: Sequence[Rollout], now: float
) -> Memory | None:
    """What to remember after this look. A spec that is known for a revision is never learned anew."""
    if not seen.rolled_out:
        return Memory(seen.uid, "", void_before=now)
    if seen.beside is not None:
        return _plainly(memory, seen, seen.beside, now)
    void = memory.void_before if memory is not None and memory.uid == seen.uid else 0.0
    history = in_force(history, seen.uid, void)
    same = memory is not None and memory.uid == seen.uid and memory.stable == seen.rolled_out
    if memory is not None and same and memory.is_certain:
        other = seen.spec_digest if seen.spec_digest != memory.digest else ""
        if not seen.created == seen.rolled_out == seen.ready or memory.maybe == other:
            return memory
        return replace(memory, maybe=other, maybe_since=now)
    known = Memory(seen.uid, seen.rolled_out, void_before=void)
    for past in history:
        if past.candidate == seen.rolled_out and past.candidate_spec is not None:
            return replace(known, spec=past.candidate_spec, digest=past.candidate_digest)
        if past.stable == seen.rolled_out and past.stable_spec is not None:
            return replace(known, spec=past.stable_spec, digest=past.stable_digest)
    if not seen.created == seen.rolled_out == seen.ready:
        return memory if same else known
    if memory is None or not same or memory.maybe != seen.spec_digest:
        return replace(known, maybe=seen.spec_digest, maybe_since=now)
    if now - memory.maybe_since < SETTLED_AFTER:
        return memory
    return replace(known, spec=seen.spec, digest=seen.spec_digest)


def _plainly(memory: Memory | None, seen: Observation, beside: Beside, now: float) -> Memory:
    """Stable's spec stands beside the candidate's; kept until a new stable serves, so that it can be told.

    ``maybe`` is what the newest revision seems to be made of.
    """
    mine = memory if memory is not None and memory.uid == seen.uid else None
    void = mine.void_before if mine is not None else 0.0
    same = mine is not None and mine.maybe == seen.spec_digest
    since = mine.maybe_since if mine is not None and same else now
    if mine is not None and mine.is_certain:
        waiting = mine.stable != seen.rolled_out and beside.ready is not Trinary.TRUE
        if waiting or mine.stable == seen.rolled_out:
            return replace(mine, maybe=seen.spec_digest, maybe_since=since)
    return Memory(
        seen.uid,
        seen.rolled_out,
        spec=beside.spec,
        digest=beside.digest,
        maybe=seen.spec_digest,
        maybe_since=since,
        void_before=void,
    )


def in_force(history: Sequence[Rollout], uid: str, void_before: float) -> list[Rollout]:
    """The rollouts of this very service whose revision names still mean what they meant."""
    stops = [
        past.progress.finished_at or 0.0
        for past in history
        if past.service_uid == uid and past.progress.reason is Reason.SERVICE_STOPPED
    ]
    since = max([void_before, *stops])
    return [past for past in history if past.service_uid == uid and past.progress.started_at > since]


def discover(
    seen: Observation,
    policy: Policy,
    history: Sequence[Rollout],
    memory: Memory | None,
    now: float,
) -> Nothing | Refusal | Start | Mend:
    """Whether a rollout starts. ``history``: this service's rollouts; ``memory``: from before this look."""
    if seen.deleting or seen.stopped:
        return Nothing()
    mode = unsupported(seen)
    if mode:
        return Refusal(Reason.UNSUPPORTED_DEPLOYMENT_MODE, mode)
    if not seen.created or not seen.rolled_out:
        return Nothing()
    own = in_force(history, seen.uid, memory.void_before if memory is not None else 0.0)
    if seen.created == seen.rolled_out:
        return _missed(seen, policy, history, own, memory, now)
    mend = _mend(seen, own, memory, now)
    if mend is not None:
        return mend
    if _is_known(seen, own, memory, now):
        return Nothing()  # running, or finished: a failed candidate stays out until a person retries
    if seen.auto_update_disabled:
        return Refusal(
            Reason.AUTO_UPDATE_DISABLED,
            f"{seen.key} has serving.kserve.io/disable-auto-update, so KServe ignores every weight; "
            "remove the annotation to roll out",
        )
    taken_up = any(past.candidate == seen.created and _lost_its_stable(past) for past in own)
    unstaged = (seen.weight is None or seen.weight >= 100) and not taken_up
    if unstaged and policy.on_unstaged is OnUnstaged.IGNORE:
        return Nothing()
    known = memory if memory is not None and memory.stable == seen.rolled_out else None
    if known is not None and known.digest == seen.spec_digest:
        known = None  # not stable's spec: it could only put the candidate back
    rollout = _new(seen, policy, history, known, now)
    kept_out = _kept_out(seen, rollout, own, now)
    if kept_out is not None:
        return Start(kept_out, catch=unstaged)
    reason = Reason.CAUGHT_UNSTAGED if unstaged else Reason.ROLLOUT_STARTED
    weight = 0 if unstaged else seen.weight or 0
    how = (
        "it was applied without a weight and is held at 0 % until it is ready"
        if unstaged
        else f"it was applied at {weight} %"
    )
    message = f"{seen.created} is to replace {seen.rolled_out}: {how}; policy {policy.name}"
    progress = Progress(
        phase=Phase.STAGING,
        reason=reason,
        message=message,
        started_at=now,
        phase_since=now,
        weight=weight,
        from_weight=seen.weight,
        step_started_at=now,
    )
    progress = telling(rollout, progress, Event.STARTED, now)
    return Start(rollout.but(progress=progress), catch=unstaged)


def _kept_out(seen: Observation, rollout: Rollout, own: Sequence[Rollout], now: float) -> Rollout | None:
    """A candidate that is not to be tried without a person, at 0 from its first moment; None: any other."""
    past = max(
        (each for each in own if each.candidate_digest == seen.spec_digest and _says_something(each)),
        key=lambda each: each.progress.started_at,
        default=None,
    )
    if past is not None and past.progress.phase is Phase.ROLLED_BACK and past.progress.reason in BLAMED:
        message = (
            f"{seen.created} is made of the spec that was rolled back as {past.candidate} "
            f"({past.progress.reason.value}) and gets no traffic; change the spec, or ask for a retry"
        )
        return _born(seen, rollout, Phase.ROLLING_BACK, Reason.KNOWN_BAD, message, now)
    latest = sorted(own, key=lambda each: each.progress.started_at)[-CHURN_LIMIT:]
    replaced = all(each.progress.reason is Reason.NEW_REVISION for each in latest)
    if len(latest) == CHURN_LIMIT and replaced and now - latest[0].progress.started_at < CHURN_SECONDS:
        message = (
            f"{CHURN_LIMIT} candidates of {seen.key} were each replaced by the next within "
            f"{round((now - latest[0].progress.started_at) / 60)} min: something makes new revisions; "
            f"{seen.created} stays at 0 % until a person resumes it"
        )
        paused = _born(seen, rollout, Phase.PAUSED, Reason.REVISION_CHURN, message, now)
        return paused.but(progress=paused.progress.but(paused_by=BY_FAILURE))
    return None


def _says_something(past: Rollout) -> bool:
    """Of its spec: one that was replaced before its end acquits nobody, unless a person wanted it tried."""
    return past.progress.phase in (Phase.ROLLED_BACK, Phase.PROMOTED) or past.attempt > 1


def _born(
    seen: Observation, rollout: Rollout, phase: Phase, reason: Reason, message: str, now: float
) -> Rollout:
    progress = Progress(
        phase=phase,
        reason=reason,
        message=message,
        started_at=now,
        phase_since=now,
        weight=0,
        from_weight=seen.weight,
        step_started_at=now,
    )
    return rollout.but(progress=telling(rollout, progress, Event.STARTED, now))


def _mend(
    seen: Observation, own: Sequence[Rollout], memory: Memory | None, now: float
) -> Mend | Refusal | None:
    """The grand-previous trap: a changed spec that made no revision, with a weight, moves stable back.

    Told from a person's rollback after the promotion by the spec, which is stable's then, and by what was
    stable at the look before. A process that has seen no look before goes on with what the ledger says was
    begun; of what it does not say, a person is told.
    """
    if seen.beside is not None or seen.weight is None or seen.weight >= 100 or memory is None:
        return None
    if memory.uid != seen.uid or seen.rolled_out == seen.created or not seen.spec_digest:
        return None
    past = max(
        (each for each in own if each.candidate == seen.created and each.is_final),
        key=lambda each: each.attempt,
        default=None,
    )
    noted = f"{Reason.WRONG_STABLE.value}/{seen.spec_digest}"
    message = (
        f"KServe gave the share of {seen.created} to {seen.rolled_out}: the spec was changed and no revision "
        f"came of it, with canaryTrafficPercent at {seen.weight}"
    )
    if memory.stable != seen.created:
        return _mend_begun(seen, past, noted, message)
    if seen.spec_digest == memory.digest:
        return None
    if memory.maybe == seen.spec_digest and now - memory.maybe_since >= SETTLED_AFTER:
        # The spec stood with all traffic on its revision before the weight came: that may be a person's wish.
        return Refusal(
            Reason.WRONG_STABLE, f"{message}; unless that is meant, put its spec back without the field"
        )
    if past is None or memory.spec is None:
        return Refusal(Reason.WRONG_STABLE, f"{message}; put stable's spec back without the field")
    if noted in past.progress.warned:
        return Mend(past, memory.spec)
    text = f"{message}; the spec of {seen.created} is put back without a weight: release anew when it works"
    told = telling(past, past.progress.but(reason=Reason.WRONG_STABLE, message=text), Event.WARNING, now).but(
        reason=past.progress.reason, message=past.progress.message
    )
    return Mend(past.but(progress=told.but(warned=(*told.warned, noted))), memory.spec)


def _mend_begun(seen: Observation, past: Rollout | None, noted: str, message: str) -> Mend | Refusal | None:
    """What to go on with when this process did not see what was stable before."""
    if past is None or past.progress.phase is not Phase.PROMOTED or past.stable != seen.rolled_out:
        return None
    if noted in past.progress.warned and past.candidate_spec is not None:
        return Mend(past, past.candidate_spec)
    if past.candidate_digest in ("", seen.spec_digest):
        return None  # a person went back to the revision before
    return Refusal(
        Reason.WRONG_STABLE, f"{message}; unless that is meant, put its spec back without the field"
    )


def retried(
    past: Rollout, seen: Observation, policy: Policy, history: Sequence[Rollout], now: float
) -> Start:
    """A new attempt at a candidate that was rolled back; it starts staged at the weight it was left at.

    The caller has made sure that the candidate is still the newest revision and stable still stable.
    """
    rollout = _new(seen, policy, history, None, now).but(
        stable_spec=past.stable_spec, stable_digest=past.stable_digest
    )
    unstaged = seen.weight is None or seen.weight >= 100
    progress = Progress(
        phase=Phase.STAGING,
        reason=Reason.RETRIED_BY_USER,
        message=f"{seen.created} is tried again, attempt {rollout.attempt}; policy {policy.name}",
        started_at=now,
        phase_since=now,
        weight=0 if unstaged else seen.weight,
        from_weight=seen.weight,
        step_started_at=now,
    )
    return Start(rollout.but(progress=telling(rollout, progress, Event.STARTED, now)), catch=unstaged)


def _is_known(seen: Observation, own: Sequence[Rollout], memory: Memory | None, now: float) -> bool:
    """Whether the ledger has this very candidate. Not if only the stable it was held against has gone.

    A known name with another spec may be a name that came again, or a status that lags behind the spec: it
    is new only after the spec has stood for longer than a status lags.
    """
    named = [past for past in own if past.candidate == seen.created]
    of_it = [past for past in named if seen.is_made_of(past.candidate_digest)]
    newest = max(of_it, key=lambda past: past.attempt, default=None)
    if newest is not None:
        return not (_lost_its_stable(newest) and newest.stable != seen.rolled_out)
    if not named:
        return False
    stood = memory is not None and memory.maybe == seen.spec_digest
    return not (stood and memory is not None and now - memory.maybe_since >= SETTLED_AFTER)


def _lost_its_stable(past: Rollout) -> bool:
    return past.progress.reason is Reason.STABLE_CHANGED


def _missed(
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
    fresh = memory is None or memory.uid != seen.uid or memory.stable in (seen.rolled_out, "")
    known = any(seen.rolled_out == past.stable for past in own)
    same_content = memory is not None and memory.digest == seen.spec_digest
    if fresh or known or same_content or memory is None or policy.on_unstaged is OnUnstaged.IGNORE:
        return Nothing()
    message = f"{seen.rolled_out} took 100 % of the traffic before it could be caught, without analysis"
    return _record_missed(seen, policy, history, memory.stable, message, now)


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
    rollout = _new(seen, policy, history, None, now).but(stable=stable)
    progress = Progress(
        phase=Phase.MISSED,
        reason=Reason.MISSED_UNSTAGED,
        message=message,
        started_at=now,
        phase_since=now,
        weight=seen.weight,
        finished_at=now,
    )
    return Start(rollout.but(progress=telling(rollout, progress, Event.ENDED, now)))


def _new(
    seen: Observation, policy: Policy, history: Sequence[Rollout], memory: Memory | None, now: float
) -> Rollout:
    attempts = [past.attempt for past in history if past.candidate == seen.created]
    attempt = 1 + max(attempts, default=0)
    return Rollout(
        namespace=seen.key.namespace,
        name=rollout_name(seen.key.name, seen.created, attempt),
        service=seen.key.name,
        service_uid=seen.uid,
        api_version=seen.api_version,
        component=seen.key.component,
        stable=seen.rolled_out,
        candidate=seen.created,
        policy_name=policy.name,
        policy_digest=policy.digest,
        policy_document=policy.document,
        stable_spec=seen.beside.spec if seen.beside else (memory.spec if memory else None),
        stable_digest=seen.beside.digest if seen.beside else (memory.digest if memory else ""),
        candidate_spec=seen.spec,
        candidate_digest=seen.spec_digest,
        attempt=attempt,
        created_at=now,
        progress=Progress(
            phase=Phase.STAGING, reason=Reason.ROLLOUT_STARTED, message="", started_at=now, phase_since=now
        ),
    )
