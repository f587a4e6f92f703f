"""What holds for every sequence of looks with comparisons: the real judge and planner, driven by hypothesis."""

from __future__ import annotations

import json
from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from autocanary.analysis import Basis, Look, Outcome, Verdict, judge
from autocanary.decide.decision_log import BOOKS
from autocanary.decide.planner import plan, replay
from autocanary.model.decision import Decision, Move
from autocanary.model.measurement import Counters, Reading, ReadingKind, Totals, Unit
from autocanary.model.policy import Grace, OnFailure, OnInconclusive, Policy, Step, Then
from autocanary.model.progress import Phase
from autocanary.model.reason import Reason
from autocanary.model.rollout_json import from_document, to_document
from tests.decide.build import CANDIDATE, NOW, STABLE, observation, policy, progress, rollout, situation
from tests.decide.comparison_policies import ERRORS, analysis

STEPS = (Step(10, 60), Step(50, 60), Step(100, 60))


def rules(then: OnInconclusive, on_failure: OnFailure) -> Policy:
    judged = replace(
        analysis(ERRORS, warmup=0.0),
        on_inconclusive=then,
        on_no_data=Grace(600, Then.HOLD),
        on_outage=Grace(900, Then.HOLD),
    )
    return policy(steps=STEPS, analysis=judged, step_timeout=600.0, on_failure=on_failure)


class Comparing(RuleBasedStateMachine):
    """A candidate that is ready, a field that is always written, and counts that are whatever they are."""

    @initialize(then=st.sampled_from(list(OnInconclusive)), on_failure=st.sampled_from(list(OnFailure)))
    def begin(self, then: OnInconclusive, on_failure: OnFailure) -> None:
        self.now, self.policy = NOW, rules(then, on_failure)
        self.progress = progress(0, 10, verified_at=NOW - 1, step_started_at=NOW - 2, phase_since=NOW - 2)
        self.candidate, self.stable = Totals(), Totals()
        self.failed = False
        self._look(ReadingKind.VALUE)

    @rule(
        n_c=st.integers(0, 400),
        n_s=st.integers(0, 4000),
        rate_c=st.sampled_from([0.0, 0.0, 0.01, 0.05, 0.3, 1.0]),
        rate_s=st.sampled_from([0.0, 0.0, 0.01, 0.05, 0.3]),
        seconds=st.sampled_from([15.0, 15.0, 30.0, 61.0, 700.0]),
        kind=st.sampled_from([*[ReadingKind.VALUE] * 6, ReadingKind.NO_SERIES, ReadingKind.OUTAGE]),
        times=st.integers(1, 6),
    )
    def counted(
        self, n_c: int, n_s: int, rate_c: float, rate_s: float, seconds: float, kind: ReadingKind, times: int
    ) -> None:
        for _ in range(times):
            self.now += seconds
            weight = self.progress.weight or 0
            self.candidate = _more(self.candidate, n_c if weight else 0, rate_c)
            self.stable = _more(self.stable, n_s if weight < 100 else 0, rate_s)
            self._look(kind)

    def _look(self, kind: ReadingKind) -> None:
        if self.progress.phase.is_final:
            return
        weight = self.progress.weight if self.progress.weight is not None else 100
        promoted = weight == 100
        seen = observation(
            weight,
            traffic={CANDIDATE: weight, STABLE: 100 - weight},
            rolled_out=CANDIDATE if promoted else STABLE,
            previous=STABLE if promoted else "",
        )
        verdict: Verdict | None = None
        judged = situation(self.progress, seen, None, now=self.now, policy=self.policy)
        if judged.judged:
            counters = Counters("a", self.now, self.candidate, self.stable)
            reading = Reading(kind, 1.0, Unit.PERCENT, 100.0, counters=counters)
            look = Look(self.now, self.progress.step, len(STEPS), weight)
            basis = Basis(look, {"error-rate": reading}, self.progress.metrics, self.progress.evidence)
            verdict = judge(self.policy.analysis, self.policy.analysis.metrics, basis)
        given = replace(judged, verdict=verdict)
        decision = plan(given)
        self._check(decision, verdict)
        self._check_resuming(decision, given.seen, verdict)
        self.progress = decision.progress

    def _check(self, decision: Decision, verdict: Verdict | None) -> None:
        before = self.progress
        risen = decision.move is Move.WEIGHT and (decision.weight or 0) > (before.weight or 0)
        outcome = verdict.outcome if verdict is not None else None
        if outcome in (Outcome.SUSPICIOUS, Outcome.NO_DATA, Outcome.OUTAGE, Outcome.FAIL):
            assert not risen, f"up while {outcome}"
            assert decision.progress.phase is not Phase.PROMOTED, f"promoted while {outcome}"
        if risen and outcome is not Outcome.PASS:
            assert self.policy.analysis.on_inconclusive is OnInconclusive.PROMOTE, "up without a pass"
            assert outcome is Outcome.INCONCLUSIVE
            assert before.undecided_since is not None
            assert self.now - before.undecided_since >= 600, "up before the timeout"
            assert decision.reason is Reason.INCONCLUSIVE, "not said"
        if self.failed and verdict is not None:
            assert outcome is Outcome.FAIL, "a latched fail was forgotten"
        if outcome is Outcome.FAIL and not self.failed:
            self.failed = True
            back = decision.progress.phase
            paused = self.policy.on_failure is OnFailure.PAUSE
            assert back is (Phase.PAUSED if paused else Phase.ROLLING_BACK), "a fail without consequence"

    def _check_resuming(self, decision: Decision, seen: object, verdict: Verdict | None) -> None:
        """Stopped and resumed from the recorded document the evidence is the same to the last digit."""
        document = json.loads(json.dumps(to_document(rollout(self.progress))))
        resumed = from_document({**document, "metadata": {**document["metadata"], "uid": ""}}).progress
        assert resumed == self.progress
        if verdict is not None and verdict.basis is not None:
            basis = Basis.from_dict(json.loads(json.dumps(verdict.basis.to_dict())))
            again = judge(self.policy.analysis, self.policy.analysis.metrics, basis)
            assert again == replace(verdict, basis=again.basis)
        if decision.inputs is not None:
            made = replay(rollout(self.progress), self.policy, json.loads(json.dumps(decision.inputs)))
            assert made.progress.but(**BOOKS) == decision.progress.but(**BOOKS)
            assert (made.rule, made.move, made.weight, made.event, made.urgent) == (
                decision.rule,
                decision.move,
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
            assert len(json.dumps(self.progress.to_dict()["evidence"])) < 4096


def _more(totals: Totals, requests: int, rate: float) -> Totals:
    return Totals(totals.requests + requests, totals.errors + round(requests * rate))


TestComparing = Comparing.TestCase
TestComparing.settings = settings(max_examples=50, stateful_step_count=20, deadline=None)
