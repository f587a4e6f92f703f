"""What is recorded with a decision: nothing that mattered is lost on the way through JSON."""

from __future__ import annotations

import json
from dataclasses import fields, replace

from autocanary.analysis import Outcome
from autocanary.decide.decision_input import Answer, Situation
from autocanary.decide.decision_log import BOOKS, inputs_of, situation_inputs
from autocanary.decide.planner import plan, replay
from autocanary.model.observation import Beside, Mode, Observation, Trinary
from autocanary.model.policy import WebhookType
from autocanary.model.progress import Phase
from autocanary.model.rollout import Request
from tests.decide.build import NOW, observation, policy, progress, rollout, situation, verdict

BESIDE = Beside(spec={"a": 1}, digest="d", ready=Trinary.FALSE, has_candidate=True, failure="it crashes")
EVERYTHING = observation(
    25,
    20,
    mode=Mode.STANDARD,
    previous="mnist-predictor-00000",
    labels={"tier": "prod"},
    route_ready=Trinary.FALSE,
    service_ready=Trinary.UNKNOWN,
    latest_ready=Trinary.FALSE,
    failure="no GPU",
    writer="argocd",
    stopped=True,
    deleting=True,
    auto_update_disabled=True,
    reconcile_error="refused",
    beside=BESIDE,
)


def through_json(given: Situation) -> Situation:
    values, before, _ = situation_inputs(json.loads(json.dumps(inputs_of(given))))
    of_rollout = {"paused": values.pop("paused"), "request": values.pop("request")}
    return Situation(policy=given.policy, rollout=given.rollout.but(progress=before, **of_rollout), **values)


def test_every_part_of_a_situation_comes_back() -> None:
    """Traffic, webhooks, wishes and clocks; an observation with nothing at its default."""
    plain = observation()
    same = [
        each.name
        for each in fields(Observation)
        if getattr(plain, each.name) == getattr(EVERYTHING, each.name)
    ]
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
    given = situation(
        progress(evidence={"version": 1, "meter": 3.5}, no_data_since=NOW - 3),
        EVERYTHING,
        gates={WebhookType.ROLLBACK: (Answer("panic", None, "away"),)},
        picture_age=12.5,
        acknowledged=25,
        unsupported="this KFServing splits no traffic",
        paused=True,
        request=Request("r1", "promote", "ann"),
    )
    assert through_json(given) == given


def test_a_service_that_is_gone_comes_back_as_gone() -> None:
    """No observation is an observation, too."""
    given = situation(gone=True)
    assert through_json(given) == given
    assert replay(given.rollout, given.policy, inputs_of(given)).progress.phase is Phase.ABANDONED


def test_specs_and_books_are_left_out() -> None:
    """They are large, and decide nothing."""
    known = progress(decisions=({"time": "x"},), told=("a",))
    raw = json.dumps(inputs_of(situation(known, EVERYTHING)))
    assert "storageUri" not in raw
    assert '"a": 1' not in raw
    assert '"decisions"' not in raw


def test_a_decision_from_a_verdict_without_a_basis_keeps_what_it_said() -> None:
    """Tests and older records have none: the message is kept instead."""
    given = situation(said=verdict(Outcome.PASS), policy=policy())
    raw = inputs_of(given)
    assert raw["verdict"]["message"] == "the verdict is pass"
    _, _, basis = situation_inputs(raw)
    assert basis is None


def test_the_inputs_of_a_decision_are_from_before_it() -> None:
    """What the look itself noted is not taken for what was known."""
    state = progress(observed_weight=3)
    decision = plan(situation(state, observation(10, 7), policy=policy()))
    if decision.inputs is None:  # the step starts anew; nothing is told
        decision = replace(
            decision, inputs=inputs_of(situation(state, observation(10, 7), policy=policy()).noted())
        )
    assert decision.inputs is not None
    assert decision.inputs["progress"]["observed_weight"] == 3
    made = replay(rollout(state), policy(), json.loads(json.dumps(decision.inputs)))
    assert made.progress.but(**BOOKS) == decision.progress.but(**BOOKS)
