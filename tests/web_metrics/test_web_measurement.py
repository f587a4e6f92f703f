"""Tests of autocanary.web_metrics.web_measurement: answers about both revisions as a measurement."""

from __future__ import annotations

from typing import Any

import pytest

from autocanary.errors import MetricsRefused, MetricsUnreachable
from autocanary.model.measurement import Measurement, MeasurementKind, RequestTotals, Unit, WebAnswerForm
from autocanary.web_metrics.web_answer import WebAnswer
from autocanary.web_metrics.web_history import WindowCounts
from autocanary.web_metrics.web_measurement import SideAnswer, measurement_of
from tests.web_metrics.web_queries import web_query

NOW = 1_767_225_600.0
COUNTS = WebAnswerForm.COUNTS


def measured(
    candidate: SideAnswer,
    stable: SideAnswer | None = None,
    counted: WindowCounts | None = None,
    *,
    shows_reason: bool = False,
    **changed: Any,
) -> Measurement:
    query = web_query("http://eval", compared=stable is not None, **changed)
    assert query.web is not None
    return measurement_of(
        query, query.web, candidate, stable, counted, NOW, origin="http://eval", shows_reason=shows_reason
    )


def test_value() -> None:
    """As the service says it, with the age of its sample and the number of samples."""
    found = measured(WebAnswer(NOW - 5, value=0.97, samples=240))
    assert found == Measurement(
        MeasurementKind.VALUE, 0.97, Unit.NUMBER, 240, 5.0, exporter="GET http://eval", window=60.0
    )


def test_counts_are_the_share_of_bad_ones_in_the_window() -> None:
    """In percent, of as many as were counted in it."""
    found = measured(WebAnswer(NOW, bad=30, total=2400), None, WindowCounts(3, 240, 60), form=COUNTS)
    assert (found.kind, found.value, found.unit, found.requests) == (MeasurementKind.VALUE, 1.25, Unit.PERCENT, 240.0)


@pytest.mark.parametrize(
    ("counted", "kind", "words"),
    [
        (None, MeasurementKind.NO_SERIES, "a share needs two answers"),
        (WindowCounts(0, 0, 60), MeasurementKind.NO_SERIES, "nothing was counted within 1m"),
        (WindowCounts(1, 9, 3600), MeasurementKind.UNSUPPORTED, "1h apart, the window is 1m: use at least 3h"),
    ],
)
def test_counts_without_a_share(counted: WindowCounts | None, kind: MeasurementKind, words: str) -> None:
    """Nothing to divide by, or a difference over more than the window: never a value."""
    found = measured(WebAnswer(NOW, bad=30, total=2400), None, counted, form=COUNTS)
    assert (found.kind, found.value) == (kind, None)
    assert words in found.detail


def test_old_sample_is_stale() -> None:
    """An answer that is older than the window passes nothing."""
    found = measured(WebAnswer(NOW - 61, value=0.97))
    assert (found.kind, found.detail) == (
        MeasurementKind.STALE,
        "the newest sample is 1m1s old, older than the window of 1m",
    )


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (MetricsUnreachable("http://eval answered 500"), MeasurementKind.OUTAGE),
        (MetricsRefused("http://eval is refused"), MeasurementKind.REFUSED),
    ],
)
@pytest.mark.parametrize("of_stable", [False, True])
def test_error_of_either_side(error: MetricsUnreachable, kind: MeasurementKind, of_stable: bool) -> None:
    """No number stands beside an answer that is missing."""
    fine = WebAnswer(NOW, bad=0, total=10)
    candidate, stable = (fine, error) if of_stable else (error, fine)
    found = measured(candidate, stable, WindowCounts(0, 10, 60), form=COUNTS)
    assert (found.kind, found.value, found.counters, found.detail) == (kind, None, None, str(error))


def test_unknown_is_no_data_and_its_words_need_leave() -> None:
    """The reason is shown for hosts that the operator has listed, on one line."""
    answer = WebAnswer(NOW, unknown="no label\nyet\x1b[2J" + "x" * 500)
    assert measured(answer).detail == "http://eval does not know mnist-predictor-00002"
    shown = measured(answer, shows_reason=True)
    assert shown.kind is MeasurementKind.NO_SERIES
    assert shown.detail.startswith("http://eval does not know mnist-predictor-00002: no label yetx")
    assert len(shown.detail) < 180


def test_counters_are_the_services_own() -> None:
    """Both sides' totals since they began, as of the older of the two samples."""
    found = measured(
        WebAnswer(NOW - 5, bad=3, total=240),
        WebAnswer(NOW - 20, bad=9, total=900),
        WindowCounts(0, 10, 60),
        form=COUNTS,
    )
    assert found.counters is not None
    assert found.counters.at == NOW - 20
    assert (found.counters.candidate, found.counters.stable) == (RequestTotals(240.0, 3.0), RequestTotals(900.0, 9.0))
    assert (found.counters.candidate_current, found.counters.stable_current, found.counters.exact) == (True, True, True)


def test_old_sample_of_stable_is_not_current() -> None:
    """The comparison waits for it, as for pods that are scraped no more."""
    found = measured(WebAnswer(NOW, bad=3, total=240), WebAnswer(NOW - 61, bad=9, total=900), form=COUNTS)
    assert found.counters is not None
    assert (found.counters.candidate_current, found.counters.stable_current) == (True, False)


def test_unknown_stable_is_not_current() -> None:
    """What the service never knew of stable belongs to another account than what it knows later."""
    found = measured(
        WebAnswer(NOW, bad=3, total=240), WebAnswer(NOW, unknown="?"), WindowCounts(1, 10, 60), form=COUNTS
    )
    assert (found.kind, found.value) == (MeasurementKind.VALUE, 10.0)
    assert found.detail == "no counts: http://eval does not know mnist-predictor-00001"
    assert found.counters is not None
    assert (found.counters.stable, found.counters.candidate_current) == (RequestTotals(), True)
    assert not found.counters.stable_current
    assert found.counters.account_id == "web-without-stable"
