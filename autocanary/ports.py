"""What the controller needs from outside, as Protocols; adapters and the simulator implement them.

Errors are those of ``autocanary.errors``; no adapter lets a foreign exception through. Everything here
may be called from several threads at once unless it says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from autocanary.model.measurement import Measurement, MetricQuery
from autocanary.model.observation import EarlierVersion, Observation, ServiceKey
from autocanary.model.policy import NotificationRoute, Policy, Webhook
from autocanary.model.progress import Notification
from autocanary.model.rollout import Request, Rollout

__all__ = [
    "Clock",
    "Cluster",
    "DecisionListener",
    "Delivery",
    "Leadership",
    "Message",
    "Metrics",
    "Notifier",
    "Policies",
    "PolicyWebhooks",
    "Pool",
    "RolloutStore",
    "WebhookCall",
    "WebhookResult",
    "WritePool",
]

T = TypeVar("T")


class Clock(Protocol):
    """Seconds since the epoch that never jump: a clock stepped by an operator must not move a deadline."""

    def now(self) -> float: ...


class Cluster(Protocol):
    """InferenceServices: a local cache kept by list-then-watch, and the only three writes.

    ``services`` and ``observe`` answer from that cache and do no I/O. ``cache_age`` is how many seconds ago
    the cache that holds services of this apiVersion was last known to be current (an event or a renewal of
    its watch); ``take_changes`` drains the keys that have changed since it was called last (only
    one caller may drain).

    ``earlier_version`` is the service before its spec was last changed, for as long as the API server keeps that
    (some minutes); None afterwards. It reads several times.

    ``finalize`` makes the next write of a promotion that the service's spec must still follow
    (``Observation.promotion_pending``). The writes are compare-and-set on ``seen.resource_version`` and return what
    the server answered; they raise Conflict when the object has changed (``refresh`` reads it again),
    and any other ClusterError or NotLeader.
    """

    def services(self) -> Sequence[Observation]: ...
    def observe(self, key: ServiceKey) -> Observation | None: ...
    def take_changes(self) -> set[ServiceKey]: ...
    def cache_age(self, key: ServiceKey, api_version: str) -> float: ...
    def refresh(self, key: ServiceKey) -> Observation | None: ...
    def earlier_version(self, observation: Observation) -> EarlierVersion | None: ...
    def set_weight(self, observation: Observation, weight: int) -> Observation: ...
    def restore(self, observation: Observation, spec: Mapping[str, Any], weight: int | None) -> Observation: ...
    def finalize(self, observation: Observation) -> Observation: ...


class RolloutStore(Protocol):
    """CanaryRollout objects: everything that must survive a restart.

    ``rollouts`` and ``cached`` answer from a local cache (list-then-watch, own writes included) without
    I/O; ``take_changes`` drains the (namespace, name) of those that another client has changed or deleted.
    ``create`` makes the object and its first status; AlreadyExists when an object of that name is there.
    ``update_status`` writes the status, guarded by resource_version, and returns the rollout with the new
    one; it raises Conflict when another client has changed the object since: read it with ``read`` and plan again.
    ``is_unreadable``: the object exists and cannot be read; ``read`` raises Refused for it, and the others leave it
    out. ``replace_status`` writes the status over one that cannot be used; Refused when the spec cannot be read either.
    """

    def rollouts(self) -> Sequence[Rollout]: ...
    def cached(self, namespace: str, name: str) -> Rollout | None: ...
    def is_unreadable(self, namespace: str, name: str) -> bool: ...
    def take_changes(self) -> set[tuple[str, str]]: ...
    def create(self, rollout: Rollout) -> Rollout: ...
    def update_status(self, rollout: Rollout) -> Rollout: ...
    def replace_status(self, rollout: Rollout) -> Rollout: ...
    def read(self, namespace: str, name: str) -> Rollout | None: ...
    def write_request(self, namespace: str, name: str, *, paused: bool | None, request: Request | None) -> Rollout: ...
    def delete(self, rollout: Rollout) -> None: ...


class Metrics(Protocol):
    """All queries of a tick at once; each gets exactly one measurement, and nothing is raised.

    The number of queries behind it grows with distinct metrics, windows and sources, not with rollouts. Those that
    policies' authors wrote (``MetricQuery.query``) are given by namespace.
    """

    def query(self, queries: Sequence[MetricQuery]) -> Mapping[MetricQuery, Measurement]: ...


@dataclass(frozen=True, slots=True)
class WebhookCall:
    """One call of a policy's webhook, with Flagger's payload."""

    webhook: Webhook
    namespace: str
    name: str
    phase: str
    checksum: str
    extra: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class WebhookResult:
    """``ok`` True: 2xx; False: the receiver answered no; None: no answer.

    ``called`` False: the call was not made, so it says nothing about the candidate.
    """

    ok: bool | None
    detail: str = ""
    called: bool = True


class PolicyWebhooks(Protocol):
    """Policy webhooks; nothing is raised."""

    def call(self, calls: Sequence[WebhookCall]) -> Mapping[WebhookCall, WebhookResult]: ...


@dataclass(frozen=True, slots=True)
class Message:
    """A notification for users; every channel renders it in its own form.

    ``page_url`` is the permalink to the rollout's page, ``runbook_url`` the runbook for the reason; "" without.
    ``dry_run``: nothing of it was done, so every channel says what would be.
    """

    notification: Notification
    rollout: Rollout
    routes: tuple[NotificationRoute, ...] = ()
    details: tuple[tuple[str, str], ...] = ()
    page_url: str = ""
    runbook_url: str = ""
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Delivery:
    """That a channel has a message (or will never have it: ``ok`` False, ``detail`` says why).

    ``channel_message_id`` is what the channel needs back, in ``Progress.channel_message_ids``, for this rollout's next
    message; "" leaves what is recorded. ``finished`` False: it has a part of the message (that of the id), and
    the rest is still tried.
    """

    namespace: str
    rollout: str
    notification_id: str
    channel: str
    ok: bool
    detail: str = ""
    channel_message_id: str = ""
    finished: bool = True


class Notifier(Protocol):
    """Delivers notifications; never blocks and never fails a decision.

    ``channels`` names where a message goes. ``notify`` queues it for the channels that are not in
    ``Notification.delivered_channels``; ``take_deliveries`` drains what has been delivered or given up since.
    """

    def channels(self, message: Message) -> tuple[str, ...]: ...
    def notify(self, message: Message) -> None: ...
    def take_deliveries(self) -> Sequence[Delivery]: ...


class Policies(Protocol):
    """The active policies.

    ``current`` is a consistent set (the last valid version of each); ``restore`` makes a policy from a
    rollout's snapshot and raises PolicyError when this version of autocanary cannot.
    """

    def current(self) -> Sequence[Policy]: ...
    def restore(self, name: str, document: Mapping[str, Any]) -> Policy: ...


class Leadership(Protocol):
    """``is_leader`` turns False before another instance may become leader; ask before every write."""

    def is_leader(self) -> bool: ...


class Pool(Protocol):
    """Runs blocking calls. The simulated world's runs them at once, in the caller's thread."""

    def submit(self, work: Callable[[], T]) -> Future[T]: ...


class WritePool(Pool, Protocol):
    """Traffic that must be moved now does not queue behind the records of rollouts that go well."""

    def submit_urgent(self, work: Callable[[], T]) -> Future[T]:
        """Ahead of all that has not begun."""
        ...


class DecisionListener(Protocol):
    """Counts what the controller does; thread-safe, and raises nothing."""

    def on_decision(self, rollout: Rollout, reason: str) -> None: ...
    def on_rollout_finished(self, rollout: Rollout) -> None: ...
    def on_evaluation_failed(self, rollout: Rollout) -> None: ...
