"""One running rollout in memory: the recorded state, the policy it keeps, and the calls under way for it.

Over 300 lines because one object owns the state of a rollout between ticks, and only its short methods change it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from autocanary.analysis.new_samples import COUNTS_SPACING
from autocanary.analysis.thresholds import UNBOUNDED
from autocanary.analysis.verdict import Outcome, Verdict
from autocanary.controller import metric_queries
from autocanary.controller.adopted_record import without_future_times
from autocanary.controller.context import MAX_RETRY_SECONDS, backoff_seconds
from autocanary.controller.recorded_changes import must_record
from autocanary.controller.sample_times import SampleTimes
from autocanary.controller.write import WriteResult
from autocanary.decide.components import OtherComponent
from autocanary.decide.decision_input import DecisionInput, WebhookAnswer
from autocanary.errors import CanaryUnsupported
from autocanary.model.decision import Action, Decision
from autocanary.model.frozen_copy import replace
from autocanary.model.measurement import Measurement, MetricQuery
from autocanary.model.observation import Observation, ServiceKey
from autocanary.model.policy import Metric, Policy, WebhookType
from autocanary.model.progress import Phase, Progress
from autocanary.model.rollout import Rollout, RolloutId, with_known_subject
from autocanary.model.time_format import format_time
from autocanary.ports import Delivery, WebhookCall

__all__ = ["QueryGroup", "RunningRollout"]


class QueryGroup(NamedTuple):
    """Rollouts with queries of their own that wait for each other: of one namespace and Prometheus, with web metrics
    or without."""

    namespace: str
    server: str
    web: bool


_DEFAULT_INTERVAL = 30.0
_UNVERIFIED_SECONDS = 15.0  # between two evaluations while the weight is not in effect
_ROLLBACK_SECONDS = 2.0  # between two evaluations of a rollback, and between two tries to write it
_REFRESH_SECONDS = 30.0  # no rollout refreshes its unchanged status more often than this ...
_REFRESHES_PER_SECOND = 3.0  # ... nor do all of them together more often than this
_WRITE_SECONDS = 2.0  # a write ends at most this long after the evaluation that it was made for
_MAX_RECENT_DELIVERIES = 40
_OVERDUE_INTERVALS = 3
_OVERDUE_MESSAGE = "not evaluated since "
_EVALUATED_PHASES = frozenset({Phase.PROGRESSING, Phase.HOLDING, Phase.BAKING})


@dataclass(slots=True, eq=False)
class RunningRollout:
    """The state of one rollout between two ticks; only its own methods change it.

    Not thread-safe: the tick's thread alone reads and changes it. Workers get immutable values (``rollout``, a
    decision, queries), and ``PendingCalls`` hands their results back to the tick's thread.

    ``stored`` is the progress that the rollout store is known to hold. ``writing`` is True while a worker writes for
    the rollout, ``querying`` while its metrics are queried, ``calling_webhooks`` while its webhooks are called: a slow
    webhook delays no evaluation of the metrics. ``failures`` counts writes that failed in a row;
    ``call_number`` the calls that were abandoned: a result of one with an older number is not used.
    """

    rollout: Rollout
    policy: Policy | None
    stored: Progress | None = None
    stored_at: float = 0.0
    writing: bool = False
    querying: bool = False
    calling_webhooks: bool = False
    failures: int = 0
    call_number: int = 0
    webhook_answers: dict[WebhookType, tuple[WebhookAnswer, ...]] = field(default_factory=dict)
    acknowledged_weight: int | None = None
    _unsupported_reason: str = ""
    _evaluate_again: bool = False
    _evaluated_at: float = 0.0
    _failed_evaluations: int = 0
    _last_error: str = ""
    _overdue_since: float | None = None
    _message_before: str = ""
    _writing_since: float = 0.0
    _querying_since: float | None = None
    _queried_at: float | None = None
    _webhooks_called_at: float | None = None
    _pending_verdict: Verdict | None = None
    _queued_notifications: set[str] = field(default_factory=set)
    _recent_deliveries: list[Delivery] = field(default_factory=list)
    _sequence: int = 0
    _phase_offset: float = 0.0
    _queried: tuple[tuple[str, MetricQuery], ...] = ()
    _queries_by_step: dict[int, tuple[tuple[str, MetricQuery], ...]] = field(default_factory=dict)
    _all_metrics: tuple[Metric, ...] | None = None
    _sample_times: SampleTimes = field(default_factory=SampleTimes)
    _planned_from: tuple[object, ...] = ()
    _folded: tuple[str, int] = ("", 0)

    @property
    def queries(self) -> tuple[tuple[str, MetricQuery], ...]:
        """The metric queries of the present step, with the metrics' names."""
        if self.policy is None:
            return ()
        step = max(self.rollout.progress.step.index, 0)
        queries = self._queries_by_step.get(step)
        if queries is None:
            queries = metric_queries.metric_queries_for(self.rollout, self.policy, step)
            self._queries_by_step = {step: queries}  # a rollout does not come back to a step
        return queries

    @property
    def id(self) -> RolloutId:
        return self.rollout.namespace, self.rollout.name

    @property
    def key(self) -> ServiceKey:
        return self.rollout.key

    @property
    def interval(self) -> float:
        """Seconds between two evaluations of the metrics."""
        return self.policy.analysis.interval if self.policy is not None else _DEFAULT_INTERVAL

    @property
    def server(self) -> str:
        """The Prometheus that the policy names; empty is the main one."""
        return self.policy.analysis.server if self.policy is not None else ""

    @property
    def has_own_queries(self) -> bool:
        """Whether a metric is a query that the policy's author wrote, or is asked of a service that they name."""
        return any(query.query or query.web is not None for _, query in self.queries)

    @property
    def query_group(self) -> QueryGroup:
        """The rollouts with queries of their own that are queried together with this one."""
        return QueryGroup(self.id[0], self.server, any(query.web is not None for _, query in self.queries))

    @property
    def is_idle(self) -> bool:
        """Whether no call is under way and no notification undelivered."""
        busy = self.writing or self.querying or self.calling_webhooks
        return not busy and not self.rollout.progress.outbox.pending

    @property
    def has_ended(self) -> bool:
        """Whether the rollout is over and the rollout store holds its last progress."""
        return self.rollout.is_final and self.stored == self.rollout.progress

    def join(self, sequence: int, phase_offset: float, now: float) -> None:
        """Take a place among the others: where they take turns, and within the interval (``phase_offset`` seconds)."""
        self._sequence, self._phase_offset = sequence, phase_offset
        self._evaluated_at = now

    # --- when to evaluate --------------------------------------------------------------------------------

    def next_due_at(self, now: float) -> float:
        """When the next evaluation is due: on a grid, so that rollouts of one interval share their queries."""
        # Until a weight is in effect autocanary's own deadlines run, not the policy's interval.
        limit = _UNVERIFIED_SECONDS if self.rollout.progress.step.verified_at is None else math.inf
        if self.rollout.progress.phase is Phase.ROLLING_BACK:
            limit = _ROLLBACK_SECONDS
        due = (self._evaluation_index(now, limit) + 1) * min(self.interval, limit) + self._phase_offset
        # A write that fails is tried again earlier, and never delays the evaluation: it may decide a rollback.
        return min(due, now + backoff_seconds(self.failures)) if self.failures else due

    def needs_evaluation(self, given: DecisionInput) -> bool:
        """Whether the metrics must be queried: once per interval, however often a watch event comes."""
        if not metric_queries.is_measurable(given) or self.querying:
            return False
        return self._queried_at is None or self._passed_evaluation_since(self._queried_at, given.now)

    @property
    def is_busy(self) -> bool:
        """Whether a worker queries the rollout's metrics, or a verdict waits for the end of a write."""
        return self.querying or self._pending_verdict is not None

    @property
    def preset_queries(self) -> tuple[tuple[str, MetricQuery], ...]:
        """The queries that early evaluations make: those whose newest sample is known."""
        queries = self.queries
        return tuple([each for each in queries if not each[1].query]) if self.has_own_queries else queries

    def next_sample_at(self) -> float | None:
        """When to evaluate the rollout early; None while it is not evaluated, or its samples are not known."""
        progress, policy = self.rollout.progress, self.policy
        if policy is None or progress.step.verified_at is None or progress.phase not in _EVALUATED_PHASES:
            return None
        if not self.preset_queries:
            return None
        analysis = policy.analysis_at(progress.step.index)
        every_sample = analysis.max_failed_requests is not None or any(
            metric.range != UNBOUNDED and not metric.query for metric in analysis.metrics
        )
        at = self._sample_times.next_at(0.0 if every_sample else COUNTS_SPACING * analysis.interval)
        if at is None or analysis.max_failed_requests is not None:
            return at
        return max(at, progress.step.verified_at + policy.warmup_at(progress.step.index))

    def add_samples(self, measurements: Mapping[MetricQuery, Measurement], now: float) -> None:
        """Learn when the candidate's samples come."""
        self._sample_times.add([measurements[query] for _, query in self.queries if query in measurements], now)

    def missed_evaluation(self, now: float) -> bool:
        """Whether a regular evaluation came due while the present query was under way."""
        return self._querying_since is not None and self._passed_evaluation_since(self._querying_since, now)

    def retry_at(self, now: float) -> float:
        """When to evaluate again after an evaluation that failed: after 1, 2, 4 … s, or when the next one is due."""
        return min(self.next_due_at(now), now + backoff_seconds(max(1, self._failed_evaluations)))

    # --- evaluated in time? ------------------------------------------------------------------------------

    def finish_evaluation(self, now: float) -> None:
        """The rollout was evaluated completely: with its metrics, where they can be measured."""
        self._evaluated_at, self._failed_evaluations, self._last_error = now, 0, ""
        self._overdue_since = None
        if self.rollout.progress.message.startswith(_OVERDUE_MESSAGE):
            message = self._message_before or "evaluated again"
            self.rollout = replace(self.rollout, progress=replace(self.rollout.progress, message=message))

    def fail_evaluation(self, error: BaseException | None) -> None:
        """An evaluation did not come to its end."""
        self._failed_evaluations += 1
        self._last_error = type(error).__name__ if error is not None else ""

    @property
    def is_overdue(self) -> bool:
        """Whether ``mark_overdue`` was called and no evaluation has finished since."""
        return self._overdue_since is not None

    @property
    def last_error(self) -> str:
        """The kind of error that the last evaluation failed with."""
        return self._last_error

    def misses_evaluations(self, now: float) -> bool:
        """Whether no evaluation has finished for three intervals (and for longer than retries are apart)."""
        return not self.rollout.is_final and now - self._evaluated_at > self._overdue_seconds

    @property
    def _overdue_seconds(self) -> float:
        return max(_OVERDUE_INTERVALS * self.interval, 2 * MAX_RETRY_SECONDS)

    def abandon_calls(self, now: float) -> tuple[str, ...]:
        """Give up the writes and queries that have been under way for longer than an overdue rollout may wait.

        A worker that hangs must not keep the rollout busy. What it still does arrives as another client's change: each
        write names the version that it was decided on. Returns what was abandoned, in one word each.
        """
        began = {"write": self._writing_since if self.writing else None, "query": self._querying_since}
        hanging = tuple(name for name, since in began.items() if since is not None and self._hangs(since, now))
        if "write" in hanging:
            self.writing, self._evaluate_again = False, False
        if "query" in hanging:
            self.finish_query(answered=False)
        self.call_number += bool(hanging)
        return hanging

    def _hangs(self, since: float, now: float) -> bool:
        return now - since > self._overdue_seconds

    def mark_overdue(self, now: float) -> bool:
        """Put it into the status message; whether this is new."""
        is_new = self._overdue_since is None
        if is_new:
            self._overdue_since, self._message_before = now, self.rollout.progress.message
        reason = f": {self._last_error}" if self._last_error else ""
        message = f"{_OVERDUE_MESSAGE}{format_time(self._evaluated_at)}{reason}; see the log of autocanary"
        if self.rollout.progress.message != message:
            self.rollout = replace(self.rollout, progress=replace(self.rollout.progress, message=message))
        return is_new

    # --- changes during a write --------------------------------------------------------------------------

    def evaluate_after_write(self) -> None:
        """Something changed while a worker writes for the rollout: evaluate it again after that."""
        self._evaluate_again = True

    def take_evaluate_again(self, now: float) -> bool:
        """Whether an evaluation came due, or something changed, while the write was under way.

        What has failed waits for its retry instead.
        """
        missed = not self.failures and self._passed_evaluation_since(self._writing_since, now)
        due, self._evaluate_again = self._evaluate_again or missed, False
        return due

    def _passed_evaluation_since(self, since: float, now: float) -> bool:
        return self._evaluation_index(now) > self._evaluation_index(since)

    def _evaluation_index(self, at: float, limit: float = math.inf) -> int:
        """How many evaluations were due until then: the same for all rollouts of one interval and phase offset."""
        return int((at - self._phase_offset) // min(self.interval, limit))

    # --- the decision's input ----------------------------------------------------------------------------

    def decision_input(
        self,
        observation: Observation | None,
        now: float,
        *,
        cache_age: float = 0.0,
        other_components: tuple[OtherComponent, ...] = (),
    ) -> DecisionInput | None:
        """Everything that the decision about this rollout is made from; None while its policy is not known.

        Holds the verdict that came while a worker wrote for the rollout, once.
        """
        if self.policy is None:
            return None
        verdict, self._pending_verdict = self._pending_verdict, None
        return DecisionInput(
            policy=self.policy,
            rollout=self.rollout,
            observation=observation,
            now=now,
            verdict=verdict,
            webhook_answers=self.webhook_answers,
            cache_age=cache_age,
            acknowledged_weight=self.acknowledged_weight,
            unsupported_reason=self._unsupported_reason,
            other_components=other_components,
        )

    def was_planned_from(self, given: DecisionInput) -> bool:
        """Whether nothing but time has passed since the last plan; remembers ``given`` for the next one."""
        rollout, before = given.rollout, self._planned_from
        answers = tuple(given.webhook_answers.values())
        self._planned_from = (given.observation, rollout.request, rollout.paused, given.other_components, answers)
        return len(before) == len(self._planned_from) and (
            before[0] is given.observation and before[1:] == self._planned_from[1:]
        )

    def begin_query(self, now: float, *, early: bool = False) -> None:
        """A worker queries the metrics from now on; ``early``: between two regular evaluations."""
        self.querying, self._querying_since = True, now
        self._queried_at = self._queried_at if early else now
        self._queried = self.queries

    @property
    def is_answer_current(self) -> bool:
        """Whether what was queried last is what the present step needs."""
        return self._queried == self.queries

    def finish_query(self, *, answered: bool = True) -> None:
        """The query has ended; ``answered`` False: it was not made and may be repeated in the same interval."""
        self.querying, self._querying_since = False, None
        if not answered:
            self._queried_at = None

    def analyse(self, given: DecisionInput, measurements: Mapping[MetricQuery, Measurement]) -> Verdict:
        """The verdict on these measurements and the newest answers of the policy's `rollout` webhooks, used once."""
        answers = self.webhook_answers.pop(WebhookType.ROLLOUT, ())
        all_metrics = self._metrics_of_all_steps(given)
        return metric_queries.analyse_measurements(given, self.queries, measurements, answers, all_metrics)

    def analyse_early(self, given: DecisionInput, measurements: Mapping[MetricQuery, Measurement]) -> Verdict | None:
        """The verdict on measurements between two regular evaluations; None where they can wait for the next one.

        The answers of `rollout` webhooks are left to the regular evaluation, and so is a pass beside such webhooks.
        """
        known = given.progress.analysis.metrics
        if any(query.query and name not in known for name, query in self.queries):
            return None  # nothing may pass without a metric that was never measured
        if not metric_queries.is_worth_an_evaluation(given, self.preset_queries, measurements):
            return None
        verdict = metric_queries.analyse_measurements(
            given, self.preset_queries, measurements, (), self._metrics_of_all_steps(given), early=True
        )
        waits = verdict.outcome is Outcome.PASS and given.policy.webhooks_of_type(WebhookType.ROLLOUT)
        return None if waits else verdict

    def _metrics_of_all_steps(self, given: DecisionInput) -> tuple[Metric, ...] | None:
        if self._all_metrics is None and given.policy.has_step_analyses:
            self._all_metrics = given.policy.all_metrics
        return self._all_metrics

    def keep_verdict(self, verdict: Verdict) -> None:
        """Keep a verdict that came while a worker writes for the rollout."""
        self._pending_verdict = verdict

    @property
    def has_pending_verdict(self) -> bool:
        return self._pending_verdict is not None

    # --- the policy's webhooks ---------------------------------------------------------------------------

    def due_webhook_calls(self, given: DecisionInput) -> tuple[WebhookCall, ...]:
        """The webhook calls to make now: one round at a time, at most two per interval."""
        if self.calling_webhooks or not given.policy.webhooks:
            return ()
        called_at, interval = self._webhooks_called_at, given.policy.analysis.interval
        if called_at is not None and given.now - called_at < interval * 0.5:
            return ()
        return metric_queries.webhook_calls_for(given)

    def begin_webhooks(self, now: float) -> None:
        """A worker calls the webhooks from now on."""
        self.calling_webhooks, self._webhooks_called_at = True, now

    def finish_webhooks(self, *, answered: bool = True) -> None:
        """The calls have ended; ``answered`` False: none was made, and they may be repeated at once."""
        self.calling_webhooks = False
        if not answered:
            self._webhooks_called_at = None

    def merge_webhook_answers(self, answers: Mapping[WebhookType, tuple[WebhookAnswer, ...]]) -> None:
        """These are the newest answers of their types."""
        self.webhook_answers.update(answers)

    # --- writing -----------------------------------------------------------------------------------------

    def apply(self, decision: Decision) -> None:
        """The decision's progress is the rollout's from now on."""
        if decision.progress is not self.rollout.progress:
            self.rollout = replace(self.rollout, progress=decision.progress)

    def needs_write(self, decision: Decision, now: float, running_count: int) -> bool:
        """Whether the decision must be recorded or written; ``running_count`` rollouts share the refreshes."""
        return (
            decision.action is not Action.NONE
            or must_record(self.stored, decision.progress)
            or self._is_refresh_due(now, running_count)
        )

    def _is_refresh_due(self, now: float, running_count: int) -> bool:
        """Whether an unchanged status is worth a write: rollouts take turns, so that writes come evenly."""
        if self.stored is self.rollout.progress:
            return False
        since_last_write = now - self.stored_at + _WRITE_SECONDS
        if since_last_write < _REFRESH_SECONDS:
            return False
        period = max(_REFRESH_SECONDS, running_count / _REFRESHES_PER_SECOND)
        every_nth = max(1, math.ceil(period / self.interval))
        return (
            self._evaluation_index(now) % every_nth == self._sequence % every_nth
            or since_last_write > 2 * every_nth * self.interval
        )

    def begin_write(self, decision: Decision, now: float) -> None:
        """A worker records and writes the decision from now on."""
        self.writing, self._writing_since = True, now
        if decision.action is not Action.NONE:
            self.acknowledged_weight = None

    def finish_write(self) -> None:
        """The worker has ended, whatever came of it."""
        self.writing = False

    def merge_result(
        self, decision: Decision, result: WriteResult | None, failure: BaseException | None, now: float
    ) -> None:
        """Take over what the rollout store and the cluster hold after a write."""
        if result is not None and (result.stored or result.changed_by_other):
            self._merge_latest(result.rollout, now)
            self.stored_at = now
        if result is not None and result.written:
            if decision.action is Action.WEIGHT:
                self.acknowledged_weight = decision.weight
            self._unsupported_reason = ""
        if isinstance(failure, CanaryUnsupported):
            self._unsupported_reason = str(failure)
        self.failures = self.failures + 1 if failure is not None and not self.has_ended else 0

    def acknowledge(self, weight: int) -> None:
        """The API server has acknowledged the write of this weight."""
        self.acknowledged_weight = weight

    # --- changes by others -------------------------------------------------------------------------------

    def merge_stored(self, latest: Rollout, now: float) -> bool:
        """Take over the object that the rollout store holds now; whether another client has written its status."""
        is_foreign, own = latest.progress != self.stored, self.rollout
        self._merge_latest(latest, now)
        if not is_foreign:
            self.rollout = replace(self.rollout, progress=own.progress)
        if latest.changed_specs != own.changed_specs:
            self.stored = None  # so that the status is written, which says it
        return is_foreign

    def _merge_latest(self, latest: Rollout, now: float) -> None:
        """Only what may change of an object: its specs stay as they were read first."""
        self.stored = latest.progress
        progress, _ = without_future_times(latest.progress, now)
        self.rollout = with_known_subject(replace(latest, progress=progress), self.rollout)

    def keep_record(self, latest: Rollout | None) -> None:
        """Another client has written a status that cannot be used: it is replaced by what is known here."""
        self.stored = None
        if latest is not None:
            self.merge_request(latest)

    def merge_request(self, latest: Rollout) -> None:
        """Take over what users request of the rollout."""
        self.rollout = replace(self.rollout, paused=latest.paused, request=latest.request)

    # --- notifications -----------------------------------------------------------------------------------

    def queue_notification(self, notification_id: str) -> bool:
        """Whether the notification must be queued: each is queued once per process."""
        if notification_id in self._queued_notifications:
            return False
        self._queued_notifications.add(notification_id)
        return True

    def set_folded(self, notification_id: str, count: int) -> None:
        """So many older notifications are not sent; the one of this id says so."""
        self._folded = (notification_id, count)

    def folded_count(self, notification_id: str) -> int:
        """How many older notifications the message of this id stands for, besides its own."""
        id_, count = self._folded
        return count if id_ == notification_id else 0

    def apply_delivery(self, delivery: Delivery, progress: Progress) -> None:
        """``progress`` has the delivery noted; kept to note it again, should another client's status replace it."""
        self._recent_deliveries = [*self._recent_deliveries, delivery][-_MAX_RECENT_DELIVERIES:]
        self.rollout = replace(self.rollout, progress=progress)

    def take_recent_deliveries(self) -> list[Delivery]:
        """The deliveries to note again, once."""
        deliveries, self._recent_deliveries = self._recent_deliveries, []
        return deliveries
