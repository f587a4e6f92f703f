"""Why a rollout does not move now: the sentence, what is missing, and the estimate."""

from __future__ import annotations

from datetime import time, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autocanary.model.comparison_summary import ComparisonSummary, RevisionCounts
from autocanary.model.measurement import Measurement, MeasurementKind, Unit
from autocanary.model.policy import Analysis, ComparisonPolicy, Metric, Range, Step, Timeout, TimeoutAction
from autocanary.model.progress import MetricState, Phase
from autocanary.model.reason import Reason
from autocanary.model.rollout_windows import Window
from autocanary.views import explain_wait, needs_user
from tests.decide.builders import NOW, SUCCESS, policy, progress, rollout

COMPARED = Metric("error-rate", Range(), Unit.PERCENT, compare=ComparisonPolicy())
COMPARING = policy(analysis=Analysis(metrics=(COMPARED,)))


def summary(percent: float, *, step_requests: float = 500.0, **more: Any) -> ComparisonSummary:
    defaults: dict[str, Any] = {"seconds": 300.0, "needed_requests": 1900.0, "needed_seconds": 720.0}
    return ComparisonSummary(
        candidate=RevisionCounts(600, 3),
        stable=RevisionCounts(5400, 27),
        step_requests=step_requests,
        non_inferior_percent=percent,
        **{**defaults, **more},
    )


def gathering(percent: float, **changes: Any) -> Any:
    state = MetricState(comparison_summary=summary(percent, **changes))
    return rollout(progress(reason=Reason.GATHERING_EVIDENCE, verified_at=NOW - 290, metrics={"error-rate": state}))


def test_missing_evidence_names_requests_and_minutes_at_this_traffic() -> None:
    """In the comparison's own words, so that Slack and the terminal say the same."""
    said = explain_wait(gathering(41.0), COMPARING, NOW)
    assert said.text == (
        "error rate no worse than stable: 41 % of the proof needed to pass the step; "
        "needs about 1,900 more requests: 12m at this traffic"
    )
    assert (said.missing, said.now, said.needed, said.seconds) == ("evidence", 41.0, 100.0, 720.0)


def test_a_step_that_lasts_longer_than_the_evidence_needs_says_both() -> None:
    """The proof would be there in 5 s; the step lasts another 10 s."""
    said = explain_wait(gathering(90.0, needed_requests=20.0, needed_seconds=5.0), COMPARING, NOW)
    assert said.text.endswith("needs about 20 more requests: 5s at this traffic; the step lasts 10s more")
    assert said.seconds == 10.0


def test_the_metric_with_the_least_proof_is_named() -> None:
    """Of two comparisons the one that holds the step."""
    slow = Metric("request-duration", Range(), Unit.SECONDS, quantile=0.99, compare=ComparisonPolicy())
    states = {
        "error-rate": MetricState(comparison_summary=summary(80.0)),
        "request-duration": MetricState(comparison_summary=summary(20.0)),
    }
    held = rollout(progress(reason=Reason.GATHERING_EVIDENCE, metrics=states))
    said = explain_wait(held, policy(analysis=Analysis(metrics=(COMPARED, slow))), NOW + 30)
    assert said.text.startswith("p99 latency no worse than stable: 20 % of the proof")


def test_without_traffic_there_is_no_estimate() -> None:
    """Nothing was counted: the sentence says what is there and promises no time."""
    said = explain_wait(gathering(0.0, needed_requests=None, needed_seconds=None), COMPARING, NOW)
    assert said.seconds is None
    assert "at this traffic" not in said.text


def test_too_few_requests_in_a_window_says_what_helps() -> None:
    """20 of 50 in a window of a minute will stay 20 of 50."""
    last = Measurement(MeasurementKind.TOO_FEW, value=99.0, unit=Unit.PERCENT, requests=20)
    state = progress(reason=Reason.TOO_FEW_REQUESTS, metrics={SUCCESS.name: MetricState(last=last)})
    said = explain_wait(rollout(state), policy(), NOW)
    assert (said.missing, said.now, said.needed) == ("requests", 20, 50.0)
    assert said.text == (
        "the success rate has 20 requests in 1m and needs 50: 30 are missing; with less traffic than that it never "
        "passes: lower minRequests or lengthen the window"
    )


def test_too_few_requests_of_a_comparison_add_up() -> None:
    """10 of 50 in this step at 2 requests/s: 20 s more."""
    state = MetricState(comparison_summary=summary(100.0, step_requests=10.0))
    held = rollout(progress(reason=Reason.TOO_FEW_REQUESTS, metrics={"error-rate": state}))
    said = explain_wait(held, COMPARING, NOW)
    assert said.seconds == pytest.approx(20.0)
    assert said.text == "the error rate has 10 requests in this step and needs 50; 40 are missing: 20s at this traffic"


def test_a_step_that_lasts_says_how_long() -> None:
    """The step's clock, from the moment at which the weight was in effect."""
    said = explain_wait(rollout(progress()), policy(), NOW)
    assert said.text == "the step at 10 % lasts 5m: 4m left"
    assert (said.now, said.needed, said.seconds) == (60.0, 300.0, 240.0)


def test_the_warm_up_comes_before_the_step() -> None:
    """Ten seconds after the weight took effect."""
    said = explain_wait(rollout(progress(verified_at=NOW - 10)), policy(), NOW)
    assert said.text == "samples of the first 30s after a change are not analysed: 20s left"


def test_a_candidate_that_is_not_ready_has_a_deadline() -> None:
    """Staging: how long so far, and when it is given up."""
    state = progress(step=-1, weight=0, phase=Phase.STAGING, reason=Reason.WAITING_FOR_REVISION, verified_at=None)
    said = explain_wait(rollout(state), policy(), NOW)
    assert said.text == (
        "mnist-predictor-00002 is not ready yet, 1m5s so far; rolled back in 28m55s unless it becomes ready"
    )


def test_a_weight_that_is_not_in_effect_says_what_the_traffic_shows() -> None:
    """Written, not there yet."""
    said = explain_wait(rollout(progress(verified_at=None, observed_weight=0)), policy(), NOW)
    assert said.text.startswith("10 % was asked for 1m5s ago, the traffic shows 0 %; rolled back in 28m55s")


@pytest.mark.parametrize(
    ("action", "ending"),
    [(TimeoutAction.ROLLBACK, "; rolled back in 8m unless that changes"), (TimeoutAction.HOLD, "no data")],
)
def test_missing_metrics_say_what_follows(action: TimeoutAction, ending: str) -> None:
    """onNoData with a deadline, and without one."""
    plan = policy(analysis=Analysis(metrics=(SUCCESS,), on_no_data=Timeout(600, action)))
    state = progress(phase=Phase.HOLDING, reason=Reason.NO_DATA, message="no data", no_data_since=NOW - 120)
    assert explain_wait(rollout(state), plan, NOW).text.endswith(ending)


def test_a_closed_window_says_when_it_opens() -> None:
    """NOW is a Friday, 08:00 UTC; the window opens on Mondays at 09:00."""
    window = Window((0,), time(9), time(17), timezone.utc)
    state = progress(phase=Phase.HOLDING, reason=Reason.WINDOW_CLOSED)
    said = explain_wait(rollout(state), policy(windows=(window,)), NOW)
    assert said.text == "no step may be taken now: the next window opens in 3d1h"
    assert said.seconds == 3 * 86400 + 3600


def test_an_approval_names_both_commands_and_needs_a_user() -> None:
    """Nothing happens until a user acts."""
    state = progress(phase=Phase.PAUSED, reason=Reason.AWAITING_APPROVAL, paused_by="step")
    said = explain_wait(rollout(state), policy(), NOW)
    assert said.needs_user
    assert "`autocanary promote mnist -n models`" in said.text
    assert "`autocanary abort mnist -n models`" in said.text


def test_an_ended_rollout_says_how_it_ended() -> None:
    """And needs no user."""
    state = progress(phase=Phase.ROLLED_BACK, reason=Reason.METRIC_VIOLATION, message="the success rate fell")
    said = explain_wait(rollout(state), policy(), NOW)
    assert (said.text, said.needs_user) == ("RolledBack: the success rate fell", False)


@given(
    phase=st.sampled_from(Phase),
    reason=st.sampled_from(Reason),
    step=st.integers(-1, 5),
    verified=st.one_of(st.none(), st.floats(0, 4000)),
    held=st.one_of(st.none(), st.floats(0, 4000)),
    known=st.booleans(),
)
def test_every_state_has_a_sentence(
    phase: Phase, reason: Reason, step: int, verified: float | None, held: float | None, known: bool
) -> None:
    """One line, never empty, and no negative time, whatever the state."""
    state = progress(
        step=step,
        phase=phase,
        reason=reason,
        verified_at=None if verified is None else NOW - verified,
        held_since=None if held is None else NOW - held,
        no_data_since=None if held is None else NOW - held,
        outage_since=None if held is None else NOW - held,
    )
    said = explain_wait(rollout(state), policy(steps=(Step(10, 60), Step(100, 60))) if known else None, NOW)
    assert said.text
    assert "\n" not in said.text
    assert said.seconds is None or said.seconds >= 0


@pytest.mark.parametrize("reason", [Reason.INCONCLUSIVE, Reason.STABLE_FAILED, Reason.SHARED_OUTAGE])
def test_a_hold_that_slack_calls_for_is_among_those_that_need_a_user(reason: Reason) -> None:
    """Messages and the page agree on who must act."""
    assert needs_user(rollout(progress(1, 25, phase=Phase.HOLDING, reason=reason)))
    assert not needs_user(rollout(progress(1, 25, phase=Phase.HOLDING, reason=Reason.GATHERING_EVIDENCE)))
