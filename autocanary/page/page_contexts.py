"""What each page shows, gathered from the source and ``views``: values for the templates, no markup."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autocanary.model.foreign_text import clean_text
from autocanary.model.policy import Policy
from autocanary.model.progress import Phase
from autocanary.model.rollout import Rollout
from autocanary.model.value_wording import format_duration
from autocanary.page.list_context import ended_text
from autocanary.page.metric_cards import MetricCard, metric_cards, rollout_times, weight_plot
from autocanary.page.page_source import PageSource
from autocanary.page.plots import Axis, Plot
from autocanary.page.rollout_acts import Act, acts_of
from autocanary.views import (
    DecisionExplanation,
    Explanation,
    Governance,
    PastRollout,
    explain_decision,
    explain_rollout,
    govern_services,
    service_history,
)
from autocanary.views.wait_reason import needs_user

__all__ = ["RolloutPageView", "decision_view", "governance_of", "history_of", "rollout_view"]

_MAX_INPUT_TEXT = 60_000
_MARKS = {
    "step": "step",
    "hold": "hold or pause",
    "rollback": "rollback",
    "promoted": "promotion",
    "other": "other decision",
}


# --- one rollout


@dataclass(frozen=True, slots=True)
class StepView:
    """A step of the policy. ``state``: done, current or ahead; ``clock`` says how long it lasts, or what is left."""

    number: int
    weight: int
    state: str
    clock: str
    approval: bool


@dataclass(frozen=True, slots=True)
class RolloutPageView:
    """Everything that the page of one rollout, and the report, show. ``decisions`` are the newest first."""

    rollout: Rollout
    explanation: Explanation
    now: float
    steps: tuple[StepView, ...]
    times: Axis
    weight: Plot | None
    cards: tuple[MetricCard, ...]
    decisions: tuple[DecisionExplanation, ...]
    acts: tuple[Act, ...]
    needs_user: bool

    @property
    def sentence(self) -> str:
        """Why it does not move now, or how it ended."""
        return ended_text(self.rollout) or self.explanation.wait.text

    @property
    def mark_legend(self) -> list[tuple[str, str]]:
        """The kinds of decisions that the plots mark, each with its class."""
        kinds = {mark.kind for mark in self.weight.marks} if self.weight is not None else set()
        return [(f"mark-{kind}", words) for kind, words in _MARKS.items() if kind in kinds]

    @property
    def share(self) -> int:
        """The weight in percent; without the field the candidate has everything."""
        return 100 if self.explanation.weight is None else self.explanation.weight


def rollout_view(
    rollout: Rollout,
    policy: Policy | None,
    now: float,
    *,
    governing: Policy | None = None,
    query_text: Callable[[str], str] = lambda _: "",
    undo: Act | None = None,
) -> RolloutPageView:
    """``now`` is in epoch seconds; of an ended rollout the page is the same whenever it is made, but for its acts."""
    if rollout.progress.finished_at is not None:
        now = max(rollout.progress.finished_at, rollout.progress.started_at)
    explanation = explain_rollout(rollout, policy, now, governing=governing)
    times = rollout_times(rollout, now)
    count = len(rollout.progress.decisions)
    decisions = (explain_decision(rollout, None, number) for number in range(count, 0, -1))
    return RolloutPageView(
        rollout=rollout,
        explanation=explanation,
        now=now,
        steps=tuple(_steps(rollout, policy, now)),
        times=times,
        weight=weight_plot(rollout, now, times),
        cards=metric_cards(rollout, policy, explanation.evidence, times, query_text),
        decisions=tuple(each for each in decisions if each is not None),
        acts=acts_of(rollout, policy) if undo is None else (undo,),
        needs_user=needs_user(rollout),
    )


def _steps(rollout: Rollout, policy: Policy | None, now: float) -> Iterator[StepView]:
    if policy is None:
        return
    progress = rollout.progress
    promoted = progress.phase in (Phase.PROMOTED, Phase.FINALIZING)
    for index, step in enumerate(policy.steps):
        is_last = index == len(policy.steps) - 1
        hold = f"{format_duration(step.hold)}" if step.hold else ("" if is_last else "no hold")
        if promoted or index < progress.step.index:
            state, clock = "done", hold
        elif index == progress.step.index and not progress.phase.is_final and progress.phase is not Phase.ROLLING_BACK:
            state, clock = "current", _clock(progress.step.verified_at, step.hold, now) or hold
        elif index == progress.step.index:
            state, clock = "stopped", hold
        else:
            state, clock = "ahead", hold
        yield StepView(index + 1, step.weight, state, clock, step.approval)


def _clock(verified_at: float | None, hold: float, now: float) -> str:
    if verified_at is None:
        return "not in effect yet"
    left = verified_at + hold - now
    return f"{format_duration(left)} of {format_duration(hold)} left" if left > 0 else ""


# --- one decision, the history, the policies


@dataclass(frozen=True, slots=True)
class DecisionView:
    """A decision with its inputs as indented JSON, cut where they are very long."""

    rollout: Rollout
    decision: DecisionExplanation
    inputs: str
    replayed: str


def decision_view(rollout: Rollout, policy: Policy | None, number: int) -> DecisionView | None:
    """None where there is no such decision."""
    decision = explain_decision(rollout, policy, number)
    if decision is None:
        return None
    replayed = "; ".join(f"{name}: {clean_text(str(value), 200)}" for name, value in decision.replayed.items())
    return DecisionView(rollout, decision, _as_text(decision.inputs), replayed)


def _as_text(inputs: Mapping[str, Any]) -> str:
    if not inputs:
        return ""
    text = json.dumps(inputs, indent=2, ensure_ascii=False, default=str)
    return text if len(text) <= _MAX_INPUT_TEXT else f"{text[:_MAX_INPUT_TEXT]}\n… ({len(text):,} characters)"


def history_of(source: PageSource, namespace: str, service: str) -> tuple[PastRollout, ...]:
    """The rollouts of a service, newest first."""
    found = [each for each in source.rollouts() if (each.namespace, each.service) == (namespace, service)]
    return service_history(found, source.now())


def governance_of(source: PageSource, readable: Collection[str]) -> Governance:
    """Policies and services of the namespaces that may be seen; policies for every namespace are seen by all."""
    services = [each for each in source.services() if each.key.namespace in readable]
    policies: Sequence[Policy] = [
        each for each in source.policies() if not each.namespace or each.namespace in readable
    ]
    problems = {
        name: said for name, said in source.problems().items() if "/" not in name or name.split("/")[0] in readable
    }
    return govern_services(services, policies, problems, source.now())
