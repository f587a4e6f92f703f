"""What holds for every sequence of evaluations: a model of the service under the planner, driven by hypothesis."""

from __future__ import annotations

import json
from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from autocanary.analysis import Outcome, Verdict
from autocanary.decide.decision_input import BY_FAILURE
from autocanary.decide.planner import NOTHING_TO_DO, plan
from autocanary.decide.rules import CHAIN
from autocanary.model.decision import Action, Decision
from autocanary.model.observation import ConditionStatus
from autocanary.model.policy import Analysis, Policy, Step, Timeout, TimeoutAction
from autocanary.model.progress import Phase, Progress, StepState
from autocanary.model.reason import Reason
from autocanary.model.rollout import Request
from autocanary.model.rollout_json import from_document, to_document
from tests.decide.builders import (
    CANDIDATE,
    LATENCY,
    NOW,
    STABLE,
    SUCCESS,
    make_decision_input,
    make_observation,
    policy,
    rollout,
    verdict,
)

STEPS = (Step(10, 60), Step(25, 60), Step(50, 60, approval=True), Step(100, 120))
WEIGHTS = [step.weight for step in STEPS]
ANALYSIS = Analysis(
    (SUCCESS, LATENCY),
    on_no_data=Timeout(300, TimeoutAction.ROLLBACK),
    on_outage=Timeout(900, TimeoutAction.ROLLBACK),
)
RULE_NAMES = {NOTHING_TO_DO, *(each.name for each in CHAIN)}
POLICY: Policy = policy(steps=STEPS, analysis=ANALYSIS, progress_deadline=600.0)


class Rollouts(RuleBasedStateMachine):
    """One service: a field, a split that follows it, a candidate that becomes ready, and users."""

    @initialize(weight=st.sampled_from([0, 10, 30]))
    def begin(self, weight: int) -> None:
        self.now = NOW
        self.field: int | None = weight
        self.share = weight
        self.ready = False
        self.paused = False
        self.request: Request | None = None
        self.progress = Progress(
            phase=Phase.STAGING,
            reason=Reason.ROLLOUT_STARTED,
            message="",
            started_at=NOW,
            phase_since=NOW,
            step=StepState(weight=weight, from_weight=weight, started_at=NOW),
        )
        self.asked = 0
        self.outage_for = 0.0

    # --- the world -----------------------------------------------------------------------------------

    @rule()
    def becomes_ready_and_is_seen(self) -> None:
        self.ready = True
        self.share = 100 if self.field is None else self.field
        self._look(None, arrives=True)

    @rule(
        what=st.sampled_from(["weight", "verb", "pause"]),
        weight=st.sampled_from([None, 0, 10, 40, 100]),
        verb=st.sampled_from(["promote", "promote-full", "abort", "resume", "retry", "?"]),
    )
    def user_interferes(self, what: str, weight: int | None, verb: str) -> None:
        """One rule for all of it, so that most sequences get somewhere before they are disturbed."""
        if what == "weight":
            self.field = weight
        elif what == "pause":
            self.paused = not self.paused
        else:
            self.asked += 1
            self.request = Request(f"r{self.asked}", verb)

    # --- looks ---------------------------------------------------------------------------------------

    @rule()
    def look(self) -> None:
        self._look(None, arrives=True)

    @rule(
        outcome=st.sampled_from(list(Outcome)),
        seconds=st.sampled_from([0.0, 15.0, 61.0, 61.0, 200.0, 700.0]),
        follows=st.booleans(),
        arrives=st.sampled_from([True, True, True, False]),
    )
    def measured_look(self, outcome: Outcome, seconds: float, follows: bool, arrives: bool) -> None:
        """Time passes, the traffic follows or not, and the metrics say something."""
        self.now += seconds
        if follows and self.ready:
            self.share = 100 if self.field is None else self.field
        self._look(verdict(outcome), arrives)

    @precondition(lambda self: self.ready)
    @rule()
    def a_good_while(self) -> None:
        """The path of a healthy release: the traffic follows, time passes, the evaluation passes."""
        self.share = 100 if self.field is None else self.field
        self._look(None, arrives=True)
        self.now += 61
        self._look(verdict(Outcome.PASS), arrives=True)

    def _look(self, said: Verdict | None, arrives: bool) -> None:
        traffic = {CANDIDATE: self.share, STABLE: 100 - self.share} if self.ready else {STABLE: 100}
        promoted = self.ready and self.share == 100
        observation = make_observation(
            self.field,
            traffic=traffic,
            ready=CANDIDATE if self.ready else STABLE,
            rolled_out=CANDIDATE if promoted else STABLE,
            previous=STABLE if promoted else "",
            route_ready=ConditionStatus.TRUE,
        )
        given = make_decision_input(
            self.progress,
            observation,
            said,
            now=self.now,
            paused=self.paused,
            request=self.request,
            policy=POLICY,
        )
        decision = plan(given)
        self._check(decision, said, outage_before=self.progress.analysis.outage_since)
        self._check_resuming(decision, said, observation)
        self.progress = decision.progress
        if decision.action is Action.WEIGHT and arrives:
            self.field = decision.weight

    def _check(self, decision: Decision, said: Verdict | None, outage_before: float | None) -> None:
        before, after = self.progress, decision.progress
        recorded = {each["rule"] for each in after.decisions}
        assert {decision.rule, *recorded} <= RULE_NAMES, "a rule that is not of the chain"
        asked = before.requests.promote_all or (
            self.request is not None and self.request.id != before.requests.answered_id
        )
        if before.phase.is_final:
            assert after.phase is before.phase, "a final phase was left"
            assert decision.action is Action.NONE, "a final rollout was written for"
            return
        if decision.action is Action.WEIGHT:
            repeats = decision.weight == before.step.weight
            assert repeats or decision.weight in (0, *self._next_weights(before)) or asked, "a jump"
            risen = (decision.weight or 0) > (before.step.weight if before.step.weight is not None else 100)
            passed = said is not None and said.outcome is Outcome.PASS
            first = before.step.index < 0 and self.ready
            assert not risen or passed or first or asked, "up without a pass"
        if said is not None and said.outcome is Outcome.OUTAGE and not asked and before.phase is Phase.PROGRESSING:
            lasted = self.now - (outage_before if outage_before is not None else self.now)
            if (
                lasted < 900
                and self.field == before.step.weight
                and self.share == before.step.weight
                and not self.paused
            ):
                assert after.phase in (Phase.PROGRESSING, Phase.HOLDING), "an outage moved something"
        if self.paused and before.phase is Phase.PAUSED and before.hold.paused_by == "user" and not asked:
            raised = decision.action is Action.WEIGHT and (decision.weight or 0) > (before.step.weight or 0)
            assert not raised, "raised while paused"
        if before.phase is Phase.PAUSED and before.hold.paused_by == BY_FAILURE and not asked:
            assert decision.action is Action.NONE or decision.weight == before.step.weight

    def _next_weights(self, before: Progress) -> list[int]:
        return WEIGHTS[before.step.index + 1 :][:1]

    def _check_resuming(self, decision: Decision, said: Verdict | None, observation: object) -> None:
        """Stopping and resuming from the recorded document, at any point, decides the same."""
        document = json.loads(json.dumps(to_document(rollout(self.progress))))
        resumed = from_document({**document, "metadata": {**document["metadata"], "uid": ""}}).progress
        assert resumed == self.progress
        again = plan(
            make_decision_input(
                resumed,
                observation,  # type: ignore[arg-type]
                said,
                now=self.now,
                paused=self.paused,
                request=self.request,
                policy=POLICY,
            )
        )
        assert replace(again, inputs=None) == replace(decision, inputs=None)

    @invariant()
    def weights_stay_within_bounds(self) -> None:
        if hasattr(self, "progress") and self.progress.step.weight is not None:
            assert 0 <= self.progress.step.weight <= 100


TestRollouts = Rollouts.TestCase
TestRollouts.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
