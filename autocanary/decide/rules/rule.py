"""A rule of the chain: a name that users read in ``status.decisions`` and the function that decides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from autocanary.decide.decision_input import DecisionInput
from autocanary.decide.outbox import record_rule
from autocanary.model.decision import Decision

__all__ = ["Rule", "rule"]


@dataclass(frozen=True)
class Rule:
    """Returns a Decision that carries the rule's name, or None where the rule does not apply.

    A rule that calls another one returns the other rule's decision under the other rule's name.
    """

    name: str
    function: Callable[[DecisionInput], Decision | None]

    def __call__(self, given: DecisionInput) -> Decision | None:
        decision = self.function(given)
        return None if decision is None else record_rule(decision, self.name)


def rule(name: str) -> Callable[[Callable[[DecisionInput], Decision | None]], Rule]:
    """Bind a function to the name of its rule, once."""
    return lambda function: Rule(name, function)
