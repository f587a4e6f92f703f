"""What an evaluation amounts to where metrics are compared with stable."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from autocanary.analysis import AnalysisInput, Evaluation, Outcome, analyse
from autocanary.analysis.comparisons import MISSING_TRAFFIC_SECONDS, evidence_percent_of
from autocanary.model.comparison_summary import ComparisonSummary, RevisionCounts
from autocanary.model.measurement import Measurement, MeasurementKind, Unit
from autocanary.model.policy import ComparisonPolicy, Metric, Range
from autocanary.model.progress import MetricState
from autocanary.model.reason import Reason
from tests.decide.comparison_builders import ERRORS, LATENCY, ComparisonRun

OBJECTIVE = replace(ERRORS, range=Range(max=5.0), objective=True)
BESIDE = replace(ERRORS, range=Range(max=5.0), failure_limit=2)


def test_significantly_worse_fails_with_both_rates() -> None:
    """5 % against 1 %, two minutes long."""
    found = ComparisonRun().evaluations(12, 200, 10, 1800, 18)
    assert (found.outcome, found.reason, found.metric) == (
        Outcome.FAIL,
        Reason.WORSE_THAN_STABLE,
        "error-rate",
    )
    assert found.message.startswith("error rate is worse than stable's: canary 120/2400 = 5.00 %, stable ")
    assert found.message.endswith(" = 1.00 %, 5.0x (confidence 95 %)")


def test_fail_is_kept_in_later_evaluations() -> None:
    """Whatever is counted after it."""
    run = ComparisonRun()
    assert run.evaluations(12, 200, 10, 1800, 18).outcome is Outcome.FAIL
    assert run.evaluations(200, 200, 0, 1800, 18).outcome is Outcome.FAIL
    assert run.evaluations(1, 0, 0, 0, 0, kind=MeasurementKind.OUTAGE, counters=None).outcome is Outcome.FAIL


def test_suspicious_below_the_rejection_threshold() -> None:
    """Evidence of five to one: nothing advances, and users hear how far it is."""
    run = ComparisonRun()
    seen = [run.evaluations(1, 200, 10, 1800, 18) for _ in range(12)]
    outcomes = list(dict.fromkeys(each.outcome for each in seen))
    assert outcomes == [Outcome.INCONCLUSIVE, Outcome.SUSPICIOUS, Outcome.FAIL]
    doubt = next(each for each in seen if each.outcome is Outcome.SUSPICIOUS)
    assert (doubt.reason, doubt.metric) == (Reason.SUSPICIOUS, "error-rate")
    assert doubt.message.startswith("error rate looks worse than stable's: canary ")
    assert doubt.message.endswith(" % of the proof needed to roll back")
    assert doubt.metrics["error-rate"].ok is False


def test_significantly_non_inferior_passes() -> None:
    """1 % against 1 %: at first it cannot be said, then it passes."""
    run = ComparisonRun()
    early = run.evaluations(2, 200, 2, 1800, 18)
    assert (early.outcome, early.reason) == (Outcome.INCONCLUSIVE, Reason.GATHERING_EVIDENCE)
    assert "; no worse than stable: " in early.message
    assert early.metrics["error-rate"].ok is None
    late = run.evaluations(60, 200, 2, 1800, 18)
    assert (late.outcome, late.reason) == (Outcome.PASS, Reason.ANALYSING)
    assert late.message.startswith("error rate canary ")
    assert late.metrics["error-rate"].comparison_summary is not None
    assert late.metrics["error-rate"].comparison_summary.non_inferior_percent == 100


def test_a_step_needs_requests_of_its_own() -> None:
    """The evidence of the step before is not enough to pass the next one unseen."""
    run = ComparisonRun()
    assert run.evaluations(64, 200, 2, 1800, 18).outcome is Outcome.PASS
    run.at = replace(run.at, step=1, weight=50)
    run.evaluations(3, 0, 0, 0, 0)
    found = run.evaluations(1, 20, 0, 20, 0)
    assert (found.outcome, found.reason) == (Outcome.INCONCLUSIVE, Reason.TOO_FEW_REQUESTS)
    assert found.message == "error rate: 20 of 50 requests in this step"
    found = run.evaluations(2, 20, 0, 20, 0)
    assert (found.outcome, found.reason) == (Outcome.INCONCLUSIVE, Reason.GATHERING_EVIDENCE)
    assert run.evaluations(30, 20, 0, 20, 0).outcome is Outcome.PASS


def test_each_step_needs_more_evidence_than_the_one_before() -> None:
    """Of four steps: 3 to 1 at the first, 6 at the second, 20 before all the traffic."""
    passed = []
    for step in range(3):
        run = ComparisonRun(step=step, steps=4)
        seen = [run.evaluations(1, 50, 0, 450, 2).outcome for _ in range(60)]
        passed.append(seen.index(Outcome.PASS))
    assert passed[0] < passed[1] < passed[2]


def test_while_it_warms_up_nothing_is_judged() -> None:
    """The counts of the split before are where the next begin."""
    run = ComparisonRun()
    run.at = replace(run.at, warming=True)
    found = run.evaluations(8, 200, 200, 1800, 0)
    assert (found.outcome, found.reason, dict(found.metrics)) == (Outcome.INCONCLUSIVE, Reason.WARMING_UP, {})
    assert found.evidence is not None
    assert evidence_percent_of(found.evidence) == 0


def test_no_comparison_at_100_percent() -> None:
    """It passes without being shown no worse, and fails against what stable did before."""
    run = ComparisonRun()
    run.evaluations(20, 200, 2, 1800, 18)
    run.at = replace(run.at, step=2, weight=100)
    run.evaluations(3, 0, 0, 0, 0)
    assert run.evaluations(1, 2000, 20, 0, 0).outcome is Outcome.PASS
    assert run.evaluations(12, 2000, 200, 0, 0).outcome is Outcome.FAIL


@pytest.mark.parametrize(
    ("kind", "outcome", "reason"),
    [
        (MeasurementKind.OUTAGE, Outcome.OUTAGE, Reason.METRICS_OUTAGE),
        (MeasurementKind.STALE, Outcome.OUTAGE, Reason.METRICS_STALE),
        (MeasurementKind.PARTIAL, Outcome.OUTAGE, Reason.METRICS_PARTIAL),
        (MeasurementKind.UNSUPPORTED, Outcome.OUTAGE, Reason.METRICS_OUTAGE),
    ],
)
def test_missing_measurement_neither_passes_nor_fails(kind: MeasurementKind, outcome: Outcome, reason: Reason) -> None:
    """Although the counts, were they believed, would do either."""
    for errors in (2, 100):
        run = ComparisonRun()
        found = run.evaluations(64, 200, errors, 1800, 18, kind=kind)
        assert (found.outcome, found.reason) == (outcome, reason)


def test_empty_window_is_not_no_data_with_counts_in_step() -> None:
    """One request in five minutes is little, not nothing."""
    run = ComparisonRun()
    assert run.evaluations(2, 0, 0, 5, 0, kind=MeasurementKind.NO_SERIES, value=None).outcome is Outcome.NO_DATA
    run.evaluations(1, 1, 0, 5, 0)
    found = run.evaluations(4, 0, 0, 0, 0, kind=MeasurementKind.NO_SERIES, value=None)
    assert (found.outcome, found.reason) == (Outcome.INCONCLUSIVE, Reason.TOO_FEW_REQUESTS)


def test_empty_window_keeps_a_passed_comparison() -> None:
    """Its pods were replaced a moment ago: the step passes on what it has shown, and the next wants its own."""
    run = ComparisonRun()
    assert run.evaluations(64, 200, 2, 1800, 18).outcome is Outcome.PASS
    found = run.evaluations(1, 0, 0, 1800, 18, kind=MeasurementKind.NO_SERIES, value=None)
    assert (found.outcome, found.reason) == (Outcome.PASS, Reason.ANALYSING)
    run.at = replace(run.at, step=1, weight=50)
    found = run.evaluations(1, 0, 0, 0, 0, kind=MeasurementKind.NO_SERIES, value=None)
    assert found.outcome is Outcome.NO_DATA


def test_approximate_counts_feed_no_comparison_and_that_is_said() -> None:
    """A threshold may use them."""
    found = ComparisonRun().evaluations(64, 200, 100, 1800, 18, exact=False)
    assert (found.outcome, found.reason) == (Outcome.INCONCLUSIVE, Reason.GATHERING_EVIDENCE)
    assert found.message == (
        "error rate: the counts of knative are approximate: thresholds may use them, a comparison may not"
    )


def test_a_source_without_counts_is_named() -> None:
    """So that a user knows why it does not go on."""
    found = ComparisonRun().evaluations(64, 200, 2, 1800, 18, counters=None, detail="only rates here")
    assert found.reason is Reason.GATHERING_EVIDENCE
    assert found.message == (
        "error rate: the source of knative does not count the requests of both revisions, so nothing is "
        "compared: only rates here"
    )


def test_a_source_without_a_histogram_is_named() -> None:
    """Latency cannot be compared by its mean."""
    found = ComparisonRun(LATENCY).evaluations(4, 200, 2, 1800, 18, bounds=())
    assert "the source of knative has no latency histogram" in found.message


def test_slow_requests_contribute_to_the_latency() -> None:
    """Of two metrics the one that carries the evidence is named, with the bound that shows it best."""
    run = ComparisonRun(ERRORS, LATENCY)
    run.evaluations(4, 200, 0, 1800, 18)
    found = run.evaluations(30, 200, 0, 1800, 18, slow_c=100)
    assert (found.outcome, found.metric) == (Outcome.FAIL, "request-duration")
    assert found.message.startswith("p99 latency is worse than stable's: slower than ")
    assert found.metrics["error-rate"].ok is not False


def test_dry_run_comparison_never_decides() -> None:
    """dryRun."""
    watched = replace(ERRORS, dry_run=True)
    plain = Metric("request-duration", Range(max=0.5), Unit.SECONDS)
    found = ComparisonRun(plain, watched).evaluations(20, 200, 100, 1800, 18)
    assert found.outcome is Outcome.PASS
    comparison_summary = found.metrics["error-rate"].comparison_summary
    assert comparison_summary is not None
    assert comparison_summary.evidence_percent == 100


def test_objective_violation_alone_holds() -> None:
    """Both revisions fail 10 %, where 5 % were promised."""
    run = ComparisonRun(OBJECTIVE)
    found = run.evaluations(1, 200, 20, 1800, 180, value=10.0)
    assert (found.outcome, found.reason) == (Outcome.INCONCLUSIVE, Reason.VIOLATION_SEEN)
    found = run.evaluations(60, 200, 20, 1800, 180, value=10.0)
    assert (found.outcome, found.reason) == (Outcome.SUSPICIOUS, Reason.BEYOND_OBJECTIVE)
    assert found.metrics["error-rate"].violations == 0


def test_with_an_objective_worse_than_stable_is_not_enough() -> None:
    """3 % against 1 %, and 5 % were promised: not rolled back, and not passed either."""
    found = ComparisonRun(OBJECTIVE).evaluations(200, 200, 6, 1800, 18, value=3.0)
    assert (found.outcome, found.reason) == (Outcome.INCONCLUSIVE, Reason.GATHERING_EVIDENCE)


def test_objective_violation_and_worse_than_stable_fail() -> None:
    """12 % against 1 %."""
    found = ComparisonRun(OBJECTIVE).evaluations(40, 200, 24, 1800, 18, value=12.0)
    assert (found.outcome, found.reason) == (Outcome.FAIL, Reason.WORSE_THAN_STABLE)


def test_a_plain_threshold_keeps_its_meaning_beside_a_comparison() -> None:
    """Two violations roll back although stable is as bad; and the comparison rolls back below the threshold."""
    run = ComparisonRun(BESIDE)
    found = run.evaluations(1, 200, 20, 1800, 180, value=10.0)
    assert (found.outcome, found.reason) == (Outcome.INCONCLUSIVE, Reason.VIOLATION_SEEN)
    found = run.evaluations(1, 200, 20, 1800, 180, value=10.0)
    assert (found.outcome, found.reason) == (Outcome.FAIL, Reason.METRIC_VIOLATION)
    found = ComparisonRun(BESIDE).evaluations(30, 200, 8, 1800, 18, value=4.0)
    assert (found.outcome, found.reason) == (Outcome.FAIL, Reason.WORSE_THAN_STABLE)


def test_missing_traffic_fails_after_a_timeout() -> None:
    """A candidate that hangs completes nothing, and fails nothing."""
    run = ComparisonRun()
    seen = [run.evaluations(1, 0, 0, 1800, 0) for _ in range(60)]
    results = [(each.outcome, each.reason) for each in seen]
    first = results.index((Outcome.SUSPICIOUS, Reason.TRAFFIC_MISSING))
    fails = results.index((Outcome.FAIL, Reason.TRAFFIC_MISSING))
    assert (fails - first) * 15 >= MISSING_TRAFFIC_SECONDS
    assert "completes less than half of the requests that 10 % of the traffic are" in seen[fails].message


def test_traffic_back_before_the_timeout_does_not_fail() -> None:
    """Pods that started late complete what had waited."""
    run = ComparisonRun()
    found = run.look()
    for _ in range(60):
        found = run.evaluations(1, 0, 0, 1800, 0)
        if "missingSince" in run.evidence:
            break
    assert found.outcome is Outcome.SUSPICIOUS
    found = run.evaluations(40, 400, 0, 1800, 0)
    assert found.outcome is Outcome.PASS
    assert "missingSince" not in run.evidence


def test_the_highest_confidence_counts_for_all() -> None:
    """One promise covers the rollout."""
    strict = replace(LATENCY, compare=ComparisonPolicy(confidence=99.0))
    found = ComparisonRun(ERRORS, strict).evaluations(40, 200, 10, 1800, 18)
    assert found.outcome is Outcome.FAIL
    assert found.message.endswith("(confidence 99 %)")


def test_state_of_another_version_is_reset() -> None:
    """A delay, not a wrong decision."""
    run = ComparisonRun()
    run.evaluations(12, 200, 10, 1800, 18)
    run.evidence = {**run.evidence, "version": 99, "comparisons": "?"}
    found = run.look()
    assert (found.outcome, found.reason) == (Outcome.INCONCLUSIVE, Reason.GATHERING_EVIDENCE)
    assert found.message.startswith("the comparison begins again: its stored state is of another version")
    assert run.evaluations(1, 200, 2, 1800, 18).message != found.message


def test_the_state_is_small() -> None:
    """Under 4 kB however long it goes on."""
    run = ComparisonRun(ERRORS, LATENCY)
    run.evaluations(300, 123456, 1234, 987654, 9876)
    assert len(json.dumps(run.evidence)) < 4096


def test_without_comparisons_there_is_no_evidence() -> None:
    """Policies of thresholds carry nothing along."""
    plain = Metric("error-rate", Range(max=1.0), Unit.PERCENT)
    found = analyse(
        ComparisonRun().analysis,
        (plain,),
        AnalysisInput(Evaluation(), {"error-rate": Measurement(MeasurementKind.VALUE, 0.1)}),
    )
    assert (found.outcome, found.evidence) == (Outcome.PASS, None)
    assert evidence_percent_of({}) is None


def test_comparison_summary_as_text_and_json() -> None:
    """``canary 10/1000 = 1.00 %, stable 45/9000 = 0.50 %, 2.0x``."""
    comparison_summary = ComparisonSummary(
        RevisionCounts(1000, 10), RevisionCounts(9000, 45), 400, 43.0, 12.5, 0.8, 600.0
    )
    assert str(comparison_summary) == "canary 10/1000 = 1.00 %, stable 45/9000 = 0.50 %, 2.0x"
    assert str(replace(comparison_summary, slower_than=0.25)).startswith("slower than 250 ms: canary 10/1000")
    assert str(replace(comparison_summary, slower_than=2.5)).startswith("slower than 2.5 s: ")
    state = MetricState(comparison_summary=comparison_summary)
    assert MetricState.from_dict(json.loads(json.dumps(state.to_dict()))) == state
    to_status = comparison_summary.to_status()
    assert (to_status["ratio"], to_status["evidencePercent"], to_status["contributionPercent"]) == (2.0, 43.0, 80.0)
    assert to_status["candidate"] == {"requests": 1000, "bad": 10, "percent": 1.0, "interval": [0.5441, 1.8309]}
    assert ComparisonSummary().ratio is None
    assert str(RevisionCounts()) == "0/0"
    assert "ratio" not in ComparisonSummary().to_status()


@pytest.mark.parametrize(
    "spoiled",
    [
        {"comparisons": {"metrics": {}}},
        {"comparisons": {"metrics": {}, "share": {"counter": [], "logs": "", "step": [], "blocks": []}}},
        {"comparisons": None},
    ],
)
def test_unreadable_evidence_is_reset(spoiled: dict[str, object]) -> None:
    """An older form, or an edited one: the rollout is evaluated from its beginning."""
    run = ComparisonRun()
    run.evaluations(12, 200, 2, 1800, 18)
    run.evidence = {**run.evidence, **spoiled}
    assert "begins again" in run.evaluations(1, 200, 2, 1800, 18).message
    assert run.evaluations(2, 200, 2, 1800, 18).outcome is Outcome.INCONCLUSIVE
    assert run.evaluations(64, 200, 2, 1800, 18).outcome is Outcome.PASS


@pytest.mark.parametrize(
    ("candidate_current", "stable_current", "side"),
    [(False, True, "the candidate"), (True, False, "stable"), (False, False, "either revision")],
)
@pytest.mark.parametrize("minutes", [2, 8, 20])
def test_silence_of_a_side_is_no_evidence(
    minutes: int, candidate_current: bool, stable_current: bool, side: str
) -> None:
    """Neither a rollback nor a pass, at any evaluation of the gap; the other side's counts go on meanwhile."""
    run = ComparisonRun()
    assert run.evaluations(64, 200, 2, 1800, 18).outcome is Outcome.PASS
    before = run.evidence["evidence_percent"]
    for tick in range(4 * minutes):
        found = run.evaluations(
            1,
            200 * candidate_current,
            2 * candidate_current,
            1800 * stable_current,
            18 * stable_current,
            candidate_current=candidate_current,
            stable_current=stable_current,
            kind=MeasurementKind.NO_SERIES if tick > 4 and not candidate_current else MeasurementKind.VALUE,
        )
        assert (found.outcome, found.reason) == (Outcome.OUTAGE, Reason.METRICS_STALE)
        assert found.message == f"error rate: no current sample of {side}: its pods are gone or no longer scraped"
        assert run.evidence["evidence_percent"] == before
    whole = 4 * minutes + 1
    back = run.evaluations(1, 200 * whole, 2 * whole, 1800 * whole, 18 * whole)
    assert back.outcome is Outcome.PASS
    assert run.evidence["evidence_percent"] == before


def test_pods_lost_in_a_silence_are_no_missing_traffic() -> None:
    """The candidate's pods were replaced while it was not scraped: what they served is never counted."""
    run = ComparisonRun()
    run.evaluations(10, 200, 2, 1800, 18)
    run.evaluations(40, 0, 0, 1800, 18, candidate_current=False)
    found = [run.evaluations(1, 200, 2, 1800, 18) for _ in range(40)]
    assert {each.outcome for each in found} <= {Outcome.INCONCLUSIVE, Outcome.PASS}
    assert max(each.evidence["evidence_percent"] for each in found if each.evidence) < 30


def test_missing_traffic_does_not_ripen_in_a_silence() -> None:
    """The minute of missing traffic is counted over samples, not over the time without any."""
    run = ComparisonRun()
    for _ in range(60):
        run.evaluations(1, 0, 0, 1800, 0)
        if "missingSince" in run.evidence:
            break
    found = run.evaluations(20, 0, 0, 1800, 0, candidate_current=False)
    assert (found.outcome, "missingSince" in run.evidence) != (Outcome.FAIL, True)
    assert found.outcome is not Outcome.FAIL


def test_a_step_needs_a_measurement_of_its_own() -> None:
    """Without minRequests as well: what was counted before the step began passes nothing."""
    run = ComparisonRun(replace(ERRORS, min_requests=0))
    assert run.evaluations(64, 200, 2, 1800, 18).outcome is Outcome.PASS
    run.at = replace(run.at, step=1, weight=50)
    for _ in range(3):
        assert run.evaluations(1, 200, 2, 200, 2).outcome is Outcome.INCONCLUSIVE
    assert run.evaluations(20, 200, 2, 200, 2).outcome is Outcome.PASS


def test_a_shared_outage_is_held() -> None:
    """Both fail everything: not the candidate's fault, and no reason to give it more traffic."""
    run = ComparisonRun()
    assert run.evaluations(64, 200, 2, 1800, 18).outcome is Outcome.PASS
    seen = [run.evaluations(1, 200, 200, 1800, 1800) for _ in range(40)]
    assert {(each.outcome, each.reason) for each in seen[2:]} == {(Outcome.OUTAGE, Reason.SHARED_OUTAGE)}
    assert seen[-1].message == (
        "both revisions fail, 100 % of the candidate's last requests and 100 % of stable's: no step above 10.6 %"
    )
    over = [run.evaluations(1, 200, 2, 1800, 18).outcome for _ in range(20)]
    assert over[-1] is Outcome.PASS
    assert over.index(Outcome.PASS) >= 4
    assert Outcome.FAIL not in over


def test_a_dead_candidate_behind_a_dead_stable_never_passes() -> None:
    """From the first request on, and after a healthy beginning; at 100 % as well."""
    for healthy in (0, 64):
        run = ComparisonRun()
        if healthy:
            run.evaluations(healthy, 200, 2, 1800, 18)
        run.evaluations(4, 200, 200, 1800, 1800)
        assert Outcome.PASS not in {run.evaluations(1, 200, 200, 1800, 1800).outcome for _ in range(200)}
        run.at = replace(run.at, step=2, weight=100)
        run.evaluations(3, 2000, 2000, 0, 0)
        assert Outcome.PASS not in {run.evaluations(1, 2000, 2000, 0, 0).outcome for _ in range(120)}


def test_an_outage_of_stable_shows_nothing() -> None:
    """A candidate that repairs a broken stable is not shown to be fine by it, and that is said."""
    run = ComparisonRun()
    found = run.evaluations(60, 200, 2, 1800, 900)
    assert (found.outcome, found.reason) == (Outcome.INCONCLUSIVE, Reason.GATHERING_EVIDENCE)
    proof = "no worse than stable: 0 % of the proof needed to pass the step"
    assert found.message.endswith(f"{proof}; stable itself is in an outage, which shows nothing")


def test_a_candidate_that_fails_much_takes_no_step() -> None:
    """The limit of the bake is no reason to pass while a third of the requests fail."""
    run = ComparisonRun()
    run.evaluations(64, 20, 1, 180, 9)
    run.at = replace(run.at, step=2, weight=100)
    run.evaluations(4, 200, 10, 0, 0)
    found = [run.evaluations(1, 200, 66, 0, 0) for _ in range(3)][-1]
    assert found.outcome in (Outcome.SUSPICIOUS, Outcome.FAIL)


def test_at_100_percent_only_the_candidate_must_be_current() -> None:
    """Stable has no pods any more, and needs none."""
    run = ComparisonRun()
    run.evaluations(64, 200, 2, 1800, 18)
    run.at = replace(run.at, step=2, weight=100)
    assert run.evaluations(8, 2000, 20, 0, 0, stable_current=False).outcome is Outcome.PASS
    assert run.evaluations(8, 0, 0, 0, 0, candidate_current=False).outcome is Outcome.OUTAGE
