"""What a fault of the metrics means and what it moves: every fault, in every phase of a rollout.

The controller is the product's, and so is the adapter, over real HTTP; KServe and time are simulated. Each cell is
checked by ``test_metrics.py``; ``python -m tests.matrices`` prints the table.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from autocanary.model.measurement import MeasurementKind
from autocanary.model.reason import Reason
from benchmarks.answering import QueryKind
from tests.matrices.failing_prometheus import FailingPrometheus, QueryReply, Row, edit_values, edit_where

__all__ = ["FAULTS", "OWN", "PRESET", "ExpectedEffect", "MetricsFault", "RolloutPosition", "rows", "title"]

title = "Metrics: readings are not verdicts"

PRESET, OWN = "request-success-rate", "model-drift"


class RolloutPosition(str, Enum):
    """Where in a rollout the fault strikes."""

    FIRST = "first step"
    MIDDLE = "middle step"
    BAKE = "bake"
    BACK = "while rolling back"


class ExpectedEffect(Enum):
    """What follows, as the policy says; a rollback is always finished, and needs no metrics."""

    OUTAGE = "held; onOutage at its deadline"
    NO_DATA = "held; onNoData at its deadline"
    TOO_FEW_REQUESTS = "held; progressDeadline"
    NONE = "goes on"


@dataclass(frozen=True)
class MetricsFault:
    """``metric`` is the one that must read ``reading``; ``inject`` makes it so, ``Reply()`` and open() end it."""

    name: str
    measurement: MeasurementKind
    effect: ExpectedEffect
    reason: Reason
    inject: Callable[[FailingPrometheus], None]
    metric: str = PRESET


def _replying(**changes: Any) -> Callable[[FailingPrometheus], None]:
    def inject(prometheus: FailingPrometheus) -> None:
        prometheus.reply = QueryReply(**changes)

    return inject


def _away(name: str, **changes: Any) -> MetricsFault:
    return MetricsFault(
        name, MeasurementKind.OUTAGE, ExpectedEffect.OUTAGE, Reason.METRICS_OUTAGE, _replying(**changes)
    )


def _traffic(
    name: str,
    measurement: MeasurementKind,
    effect: ExpectedEffect,
    reason: Reason,
    change: Callable[[list[Row]], list[Row]],
) -> MetricsFault:
    return MetricsFault(name, measurement, effect, reason, _replying(edit=edit_where(QueryKind.TRAFFIC, change)))


def _is_count(row: Row) -> bool:
    return str(row["metric"].get("autocanary", "")).startswith("count")


def _is_candidate(row: Row) -> bool:
    return str(row["metric"]["revision_name"]).endswith("-00002")


def _counts(text: str) -> Callable[[list[Row]], list[Row]]:
    return edit_values(lambda row: text if _is_count(row) else None)


def _without(gone: Callable[[Row], bool]) -> Callable[[list[Row]], list[Row]]:
    return lambda found: [row for row in found if not gone(row)]


def _own(
    name: str,
    measurement: MeasurementKind,
    effect: ExpectedEffect,
    reason: Reason,
    data: Callable[[list[Row]], Any],
) -> MetricsFault:
    return MetricsFault(name, measurement, effect, reason, _replying(edit=edit_where(QueryKind.SINGLE, data)), OWN)


_ERROR = b'{"status":"error","errorType":"execution","error":"query processing would load too many samples"}'
_HTML = b"<!doctype html><html><head><title>Sign in</title></head><body>Sign in</body></html>"
_GOOD = Reason.ANALYSING

FAULTS: Sequence[MetricsFault] = (
    MetricsFault(
        "connection refused",
        MeasurementKind.OUTAGE,
        ExpectedEffect.OUTAGE,
        Reason.METRICS_OUTAGE,
        FailingPrometheus.refuse_connections,
    ),
    MetricsFault(
        "connect timeout",
        MeasurementKind.OUTAGE,
        ExpectedEffect.OUTAGE,
        Reason.METRICS_OUTAGE,
        FailingPrometheus.stall_connections,
    ),
    _away("read timeout in mid-body", half=True),
    _away("429", status=429, body=b"slow down", headers={"Retry-After": "1"}),
    _away("500", status=500, body=b"boom"),
    _away("503", status=503, body=b"upstream connect error"),
    _away("HTML login page", body=_HTML, headers={"Content-Type": "text/html"}),
    _away("truncated JSON", body=b'{"status":"success","data":{"resultType":"vec'),
    MetricsFault(
        "status: error, 200",
        MeasurementKind.REFUSED,
        ExpectedEffect.OUTAGE,
        Reason.METRICS_OUTAGE,
        _replying(body=_ERROR),
    ),
    _away("status: error, 503", status=503, body=_ERROR),
    MetricsFault(
        "a warning: partial answer",
        MeasurementKind.PARTIAL,
        ExpectedEffect.OUTAGE,
        Reason.METRICS_PARTIAL,
        _replying(extra={"warnings": ["1 of 2 stores could not be reached"]}),
    ),
    MetricsFault(
        "empty vector",
        MeasurementKind.NO_SERIES,
        ExpectedEffect.NO_DATA,
        Reason.NO_DATA,
        _replying(edit=lambda *_: []),
    ),
    _traffic(
        "NaN",
        MeasurementKind.NOT_A_NUMBER,
        ExpectedEffect.NO_DATA,
        Reason.METRICS_NOT_A_NUMBER,
        _counts("NaN"),
    ),
    _traffic(
        "+Inf",
        MeasurementKind.NOT_A_NUMBER,
        ExpectedEffect.NO_DATA,
        Reason.METRICS_NOT_A_NUMBER,
        _counts("+Inf"),
    ),
    _traffic(
        "-Inf",
        MeasurementKind.NOT_A_NUMBER,
        ExpectedEffect.NO_DATA,
        Reason.METRICS_NOT_A_NUMBER,
        _counts("-Inf"),
    ),
    _own(
        "several series",
        MeasurementKind.AMBIGUOUS,
        ExpectedEffect.OUTAGE,
        Reason.METRICS_OUTAGE,
        lambda found: [{**row, "metric": {"pod": pod}} for row in found for pod in ("a", "b")],
    ),
    _own(
        "a scalar",
        MeasurementKind.VALUE,
        ExpectedEffect.NONE,
        _GOOD,
        lambda found: {"resultType": "scalar", "result": found[0]["value"]},
    ),
    _own(
        "a native histogram",
        MeasurementKind.NOT_A_NUMBER,
        ExpectedEffect.NO_DATA,
        Reason.METRICS_NOT_A_NUMBER,
        lambda found: [{"metric": {}, "histogram": [found[0]["value"][0], {"count": "5", "sum": "1"}]}],
    ),
    _traffic(
        "stale samples: the scrape stopped",
        MeasurementKind.STALE,
        ExpectedEffect.OUTAGE,
        Reason.METRICS_STALE,
        edit_values(lambda row: "400" if row["metric"].get("autocanary") == "age" else None),
    ),
    MetricsFault(
        "clock skew of an hour",
        MeasurementKind.VALUE,
        ExpectedEffect.NONE,
        _GOOD,
        _replying(edit=lambda _, found: [{**row, "value": [row["value"][0] + 3600, row["value"][1]]} for row in found]),
    ),
    _traffic(
        "duplicate scrapes: every count twice",
        MeasurementKind.VALUE,
        ExpectedEffect.NONE,
        _GOOD,
        edit_values(lambda row: str(2 * float(row["value"][1])) if _is_count(row) else None),
    ),
    _traffic(
        "counter reset: hardly any requests left",
        MeasurementKind.TOO_FEW,
        ExpectedEffect.TOO_FEW_REQUESTS,
        Reason.TOO_FEW_REQUESTS,
        edit_values(lambda row: ("0" if "autocanary_failed" in row["metric"] else "3") if _is_count(row) else None),
    ),
    _traffic(
        "series missing of the candidate",
        MeasurementKind.NO_SERIES,
        ExpectedEffect.NO_DATA,
        Reason.NO_DATA,
        _without(_is_candidate),
    ),
    _traffic(
        "series missing of stable",
        MeasurementKind.VALUE,
        ExpectedEffect.NONE,
        _GOOD,
        _without(lambda row: not _is_candidate(row)),
    ),
    _traffic(
        "candidate scaled to zero",
        MeasurementKind.NO_SERIES,
        ExpectedEffect.NO_DATA,
        Reason.NO_DATA,
        edit_values(lambda row: "0" if _is_count(row) and _is_candidate(row) else None),
    ),
)


def rows() -> list[tuple[str, ...]]:
    """The header, then one row per fault: what it reads as, and what follows in each phase."""
    head = ("Fault", "Reading", "Reason", *(place.value for place in RolloutPosition))
    return [head, *(_row(fault) for fault in FAULTS)]


def _row(fault: MetricsFault) -> tuple[str, ...]:
    moves = (fault.effect.value,) * 3
    return (fault.name, fault.measurement.value, fault.reason.value, *moves, "finished all the same")
