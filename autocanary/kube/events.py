"""Transitions as Kubernetes Events, on the InferenceService and on the CanaryRollout.

An Event's name follows from the transition's id, so telling it again (after a restart, or a lost answer) is
a 409 that counts as delivered: nobody reads the same transition twice.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from autocanary.errors import AlreadyExists, DeliveryError, NotFound, Refused
from autocanary.kube.api_client import Session
from autocanary.kube.resource import EVENTS
from autocanary.model.decision import Event
from autocanary.model.reason import Reason
from autocanary.model.rollout_json import API_VERSION, KIND
from autocanary.model.time_format import iso
from autocanary.ports import Message

__all__ = ["EventWriter"]

_COMPONENT = "autocanary"
_NEVER = float("inf")
_LONGEST = 1024  # of an Event's message
_NAME = 200  # leaves room for the hash within a name's 253 characters
_WARNINGS = frozenset(
    each.value for each in (Event.ROLLBACK, Event.ROLLED_BACK, Event.EXTERNAL_CHANGE, Event.WARNING)
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

    def __init__(self, session: Session, identity: str = "") -> None:
        self._session = session
        self._identity = identity

    def write(self, message: Message) -> None:
        """Deliver both; done when they exist.

        Raises DeliveryError with an infinite ``retry_after`` when they can never be (the namespace is gone,
        or the server refuses them), and another ClusterError when trying again later may help.
        """
        for subject in (_service(message), _rollout(message)):
            event = self._event(message, subject)
            try:
                self._session.create(EVENTS, message.rollout.namespace, event)
            except AlreadyExists:
                continue
            except (NotFound, Refused) as error:
                raise DeliveryError(str(error), retry_after=_NEVER) from error

    def _event(self, message: Message, subject: Mapping[str, str]) -> dict[str, Any]:
        telling = message.telling
        at = iso(telling.at)
        return {
            "apiVersion": EVENTS.api_version,
            "kind": EVENTS.kind,
            "metadata": {"name": _name(subject, telling.id), "namespace": message.rollout.namespace},
            "involvedObject": dict(subject),
            "type": _type(telling.event, telling.reason),
            "reason": telling.reason,
            "message": _short(telling.message),
            "firstTimestamp": at,
            "lastTimestamp": at,
            "count": 1,
            "source": {"component": _COMPONENT},
            "reportingComponent": _COMPONENT,
            "reportingInstance": self._identity or _COMPONENT,
        }


def _service(message: Message) -> dict[str, str]:
    rollout = message.rollout
    return {
        "apiVersion": rollout.api_version,
        "kind": "InferenceService",
        "namespace": rollout.namespace,
        "name": rollout.service,
        "uid": rollout.service_uid,
    }


def _rollout(message: Message) -> dict[str, str]:
    rollout = message.rollout
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "namespace": rollout.namespace,
        "name": rollout.name,
        "uid": rollout.uid,
    }


def _name(subject: Mapping[str, str], telling: str) -> str:
    digest = hashlib.sha256(f"{subject['kind']}/{subject['uid']}/{telling}".encode()).hexdigest()[:16]
    stem = re.sub(r"[^a-z0-9.-]", "-", subject["name"].lower())[:_NAME].rstrip("-.")
    return f"{stem}.{digest}"


def _type(event: str, reason: str) -> str:
    return "Warning" if event in _WARNINGS or reason in _WARNING_REASONS else "Normal"


def _short(text: str) -> str:
    return (
        text
        if len(text.encode()) <= _LONGEST
        else text.encode()[: _LONGEST - 4].decode(errors="ignore") + "…"
    )
