"""From the answers about both revisions to a measurement: which kind of "no number" this one is. Pure.

The order of the checks is that of presets: no answer, no data, an old answer, nothing counted, and only then a number.
"""

from __future__ import annotations

from dataclasses import replace

from autocanary.errors import MetricsError, MetricsRefused
from autocanary.model.foreign_text import clean_text
from autocanary.model.measurement import (
    Measurement,
    MeasurementKind,
    MetricQuery,
    RequestCounters,
    RequestTotals,
    Unit,
    WebAnswerForm,
    WebQuestion,
)
from autocanary.model.value_wording import format_duration
from autocanary.web_metrics.web_answer import WebAnswer
from autocanary.web_metrics.web_history import LONGEST_GAP_IN_WINDOWS, WindowCounts

__all__ = ["SideAnswer", "measurement_of", "unit_of"]

_ACCOUNT = "web"
"""The counts are the service's own: they outlive autocanary's restarts, and one that fell is seen as such."""
_ACCOUNT_WITHOUT_STABLE = "web-without-stable"
_ADVISED_GAPS_IN_WINDOW = 3
_REASON_LIMIT = 120

SideAnswer = WebAnswer | MetricsError


def unit_of(question: WebQuestion) -> Unit:
    """Percent of bad ones, or whatever the service's value is."""
    return Unit.PERCENT if question.form is WebAnswerForm.COUNTS else Unit.NUMBER


def measurement_of(
    metric_query: MetricQuery,
    question: WebQuestion,
    candidate: SideAnswer,
    stable: SideAnswer | None,
    counted: WindowCounts | None,
    now: float,
    *,
    origin: str,
    shows_reason: bool,
    last_of_stable: WebAnswer | None = None,
) -> Measurement:
    """``stable`` is None where it was not asked about; ``counted`` is the candidate's in the window.

    ``last_of_stable`` are the counts that the service had of stable when it last had any.

    ``now`` is in epoch seconds; ``origin`` names the service; ``shows_reason``: its words for "unknown" may be shown.
    """
    blank = Measurement(
        MeasurementKind.OUTAGE, unit=unit_of(question), exporter=f"GET {origin}", window=metric_query.window
    )
    for answer in (candidate, stable):
        if isinstance(answer, MetricsError):
            kind = MeasurementKind.REFUSED if isinstance(answer, MetricsRefused) else MeasurementKind.OUTAGE
            return replace(blank, kind=kind, detail=str(answer))
    assert isinstance(candidate, WebAnswer)  # noqa: S101 - the loop has returned otherwise
    if candidate.unknown is not None:
        detail = _unknown_text(metric_query.revision, candidate.unknown, origin, shows_reason=shows_reason)
        return replace(blank, kind=MeasurementKind.NO_SERIES, detail=detail)
    measured = replace(blank, age=max(0.0, now - candidate.at))
    measured = _with_value(measured, candidate, counted, metric_query.window)
    if not metric_query.counters or not isinstance(stable, WebAnswer):
        return measured
    if stable.unknown is None:
        return replace(measured, counters=_counters(candidate, stable, metric_query.window, now))
    why = _unknown_text(metric_query.stable, stable.unknown, origin, shows_reason=shows_reason)
    measured = replace(measured, detail="; ".join(filter(None, (measured.detail, f"no counts: {why}"))))
    # At 100 % stable has no traffic, and nothing that could be judged: what was counted of it before stays.
    last = replace(last_of_stable or WebAnswer(0.0, bad=0, total=0), at=candidate.at)
    counters = replace(_counters(candidate, last, metric_query.window, now), stable_current=False)
    if last_of_stable is None:  # what is known of it later is no difference to this
        counters = replace(counters, account_id=_ACCOUNT_WITHOUT_STABLE)
    return replace(measured, counters=counters)


def _with_value(measured: Measurement, answer: WebAnswer, counted: WindowCounts | None, window: float) -> Measurement:
    requests = answer.samples if answer.total is None else counted.total if counted is not None else None
    value = answer.value
    if counted is not None and counted.total > 0:
        value = 100.0 * counted.bad / counted.total
    if measured.age is not None and measured.age > window:
        age, longest = format_duration(measured.age), format_duration(window)
        detail = f"the newest sample is {age} old, older than the window of {longest}"
        return replace(measured, kind=MeasurementKind.STALE, value=value, requests=requests, detail=detail)
    if answer.total is None:
        return replace(measured, kind=MeasurementKind.VALUE, value=value, requests=requests)
    if counted is None:
        detail = "counting has begun: a share needs two answers"
        return replace(measured, kind=MeasurementKind.NO_SERIES, detail=detail)
    if counted.seconds > LONGEST_GAP_IN_WINDOWS * window:
        gap, enough = format_duration(counted.seconds), format_duration(_ADVISED_GAPS_IN_WINDOW * counted.seconds)
        detail = f"the last two answers are {gap} apart, the window is {format_duration(window)}: use at least {enough}"
        return replace(measured, kind=MeasurementKind.UNSUPPORTED, detail=detail)
    if counted.total <= 0:
        detail = f"nothing was counted within {format_duration(window)}"
        return replace(measured, kind=MeasurementKind.NO_SERIES, requests=0.0, detail=detail)
    return replace(measured, kind=MeasurementKind.VALUE, value=value, requests=float(counted.total))


def _counters(candidate: WebAnswer, stable: WebAnswer, window: float, now: float) -> RequestCounters:
    totals = [RequestTotals(float(each.total or 0), float(each.bad)) for each in (candidate, stable)]
    return RequestCounters(
        account_id=_ACCOUNT,
        at=min(candidate.at, stable.at),
        candidate=totals[0],
        stable=totals[1],
        candidate_current=now - candidate.at <= window,
        stable_current=now - stable.at <= window,
    )


def _unknown_text(revision: str, reason: str, origin: str, *, shows_reason: bool) -> str:
    words = clean_text(reason, _REASON_LIMIT) if shows_reason else ""
    text = f"{origin} does not know {revision}" if revision else f"{origin} does not know it"
    return f"{text}: {words}" if words else text
