"""Whole rollouts that are judged by comparison with stable, on the simulated world."""

from __future__ import annotations

import json

import pytest

from autocanary.decide.planner import replay
from autocanary.model.measurement import ReadingKind, Unit
from autocanary.model.policy import (
    Compare,
    Grace,
    Metric,
    OnFailure,
    OnInconclusive,
    Policy,
    Preset,
    Range,
    Step,
    Then,
)
from autocanary.model.progress import Phase, Progress
from autocanary.model.reason import Reason
from autocanary.model.rollout import Verb
from autocanary.model.rollout_json import from_document, to_document
from autocanary.policy_files import parse
from autocanary.simulator.prometheus_server import Fault
from autocanary.simulator.response_quality import Quality, from_age
from autocanary.simulator.traffic import Load
from tests.controller.comparison_policies import ERRORS, LATENCY, paced
from tests.controller.driver import V1, V2, Play, healthy_start, once, policy

ONE_PERCENT = Quality(error_percent=1.0)
BUSY = Load(100.0)
_PATIENT = Grace(7200.0, Then.ROLLBACK)


def released(policy: Policy, candidate: Quality, stable: Quality = ONE_PERCENT, load: Load = BUSY) -> Play:
    return healthy_start(policy, qualities={V1: stable, V2: candidate}, load=load)


def test_a_healthy_release_is_promoted_at_the_pace_of_its_evidence() -> None:
    """Nobody said how long a step lasts, nor what is acceptable."""
    text = "apiVersion: autocanary.dev/v1alpha1\nkind: RolloutPolicy\nmetadata: {name: all}\n"
    (whole,) = parse(text + "spec: {selector: {}, stepWeights: [10, 50, 100]}\n")
    play = released(whole, ONE_PERCENT)
    play.finish()
    assert play.ending() == (Phase.PROMOTED, Reason.PROMOTED)
    assert play.weights() == [10, 50, 100]
    first, second, *_ = play.said("step_taken")[1:]
    assert "error-rate canary " in first
    assert "; request-duration slower than " in first
    steps = [each.at for each in play.world.cluster.writes]
    assert 120 <= steps[1] - steps[0] < 600
    assert second.endswith("100 % of the traffic goes to mnist-predictor-00002")


def test_three_percent_against_one_is_rolled_back_where_a_threshold_of_five_never_fires() -> None:
    """The same two revisions under both kinds of policy."""
    worse = Quality(error_percent=3.0)
    five = Metric("error-rate", Range(max=5.0), Unit.PERCENT, failure_limit=3)
    by_threshold = released(policy(metrics=(five,)), worse)
    by_threshold.finish()
    assert by_threshold.ending() == (Phase.PROMOTED, Reason.PROMOTED)

    compared = released(paced(), worse)
    compared.finish()
    assert compared.ending() == (Phase.ROLLED_BACK, Reason.WORSE_THAN_STABLE)
    assert compared.weights() == [10, 0]
    (said,) = compared.said("rollback_started")
    assert said.startswith("error-rate is worse than stable's: canary ")
    assert said.endswith("(confidence 95 %)")


def test_slow_answers_are_rolled_back_by_their_distribution() -> None:
    """Twice the latency, and not one more error."""
    play = released(paced(), Quality(error_percent=1.0, latency_seconds=0.16))
    play.finish()
    assert play.ending() == (Phase.ROLLED_BACK, Reason.WORSE_THAN_STABLE)
    assert play.said("rollback_started")[0].startswith(
        "request-duration is worse than stable's: slower than "
    )


def test_a_late_onset_is_found_in_a_later_step() -> None:
    """The evidence of healthy steps does not outweigh what happens now."""
    play = released(paced(), Quality(error_percent=from_age(420, 4.0, 0.1)), Quality(error_percent=0.1))
    play.finish()
    assert play.ending() == (Phase.ROLLED_BACK, Reason.WORSE_THAN_STABLE)
    assert play.weights() == [10, 50, 0]


def test_suspicion_is_said_before_the_rollback() -> None:
    """People hear that it is looked at closely, with both sides' counts and the evidence."""
    play = released(paced(), Quality(error_percent=3.0))
    play.finish()
    (held,) = play.said("rollout_held")
    assert held.startswith("error-rate looks worse than stable's: canary ")
    assert held.endswith(" % of what rolls back")
    assert play.events()[-3:] == ["rollout_held", "rollback_started", "rollout_rolled_back"]


@pytest.mark.parametrize(
    ("then", "ending", "weights"),
    [
        (OnInconclusive.HOLD, (Phase.HOLDING, Reason.INCONCLUSIVE), [10]),
        (OnInconclusive.ROLLBACK, (Phase.ROLLED_BACK, Reason.INCONCLUSIVE), [10, 0]),
        (OnInconclusive.PROMOTE, (Phase.PROMOTED, Reason.PROMOTED), [10, 50, 100]),
    ],
)
def test_little_traffic_waits_and_ends_as_the_policy_says(
    then: OnInconclusive, ending: tuple[Phase, Reason], weights: list[int]
) -> None:
    """One request in ten seconds: the step goes on, and at its timeout the policy is asked."""
    play = released(
        paced(on_inconclusive=then, step_timeout=900.0, on_no_data=_PATIENT), ONE_PERCENT, load=Load(0.1)
    )
    play.until_weight(10)
    play.run(600)
    assert play.phase() in (Phase.PROGRESSING, Phase.HOLDING)
    assert play.weights() == [10]
    play.until(lambda: play.ending() == ending, 7200)
    assert once(play.weights()) == weights
    told = [
        message
        for event in ("rollout_held", "rollback_started", "step_taken")
        for message in play.said(event)
    ]
    assert any(message.startswith("inconclusive for 15m") for message in told)


def test_a_promotion_without_evidence_says_so() -> None:
    """The word for it is not that the step passed."""
    play = released(
        paced(on_inconclusive=OnInconclusive.PROMOTE, step_timeout=300.0, on_no_data=_PATIENT),
        ONE_PERCENT,
        load=Load(0.1),
    )
    play.until_weight(50, limit=3600)
    taken = play.rollout().progress.decisions[-1]
    assert taken["reason"] == "Inconclusive"
    assert "promoted as the policy says" in taken["message"]


def test_a_restart_in_the_middle_keeps_the_evidence() -> None:
    """Another process goes on from what was recorded, over a new account of the counters."""
    play = released(paced(), Quality(error_percent=2.5))
    play.until_reason(Reason.SUSPICIOUS)
    before = play.rollout().progress.evidence
    play.restart()
    play.world.metrics.restart()
    play.run(20)
    after = play.rollout().progress.evidence
    assert after["meter"] > 0
    assert after["began"] == before["began"]
    play.finish()
    assert play.ending() == (Phase.ROLLED_BACK, Reason.WORSE_THAN_STABLE)


def test_an_outage_in_between_neither_passes_nor_blames() -> None:
    """Prometheus is away for ten minutes; the comparison goes on where it stood."""
    play = released(paced(), ONE_PERCENT)
    play.until_weight(10)
    play.run(60)
    now = play.world.now()
    play.world.metrics.faults.append(Fault(ReadingKind.OUTAGE, now, now + 600))
    play.run(590)
    assert play.weights() == [10]
    assert play.ending() == (Phase.HOLDING, Reason.METRICS_OUTAGE)
    play.finish()
    assert play.ending() == (Phase.PROMOTED, Reason.PROMOTED)


def test_the_timeout_stands_still_during_an_outage() -> None:
    """An hour without Prometheus is not an hour of evidence that was not found."""
    silent = paced(on_inconclusive=OnInconclusive.ROLLBACK, step_timeout=900.0, on_no_data=_PATIENT)
    play = released(silent, ONE_PERCENT, load=Load(0.1))
    play.until_weight(10)
    play.run(300)
    now = play.world.now()
    play.world.metrics.faults.append(Fault(ReadingKind.OUTAGE, now, now + 1200))
    play.run(1500)
    assert play.weights() == [10]
    play.finish()
    assert play.ending() == (Phase.ROLLED_BACK, Reason.INCONCLUSIVE)


def test_errors_that_both_revisions_have_are_nobodys_fault() -> None:
    """A shared dependency fails for minutes: stable's errors rise with the candidate's."""
    bad = Quality(error_percent=lambda moment: 30.0 if 100 <= moment.at % 3600 < 400 else 0.5)
    play = released(paced(steps=(Step(10, 600.0), Step(100, 120.0))), bad, bad)
    play.finish()
    assert play.ending() == (Phase.PROMOTED, Reason.PROMOTED)
    assert (
        play.rollout().progress.decisions[-1]["inputs"]["metrics"]["error-rate"]["standing"]["stable"][1] > 20
    )


def test_errors_at_all_of_the_traffic_are_held_against_what_stable_did_before() -> None:
    """In the bake there is nothing to compare with at the same time."""
    late = Quality(error_percent=lambda moment: 8.0 if moment.weight == 100 else 1.0)
    play = released(paced(bake=1800.0, steps=(Step(10, 120.0), Step(100, 1800.0))), late)
    play.finish()
    assert play.ending() == (Phase.ROLLED_BACK, Reason.WORSE_THAN_STABLE)
    assert play.weights() == [10, 100, 0]


def test_beyond_the_objective_alone_is_held() -> None:
    """Both revisions fail five percent, and the users were promised one."""
    objective = Metric("error-rate", Range(max=1.0), Unit.PERCENT, compare=Compare(), objective=True)
    five = Quality(error_percent=5.0)
    play = released(paced(metrics=(objective,)), five, five)
    play.until_reason(Reason.BEYOND_OBJECTIVE)
    assert play.phase() is Phase.HOLDING
    play.run(1200)
    assert play.weights() == [10]
    assert "not shown to be worse than stable" in play.rollout().progress.message


def test_a_comparison_that_is_only_watched_changes_nothing() -> None:
    """dryRun: the evidence is shown, the rollout goes on."""
    watched = Metric("error-rate", Range(), Unit.PERCENT, compare=Compare(), dry_run=True)
    plain = Metric("request-duration", Range(max=5.0), Unit.SECONDS, quantile=0.99)
    play = released(paced(metrics=(plain, watched), on_inconclusive=None), Quality(error_percent=9.0))
    play.finish()
    assert play.ending() == (Phase.PROMOTED, Reason.PROMOTED)


def test_resuming_a_failed_rollout_starts_the_evidence_anew() -> None:
    """With onFailure: pause a person has weighed it; otherwise it would be paused again at once."""
    play = released(paced(on_failure=OnFailure.PAUSE), Quality(error_percent=4.0))
    play.until_phase(Phase.PAUSED)
    assert play.rollout().progress.reason is Reason.FAILURE_PAUSED
    assert play.ask(Verb.RESUME) == "resumed"
    assert play.rollout().progress.evidence == {}
    play.run(60)
    assert play.phase() in (Phase.PROGRESSING, Phase.HOLDING)


def test_every_decision_can_be_made_again_from_its_record() -> None:
    """The CanaryRollout as JSON is enough: the verdict and the plan come out the same."""
    for candidate in (ONE_PERCENT, Quality(error_percent=3.0)):
        rules = paced()
        play = released(rules, candidate)
        play.finish()
        document = json.loads(json.dumps(to_document(play.rollout())))
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
    play = released(paced(metrics=(ERRORS, LATENCY)), ONE_PERCENT)
    play.finish()
    progress = play.rollout().progress
    assert len(json.dumps(progress.evidence)) < 4096
    assert len(json.dumps(to_document(play.rollout()))) < 100_000


def test_resuming_from_the_record_equals_never_having_stopped() -> None:
    """Evidence survives JSON to the last digit."""
    play = released(paced(), ONE_PERCENT)
    play.until_weight(50)
    play.run(90)
    for live in play.engine.rollouts():
        stored = json.loads(json.dumps(live.progress.to_dict()))
        assert Progress.from_dict(stored) == live.progress


def test_presets_are_of_different_speed() -> None:
    """`fast` is done before `robust`."""
    seconds = {}
    for preset in (Preset.FAST, Preset.ROBUST):
        metric = Metric("error-rate", Range(), Unit.PERCENT, compare=Compare(preset=preset))
        play = released(paced(metrics=(metric,)), Quality(error_percent=3.0))
        play.finish()
        assert play.ending()[1] is Reason.WORSE_THAN_STABLE
        progress = play.rollout().progress
        seconds[preset] = (progress.finished_at or 0) - progress.started_at
    assert seconds[Preset.FAST] < seconds[Preset.ROBUST]
