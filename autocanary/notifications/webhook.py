"""The generic webhook: one documented CloudEvent per transition, for one's own tools.

::

    POST <url>
    Content-Type: application/cloudevents+json; charset=utf-8
    Idempotency-Key: models/mnist-00002/rollout_rolled_back/1767225600000

    {"specversion": "1.0", "type": "dev.autocanary.rollout_rolled_back", ...,     as in ``cloudevents``
     "data":
    {"id": "models/mnist-00002/rollout_rolled_back/1767225600000",   same after a restart: drop repetitions
     "event": "rollout_rolled_back",           the audit event's name, as in the log
     "time": "2026-01-01T00:00:00Z", "cluster": "prod-1",
     "namespace": "models", "service": "mnist", "component": "predictor", "rollout": "mnist-00002",
     "stable": "mnist-predictor-00001", "candidate": "mnist-predictor-00002",
     "phase": "RolledBack", "step": 2, "steps": 4, "weight": 0,      step counts from 1; steps may be null
     "reason": "MetricViolation", "message": "...one sentence...", "dryRun": false,
     "metrics": [{"name": "request-success-rate", "verdict": "violation", "kind": "value", "value": 97.2,
                  "unit": "percent", "min": 99.0, "max": null, "requests": 1234, "dryRun": false,
                  "comparison": null}],
     "failedRequests": {"count": 12, "max": 1000},       null where the policy has no maxFailedRequests
     "models": {"stable": "gs://b/v1", "candidate": "gs://b/v2",
                "changes": [{"field": "model.storageUri", "old": "gs://b/v1", "new": "gs://b/v2"}]},
     "releasedBy": "argocd", "links": {"page": null, "runbook": null},
     "details": {}}}

Any 2xx means "I have it". 408, 425, 429 and 5xx are tried again (Retry-After is honoured); every other
answer is a refusal.

A transition as a CloudEvent (1.0, JSON, structured mode): the envelope of the generic webhook.

============================  =============================================================================
``id``                        the notification's: the same however often it is sent, so a receiver can drop
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

import hashlib
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from autocanary.model.comparison_summary import ComparisonSummary
from autocanary.model.comparison_wording import comparison_lines
from autocanary.model.progress import failed_requests_of
from autocanary.model.time_format import format_time
from autocanary.notifications.channel import (
    Channel,
    PolicyOf,
    no_policy,
    route_selects,
    wanted_by_default_channels,
)
from autocanary.notifications.message_text import summary
from autocanary.notifications.metric_rows import MetricRow, metric_rows
from autocanary.outbound.http_client import HttpClient, raise_for_status, url_origin
from autocanary.ports import Message
from autocanary.views import model_change, released_by_text

__all__ = ["CONTENT_TYPE", "TYPE_PREFIX", "PolicyWebhookChannels", "WebhookChannel", "cloudevent", "payload"]

CONTENT_TYPE = "application/cloudevents+json; charset=utf-8"
TYPE_PREFIX = "dev.autocanary."


def cloudevent(message: Message, cluster: str, data: Mapping[str, Any]) -> dict[str, Any]:
    """The event with ``data`` in it."""
    notification, rollout = message.notification, message.rollout
    return {
        "specversion": "1.0",
        "id": notification.id,
        "source": f"/autocanary/{quote(cluster, safe='')}" if cluster else "/autocanary",
        "type": f"{TYPE_PREFIX}{notification.event}",
        "subject": f"{rollout.namespace}/{rollout.service}",
        "time": format_time(notification.at),
        "datacontenttype": "application/json",
        "data": dict(data),
    }


def payload(message: Message, cluster: str, policy_of: PolicyOf) -> dict[str, Any]:
    """The event's ``data``, as in the module's docstring."""
    notification, rollout = message.notification, message.rollout
    policy, counted = policy_of(rollout), failed_requests_of(rollout.progress)
    return {
        "id": notification.id,
        "event": notification.event,
        "time": format_time(notification.at),
        "cluster": cluster,
        "namespace": rollout.namespace,
        "service": rollout.service,
        "component": rollout.component.value,
        "rollout": rollout.name,
        "stable": rollout.stable,
        "candidate": rollout.candidate,
        "phase": notification.phase,
        "step": notification.step,
        "steps": len(policy.steps) if policy else None,
        "weight": notification.weight,
        "reason": notification.reason,
        "message": summary(message) if message.dry_run else notification.message,
        "dryRun": message.dry_run,
        "metrics": [_metric(row) for row in metric_rows(message, policy)],
        "failedRequests": {"count": counted[0], "max": counted[1]} if counted is not None else None,
        "models": _models(message),
        "releasedBy": released_by_text(rollout) or None,
        "links": {"page": message.page_url or None, "runbook": message.runbook_url or None},
        "details": dict(message.details),
    }


def _models(message: Message) -> dict[str, Any]:
    change = model_change(message.rollout)
    return {
        "stable": change.old or None,
        "candidate": change.new or None,
        "changes": [{"field": each.field, "old": each.old, "new": each.new} for each in change.changes],
    }


def _metric(row: MetricRow) -> dict[str, Any]:
    return {
        "name": row.metric,
        "verdict": row.verdict,
        "kind": row.measurement.kind.value,
        "value": row.value,
        "unit": row.measurement.unit.value,
        "min": row.range.min,
        "max": row.range.max,
        "requests": row.requests,
        "dryRun": row.dry_run,
        "comparison": _comparison(row.comparison_summary) if row.comparison_summary is not None else None,
    }


def _comparison(summary: ComparisonSummary) -> dict[str, Any]:
    difference = summary.difference
    return {
        "candidate": {"requests": summary.candidate.requests, "bad": summary.candidate.bad},
        "stable": {"requests": summary.stable.requests, "bad": summary.stable.bad},
        "recent": {
            "seconds": summary.recent_seconds,
            "candidate": {"requests": summary.recent_candidate.requests, "bad": summary.recent_candidate.bad},
            "stable": {"requests": summary.recent_stable.requests, "bad": summary.recent_stable.bad},
        },
        "difference": difference.to_status() if difference is not None else None,
        "slowerThanSeconds": summary.slower_than,
        "limitPercent": summary.limit_percent,
        "evidencePercent": summary.evidence_percent,
        "nonInferiorPercent": summary.non_inferior_percent,
        "neededRequests": summary.needed_requests,
        "neededSeconds": summary.needed_seconds,
        "text": list(comparison_lines(summary)),
        "note": summary.not_compared_reason,
    }


class WebhookChannel:
    """Posts to one address; ``follows_routes`` for the service's own, whose events policies may narrow."""

    def __init__(
        self,
        url: str,
        http: HttpClient,
        *,
        cluster: str = "",
        policy_of: PolicyOf = no_policy,
        name: str = "webhook",
        follows_routes: bool = True,
    ) -> None:
        self._url, self._http, self._cluster, self._policy_of = url, http, cluster, policy_of
        self._name, self._follows_routes = name, follows_routes

    @property
    def name(self) -> str:
        return self._name

    def wants(self, message: Message) -> bool:
        return wanted_by_default_channels(message) if self._follows_routes else True

    def send(self, message: Message) -> None:
        headers = {"Content-Type": CONTENT_TYPE, "Idempotency-Key": message.notification.id}
        data = payload(message, self._cluster, self._policy_of)
        response = self._http.post(self._url, cloudevent(message, self._cluster, data), headers=headers)
        raise_for_status(response, self._url)


class PolicyWebhookChannels:
    """The addresses that policies name themselves: called with a message, gives its channels."""

    def __init__(self, http: HttpClient, *, cluster: str = "", policy_of: PolicyOf = no_policy) -> None:
        self._http, self._cluster, self._policy_of = http, cluster, policy_of

    def __call__(self, message: Message) -> tuple[Channel, ...]:
        urls = dict.fromkeys(
            route.webhook
            for route in message.routes
            if route.webhook and route_selects(route, message.notification.event)
        )
        return tuple(
            WebhookChannel(
                url,
                self._http,
                cluster=self._cluster,
                policy_of=self._policy_of,
                name=_name(url),
                follows_routes=False,
            )
            for url in urls
        )


def _name(url: str) -> str:
    """Stable over restarts and without the URL's secrets: the place, and a digest of the rest."""
    return f"webhook:{url_origin(url)}#{hashlib.sha256(url.encode()).hexdigest()[:8]}"
