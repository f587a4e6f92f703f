"""From rows to readings: which of the several kinds of "no number" this one is. Pure.

The order of the checks is the order of doubt: no answer, an incomplete answer, an old answer, no requests,
and only then a number.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from autocanary.errors import MetricsError, MetricsRefused
from autocanary.model.measurement import Counters, Question, Reading, ReadingKind, Source, Unit
from autocanary.prometheus.exporter_discovery import Found, looked_for
from autocanary.prometheus.preset_queries import Traffic, ceiling, summary_hint
from autocanary.prometheus.presets import DEFAULT_QUANTILE, PRESETS, RATES, Variant
from autocanary.prometheus.query_answer import Answer
from autocanary.prometheus.query_plan import Result
from autocanary.promql import duration

__all__ = ["Evidence", "custom_reading", "preset_reading", "undiscovered", "unsupported", "with_counters"]

_LONGEST_DETAIL = 400


@dataclass(frozen=True, slots=True)
class Evidence:
    """What Prometheus said about one question.

    ``measured`` is None where the preset follows from the traffic alone, or where no row came; ``seen`` is
    whether the source is known to measure this service.
    """

    traffic: Traffic = field(default_factory=Traffic)
    measured: float | None = None
    error: MetricsError | None = None
    warning: str = ""
    seen: bool = False


def unsupported(question: Question, why: str, source: Source | None = None) -> Reading:
    """The source cannot give this, and never will."""
    if source is None and question.source is not Source.AUTO:
        source = question.source
    return Reading(ReadingKind.UNSUPPORTED, unit=_unit(question), source=source, detail=why)


def undiscovered(question: Question, found: Found) -> Reading:
    """No source is known to measure the service."""
    unit = _unit(question)
    if found.error is not None:
        return Reading(_failure(found.error), unit=unit, detail=_short(str(found.error)))
    if found.warning:
        return Reading(ReadingKind.PARTIAL, unit=unit, detail=_short(found.warning))
    return Reading(
        ReadingKind.NO_SERIES,
        unit=unit,
        detail=f"nothing measures {_who(question)}; looked for {looked_for(question.source)}",
    )


def preset_reading(question: Question, variant: Variant, evidence: Evidence) -> Reading:
    """The one reading of a preset."""
    traffic = evidence.traffic

    def reading(kind: ReadingKind, value: float | None = None, detail: str = "") -> Reading:
        return Reading(
            kind, value, _unit(question), traffic.requests, traffic.age, variant.source, _short(detail)
        )

    if evidence.error is not None:
        return reading(_failure(evidence.error), detail=str(evidence.error))
    value = _value(question, evidence)
    number = value if value is not None and math.isfinite(value) else None
    if evidence.warning:
        return reading(ReadingKind.PARTIAL, number, f"Prometheus warns: {evidence.warning}")
    if traffic.age is not None and traffic.age > question.window:
        age, window = duration(round(traffic.age)), duration(question.window)
        detail = f"the newest sample is {age} old, older than the window of {window}"
        return reading(ReadingKind.STALE, number, detail)
    if traffic.count is None:
        return _without_count(question, variant, evidence)
    if traffic.age is None:
        window = duration(question.window)
        return reading(
            ReadingKind.STALE, number, f"the scrape of {_where(variant)} has stopped within the last {window}"
        )
    if traffic.count <= 0 and math.isfinite(traffic.count):
        return reading(
            ReadingKind.NO_SERIES, detail=f"no request was completed within {duration(question.window)}"
        )
    if value is None:
        return _without_value(question, variant, traffic)
    if number is None:
        detail = f"{question.metric} is {value} over {duration(question.window)}"
        return reading(ReadingKind.NOT_A_NUMBER, detail=detail)
    return reading(ReadingKind.VALUE, number, _saturated(question, variant, number))


def with_counters(reading: Reading, counters: Counters | None, trouble: str) -> Reading:
    """The reading, with the counts beside it; what is wrong with those is no fault of the value."""
    if trouble and trouble not in reading.detail:
        about = f"no new counts: {trouble}" if counters is not None else f"no counts: {trouble}"
        detail = f"{reading.detail}; {about}" if reading.detail else about
        reading = replace(reading, detail=_short(detail))
    return replace(reading, counters=counters)


def _without_count(question: Question, variant: Variant, evidence: Evidence) -> Reading:
    """No increase: never scraped, just begun, or silent."""
    unit, age = _unit(question), evidence.traffic.age
    if age is not None:
        detail = (
            f"fewer than two samples of {variant} within {duration(question.window)}: they have just"
            " begun, or the window is shorter than two scrape intervals"
        )
        return Reading(
            ReadingKind.NO_SERIES, unit=unit, age=age, source=variant.source, detail=_short(detail)
        )
    if evidence.seen:
        detail = f"no request has reached {question.revision}: it has no series of {variant}"
        return Reading(
            ReadingKind.NO_SERIES, unit=unit, requests=0.0, source=variant.source, detail=_short(detail)
        )
    detail = f"nothing measures {_who(question)}; looked for {variant}"
    return Reading(ReadingKind.NO_SERIES, unit=unit, source=variant.source, detail=_short(detail))


def _without_value(question: Question, variant: Variant, traffic: Traffic) -> Reading:
    """Requests are counted, yet the preset's own series are missing."""
    hint = summary_hint(variant, question.metric)
    kind = ReadingKind.UNSUPPORTED if hint else ReadingKind.NO_SERIES
    names = " or ".join(measure.metric for measure in variant.meter.measures[question.metric])
    detail = hint or f"{names} has no series for {question.revision} although requests are counted"
    return Reading(kind, None, _unit(question), traffic.requests, traffic.age, variant.source, _short(detail))


def _value(question: Question, evidence: Evidence) -> float | None:
    count, failed = evidence.traffic.count, evidence.traffic.failed
    if question.metric == "request-count":
        return count
    if question.metric not in RATES:
        return evidence.measured
    if count is not None and not math.isfinite(count):
        return count
    if count is None or count <= 0:
        return None
    # Failures are a part of the requests; only rounding could make them more.
    share = min(failed / count, 1.0) * 100
    return share if question.metric == "error-rate" else 100 - share


def _saturated(question: Question, variant: Variant, value: float) -> str:
    if question.metric == "request-count" or question.metric in RATES:
        return ""
    most = ceiling(variant, question.metric)
    if most is None or value < most:
        return ""
    quantile = question.quantile or DEFAULT_QUANTILE
    return f"at least {most:g} s: the histogram ends there, so the {quantile:g} quantile may be longer"


def custom_reading(result: Result, requests: float | None) -> Reading:
    """The one reading of a query of the policy's own."""
    if isinstance(result, MetricsError):
        return Reading(_failure(result), requests=requests, detail=_short(str(result)))
    kind, value, detail = _custom(result)
    if result.warnings:
        kind, detail = ReadingKind.PARTIAL, f"Prometheus warns: {'; '.join(result.warnings)}"
    return Reading(kind, value, requests=requests, detail=_short(detail))


def _custom(answer: Answer) -> tuple[ReadingKind, float | None, str]:
    if answer.kind not in ("vector", "scalar"):
        wanted = "wrap it so that it gives one number, for example sum(rate(…))"
        return ReadingKind.AMBIGUOUS, None, f"the query gives a {answer.kind}, not a number: {wanted}"
    if not answer.samples:
        return ReadingKind.NO_SERIES, None, "the query gives no series"
    if len(answer.samples) > 1:
        examples = " and ".join(_labels(sample.labels) for sample in answer.samples[:2])
        many = f"the query gives {len(answer.samples)} series, for example {examples}"
        detail = f"{many}: aggregate it, for example with sum()"
        return ReadingKind.AMBIGUOUS, None, detail
    value = answer.samples[0].value
    if value is None:
        remedy = "wrap it in histogram_quantile() or histogram_avg()"
        detail = f"the query gives a native histogram, not a number: {remedy}"
        return ReadingKind.NOT_A_NUMBER, None, detail
    if not math.isfinite(value):
        return ReadingKind.NOT_A_NUMBER, None, f"the query gives {value}"
    return ReadingKind.VALUE, value, ""


def _labels(labels: object) -> str:
    items = sorted(labels.items()) if isinstance(labels, dict) else []
    return "{" + ", ".join(f'{name}="{value}"' for name, value in items) + "}"


def _failure(error: MetricsError) -> ReadingKind:
    return ReadingKind.REFUSED if isinstance(error, MetricsRefused) else ReadingKind.OUTAGE


def _unit(question: Question) -> Unit:
    return PRESETS.get(question.metric, Unit.NUMBER)


def _who(question: Question) -> str:
    revisions = dict.fromkeys((question.revision, question.stable or question.revision))
    return f"{question.namespace}/{' or '.join(revisions)}"


def _where(variant: Variant) -> str:
    return variant.meter.counted[0].metric


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_DETAIL else f"{text[:_LONGEST_DETAIL]}…"
