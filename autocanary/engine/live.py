"""One running rollout in memory: the recorded state, the policy it keeps, and what is under way for it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from autocanary.core.judge.verdict import Verdict
from autocanary.core.observation import ServiceKey
from autocanary.core.policy import Analysis, Grace, Policy, Selector, Step, Then, WebhookType
from autocanary.core.progress import Progress
from autocanary.core.reading import Question
from autocanary.core.rollout import Rollout
from autocanary.core.situation import Answer

__all__ = ["Live", "RolloutId", "is_material", "unreadable"]

RolloutId = tuple[str, str]
"""Namespace and name of a CanaryRollout."""

_ROUTINE: Mapping[str, Any] = {"last_look_at": None, "observed_weight": None, "message": "", "metrics": {}}


@dataclass(slots=True)
class Live:
    """Touched by the tick's thread only; ``busy`` while a worker writes for it, ``asking`` while Prometheus
    is asked, ``calling`` while its webhooks are: a slow one delays no look at the metrics.

    ``recorded`` is the progress that the ledger is known to hold. ``gates`` are the newest answers of the
    webhooks. ``waiting`` is a verdict that came while the rollout was busy. ``acknowledged`` is the weight
    whose write the API server has acknowledged.
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
    calling: bool = False
    called_at: float | None = None
    asked_at: float | None = None
    gates: dict[WebhookType, tuple[Answer, ...]] = field(default_factory=dict)
    waiting: Verdict | None = None
    acknowledged: int | None = None

    @property
    def id(self) -> RolloutId:
        return self.rollout.namespace, self.rollout.name

    @property
    def key(self) -> ServiceKey:
        return self.rollout.key


def is_material(before: Progress | None, after: Progress) -> bool:
    """Whether ``after`` must be recorded now: anything but the latest numbers of a look that changed nothing.

    A breach counts towards a limit, so it is recorded at once; a pass does not.
    """
    if before is None:
        return True
    if before is after:
        return False
    if {name: state.breaches for name, state in before.metrics.items()} != {
        name: state.breaches for name, state in after.metrics.items()
    } and (before.metrics or any(state.breaches for state in after.metrics.values())):
        return True
    same_phase = before.phase is after.phase
    reason = {} if not same_phase else {"reason": after.reason}
    return before.but(**_ROUTINE, **reason) != after.but(**_ROUTINE)


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
