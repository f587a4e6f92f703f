"""Why a rollout does not move now: one sentence with what is missing, what it has, and an estimate.

Over 300 lines because every reason to wait has a sentence of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from autocanary.decide.transitions import DEADLINE_REASONS, NO_DATA_REASONS, OUTAGE_REASONS
from autocanary.model.comparison_summary import ComparisonSummary
from autocanary.model.comparison_wording import proof_text
from autocanary.model.foreign_text import clean_text
from autocanary.model.policy import Metric, Policy, Timeout, TimeoutAction
from autocanary.model.progress import Phase, Progress
from autocanary.model.reason import Reason
from autocanary.model.rollout import Rollout
from autocanary.model.rollout_windows import next_opening
from autocanary.model.value_wording import format_duration, metric_title

__all__ = ["HOLDS_THAT_NEED_A_USER", "WITHOUT_METRICS", "Wait", "explain_wait", "needs_user"]

WITHOUT_METRICS = NO_DATA_REASONS | OUTAGE_REASONS
"""Reasons to hold because nothing is measured: onNoData and onOutage say what follows."""
HOLDS_THAT_NEED_A_USER = frozenset({Reason.INCONCLUSIVE, Reason.STABLE_FAILED, Reason.SHARED_OUTAGE})
"""Holds that last until a user repairs or decides something."""
_EVIDENCE = frozenset({Reason.GATHERING_EVIDENCE, Reason.SUSPICIOUS})


@dataclass(frozen=True, slots=True)
class Wait:
    """Why the rollout is not a step further.

    ``text`` is the whole sentence. ``missing`` names what must come (``requests``, ``evidence``, ``time``, ``a user``,
    …), ``now`` and ``needed`` are how much of it is there and how much is needed, in the sentence's unit, None where it
    is not a number. ``seconds`` is how long that takes at the present traffic, None when it cannot be estimated.
    ``needs_user`` says that nothing happens until a user acts.
    """

    text: str
    missing: str = ""
    now: float | None = None
    needed: float | None = None
    seconds: float | None = None
    needs_user: bool = False


def needs_user(rollout: Rollout) -> bool:
    """Whether the rollout makes no progress until a user acts."""
    progress = rollout.progress
    if progress.phase is Phase.PAUSED:
        return True
    if progress.phase is Phase.HOLDING and progress.reason in HOLDS_THAT_NEED_A_USER:
        return True
    return progress.phase is Phase.ROLLING_BACK and (
        progress.outbox.has_warned(Reason.ROLLBACK_BLOCKED) and rollout.stable_spec is None
    )


def explain_wait(rollout: Rollout, policy: Policy | None, now: float) -> Wait:
    """The sentence; of an ended rollout how it ended. ``policy`` None: this version cannot read its snapshot."""
    progress = rollout.progress
    if progress.phase.is_final:
        return Wait(_ended_text(rollout))
    if policy is None:
        return Wait(f"{_said(progress)}; this version cannot read the policy {rollout.policy_name} of this rollout")
    by_phase: Mapping[Phase, Callable[[Rollout, Policy, float], Wait]] = {
        Phase.ROLLING_BACK: _rolling_back,
        Phase.FINALIZING: _finalizing,
        Phase.PAUSED: _paused,
    }
    if progress.phase in by_phase:
        return by_phase[progress.phase](rollout, policy, now)
    for explain in (_held, _not_ready, _not_in_effect, _warming_up, _evidence, _requests, _step_time):
        found = explain(rollout, policy, now)
        if found is not None:
            return found
    return Wait(_said(progress))


def _ended_text(rollout: Rollout) -> str:
    progress = rollout.progress
    return clean_text(f"{progress.phase.value}: {progress.message or progress.reason.value}", 400)


def _said(progress: Progress) -> str:
    return clean_text(progress.message or progress.reason.value, 500)


def _rolling_back(rollout: Rollout, policy: Policy, now: float) -> Wait:
    del policy
    progress = rollout.progress
    since = progress.phase_since
    share = (
        ""
        if progress.step.observed_weight is None
        else f"; {rollout.candidate} still has {progress.step.observed_weight} %"
    )
    waited = format_duration(now - since)
    if progress.rollback.repairing:
        text = f"the rollback waits for KServe to serve the spec of {rollout.stable} again: {waited} so far{share}"
    else:
        text = f"the rollback waits for the traffic to leave {rollout.candidate}: {waited} so far{share}"
    if needs_user(rollout):
        text += f"; {rollout.stable}'s spec is not known: apply the last good InferenceService manifest"
        return Wait(text, "a user", needs_user=True)
    return Wait(text, "traffic")


def _finalizing(rollout: Rollout, policy: Policy, now: float) -> Wait:
    del policy
    waited = format_duration(now - rollout.progress.phase_since)
    return Wait(f"waits until {rollout.candidate} is stable in the spec, too: {waited} so far", "spec")


def _paused(rollout: Rollout, policy: Policy, now: float) -> Wait:
    del policy
    progress = rollout.progress
    since = format_duration(now - progress.phase_since)
    where = f"`autocanary promote {rollout.service} -n {rollout.namespace}`"
    resume = f"`autocanary resume {rollout.service} -n {rollout.namespace}`"
    abort = f"`autocanary abort {rollout.service} -n {rollout.namespace}`"
    if progress.reason is Reason.AWAITING_APPROVAL:
        passed = f"the step at {progress.step.weight} % has passed and waits for approval"
        text = f"{passed}, {since} so far: {where}, or {abort}"
        return Wait(text, "approval", needs_user=True)
    return Wait(
        f"paused, {since} so far: {_said(progress)}; {resume} goes on, {abort} rolls back", "a user", needs_user=True
    )


def _held(rollout: Rollout, policy: Policy, now: float) -> Wait | None:
    """Holds whose reason alone says what is missing."""
    progress = rollout.progress
    reason = progress.reason
    if reason is Reason.WINDOW_CLOSED:
        opening = next_opening(policy.windows, now)
        if opening is None:
            return Wait("no step may be taken: no window opens within a week", "window", needs_user=True)
        left = opening - now
        return Wait(
            f"no step may be taken now: the next window opens in {format_duration(left)}", "window", seconds=left
        )
    if reason is Reason.WEBHOOK_PENDING:
        return Wait(f"{_said(progress)}{_deadline_text(progress, policy, now)}", "webhook")
    if reason is Reason.WAITING_FOR_COMPONENT:
        return Wait(f"waits for the rollout of another component of {rollout.service}: {_said(progress)}", "component")
    if reason in NO_DATA_REASONS:
        return _without_metrics(progress, policy.analysis.on_no_data, progress.analysis.no_data_since, now)
    if reason in OUTAGE_REASONS:
        return _without_metrics(progress, policy.analysis.on_outage, progress.analysis.outage_since, now)
    if reason in (Reason.STABLE_FAILED, Reason.ROUTE_NOT_READY, Reason.OBSERVATION_STALE, Reason.COMPONENTS_TOGETHER):
        return Wait(_said(progress), "service")
    if reason in (Reason.INCONCLUSIVE, Reason.BEYOND_OBJECTIVE, Reason.TRAFFIC_MISSING):
        return Wait(f"{_said(progress)}{_deadline_text(progress, policy, now)}", "evidence")
    return None


def _without_metrics(progress: Progress, timeout: Timeout, since: float | None, now: float) -> Wait:
    text = _said(progress).partition("; held at")[0]
    if since is None or timeout.action is TimeoutAction.HOLD:
        return Wait(text, "metrics")
    left = max(0.0, since + timeout.hold - now)
    return Wait(f"{text}; {_deed(timeout.action)} in {format_duration(left)} unless that changes", "metrics")


def _deed(action: TimeoutAction) -> str:
    return {TimeoutAction.ROLLBACK: "rolled back", TimeoutAction.PAUSE: "paused"}.get(action, "held")


def _deadline_text(progress: Progress, policy: Policy, now: float) -> str:
    if progress.hold.since is None or progress.reason not in DEADLINE_REASONS:
        return ""
    left = max(0.0, progress.hold.since + policy.progress_deadline - now)
    return f"; rolled back in {format_duration(left)} unless that changes"


def _not_ready(rollout: Rollout, policy: Policy, now: float) -> Wait | None:
    progress = rollout.progress
    if progress.step.index >= 0:
        return None
    began = progress.step.started_at if progress.step.started_at is not None else progress.started_at
    left = max(0.0, began + policy.progress_deadline - now)
    so_far = f"{rollout.candidate} is not ready yet, {format_duration(now - began)} so far"
    if progress.reason is Reason.REVISION_FAILED:
        so_far = _said(progress).partition("; rolled back in")[0]
    text = f"{so_far}; rolled back in {format_duration(left)} unless it becomes ready"
    return Wait(text, "readiness")


def _not_in_effect(rollout: Rollout, policy: Policy, now: float) -> Wait | None:
    progress = rollout.progress
    if progress.step.verified_at is not None:
        return None
    began = progress.step.started_at if progress.step.started_at is not None else progress.phase_since
    shows = (
        f", the traffic shows {progress.step.observed_weight} %" if progress.step.observed_weight is not None else ""
    )
    left = max(0.0, began + policy.progress_deadline - now)
    text = (
        f"{progress.step.weight} % was asked for {format_duration(now - began)} ago{shows}; "
        f"rolled back in {format_duration(left)} unless it takes effect"
    )
    return Wait(text, "traffic")


def _warming_up(rollout: Rollout, policy: Policy, now: float) -> Wait | None:
    verified = rollout.progress.step.verified_at
    warmup = policy.analysis.warmup
    if verified is None or now - verified >= warmup:
        return None
    left = verified + warmup - now
    text = (
        f"samples of the first {format_duration(warmup)} after a change are not analysed: {format_duration(left)} left"
    )
    return Wait(text, "time", now - verified, warmup, left)


def _evidence(rollout: Rollout, policy: Policy, now: float) -> Wait | None:
    """A comparison that cannot pass the candidate yet: the one that lacks most of its proof."""
    progress = rollout.progress
    if progress.reason not in _EVIDENCE:
        return None
    found = [
        (summary.non_inferior_percent, metric, summary)
        for metric, summary in _compared(progress, policy)
        if not metric.dry_run and summary.non_inferior_percent < 100.0
    ]
    if not found:
        return Wait(_said(progress), "evidence")
    percent, metric, summary = min(found, key=lambda each: each[0])
    text = f"{metric_title(metric.name, metric.quantile)} {proof_text(summary)}"
    if progress.reason is Reason.SUSPICIOUS:
        text = f"{_said(progress)}; {text}"
    seconds = summary.needed_seconds
    hold = _step_left(progress, policy, now)
    if seconds is not None and hold is not None and hold > seconds:
        text += f"; the step lasts {format_duration(hold)} more"
        seconds = hold
    return Wait(text, "evidence", percent, 100.0, seconds)


def _compared(progress: Progress, policy: Policy) -> list[tuple[Metric, ComparisonSummary]]:
    found = []
    for metric in policy.analysis.compared:
        state = progress.analysis.metrics.get(metric.name)
        if state is not None and state.comparison_summary is not None:
            found.append((metric, state.comparison_summary))
    return found


def _requests(rollout: Rollout, policy: Policy, now: float) -> Wait | None:
    """A metric with too few requests in its window."""
    del now
    progress = rollout.progress
    if progress.reason is not Reason.TOO_FEW_REQUESTS:
        return None
    lacking = []
    for metric in policy.analysis.gating:
        state = progress.analysis.metrics.get(metric.name)
        needed = metric.min_requests if metric.min_requests is not None else policy.analysis.min_requests
        window = metric.window if metric.window is not None else policy.analysis.window
        summary = state.comparison_summary if state is not None else None
        if metric.compare is not None and summary is not None:
            rate = summary.candidate.requests / summary.seconds if summary.seconds > 0 else 0.0
            lacking.append((summary.step_requests, needed, metric, rate, 0.0))
        elif state is not None and state.last is not None and state.last.requests is not None:
            lacking.append((state.last.requests, needed, metric, state.last.requests / window, window))
    lacking = [each for each in lacking if each[0] < each[1]]
    if not lacking:
        return Wait(_said(progress), "requests")
    have, needed, metric, rate, window = min(lacking, key=lambda each: each[0] / each[1])
    title = metric_title(metric.name, metric.quantile)
    missing = needed - have
    if window:
        text = (
            f"the {title} has {have:,.0f} requests in {format_duration(window)} and needs {needed:,.0f}: "
            f"{missing:,.0f} are missing; with less traffic than that it never passes: lower minRequests or "
            "lengthen the window"
        )
        return Wait(text, "requests", have, needed)
    seconds = missing / rate if rate > 0 else None
    when = f": {format_duration(_round_time(seconds))} at this traffic" if seconds is not None else ", and none arrive"
    text = (
        f"the {title} has {have:,.0f} requests in this step and needs {needed:,.0f}; {missing:,.0f} are missing{when}"
    )
    return Wait(text, "requests", have, needed, seconds)


def _step_left(progress: Progress, policy: Policy, now: float) -> float | None:
    if progress.step.verified_at is None or not 0 <= progress.step.index < len(policy.steps):
        return None
    left = progress.step.verified_at + policy.steps[progress.step.index].hold - now
    return left if left > 0 else None


def _step_time(rollout: Rollout, policy: Policy, now: float) -> Wait | None:
    progress = rollout.progress
    left = _step_left(progress, policy, now)
    if left is None:
        return None
    hold = policy.steps[progress.step.index].hold
    what = "the bake" if progress.phase is Phase.BAKING else "the step"
    text = f"{what} at {progress.step.weight} % lasts {format_duration(hold)}: {format_duration(left)} left"
    if progress.reason is Reason.VIOLATION_SEEN:
        text = f"{_said(progress)}; {text}"
    return Wait(text, "time", hold - left, hold, left)


def _round_time(seconds: float) -> float:
    """Whole minutes above ten minutes, ten seconds above a minute."""
    if seconds >= 600:
        return round(seconds / 60) * 60
    return round(seconds / 10) * 10 if seconds >= 60 else max(1.0, round(seconds))
