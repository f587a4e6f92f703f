"""One recorded decision: what it was made from, which rule applied, which did not, and the same decision made again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from autocanary.decide.planner import NOTHING_TO_DO, replay
from autocanary.decide.rules import CHAIN
from autocanary.model.foreign_text import clean_text
from autocanary.model.policy import Policy
from autocanary.model.rollout import Rollout
from autocanary.model.time_format import parse_time

__all__ = ["DecisionExplanation", "RuleStep", "explain_decision", "rules_until"]

_COMPARED = ("event", "phase", "reason", "message", "weight", "rule")


@dataclass(frozen=True, slots=True)
class RuleStep:
    """A rule of the chain: its name, what it does in a sentence, and whether it made the decision."""

    name: str
    description: str
    applied: bool


@dataclass(frozen=True, slots=True)
class DecisionExplanation:
    """One entry of ``status.decisions``. ``number`` counts from 1, the oldest that is kept; ``count`` is how many are.

    ``at`` is when it was made; ``rule`` the rule that made it, "" where an older version did not record it, or
    where the rollout began with it. ``rules`` are the rules up to that one in their order: all before it did not
    apply. ``inputs`` is what it was made from, as recorded; empty for the first decision of a rollout, and only the
    metrics for decisions older than the last eight. ``requested_by`` and ``request_reason`` are those of the user
    request that it answered.
    ``is_same`` says whether a replay of the inputs gives the same decision; None where it could not be made again,
    ``replay_note`` says why. ``replayed`` are the replay's own values where they differ.
    """

    number: int
    count: int
    at: float | None
    event: str
    phase: str
    reason: str
    message: str
    weight: int | None
    rule: str
    rules: tuple[RuleStep, ...]
    inputs: Mapping[str, Any]
    is_same: bool | None
    replay_note: str
    replayed: Mapping[str, Any] = field(default_factory=dict)
    requested_by: str = ""
    request_reason: str = ""


def rules_until(name: str) -> tuple[RuleStep, ...]:
    """The rules of the chain up to ``name``; all of them for a decision that no rule made; none for an unknown name."""
    steps = []
    for each in CHAIN:
        steps.append(RuleStep(each.name, _description(each.function.__doc__), each.name == name))
        if each.name == name:
            return tuple(steps)
    return tuple(steps) if name == NOTHING_TO_DO else ()


def explain_decision(rollout: Rollout, policy: Policy | None, number: int) -> DecisionExplanation | None:
    """The decision with this number (1: the oldest that is kept; -1: the newest); None when there is none.

    ``policy`` is the rollout's snapshot, None where this version cannot read it. The replay uses the code of this
    version: an older one may have decided otherwise, and then ``is_same`` is False.
    """
    decisions = rollout.progress.decisions
    index = number - 1 if number > 0 else len(decisions) + number
    if number == 0 or not 0 <= index < len(decisions):
        return None
    entry = decisions[index]
    inputs = entry.get("inputs")
    inputs = inputs if isinstance(inputs, Mapping) else {}
    rule = _text(entry, "rule")
    is_same, note, replayed = _replay(rollout, policy, entry, inputs, decisions)
    weight = entry.get("weight")
    return DecisionExplanation(
        number=index + 1,
        count=len(decisions),
        at=_time(entry),
        event=_text(entry, "event"),
        phase=_text(entry, "phase"),
        reason=_text(entry, "reason"),
        message=clean_text(_text(entry, "message"), 500),
        weight=weight if isinstance(weight, int) else None,
        rule=rule,
        rules=rules_until(rule),
        inputs=inputs,
        is_same=is_same,
        replay_note=note,
        replayed=replayed,
        requested_by=clean_text(_text(entry, "requestedBy"), 120),
        request_reason=clean_text(_text(entry, "requestReason"), 300),
    )


def _replay(
    rollout: Rollout,
    policy: Policy | None,
    entry: Mapping[str, Any],
    inputs: Mapping[str, Any],
    decisions: Sequence[Mapping[str, Any]],
) -> tuple[bool | None, str, Mapping[str, Any]]:
    if not inputs:
        first = entry is decisions[0]
        return None, "the rollout began with it" if first else "its inputs were not recorded", {}
    if "progress" not in inputs:
        return None, "its inputs are no longer kept: only those of the last decisions are", {}
    if policy is None:
        return None, "this version cannot read the policy of this rollout", {}
    try:
        decision = replay(rollout, policy, inputs)
    except (KeyError, TypeError, ValueError) as error:
        return None, f"another version recorded its inputs ({type(error).__name__})", {}
    made = decision.progress.decisions[-1] if decision.progress.decisions else {}
    differences = {name: made.get(name) for name in _COMPARED if name in entry and made.get(name) != entry.get(name)}
    if differences:
        names = ", ".join(differences)
        return False, f"this version decides otherwise: {names}", differences
    return True, "the same inputs give the same decision", {}


def _description(docstring: str | None) -> str:
    return " ".join((docstring or "").split("\n\n")[0].split()).replace("``", "").rstrip(".")


def _text(entry: Mapping[str, Any], name: str) -> str:
    value = entry.get(name)
    return value if isinstance(value, str) else ""


def _time(entry: Mapping[str, Any]) -> float | None:
    try:
        return parse_time(_text(entry, "time"))
    except ValueError:
        return None
