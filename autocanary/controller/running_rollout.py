"""One running rollout in memory: the recorded state, the policy it keeps, and what is under way for it.

Policies restored from the rollouts' records; rollouts of one policy share it.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field, fields
from operator import attrgetter

from autocanary.analysis.verdict import Verdict
from autocanary.decide.decision_input import Answer
from autocanary.model.measurement import Question
from autocanary.model.observation import ServiceKey
from autocanary.model.policy import Analysis, Grace, Policy, Selector, Step, Then, WebhookType
from autocanary.model.progress import Progress
from autocanary.model.rollout import Rollout
from autocanary.ports import Delivery, Policies

__all__ = ["Live", "RolloutId", "Snapshots", "is_material", "unreadable"]

RolloutId = tuple[str, str]
"""Namespace and name of a CanaryRollout."""

_UNKNOWN_INTERVAL = 30.0
_ROUTINE = frozenset(
    {"last_look_at", "observed_weight", "message", "metrics", "reason", "evidence", "undecided_since"}
)
_MATERIAL = attrgetter(*(each.name for each in fields(Progress) if each.name not in _ROUTINE))
"""What must be recorded when it differs; a reason that stands for something is a phase of its own."""


@dataclass(slots=True)
class Live:
    """Touched by the tick's thread only; ``busy`` while a worker writes for it, ``asking`` while Prometheus
    is asked, ``calling`` while its webhooks are: a slow one delays no look at the metrics.

    ``recorded`` is the progress that the ledger is known to hold. ``gates`` are the newest answers of the
    webhooks. ``waiting`` is a verdict that came while the rollout was busy. ``acknowledged`` is the weight
    whose write the API server has acknowledged, ``unsupported`` why it refuses every weight. ``serial``
    tells it from others where they take turns; ``offset`` is by how many seconds its looks are later than
    those of the first group.
    """

    rollout: Rollout
    policy: Policy | None
    questions: tuple[tuple[str, Question], ...] = ()
    recorded: Progress | None = None
    recorded_at: float = 0.0
    busy: bool = False
    asking: bool = False
    again: bool = False
    failures: int = 0
    queued: set[str] = field(default_factory=set)
    heard: list[Delivery] = field(default_factory=list)  # lately; noted anew if the record was another's
    calling: bool = False
    called_at: float | None = None
    asked_at: float | None = None
    gates: dict[WebhookType, tuple[Answer, ...]] = field(default_factory=dict)
    waiting: Verdict | None = None
    acknowledged: int | None = None
    unsupported: str = ""
    busy_since: float = 0.0
    serial: int = 0
    offset: float = 0.0

    @property
    def id(self) -> RolloutId:
        return self.rollout.namespace, self.rollout.name

    @property
    def key(self) -> ServiceKey:
        return self.rollout.key

    @property
    def interval(self) -> float:
        """Seconds between two looks at the metrics."""
        return self.policy.analysis.interval if self.policy is not None else _UNKNOWN_INTERVAL

    def beat(self, at: float, limit: float = math.inf) -> int:
        """How many looks were due until then: the same for all rollouts of one interval and group, so that
        they share their queries.
        """
        return int((at - self.offset) // min(self.interval, limit))

    def next_beat(self, now: float, limit: float = math.inf) -> float:
        """When the next look is due; they are at most ``limit`` seconds apart."""
        return (self.beat(now, limit) + 1) * min(self.interval, limit) + self.offset


def is_material(before: Progress | None, after: Progress) -> bool:
    """Whether ``after`` must be recorded now: anything but the latest numbers of a look that changed nothing.

    A breach counts towards a limit, so it is recorded at once; a pass does not.
    """
    if before is None:
        return True
    if before is after:
        return False
    if _counts_differ(before, after):
        return True
    return _MATERIAL(before) != _MATERIAL(after)


def _counts_differ(before: Progress, after: Progress) -> bool:
    """Whether another number of breaches is to be remembered; that a metric has none needs no record."""
    if before.metrics is after.metrics:
        return False
    earlier = {name: state.breaches for name, state in before.metrics.items()}
    later = {name: state.breaches for name, state in after.metrics.items()}
    return earlier != later and (bool(earlier) or any(later.values()))


def unreadable(rollout: Rollout) -> Policy:
    """What a rollout is held to when its snapshot cannot be read: nothing is measured, so no step is taken;
    a person can still abort or promote it, and a newer revision still replaces it.
    """
    silent = Analysis(metrics=(), on_no_data=Grace(math.inf, Then.HOLD))
    return Policy(
        name=rollout.policy_name,
        namespace=rollout.namespace,
        selector=Selector(),
        steps=(Step(1, 0.0), Step(100, 0.0, approval=True)),
        analysis=silent,
        progress_deadline=math.inf,
    )


_MOST = 256


class Snapshots:
    """Restoring one takes milliseconds and kilobytes, and thousands of rollouts may keep the same one.

    By what the snapshot says, not by the digest beside it: somebody may have edited either.
    """

    def __init__(self, policies: Policies) -> None:
        self._policies = policies
        self._restored: dict[tuple[str, str], Policy] = {}

    def restore(self, rollout: Rollout) -> Policy:
        """Raises PolicyError when this version of autocanary cannot read the snapshot."""
        key = rollout.policy_name, json.dumps(rollout.policy_document, sort_keys=True, default=str)
        found = self._restored.get(key)
        if found is None:
            found = self._policies.restore(rollout.policy_name, rollout.policy_document)
            if len(self._restored) >= _MOST:
                self._restored.clear()  # those in use keep theirs
            self._restored[key] = found
        return found
