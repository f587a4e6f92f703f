"""Whole rollouts that are judged by comparison with stable, on the simulated world."""

from __future__ import annotations

import json
import math

import pytest

from autocanary.decide.planner import replay
from autocanary.model.measurement import MeasurementKind, Unit
from autocanary.model.policy import (
    ComparisonPolicy,
    ComparisonPreset,
    Metric,
    OnFailure,
    OnInconclusive,
    Policy,
    Range,
    Step,
    Timeout,
    TimeoutAction,
)
from autocanary.model.progress import Phase
from autocanary.model.progress_json import progress_from_json, progress_to_json
from autocanary.model.reason import Reason
from autocanary.model.rollout import Verb
from autocanary.model.rollout_json import from_document, to_document
from autocanary.policy_files import parse
from autocanary.simulator.prometheus_server import LostScrapes, PrometheusFault
from autocanary.simulator.response_quality import Quality, from_revision_age
from autocanary.simulator.traffic import RequestLoad
from tests.controller.comparison_policies import ERRORS, LATENCY, comparison_policy
from tests.controller.driver import V1, V2, Driver, healthy_start, policy, without_repeats

ONE_PERCENT = Quality(error_percent=1.0)
BUSY = RequestLoad(100.0)
_PATIENT = Timeout(7200.0, TimeoutAction.ROLLBACK)


def released(policy: Policy, candidate: Quality, stable: Quality = ONE_PERCENT, load: RequestLoad = BUSY) -> Driver:
    return healthy_start(policy, qualities={V1: stable, V2: candidate}, load=load)


def test_promotes_healthy_candidate_as_evidence_allows() -> None:
    """The policy says neither how long a step lasts nor what is acceptable."""
    text = "apiVersion: autocanary.dev/v1alpha1\nkind: RolloutPolicy\nmetadata: {name: all}\n"
    (whole,) = parse(text + "spec: {selector: {}, stepWeights: [10, 50, 100]}\n")
    driver = released(whole, ONE_PERCENT)
    driver.finish()
    assert driver.phase_and_reason() == (Phase.PROMOTED, Reason.PROMOTED)
    assert driver.weights() == [10, 50, 100]
    first, second, *_ = driver.messages_of("step_taken")[1:]
    assert "error rate canary " in first
    assert "; p99 latency slower than " in first
    steps = [each.at for each in driver.world.cluster.writes]
    assert 120 <= steps[1] - steps[0] < 600
    assert second.endswith("100 % of the traffic goes to mnist-predictor-00002")


def test_rolls_back_3_percent_errors_against_1_percent_stable() -> None:
    """The same two revisions under both kinds of policy."""
    worse = Quality(error_percent=3.0)
    five = Metric("error-rate", Range(max=5.0), Unit.PERCENT, failure_limit=3)
    by_threshold = released(policy(metrics=(five,)), worse)
    by_threshold.finish()
    assert by_threshold.phase_and_reason() == (Phase.PROMOTED, Reason.PROMOTED)

    compared = released(comparison_policy(), worse)
    compared.finish()
    assert compared.phase_and_reason() == (Phase.ROLLED_BACK, Reason.WORSE_THAN_STABLE)
    assert compared.weights() == [10, 0]
    (messages_of,) = compared.messages_of("rollback_started")
    assert messages_of.startswith("error rate is worse than stable's: canary ")
    assert messages_of.endswith("(confidence 95 %)")


def test_rolls_back_slower_latency_distribution() -> None:
    """Twice the latency, and not one more error."""
    driver = released(comparison_policy(), Quality(error_percent=1.0, latency_seconds=0.16))
    driver.finish()
    assert driver.phase_and_reason() == (Phase.ROLLED_BACK, Reason.WORSE_THAN_STABLE)
    assert driver.messages_of("rollback_started")[0].startswith("p99 latency is worse than stable's: slower than ")


def test_detects_degradation_that_begins_in_later_step() -> None:
    """The evidence of healthy steps does not outweigh what happens now."""
    driver = released(
        comparison_policy(),
        Quality(error_percent=from_revision_age(240, 4.0, 0.1)),
        Quality(error_percent=0.1),
    )
    driver.finish()
    assert driver.phase_and_reason() == (Phase.ROLLED_BACK, Reason.WORSE_THAN_STABLE)
    assert driver.weights() == [10, 50, 0]


def test_notifies_suspicion_before_rollback() -> None:
    """Users read that it is suspicious, with both sides' counts and the evidence."""
    driver = released(comparison_policy(), Quality(error_percent=3.0))
    driver.finish()
    *_, held = driver.messages_of("rollout_held")
    assert held.startswith("error rate looks worse than stable's: canary ")
    assert held.endswith(" % of the proof needed to roll back")
    assert driver.events()[-3:] == ["rollout_held", "rollback_started", "rollout_rolled_back"]


@pytest.mark.parametrize(
    ("then", "phase_and_reason", "weights"),
    [
        (OnInconclusive.HOLD, (Phase.HOLDING, Reason.INCONCLUSIVE), [10]),
        (OnInconclusive.ROLLBACK, (Phase.ROLLED_BACK, Reason.INCONCLUSIVE), [10, 0]),
        (OnInconclusive.PROMOTE, (Phase.PROMOTED, Reason.PROMOTED), [10, 50, 100]),
    ],
)
def test_inconclusive_step_follows_policy_after_timeout(
    then: OnInconclusive, phase_and_reason: tuple[Phase, Reason], weights: list[int]
) -> None:
    """One request in ten seconds: the step goes on, and at its timeout the policy is asked."""
    driver = released(
        comparison_policy(on_inconclusive=then, step_timeout=900.0, on_no_data=_PATIENT),
        ONE_PERCENT,
        load=RequestLoad(0.1),
    )
    driver.until_weight(10)
    driver.run(600)
    assert driver.phase() in (Phase.PROGRESSING, Phase.HOLDING)
    assert driver.weights() == [10]
    driver.until(lambda: driver.phase_and_reason() == phase_and_reason, 7200)
    assert without_repeats(driver.weights()) == weights
    notified = [
        message for event in ("rollout_held", "rollback_started", "step_taken") for message in driver.messages_of(event)
    ]
    assert any(message.startswith("inconclusive for 15m") for message in notified)


def test_promotion_without_evidence_names_it() -> None:
    """The word for it is not that the step passed."""
    driver = released(
        comparison_policy(on_inconclusive=OnInconclusive.PROMOTE, step_timeout=300.0, on_no_data=_PATIENT),
        ONE_PERCENT,
        load=RequestLoad(0.1),
    )
    driver.until_weight(50, limit=3600)
    taken = driver.rollout().progress.decisions[-1]
    assert taken["reason"] == "Inconclusive"
    assert "promoted as the policy says" in taken["message"]


def test_a_restart_in_the_middle_keeps_the_evidence() -> None:
    """Another process goes on from what was recorded, over a new account of the counters."""
    driver = released(comparison_policy(), Quality(error_percent=2.5))
    driver.until_reason(Reason.SUSPICIOUS)
    before = driver.rollout().progress.analysis.evidence
    driver.restart()
    driver.world.metrics.restart()
    driver.run(20)
    after = driver.rollout().progress.analysis.evidence
    assert after["evidence_percent"] > 0
    assert after["began"] == before["began"]
    driver.finish()
    assert driver.phase_and_reason() == (Phase.ROLLED_BACK, Reason.WORSE_THAN_STABLE)


def test_metrics_outage_changes_no_evidence() -> None:
    """Prometheus is down for ten minutes; the comparison continues from its last state."""
    driver = released(comparison_policy(), ONE_PERCENT)
    driver.until_weight(10)
    driver.run(60)
    now = driver.world.now()
    driver.world.metrics.faults.append(PrometheusFault(MeasurementKind.OUTAGE, now, now + 600))
    driver.run(590)
    assert driver.weights() == [10]
    assert driver.phase_and_reason() == (Phase.HOLDING, Reason.METRICS_OUTAGE)
    driver.finish()
    assert driver.phase_and_reason() == (Phase.PROMOTED, Reason.PROMOTED)


@pytest.mark.parametrize("revision", ["mnist-predictor-00001", "mnist-predictor-00002"])
@pytest.mark.parametrize("minutes", [2, 8, 20])
def test_lost_scrapes_of_one_revision_take_no_step_and_roll_nothing_back(revision: str, minutes: int) -> None:
    """Its requests go on unseen; the rollout goes on when they are seen again."""
    driver = released(comparison_policy(), ONE_PERCENT)
    driver.until_weight(10)
    driver.run(45)
    now = driver.world.now()
    driver.world.metrics.lost_scrapes.append(LostScrapes(revision, now, now + 60.0 * minutes))
    driver.run(60.0 * minutes - 5)
    assert driver.weights() == [10]
    assert driver.rollout().progress.phase in (Phase.PROGRESSING, Phase.HOLDING)
    if minutes > 2:
        assert driver.phase_and_reason() == (Phase.HOLDING, Reason.METRICS_STALE)
    driver.finish()
    assert driver.phase_and_reason() == (Phase.PROMOTED, Reason.PROMOTED)
    assert driver.weights() == [10, 50, 100]


def test_step_timeout_pauses_during_metrics_outage() -> None:
    """An hour without Prometheus is not an hour of evidence that was not found."""
    silent = comparison_policy(on_inconclusive=OnInconclusive.ROLLBACK, step_timeout=900.0, on_no_data=_PATIENT)
    driver = released(silent, ONE_PERCENT, load=RequestLoad(0.1))
    driver.until_weight(10)
    driver.run(300)
    now = driver.world.now()
    driver.world.metrics.faults.append(PrometheusFault(MeasurementKind.OUTAGE, now, now + 1200))
    driver.run(1500)
    assert driver.weights() == [10]
    driver.finish()
    assert driver.phase_and_reason() == (Phase.ROLLED_BACK, Reason.INCONCLUSIVE)


def test_errors_of_both_revisions_cause_no_rollback() -> None:
    """A shared dependency fails for minutes: stable's errors rise with the candidate's."""
    bad = Quality(error_percent=lambda moment: 30.0 if 100 <= moment.at % 3600 < 400 else 0.5)
    driver = released(comparison_policy(steps=(Step(10, 600.0), Step(100, 120.0))), bad, bad)
    driver.finish()
    assert driver.phase_and_reason() == (Phase.PROMOTED, Reason.PROMOTED)
    assert (
        driver.rollout().progress.decisions[-1]["inputs"]["metrics"]["error-rate"]["comparison_summary"]["stable"][1]
        > 20
    )


@pytest.mark.parametrize("begins", [-1.0, 60.0])
def test_a_dead_candidate_behind_a_dead_stable_is_held(begins: float) -> None:
    """From the first step on, and in the middle of it: no step while everything fails, and none backwards."""
    starts = [0.0]
    down = Quality(error_percent=lambda moment: 100.0 if moment.at >= starts[0] else 0.5)
    driver = released(comparison_policy(), down, down)
    starts[0] = driver.world.now() + 1e6
    driver.until_weight(10)
    starts[0] = driver.world.now() + begins
    driver.run(1500)
    assert driver.weights() == [10]
    assert driver.phase_and_reason() == (Phase.HOLDING, Reason.SHARED_OUTAGE)
    message = driver.rollout().progress.message
    assert message.startswith("both revisions fail, 100 % of the candidate's last requests and 100 % of stable's")
    assert message.endswith("held at 10 % until the outage is over")
    starts[0] = driver.world.now() + 1e6
    driver.finish()
    assert driver.phase_and_reason() == (Phase.PROMOTED, Reason.PROMOTED)


def test_a_shared_outage_follows_on_outage() -> None:
    """A policy may roll back after its time."""
    down = Quality(error_percent=100.0)
    rules = comparison_policy(on_outage=Timeout(600.0, TimeoutAction.ROLLBACK))
    driver = released(rules, down, down)
    driver.finish()
    assert driver.phase_and_reason() == (Phase.ROLLED_BACK, Reason.OUTAGE_DEADLINE)
    assert driver.messages_of("rollback_started")[0].startswith("an outage of both revisions for 10m")


@pytest.mark.parametrize("minutes", [2, 10])
def test_harm_that_begins_late_in_a_bake_is_rolled_back(minutes: int) -> None:
    """Ten times as many failures as stable had, after an hour of health at 100 %."""
    rates = {"late": math.inf}
    late = Quality(error_percent=lambda moment: 5.0 if moment.at >= rates["late"] else 0.5)
    rules = comparison_policy(steps=(Step(10, 120.0), Step(100, 7200.0)), bake=7200.0)
    driver = released(rules, late, Quality(error_percent=0.5))
    driver.until_weight(100)
    driver.run(3600)
    rates["late"] = driver.world.now()
    driver.run(60.0 * minutes)
    assert (driver.rollout().progress.reason is Reason.WORSE_THAN_STABLE) is (minutes == 10)


def test_at_100_percent_compares_with_earlier_stable_counts() -> None:
    """In the bake there is nothing to compare with at the same time."""
    late = Quality(error_percent=lambda moment: 8.0 if moment.weight == 100 else 1.0)
    driver = released(comparison_policy(bake=1800.0, steps=(Step(10, 120.0), Step(100, 1800.0))), late)
    driver.finish()
    assert driver.phase_and_reason() == (Phase.ROLLED_BACK, Reason.WORSE_THAN_STABLE)
    assert driver.weights() == [10, 100, 0]


def test_holds_when_only_objective_is_violated() -> None:
    """Both revisions fail five percent, and the users were promised one."""
    objective = Metric("error-rate", Range(max=1.0), Unit.PERCENT, compare=ComparisonPolicy(), objective=True)
    five = Quality(error_percent=5.0)
    driver = released(comparison_policy(metrics=(objective,)), five, five)
    driver.until_reason(Reason.BEYOND_OBJECTIVE)
    assert driver.phase() is Phase.HOLDING
    driver.run(1200)
    assert driver.weights() == [10]
    assert "not shown to be worse than stable" in driver.rollout().progress.message


def test_dry_run_comparison_changes_nothing() -> None:
    """dryRun: the evidence is shown, the rollout goes on."""
    watched = Metric("error-rate", Range(), Unit.PERCENT, compare=ComparisonPolicy(), dry_run=True)
    plain = Metric("request-duration", Range(max=5.0), Unit.SECONDS, quantile=0.99)
    driver = released(comparison_policy(metrics=(plain, watched), on_inconclusive=None), Quality(error_percent=9.0))
    driver.finish()
    assert driver.phase_and_reason() == (Phase.PROMOTED, Reason.PROMOTED)


def test_resume_after_failure_resets_evidence() -> None:
    """With onFailure: pause a user has weighed it; otherwise it would be paused again at once."""
    driver = released(comparison_policy(on_failure=OnFailure.PAUSE), Quality(error_percent=4.0))
    driver.until_phase(Phase.PAUSED)
    assert driver.rollout().progress.reason is Reason.FAILURE_PAUSED
    assert driver.ask(Verb.RESUME) == "resumed"
    assert driver.rollout().progress.analysis.evidence == {}
    driver.run(60)
    assert driver.phase() in (Phase.PROGRESSING, Phase.HOLDING)


def test_every_decision_is_replayable_from_its_record() -> None:
    """The CanaryRollout as JSON is enough: the verdict and the plan come out the same."""
    for candidate in (ONE_PERCENT, Quality(error_percent=3.0)):
        rules = comparison_policy()
        driver = released(rules, candidate)
        driver.finish()
        document = json.loads(json.dumps(to_document(driver.rollout())))
        checked = 0
        for recorded in document["status"]["decisions"]:
            inputs = recorded.get("inputs")
            if not inputs or "progress" not in inputs:
                continue
            again = replay(from_document(document), rules, inputs)
            assert (again.event or "") == recorded["event"]
            assert (again.rule, again.reason.value) == (recorded["rule"], recorded["reason"])
            assert again.progress.message == recorded["message"]
            assert again.progress.phase.value == recorded["phase"]
            assert again.weight in (None, recorded["weight"])
            checked += 1
        assert checked >= 3


def test_what_is_kept_of_a_rollout_stays_small() -> None:
    """Under 4 kB for the comparisons, and the object far below what etcd takes."""
    driver = released(comparison_policy(metrics=(ERRORS, LATENCY)), ONE_PERCENT)
    driver.finish()
    progress = driver.rollout().progress
    assert len(json.dumps(progress.analysis.evidence)) < 4096
    assert len(json.dumps(to_document(driver.rollout()))) < 100_000


def test_restart_equals_uninterrupted_run() -> None:
    """Evidence survives JSON to the last digit."""
    driver = released(comparison_policy(), ONE_PERCENT)
    driver.until_weight(50)
    driver.run(90)
    for live in driver.controller.rollouts():
        stored = json.loads(json.dumps(progress_to_json(live.progress)))
        assert progress_from_json(stored) == live.progress


def test_presets_are_of_different_speed() -> None:
    """`fast` is done before `robust`."""
    seconds = {}
    for preset in (ComparisonPreset.FAST, ComparisonPreset.ROBUST):
        metric = Metric("error-rate", Range(), Unit.PERCENT, compare=ComparisonPolicy(preset=preset))
        driver = released(comparison_policy(metrics=(metric,)), Quality(error_percent=3.0))
        driver.finish()
        assert driver.phase_and_reason()[1] is Reason.WORSE_THAN_STABLE
        progress = driver.rollout().progress
        seconds[preset] = (progress.finished_at or 0) - progress.started_at
    assert seconds[ComparisonPreset.FAST] < seconds[ComparisonPreset.ROBUST]
