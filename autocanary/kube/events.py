"""Transitions as Kubernetes Events, on the InferenceService and on the CanaryRollout.

An Event's name follows from the transition's id, so writing it again (after a restart, or a lost answer) is
a 409 that counts as delivered: no transition is shown twice.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from autocanary.errors import AlreadyExists, DeliveryError, NotFound, Refused
from autocanary.kube.api_client import ApiClient
from autocanary.kube.resource import EVENTS
from autocanary.model.decision import Event
from autocanary.model.reason import Reason
from autocanary.model.rollout_json import API_VERSION, KIND
from autocanary.model.time_format import format_time
from autocanary.ports import Message
from autocanary.views import model_change
from autocanary.views.service_history import restore_text

__all__ = ["EventWriter"]

_COMPONENT = "autocanary"
_NEVER = float("inf")
_MAX_MESSAGE_BYTES = 1024  # of an Event's message
_MAX_NAME_STEM = 200  # leaves space for the hash within a name's 253 characters
_WARNING_EVENTS = frozenset(
    each.value for each in (Event.ROLLBACK, Event.ROLLED_BACK, Event.EXTERNAL_CHANGE, Event.WARNING)
)
_EVENTS_WITH_MODELS = frozenset(
    each.value for each in (Event.STARTED, Event.PROMOTED, Event.ROLLBACK, Event.ROLLED_BACK, Event.ENDED)
)
_WARNING_REASONS = frozenset(
    each.value
    for each in (
        Reason.FAILURE_PAUSED,
        Reason.WEIGHT_LOST,
        Reason.MISSED_UNSTAGED,
        Reason.CANARY_UNSUPPORTED,
    )
)


class EventWriter:
    """Writes the two Events of a message; ``identity`` says which instance did."""

    def __init__(self, client: ApiClient, identity: str = "") -> None:
        self._client = client
        self._identity = identity

    def write(self, message: Message) -> None:
        """Deliver both; done when they exist.

        Raises DeliveryError with an infinite ``retry_after`` when they can never be (the namespace is gone,
        or the server refuses them), and another ClusterError when trying again later may help.
        """
        for subject in (_service_reference(message), _rollout_reference(message)):
            event = self._event(message, subject)
            try:
                self._client.create(EVENTS, message.rollout.namespace, event)
            except AlreadyExists:
                continue
            except (NotFound, Refused) as error:
                raise DeliveryError(str(error), retry_after=_NEVER) from error

    def _event(self, message: Message, subject: Mapping[str, str]) -> dict[str, Any]:
        notification = message.notification
        at = format_time(notification.at)
        return {
            "apiVersion": EVENTS.api_version,
            "kind": EVENTS.kind,
            "metadata": {
                "name": _event_name(subject, notification.id),
                "namespace": message.rollout.namespace,
            },
            "involvedObject": dict(subject),
            "type": _event_type(notification.event, notification.reason),
            "reason": notification.reason,
            "message": _event_message(message),
            "firstTimestamp": at,
            "lastTimestamp": at,
            "count": 1,
            "source": {"component": _COMPONENT},
            "reportingComponent": _COMPONENT,
            "reportingInstance": self._identity or _COMPONENT,
        }


def _service_reference(message: Message) -> dict[str, str]:
    rollout = message.rollout
    return {
        "apiVersion": rollout.api_version,
        "kind": "InferenceService",
        "namespace": rollout.namespace,
        "name": rollout.service,
        "uid": rollout.service_uid,
    }


def _rollout_reference(message: Message) -> dict[str, str]:
    rollout = message.rollout
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "namespace": rollout.namespace,
        "name": rollout.name,
        "uid": rollout.uid,
    }


def _event_name(subject: Mapping[str, str], notification: str) -> str:
    digest = hashlib.sha256(f"{subject['kind']}/{subject['uid']}/{notification}".encode()).hexdigest()[:16]
    stem = re.sub(r"[^a-z0-9.-]", "-", subject["name"].lower())[:_MAX_NAME_STEM].rstrip("-.")
    return f"{stem}.{digest}"


def _event_type(event: str, reason: str) -> str:
    return "Warning" if event in _WARNING_EVENTS or reason in _WARNING_REASONS else "Normal"


def _event_message(message: Message) -> str:
    """What happened, what was put back, the models, and the links, which are kept whole where the text is cut."""
    models = model_change(message.rollout).text
    text = message.notification.message
    restore = restore_text(message.rollout) if message.notification.event == Event.ROLLED_BACK.value else ""
    if restore:
        text = f"{text}. {restore}"
    if models and message.notification.event in _EVENTS_WITH_MODELS:
        text = f"{text} [{models}]"
    links = "".join(f" {url}" for url in (message.page_url, message.runbook_url) if url)
    left = _MAX_MESSAGE_BYTES - len(links.encode())
    return _truncate(text, left) + links if left > _MAX_MESSAGE_BYTES // 2 else _truncate(text, _MAX_MESSAGE_BYTES)


def _truncate(text: str, limit: int) -> str:
    return text if len(text.encode()) <= limit else text.encode()[: limit - 4].decode(errors="ignore") + "…"
