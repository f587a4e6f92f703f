"""One running rollout in memory: the recorded state, the policy it keeps, and what is under way for it.

Policies restored from the rollouts' records; rollouts of one policy share it.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field, fields
from operator import attrgetter

from autocanary.analysis.verdict import Verdict
from autocanary.decide.decision_input import WebhookAnswer
from autocanary.model.measurement import MetricQuery
from autocanary.model.observation import ServiceKey
from autocanary.model.policy import Analysis, Policy, Selector, Step, Timeout, TimeoutAction, WebhookType
from autocanary.model.progress import Progress
from autocanary.model.rollout import Rollout
from autocanary.ports import Delivery, Policies

__all__ = ["PolicySnapshots", "RolloutId", "RunningRollout", "must_record", "policy_for_unreadable_snapshot"]

RolloutId = tuple[str, str]
"""Namespace and name of a CanaryRollout."""

_DEFAULT_INTERVAL = 30.0
_ROUTINE_FIELDS = frozenset(
    {
        "last_evaluation_at",
        "observed_weight",
        "message",
        "metrics",
        "reason",
        "evidence",
        "inconclusive_since",
    }
)
_material_fields = attrgetter(*(each.name for each in fields(Progress) if each.name not in _ROUTINE_FIELDS))
"""What must be recorded when it differs; a reason that stands for something is a phase of its own."""


@dataclass(slots=True)
class RunningRollout:
    """Touched by the tick's thread only; ``writing`` while a worker writes for it, ``asking`` while Prometheus
    is asked, ``calling_webhooks`` while its webhooks are: a slow one delays no look at the metrics.

    ``stored`` is the progress that the ledger is known to hold. ``webhook_answers`` are the newest answers of
    the webhooks. ``pending_verdict`` is a verdict that came while the rollout was busy.
    ``acknowledged_weight`` is the weight whose write the API server has acknowledged, ``unsupported_reason``
    why it refuses every weight. ``sequence`` tells it from others where they take turns; ``phase_offset`` is
    by how many seconds its looks are later than those of the first group.
    """

    rollout: Rollout
    policy: Policy | None
    queries: tuple[tuple[str, MetricQuery], ...] = ()
    stored: Progress | None = None
    stored_at: float = 0.0
    writing: bool = False
    querying: bool = False
    evaluate_again: bool = False
    failures: int = 0
    queued_notifications: set[str] = field(default_factory=set)
    recent_deliveries: list[Delivery] = field(default_factory=list)  # lately; noted anew if the record was another's
    calling_webhooks: bool = False
    webhooks_called_at: float | None = None
    queried_at: float | None = None
    webhook_answers: dict[WebhookType, tuple[WebhookAnswer, ...]] = field(default_factory=dict)
    pending_verdict: Verdict | None = None
    acknowledged_weight: int | None = None
    unsupported_reason: str = ""
    writing_since: float = 0.0
    sequence: int = 0
    phase_offset: float = 0.0

    @property
    def id(self) -> RolloutId:
        return self.rollout.namespace, self.rollout.name

    @property
    def key(self) -> ServiceKey:
        return self.rollout.key

    @property
    def interval(self) -> float:
        """Seconds between two looks at the metrics."""
        return self.policy.analysis.interval if self.policy is not None else _DEFAULT_INTERVAL

    def evaluation_index(self, at: float, limit: float = math.inf) -> int:
        """How many looks were due until then: the same for all rollouts of one interval and group, so that
        they share their queries.
        """
        return int((at - self.phase_offset) // min(self.interval, limit))

    def next_evaluation_at(self, now: float, limit: float = math.inf) -> float:
        """When the next look is due; they are at most ``limit`` seconds apart."""
        return (self.evaluation_index(now, limit) + 1) * min(self.interval, limit) + self.phase_offset


def must_record(before: Progress | None, after: Progress) -> bool:
    """Whether ``after`` must be recorded now: anything but the latest numbers of a look that changed nothing.

    A breach counts towards a limit, so it is recorded at once; a pass does not.
    """
    if before is None:
        return True
    if before is after:
        return False
    if _failures_differ(before, after):
        return True
    return _material_fields(before) != _material_fields(after)


def _failures_differ(before: Progress, after: Progress) -> bool:
    """Whether another number of breaches is to be remembered; that a metric has none needs no record."""
    if before.metrics is after.metrics:
        return False
    earlier = {name: state.violations for name, state in before.metrics.items()}
    later = {name: state.violations for name, state in after.metrics.items()}
    return earlier != later and (bool(earlier) or any(later.values()))


def policy_for_unreadable_snapshot(rollout: Rollout) -> Policy:
    """What a rollout is held to when its snapshot cannot be read: nothing is measured, so no step is taken;
    a person can still abort or promote it, and a newer revision still replaces it.
    """
    no_metrics = Analysis(metrics=(), on_no_data=Timeout(math.inf, TimeoutAction.HOLD))
    return Policy(
        name=rollout.policy_name,
        namespace=rollout.namespace,
        selector=Selector(),
        steps=(Step(1, 0.0), Step(100, 0.0, approval=True)),
        analysis=no_metrics,
        progress_deadline=math.inf,
    )


_MAX_SNAPSHOTS = 256


class PolicySnapshots:
    """Restoring one takes milliseconds and kilobytes, and thousands of rollouts may keep the same one.

    By what the snapshot says, not by the digest beside it: somebody may have edited either.
    """

    def __init__(self, policies: Policies) -> None:
        self._policies = policies
        self._restored: dict[tuple[str, str], Policy] = {}

    def restore(self, rollout: Rollout) -> Policy:
        """Raises PolicyError when this version of autocanary cannot read the snapshot."""
        key = rollout.policy_name, json.dumps(rollout.policy_document, sort_keys=True, default=str)
        policy = self._restored.get(key)
        if policy is None:
            policy = self._policies.restore(rollout.policy_name, rollout.policy_document)
            if len(self._restored) >= _MAX_SNAPSHOTS:
                self._restored.clear()  # those in use keep theirs
            self._restored[key] = policy
        return policy
