"""Everything that a decision about one rollout is made from, gathered into one immutable value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from autocanary.analysis.verdict import Verdict
from autocanary.decide.components import OtherComponent
from autocanary.model.frozen_copy import replace
from autocanary.model.observation import Observation, has_lower_number
from autocanary.model.policy import Analysis, Policy, Step, WebhookType
from autocanary.model.progress import Phase, Progress
from autocanary.model.rollout import Request, Rollout

__all__ = [
    "BY_FAILURE",
    "BY_STEP",
    "BY_USER",
    "DRIFTED_AFTER",
    "EFFECT_OVERDUE",
    "REVISION_OVERDUE",
    "STALE_CACHE",
    "DecisionInput",
    "WebhookAnswer",
]

STALE_CACHE = 90.0
"""Seconds after which an unconfirmed cache is too old to conclude anything from it."""

DRIFTED_AFTER = 15.0
"""Seconds for which a status may show an older split than the one that was in effect; measured: up to 6 s."""

REVISION_OVERDUE = 30.0
"""Seconds within which a changed spec should have made a revision; measured: 0.5 to 2 s."""

EFFECT_OVERDUE = 60.0
"""Seconds within which a written weight should show; measured on real controllers: 0.35 to 6 s."""

BY_USER, BY_STEP, BY_FAILURE = "user", "step", "failure"
"""Who paused a rollout (``HoldState.paused_by``); anything else is the writer of an external change."""


@dataclass(frozen=True, slots=True)
class WebhookAnswer:
    """What a policy webhook answered: True yes, False no, None nothing; ``called`` False: no call was made."""

    name: str
    ok: bool | None
    detail: str = ""
    called: bool = True


@dataclass(frozen=True, slots=True)
class DecisionInput:
    """The gathered input of one plan.

    ``observation`` is None when the service does not exist. ``verdict`` is None when no metrics were
    evaluated. ``webhook_answers`` holds the answers of the webhooks that were asked now. ``cache_age`` is how long
    ago (in seconds) the cache was last confirmed. ``acknowledged_weight`` is the weight
    whose write the API server has acknowledged to this process, so that a field which differs was written by
    another client. ``unsupported_reason`` says why the API server refuses every weight, "" while
    it does not. ``progress_before`` is the progress before this evaluation was recorded in it, None until then.
    ``other_components`` are the other components of the service in which something is being released.
    """

    policy: Policy
    rollout: Rollout
    observation: Observation | None
    now: float
    verdict: Verdict | None = None
    webhook_answers: Mapping[WebhookType, tuple[WebhookAnswer, ...]] = field(default_factory=dict)
    cache_age: float = 0.0
    acknowledged_weight: int | None = None
    unsupported_reason: str = ""
    progress_before: Progress | None = None
    other_components: tuple[OtherComponent, ...] = ()

    @property
    def progress(self) -> Progress:
        return self.rollout.progress

    @property
    def step(self) -> Step | None:
        """The present step, None before the first."""
        index = self.progress.step.index
        return self.policy.steps[index] if 0 <= index < len(self.policy.steps) else None

    @property
    def analysis(self) -> Analysis:
        """What holds at the present step."""
        return self.policy.analysis_at(self.progress.step.index)

    @property
    def warmup(self) -> float:
        """Seconds after the present weight took effect in which nothing is analysed."""
        return self.policy.warmup_at(self.progress.step.index)

    @property
    def at_last_step(self) -> bool:
        return self.progress.step.index >= len(self.policy.steps) - 1 and self.progress.step.weight == 100

    @property
    def next_step(self) -> int:
        """The first step above the present weight, by whichever client; the last one when there is none."""
        weight = 100 if self.progress.step.weight is None else self.progress.step.weight
        above = (index for index, each in enumerate(self.policy.steps) if each.weight > weight)
        return next(above, len(self.policy.steps) - 1)

    @property
    def inconclusive_timeout(self) -> float:
        """Seconds for which the present step may be inconclusive."""
        if self.policy.step_timeout is not None:
            return self.policy.step_timeout
        return (self.step.hold if self.step is not None else 0.0) + self.policy.progress_deadline

    @property
    def inconclusive_seconds(self) -> float:
        """Seconds for which the present step has been inconclusive."""
        since = self.progress.analysis.inconclusive_since
        return self.now - since if since is not None else 0.0

    @property
    def inconclusive_timed_out(self) -> bool:
        """Whether the step was inconclusive for so long that the policy says what follows."""
        return (
            self.progress.analysis.inconclusive_since is not None
            and self.inconclusive_seconds >= self.inconclusive_timeout
        )

    @property
    def request(self) -> Request | None:
        """What a user requests and has not been answered yet."""
        request = self.rollout.request
        return request if request is not None and request.id != self.progress.requests.answered_id else None

    @property
    def candidate_ready(self) -> bool:
        observation = self.observation
        return observation is not None and observation.ready == self.rollout.candidate and not self.candidate_failure

    @property
    def candidate_failure(self) -> str:
        """Why a candidate that was ready is so no longer; "" where nothing says so."""
        observation = self.observation
        if observation is None or observation.default_endpoint is not None:
            return ""
        is_newest = observation.created == observation.ready == self.rollout.candidate
        return observation.failure if is_newest else ""

    @property
    def present_weight_in_effect(self) -> bool:
        """Whether the weight that is in the field now is in effect, on a route that is ready."""
        observation = self.observation
        if observation is None:
            return False
        weight = 100 if observation.weight is None else observation.weight
        return observation.weight_in_effect(candidate=self.rollout.candidate, stable=self.rollout.stable, weight=weight)

    @property
    def weight_in_effect(self) -> bool:
        """Whether the traffic shows the weight that was asked for."""
        observation, weight = self.observation, self.progress.step.weight
        if observation is None or weight is None:
            return False
        return observation.weight_in_effect(candidate=self.rollout.candidate, stable=self.rollout.stable, weight=weight)

    @property
    def is_renumbered(self) -> bool:
        """Whether the newest revision has an older number than the candidate: see ``numbering``."""
        observation = self.observation
        return (
            observation is not None
            and observation.default_endpoint is None
            and has_lower_number(observation.created, self.rollout.candidate)
        )

    def step_for_weight(self, weight: int) -> int:
        """The step that a weight belongs to: the last one not above it, -1 below the first."""
        return max((index for index, each in enumerate(self.policy.steps) if each.weight <= weight), default=-1)

    def with_progress(self, progress: Progress) -> DecisionInput:
        return replace(self, rollout=replace(self.rollout, progress=progress))

    def webhooks_allow(self, kind: WebhookType) -> bool:
        """Whether every webhook of this kind has said yes, now or earlier in this rollout."""
        passed = set(self.progress.webhooks_passed)
        return all(f"{kind.value}/{each.name}" in passed for each in self.policy.webhooks_of_type(kind))

    @property
    def metric_measured_before_step(self) -> str:
        """A gating metric whose newest sample is older than the step's beginning and warm-up; "" when none is."""
        verified = self.progress.step.verified_at
        measured = self.verdict.analysis_input if self.verdict is not None else None
        if verified is None or measured is None:
            return ""
        begins = verified + self.warmup
        for metric in self.analysis.metrics:
            measurement = measured.measurements.get(metric.name)
            if metric.dry_run or measurement is None or measurement.age is None:
                continue
            if measured.evaluation.now - measurement.age < begins:
                return metric.name
        return ""

    @property
    def serves_previous_weight(self) -> bool:
        """Whether a raise does not get through: the candidate serves at the weight before it meanwhile."""
        progress, observation, progress_before = self.progress, self.observation, self.progress.step.from_weight
        if (
            observation is None
            or progress.step.verified_at is not None
            or not progress_before
            or progress_before == progress.step.weight
        ):
            return False
        rollout = self.rollout
        return observation.weight == progress_before and observation.weight_in_effect(
            candidate=rollout.candidate, stable=rollout.stable, weight=progress_before
        )

    @property
    def is_evaluated(self) -> bool:
        """Whether this phase is one in which the candidate serves and its metrics mean something."""
        progress = self.progress
        if progress.phase in (Phase.PROGRESSING, Phase.HOLDING, Phase.BAKING):
            return progress.step.verified_at is not None or self.serves_previous_weight
        paused = progress.phase is Phase.PAUSED and progress.hold.paused_by in (BY_USER, BY_STEP)
        return paused and progress.step.verified_at is not None
