"""A recorded decision explained, and made again from its inputs."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from autocanary.decide.planner import plan
from autocanary.decide.rules import CHAIN
from autocanary.model.reason import Reason
from autocanary.model.rollout import Request, Rollout
from autocanary.views import explain_decision
from tests.controller.driver import healthy_start
from tests.controller.driver import policy as driver_policy
from tests.decide.builders import make_decision_input
from tests.decide.builders import rollout as built

POLICY = driver_policy()


@cache
def whole_rollout() -> Rollout:
    driver = healthy_start(POLICY)
    return driver.finish()


def test_every_decision_of_a_rollout_replays_to_itself() -> None:
    """From the first step to the promotion; only the first decision, of the detection, has no inputs."""
    rollout = whole_rollout()
    explained = [explain_decision(rollout, POLICY, number + 1) for number in range(len(rollout.progress.decisions))]
    assert len(explained) > 3
    assert explained[0] is not None
    assert (explained[0].is_same, explained[0].replay_note) == (None, "the rollout began with it")
    assert [each.is_same for each in explained[1:] if each is not None] == [True] * (len(explained) - 1)


def test_the_rules_before_the_one_that_applied_are_named_in_order() -> None:
    """The chain up to that rule; the last one applied."""
    rollout = whole_rollout()
    newest = explain_decision(rollout, POLICY, -1)
    assert newest is not None
    assert newest.number == newest.count == len(rollout.progress.decisions)
    assert [each.name for each in newest.rules] == [each.name for each in CHAIN][: len(newest.rules)]
    assert [each.applied for each in newest.rules] == [False] * (len(newest.rules) - 1) + [True]
    assert newest.rules[-1].name == newest.rule
    assert all(each.description for each in newest.rules)


def test_an_altered_record_does_not_replay() -> None:
    """A record that a client changed is not confirmed."""
    rollout = whole_rollout()
    *earlier, newest = rollout.progress.decisions
    altered = replace(rollout, progress=replace(rollout.progress, decisions=(*earlier, {**newest, "weight": 7})))
    found = explain_decision(altered, POLICY, -1)
    assert found is not None
    assert (found.is_same, dict(found.replayed)) == (False, {"weight": newest["weight"]})


def test_broken_inputs_are_said_and_raise_nothing() -> None:
    """Another version, or a client that wrote the status."""
    rollout = whole_rollout()
    broken = {**rollout.progress.decisions[-1], "inputs": {"progress": {"version": 1}}}
    damaged = replace(rollout, progress=replace(rollout.progress, decisions=(broken,)))
    found = explain_decision(damaged, POLICY, 1)
    assert found is not None
    assert found.is_same is None
    assert found.replay_note.startswith("another version recorded its inputs")


def test_numbers_out_of_range_have_no_decision() -> None:
    """0, and beyond both ends."""
    rollout = whole_rollout()
    count = len(rollout.progress.decisions)
    assert [explain_decision(rollout, POLICY, n) for n in (0, count + 1, -count - 1)] == [None] * 3


def test_a_user_request_is_recorded_with_name_and_reason() -> None:
    """``--reason`` is in the record, in the message, and in the explanation."""
    request = Request("r1", "abort", "ada", reason="the model is wrong")
    decision = plan(make_decision_input(request=request))
    rollout = replace(built(), progress=decision.progress)
    found = explain_decision(rollout, None, -1)
    assert found is not None
    assert (found.reason, found.requested_by, found.request_reason) == (
        Reason.ABORTED_BY_USER.value,
        "ada",
        "the model is wrong",
    )
    assert found.message == "aborted by ada: the model is wrong"
