"""Everything about one rollout: what holds it, which rule decided, the evidence, the policy, and what comes next."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from autocanary.analysis.forecast import forecast_text
from autocanary.decide.transitions import DEADLINE_REASONS
from autocanary.model.comparison_wording import comparison_lines, counted_percent, worst_first
from autocanary.model.decision import Event
from autocanary.model.measurement import Measurement
from autocanary.model.policy import Metric, OnFailure, Policy, Range, TimeoutAction
from autocanary.model.progress import MetricState, Phase
from autocanary.model.reason import Reason
from autocanary.model.rollout import Rollout
from autocanary.model.rollout_windows import is_open, next_opening
from autocanary.model.value_wording import describe_limit, describe_measurement, format_value, metric_title
from autocanary.views.advice import advice_now
from autocanary.views.decision_replay import DecisionExplanation, explain_decision
from autocanary.views.model_change import ModelChange, model_change, released_by_text
from autocanary.views.policy_in_force import PolicyInForce, policy_in_force
from autocanary.views.service_history import restore_text
from autocanary.views.wait_reason import WITHOUT_METRICS, Wait, explain_wait

__all__ = ["EvidenceRow", "Explanation", "NextEvent", "explain_rollout"]


@dataclass(frozen=True, slots=True)
class EvidenceRow:
    """One metric. ``now`` and ``needed`` are in words; ``verdict`` is True in range, False out of range, None unknown.

    ``value``, ``minimum`` and ``maximum`` are in ``unit``. ``requests`` are the candidate's in the window, or, with
    ``requests_since_start``, since the rollout began: those that ``now`` is of.
    For a comparison ``worse_percent`` is the evidence that the candidate is worse than stable, in percent of what
    rolls it back, ``pass_percent`` the evidence that it is not, in percent of what lets it pass, and ``comparison`` its
    sentences: counts, difference, both proofs, and what is needed; None and () otherwise. ``source`` is where the
    numbers come from.
    """

    metric: str
    title: str
    now: str
    needed: str
    verdict: bool | None
    value: float | None
    unit: str
    minimum: float | None
    maximum: float | None
    requests: float | None
    requests_since_start: bool
    violations: int
    failure_limit: int | None
    worse_percent: float | None
    pass_percent: float | None
    comparison: tuple[str, ...]
    source: str
    dry_run: bool


@dataclass(frozen=True, slots=True)
class NextEvent:
    """What will happen, and when: ``at`` is in epoch seconds, None when no time is known. ``kind``: step, promotion,
    rollback, pause, window or user."""

    kind: str
    text: str
    at: float | None = None


@dataclass(frozen=True, slots=True)
class Explanation:
    """``wait`` says what holds the rollout; ``decision`` is the last recorded one, or the one that began its
    rollback, None before the first.

    ``evidence`` has the worst metric first; ``next_events`` are in the order of their times, what has none last.
    ``sources`` are the metric sources that answered, ``forecast`` what a comparison can be expected to find at this
    traffic. ``restore`` says what autocanary put back in the spec, and what the manifest still has; "" without.
    ``advice`` is what the reader should do now, as messages say it; "" when no action is required.
    """

    rollout: str
    namespace: str
    service: str
    component: str
    stable: str
    candidate: str
    phase: str
    reason: str
    message: str
    weight: int | None
    observed_weight: int | None
    step: int
    steps: int | None
    started_at: float
    finished_at: float | None
    released_by: str
    models: ModelChange
    wait: Wait
    decision: DecisionExplanation | None
    evidence: tuple[EvidenceRow, ...]
    evidence_percent: float | None
    next_events: tuple[NextEvent, ...]
    policy: PolicyInForce
    sources: tuple[str, ...]
    forecast: str
    restore: str
    advice: str


def explain_rollout(
    rollout: Rollout, policy: Policy | None, now: float, *, governing: Policy | None = None
) -> Explanation:
    """``policy`` is the rollout's snapshot (None: this version cannot read it); ``governing`` is the policy that
    governs the service now, None where that is not known."""
    progress = rollout.progress
    metrics = {metric.name: metric for metric in policy.analysis.metrics} if policy is not None else {}
    evidence = tuple(_row(name, state, metrics.get(name)) for name, state in worst_first(progress.analysis.metrics))
    percent = progress.analysis.evidence.get("evidence_percent")
    return Explanation(
        rollout=rollout.name,
        namespace=rollout.namespace,
        service=rollout.service,
        component=rollout.component.value,
        stable=rollout.stable,
        candidate=rollout.candidate,
        phase=progress.phase.value,
        reason=progress.reason.value,
        message=progress.message,
        weight=progress.step.weight,
        observed_weight=progress.step.observed_weight,
        step=progress.step.index + 1,
        steps=len(policy.steps) if policy is not None else None,
        started_at=progress.started_at,
        finished_at=progress.finished_at,
        released_by=released_by_text(rollout),
        models=model_change(rollout),
        wait=explain_wait(rollout, policy, now),
        decision=explain_decision(rollout, policy, _deciding(rollout)),
        evidence=evidence,
        evidence_percent=float(percent) if isinstance(percent, int | float) else None,
        next_events=tuple(sorted(_next_events(rollout, policy, now), key=_by_time)),
        policy=policy_in_force(rollout, policy, governing),
        sources=tuple(dict.fromkeys(row.source for row in evidence if row.source)),
        forecast=forecast_text(policy, progress),
        restore=restore_text(rollout),
        advice=advice_now(rollout),
    )


def _deciding(rollout: Rollout) -> int:
    """The decision that matters: of a rolled-back rollout the one that began the rollback, else the newest."""
    decisions = rollout.progress.decisions
    if rollout.progress.phase is Phase.ROLLED_BACK:
        for number in range(len(decisions), 0, -1):
            if decisions[number - 1].get("event") == Event.ROLLBACK.value:
                return number
    return -1


def _by_time(event: NextEvent) -> tuple[bool, float]:
    return event.at is None, event.at or 0.0


def _row(name: str, state: MetricState, metric: Metric | None) -> EvidenceRow:
    last, summary = state.last, state.comparison_summary
    requests = last.requests if last is not None else None
    limits = metric.range if metric is not None else Range()
    only_compared = metric is not None and metric.compare is not None and metric.range == Range()
    counted = counted_percent(summary, metric.unit) if only_compared and metric is not None else None
    if counted is not None and summary is not None:
        now_text, requests = f"{counted:.2f} %", summary.candidate.requests
    elif last is None:
        now_text = "not measured yet"
    elif last.value is None:
        now_text = describe_measurement(last)
    else:
        now_text = format_value(last.value, last.unit)
    needed = []
    if metric is not None and not only_compared:
        needed.append(describe_limit(metric.range, metric.unit))
    if metric is not None and metric.compare is not None:
        needed.append("no worse than stable")
    compared = summary is not None and not summary.not_compared_reason
    return EvidenceRow(
        metric=name,
        title=metric_title(name, metric.quantile if metric is not None else None),
        now=now_text,
        needed="; ".join(needed),
        verdict=state.ok,
        value=last.value if last is not None else None,
        unit=last.unit.value if last is not None else (metric.unit.value if metric is not None else ""),
        minimum=limits.min,
        maximum=limits.max,
        requests=requests,
        requests_since_start=counted is not None,
        violations=state.violations,
        failure_limit=metric.failure_limit if metric is not None else None,
        worse_percent=summary.evidence_percent if summary is not None and compared else None,
        pass_percent=summary.non_inferior_percent if summary is not None and compared else None,
        comparison=comparison_lines(summary) if summary is not None else (),
        source=_source(last),
        dry_run=metric is not None and metric.dry_run,
    )


def _source(last: Measurement | None) -> str:
    if last is None:
        return ""
    return last.source.value if last.source is not None else last.exporter


def _next_events(rollout: Rollout, policy: Policy | None, now: float) -> Iterator[NextEvent]:
    progress = rollout.progress
    if progress.phase.is_final:
        return
    if progress.phase is Phase.ROLLING_BACK:
        yield NextEvent("rollback", f"the rollout ends when all traffic is back on {rollout.stable}")
        return
    if progress.phase is Phase.FINALIZING:
        yield NextEvent("promotion", f"{rollout.candidate} is promoted when it is stable in the spec, too")
        return
    if policy is None:
        return
    yield from _next_step(rollout, policy, now)
    yield from _deadlines(rollout, policy)
    if progress.phase is not Phase.PAUSED and progress.reason is not Reason.STABLE_FAILED:
        ending = "pauses the rollout" if policy.on_failure is OnFailure.PAUSE else "rolls it back"
        yield NextEvent("rollback", f"a failed analysis {ending} at any time")


def _next_step(rollout: Rollout, policy: Policy, now: float) -> Iterator[NextEvent]:
    progress = rollout.progress
    ahead = [
        step for step in policy.steps if step.weight > (100 if progress.step.weight is None else progress.step.weight)
    ]
    what = f"{ahead[0].weight} % of the traffic to {rollout.candidate}" if ahead else f"{rollout.candidate} is promoted"
    kind = "step" if ahead else "promotion"
    if progress.phase is Phase.PAUSED:
        approval = progress.reason is Reason.AWAITING_APPROVAL
        yield NextEvent("user", f"{what}, after {'your approval' if approval else 'a user promotes or resumes'}")
        return
    opening = None if is_open(policy.windows, now) or not ahead else next_opening(policy.windows, now)
    if progress.step.index < 0:
        yield NextEvent(kind, f"{what}, once it is ready{', when the window opens' if opening else ''}", opening)
        return
    step = policy.steps[progress.step.index] if progress.step.index < len(policy.steps) else None
    earliest = None
    if progress.step.verified_at is not None and step is not None:
        earliest = max(progress.step.verified_at + step.hold, now)
        wait = explain_wait(rollout, policy, now)
        if wait.missing not in ("", "time", "window"):
            earliest = now + wait.seconds if wait.seconds is not None else None
        if earliest is not None and opening is not None:
            earliest = max(earliest, opening)
    if step is not None and step.approval:
        yield NextEvent("user", f"the step at {progress.step.weight} % waits for approval when it has passed", earliest)
        return
    ready = f"{rollout.stable} is ready again and " if progress.reason is Reason.STABLE_FAILED else ""
    yield NextEvent(kind, f"{what}, if {ready}the analysis passes", earliest)


def _deadlines(rollout: Rollout, policy: Policy) -> Iterator[NextEvent]:
    progress, analysis = rollout.progress, policy.analysis
    if progress.phase is Phase.PAUSED:
        return
    if progress.step.index < 0 or progress.step.verified_at is None:
        began = progress.step.started_at if progress.step.started_at is not None else progress.started_at
        what = (
            "is not ready by then" if progress.step.index < 0 else f"does not get its {progress.step.weight} % by then"
        )
        yield NextEvent("rollback", f"a rollback, if {rollout.candidate} {what}", began + policy.progress_deadline)
    elif progress.hold.since is not None and progress.reason in DEADLINE_REASONS:
        at = progress.hold.since + policy.progress_deadline
        yield NextEvent("rollback", "a rollback, if it is held until then", at)
    elif progress.hold.since is not None and progress.reason is Reason.STABLE_FAILED:
        text = f"the spec of {rollout.stable} is put back as a new revision, if it is not ready by then"
        yield NextEvent("rollback", text, progress.hold.since + policy.progress_deadline)
    for timeout, since, what in (
        (analysis.on_no_data, progress.analysis.no_data_since, "there are still no usable metrics"),
        (analysis.on_outage, progress.analysis.outage_since, "the outage still lasts"),
    ):
        if progress.reason in WITHOUT_METRICS and since is not None and timeout.action is not TimeoutAction.HOLD:
            deed = "a rollback" if timeout.action is TimeoutAction.ROLLBACK else "a pause"
            kind = "rollback" if timeout.action is TimeoutAction.ROLLBACK else "pause"
            yield NextEvent(kind, f"{deed}, if {what}", since + timeout.hold)
