"""Transitions, each logged once."""

from __future__ import annotations

from autocanary.cli.event_log import EventLog
from tests.cli.fake_client import START, decision, rollout

FIRST = decision(10, "step_taken", 10, "StepPassed", "10 % of the traffic")
SECOND = decision(70, "step_taken", 25, "StepPassed", "25 % of the traffic")


def test_each_transition_is_returned_once() -> None:
    """However often the same rollout is read."""
    trail = EventLog()
    assert [line.weight for line in trail.new_lines([rollout(decisions=(FIRST,))])] == [10]
    assert [line.weight for line in trail.new_lines([rollout(decisions=(FIRST, SECOND))])] == [25]
    assert trail.new_lines([rollout(decisions=(FIRST, SECOND))]) == []


def test_transitions_of_several_rollouts_are_sorted_by_time() -> None:
    """As a log."""
    iris = rollout(service="iris", decisions=(decision(30, "rollout_started", 0, "RolloutStarted", "go"),))
    lines = EventLog().new_lines([rollout(decisions=(FIRST, SECOND)), iris])
    assert [line.where for line in lines] == ["models/mnist", "models/iris", "models/mnist"]


def test_two_transitions_of_one_second_keep_their_order() -> None:
    """A rollback may be started and done within a second."""
    same = [decision(10, "step_taken", weight, "StepPassed", "") for weight in (50, 10, 25)]
    assert [line.weight for line in EventLog().new_lines([rollout(decisions=tuple(same))])] == [50, 10, 25]


def test_a_line_says_when_where_what_and_why() -> None:
    """One line per transition."""
    (line,) = EventLog().new_lines([rollout(decisions=(FIRST,))])
    assert line.at == START + 10
    assert line.text("+00:10") == "+00:10  models/mnist  step_taken  10 %  StepPassed: 10 % of the traffic"


def test_reads_an_incomplete_entry() -> None:
    """A missing field is no reason to fail."""
    (line,) = EventLog().new_lines([rollout(decisions=({"event": "rollout_held"},))])
    assert (line.at, line.event, line.weight) == (0.0, "rollout_held", 0)
