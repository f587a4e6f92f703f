"""Tests of autocanary.notifications.channel."""

from __future__ import annotations

import pytest

from autocanary.model.decision import Event
from autocanary.model.policy import NotificationRoute
from autocanary.notifications.channel import (
    EVENT_NAMES,
    route_selects,
    wanted_by_default_channels,
    wanted_by_slack,
)
from tests.notifications.example_messages import message


def test_every_event_has_exactly_one_name() -> None:
    """No transition is out of a policy's reach."""
    assert sorted(event.value for event in EVENT_NAMES.values()) == sorted(event.value for event in Event)


def test_route_without_events_selects_all() -> None:
    """An empty list means all."""
    assert all(route_selects(NotificationRoute(), event.value) for event in Event)


def test_route_selects_what_it_names() -> None:
    """Names are the policy's words; an unknown one selects nothing."""
    route = NotificationRoute(events=("rolled-back", "promoted", "gibberish"))
    assert route_selects(route, Event.ROLLED_BACK.value)
    assert route_selects(route, Event.PROMOTED.value)
    assert not route_selects(route, Event.STEP.value)


ROLLED_BACK_ONLY = ("rolled-back",)
SLACK = NotificationRoute(events=ROLLED_BACK_ONLY, slack_channel="#ml")
WEBHOOK = NotificationRoute(events=ROLLED_BACK_ONLY, webhook="http://h/")
ALL_CHANNELS = NotificationRoute(events=ROLLED_BACK_ONLY)


@pytest.mark.parametrize(
    ("routes", "all_channels", "slack"),
    [
        ((), True, True),
        ((WEBHOOK,), True, True),
        ((SLACK,), True, False),
        ((ALL_CHANNELS,), False, False),
        ((ALL_CHANNELS, NotificationRoute(slack_channel="#all")), False, True),
        ((SLACK, NotificationRoute(events=("step",), slack_channel="#steps")), True, True),
    ],
)
def test_channels_notified_of_a_step(routes: tuple[NotificationRoute, ...], all_channels: bool, slack: bool) -> None:
    """Slack routes narrow Slack, routes for all channels narrow all, webhook routes only add."""
    step = message(Event.STEP, routes=routes)
    assert wanted_by_default_channels(step) is all_channels
    assert wanted_by_slack(step) is slack


def test_channels_notified_of_a_rollback() -> None:
    """What all routes name goes to every channel."""
    rolled_back = message(routes=(SLACK, WEBHOOK, ALL_CHANNELS))
    assert wanted_by_default_channels(rolled_back)
    assert wanted_by_slack(rolled_back)
