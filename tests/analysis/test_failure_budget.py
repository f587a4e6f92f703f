"""The budget of failed requests: each failure is counted once, whatever restarts, is reset or vanishes."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autocanary.analysis import AnalysisInput, Evaluation, Outcome, Verdict, analyse
from autocanary.analysis.analyse import BUDGET_METRIC
from autocanary.analysis.failure_budget import FailureBudget
from autocanary.model.measurement import FailureCounts, Measurement, MeasurementKind, Unit
from autocanary.model.policy import Analysis, Metric, Range
from autocanary.model.reason import Reason

SUCCESS = Metric("request-success-rate", Range(min=0.0), Unit.PERCENT)


@dataclass
class Pods:
    """The candidate's processes, and an account of the adapter over them."""

    raw: dict[str, float] = field(default_factory=dict)
    shown: dict[str, float] = field(default_factory=dict)
    failed: float = 0.0
    account: int = 0
    total: float = 0.0

    def fail(self, pod: str, count: int) -> None:
        self.raw[pod] = self.raw.get(pod, 0.0) + count
        self.shown[pod] = self.raw[pod]
        self.failed += count
        self.total += count

    def reset(self, pod: str) -> None:
        """The container restarts: its counter begins again, and shows 0 until it fails again."""
        if pod in self.raw:
            self.raw[pod] = self.shown[pod] = 0.0

    def vanish(self, pod: str) -> None:
        """The pod is gone; within one account its last value is kept."""
        self.raw.pop(pod, None)

    def restart(self) -> None:
        """autocanary restarts: a new account, which knows the pods that are there."""
        self.account += 1
        self.total, self.shown = 0.0, dict(self.raw)

    def counts(self) -> FailureCounts:
        by_process = {pod: value for pod, value in self.shown.items() if value > 0}
        return FailureCounts(f"account-{self.account}", self.total, by_process)


def through_json(budget: FailureBudget) -> FailureBudget:
    return FailureBudget.from_dict(json.loads(json.dumps(budget.to_dict())))


PODS = st.sampled_from("abc")
EVENTS = st.one_of(
    st.tuples(st.just("fail"), PODS, st.integers(1, 50)),
    st.tuples(st.just("reset"), PODS, st.just(0)),
    st.tuples(st.just("vanish"), PODS, st.just(0)),
    st.tuples(st.just("restart"), PODS, st.just(0)),
    st.tuples(st.just("silence"), PODS, st.just(0)),
)


@given(st.lists(EVENTS, max_size=60))
def test_every_failure_is_counted_exactly_once(events: list[tuple[str, str, int]]) -> None:
    """Read after every event: resets, vanished pods, restarts and answers that do not come change nothing."""
    pods, budget = Pods(), FailureBudget()
    budget = budget.add(pods.counts(), count_from_zero=True)
    for kind, pod, count in events:
        if kind == "fail":
            pods.fail(pod, count)
        elif kind == "silence":
            budget = through_json(budget.add(None, count_from_zero=True))
            continue
        elif kind == "restart":
            pods.restart()
        else:
            getattr(pods, kind)(pod)
        budget = through_json(budget.add(pods.counts(), count_from_zero=True))
        assert budget.failed == pods.failed


@given(st.lists(EVENTS, max_size=60), st.data())
def test_what_is_read_seldom_is_never_counted_twice(events: list[tuple[str, str, int]], data: st.DataObject) -> None:
    """With any number of events between two records the count is never above the truth."""
    pods, budget = Pods(), FailureBudget()
    for kind, pod, count in events:
        if kind == "fail":
            pods.fail(pod, count)
        elif kind == "restart":
            pods.restart()
        elif kind != "silence":
            getattr(pods, kind)(pod)
        if data.draw(st.booleans()):
            budget = through_json(budget.add(pods.counts(), count_from_zero=True))
            assert budget.failed <= pods.failed


def test_failures_while_autocanary_did_not_run_are_counted() -> None:
    """Those of known pods, of new ones, and of one whose counter was reset."""
    pods, budget = Pods(), FailureBudget()
    pods.fail("a", 10)
    pods.fail("b", 20)
    budget = budget.add(pods.counts(), count_from_zero=True)
    pods.fail("a", 5)
    pods.reset("b")
    pods.fail("b", 3)
    pods.fail("c", 7)
    pods.restart()
    budget = through_json(budget).add(pods.counts(), count_from_zero=True)
    assert budget.failed == 45
    assert budget.add(pods.counts(), count_from_zero=True).failed == 45


def test_a_retried_revision_begins_at_zero() -> None:
    """What it failed in the attempt before is not this rollout's harm."""
    pods = Pods()
    pods.fail("a", 500)
    budget = FailureBudget().add(pods.counts(), count_from_zero=False)
    assert budget.failed == 0
    pods.fail("a", 2)
    assert budget.add(pods.counts(), count_from_zero=False).failed == 2


def test_more_processes_than_are_kept_are_not_counted_twice() -> None:
    """The state is bounded; what is no longer known counts from where it is seen again."""
    pods, budget = Pods(), FailureBudget()
    for number in range(500):
        pods.fail(f"pod-{number}", 3)
        budget = budget.add(pods.counts(), count_from_zero=True)
    assert budget.failed == 1500
    assert len(json.dumps(budget.to_dict())) < 500
    pods.restart()
    budget = through_json(budget).add(pods.counts(), count_from_zero=True)
    assert budget.failed == 1500
    pods.fail("pod-499", 4)
    assert budget.add(pods.counts(), count_from_zero=True).failed == 1504


@pytest.mark.parametrize(
    "raw",
    [
        {"version": 9, "failed": 12},
        {"version": 1, "failed": 12, "account": "a", "total": "many", "processes": ""},
        {"version": 1, "failed": 12, "processes": []},
    ],
)
def test_unreadable_state_keeps_its_number(raw: dict[str, object]) -> None:
    """Of another version, or edited: the harm that was done stays counted, and nothing is counted twice."""
    pods = Pods()
    pods.fail("a", 100)
    budget = FailureBudget.from_dict(raw).add(pods.counts(), count_from_zero=True)
    assert budget.failed == 12
    pods.fail("a", 1)
    assert budget.add(pods.counts(), count_from_zero=True).failed == 13


def test_numbers_that_are_none_are_ignored() -> None:
    budget = FailureBudget(5, "a", 5.0)
    assert budget.add(FailureCounts("a", float("nan")), count_from_zero=True) is budget
    assert budget.add(FailureCounts("b", 1.0, {"x": float("inf")}), count_from_zero=True) is budget


def evaluated(total: float, *, most: int = 1000, **changes: object) -> Verdict:
    analysis = Analysis((SUCCESS,), max_failed_requests=most)
    success = Measurement(MeasurementKind.VALUE, 99.9, Unit.PERCENT, 500.0)
    failures = FailureCounts("a", total, {"x": total})
    reading = replace(success, **{"failures": failures, **changes})  # type: ignore[arg-type]
    warming = bool(changes) and changes.get("detail") == "warming"
    measurements = {SUCCESS.name: success, BUDGET_METRIC: reading}
    return analyse(analysis, [SUCCESS], AnalysisInput(Evaluation(warming=warming), measurements))


def test_a_spent_budget_fails_whatever_the_metrics_say() -> None:
    """Everything else is in range, and during a warm-up too."""
    below = evaluated(999)
    assert (below.outcome, below.reason) == (Outcome.PASS, Reason.ANALYSING)
    assert below.failed_requests is not None
    assert (below.failed_requests["failed"], below.failed_requests["max"]) == (999, 1000)
    for found in (evaluated(1204), evaluated(1204, detail="warming")):
        assert (found.outcome, found.reason) == (Outcome.FAIL, Reason.FAILED_REQUESTS_EXCEEDED)
        assert found.message == "1,204 failed requests, the budget is 1,000"
    assert evaluated(1000).outcome is Outcome.FAIL  # reached, not exceeded


def test_a_budget_that_cannot_be_counted_holds() -> None:
    """A source without counters, or a Prometheus that does not answer: nothing passes uncounted."""
    without = evaluated(0, failures=None, detail="no counts: the source has only rates")
    assert (without.outcome, without.reason) == (Outcome.OUTAGE, Reason.METRICS_OUTAGE)
    assert without.message.startswith("the failed requests cannot be counted: measured: no counts")
    silent = evaluated(0, kind=MeasurementKind.OUTAGE, failures=None)
    assert (silent.outcome, silent.reason) == (Outcome.OUTAGE, Reason.METRICS_OUTAGE)
    assert evaluated(0, kind=MeasurementKind.NO_SERIES, failures=None).outcome is Outcome.PASS


def test_without_a_budget_nothing_is_counted() -> None:
    found = analyse(Analysis((SUCCESS,)), [SUCCESS], AnalysisInput(Evaluation(), {}))
    assert found.failed_requests is None
