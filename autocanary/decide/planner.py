"""``plan``: one decision input in, one decision out, by the first rule of the chain that applies.

A recorded decision, made again: from the inputs in the record and what the rollout is about.

So a decision can be followed later with the code that made it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autocanary.analysis import AnalysisInput, Verdict, analyse
from autocanary.analysis.thresholds import WEBHOOK_PREFIX, webhook_metric
from autocanary.decide.decision_input import DecisionInput
from autocanary.decide.decision_log import decision_inputs_from_json
from autocanary.decide.observed_progress import with_observed_progress
from autocanary.decide.outbox import record_rule
from autocanary.decide.rules import CHAIN
from autocanary.decide.transitions import unchanged
from autocanary.model.decision import Decision
from autocanary.model.frozen_copy import replace
from autocanary.model.policy import Policy
from autocanary.model.rollout import Rollout

__all__ = ["NOTHING_TO_DO", "plan", "replay", "replay_verdict"]


NOTHING_TO_DO = "NothingToDo"
"""The rule of a decision that no rule of the chain has made."""


def plan(given: DecisionInput) -> Decision:
    """The next transition of one rollout. Pure and total: every input has a decision.

    The same input gives the same decision, so that a record of the inputs explains it completely.
    """
    observed = with_observed_progress(given)
    for rule in CHAIN:
        decision = rule.function(observed)  # not rule(): this is done for every rule at every evaluation
        if decision is not None:
            return record_rule(decision, rule.name)
    return replace(unchanged(observed), rule=NOTHING_TO_DO)


def replay(rollout: Rollout, policy: Policy, inputs: Mapping[str, Any]) -> Decision:
    """The decision that these inputs lead to; ``policy`` is the rollout's snapshot.

    ``rollout`` may have gone on since: only what never changes is taken from it. Raises KeyError, TypeError
    or ValueError for inputs that this version did not write.
    """
    values, progress, analysis_input = decision_inputs_from_json(inputs)
    paused, request = values.pop("paused"), values.pop("request")
    then = replace(rollout, progress=progress, paused=paused, request=request)
    verdict = replay_verdict(policy, analysis_input) if analysis_input is not None else None
    return plan(DecisionInput(policy=policy, rollout=then, verdict=verdict, **values))


def replay_verdict(policy: Policy, analysis_input: AnalysisInput) -> Verdict:
    """The verdict that this basis leads to."""
    hooks = [webhook_metric(name) for name in analysis_input.measurements if name.startswith(WEBHOOK_PREFIX)]
    analysis = policy.analysis_at(analysis_input.evaluation.step)
    return analyse(analysis, [*analysis.metrics, *hooks], analysis_input, policy.all_metrics)
