"""``plan``: one situation in, one decision out, by the first rule of the chain that applies."""

from __future__ import annotations

from autocanary.decide import rules
from autocanary.decide.decision_input import Situation
from autocanary.decide.transitions import unchanged
from autocanary.model.decision import Decision

__all__ = ["plan"]


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
