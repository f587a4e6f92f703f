"""The audit trail: one structured line per transition, written at once by ``tell`` itself.

Kubernetes Events, written by whoever owns the API server; here they are one more channel.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from autocanary import logs
from autocanary.errors import AutocanaryError, ClusterError, DeliveryError
from autocanary.model.decision import Event
from autocanary.notifications.channel import PolicyOf, no_policy
from autocanary.notifications.metric_rows import deciding, evidence
from autocanary.ports import Message

__all__ = ["AuditLog", "KubernetesEvents"]

_LOUD = frozenset(
    {Event.ROLLBACK.value, Event.ROLLED_BACK.value, Event.EXTERNAL_CHANGE.value, Event.WARNING.value}
)


class AuditLog:
    """Channel ``log``. The line's keys are a stable surface: people search and alert on them."""

    name = "log"

    def __init__(self, policy_of: PolicyOf = no_policy) -> None:
        self._policy_of = policy_of
        self._log = logs.logger("autocanary.audit")

    def wants(self, message: Message) -> bool:  # noqa: ARG002 - policies cannot silence the audit trail
        return True

    def send(self, message: Message) -> None:
        telling = message.telling
        write = self._log.warning if telling.event in _LOUD else self._log.info
        write(telling.event, **self._keys(message))

    def _keys(self, message: Message) -> dict[str, Any]:
        telling, rollout = message.telling, message.rollout
        keys: dict[str, Any] = {
            "namespace": rollout.namespace,
            "service": rollout.service,
            "component": rollout.component.value,
            "rollout": rollout.name,
            "stable": rollout.stable,
            "candidate": rollout.candidate,
            "phase": telling.phase,
            "step": telling.step,
            "weight": telling.weight,
            "reason": telling.reason,
            "message": telling.message,
        }
        row = deciding(evidence(message, self._policy_of(rollout)))
        if row is not None:
            keys["metric"] = row.metric
            keys |= {"value": row.value} if row.value is not None else {}
            keys |= {"threshold": row.threshold} if row.threshold else {}
            keys |= {"requests": row.requests} if row.requests is not None else {}
        return keys | {name: text for name, text in message.details if name not in keys and name != "event"}


class KubernetesEvents:
    """Channel ``kubernetes-events``: ``write`` makes the Event and raises ClusterError or NotLeader."""

    name = "kubernetes-events"

    def __init__(self, write: Callable[[Message], None]) -> None:
        self._write = write

    def wants(self, message: Message) -> bool:  # noqa: ARG002 - `kubectl describe` must tell the whole story
        return True

    def send(self, message: Message) -> None:
        try:
            self._write(message)
        except DeliveryError:
            raise
        except ClusterError as error:
            raise DeliveryError(str(error), retry_after=error.retry_after) from error
        except AutocanaryError as error:
            raise DeliveryError(str(error)) from error
