"""The one hook that every channel implements, and what is injected into the channels.

Which transitions a policy sends where: the events' names in policies, and what routes select.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from autocanary.model.decision import Event
from autocanary.model.policy import NotificationRoute, Policy
from autocanary.model.rollout import Rollout
from autocanary.ports import Message

__all__ = [
    "EVENT_NAMES",
    "Channel",
    "PolicyOf",
    "no_policy",
    "route_selects",
    "wanted_by_default_channels",
    "wanted_by_slack",
]

PolicyOf = Callable[[Rollout], Policy | None]
"""The policy that a rollout follows (from its snapshot); None when this version cannot read it."""


def no_policy(rollout: Rollout) -> Policy | None:  # noqa: ARG001 - the signature is the hook's
    """For where no policies are at hand: messages then lack thresholds and the number of steps."""
    return None


class Channel(Protocol):
    """A way to reach users.

    ``name`` is kept in the rollout store as "this channel has it", so it must stay the same over restarts and hold
    no secret. ``send`` returns when the receiver has the message, with the channel message id that the store keeps
    for this rollout's next one (None: none), and raises DeliveryError otherwise;
    ``retry_after`` of that is seconds when the receiver named them, and ``http.NEVER`` when the same message
    will be refused again. ``send`` of one channel is never called twice at once.
    """

    @property
    def name(self) -> str: ...
    def wants(self, message: Message) -> bool: ...
    def send(self, message: Message) -> str | None: ...


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


def route_selects(route: NotificationRoute, event: str) -> bool:
    """Whether a route names the event (an audit event's name); a route without names selects all."""
    return not route.events or any(EVENT_NAMES[name].value == event for name in route.events if name in EVENT_NAMES)


def wanted_by_default_channels(message: Message, event: str | None = None) -> bool:
    """Whether the service's own channels send this event (or another ``event`` of the rollout).

    Routes with neither a Slack channel nor a webhook narrow what all of the service's channels say; without
    such routes they say everything.
    """
    routes = tuple(each for each in message.routes if not each.webhook and not each.slack_channel)
    return _any_route_selects(event or message.notification.event, routes)


def wanted_by_slack(message: Message) -> bool:
    """Whether Slack gets this event: the policy's Slack routes narrow it, else the routes for all channels do."""
    slack = tuple(each for each in message.routes if each.slack_channel)
    return _any_route_selects(message.notification.event, slack) if slack else wanted_by_default_channels(message)


def _any_route_selects(event: str, routes: tuple[NotificationRoute, ...]) -> bool:
    return not routes or any(route_selects(route, event) for route in routes)
