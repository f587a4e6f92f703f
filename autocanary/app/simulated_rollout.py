"""One release under one policy in virtual time: the real planner and judge, over simulated counts.

It does what the engine does for a rollout, at the same instants: a decision without metrics, the questions of
a look, their verdict, the decision on that, the write. What it leaves out cannot change a decision: records,
messages, controllers that always do what they are told. ``tests/app`` holds it against the whole world.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import Enum

from autocanary.analysis import Verdict
from autocanary.controller.metric_queries import measures, questions_for, verdict_of
from autocanary.decide.decision_input import Situation
from autocanary.decide.decision_log import BOOKS
from autocanary.decide.planner import plan
from autocanary.errors import InputError
from autocanary.model.decision import Decision, Move
from autocanary.model.observation import Observation
from autocanary.model.policy import Metric, OnFailure, Policy
from autocanary.model.progress import Phase, Progress
from autocanary.model.reason import Reason
from autocanary.model.rollout import Rollout, rollout_name
from autocanary.simulator.releases import CANDIDATE, STABLE, Pair, Release, start_of

__all__ = ["Course", "Outcome", "Transition", "play", "playable"]

_UNSETTLED_SECONDS = 15.0  # how often the engine looks while a weight is not in effect
_TICK = 1.0
_SIMULATED = frozenset({"request-success-rate", "error-rate", "request-duration", "request-count"})


class Outcome(str, Enum):
    PROMOTED = "promoted"
    ROLLED_BACK = "rolled_back"
    UNDECIDED = "undecided"  # at the horizon, or waiting for a person


@dataclass(frozen=True, slots=True)
class Transition:
    """``at`` is in seconds from the world's beginning; the first step is taken at ``FIRST_STEP``."""

    at: float
    event: str
    reason: str
    weight: int | None


@dataclass(frozen=True, slots=True)
class Course:
    """How a run went: after how many seconds from the first step it was over, and how many requests the
    candidate had answered with an error by then."""

    outcome: Outcome
    seconds: float
    failed: int
    transitions: tuple[Transition, ...] = ()


def playable(policy: Policy) -> tuple[Policy, tuple[str, ...]]:
    """The policy as it can be simulated, and what is left out of it, each as a sentence.

    InputError when nothing that decides is left.
    """
    notes: list[str] = []
    metrics = tuple(each for each in policy.analysis.metrics if _is_simulated(each))
    left_out = [each.name for each in policy.analysis.metrics if each not in metrics]
    if left_out:
        notes.append(f"not simulated, taken as always in range: {', '.join(left_out)}")
    if not any(not each.dry_run for each in metrics):
        said = ", ".join(left_out) or "dryRun metrics only"
        raise InputError(
            f"policy {policy.name} cannot be simulated: nothing in it that decides is about failed or slow "
            f"requests ({said}); add a metric such as error-rate to simulate the policy with"
        )
    if policy.webhooks:
        notes.append(f"webhooks that always agree: {', '.join(each.name for each in policy.webhooks)}")
    if policy.windows:
        notes.append("no windows: steps may be taken at any time")
    if any(step.approval for step in policy.steps):
        notes.append("no steps that wait for a person: each is passed at once when its time is over")
    if policy.on_failure is OnFailure.PAUSE:
        notes.append("onFailure: what would be paused counts as rolled back")
    steps = tuple(replace(step, approval=False) for step in policy.steps)
    analysis = replace(policy.analysis, metrics=metrics)
    changed = replace(
        policy,
        steps=steps,
        analysis=analysis,
        webhooks=(),
        windows=(),
        on_failure=OnFailure.ROLLBACK,
    )
    return changed, tuple(notes)


def _is_simulated(metric: Metric) -> bool:
    return not metric.query and metric.name in _SIMULATED


def play(policy: Policy, release: Release, seed: int, horizon: float, *, trail: bool = False) -> Course:
    """One run of a policy that is ``playable``. ``trail`` keeps the transitions."""
    return _Run(policy, release, seed, trail=trail).until(horizon)


class _Run:
    def __init__(self, policy: Policy, release: Release, seed: int, *, trail: bool) -> None:
        self._policy, self._trail = policy, trail
        self._transitions: list[Transition] = []
        self._pair = Pair(release, seed, start_of(seed))
        self._rollout = _begun(policy, self._pair.seen, self._now())
        self._questions = questions_for(self._rollout, policy)
        self._acknowledged: int | None = None
        self._seen_at = math.inf
        self._asked_at: float | None = None
        self._calm: Observation | None = None

    def _now(self) -> float:
        return self._pair.clock.now()

    def until(self, horizon: float) -> Course:
        began = self._now()
        while (now := self._now()) - began <= horizon:
            self._look(now)
            phase = self._rollout.progress.phase
            if phase.is_final or phase in (Phase.ROLLING_BACK, Phase.PAUSED):
                break
            self._pair.advance_to(self._next(now))
        seconds = min(self._now() - began, horizon)
        return Course(self._outcome(), seconds, self._pair.failed(), tuple(self._transitions))

    def _outcome(self) -> Outcome:
        phase = self._rollout.progress.phase
        if phase is Phase.PROMOTED:
            return Outcome.PROMOTED
        back = phase in (Phase.ROLLING_BACK, Phase.ROLLED_BACK)
        return Outcome.ROLLED_BACK if back else Outcome.UNDECIDED

    def _look(self, now: float) -> None:
        situation = self._situation(now)
        asks = measures(situation) and (
            self._asked_at is None or self._beat(now) > self._beat(self._asked_at)
        )
        if not (asks and self._calm is self._pair.seen):
            decision = plan(situation)
            # With the weight in effect and the same things seen, only a verdict decides from now on.
            is_calm = asks and decision.progress is self._rollout.progress
            self._calm = self._pair.seen if is_calm else None
            self._take(decision, now)
        if not asks:
            return
        self._asked_at = now
        situation = self._situation(now)
        readings = self._pair.metrics.ask([question for _, question in self._questions])
        verdict = verdict_of(situation, self._questions, readings, ())
        self._take(plan(self._situation(now, verdict)), now)

    def _situation(self, now: float, verdict: Verdict | None = None) -> Situation:
        return Situation(
            policy=self._policy,
            rollout=self._rollout,
            seen=self._pair.seen,
            now=now,
            verdict=verdict,
            acknowledged=self._acknowledged,
        )

    def _take(self, decision: Decision, now: float) -> None:
        progress = decision.progress
        if decision.event is not None:
            progress = progress.but(**BOOKS)  # only told, never read
            if self._trail:
                at = now - self._pair.start
                transition = Transition(at, decision.event.value, decision.reason.value, progress.weight)
                self._transitions.append(transition)
        self._rollout = self._rollout.but(progress=progress)
        if decision.move is Move.WEIGHT and decision.weight is not None:
            self._seen_at = self._pair.write(decision.weight)
            self._acknowledged = decision.weight

    def _beat(self, at: float, limit: float = math.inf) -> int:
        return int(at // min(self._policy.analysis.interval, limit))

    def _next(self, now: float) -> float:
        """The next look: on the grid of the interval, or when a weight is seen to be in effect."""
        unsettled = self._rollout.progress.verified_at is None
        limit = _UNSETTLED_SECONDS if unsettled else math.inf
        beat = (self._beat(now, limit) + 1) * min(self._policy.analysis.interval, limit)
        if now < self._seen_at:
            beat = min(beat, self._seen_at)
        ticks = math.ceil((beat - self._pair.start) / _TICK - 1e-9)
        return self._pair.start + ticks * _TICK


def _begun(policy: Policy, seen: Observation, now: float) -> Rollout:
    """A candidate that is ready, at 0 %, and not looked at yet."""
    return Rollout(
        namespace=seen.key.namespace,
        name=rollout_name(seen.key.name, CANDIDATE),
        service=seen.key.name,
        service_uid=seen.uid,
        api_version=seen.api_version,
        component=seen.key.component,
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
            from_weight=0,
            step_started_at=now,
        ),
    )
