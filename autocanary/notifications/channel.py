"""The one hook that every channel implements, and what the room injects into them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from autocanary.model.policy import Policy
from autocanary.model.rollout import Rollout
from autocanary.ports import Message

__all__ = ["Channel", "PolicyOf", "no_policy"]

PolicyOf = Callable[[Rollout], Policy | None]
"""The policy that a rollout follows (from its snapshot); None when this version cannot read it."""


def no_policy(rollout: Rollout) -> Policy | None:  # noqa: ARG001 - the signature is the hook's
    """For where no policies are at hand: messages then lack thresholds and the number of steps."""
    return None


class Channel(Protocol):
    """A way to tell people.

    ``name`` is kept in the ledger as "this channel has it", so it must stay the same over restarts and hold
    no secret. ``send`` returns when the receiver has the message, with the receipt that the ledger is to keep
    for this rollout's next one (None: none), and raises DeliveryError otherwise;
    ``retry_after`` of that is seconds when the receiver named them, and ``http.NEVER`` when the same message
    will be refused again. ``send`` of one channel is never called twice at once.
    """

    @property
    def name(self) -> str: ...
    def wants(self, message: Message) -> bool: ...
    def send(self, message: Message) -> str | None: ...
