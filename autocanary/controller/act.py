"""Plan, act and record: what is decided about one rollout, carried out by a worker, and what came of it.

What is being released at the other components of a rollout's service, from the books and the cluster.
"""

from __future__ import annotations

import math

from autocanary.analysis.verdict import Verdict
from autocanary.controller import metric_queries
from autocanary.controller.context import Calls, Surroundings, log_failure, pause
from autocanary.controller.notify import Tellings
from autocanary.controller.running_rollout import Live, RolloutId, is_material
from autocanary.controller.start_rollouts import Starts
from autocanary.controller.state import Books
from autocanary.controller.write import Carried, carry
from autocanary.decide.components import Companion, companion_of, matters
from autocanary.decide.decision_input import Situation
from autocanary.decide.detection import in_force
from autocanary.decide.planner import plan
from autocanary.decide.policy_selection import select
from autocanary.errors import CanaryUnsupported
from autocanary.model.decision import Decision, Move
from autocanary.model.observation import Observation, ServiceKey
from autocanary.model.policy import Component, OnUnstaged, Policy
from autocanary.model.rollout import Rollout

__all__ = ["Acts", "companions", "gather"]


def companions(around: Surroundings, books: Books, live: Live, now: float) -> tuple[Companion, ...]:
    """The other components in which something happens; none where they share one weight anyway."""
    rollout = live.rollout
    if not matters(rollout, now):
        return ()
    own = around.cluster.observe(live.key)
    if own is None or own.beside is not None:
        return ()
    found = (
        _companion(around, books, rollout, live.key._replace(component=component))
        for component in Component
        if component is not rollout.component
    )
    return tuple(each for each in found if each is not None)


def _companion(around: Surroundings, books: Books, rollout: Rollout, key: ServiceKey) -> Companion | None:
    seen = around.cluster.observe(key)
    if seen is None or seen.uid != rollout.service_uid:
        return None
    memory = books.memory.get(key)
    mine = memory is not None and memory.uid == seen.uid
    history = in_force(books.history(key), seen, memory.void_before if mine and memory is not None else 0.0)
    known = mine and memory is not None and memory.stable == seen.rolled_out
    policy = select(around.policies.current(), key, seen.labels)
    return companion_of(
        rollout,
        seen,
        history,
        memory.digest if known and memory is not None else "",
        governed=isinstance(policy, Policy) and _stages(policy, seen),
        follows=rollout.component in _after(books, key, policy if isinstance(policy, Policy) else None),
    )


def _stages(policy: Policy, seen: Observation) -> bool:
    unstaged = seen.weight is None or seen.weight >= 100
    return policy.on_unstaged is OnUnstaged.CATCH or not unstaged


def _after(books: Books, key: ServiceKey, selected: Policy | None) -> tuple[Component, ...]:
    """For which components that one waits: a rollout that runs keeps its own policy."""
    active = books.active.get(key)
    live = books.lives.get(active) if active is not None else None
    policy = live.policy if live is not None and live.policy is not None else selected
    return policy.after if policy is not None else ()


_ROUTINE_SECONDS = 30.0  # no rollout refreshes its unchanged status more often than this ...
_ROUTINE_PER_SECOND = 3.0  # ... nor do all of them together more often than this
_WRITE_SECONDS = 2.0  # a record ends that much after the look it was made for, at most
_UNSETTLED_SECONDS = 15.0


def gather(
    around: Surroundings, books: Books, live: Live, now: float, verdict: Verdict | None = None
) -> Situation | None:
    """Everything that the decision about one rollout is made from; None while its policy is not known."""
    if live.policy is None:
        return None
    return Situation(
        policy=live.policy,
        rollout=live.rollout,
        seen=around.cluster.observe(live.key),
        now=now,
        verdict=verdict,
        gates=live.gates,
        picture_age=around.cluster.age(live.key, live.rollout.api_version),
        acknowledged=live.acknowledged,
        unsupported=live.unsupported,
        companions=companions(around, books, live, now),
    )


class Acts:
    """One piece of work at a time per rollout: it is busy from ``take`` until what came of it is settled."""

    def __init__(
        self, around: Surroundings, books: Books, calls: Calls, tellings: Tellings, starts: Starts
    ) -> None:
        self._around, self._books, self._calls = around, books, calls
        self._tellings, self._starts = tellings, starts

    # --- plan and act ------------------------------------------------------------------------------------

    def decide(self, live: Live, situation: Situation) -> None:
        try:
            decision = plan(situation)
            self._around.listener.decided(live.rollout, decision.reason.value)
            self._take(live, situation.seen, decision, situation.now)
        except Exception as fault:  # noqa: BLE001 - the planner is total; if it is not, only this one stops
            log_failure("plan_failed", live.key, fault)
            self.schedule(live, situation.now)

    def record(self, live: Live, now: float) -> None:
        """Nothing is decided, but there is something to record: people have been told."""
        self._take(live, None, Decision(live.rollout.progress, live.rollout.progress.reason, "told"), now)

    def _take(self, live: Live, seen: Observation | None, decision: Decision, now: float) -> None:
        if decision.progress is not live.rollout.progress:
            live.rollout = live.rollout.but(progress=decision.progress)
        material = is_material(live.recorded, decision.progress)
        if decision.move is Move.NONE and not material and not self._refreshes(live, now):
            if live.rollout.is_final and live.recorded is live.rollout.progress and not live.recorded.untold:
                self._ended(live, now)  # somebody else's record, or ours without an answer, was the last
            self.schedule(live, now)
            return
        live.busy, live.busy_since = True, now
        if decision.move is not Move.NONE:
            live.acknowledged = None
        around, rollout, known = self._around, live.rollout, live.recorded
        submit = around.pool.submit_first if decision.urgent else around.pool.submit
        future = submit(
            lambda: carry(around.cluster, around.ledger, around.leadership, rollout, known, seen, decision)
        )
        self._calls.when_done(future, lambda carried, error: self._carried(live, decision, carried, error))

    def _refreshes(self, live: Live, now: float) -> bool:
        """Whether an unchanged status is worth a write: they take turns, so that writes come evenly."""
        if live.recorded is live.rollout.progress:
            return False
        silent = now - live.recorded_at + _WRITE_SECONDS
        period = max(_ROUTINE_SECONDS, len(self._books.lives) / _ROUTINE_PER_SECOND)
        turns = max(1, math.ceil(period / live.interval))
        if silent < _ROUTINE_SECONDS:
            return False
        return live.beat(now) % turns == live.serial % turns or silent > 2 * turns * live.interval

    # --- what came of it ---------------------------------------------------------------------------------

    def _carried(
        self, live: Live, decision: Decision, carried: Carried | None, error: BaseException | None
    ) -> None:
        now = self._around.clock.now()
        live.busy = False
        if not self._books.is_current(live):
            return
        failure = error if error is not None else (carried.error if carried is not None else None)
        if carried is not None and carried.gone and not self._is_kept(live.id):
            self._books.vanished(live.id, now)
            return
        if carried is not None and (carried.recorded or carried.foreign):
            live.rollout = carried.rollout
            live.recorded, live.recorded_at = carried.rollout.progress, now
            self._books.note(live.rollout)
            if carried.foreign:
                self._tellings.again(live)
        if carried is not None and carried.wrote and decision.move is Move.WEIGHT:
            live.acknowledged = decision.weight
        if isinstance(failure, CanaryUnsupported):
            live.unsupported = str(failure)
        elif carried is not None and carried.wrote:
            live.unsupported = ""
        if failure is not None:
            live.failures += 1
            log_failure("write_failed", live.key, failure, move=decision.move.value, weight=decision.weight)
        else:
            live.failures = 0
        self._tellings.tell(live)
        self._settle(live, now)

    def _is_kept(self, id_: RolloutId) -> bool:
        """Whether the ledger's picture still has the object: a server that starts answers 404 for a while."""
        return self._around.ledger.known(*id_) is not None

    def _settle(self, live: Live, now: float) -> None:
        """After a write: end it, look again at once if something came in between, or at the next beat."""
        if live.rollout.is_final and live.recorded == live.rollout.progress:
            live.failures = 0
            self._ended(live, now)
        verdict, live.waiting = live.waiting, None
        again, live.again = live.again or self._missed_a_look(live, now), False
        if again and live.id in self._books.lives:
            self._reread(live)
        judged = verdict is not None and not live.rollout.is_final and self._judge_waiting(live, verdict, now)
        if live.busy:
            live.again = again  # what was judged is being written: the look comes after that
        elif again:
            self._books.look(live, now)
        elif not judged:
            self.schedule(live, now)

    def _missed_a_look(self, live: Live, now: float) -> bool:
        """Whether one came due while the rollout was busy; what has failed waits for its own time instead."""
        return not live.failures and live.beat(now) > live.beat(live.busy_since)

    def _judge_waiting(self, live: Live, verdict: Verdict, now: float) -> bool:
        try:
            situation = gather(self._around, self._books, live, now, verdict)
        except Exception as fault:  # noqa: BLE001 - one rollout's fault must not touch another's look
            log_failure("look_failed", live.key, fault)
            return False
        if situation is not None:
            self.decide(live, situation)
        return situation is not None

    def _reread(self, live: Live) -> None:
        """A wish that arrived while the rollout was busy."""
        fresh = self._around.ledger.known(*live.id)
        if fresh is not None:
            live.rollout = live.rollout.but(paused=fresh.paused, request=fresh.request)

    # --- the end -----------------------------------------------------------------------------------------

    def _ended(self, live: Live, now: float) -> None:
        if self._books.end(live, now):
            self._around.listener.finished(live.rollout)
            if live.policy is not None:
                calls = metric_queries.ended(live.rollout, live.policy)
                if calls:
                    self._around.hooks.submit(lambda: self._around.gates.call(calls))
            self._starts.retry_if_asked(live.rollout, now)
        if not live.rollout.progress.untold:
            self._books.close(live)
            self._prune(live.key)

    def _prune(self, key: ServiceKey) -> None:
        """Keep the newest finished rollouts of a service; the oldest go."""
        final = [each for each in self._books.history(key) if each.is_final and not each.progress.untold]
        final.sort(key=lambda each: (each.progress.finished_at or each.created_at, each.name))
        ledger = self._around.ledger
        for old in final[: max(0, len(final) - self._around.history_limit)]:
            future = self._around.pool.submit(lambda old=old: ledger.delete(old))  # type: ignore[misc]
            self._calls.when_done(future, lambda _, error, old=old: self._pruned(old, error))  # type: ignore[misc]

    def _pruned(self, old: Rollout, error: BaseException | None) -> None:
        """What could not be deleted now is tried again when the next rollout ends."""
        if error is None:
            self._books.discard(old.key, old.name)
        else:
            log_failure("history_not_pruned", old.key, error)

    # --- when to look again ------------------------------------------------------------------------------

    def schedule(self, live: Live, now: float) -> None:
        """The next look: on a grid, so that all rollouts of one interval share their queries."""
        if live.failures:
            self._books.look(live, now + pause(live.failures))
            return
        limit = math.inf
        if live.rollout.progress.verified_at is None:
            limit = _UNSETTLED_SECONDS  # deadlines of ours run, not the policy's looks
        self._books.look(live, live.next_beat(now, limit))
