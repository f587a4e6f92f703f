"""What a policy says about comparisons with stable, and what that says about its steps.

Like ``rules``: each rule reads the document as it was written and tolerates what is not its business.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from autocanary.policy_files.metric_presets import COMPARABLE, PRESETS
from autocanary.policy_files.policy_errors import Fault, Path
from autocanary.policy_files.raw_document import Written, entries, mapping
from autocanary.policy_files.units import QuantityError, duration, shown

__all__ = ["check_comparisons", "check_metric", "compares"]

_METRICS: Path = ("spec", "analysis", "metrics")
_SAME_COUNTS = ("error-rate", "request-success-rate")


def compares(spec: Written) -> bool:
    """Whether some metric that decides is compared with stable, so that a step can wait for its evidence."""
    analysis = mapping(spec, "analysis")
    if analysis is None or not isinstance(analysis.get("metrics"), list):
        return True  # errors and latency are compared, or something else is wrong, which is told
    metrics = [each for each in analysis["metrics"] if isinstance(each, dict)]
    return any("compare" in each and each.get("dryRun") is not True for each in metrics)


def check_metric(metric: Written, here: Path) -> Iterator[Fault]:
    """A metric of a known kind: its limits or its comparison, and whether it can have that."""
    name = metric.get("name")
    comparable = "query" not in metric and name in COMPARABLE
    if "compare" in metric and not comparable:
        known = " and ".join((", ".join(COMPARABLE[:-1]), COMPARABLE[-1]))
        what = "the answer of a query" if "query" in metric else shown(name)
        message = f"{what} cannot be compared with stable: it does not count good and bad requests"
        yield Fault((*here, "compare"), message, f"use thresholdRange; {known} can be compared", at_key=True)
    if "thresholdRange" in metric:
        return
    if "compare" not in metric:
        preset = PRESETS.get(name) if isinstance(name, str) and "query" not in metric else None
        example = preset.example if preset is not None else "{max: 0}"
        or_compare = ", or compare: {to: stable}" if comparable else ""
        message = "nothing says what is acceptable"
        yield Fault(here, message, f"add thresholdRange: {example}{or_compare}")
        return
    for field in ("failureLimit", "consecutive"):
        if field in metric:
            message = "there is no thresholdRange whose breaches could be counted"
            hint = "leave it out: a comparison decides by its confidence"
            yield Fault((*here, field), message, hint, at_key=True)


def check_comparisons(spec: Written) -> Iterator[Fault]:
    """The same counts are not compared twice, and a step's timeout leaves it its time."""
    yield from _same_counts(spec)
    yield from _timeout(spec)


def _same_counts(spec: Written) -> Iterator[Fault]:
    found: list[str] = []
    for index, metric in enumerate(entries(mapping(spec, "analysis"), "metrics")):
        if not isinstance(metric, dict) or "compare" not in metric or metric.get("name") not in _SAME_COUNTS:
            continue
        if found and metric["name"] not in found:
            message = f"{metric['name']} and {found[0]} compare the same requests"
            hint = "keep compare in one of the two; the other may have a thresholdRange"
            yield Fault((*_METRICS, index, "compare"), message, hint, at_key=True)
        found.append(metric["name"])


def _timeout(spec: Written) -> Iterator[Fault]:
    limit = _seconds(spec.get("stepTimeout"))
    if limit is None:
        return
    longest, field = _seconds(spec.get("stepDuration")) or 0.0, "stepDuration"
    held = 0.0
    for step in entries(spec, "steps"):
        if isinstance(step, dict) and "setWeight" in step:
            held = 0.0
        held += _seconds((mapping(step, "pause") or {}).get("duration")) or 0.0
        if held > longest:
            longest, field = held, "pause"
    if limit < longest:
        message = f"{shown(spec['stepTimeout'])} is shorter than the {field}, so the step could never pass"
        yield Fault(("spec", "stepTimeout"), message, "give the evidence more time than the step lasts")


def _seconds(value: Any) -> float | None:
    try:
        return duration(value)
    except QuantityError:
        return None
