"""From the validated document to ``core.policy.Policy``: defaults and short forms resolved, units removed."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from datetime import time, tzinfo
from enum import Enum
from typing import Any

from autocanary.model import policy as core_policy
from autocanary.model.measurement import Unit
from autocanary.model.policy import (
    Analysis,
    Compare,
    Component,
    Grace,
    Metric,
    NotificationRoute,
    OnInconclusive,
    Policy,
    Range,
    Selector,
    Step,
    Webhook,
)
from autocanary.model.rollout_windows import Window
from autocanary.policy_files import analysis_schema, schema
from autocanary.policy_files.metric_presets import DEFAULT_QUANTILE, PRESETS
from autocanary.policy_files.units import bound

__all__ = ["DEFAULT_METRICS", "LEAST_STEP", "compile_policy", "digest_of"]

LEAST_STEP = 120.0
"""Seconds that a step without a duration of its own lasts at least, while comparisons gather evidence: later
steps find the evidence of the earlier ones, and nothing that happens after some time would be seen.
"""

DEFAULT_METRICS = (
    analysis_schema.Metric.model_validate({"name": "error-rate", "compare": {}}),
    analysis_schema.Metric.model_validate({"name": "request-duration", "compare": {}}),
)
"""What is judged where the policy names no metric."""

_FULL = 100
_DAYS = list(schema.Day)
_NOT_MEANING = frozenset({"name", "namespace", "digest", "origin", "document"})


def compile_policy(document: schema.Document, written: Mapping[str, Any], origin: str) -> Policy:
    """The policy; ``written`` is the spec as its author wrote it, kept for snapshots."""
    spec = document.spec
    analysis = _analysis(spec.analysis)
    policy = Policy(
        name=document.metadata.name,
        namespace=document.metadata.namespace or "",
        selector=Selector(
            names=tuple(spec.selector.names),
            namespaces=tuple(spec.selector.namespaces),
            labels=tuple(sorted(spec.selector.match_labels.items())),
        ),
        steps=_steps(spec, paced=any(metric.compare for metric in analysis.gating)),
        analysis=analysis,
        component=spec.component,
        after=tuple(each for each in Component if each in spec.after),
        bake=spec.bake,
        progress_deadline=spec.progress_deadline,
        step_timeout=spec.step_timeout,
        on_failure=spec.on_failure.action,
        leftover=spec.on_failure.candidate,
        on_unstaged=spec.on_unstaged,
        on_weight_removed=spec.on_weight_removed,
        windows=tuple(_window(each) for each in spec.windows),
        webhooks=tuple(_webhook(each) for each in spec.webhooks),
        notifications=tuple(_route(each) for each in spec.notifications),
        origin=origin,
        document=json.loads(json.dumps(written)),
    )
    return dataclasses.replace(policy, digest=digest_of(policy))


def digest_of(policy: Policy) -> str:
    """16 hexadecimal digits that are equal for policies that mean the same, however they are written."""
    meaning = {
        each.name: _plain(getattr(policy, each.name))
        for each in dataclasses.fields(policy)
        if each.name not in _NOT_MEANING
    }
    canonical = json.dumps(meaning, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, time):
        return value.isoformat("minutes")
    if isinstance(value, tzinfo):
        return str(value)
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {each.name: _plain(getattr(value, each.name)) for each in dataclasses.fields(value)}
    # 10 and 10.0 mean the same; JSON would write them differently.
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _steps(spec: schema.Spec, *, paced: bool) -> tuple[Step, ...]:
    steps = _short_form(spec) if spec.step_weights is not None else _long_form(spec.steps or [])
    if paced:
        least = LEAST_STEP
        steps = [each if each.hold else dataclasses.replace(each, hold=least) for each in steps]
    if steps[-1].weight < _FULL:
        steps.append(Step(_FULL, hold=0.0))
    last = steps[-1]
    steps[-1] = dataclasses.replace(last, hold=max(last.hold, spec.bake))
    return tuple(steps)


def _short_form(spec: schema.Spec) -> list[Step]:
    return [Step(weight, hold=spec.step_duration or 0.0) for weight in spec.step_weights or []]


def _long_form(written: list[schema.Step]) -> list[Step]:
    """Pauses after a weight add up; one without a duration waits for a person besides."""
    steps: list[Step] = []
    for each in written:
        if each.set_weight is not None:
            steps.append(Step(each.set_weight, hold=0.0))
        elif each.pause is not None and each.pause.duration is not None:
            steps[-1] = dataclasses.replace(steps[-1], hold=steps[-1].hold + each.pause.duration)
        else:
            steps[-1] = dataclasses.replace(steps[-1], approval=True)
    return steps


def _analysis(written: analysis_schema.Analysis) -> Analysis:
    metrics = tuple(_metric(each, written.preset) for each in written.metrics or DEFAULT_METRICS)
    compared = any(metric.compare is not None and not metric.dry_run for metric in metrics)
    return Analysis(
        metrics=metrics,
        interval=written.interval,
        warmup=written.warmup,
        window=written.window,
        min_requests=float(written.min_requests),
        source=written.source,
        on_no_data=Grace(written.on_no_data.hold, written.on_no_data.then),
        on_outage=Grace(written.on_outage.hold, written.on_outage.then),
        on_inconclusive=written.on_inconclusive or (OnInconclusive.HOLD if compared else None),
    )


def _metric(written: analysis_schema.Metric, preset_of_all: core_policy.Preset) -> Metric:
    preset = PRESETS[written.name] if written.query is None else None
    unit = preset.unit if preset is not None else Unit.NUMBER
    one = preset is not None and preset.one_is_ratio
    limits = written.threshold_range or analysis_schema.ThresholdRange()
    low, high = limits.min, limits.max
    counted = bool({"failure_limit", "consecutive"} & written.model_fields_set)
    quantile = written.quantile
    if quantile is None and preset is not None and preset.has_quantile:
        quantile = DEFAULT_QUANTILE
    return Metric(
        name=written.name,
        range=Range(
            min=None if low is None else bound(low, unit, one_is_ratio=one),
            max=None if high is None else bound(high, unit, one_is_ratio=one),
        ),
        unit=unit,
        query=written.query or "",
        quantile=quantile,
        failure_limit=written.failure_limit,
        consecutive=written.consecutive,
        dry_run=written.dry_run,
        min_requests=None if written.min_requests is None else float(written.min_requests),
        window=written.window,
        compare=_compare(written.compare, preset_of_all),
        objective=written.compare is not None and written.threshold_range is not None and not counted,
    )


def _compare(written: analysis_schema.Compare | None, preset_of_all: core_policy.Preset) -> Compare | None:
    if written is None:
        return None
    return Compare(written.margin, written.confidence, written.preset or preset_of_all)


def _window(written: schema.WindowSpec) -> Window:
    return Window(
        days=tuple(sorted(_DAYS.index(day) for day in written.days)),
        start=written.from_,
        end=written.to,
        zone=written.timezone,
    )


def _webhook(written: schema.WebhookSpec) -> Webhook:
    return Webhook(
        name=written.name,
        type=written.type,
        url=written.url,
        timeout=written.timeout,
        retries=written.retries,
        metadata=tuple(sorted(written.metadata.items())),
    )


def _route(written: schema.NotificationSpec) -> NotificationRoute:
    return NotificationRoute(
        events=tuple(each.value for each in written.events),
        slack_channel=written.slack.channel if written.slack is not None else "",
        slack_mention=tuple(written.slack.mention) if written.slack is not None else (),
        webhook=written.webhook.url if written.webhook is not None else "",
    )
