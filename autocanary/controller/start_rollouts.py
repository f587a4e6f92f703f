"""Start rollouts: from a detected release, from a record that is adopted, or from a user's retry.

Over 300 lines because detection, adoption and retries share what is known of a service's failed starts.
"""

from __future__ import annotations

from collections.abc import Sequence

from autocanary.controller.adopted_record import read_record
from autocanary.controller.context import (
    MAX_RETRY_SECONDS,
    Dependencies,
    PendingCalls,
    backoff_seconds,
    isolated,
    log_failure,
)
from autocanary.controller.create_rollout import StartResult, create_rollout, repair_stable
from autocanary.controller.notify import Notifications
from autocanary.controller.policy_snapshots import PolicySnapshots
from autocanary.controller.running_rollout import RunningRollout
from autocanary.controller.state import ControllerState
from autocanary.decide.detection import (
    UNCHANGED_SECONDS,
    Refusal,
    RepairStable,
    StableRevisionTracker,
    StartRollout,
    detect,
    missed_without_status,
    retry_rollout,
    track_stable_revision,
)
from autocanary.decide.policy_selection import Tie, select_policy_for
from autocanary.logs import logger
from autocanary.model.frozen_copy import replace
from autocanary.model.observation import Observation, ServiceKey
from autocanary.model.policy import Policy
from autocanary.model.progress import Phase, Progress
from autocanary.model.reason import Reason
from autocanary.model.rollout import RETRY_STARTED, Rollout, Verb

__all__ = ["RolloutStarts"]

_log = logger("autocanary.controller")


class RolloutStarts:
    """``current_policies`` are the policies that decide about starts; a rollout that runs keeps its own.

    Not thread-safe: called on the tick's thread only.
    """

    def __init__(
        self,
        dependencies: Dependencies,
        state: ControllerState,
        calls: PendingCalls,
        notifications: Notifications,
    ) -> None:
        self._dependencies, self._state = dependencies, state
        self._pending_calls, self._notifications = calls, notifications
        self._policy_snapshots = PolicySnapshots(dependencies.policies)
        self._failures: dict[ServiceKey, int] = {}
        self._warned: dict[ServiceKey, tuple[str, str]] = {}
        self.current_policies: Sequence[Policy] = ()

    def use_policies(self, policies: Sequence[Policy]) -> None:
        """These decide about starts from now on."""
        self.current_policies = policies

    def start(self, now: float) -> None:
        """Answer the user requests on finished rollouts, then detect releases where that is due."""
        for past in self._state.take_finished():
            with isolated("request_not_answered", namespace=past.namespace, rollout=past.name):
                self._answer_request(past, now)
        for key in self._state.take_detections(now):
            try:
                self._detect_for_service(key, now)
            except Exception as error:  # noqa: BLE001 - one service's failure must not touch another's
                log_failure("detection_failed", key, error)
                self._state.detect_at(key, now + MAX_RETRY_SECONDS)

    # --- a release at a service --------------------------------------------------------------------------

    def _detect_for_service(self, key: ServiceKey, now: float) -> None:
        observation = self._dependencies.cluster.observe(key)
        if observation is None:
            self._state.set_tracker(key, None)
            self._warned.pop(key, None)
            return
        self._end_without_status(observation, now)
        if not self._state.has_active_rollout(key):  # its end has its service detected again
            unadopted = self._unadopted_rollout(key)
            if unadopted is not None:
                self.adopt(unadopted, now)
            else:
                self._detect_release(observation, now)

    def _unadopted_rollout(self, key: ServiceKey) -> Rollout | None:
        """A rollout that a failed start has recorded all the same: when a newer candidate took its place meanwhile,
        only this adopts it; otherwise a later change of the record would, and two would run at once.
        """
        if not self._failures.get(key):
            return None
        kept = (each for each in self._dependencies.store.rollouts() if each.key == key and each.has_status)
        return next((each for each in kept if not each.is_final), None)

    def _end_without_status(self, observation: Observation, now: float) -> None:
        """A newer candidate came before the first status of an older one's rollout was written: that one ends.

        It never ran, so no weight is written and nothing is notified. One that has all the traffic meanwhile was
        promoted without an analysis: that is notified.
        """
        key = observation.key
        if self._state.is_starting(key):
            return
        for id_ in self._state.take_without_status(key):
            stored = self._dependencies.store.cached(*id_)
            if stored is None or stored.has_status or stored.service_uid != observation.uid:
                continue
            promoted = observation.created == observation.rolled_out == stored.candidate != stored.stable
            if promoted and observation.default_endpoint is None:
                self._store_end(missed_without_status(stored, observation, now))
                continue
            if observation.created in ("", stored.stable, stored.candidate):
                self._state.add_without_status(stored)  # detection completes it, or the status is from before it
                continue
            message = f"{observation.created} was applied before the rollout of {stored.candidate} could be started"
            progress = Progress(Phase.SUPERSEDED, Reason.NEW_REVISION, message, stored.created_at, now, finished_at=now)
            self._store_end(replace(stored, progress=progress))

    def _store_end(self, ended: Rollout) -> None:
        def on_stored(rollout: Rollout | None, error: BaseException | None) -> None:
            if rollout is not None:
                self._state.add_to_history(rollout)
                if rollout.progress.outbox.pending:
                    self.adopt(rollout, self._dependencies.clock.now())
                return
            if error is not None:
                log_failure("rollout_end_not_stored", ended.key, error, rollout=ended.name)
            self._state.add_without_status(ended)
            self._state.detect_at(ended.key, self._dependencies.clock.now() + MAX_RETRY_SECONDS)

        self._pending_calls.run(
            self._dependencies.pool.submit, lambda: self._dependencies.store.update_status(ended), on_stored
        )

    def _detect_release(self, observation: Observation, now: float) -> None:
        key = observation.key
        history, tracker = self._state.history(key), self._state.tracker(key)
        updated_tracker = track_stable_revision(tracker, observation, history, now)
        if updated_tracker is not None and updated_tracker.needs_evaluation(now):
            self._state.detect_at(key, now + UNCHANGED_SECONDS)
        found = self._find_start(observation, history, tracker, updated_tracker, now)
        if isinstance(found, StartRollout):
            self._start(found, observation, updated_tracker)
        elif isinstance(found, RepairStable):
            self._repair_stable(found, observation)  # the tracker stays as it was
        else:
            self._state.set_tracker(key, updated_tracker)

    def _find_start(
        self,
        observation: Observation,
        history: Sequence[Rollout],
        tracker: StableRevisionTracker | None,
        updated_tracker: StableRevisionTracker | None,
        now: float,
    ) -> StartRollout | RepairStable | None:
        key = observation.key
        policy = select_policy_for(self.current_policies, observation)
        if policy is None:
            return None
        if isinstance(policy, Tie):
            self._warn_once(key, Reason.POLICY_TIE.value, str(policy))
            return None
        is_missed = tracker is not None and tracker.uid == observation.uid and tracker.stable != observation.rolled_out
        basis = tracker if is_missed else updated_tracker
        found = detect(observation, policy, history, basis, now)
        if isinstance(found, Refusal):
            self._warn_once(key, found.reason.value, found.message)
        return found if isinstance(found, StartRollout | RepairStable) else None

    def _warn_once(self, key: ServiceKey, reason: str, message: str) -> None:
        if self._warned.get(key) != (reason, message):
            self._warned[key] = (reason, message)
            _log.warning("rollout_refused", namespace=key.namespace, service=key.name, reason=reason, message=message)

    def _start(
        self, start: StartRollout, observation: Observation, updated_tracker: StableRevisionTracker | None
    ) -> None:
        key, dependencies = observation.key, self._dependencies
        self._state.begin_start(key)
        self._pending_calls.run(
            dependencies.pool.submit_urgent if start.intercept else dependencies.pool.submit,
            lambda: create_rollout(
                dependencies.cluster, dependencies.store, dependencies.leadership, start, observation
            ),
            lambda started, error: self._on_started(start.rollout, started, error, updated_tracker),
        )

    def _on_started(
        self,
        desired: Rollout,
        started: StartResult | None,
        error: BaseException | None,
        updated_tracker: StableRevisionTracker | None,
    ) -> None:
        key = desired.key
        self._state.finish_start(key)
        now = self._dependencies.clock.now()
        failure = error if error is not None else (started.error if started is not None else None)
        if failure is not None:
            log_failure("rollout_start_failed", key, failure)
        if started is None or started.rollout is None:
            stored = self._dependencies.store.cached(desired.namespace, desired.name)
            if stored is not None and not stored.has_status:
                self._state.add_without_status(stored)
            failures = self._failures[key] = self._failures.get(key, 0) + 1
            self._state.detect_at(key, now + backoff_seconds(failures))
            return
        self._failures.pop(key, None)
        self._state.set_tracker(key, updated_tracker)
        self._state.add_to_history(started.rollout)
        self.adopt(started.rollout, now)
        if started.rollout.is_final:
            self._dependencies.listener.on_rollout_finished(started.rollout)

    def _repair_stable(self, found: RepairStable, observation: Observation) -> None:
        key, dependencies = observation.key, self._dependencies
        self._state.begin_start(key)
        self._pending_calls.run(
            dependencies.pool.submit_urgent,
            lambda: repair_stable(
                dependencies.cluster, dependencies.store, dependencies.leadership, found, observation
            ),
            lambda done, error: self._on_stable_repaired(key, done, error),
        )

    def _on_stable_repaired(self, key: ServiceKey, done: StartResult | None, error: BaseException | None) -> None:
        self._state.finish_start(key)
        now = self._dependencies.clock.now()
        failure = error if error is not None else (done.error if done is not None else None)
        if failure is not None:
            log_failure("stable_repair_failed", key, failure)
        failures = self._failures[key] = self._failures.get(key, 0) + 1 if failure is not None else 0
        self._state.detect_at(key, now + backoff_seconds(max(failures, 1)))
        if done is not None and done.rollout is not None:
            self._state.add_to_history(done.rollout)
            if done.rollout.progress.outbox.pending:
                self.adopt(done.rollout, now)

    # --- a recorded rollout ------------------------------------------------------------------------------

    def adopt(self, rollout: Rollout, now: float) -> None:
        """Continue a recorded rollout from here on; a record that cannot be used is set aside."""
        self._state.add_to_history(rollout)
        try:
            corrected, policy = read_record(rollout, self._policy_snapshots, now)
            running = RunningRollout(corrected, policy, stored=rollout.progress, stored_at=now)
        except Exception as error:  # noqa: BLE001 - one record must not keep the others from being adopted
            self._state.set_aside(rollout)
            self._dependencies.listener.on_evaluation_failed(rollout)
            log_failure("rollout_set_aside", rollout.key, error, rollout=rollout.name)
            return
        self._state.clear_set_aside(running.id)
        self._failures.pop(rollout.key, None)
        self._state.track(running, now)
        self._notifications.send_later(running, now)

    # --- another attempt ---------------------------------------------------------------------------------

    def _answer_request(self, past: Rollout, now: float) -> None:
        """``retry`` of a rolled-back candidate starts a new attempt; any other request is answered with a no."""
        request = past.request
        if request is None or request.id == past.progress.requests.answered_id:
            return
        observation = self._dependencies.cluster.observe(past.key)
        start: StartRollout | None = None
        text = f"this rollout has ended: {past.progress.phase.value} ({past.progress.reason.value})"
        if request.verb == Verb.RETRY.value:
            policy = select_policy_for(self.current_policies, observation) if observation is not None else None
            found = retry_rollout(
                past,
                observation,
                policy if isinstance(policy, Policy) else None,
                self._state.history(past.key),
                now,
                is_busy=self._state.has_active_rollout(past.key),
            )
            start = found if isinstance(found, StartRollout) else None
            text = f"{RETRY_STARTED}{found.rollout.name}" if isinstance(found, StartRollout) else found
        answered = replace(
            past,
            progress=replace(
                past.progress, requests=replace(past.progress.requests, answered_id=request.id, answer=text)
            ),
        )
        self._state.add_to_history(answered)
        self._pending_calls.run(
            self._dependencies.pool.submit,
            lambda: self._dependencies.store.update_status(answered),
            lambda rollout, error: self._on_request_answered(rollout, error, past),
        )
        if start is not None and observation is not None:
            self._start(start, observation, self._state.tracker(past.key))

    def _on_request_answered(self, rollout: Rollout | None, error: BaseException | None, past: Rollout) -> None:
        if rollout is not None:
            self._state.add_to_history(rollout)
        if error is not None:
            log_failure("request_answer_not_stored", past.key, error)
