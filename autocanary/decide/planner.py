"""``plan``: one situation in, one decision out, by the first rule of the chain that applies.

A recorded decision, made again: from the inputs in the record and what the rollout is about.

Whoever doubts a decision can follow it with the code that made it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autocanary.analysis import Basis, Verdict, judge
from autocanary.analysis.thresholds import HOOK, hook_metric
from autocanary.decide import rules
from autocanary.decide.decision_input import Situation
from autocanary.decide.decision_log import situation_inputs
from autocanary.decide.transitions import unchanged
from autocanary.model.decision import Decision
from autocanary.model.policy import Policy
from autocanary.model.rollout import Rollout

__all__ = ["judged_again", "plan", "replay"]


def plan(situation: Situation) -> Decision:
    """The next move of one rollout. Pure and total: every situation has an answer.

    The same situation gives the same decision, so that a record of the inputs explains it completely.
    """
    noted = situation.noted()
    for rule in rules.CHAIN:
        decision = rule(noted)
        if decision is not None:
            return decision
    return unchanged(noted, "nothing_to_do")


def replay(rollout: Rollout, policy: Policy, inputs: Mapping[str, Any]) -> Decision:
    """The decision that these inputs lead to; ``policy`` is the rollout's snapshot.

    ``rollout`` may have gone on since: only what never changes is taken from it. Raises KeyError, TypeError
    or ValueError for inputs that this version did not write.
    """
    values, progress, basis = situation_inputs(inputs)
    paused, request = values.pop("paused"), values.pop("request")
    then = rollout.but(progress=progress, paused=paused, request=request)
    verdict = judged_again(policy, basis) if basis is not None else None
    return plan(Situation(policy=policy, rollout=then, verdict=verdict, **values))


def judged_again(policy: Policy, basis: Basis) -> Verdict:
    """The verdict that this basis leads to."""
    hooks = [hook_metric(name) for name in basis.readings if name.startswith(HOOK)]
    return judge(policy.analysis, [*policy.analysis.metrics, *hooks], basis)
