"""From the validated document to ``model.policy.Policy``: defaults and short forms resolved, units removed."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from datetime import time, tzinfo
from enum import Enum
from typing import Any

from autocanary.model import policy as core_policy
from autocanary.model.measurement import Unit, WebAnswerForm
from autocanary.model.policy import (
    DEFAULT_QUANTILE,
    FULL_WEIGHT,
    Analysis,
    ComparisonPolicy,
    Component,
    Metric,
    NotificationRoute,
    OnInconclusive,
    Policy,
    Range,
    Selector,
    Step,
    Timeout,
    Webhook,
    WebMetric,
)
from autocanary.model.rollout_windows import Window
from autocanary.policy_files import analysis_schema, schema
from autocanary.policy_files.cross_field_checks import with_sample_values
from autocanary.policy_files.metric_presets import PRESETS
from autocanary.policy_files.units import parse_threshold
from autocanary.promql import result_type

__all__ = ["DEFAULT_METRICS", "MIN_COMPARED_STEP", "compile_policy", "digest_of"]

MIN_COMPARED_STEP = 120.0
"""Seconds that a step without a duration of its own lasts at least, while comparisons gather evidence: later
steps find the evidence of the earlier ones, and nothing that happens after some time would be seen.
"""

DEFAULT_METRICS = (
    analysis_schema.MetricFields.model_validate({"name": "error-rate", "compare": {}}),
    analysis_schema.MetricFields.model_validate({"name": "request-duration", "compare": {}}),
)
"""What is evaluated where the policy names no metric."""

_DAYS = list(schema.Day)
_NOT_IN_DIGEST = frozenset({"name", "namespace", "digest", "origin", "document"})


def compile_policy(document: schema.Document, raw: Mapping[str, Any], origin: str) -> Policy:
    """The policy; ``raw`` is the spec as its author wrote it, kept for snapshots."""
    spec = document.spec
    analysis = _analysis(spec.analysis)
    steps = _steps(spec, analysis)
    policy = Policy(
        name=document.metadata.name,
        namespace=document.metadata.namespace or "",
        selector=Selector(
            names=tuple(spec.selector.names),
            namespaces=tuple(spec.selector.namespaces),
            labels=tuple(sorted(spec.selector.match_labels.items())),
        ),
        steps=steps,
        analysis=analysis,
        component=spec.component,
        after=tuple(each for each in Component if each in spec.after),
        bake=spec.bake,
        progress_deadline=spec.progress_deadline,
        step_timeout=spec.step_timeout,
        on_failure=spec.on_failure.action,
        candidate_cleanup=spec.on_failure.candidate,
        on_unstaged=spec.on_unstaged,
        on_weight_removed=spec.on_weight_removed,
        windows=tuple(_window(each) for each in spec.windows),
        webhooks=tuple(_webhook(each) for each in spec.webhooks),
        notifications=tuple(_route(each) for each in spec.notifications),
        origin=origin,
        document=json.loads(json.dumps(raw)),
    )
    return dataclasses.replace(policy, digest=digest_of(policy))


def digest_of(policy: Policy) -> str:
    """16 hexadecimal digits that are equal for policies that mean the same, however they are written."""
    meaning = {
        each.name: _to_json_value(getattr(policy, each.name))
        for each in dataclasses.fields(policy)
        if each.name not in _NOT_IN_DIGEST
    }
    canonical = json.dumps(meaning, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def _to_json_value(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, time):
        return value.isoformat("minutes")
    if isinstance(value, tzinfo):
        return str(value)
    if isinstance(value, tuple):
        return [_to_json_value(each) for each in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        meaning = (each.name for each in dataclasses.fields(value) if each.compare)
        return {name: _to_json_value(getattr(value, name)) for name in meaning}
    # 10 and 10.0 mean the same; JSON would write them differently.
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _steps(spec: schema.Spec, analysis: Analysis) -> tuple[Step, ...]:
    steps = _short_form(spec) if spec.step_weights is not None else _long_form(spec, analysis)
    steps = [
        dataclasses.replace(each, hold=MIN_COMPARED_STEP)
        if not each.hold and any(metric.compare for metric in (each.analysis or analysis).gating)
        else each
        for each in steps
    ]
    if steps[-1].weight < FULL_WEIGHT:
        steps.append(Step(FULL_WEIGHT, 0.0, False, steps[-1].analysis, steps[-1].analysis_from))
    last = steps[-1]
    steps[-1] = dataclasses.replace(last, hold=max(last.hold, spec.bake))
    return tuple(steps)


def _short_form(spec: schema.Spec) -> list[Step]:
    return [Step(weight, hold=spec.step_duration or 0.0) for weight in spec.step_weights or []]


def _long_form(spec: schema.Spec, analysis: Analysis) -> list[Step]:
    """Pauses after a weight add up; one without a duration also waits for a user.

    What a step changes in the analysis holds for the steps after it as well.
    """
    steps: list[Step] = []
    written, current, analysis_from = spec.analysis, analysis, 0
    for each in spec.steps or []:
        if each.set_weight is not None:
            if each.analysis is not None:
                written, analysis_from = _changed_analysis(written, each.analysis), len(steps) + 1
                current = _analysis(written)
            changed = current if analysis_from else None
            steps.append(Step(each.set_weight, 0.0, False, changed, analysis_from))
        elif each.pause is not None and each.pause.duration is not None:
            steps[-1] = dataclasses.replace(steps[-1], hold=steps[-1].hold + each.pause.duration)
        else:
            steps[-1] = dataclasses.replace(steps[-1], approval=True)
    return steps


def _changed_analysis(
    written: analysis_schema.AnalysisFields, change: analysis_schema.StepAnalysisFields
) -> analysis_schema.AnalysisFields:
    """The fields that are written at a step replace those before; its warm-up is that of the first step, too."""
    changes = {name: getattr(change, name) for name in change.model_fields_set}
    return written.model_copy(update=changes | ({"first_warmup": None} if "warmup" in changes else {}))


def _analysis(raw: analysis_schema.AnalysisFields) -> Analysis:
    metrics = tuple(_metric(each, raw.preset) for each in raw.metrics or DEFAULT_METRICS)
    compared = any(metric.compare is not None and not metric.dry_run for metric in metrics)
    return Analysis(
        metrics=metrics,
        interval=raw.interval,
        warmup=raw.warmup,
        window=max(core_policy.LEAST_WINDOW, raw.interval) if raw.window is None else raw.window,
        window_follows=raw.window is None,
        server=raw.prometheus_ref.name if raw.prometheus_ref is not None else "",
        cancelled_calls=raw.cancelled_calls,
        min_requests=float(raw.min_requests),
        source=raw.source,
        on_no_data=Timeout(raw.on_no_data.hold, raw.on_no_data.then),
        on_outage=Timeout(raw.on_outage.hold, raw.on_outage.then),
        on_inconclusive=raw.on_inconclusive or (OnInconclusive.HOLD if compared else None),
        first_warmup=raw.first_warmup,
        max_failed_requests=raw.max_failed_requests,
    )


def _metric(raw: analysis_schema.MetricFields, default_preset: core_policy.ComparisonPreset) -> Metric:
    preset = PRESETS[raw.name] if raw.query is None and raw.web is None else None
    unit = preset.unit if preset is not None else Unit.NUMBER
    if raw.web is not None and raw.web.answer is WebAnswerForm.COUNTS:
        unit = Unit.PERCENT
    one = preset is not None and preset.one_is_ratio
    limits = raw.threshold_range or analysis_schema.ThresholdRange()
    low, high = limits.min, limits.max
    has_failure_limit = bool({"failure_limit", "consecutive", "consecutive_failure_limit"} & raw.model_fields_set)
    only_in_a_row = raw.consecutive_failure_limit is not None and "failure_limit" not in raw.model_fields_set
    quantile = raw.quantile
    if quantile is None and preset is not None and preset.has_quantile:
        quantile = DEFAULT_QUANTILE
    return Metric(
        name=raw.name,
        range=Range(
            min=None if low is None else parse_threshold(low, unit, one_is_ratio=one),
            max=None if high is None else parse_threshold(high, unit, one_is_ratio=one),
        ),
        unit=unit,
        query=raw.query or "",
        query_type="" if raw.query is None else result_type(with_sample_values(raw.query)) or "",
        quantile=quantile,
        failure_limit=None if only_in_a_row else raw.failure_limit,
        consecutive=raw.consecutive,
        dry_run=raw.dry_run,
        min_requests=None if raw.min_requests is None else float(raw.min_requests),
        window=raw.window,
        compare=_compare(raw.compare, default_preset),
        objective=raw.compare is not None and raw.threshold_range is not None and not has_failure_limit,
        consecutive_failure_limit=raw.consecutive_failure_limit,
        consecutive_success_limit=raw.consecutive_success_limit,
        web=_web(raw.web),
    )


def _web(raw: analysis_schema.WebFields | None) -> WebMetric | None:
    if raw is None:
        return None
    credentials = raw.credentials_ref.name if raw.credentials_ref is not None else ""
    return WebMetric(raw.url, raw.answer, raw.timeout, credentials)


def _compare(
    raw: analysis_schema.Compare | None, default_preset: core_policy.ComparisonPreset
) -> ComparisonPolicy | None:
    if raw is None:
        return None
    return ComparisonPolicy(raw.margin, raw.confidence, raw.preset or default_preset, raw.ratio)


def _window(raw: schema.WindowSpec) -> Window:
    return Window(
        days=tuple(sorted(_DAYS.index(day) for day in raw.days)),
        start=raw.from_,
        end=raw.to,
        zone=raw.timezone,
    )


def _webhook(raw: schema.WebhookSpec) -> Webhook:
    return Webhook(
        name=raw.name,
        type=raw.type,
        url=raw.url,
        timeout=raw.timeout,
        retries=raw.retries,
        metadata=tuple(sorted(raw.metadata.items())),
    )


def _route(raw: schema.NotificationSpec) -> NotificationRoute:
    return NotificationRoute(
        events=tuple(each.value for each in raw.events),
        slack_channel=raw.slack.channel if raw.slack is not None else "",
        slack_mention=tuple(raw.slack.mention) if raw.slack is not None else (),
        webhook=raw.webhook.url if raw.webhook is not None else "",
    )
