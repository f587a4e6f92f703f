"""What the policy of a rollout asks for, and whether the one that governs its service now is another."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from autocanary.model.policy import Metric, Policy, Range, TimeoutAction
from autocanary.model.rollout import Rollout
from autocanary.model.value_wording import describe_limit, format_duration

__all__ = ["PolicyInForce", "policy_in_force"]


@dataclass(frozen=True, slots=True)
class PolicyInForce:
    """The policy of a rollout. ``declared`` is the user's document, ``in_force`` what it means with every default:
    pairs of a field's name and its value in words. ``note`` says where the policy was changed since the rollout began.
    """

    name: str
    origin: str
    digest: str
    declared: str
    in_force: tuple[tuple[str, str], ...]
    note: str


def _is_other_policy(rollout: Rollout, governing: Policy) -> bool:
    """The digests of one text differ between versions of autocanary, where fields were added."""
    if not governing.digest or governing.digest == rollout.policy_digest:
        return False
    return governing.name != rollout.policy_name or governing.document != rollout.policy_document


def policy_in_force(rollout: Rollout, policy: Policy | None, governing: Policy | None) -> PolicyInForce:
    note = ""
    if policy is None:
        note = "this version cannot read the snapshot of the policy that the rollout began with"
    elif governing is not None and _is_other_policy(rollout, governing):
        note = (
            f"policy {governing.name} governs {rollout.service} now and is not what this rollout began with: "
            "the change applies from the next rollout on"
        )
    return PolicyInForce(
        name=rollout.policy_name,
        origin=governing.origin if governing is not None and governing.name == rollout.policy_name else "",
        digest=rollout.policy_digest,
        declared=_plain_yaml(rollout.policy_document),
        in_force=tuple(_in_force(policy)) if policy is not None else (),
        note=note,
    )


def _in_force(policy: Policy) -> Iterator[tuple[str, str]]:
    analysis = policy.analysis
    yield (
        "steps",
        " → ".join(
            f"{step.weight} %"
            + (" (approval)" if step.approval else f" {format_duration(step.hold)}" if step.hold else "")
            for step in policy.steps
        ),
    )
    for metric in analysis.metrics:
        yield f"metric {metric.name}", _metric_text(metric, policy)
    yield "interval", format_duration(analysis.interval)
    yield "warmup", format_duration(analysis.warmup)
    yield "window", format_duration(analysis.window)
    yield "minRequests", f"{analysis.min_requests:,.0f}"
    yield "source", analysis.source.value
    yield "onNoData", f"{analysis.on_no_data.action.value} after {format_duration(analysis.on_no_data.hold)}"
    outage = analysis.on_outage
    holds = outage.action is TimeoutAction.HOLD
    yield "onOutage", "hold" if holds else f"{outage.action.value} after {format_duration(outage.hold)}"
    yield "onInconclusive", analysis.on_inconclusive.value if analysis.on_inconclusive else "hold, up to the deadline"
    yield "progressDeadline", format_duration(policy.progress_deadline)
    yield "onFailure", policy.on_failure.value
    yield "onUnstaged", policy.on_unstaged.value
    yield "onWeightRemoved", policy.on_weight_removed.value
    if policy.windows:
        yield "windows", f"{len(policy.windows)}"
    for webhook in policy.webhooks:
        yield f"webhook {webhook.name}", webhook.type.value


def _failure_limits(metric: Metric) -> Iterator[str]:
    if metric.failure_limit is not None:
        yield f"fails at {metric.failure_limit} violations{' in a row' if metric.consecutive else ''}"
    if metric.consecutive_failure_limit is not None:
        yield f"fails at {metric.consecutive_failure_limit} violations in a row"


def _metric_text(metric: Metric, policy: Policy) -> str:
    parts = []
    if metric.range != Range():
        parts.append(describe_limit(metric.range, metric.unit))
    if metric.web is not None:
        parts.append(f"asked at {metric.web.url.partition('?')[0]}")
    if metric.compare is not None:
        parts.append("no worse than stable")
    if metric.range != Range() and not metric.objective:
        parts.extend(_failure_limits(metric))
    needed = metric.min_requests if metric.min_requests is not None else policy.analysis.min_requests
    parts.append(f"from {needed:,.0f} requests on")
    if metric.dry_run:
        parts.append("dry run: shown, never acted on")
    return ", ".join(parts)


def _plain_yaml(value: object, indent: int = 0) -> str:
    """A JSON document as indented ``name: value`` lines, to be read and not to be parsed."""
    space = "  " * indent
    if isinstance(value, dict):
        lines = []
        for name, each in value.items():
            nested = isinstance(each, dict | list) and each
            lines.append(f"{space}{name}:" + (f"\n{_plain_yaml(each, indent + 1)}" if nested else f" {_scalar(each)}"))
        return "\n".join(lines)
    if isinstance(value, list):
        lines = []
        for each in value:
            if isinstance(each, dict | list) and each:
                inner = _plain_yaml(each, indent + 1)
                lines.append(f"{space}- {inner.lstrip()}")
            else:
                lines.append(f"{space}- {_scalar(each)}")
        return "\n".join(lines)
    return f"{space}{_scalar(value)}"


def _scalar(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if not isinstance(value, dict | list) else ("{}" if isinstance(value, dict) else "[]")
