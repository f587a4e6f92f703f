"""One release under one policy in virtual time: the controller's evaluation, over simulated counts.

The evaluation, its schedule and its input are those of ``RunningRollout``. What is left out cannot change a decision:
records, notifications, and controllers that fail. ``tests/app`` compares it with the whole world.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import Enum

from autocanary.controller.metric_queries import is_measurable
from autocanary.controller.running_rollout import RunningRollout
from autocanary.decide.decision_input import DecisionInput
from autocanary.decide.decision_log import without_effects
from autocanary.decide.planner import plan
from autocanary.errors import InputError
from autocanary.model.decision import Action, Decision
from autocanary.model.observation import Observation
from autocanary.model.policy import Analysis, Metric, OnFailure, Policy
from autocanary.model.progress import Phase, Progress, StepState
from autocanary.model.reason import Reason
from autocanary.model.rollout import Rollout, rollout_name
from autocanary.simulator.releases import CANDIDATE, STABLE, RevisionPair, SimulatedRelease, start_of

__all__ = ["RunOutcome", "RunResult", "Transition", "make_simulatable", "simulate_run"]

_TICK = 1.0
_SIMULATED = frozenset({"request-success-rate", "error-rate", "request-duration", "request-count"})


class RunOutcome(str, Enum):
    PROMOTED = "promoted"
    ROLLED_BACK = "rolled_back"
    UNDECIDED = "undecided"  # at the horizon, or waiting for the user


@dataclass(frozen=True, slots=True)
class Transition:
    """``at`` is in seconds from the world's beginning; the first step is taken at ``FIRST_STEP``."""

    at: float
    event: str
    reason: str
    weight: int | None


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a run went: after how many seconds from the first step it was over, and how many requests the
    candidate had answered with an error by then."""

    outcome: RunOutcome
    seconds: float
    failed: int
    transitions: tuple[Transition, ...] = ()


def make_simulatable(policy: Policy) -> tuple[Policy, tuple[str, ...]]:
    """The policy as it can be simulated, and what is left out of it, each as a sentence.

    InputError when nothing that decides is left.
    """
    notes: list[str] = []
    left_out = list(dict.fromkeys(each.name for each in policy.all_metrics if not _is_simulated(each)))
    if left_out:
        notes.append(f"not simulated, taken as always in range: {', '.join(left_out)}")
    if not all(_simulated_part(analysis).gating for analysis in policy.analyses):
        left_out_names = ", ".join(left_out) or "dryRun metrics only"
        raise InputError(
            f"policy {policy.name} cannot be simulated: nothing in it that decides is about failed or slow "
            f"requests ({left_out_names}); add a metric such as error-rate to simulate the policy with"
        )
    if policy.webhooks:
        notes.append(f"webhooks that always agree: {', '.join(each.name for each in policy.webhooks)}")
    if policy.windows:
        notes.append("no windows: steps may be taken at any time")
    if any(step.approval for step in policy.steps):
        notes.append("no steps that wait for approval: each passes at once when its time is over")
    if policy.on_failure is OnFailure.PAUSE:
        notes.append("onFailure: what would be paused counts as rolled back")
    steps = tuple(
        replace(step, approval=False, analysis=_simulated_part(step.analysis) if step.analysis is not None else None)
        for step in policy.steps
    )
    analysis = _simulated_part(policy.analysis)
    changed = replace(
        policy,
        steps=steps,
        analysis=analysis,
        webhooks=(),
        windows=(),
        on_failure=OnFailure.ROLLBACK,
    )
    return changed, tuple(notes)


def _simulated_part(analysis: Analysis) -> Analysis:
    return replace(analysis, metrics=tuple(each for each in analysis.metrics if _is_simulated(each)))


def _is_simulated(metric: Metric) -> bool:
    return not metric.query and metric.name in _SIMULATED


def simulate_run(
    policy: Policy, release: SimulatedRelease, seed: int, horizon: float, *, keep_transitions: bool = False
) -> RunResult:
    """One run of a policy that is ``make_simulatable``. ``keep_transitions`` keeps the transitions."""
    return _Run(policy, release, seed, keep_transitions=keep_transitions).until(horizon)


class _Run:
    """Evaluates one ``RunningRollout`` as the controller does, without its workers, records and notifications."""

    def __init__(self, policy: Policy, release: SimulatedRelease, seed: int, *, keep_transitions: bool) -> None:
        self._keep_transitions = keep_transitions
        self._transitions: list[Transition] = []
        self._pair = RevisionPair(release, seed, start_of(seed))
        rollout = _new_rollout(policy, self._pair.observation, self._now())
        self._running = RunningRollout(rollout, policy)
        self._weight_effective_at = math.inf
        self._unchanged_observation: Observation | None = None
        self._regular_at, self._early_at = 0.0, math.inf

    def _now(self) -> float:
        return self._pair.clock.now()

    def until(self, horizon: float) -> RunResult:
        began = self._now()
        while (now := self._now()) - began <= horizon:
            if now >= self._regular_at:
                self._evaluate(now)
                self._regular_at = self._next_evaluation_at(now)
            if now >= self._early_at:
                self._evaluate_early(now)
            phase = self._running.rollout.progress.phase
            if phase.is_final or phase in (Phase.ROLLING_BACK, Phase.PAUSED):
                break
            self._pair.advance_to(min(self._regular_at, self._early_at))
        seconds = min(self._now() - began, horizon)
        return RunResult(self._outcome(), seconds, self._pair.failed(), tuple(self._transitions))

    def _outcome(self) -> RunOutcome:
        phase = self._running.rollout.progress.phase
        if phase is Phase.PROMOTED:
            return RunOutcome.PROMOTED
        is_rolled_back = phase in (Phase.ROLLING_BACK, Phase.ROLLED_BACK)
        return RunOutcome.ROLLED_BACK if is_rolled_back else RunOutcome.UNDECIDED

    def _evaluate(self, now: float) -> None:
        running = self._running
        given = self._gather(now)
        evaluation_due = running.needs_evaluation(given)
        if not (evaluation_due and self._unchanged_observation is self._pair.observation):
            decision = plan(given)
            # With the weight in effect and the same observation, only a verdict decides from now on.
            is_unchanged = evaluation_due and decision.progress is running.rollout.progress
            self._unchanged_observation = self._pair.observation if is_unchanged else None
            self._apply(decision, now)
        if not evaluation_due:
            if self._early_at == math.inf:
                self._schedule_early(now, queried=False)
            return
        running.begin_query(now)
        measurements = self._pair.metrics.query([query for _, query in running.queries])
        running.finish_query()
        running.add_samples(measurements, now)
        self._schedule_early(now, queried=True)
        given = self._gather(now)
        self._apply(plan(replace(given, verdict=running.analyse(given, measurements))), now)

    def _evaluate_early(self, now: float) -> None:
        running = self._running
        running.begin_query(now, early=True)
        measurements = self._pair.metrics.query([query for _, query in running.preset_queries])
        running.finish_query()
        running.add_samples(measurements, now)
        self._schedule_early(now, queried=True)
        given = self._gather(now)
        verdict = running.analyse_early(given, measurements) if is_measurable(given) else None
        if verdict is not None:
            self._apply(plan(replace(given, verdict=verdict)), now)
            self._regular_at = self._next_evaluation_at(now)

    def _schedule_early(self, now: float, *, queried: bool) -> None:
        """As ``EarlyEvaluations`` does for a server that answers at once."""
        at = self._running.next_sample_at()
        if at is None or at >= self._running.next_due_at(now) - _TICK:
            self._early_at = math.inf
        else:
            earliest = now + _TICK if queried else now
            self._early_at = max(math.ceil(at / _TICK) * _TICK, earliest)

    def _gather(self, now: float) -> DecisionInput:
        given = self._running.decision_input(self._pair.observation, now)
        assert given is not None  # noqa: S101 - the policy is known
        return given

    def _apply(self, decision: Decision, now: float) -> None:
        if decision.event is not None:
            if self._keep_transitions:
                at = now - self._pair.start
                weight = decision.progress.step.weight
                self._transitions.append(Transition(at, decision.event.value, decision.reason.value, weight))
            decision = replace(decision, progress=without_effects(decision.progress))
        self._running.apply(decision)
        if decision.action is Action.WEIGHT and decision.weight is not None:
            self._weight_effective_at = self._pair.write(decision.weight)
            self._running.acknowledge(decision.weight)

    def _next_evaluation_at(self, now: float) -> float:
        """When the controller evaluates next, or when a weight is seen in effect, at a tick."""
        next_at = self._running.next_due_at(now)
        if now < self._weight_effective_at:
            next_at = min(next_at, self._weight_effective_at)
        ticks = math.ceil((next_at - self._pair.start) / _TICK - 1e-9)
        return self._pair.start + ticks * _TICK


def _new_rollout(policy: Policy, observation: Observation, now: float) -> Rollout:
    """A candidate that is ready, at 0 %, and not evaluated yet."""
    return Rollout(
        namespace=observation.key.namespace,
        name=rollout_name(observation.key.name, CANDIDATE),
        service=observation.key.name,
        service_uid=observation.uid,
        api_version=observation.api_version,
        component=observation.key.component,
        stable=STABLE,
        candidate=CANDIDATE,
        policy_name=policy.name,
        policy_digest=policy.digest,
        policy_document=policy.document,
        progress=Progress(
            phase=Phase.STAGING,
            reason=Reason.ROLLOUT_STARTED,
            message="",
            started_at=now,
            phase_since=now,
            step=StepState(from_weight=0, started_at=now),
        ),
    )
