"""Everything that a decision about one rollout is made from, gathered into one immutable value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from autocanary.core.judge.verdict import Outcome, Verdict
from autocanary.core.observation import Observation
from autocanary.core.policy import Policy, Step, WebhookType
from autocanary.core.progress import Phase, Progress
from autocanary.core.rollout import Request, Rollout

__all__ = [
    "BY_FAILURE",
    "BY_STEP",
    "BY_USER",
    "EFFECT_OVERDUE",
    "ONCE",
    "REVISION_OVERDUE",
    "STALE_PICTURE",
    "Answer",
    "Situation",
]

STALE_PICTURE = 90.0
"""Seconds after which an unconfirmed picture of the cluster is too old to conclude anything from it."""

REVISION_OVERDUE = 30.0
"""Seconds within which a changed spec should have made a revision; measured: 0.5 to 2 s."""

EFFECT_OVERDUE = 60.0
"""Seconds within which a written weight should show; measured on real controllers: 0.35 to 6 s."""

BY_USER, BY_STEP, BY_FAILURE = "user", "step", "failure"
"""Who paused a rollout (``Progress.paused_by``); anything else is the writer of an external change."""

ONCE = (WebhookType.PRE_ROLLOUT, WebhookType.CONFIRM_PROMOTION)
"""Gates whose yes is remembered; the other webhooks are asked at each look."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a policy webhook said: True yes, False no, None could not be asked."""

    name: str
    ok: bool | None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Situation:
    """The gathered input of one plan.

    ``seen`` is None when the service does not exist. ``verdict`` is None when no metrics were looked at.
    ``gates`` holds the answers of the webhooks that were asked now. ``picture_age`` is how long ago (in
    seconds) the picture of the cluster was last confirmed.
    """

    policy: Policy
    rollout: Rollout
    seen: Observation | None
    now: float
    verdict: Verdict | None = None
    gates: Mapping[WebhookType, tuple[Answer, ...]] = field(default_factory=dict)
    picture_age: float = 0.0

    @property
    def progress(self) -> Progress:
        return self.rollout.progress

    @property
    def step(self) -> Step | None:
        """The present step, None before the first."""
        index = self.progress.step
        return self.policy.steps[index] if 0 <= index < len(self.policy.steps) else None

    @property
    def at_last_step(self) -> bool:
        return self.progress.step >= len(self.policy.steps) - 1

    @property
    def request(self) -> Request | None:
        """What a person asks and has not been answered yet."""
        request = self.rollout.request
        return request if request is not None and request.id != self.progress.answered else None

    @property
    def candidate_ready(self) -> bool:
        seen = self.seen
        return seen is not None and seen.ready == self.rollout.candidate

    @property
    def in_effect(self) -> bool:
        """Whether the traffic shows the weight that was asked for."""
        seen, weight = self.seen, self.progress.weight
        if seen is None or weight is None:
            return False
        return seen.in_effect(candidate=self.rollout.candidate, stable=self.rollout.stable, weight=weight)

    def step_at(self, weight: int) -> int:
        """The step that a weight belongs to: the last one not above it, -1 below the first."""
        return max(
            (index for index, each in enumerate(self.policy.steps) if each.weight <= weight), default=-1
        )

    def with_progress(self, progress: Progress) -> Situation:
        return replace(self, rollout=self.rollout.but(progress=progress))

    def noted(self) -> Situation:
        """The situation with what this look saw written into the progress, before anything is decided."""
        progress, seen, verdict = self.progress, self.seen, self.verdict
        if progress.phase.is_final:
            return self
        changes: dict[str, Any] = {}
        if seen is not None:
            share = seen.share(self.rollout.candidate)
            if share is not None and share != progress.observed_weight:
                changes["observed_weight"] = share
            digest = self.rollout.candidate_digest
            if not digest or seen.spec_digest == digest:
                if progress.spec_changed_at is not None:
                    changes["spec_changed_at"] = None
            elif progress.spec_changed_at is None:
                changes["spec_changed_at"] = self.now
        if verdict is not None:
            changes["metrics"] = {**progress.metrics, **verdict.metrics}
            changes["last_look_at"] = self.now
            for name, outcome in (("outage_since", Outcome.OUTAGE), ("no_data_since", Outcome.NO_DATA)):
                since = getattr(progress, name)
                changes[name] = (
                    (since if since is not None else self.now) if verdict.outcome is outcome else None
                )
        passed = {
            f"{kind.value}/{answer.name}" for kind in ONCE for answer in self.gates.get(kind, ()) if answer.ok
        }
        if not passed <= set(progress.gates_passed):
            changes["gates_passed"] = tuple(sorted({*progress.gates_passed, *passed}))
        return self.with_progress(progress.but(**changes)) if changes else self

    def gate_open(self, kind: WebhookType) -> bool:
        """Whether every webhook of this kind has said yes, now or earlier in this rollout."""
        passed = set(self.progress.gates_passed)
        return all(f"{kind.value}/{each.name}" in passed for each in self.policy.webhooks_of(kind))

    @property
    def judged(self) -> bool:
        """Whether this phase is one in which the candidate serves and its metrics mean something."""
        progress = self.progress
        if progress.phase in (Phase.PROGRESSING, Phase.HOLDING, Phase.BAKING):
            return progress.verified_at is not None
        paused = progress.phase is Phase.PAUSED and progress.paused_by in (BY_USER, BY_STEP)
        return paused and progress.verified_at is not None
