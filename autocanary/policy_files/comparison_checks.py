"""What a policy says about comparisons with stable, and what that says about its steps.

Like ``cross_field_checks``: each check reads the document as it was written and ignores what others check.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from autocanary.model.policy import FULL_WEIGHT
from autocanary.policy_files.metric_presets import COMPARABLE, PRESETS
from autocanary.policy_files.policy_errors import FieldPath, FieldProblem
from autocanary.policy_files.raw_document import RawMapping, get_list, get_mapping
from autocanary.policy_files.units import format_value, parse_seconds

__all__ = ["check_comparisons", "check_late_comparisons", "check_metric", "has_comparison", "metric_lists"]

_SAME_COUNTS = ("error-rate", "request-success-rate")
_COMPARED_BY_DEFAULT = ("error-rate", "request-duration")


def metric_lists(spec: RawMapping) -> Iterator[tuple[FieldPath, list[Any]]]:
    """Every list of metrics that is written, the policy's own and then the steps', and where."""
    yield ("spec", "analysis", "metrics"), get_list(get_mapping(spec, "analysis"), "metrics")
    for index, step in enumerate(get_list(spec, "steps")):
        analysis = get_mapping(step, "analysis")
        if analysis is not None and "metrics" in analysis:
            yield ("spec", "steps", index, "analysis", "metrics"), get_list(analysis, "metrics")


def has_comparison(spec: RawMapping) -> bool:
    """Whether some metric that decides is compared with stable, so that a step can wait for its evidence."""
    analysis = get_mapping(spec, "analysis")
    if analysis is None or not isinstance(analysis.get("metrics"), list):
        return True  # errors and latency are compared, or another check reports what is wrong
    metrics = [each for each in analysis["metrics"] if isinstance(each, dict)]
    return any("compare" in each and each.get("dryRun") is not True for each in metrics)


def check_metric(metric: RawMapping, here: FieldPath) -> Iterator[FieldProblem]:
    """A metric of a known kind: its limits or its comparison, and whether it can have that."""
    name = metric.get("name")
    web = get_mapping(metric, "web")
    own = "query" in metric or "web" in metric
    comparable = (name in COMPARABLE and not own) or (web is not None and web.get("answer") == "counts")
    if "compare" in metric and not comparable:
        known = " and ".join((", ".join(COMPARABLE[:-1]), COMPARABLE[-1]))
        what = "the answer of a query" if "query" in metric else format_value(name)
        message = f"{what} cannot be compared with stable: it does not count good and bad requests"
        hint = f"use thresholdRange; {known} can be compared"
        if "web" in metric:
            message, hint = "a value cannot be compared with stable", "let it answer: counts, or use thresholdRange"
        yield FieldProblem((*here, "compare"), message, hint, at_key=True)
    if "thresholdRange" in metric:
        return
    if "compare" not in metric:
        preset = PRESETS.get(name) if isinstance(name, str) and not own else None
        example = preset.example if preset is not None else "{max: 2%}" if comparable else "{max: 0}"
        or_compare = ", or compare: {to: stable}" if comparable else ""
        message = "nothing says what is acceptable"
        yield FieldProblem(here, message, f"add thresholdRange: {example}{or_compare}")
        return
    for field in ("failureLimit", "consecutive", "consecutiveFailureLimit", "consecutiveSuccessLimit"):
        if field in metric:
            message = "there is no thresholdRange whose violations could be counted"
            hint = "leave it out: a comparison decides by its confidence"
            yield FieldProblem((*here, field), message, hint, at_key=True)


def check_comparisons(spec: RawMapping) -> Iterator[FieldProblem]:
    """The same counts are not compared twice, and a step's timeout leaves it its time."""
    yield from _check_same_counts(spec)
    yield from _check_dry_runs(spec)
    yield from _check_step_timeout(spec)


def check_late_comparisons(document: RawMapping) -> Iterator[FieldProblem]:
    """Warnings: a comparison that begins at 100 %, where stable has no traffic, has nothing to compare with."""
    before: set[str] = set()
    for weight, compared in _compared_at_weights(get_mapping(document, "spec") or {}):
        for name, here in compared.items() if weight == FULL_WEIGHT else ():
            if name not in before:
                message = f"the comparison of {name} begins at 100 %, where stable has no traffic: it finds no failure"
                hint = "compare it at a lower weight too, or give it a thresholdRange and failureLimit"
                yield FieldProblem(here, message, hint, severity="warning")
        before |= compared.keys()


def _compared_at_weights(spec: RawMapping) -> Iterator[tuple[Any, dict[str, FieldPath]]]:
    """Each weight that is written, and the metrics that are compared there and decide, with their places."""
    short = "stepWeights" in spec
    base: FieldPath = ("spec", "stepWeights" if short else "steps")
    written = get_mapping(spec, "analysis") or {}
    compared = dict.fromkeys(_COMPARED_BY_DEFAULT, base)
    if "metrics" in written:
        compared = _deciding_comparisons(written, ("spec", "analysis", "metrics"))
    if short:
        yield from ((weight, compared) for weight in get_list(spec, "stepWeights"))
        return
    for index, step in enumerate(get_list(spec, "steps")):
        change = get_mapping(step, "analysis")
        if change is not None and "metrics" in change:
            compared = _deciding_comparisons(change, ("spec", "steps", index, "analysis", "metrics"))
        if isinstance(step, dict) and "setWeight" in step:
            yield step["setWeight"], compared


def _deciding_comparisons(analysis: RawMapping, base: FieldPath) -> dict[str, FieldPath]:
    metrics = enumerate(get_list(analysis, "metrics"))
    return {
        metric["name"]: (*base, index)
        for index, metric in metrics
        if isinstance(metric, dict) and "compare" in metric and metric.get("dryRun") is not True
        if isinstance(metric.get("name"), str)
    }


def _compared(spec: RawMapping) -> Iterator[tuple[FieldPath, RawMapping]]:
    for base, metrics in metric_lists(spec):
        for index, metric in enumerate(metrics):
            if isinstance(metric, dict) and "compare" in metric:
                yield (*base, index), metric


def _check_same_counts(spec: RawMapping) -> Iterator[FieldProblem]:
    found: list[str] = []
    for here, metric in _compared(spec):
        if metric.get("name") not in _SAME_COUNTS:
            continue
        if found and metric["name"] not in found:
            message = f"{metric['name']} and {found[0]} compare the same requests"
            hint = "keep compare in one of the two; the other may have a thresholdRange"
            yield FieldProblem((*here, "compare"), message, hint, at_key=True)
        found.append(metric["name"])


def _check_dry_runs(spec: RawMapping) -> Iterator[FieldProblem]:
    """The evidence is that of the whole rollout: a metric cannot count for a part of it."""
    decides: dict[str, bool] = {}
    for here, metric in _compared(spec):
        name, is_dry = metric.get("name"), metric.get("dryRun") is True
        if not isinstance(name, str):
            continue
        if decides.setdefault(name, not is_dry) == is_dry:
            message = f"the comparison of {name} decides at one step and is a dry run at another"
            hint = "write dryRun the same at all steps: its evidence is that of the whole rollout"
            at_key = "dryRun" in metric
            yield FieldProblem((*here, "dryRun") if at_key else here, message, hint, at_key=at_key)


def _check_step_timeout(spec: RawMapping) -> Iterator[FieldProblem]:
    limit = parse_seconds(spec.get("stepTimeout"))
    if limit is None:
        return
    longest, field = parse_seconds(spec.get("stepDuration")) or 0.0, "stepDuration"
    held = 0.0
    for step in get_list(spec, "steps"):
        if isinstance(step, dict) and "setWeight" in step:
            held = 0.0
        held += parse_seconds((get_mapping(step, "pause") or {}).get("duration")) or 0.0
        if held > longest:
            longest, field = held, "pause"
    if limit < longest:
        message = f"{format_value(spec['stepTimeout'])} is shorter than the {field}, so the step could never pass"
        yield FieldProblem(("spec", "stepTimeout"), message, "the evidence needs more time than the step lasts")
