"""What holds for every sequence of evaluations with comparisons: the real analysis and planner, driven by hypothesis."""

from __future__ import annotations

import json
from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from autocanary.analysis import AnalysisInput, Evaluation, Outcome, Verdict, analyse
from autocanary.decide.decision_log import without_effects
from autocanary.decide.planner import plan, replay
from autocanary.model.decision import Action, Decision
from autocanary.model.measurement import Measurement, MeasurementKind, RequestCounters, RequestTotals, Unit
from autocanary.model.policy import OnFailure, OnInconclusive, Policy, Step, Timeout, TimeoutAction
from autocanary.model.progress import Phase
from autocanary.model.progress_json import progress_to_json
from autocanary.model.reason import Reason
from autocanary.model.rollout_json import from_document, to_document
from tests.decide.builders import (
    CANDIDATE,
    NOW,
    STABLE,
    make_decision_input,
    make_observation,
    policy,
    progress,
    rollout,
)
from tests.decide.comparison_builders import ERRORS, analysis

STEPS = (Step(10, 60), Step(50, 60), Step(100, 60))


def rules(then: OnInconclusive, on_failure: OnFailure) -> Policy:
    is_evaluated = replace(
        analysis(ERRORS, warmup=0.0),
        on_inconclusive=then,
        on_no_data=Timeout(600, TimeoutAction.HOLD),
        on_outage=Timeout(900, TimeoutAction.HOLD),
    )
    return policy(steps=STEPS, analysis=is_evaluated, step_timeout=600.0, on_failure=on_failure)


class Comparing(RuleBasedStateMachine):
    """A candidate that is ready, a field that is always written, and counts that are whatever they are."""

    @initialize(then=st.sampled_from(list(OnInconclusive)), on_failure=st.sampled_from(list(OnFailure)))
    def begin(self, then: OnInconclusive, on_failure: OnFailure) -> None:
        self.now, self.policy = NOW, rules(then, on_failure)
        self.progress = progress(0, 10, verified_at=NOW - 1, step_started_at=NOW - 2, phase_since=NOW - 2)
        self.candidate, self.stable = RequestTotals(), RequestTotals()
        self.failed = False
        self._look(MeasurementKind.VALUE)

    @rule(
        n_c=st.integers(0, 400),
        n_s=st.integers(0, 4000),
        rate_c=st.sampled_from([0.0, 0.0, 0.01, 0.05, 0.3, 1.0]),
        rate_s=st.sampled_from([0.0, 0.0, 0.01, 0.05, 0.3]),
        seconds=st.sampled_from([15.0, 15.0, 30.0, 61.0, 700.0]),
        kind=st.sampled_from([*[MeasurementKind.VALUE] * 6, MeasurementKind.NO_SERIES, MeasurementKind.OUTAGE]),
        times=st.integers(1, 6),
    )
    def counted(
        self,
        n_c: int,
        n_s: int,
        rate_c: float,
        rate_s: float,
        seconds: float,
        kind: MeasurementKind,
        times: int,
    ) -> None:
        for _ in range(times):
            self.now += seconds
            weight = self.progress.step.weight or 0
            self.candidate = _more(self.candidate, n_c if weight else 0, rate_c)
            self.stable = _more(self.stable, n_s if weight < 100 else 0, rate_s)
            self._look(kind)

    def _look(self, kind: MeasurementKind) -> None:
        if self.progress.phase.is_final:
            return
        weight = self.progress.step.weight if self.progress.step.weight is not None else 100
        promoted = weight == 100
        observation = make_observation(
            weight,
            traffic={CANDIDATE: weight, STABLE: 100 - weight},
            rolled_out=CANDIDATE if promoted else STABLE,
            previous=STABLE if promoted else "",
        )
        verdict: Verdict | None = None
        is_evaluated = make_decision_input(self.progress, observation, None, now=self.now, policy=self.policy)
        if is_evaluated.is_evaluated:
            counters = RequestCounters("a", self.now, self.candidate, self.stable)
            measurement = Measurement(kind, 1.0, Unit.PERCENT, 100.0, counters=counters)
            look = Evaluation(self.now, self.progress.step.index, len(STEPS), weight)
            analysis_input = AnalysisInput(
                look, {"error-rate": measurement}, self.progress.analysis.metrics, self.progress.analysis.evidence
            )
            verdict = analyse(self.policy.analysis, self.policy.analysis.metrics, analysis_input)
        given = replace(is_evaluated, verdict=verdict)
        decision = plan(given)
        self._check(decision, verdict)
        self._check_resuming(decision, given.observation, verdict)
        self.progress = decision.progress

    def _check(self, decision: Decision, verdict: Verdict | None) -> None:
        before = self.progress
        risen = decision.action is Action.WEIGHT and (decision.weight or 0) > (before.step.weight or 0)
        outcome = verdict.outcome if verdict is not None else None
        if outcome in (Outcome.SUSPICIOUS, Outcome.NO_DATA, Outcome.OUTAGE, Outcome.FAIL):
            assert not risen, f"up while {outcome}"
            assert decision.progress.phase is not Phase.PROMOTED, f"promoted while {outcome}"
        if risen and outcome is not Outcome.PASS:
            assert self.policy.analysis.on_inconclusive is OnInconclusive.PROMOTE, "up without a pass"
            assert outcome is Outcome.INCONCLUSIVE
            assert before.analysis.inconclusive_since is not None
            assert self.now - before.analysis.inconclusive_since >= 600, "up before the timeout"
            assert decision.reason is Reason.INCONCLUSIVE, "not said"
        if self.failed and verdict is not None:
            assert outcome is Outcome.FAIL, "a latched fail was forgotten"
        if outcome is Outcome.FAIL and not self.failed:
            self.failed = True
            back = decision.progress.phase
            paused = self.policy.on_failure is OnFailure.PAUSE
            assert back is (Phase.PAUSED if paused else Phase.ROLLING_BACK), "a fail without consequence"

    def _check_resuming(self, decision: Decision, observation: object, verdict: Verdict | None) -> None:
        """Stopped and resumed from the recorded document the evidence is the same to the last digit."""
        document = json.loads(json.dumps(to_document(rollout(self.progress))))
        resumed = from_document({**document, "metadata": {**document["metadata"], "uid": ""}}).progress
        assert resumed == self.progress
        if verdict is not None and verdict.analysis_input is not None:
            analysis_input = AnalysisInput.from_dict(json.loads(json.dumps(verdict.analysis_input.to_dict())))
            again = analyse(self.policy.analysis, self.policy.analysis.metrics, analysis_input)
            assert again == replace(verdict, analysis_input=again.analysis_input)
        if decision.inputs is not None:
            made = replay(rollout(self.progress), self.policy, json.loads(json.dumps(decision.inputs)))
            assert without_effects(made.progress) == without_effects(decision.progress)
            assert (made.rule, made.action, made.weight, made.event, made.urgent) == (
                decision.rule,
                decision.action,
                decision.weight,
                decision.event,
                decision.urgent,
            )

    @invariant()
    def a_failed_candidate_is_paused_or_has_no_traffic(self) -> None:
        if getattr(self, "failed", False):
            assert self.progress.phase in (Phase.PAUSED, Phase.ROLLING_BACK, Phase.ROLLED_BACK)

    @invariant()
    def the_state_stays_small(self) -> None:
        if hasattr(self, "progress"):
            assert len(json.dumps(progress_to_json(self.progress)["evidence"])) < 4096


def _more(totals: RequestTotals, requests: int, rate: float) -> RequestTotals:
    return RequestTotals(totals.requests + requests, totals.errors + round(requests * rate))


TestComparing = Comparing.TestCase
TestComparing.settings = settings(max_examples=50, stateful_step_count=20, deadline=None)
