"""What starts: a release found at a service, a recorded rollout taken up, a retry that a person asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from autocanary.controller import metric_queries
from autocanary.controller.context import RETRY_LAST, Calls, Surroundings, log_failure, pause
from autocanary.controller.create_rollout import Started, begin, mend
from autocanary.controller.notify import Tellings
from autocanary.controller.running_rollout import Live, Snapshots, unreadable
from autocanary.controller.state import Books
from autocanary.decide.detection import (
    SETTLED_AFTER,
    Memory,
    Mend,
    Refusal,
    Start,
    discover,
    remember,
    retried,
)
from autocanary.decide.policy_selection import Tie, govern
from autocanary.errors import PolicyError
from autocanary.logs import logger
from autocanary.model.observation import Observation, ServiceKey
from autocanary.model.policy import Policy
from autocanary.model.progress import Phase
from autocanary.model.reason import Reason
from autocanary.model.rollout import RETRY_STARTED, Rollout, Verb

__all__ = ["Starts"]

_log = logger("engine")


class Starts:
    """``in_force`` are the policies that decide about starts; a rollout that runs keeps its own."""

    def __init__(self, around: Surroundings, books: Books, calls: Calls, tellings: Tellings) -> None:
        self._around, self._books, self._calls, self._tellings = around, books, calls, tellings
        self._snapshots = Snapshots(around.policies)
        self._failures: dict[ServiceKey, int] = {}
        self._refused: dict[ServiceKey, tuple[str, str]] = {}
        self.in_force: Sequence[Policy] = ()

    # --- a release at a service --------------------------------------------------------------------------

    def discover(self, now: float) -> None:
        """Look at every service whose time has come; one's fault does not touch another's."""
        look_at = self._books.look_at
        for key in [key for key, when in look_at.items() if when <= now]:
            del look_at[key]
            try:
                self._look_for_a_start(key, now)
            except Exception as fault:  # noqa: BLE001 - one service's fault must not touch another's
                log_failure("look_failed", key, fault)
                look_at[key] = now + RETRY_LAST

    def _look_for_a_start(self, key: ServiceKey, now: float) -> None:
        seen = self._around.cluster.observe(key)
        if seen is None:
            self._books.learn(key, None)
            self._refused.pop(key, None)
        elif not self._books.is_taken(key):
            made = self._made_unheard(key)
            if made is not None:
                self.adopt(made, now)
            else:
                self._consider(seen, now)  # otherwise it is looked at again when that one has ended

    def _made_unheard(self, key: ServiceKey) -> Rollout | None:
        """A rollout that a failed start has made all the same: if a newer candidate took its place meanwhile,
        nobody else would take it up, until somebody touches it and two run at once.
        """
        if not self._failures.get(key):
            return None
        kept = (each for each in self._around.ledger.rollouts() if each.key == key and each.has_status)
        return next((each for each in kept if not each.is_final), None)

    def _consider(self, seen: Observation, now: float) -> None:
        key = seen.key
        history, memory = self._books.history(key), self._books.memory.get(key)
        taught = remember(memory, seen, history, now)
        if taught is not None and taught.is_unsure(now):
            self._books.look_at[key] = now + SETTLED_AFTER
        found = self._found(seen, history, memory, taught, now)
        if isinstance(found, Start):
            self._start(found, seen, taught)
        elif isinstance(found, Mend):
            self._mend(found, seen)  # what was learned before stays true
        else:
            self._books.learn(key, taught)

    def _found(
        self,
        seen: Observation,
        history: Sequence[Rollout],
        memory: Memory | None,
        taught: Memory | None,
        now: float,
    ) -> Start | Mend | None:
        key = seen.key
        policy = govern(self.in_force, seen)
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
        return found if isinstance(found, Start | Mend) else None

    def _say_once(self, key: ServiceKey, reason: str, message: str) -> None:
        if self._refused.get(key) != (reason, message):
            self._refused[key] = (reason, message)
            _log.warning(
                "rollout_refused", namespace=key.namespace, service=key.name, reason=reason, message=message
            )

    def _start(self, start: Start, seen: Observation, taught: Memory | None) -> None:
        key, around = seen.key, self._around
        self._books.starting.add(key)
        submit = around.pool.submit_first if start.catch else around.pool.submit
        future = submit(lambda: begin(around.cluster, around.ledger, around.leadership, start, seen))
        self._calls.when_done(future, lambda started, error: self._started(key, started, error, taught))

    def _started(
        self,
        key: ServiceKey,
        started: Started | None,
        error: BaseException | None,
        taught: Memory | None,
    ) -> None:
        self._books.starting.discard(key)
        now = self._around.clock.now()
        failure = error if error is not None else (started.error if started is not None else None)
        if failure is not None:
            log_failure("rollout_start_failed", key, failure)
        if started is None or started.rollout is None:
            failures = self._failures[key] = self._failures.get(key, 0) + 1
            self._books.look_at[key] = now + pause(failures)
            return
        self._failures.pop(key, None)
        self._books.learn(key, taught)
        self._books.note(started.rollout)
        self.adopt(started.rollout, now)
        if started.rollout.is_final:
            self._around.listener.finished(started.rollout)

    def _mend(self, found: Mend, seen: Observation) -> None:
        key, around = seen.key, self._around
        self._books.starting.add(key)
        future = around.pool.submit_first(
            lambda: mend(around.cluster, around.ledger, around.leadership, found, seen)
        )
        self._calls.when_done(future, lambda done, error: self._mended(key, done, error))

    def _mended(self, key: ServiceKey, done: Started | None, error: BaseException | None) -> None:
        self._books.starting.discard(key)
        now = self._around.clock.now()
        failure = error if error is not None else (done.error if done is not None else None)
        if failure is not None:
            log_failure("stable_not_put_back", key, failure)
        failures = self._failures[key] = self._failures.get(key, 0) + 1 if failure is not None else 0
        self._books.look_at[key] = now + pause(max(failures, 1))
        if done is not None and done.rollout is not None:
            self._books.note(done.rollout)
            if done.rollout.progress.untold:
                self.adopt(done.rollout, now)

    # --- a recorded rollout ------------------------------------------------------------------------------

    def adopt(self, rollout: Rollout, now: float) -> None:
        """Take a recorded rollout up, whoever started it."""
        policy: Policy | None = None
        questions: tuple[tuple[str, Any], ...] = ()
        try:
            policy = self._snapshots.restore(rollout)
            questions = metric_queries.questions_for(rollout, policy)
        except (PolicyError, ValueError) as error:
            log_failure("rollout_not_readable", rollout.key, error)
            policy = policy if policy is not None else unreadable(rollout)
        live = Live(rollout, policy, questions, recorded=rollout.progress, recorded_at=now)
        self._failures.pop(rollout.key, None)
        self._books.note(rollout)
        self._books.begin(live, now)
        self._tellings.tell(live)

    # --- another attempt ---------------------------------------------------------------------------------

    def retry_if_asked(self, past: Rollout, now: float) -> None:
        """``retry`` of a rolled-back candidate starts a new attempt; any wish is answered."""
        request = past.request
        if request is None or request.id == past.progress.answered:
            return
        seen = self._around.cluster.observe(past.key)
        start: Start | None = None
        text = f"this rollout has ended: {past.progress.phase.value} ({past.progress.reason.value})"
        if request.verb == Verb.RETRY.value:
            found = self._retried(past, seen, now)
            start = found if isinstance(found, Start) else None
            text = f"{RETRY_STARTED}{found.rollout.name}" if isinstance(found, Start) else found
        answered = past.but(progress=past.progress.but(answered=request.id, answer=text))
        self._books.note(answered)
        future = self._around.pool.submit(lambda: self._around.ledger.record(answered))
        self._calls.when_done(future, lambda rollout, error: self._answered(rollout, error, past))
        if start is not None and seen is not None:
            self._start(start, seen, self._books.memory.get(past.key))

    def _retried(self, past: Rollout, seen: Observation | None, now: float) -> Start | str:
        """The new attempt, or why there can be none."""
        if self._books.is_taken(past.key):
            return "another rollout of this service is running"
        if past.progress.phase is not Phase.ROLLED_BACK:
            return f"only a rolled-back rollout can be tried again; this one is {past.progress.phase.value}"
        if seen is None or seen.created != past.candidate or not seen.is_made_of(past.candidate_digest):
            return f"{past.candidate} is no longer the newest revision; there is nothing to try again"
        if seen.rolled_out == past.candidate:
            return f"{past.candidate} has been rolled out meanwhile; there is nothing to try again"
        if seen.rolled_out != past.stable:
            return f"stable is {seen.rolled_out} now, not {past.stable}; release the candidate anew instead"
        policy = govern(self.in_force, seen)
        if not isinstance(policy, Policy):
            return "no policy selects the service any more"
        return retried(past, seen, policy, self._books.history(past.key), now)

    def _answered(self, rollout: Rollout | None, error: BaseException | None, past: Rollout) -> None:
        if rollout is not None:
            self._books.note(rollout)
        if error is not None:
            log_failure("answer_not_recorded", past.key, error)
