"""A transition as a CloudEvent (1.0, JSON, structured mode): the envelope of the generic webhook.

============================  =============================================================================
``id``                        the telling's: the same however often it is sent, so a receiver can drop
                              repetitions; with ``source`` it is unique
``source``                    ``/autocanary/<cluster>``, or ``/autocanary`` where the cluster has no name
``type``                      ``dev.autocanary.`` and the audit event's name
``subject``                   ``<namespace>/<InferenceService>``
``time``                      when it was decided
``datacontenttype``           ``application/json``
============================  =============================================================================

Source: CloudEvents specification 1.0.2, and its JSON event format.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from autocanary.model.time_format import iso
from autocanary.ports import Message

__all__ = ["CONTENT_TYPE", "TYPE_PREFIX", "cloudevent"]

CONTENT_TYPE = "application/cloudevents+json; charset=utf-8"
TYPE_PREFIX = "dev.autocanary."


def cloudevent(message: Message, cluster: str, data: Mapping[str, Any]) -> dict[str, Any]:
    """The event with ``data`` in it."""
    telling, rollout = message.telling, message.rollout
    return {
        "specversion": "1.0",
        "id": telling.id,
        "source": f"/autocanary/{quote(cluster, safe='')}" if cluster else "/autocanary",
        "type": f"{TYPE_PREFIX}{telling.event}",
        "subject": f"{rollout.namespace}/{rollout.service}",
        "time": iso(telling.at),
        "datacontenttype": "application/json",
        "data": dict(data),
    }
