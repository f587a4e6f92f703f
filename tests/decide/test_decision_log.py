"""What is recorded with a decision: nothing that mattered is lost on the way through JSON."""

from __future__ import annotations

import json
from dataclasses import fields, replace

from autocanary.analysis import AnalysisInput, Evaluation, Outcome
from autocanary.decide.decision_input import DecisionInput, WebhookAnswer
from autocanary.decide.decision_log import (
    decision_inputs_from_json,
    decision_inputs_to_json,
    without_effects,
)
from autocanary.decide.observed_progress import with_observed_progress
from autocanary.decide.planner import plan, replay
from autocanary.model.measurement import Measurement, MeasurementKind
from autocanary.model.observation import ConditionStatus, DefaultEndpoint, DeploymentMode, Observation
from autocanary.model.policy import WebhookType
from autocanary.model.progress import Phase
from autocanary.model.rollout import Request
from tests.decide.builders import NOW, make_decision_input, make_observation, policy, progress, rollout, verdict

DEFAULT_ENDPOINT = DefaultEndpoint(
    spec={"a": 1}, digest="d", ready=ConditionStatus.FALSE, has_candidate=True, failure="it crashes"
)
EVERYTHING = make_observation(
    25,
    20,
    mode=DeploymentMode.STANDARD,
    previous="mnist-predictor-00000",
    labels={"tier": "prod"},
    route_ready=ConditionStatus.FALSE,
    service_ready=ConditionStatus.UNKNOWN,
    latest_ready=ConditionStatus.FALSE,
    failure="no GPU",
    route_failure='Revision "mnist-predictor-00001" failed to become ready.',
    blocked_by="mnist-predictor-00001",
    generation=7,
    is_status_behind=True,
    writer="argocd",
    released_by="ada (argocd)",
    stopped=True,
    deleting=True,
    auto_update_disabled=True,
    reconcile_error="refused",
    default_endpoint=DEFAULT_ENDPOINT,
)

ANALYSIS_INPUT = AnalysisInput(Evaluation(now=NOW), {"error-rate": Measurement(MeasurementKind.VALUE, 0.1)})


def through_json(given: DecisionInput) -> DecisionInput:
    values, before, _ = decision_inputs_from_json(json.loads(json.dumps(decision_inputs_to_json(given))))
    of_rollout = {"paused": values.pop("paused"), "request": values.pop("request")}
    return DecisionInput(policy=given.policy, rollout=replace(given.rollout, progress=before, **of_rollout), **values)


def test_decision_input_survives_json() -> None:
    """Traffic, webhooks, requests and clocks; an observation with nothing at its default."""
    plain = make_observation()
    same = [each.name for each in fields(Observation) if getattr(plain, each.name) == getattr(EVERYTHING, each.name)]
    assert same == [
        "key",
        "uid",
        "api_version",
        "resource_version",
        "rolled_out",
        "ready",
        "created",
        "spec_digest",
        "spec",
    ]
    given = make_decision_input(
        progress(evidence={"version": 1, "evidence_percent": 3.5}, no_data_since=NOW - 3),
        EVERYTHING,
        webhook_answers={WebhookType.ROLLBACK: (WebhookAnswer("panic", None, "away"),)},
        cache_age=12.5,
        acknowledged_weight=25,
        unsupported_reason="this KFServing splits no traffic",
        paused=True,
        request=Request("r1", "promote", "ann", 25),
    )
    assert through_json(given) == given


def test_a_service_that_is_gone_comes_back_as_gone() -> None:
    """No observation is an observation, too."""
    given = make_decision_input(gone=True)
    assert through_json(given) == given
    assert replay(given.rollout, given.policy, decision_inputs_to_json(given)).progress.phase is Phase.ABANDONED


def test_recorded_inputs_omit_specs_and_outbox() -> None:
    """They are large, and decide nothing."""
    known = progress(decisions=({"time": "x"},), delivered_notifications=("a",))
    raw = json.dumps(decision_inputs_to_json(make_decision_input(known, EVERYTHING)))
    assert "storageUri" not in raw
    assert '"a": 1' not in raw
    assert '"decisions"' not in raw


def test_a_decision_from_a_verdict_without_a_basis_keeps_what_it_said() -> None:
    """Tests and older records have none: the message is kept instead."""
    given = make_decision_input(said=verdict(Outcome.PASS), policy=policy())
    raw = decision_inputs_to_json(given)
    assert raw["verdict"]["message"] == "the verdict is pass"
    _, _, analysis_input = decision_inputs_from_json(raw)
    assert analysis_input is None


def test_reads_the_names_of_an_earlier_version() -> None:
    """Records of the development versions name the evaluation and the measurements with other keys."""
    given = make_decision_input(
        progress(), make_observation(10), said=replace(verdict(Outcome.PASS), analysis_input=ANALYSIS_INPUT)
    )
    written = decision_inputs_to_json(given)
    assert "measurements" in written["verdict"]
    earlier = json.loads(json.dumps(written))
    earlier["verdict"]["look"] = earlier["verdict"].pop("evaluation")
    earlier["verdict"]["readings"] = earlier["verdict"].pop("measurements")
    assert decision_inputs_from_json(earlier) == decision_inputs_from_json(written)


def test_the_inputs_of_a_decision_are_from_before_it() -> None:
    """What the evaluation itself noted is not taken for what was known."""
    state = progress(observed_weight=3)
    decision = plan(make_decision_input(state, make_observation(10, 7), policy=policy()))
    if decision.inputs is None:  # the step starts again; nothing is notified
        decision = replace(
            decision,
            inputs=decision_inputs_to_json(
                with_observed_progress(make_decision_input(state, make_observation(10, 7), policy=policy()))
            ),
        )
    assert decision.inputs is not None
    assert decision.inputs["progress"]["observed_weight"] == 3
    made = replay(rollout(state), policy(), json.loads(json.dumps(decision.inputs)))
    assert without_effects(made.progress) == without_effects(decision.progress)
