"""The loop: each tick, for every rollout that is due: gather, judge, plan, act, record, tell.

All state here is touched by the one thread that ticks. Whatever blocks (questions, records, writes) runs
in the pool, one piece of work at a time per rollout, and its result is taken up at the next tick; so a
rollout whose call hangs or fails never delays another.

Over 300 lines because it is one idea, the tick, with its books: splitting those would hide the order.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

from autocanary.core.decision import Decision, Move
from autocanary.core.discovery import (
    SETTLED_AFTER,
    Memory,
    Refusal,
    Start,
    discover,
    remember,
    retried,
)
from autocanary.core.judge.verdict import Verdict
from autocanary.core.observation import Observation, ServiceKey
from autocanary.core.planner import plan
from autocanary.core.policy import Policy, WebhookType
from autocanary.core.progress import Phase
from autocanary.core.reading import Question, Reading
from autocanary.core.reason import Reason
from autocanary.core.rollout import RETRY_STARTED, Rollout, Verb
from autocanary.core.selection import Tie, select
from autocanary.core.situation import Situation
from autocanary.core.telling import delivered
from autocanary.engine import asking
from autocanary.engine.carrying import Carried, carry
from autocanary.engine.live import Live, RolloutId, is_material, unreadable
from autocanary.engine.starting import Started, begin
from autocanary.errors import AutocanaryError, NotLeader, PolicyError
from autocanary.logs import logger
from autocanary.ports import (
    Call,
    CallResult,
    Clock,
    Cluster,
    Delivery,
    Gates,
    Leadership,
    Ledger,
    Listener,
    Message,
    Metrics,
    Notifier,
    Policies,
    Pool,
)
from autocanary.schedule.agenda import Agenda

__all__ = ["Engine"]

_RETRY_FIRST, _RETRY_LAST = 1.0, 30.0
_ROUTINE_SECONDS = 30.0  # no rollout refreshes its unchanged status more often than this ...
_ROUTINE_PER_SECOND = 5.0  # ... nor do all of them together more often than this
_RESYNC_SECONDS = 300.0
_UNSETTLED_SECONDS = 15.0

_log = logger("engine")


class Engine:
    """One per process. ``tick`` is called by the metronome, and soon after ``hurry`` was called.

    ``pool`` runs the writes, ``askers`` the questions to Prometheus and ``hooks`` the policies' webhooks, so
    that none of them keeps another waiting.
    """

    def __init__(
        self,
        *,
        cluster: Cluster,
        ledger: Ledger,
        metrics: Metrics,
        gates: Gates,
        notifier: Notifier,
        policies: Policies,
        leadership: Leadership,
        clock: Clock,
        pool: Pool,
        askers: Pool,
        hooks: Pool,
        listener: Listener,
        ready: Callable[[], bool] = lambda: True,
        hurry: Callable[[], None] = lambda: None,
        history_limit: int = 10,
    ) -> None:
        self._cluster = cluster
        self._ledger = ledger
        self._metrics = metrics
        self._gates = gates
        self._notifier = notifier
        self._policies = policies
        self._leadership = leadership
        self._clock = clock
        self._pool, self._askers, self._hooks = pool, askers, hooks
        self._listener = listener
        self._ready = ready
        self._hurry = hurry
        self._history_limit = history_limit
        self._results: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._generation = 0
        self._forget()

    def _forget(self) -> None:
        self._generation += 1
        self._lives: dict[RolloutId, Live] = {}
        self._active: dict[ServiceKey, RolloutId] = {}
        self._history: dict[ServiceKey, dict[str, Rollout]] = {}
        self._memory: dict[ServiceKey, Memory] = {}
        self._agenda: Agenda[RolloutId] = Agenda()
        self._starting: set[ServiceKey] = set()
        self._start_failures: dict[ServiceKey, int] = {}
        self._refused: dict[ServiceKey, tuple[str, str]] = {}
        self._look_at: dict[ServiceKey, float] = {}
        self._deliveries: list[Delivery] = []
        self._in_force: Sequence[Policy] = ()
        self._loaded = False
        self._resync_at = 0.0
        self._routine_at = 0.0

    # --- what others may see -----------------------------------------------------------------------------

    def rollouts(self) -> list[Rollout]:
        """The rollouts that are running now (for metrics and views)."""
        return [live.rollout for live in list(self._lives.values())]

    def policy_of(self, rollout: Rollout) -> Policy | None:
        """The snapshot that a running rollout is held to."""
        live = self._lives.get((rollout.namespace, rollout.name))
        return live.policy if live else None

    def idle(self) -> bool:
        """Whether no call is under way and no message undelivered."""
        return not self._starting and not any(
            live.busy or live.asking or live.calling or live.rollout.progress.untold
            for live in self._lives.values()
        )

    # --- the tick ----------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Look at whatever is due. Raises nothing that one rollout caused."""
        now = self._clock.now()
        if not self._leadership.is_leader() or not self._ready():
            self._drain(self._results)
            if self._loaded and not self._leadership.is_leader():
                self._forget()
            return
        if not self._loaded:
            self._load(now)
        self._drain(self._results)
        self._take_ledger_changes(now)
        self._take_service_changes(now)
        self._take_deliveries()
        self._discover(now)
        self._look(self._agenda.due(now), now)
        self._drain(self._results)

    def _drain(self, results: queue.SimpleQueue[Callable[[], None]]) -> None:
        while True:
            try:
                result = results.get_nowait()
            except queue.Empty:
                return
            result()

    def _load(self, now: float) -> None:
        """After a start, or on becoming leader: everything is read from the ledger and the cluster."""
        for rollout in self._ledger.rollouts():
            if not rollout.has_status:
                continue  # a crash between create and the first status: discovery takes it up
            self._note(rollout)
            if not rollout.is_final or rollout.progress.untold:
                self._adopt(rollout, now)
        self._cluster.changed()
        self._ledger.changed()
        self._look_at = {seen.key: now for seen in self._cluster.services()}
        self._in_force = self._policies.current()
        self._resync_at = now + _RESYNC_SECONDS
        self._loaded = True
        for past in [each for kept in self._history.values() for each in kept.values() if each.is_final]:
            self._retry_if_asked(past, now)

    # --- gather: what has changed ------------------------------------------------------------------------

    def _take_ledger_changes(self, now: float) -> None:
        """A person's wish, or an object that was deleted by hand."""
        changed = self._ledger.changed()
        if not changed:
            return
        present = {(each.namespace, each.name): each for each in self._ledger.rollouts()}
        for id_ in changed:
            fresh, live = present.get(id_), self._lives.get(id_)
            if fresh is None:
                self._vanished(id_, now)
            elif live is None and (not fresh.has_status or fresh.key in self._starting):
                continue  # being made, by us
            elif live is None:
                self._note(fresh)
                if not fresh.is_final:
                    self._adopt(fresh, now)
                else:
                    self._retry_if_asked(fresh, now)
            elif not live.busy:
                if fresh.progress != live.recorded:  # somebody has written the status: it counts
                    live.recorded = fresh.progress
                    live.rollout = live.rollout.but(progress=fresh.progress)
                live.rollout = live.rollout.but(
                    paused=fresh.paused, request=fresh.request, resource_version=fresh.resource_version
                )
                self._note(live.rollout)
                self._agenda.at(id_, now)
                if live.rollout.is_final:
                    self._retry_if_asked(live.rollout, now)
            else:
                live.again = True

    def _is_kept(self, id_: RolloutId) -> bool:
        """Whether the ledger's picture still has the object: a server that starts answers 404 for a while."""
        return any((each.namespace, each.name) == id_ for each in self._ledger.rollouts())

    def _vanished(self, id_: RolloutId, now: float) -> None:
        """The record was deleted: the service is looked at anew, and adopted at the weight it has."""
        live = self._lives.pop(id_, None)
        for key in [key for key in self._history if key.namespace == id_[0]]:
            self._history[key].pop(id_[1], None)
            if not self._history[key]:
                del self._history[key]
        if live is not None:
            self._agenda.drop(id_)
            if self._active.get(live.key) == id_:
                del self._active[live.key]
            self._look_at[live.key] = now
            _log.warning("rollout_record_deleted", namespace=id_[0], rollout=id_[1])

    def _take_service_changes(self, now: float) -> None:
        for key in self._cluster.changed():
            self._look_at[key] = now
            active = self._active.get(key)
            if active is not None:
                self._agenda.bring_forward(active, now)
        policies = self._policies.current()
        if policies is not self._in_force or now >= self._resync_at:
            self._in_force = policies
            self._resync_at = now + _RESYNC_SECONDS
            self._look_at = {seen.key: now for seen in self._cluster.services()}

    # --- discover: what starts ---------------------------------------------------------------------------

    def _discover(self, now: float) -> None:
        due = [key for key, when in self._look_at.items() if when <= now]
        for key in due:
            del self._look_at[key]
            try:
                self._look_for_a_start(key, now)
            except Exception as fault:  # noqa: BLE001 - one service's fault must not touch another's
                self._log_failure("look_failed", key, fault)
                self._look_at[key] = now + _RETRY_LAST

    def _look_for_a_start(self, key: ServiceKey, now: float) -> None:
        seen = self._cluster.observe(key)
        if seen is None:
            self._memory.pop(key, None)
            self._refused.pop(key, None)
        elif key not in self._active and key not in self._starting:
            self._consider(seen, now)  # otherwise it is looked at again when that one has ended

    def _consider(self, seen: Observation, now: float) -> None:
        key = seen.key
        history = list(self._history.get(key, {}).values())
        memory = self._memory.get(key)
        taught = remember(memory, seen, history, now)
        if taught is not None and not taught.is_certain and taught.maybe:
            self._look_at[key] = now + SETTLED_AFTER
        found = self._found(seen, history, memory, taught, now)
        if isinstance(found, Start):
            self._start(found, seen, taught)
        else:
            self._learn(key, taught)

    def _learn(self, key: ServiceKey, taught: Memory | None) -> None:
        if taught is None:
            self._memory.pop(key, None)
        else:
            self._memory[key] = taught

    def _found(
        self,
        seen: Observation,
        history: Sequence[Rollout],
        memory: Memory | None,
        taught: Memory | None,
        now: float,
    ) -> Start | None:
        key = seen.key
        policy = select(self._in_force, key, seen.labels)
        if policy is None:
            return None
        if isinstance(policy, Tie):
            self._say_once(key, Reason.POLICY_TIE.value, str(policy))
            return None
        missed = memory is not None and memory.uid == seen.uid and memory.stable != seen.rolled_out
        basis = memory if missed else taught
        found = discover(seen, policy, history, basis, now)
        if isinstance(found, Refusal):
            self._say_once(key, found.reason.value, found.message)
        return found if isinstance(found, Start) else None

    def _say_once(self, key: ServiceKey, reason: str, message: str) -> None:
        if self._refused.get(key) != (reason, message):
            self._refused[key] = (reason, message)
            _log.warning(
                "rollout_refused", namespace=key.namespace, service=key.name, reason=reason, message=message
            )

    def _start(self, start: Start, seen: Observation, taught: Memory | None) -> None:
        key = seen.key
        self._starting.add(key)
        future = self._pool.submit(lambda: begin(self._cluster, self._ledger, self._leadership, start, seen))
        self._when_done(future, lambda started, error: self._started(key, started, error, taught))

    def _started(
        self,
        key: ServiceKey,
        started: Started | None,
        error: BaseException | None,
        taught: Memory | None,
    ) -> None:
        self._starting.discard(key)
        failure = error if error is not None else (started.error if started is not None else None)
        if failure is not None:
            self._log_failure("rollout_start_failed", key, failure)
        if started is None or started.rollout is None:
            failures = self._start_failures[key] = self._start_failures.get(key, 0) + 1
            self._look_at[key] = self._clock.now() + _pause(failures)
            return
        self._start_failures.pop(key, None)
        self._learn(key, taught)
        self._note(started.rollout)
        self._adopt(started.rollout, self._clock.now())
        if started.rollout.is_final:
            self._listener.finished(started.rollout)

    def _retry_if_asked(self, past: Rollout, now: float) -> None:
        """``retry`` of a rolled-back candidate starts a new attempt; any wish is answered."""
        request = past.request
        if request is None or request.id == past.progress.answered:
            return
        key, seen = past.key, self._cluster.observe(past.key)
        policy = select(self._in_force, key, seen.labels) if seen is not None else None
        text = f"this rollout has ended: {past.progress.phase.value} ({past.progress.reason.value})"
        start: Start | None = None
        if request.verb == Verb.RETRY.value:
            if key in self._active or key in self._starting:
                text = "another rollout of this service is running"
            elif past.progress.phase is not Phase.ROLLED_BACK:
                text = (
                    f"only a rolled-back rollout can be tried again; this one is {past.progress.phase.value}"
                )
            elif seen is None or seen.created != past.candidate:
                text = f"{past.candidate} is no longer the newest revision; there is nothing to try again"
            elif seen.rolled_out == past.candidate:
                text = f"{past.candidate} has been rolled out meanwhile; there is nothing to try again"
            elif seen.rolled_out != past.stable:
                text = (
                    f"stable is {seen.rolled_out} now, not {past.stable}; release the candidate anew instead"
                )
            elif not isinstance(policy, Policy):
                text = "no policy selects the service any more"
            else:
                history = list(self._history.get(key, {}).values())
                start = retried(past, seen, policy, history, now)
                text = f"{RETRY_STARTED}{start.rollout.name}"
        answered = past.but(progress=past.progress.but(answered=request.id, answer=text))
        self._note(answered)
        future = self._pool.submit(lambda: self._ledger.record(answered))
        self._when_done(future, lambda rollout, error: self._answered(rollout, error, past))
        if start is not None and seen is not None:
            self._start(start, seen, self._memory.get(key))

    def _answered(self, rollout: Rollout | None, error: BaseException | None, past: Rollout) -> None:
        if rollout is not None:
            self._note(rollout)
        if error is not None:
            self._log_failure("answer_not_recorded", past.key, error)

    # --- books -------------------------------------------------------------------------------------------

    def _note(self, rollout: Rollout) -> None:
        self._history.setdefault(rollout.key, {})[rollout.name] = rollout

    def _adopt(self, rollout: Rollout, now: float) -> None:
        """Take a recorded rollout up, whoever started it."""
        policy: Policy | None = None
        questions: tuple[tuple[str, Any], ...] = ()
        try:
            policy = self._policies.restore(rollout.policy_name, rollout.policy_document)
            questions = asking.questions_for(rollout, policy)
        except (PolicyError, ValueError) as error:
            self._log_failure("rollout_not_readable", rollout.key, error)
            policy = policy if policy is not None else unreadable(rollout)
        live = Live(rollout, policy, questions, recorded=rollout.progress, recorded_at=now)
        self._lives[live.id] = live
        if not rollout.is_final:
            self._active[rollout.key] = live.id
        self._tell(live)
        self._agenda.at(live.id, now)

    # --- judge and plan ----------------------------------------------------------------------------------

    def _look(self, due: Iterable[RolloutId], now: float) -> None:
        round_: list[Live] = []
        age = self._cluster.age()
        for id_ in due:
            live = self._lives.get(id_)
            if live is None:
                continue
            if live.busy:
                live.again = True
                continue
            try:
                if self._look_at_one(live, now, age):
                    round_.append(live)
            except Exception as fault:  # noqa: BLE001 - one rollout's fault must not touch another's look
                live.asking = False
                self._log_failure("look_failed", live.key, fault)
                self._schedule(live, now)
        if round_:
            self._ask(round_)

    def _look_at_one(self, live: Live, now: float, age: float) -> bool:
        """Decide what can be decided without metrics; whether the metrics are to be asked as well."""
        situation = self._situation(live, now, age)
        if situation is None:
            return False
        asks = asking.measures(situation) and not live.asking and self._is_look(live, now)
        if asks:
            live.asking, live.asked_at = True, now
        self._call_webhooks(live, situation)
        self._decide(live, situation)
        return asks

    def _is_look(self, live: Live, now: float) -> bool:
        """Once per interval: watch events bring a rollout forward, not the questions about its metrics."""
        if live.asked_at is None or live.policy is None:
            return True
        interval = live.policy.analysis.interval
        return now // interval > live.asked_at // interval

    def _situation(
        self, live: Live, now: float, age: float, verdict: Verdict | None = None
    ) -> Situation | None:
        if live.policy is None:
            return None
        return Situation(
            policy=live.policy,
            rollout=live.rollout,
            seen=self._cluster.observe(live.key),
            now=now,
            verdict=verdict,
            gates=live.gates,
            picture_age=age,
            acknowledged=live.acknowledged,
        )

    def _ask(self, round_: list[Live]) -> None:
        questions = [question for live in round_ for _, question in live.questions]
        future = self._askers.submit(lambda: self._metrics.ask(questions))
        self._when_done(future, lambda readings, error: self._answers(round_, readings, error))

    def _answers(
        self, round_: list[Live], readings: Mapping[Question, Reading] | None, error: BaseException | None
    ) -> None:
        now, age = self._clock.now(), self._cluster.age()
        for live in round_:
            live.asking = False
            if self._lives.get(live.id) is not live or live.rollout.is_final:
                continue
            if readings is None:
                self._log_failure("look_failed", live.key, error)
                self._schedule(live, now)
                continue
            try:
                self._judge(live, readings, now, age)
            except Exception as fault:  # noqa: BLE001 - one rollout's fault must not touch another's look
                self._log_failure("look_failed", live.key, fault)
                self._schedule(live, now)

    def _judge(self, live: Live, readings: Mapping[Question, Reading], now: float, age: float) -> None:
        situation = self._situation(live, now, age)
        if situation is None or not situation.judged:
            return
        hooks = live.gates.pop(WebhookType.ROLLOUT, ())
        verdict = asking.verdict_of(situation, live.questions, readings, hooks)
        if live.busy:
            live.waiting = verdict
            return
        self._decide(live, replace(situation, verdict=verdict))

    def _call_webhooks(self, live: Live, situation: Situation) -> None:
        """Ask the policy's webhooks that have a say now, apart from everything else: one may be slow."""
        if live.calling or not situation.policy.webhooks:
            return
        interval = situation.policy.analysis.interval
        if live.called_at is not None and situation.now - live.called_at < interval * 0.5:
            return
        calls = asking.calls_for(situation)
        if not calls:
            return
        live.calling, live.called_at = True, situation.now
        future = self._hooks.submit(lambda: self._gates.call(calls))
        self._when_done(future, lambda results, error: self._called(live, calls, results, error))

    def _called(
        self,
        live: Live,
        calls: tuple[Call, ...],
        results: Mapping[Call, CallResult] | None,
        error: BaseException | None,
    ) -> None:
        live.calling = False
        if results is None:
            self._log_failure("webhook_failed", live.key, error)
        elif self._lives.get(live.id) is live:
            live.gates.update(asking.answers(calls, results))
            self._agenda.bring_forward(live.id, self._clock.now())

    def _decide(self, live: Live, situation: Situation) -> None:
        try:
            decision = plan(situation)
            self._listener.decided(live.rollout, decision.reason.value)
            self._take(live, situation.seen, decision, situation.now)
        except Exception as fault:  # noqa: BLE001 - the planner is total; if it is not, only this one stops
            self._log_failure("plan_failed", live.key, fault)
            self._schedule(live, situation.now)

    # --- act and record ----------------------------------------------------------------------------------

    def _take(self, live: Live, seen: Observation | None, decision: Decision, now: float) -> None:
        if decision.progress is not live.rollout.progress:
            live.rollout = live.rollout.but(progress=decision.progress)
        material = is_material(live.recorded, decision.progress)
        if decision.move is Move.NONE and not material and not self._refreshes(live, now):
            self._schedule(live, now)
            return
        live.busy = True
        if decision.move is not Move.NONE:
            live.acknowledged = None
        rollout, known = live.rollout, live.recorded
        future = self._pool.submit(
            lambda: carry(self._cluster, self._ledger, self._leadership, rollout, known, seen, decision)
        )
        self._when_done(future, lambda carried, error: self._carried(live, decision, carried, error))

    def _refreshes(self, live: Live, now: float) -> bool:
        """Whether an unchanged status is worth a write: all running rollouts share one small budget."""
        if live.recorded is live.rollout.progress or now - live.recorded_at < _ROUTINE_SECONDS:
            return False
        if self._routine_at > now:
            return False
        # What was not used lately may be made up for: looks come in bursts, one per interval.
        self._routine_at = max(self._routine_at, now - _ROUTINE_SECONDS) + 1 / _ROUTINE_PER_SECOND
        return True

    def _carried(
        self, live: Live, decision: Decision, carried: Carried | None, error: BaseException | None
    ) -> None:
        now = self._clock.now()
        live.busy = False
        if self._lives.get(live.id) is not live:
            return
        failure = error if error is not None else (carried.error if carried is not None else None)
        if carried is not None and carried.gone and not self._is_kept(live.id):
            self._vanished(live.id, now)
            return
        if carried is not None and (carried.recorded or carried.foreign):
            live.rollout = carried.rollout
            live.recorded, live.recorded_at = carried.rollout.progress, now
            self._note(live.rollout)
        if carried is not None and carried.wrote and decision.move is Move.WEIGHT:
            live.acknowledged = decision.weight
        if failure is not None:
            live.failures += 1
            self._log_failure(
                "write_failed", live.key, failure, move=decision.move.value, weight=decision.weight
            )
        else:
            live.failures = 0
        self._tell(live)
        self._settle(live, now)

    def _settle(self, live: Live, now: float) -> None:
        """After a write: end it, look again at once if something came in between, or at the next beat."""
        if live.rollout.is_final and live.recorded == live.rollout.progress:
            live.failures = 0
            self._ended(live, now)
        verdict, live.waiting = live.waiting, None
        if live.again and live.id in self._lives:
            self._reread(live)
        if verdict is not None and not live.rollout.is_final and self._judge_waiting(live, verdict, now):
            return
        if live.again:
            live.again = False
            self._agenda.at(live.id, now)
            return
        self._schedule(live, now)

    def _judge_waiting(self, live: Live, verdict: Verdict, now: float) -> bool:
        try:
            situation = self._situation(live, now, self._cluster.age(), verdict)
        except Exception as fault:  # noqa: BLE001 - one rollout's fault must not touch another's look
            self._log_failure("look_failed", live.key, fault)
            return False
        if situation is not None:
            self._decide(live, situation)
        return situation is not None

    def _reread(self, live: Live) -> None:
        """A wish that arrived while the rollout was busy."""
        for fresh in self._ledger.rollouts():
            if (fresh.namespace, fresh.name) == live.id:
                live.rollout = live.rollout.but(paused=fresh.paused, request=fresh.request)
                return

    def _ended(self, live: Live, now: float) -> None:
        if self._active.get(live.key) == live.id:
            del self._active[live.key]
            self._look_at[live.key] = now
            self._listener.finished(live.rollout)
            if live.policy is not None:
                calls = asking.ended(live.rollout, live.policy)
                if calls:
                    self._hooks.submit(lambda: self._gates.call(calls))
            self._retry_if_asked(live.rollout, now)
        if not live.rollout.progress.untold:
            self._lives.pop(live.id, None)
            self._agenda.drop(live.id)
            self._prune(live.key)

    def _prune(self, key: ServiceKey) -> None:
        """Keep the newest finished rollouts of a service; the oldest go."""
        history = self._history.get(key, {})
        final = [each for each in history.values() if each.is_final and not each.progress.untold]
        final.sort(key=lambda each: (each.progress.finished_at or each.created_at, each.name))
        for old in final[: max(0, len(final) - self._history_limit)]:
            future = self._pool.submit(lambda old=old: self._ledger.delete(old))  # type: ignore[misc]
            self._when_done(future, lambda _, error, old=old: self._pruned(old, error))  # type: ignore[misc]

    def _pruned(self, old: Rollout, error: BaseException | None) -> None:
        """What could not be deleted now is tried again when the next rollout ends."""
        if error is None:
            self._history.get(old.key, {}).pop(old.name, None)
        else:
            self._log_failure("history_not_pruned", old.key, error)

    def _schedule(self, live: Live, now: float) -> None:
        """The next look: on a grid, so that all rollouts of one interval share their queries."""
        if live.id not in self._lives:
            return
        if live.failures:
            self._agenda.at(live.id, now + _pause(live.failures))
            return
        interval = live.policy.analysis.interval if live.policy is not None else _RETRY_LAST
        if live.rollout.progress.verified_at is None:
            interval = min(interval, _UNSETTLED_SECONDS)  # deadlines of ours run, not the policy's looks
        self._agenda.at(live.id, (now // interval + 1) * interval)

    # --- tell --------------------------------------------------------------------------------------------

    def _tell(self, live: Live) -> None:
        """Queue what the ledger holds and people have not heard; never before it is recorded."""
        if live.recorded is None:
            return
        for entry in live.recorded.untold:
            if entry.id in live.queued:
                continue
            live.queued.add(entry.id)
            message = self._message(live, entry.id)
            if message is None:
                continue
            wanted = self._notifier.channels(message)
            if set(wanted) <= set(entry.done):
                self._deliveries.append(Delivery(live.id[0], live.id[1], entry.id, "", True))
            else:
                self._notifier.tell(message)

    def _message(self, live: Live, telling_id: str) -> Message | None:
        for entry in live.rollout.progress.untold:
            if entry.id == telling_id:
                return Message(entry, live.rollout, live.policy.notifications if live.policy else ())
        return None

    def _take_deliveries(self) -> None:
        """Note who has been told; a rollout that is being written for is noted at a later tick."""
        deliveries = [*self._deliveries, *self._notifier.delivered()]
        self._deliveries = []
        touched: dict[RolloutId, Live] = {}
        for delivery in deliveries:
            live = self._lives.get((delivery.namespace, delivery.rollout))
            if live is None:
                continue
            if live.busy:
                self._deliveries.append(delivery)
                continue
            message = self._message(live, delivery.telling_id)
            if message is None:
                continue
            if not delivery.ok:
                self._log_failure(
                    "message_given_up", live.key, None, channel=delivery.channel, why=delivery.detail
                )
            wanted = self._notifier.channels(message)
            progress = delivered(live.rollout.progress, delivery.telling_id, delivery.channel, wanted)
            live.rollout = live.rollout.but(progress=progress)
            touched[live.id] = live
        now = self._clock.now()
        for live in touched.values():
            nothing = Decision(live.rollout.progress, live.rollout.progress.reason, "told")
            self._take(live, None, nothing, now)

    # --- small things ------------------------------------------------------------------------------------

    def _when_done(self, future: Future[Any], then: Callable[[Any, BaseException | None], None]) -> None:
        """Hand a finished call's result to the tick's thread, and have it tick soon."""

        generation = self._generation

        def take(result: Any, error: BaseException | None) -> None:
            if generation == self._generation:  # what was begun before leadership was lost concerns nobody
                then(result, error)

        def done(finished: Future[Any]) -> None:
            error = finished.exception()
            result = None if error is not None else finished.result()
            self._results.put(lambda: take(result, error))
            self._hurry()

        future.add_done_callback(done)

    def _log_failure(self, event: str, key: ServiceKey, error: BaseException | None, **more: Any) -> None:
        known = isinstance(error, AutocanaryError) or error is None
        level = _log.info if isinstance(error, NotLeader) else (_log.warning if known else _log.error)
        extra = {} if known else {"exc_info": error}
        level(
            event,
            namespace=key.namespace,
            service=key.name,
            error=str(error) if error else "",
            **more,
            **extra,
        )


def _pause(failures: int) -> float:
    """Seconds before the next try: 1, 2, 4 … 30."""
    return min(_RETRY_LAST, _RETRY_FIRST * 2.0 ** min(failures - 1, 10))
