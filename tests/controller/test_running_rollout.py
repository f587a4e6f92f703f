"""The state of one running rollout: only its own methods change it, and what they say of busy, due and recorded."""

from __future__ import annotations

import ast
from dataclasses import fields, replace
from pathlib import Path

from autocanary import controller
from autocanary.controller.running_rollout import RunningRollout
from autocanary.controller.write import WriteResult
from autocanary.errors import CanaryUnsupported, Unreachable
from autocanary.model.decision import Action, Decision
from tests.controller.driver import healthy_start, policy

FIELDS = {each.name for each in fields(RunningRollout)}


def running() -> RunningRollout:
    driver = healthy_start()
    driver.until_weight(10)
    rollout = driver.rollout()
    return RunningRollout(rollout, policy(), stored=rollout.progress, stored_at=1000.0)


def decision(of: RunningRollout, action: Action = Action.NONE, weight: int | None = None) -> Decision:
    return Decision(of.rollout.progress, of.rollout.progress.reason, action=action, weight=weight)


def test_no_other_module_changes_a_running_rollout() -> None:
    """No pass of the controller assigns to a field of a running rollout."""
    wrong = [
        f"{path.name}:{node.lineno} {ast.unparse(node)}"
        for path in sorted(Path(controller.__file__).parent.glob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and node.attr in FIELDS
        if ast.unparse(node.value) != "self"
    ]
    assert wrong == []


def test_failed_writes_delay_the_next_evaluation() -> None:
    """1, 2, 4 seconds; after a write that succeeds the interval counts again."""
    one = running()
    delays = []
    for _ in range(3):
        one.begin_write(decision(one), 1000.0)
        one.finish_write()
        one.merge_result(decision(one), WriteResult(one.rollout, False), Unreachable("timed out"), 1000.0)
        delays.append(one.next_due_at(1000.0) - 1000.0)
    assert delays == [1.0, 2.0, 4.0]
    one.merge_result(decision(one), WriteResult(one.rollout, True), None, 1000.0)
    assert one.next_due_at(1000.0) == 1005.0  # the grid of 15 s


def test_write_that_was_acknowledged_is_known() -> None:
    """Until the next weight is written; a refusal of every weight is kept until a write succeeds."""
    one = running()
    raised = decision(one, Action.WEIGHT, 25)
    one.merge_result(raised, WriteResult(one.rollout, True, written=True), None, 1000.0)
    assert one.acknowledged_weight == 25
    one.begin_write(raised, 1001.0)
    assert one.acknowledged_weight is None
    one.merge_result(raised, None, CanaryUnsupported("the mode has no split"), 1001.0)
    given = one.decision_input(None, 1001.0)
    assert given is not None
    assert given.unsupported_reason == "the mode has no split"


def test_change_during_a_write_is_evaluated_after_it() -> None:
    """Once: the second write starts without it."""
    one = running()
    one.begin_write(decision(one), 1000.0)
    one.evaluate_after_write()
    one.finish_write()
    assert one.take_evaluate_again(1001.0)
    assert not one.take_evaluate_again(1001.0)


def test_status_of_another_client_counts() -> None:
    """Only another progress is foreign; the user's request is taken over either way."""
    one = running()
    assert not one.merge_stored(replace(one.rollout, paused=True, resource_version="7"), 1e10)
    assert (one.rollout.paused, one.rollout.resource_version) == (True, "7")
    edited = replace(one.rollout, progress=replace(one.rollout.progress, message="edited"))
    assert one.merge_stored(edited, 1e10)
    assert one.stored == edited.progress == one.rollout.progress
