"""The audit trail: one structured line per transition, written by ``notify`` itself, in the caller's thread.

Kubernetes Events are one more channel; the owner of the API client writes them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from autocanary import logs
from autocanary.errors import AutocanaryError, ClusterError, DeliveryError
from autocanary.model.decision import Event
from autocanary.notifications.channel import PolicyOf, no_policy
from autocanary.notifications.message_text import summary
from autocanary.notifications.metric_rows import deciding_row, metric_rows
from autocanary.ports import Message
from autocanary.views import model_change, released_by_text

__all__ = ["AuditLog", "KubernetesEvents"]

_WARNING_EVENTS = frozenset(
    {Event.ROLLBACK.value, Event.ROLLED_BACK.value, Event.EXTERNAL_CHANGE.value, Event.WARNING.value}
)


class AuditLog:
    """Channel ``log``. The line's keys are a stable surface: users search for them and alert on them."""

    name = "log"

    def __init__(self, policy_of: PolicyOf = no_policy) -> None:
        self._policy_of = policy_of
        self._log = logs.logger("autocanary.audit")

    def wants(self, message: Message) -> bool:  # noqa: ARG002 - policies cannot silence the audit trail
        return True

    def send(self, message: Message) -> None:
        notification = message.notification
        write = self._log.warning if notification.event in _WARNING_EVENTS else self._log.info
        write(notification.event, **self.fields(message))

    def fields(self, message: Message) -> dict[str, Any]:
        notification, rollout = message.notification, message.rollout
        fields: dict[str, Any] = {
            "namespace": rollout.namespace,
            "service": rollout.service,
            "component": rollout.component.value,
            "rollout": rollout.name,
            "stable": rollout.stable,
            "candidate": rollout.candidate,
            "phase": notification.phase,
            "step": notification.step,
            "weight": notification.weight,
            "reason": notification.reason,
            "message": summary(message) if message.dry_run else notification.message,
        }
        fields |= {"dry_run": True} if message.dry_run else {}
        change = model_change(rollout)
        for name, text in (
            ("stable_model", change.old),
            ("candidate_model", change.new),
            ("released_by", released_by_text(rollout)),
            ("page", message.page_url),
            ("runbook", message.runbook_url),
        ):
            fields |= {name: text} if text else {}
        row = deciding_row(metric_rows(message, self._policy_of(rollout)))
        if row is not None:
            fields["metric"] = row.metric
            fields |= {"value": row.value} if row.value is not None else {}
            fields |= {"threshold": row.threshold} if row.threshold else {}
            fields |= {"requests": row.requests} if row.requests is not None else {}
        return fields | {name: text for name, text in message.details if name not in fields and name != "event"}


class KubernetesEvents:
    """Channel ``kubernetes-events``: ``write`` makes the Event and raises ClusterError or NotLeader."""

    name = "kubernetes-events"

    def __init__(self, write: Callable[[Message], None]) -> None:
        self._write = write

    def wants(self, message: Message) -> bool:  # noqa: ARG002 - `kubectl describe` must show the whole story
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
