"""Which transitions a policy wants told where: the names that policies use, and the choice they make."""

from __future__ import annotations

from collections.abc import Mapping

from autocanary.model.decision import Event
from autocanary.model.policy import NotificationRoute
from autocanary.ports import Message

__all__ = ["EVENT_NAMES", "for_everyone", "selects", "slack_wanted"]

EVENT_NAMES: Mapping[str, Event] = {
    "started": Event.STARTED,
    "step": Event.STEP,
    "held": Event.HELD,
    "paused": Event.PAUSED,
    "resumed": Event.RESUMED,
    "promoted": Event.PROMOTED,
    "rollback": Event.ROLLBACK,
    "rolled-back": Event.ROLLED_BACK,
    "external-change": Event.EXTERNAL_CHANGE,
    "ended": Event.ENDED,
    "warning": Event.WARNING,
}
"""The words of ``notifications[].events`` in a policy."""


def selects(route: NotificationRoute, event: str) -> bool:
    """Whether a route names the event (an audit event's name); a route without names selects all."""
    return not route.events or any(
        EVENT_NAMES[name].value == event for name in route.events if name in EVENT_NAMES
    )


def for_everyone(message: Message, event: str | None = None) -> bool:
    """Whether the service's own channels tell this (or another ``event`` of the rollout).

    Routes with neither a Slack channel nor a webhook narrow what all of the service's channels say; without
    such routes they say everything.
    """
    routes = tuple(each for each in message.routes if not each.webhook and not each.slack_channel)
    return _any_of(event or message.telling.event, routes)


def slack_wanted(message: Message) -> bool:
    """Whether Slack tells this: the policy's Slack routes narrow it, else the routes for everyone do."""
    slack = tuple(each for each in message.routes if each.slack_channel)
    return _any_of(message.telling.event, slack) if slack else for_everyone(message)


def _any_of(event: str, routes: tuple[NotificationRoute, ...]) -> bool:
    return not routes or any(selects(route, event) for route in routes)
