"""Tests of autocanary.notifications.audit_log."""

from __future__ import annotations

import pytest

from autocanary.errors import AutocanaryError, Busy, DeliveryError, NotLeader
from autocanary.notifications.audit_log import KubernetesEvents
from autocanary.ports import Message
from tests.notifications.example_messages import message


def test_passes_the_message_to_the_event_writer() -> None:
    """The writer gets the message as it is, whatever its event."""
    written: list[Message] = []
    channel = KubernetesEvents(written.append)
    assert channel.name == "kubernetes-events"
    assert channel.wants(message())
    channel.send(message())
    assert written == [message()]


@pytest.mark.parametrize(
    ("error", "pause"),
    [
        (Busy("the API server is busy", status=429, retry_after=4.0), 4.0),
        (NotLeader("not the leader any more"), None),
        (DeliveryError("full", retry_after=2.0), 2.0),
    ],
)
def test_errors_become_delivery_errors(error: AutocanaryError, pause: float | None) -> None:
    """The queue sees one kind of error, with the server's pause."""

    def write(_: Message) -> None:
        raise error

    with pytest.raises(DeliveryError, match=str(error)) as caught:
        KubernetesEvents(write).send(message())
    assert caught.value.retry_after == pause
