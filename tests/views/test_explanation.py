"""Everything about one rollout, from its record and its policy alone."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any

import pytest

from autocanary.model.comparison_summary import ComparisonSummary, RevisionCounts
from autocanary.model.measurement import Measurement, MeasurementKind, Unit
from autocanary.model.policy import ComparisonPolicy, Metric, OnFailure, Range, Step
from autocanary.model.progress import MetricState, Phase
from autocanary.model.progress_json import with_stored_fields
from autocanary.model.reason import Reason
from autocanary.model.rollout_json import from_document, to_document
from autocanary.views import explain_rollout
from tests.controller.driver import V1, V2, healthy_start
from tests.controller.driver import policy as driver_policy
from tests.decide.builders import NOW, policy, progress, rollout


def test_a_running_rollout_is_explained_from_its_stored_document() -> None:
    """As a command reads it: through the JSON of the CanaryRollout, at 25 %."""
    plan = driver_policy()
    driver = healthy_start(plan)
    driver.until_weight(25)
    driver.run(40)
    stored = from_document(json.loads(json.dumps(to_document(driver.rollout()))))
    found = explain_rollout(stored, plan, driver.world.clock.now())
    assert (found.phase, found.weight, found.step, found.steps) == ("Progressing", 25, 2, 4)
    assert found.models.text == f"{V1} → {V2}"
    assert found.decision is not None
    assert found.decision.rule == "StepPassed"
    assert found.wait.text.startswith("the step at 25 % lasts 1m: ")
    (row,) = found.evidence
    assert (row.title, row.needed, row.verdict, row.value) == ("success rate", "needs 99 %", True, 100.0)
    assert found.sources == (row.source,)
    assert row.source
    first, *_ = found.next_events
    assert (first.kind, first.text) == ("step", "50 % of the traffic to mnist-predictor-00002, if the analysis passes")
    assert first.at is not None
    assert 0 < first.at - driver.world.clock.now() < 60
    assert json.dumps(asdict(found))


def test_next_events_are_in_the_order_of_their_times() -> None:
    """What has no time is last."""
    state = progress(phase=Phase.HOLDING, reason=Reason.NO_DATA, no_data_since=NOW - 100, held_since=NOW - 100)
    times = [each.at for each in explain_rollout(rollout(state), policy(), NOW).next_events]
    known = [at for at in times if at is not None]
    assert known == sorted(known)
    assert times[: len(known)] == known
    assert known == [NOW - 100 + 600]  # no data has a deadline of its own; the progress deadline does not run
    held = progress(phase=Phase.HOLDING, reason=Reason.TOO_FEW_REQUESTS, no_data_since=NOW - 100, held_since=NOW - 100)
    after = [each.at for each in explain_rollout(rollout(held), policy(), NOW).next_events if each.at is not None]
    assert after == [NOW - 100 + 1800]


@pytest.mark.parametrize(
    ("on_failure", "words"), [(OnFailure.PAUSE, "pauses the rollout"), (OnFailure.ROLLBACK, "rolls it back")]
)
def test_what_a_failure_does_is_what_the_policy_says(on_failure: OnFailure, words: str) -> None:
    """onFailure."""
    texts = [each.text for each in explain_rollout(rollout(), policy(on_failure=on_failure), NOW).next_events]
    assert f"a failed analysis {words} at any time" in texts


def test_an_approval_comes_before_the_next_step() -> None:
    """``pause: {}``."""
    plan = policy(steps=(Step(10, 300, approval=True), Step(100, 60)))
    first, *_ = explain_rollout(rollout(), plan, NOW).next_events
    assert first.text == "the step at 10 % waits for approval when it has passed"
    assert first.at == NOW + 240


def test_the_policy_is_shown_as_declared_and_in_force() -> None:
    """With a note when another version governs the service now."""
    plan = policy()
    newer = replace(plan, digest="newer", document={"stepWeights": [50]})
    found = explain_rollout(rollout(), plan, NOW, governing=newer).policy
    assert found.declared.startswith("stepWeights:\n  - 10")
    assert dict(found.in_force)["steps"] == "10 % 5m → 25 % 5m → 50 % 5m → 100 % 10m"
    assert dict(found.in_force)["onNoData"] == "rollback after 10m"
    assert "the change applies from the next rollout on" in found.note
    assert explain_rollout(rollout(), plan, NOW, governing=replace(plan, digest="p1")).policy.note == ""


def test_another_digest_of_the_same_text_is_no_other_policy() -> None:
    """A newer version of autocanary, with more fields, makes another one of it."""
    began = rollout()
    same = replace(policy(), name=began.policy_name, digest="newer", document=dict(began.policy_document))
    assert explain_rollout(began, policy(), NOW, governing=same).policy.note == ""


def test_an_unreadable_policy_leaves_what_the_record_says() -> None:
    """An older or newer version wrote the snapshot."""
    found = explain_rollout(rollout(), None, NOW)
    assert (found.steps, found.policy.in_force) == (None, ())
    assert "cannot read" in found.policy.note
    assert "cannot read the policy prod" in found.wait.text


@pytest.mark.parametrize("phase", [each for each in Phase if each.is_final])
def test_nothing_follows_an_ended_rollout(phase: Phase) -> None:
    """Whatever its end."""
    found: Any = explain_rollout(rollout(progress(phase=phase, reason=Reason.PROMOTED)), policy(), NOW)
    assert found.next_events == ()
    assert found.forecast == ""


def test_a_restore_is_part_of_the_explanation() -> None:
    """Which spec was put back, and that the manifest still has the other."""
    specs = {
        "stable_spec": {"model": {"storageUri": "gs://b/1"}},
        "candidate_spec": {"model": {"storageUri": "gs://b/2"}},
    }
    ended = progress(1, 0, phase=Phase.ROLLED_BACK, repairing=True, restored=True, finished_at=NOW)
    text = "spec.predictor was set back to gs://b/1; your manifest still has gs://b/2"
    assert explain_rollout(rollout(ended, **specs), policy(), NOW).restore == text
    assert (
        explain_rollout(rollout(with_stored_fields(ended, {"repairing": False}), **specs), policy(), NOW).restore == ""
    )


def test_while_stable_fails_no_rollback_is_promised() -> None:
    """Knative changes no split then: what follows is that stable's spec is put back."""
    state = progress(1, 25, phase=Phase.HOLDING, reason=Reason.STABLE_FAILED, verified_at=NOW, held_since=NOW)
    texts = [each.text for each in explain_rollout(rollout(state), policy(), NOW + 1).next_events]
    assert texts == [
        "the spec of mnist-predictor-00001 is put back as a new revision, if it is not ready by then",
        "50 % of the traffic to mnist-predictor-00002, if mnist-predictor-00001 is ready again and the analysis passes",
    ]


def test_a_compared_share_has_one_number() -> None:
    """The counts of the rollout: the last window's value beside them would be a second one for the same thing."""
    metric = Metric("error-rate", Range(), Unit.PERCENT, compare=ComparisonPolicy())
    summary = ComparisonSummary(candidate=RevisionCounts(200.0, 10.0), stable=RevisionCounts(2000.0, 20.0))
    last = Measurement(MeasurementKind.VALUE, 7.5, Unit.PERCENT, requests=40.0)
    state = progress(1, 25, metrics={"error-rate": MetricState(last=last, comparison_summary=summary)})
    analysis = replace(policy().analysis, metrics=(metric,))
    [row] = explain_rollout(rollout(state), policy(analysis=analysis), NOW).evidence
    assert (row.now, row.requests, row.requests_since_start) == ("5.00 %", 200.0, True)
    assert "canary 10/200 = 5.00 %" in row.comparison[0]
    limited = replace(metric, range=Range(max=1.0))
    [row] = explain_rollout(
        rollout(state), policy(analysis=replace(analysis, metrics=(limited,))), NOW
    ).evidence  # the limit is held against the window
    assert (row.now, row.requests, row.requests_since_start) == ("7.5 %", 40.0, False)
