"""What a fault of the metrics means and what it moves: every fault, in every phase of a rollout.

The engine is the product's, and so is the adapter, over real HTTP; KServe and time are simulated. Each cell is
checked by ``test_metrics.py``; ``python -m tests.matrices`` prints the table.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from autocanary.model.measurement import ReadingKind
from autocanary.model.reason import Reason
from benchmarks.answering import Form
from tests.matrices.prometheus import FailingPrometheus, Reply, Row, each_value, only

__all__ = ["FAULTS", "OWN", "PRESET", "Fault", "Meaning", "Place", "rows", "title"]

title = "Metrics: readings are not verdicts"

PRESET, OWN = "request-success-rate", "model-drift"


class Place(str, Enum):
    """Where in a rollout the fault strikes."""

    FIRST = "first step"
    MIDDLE = "middle step"
    BAKE = "bake"
    BACK = "while rolling back"


class Meaning(Enum):
    """What follows, as the policy says; a rollback is always finished, and needs no metrics."""

    OUTAGE = "held; onOutage at its deadline"
    SILENCE = "held; onNoData at its deadline"
    SCARCE = "held; progressDeadline"
    NONE = "goes on"


@dataclass(frozen=True)
class Fault:
    """``metric`` is the one that must read ``reading``; ``strike`` makes it so, ``Reply()`` and open() end it."""

    name: str
    reading: ReadingKind
    meaning: Meaning
    reason: Reason
    strike: Callable[[FailingPrometheus], None]
    metric: str = PRESET


def _replying(**changes: Any) -> Callable[[FailingPrometheus], None]:
    def strike(prometheus: FailingPrometheus) -> None:
        prometheus.reply = Reply(**changes)

    return strike


def _away(name: str, **changes: Any) -> Fault:
    return Fault(name, ReadingKind.OUTAGE, Meaning.OUTAGE, Reason.METRICS_OUTAGE, _replying(**changes))


def _traffic(
    name: str,
    reading: ReadingKind,
    meaning: Meaning,
    reason: Reason,
    change: Callable[[list[Row]], list[Row]],
) -> Fault:
    return Fault(name, reading, meaning, reason, _replying(edit=only(Form.TRAFFIC, change)))


def _is_count(row: Row) -> bool:
    return str(row["metric"].get("autocanary", "")).startswith("count")


def _is_candidate(row: Row) -> bool:
    return str(row["metric"]["revision_name"]).endswith("-00002")


def _counts(text: str) -> Callable[[list[Row]], list[Row]]:
    return each_value(lambda row: text if _is_count(row) else None)


def _without(gone: Callable[[Row], bool]) -> Callable[[list[Row]], list[Row]]:
    return lambda found: [row for row in found if not gone(row)]


def _own(
    name: str, reading: ReadingKind, meaning: Meaning, reason: Reason, data: Callable[[list[Row]], Any]
) -> Fault:
    return Fault(name, reading, meaning, reason, _replying(edit=only(Form.SINGLE, data)), OWN)


_ERROR = b'{"status":"error","errorType":"execution","error":"query processing would load too many samples"}'
_HTML = b"<!doctype html><html><head><title>Sign in</title></head><body>Sign in</body></html>"
_GOOD = Reason.ANALYSING

FAULTS: Sequence[Fault] = (
    Fault(
        "connection refused",
        ReadingKind.OUTAGE,
        Meaning.OUTAGE,
        Reason.METRICS_OUTAGE,
        FailingPrometheus.shut,
    ),
    Fault(
        "connect timeout", ReadingKind.OUTAGE, Meaning.OUTAGE, Reason.METRICS_OUTAGE, FailingPrometheus.clog
    ),
    _away("read timeout in mid-body", half=True),
    _away("429", status=429, body=b"slow down", headers={"Retry-After": "1"}),
    _away("500", status=500, body=b"boom"),
    _away("503", status=503, body=b"upstream connect error"),
    _away("HTML login page", body=_HTML, headers={"Content-Type": "text/html"}),
    _away("truncated JSON", body=b'{"status":"success","data":{"resultType":"vec'),
    Fault(
        "status: error, 200",
        ReadingKind.REFUSED,
        Meaning.OUTAGE,
        Reason.METRICS_OUTAGE,
        _replying(body=_ERROR),
    ),
    _away("status: error, 503", status=503, body=_ERROR),
    Fault(
        "a warning: partial answer",
        ReadingKind.PARTIAL,
        Meaning.OUTAGE,
        Reason.METRICS_PARTIAL,
        _replying(extra={"warnings": ["1 of 2 stores could not be reached"]}),
    ),
    Fault(
        "empty vector", ReadingKind.NO_SERIES, Meaning.SILENCE, Reason.NO_DATA, _replying(edit=lambda *_: [])
    ),
    _traffic("NaN", ReadingKind.NOT_A_NUMBER, Meaning.SILENCE, Reason.METRICS_NOT_A_NUMBER, _counts("NaN")),
    _traffic("+Inf", ReadingKind.NOT_A_NUMBER, Meaning.SILENCE, Reason.METRICS_NOT_A_NUMBER, _counts("+Inf")),
    _traffic("-Inf", ReadingKind.NOT_A_NUMBER, Meaning.SILENCE, Reason.METRICS_NOT_A_NUMBER, _counts("-Inf")),
    _own(
        "several series",
        ReadingKind.AMBIGUOUS,
        Meaning.OUTAGE,
        Reason.METRICS_OUTAGE,
        lambda found: [{**row, "metric": {"pod": pod}} for row in found for pod in ("a", "b")],
    ),
    _own(
        "a scalar",
        ReadingKind.VALUE,
        Meaning.NONE,
        _GOOD,
        lambda found: {"resultType": "scalar", "result": found[0]["value"]},
    ),
    _own(
        "a native histogram",
        ReadingKind.NOT_A_NUMBER,
        Meaning.SILENCE,
        Reason.METRICS_NOT_A_NUMBER,
        lambda found: [{"metric": {}, "histogram": [found[0]["value"][0], {"count": "5", "sum": "1"}]}],
    ),
    _traffic(
        "stale samples: the scrape stopped",
        ReadingKind.STALE,
        Meaning.OUTAGE,
        Reason.METRICS_STALE,
        each_value(lambda row: "400" if row["metric"].get("autocanary") == "age" else None),
    ),
    Fault(
        "clock skew of an hour",
        ReadingKind.VALUE,
        Meaning.NONE,
        _GOOD,
        _replying(
            edit=lambda _, found: [
                {**row, "value": [row["value"][0] + 3600, row["value"][1]]} for row in found
            ]
        ),
    ),
    _traffic(
        "duplicate scrapes: every count twice",
        ReadingKind.VALUE,
        Meaning.NONE,
        _GOOD,
        each_value(lambda row: str(2 * float(row["value"][1])) if _is_count(row) else None),
    ),
    _traffic(
        "counter reset: hardly any requests left",
        ReadingKind.TOO_FEW,
        Meaning.SCARCE,
        Reason.TOO_FEW_REQUESTS,
        each_value(
            lambda row: ("0" if "autocanary_failed" in row["metric"] else "3") if _is_count(row) else None
        ),
    ),
    _traffic(
        "series missing of the candidate",
        ReadingKind.NO_SERIES,
        Meaning.SILENCE,
        Reason.NO_DATA,
        _without(_is_candidate),
    ),
    _traffic(
        "series missing of stable",
        ReadingKind.VALUE,
        Meaning.NONE,
        _GOOD,
        _without(lambda row: not _is_candidate(row)),
    ),
    _traffic(
        "candidate scaled to zero",
        ReadingKind.NO_SERIES,
        Meaning.SILENCE,
        Reason.NO_DATA,
        each_value(lambda row: "0" if _is_count(row) and _is_candidate(row) else None),
    ),
)


def rows() -> list[tuple[str, ...]]:
    """The header, then one row per fault: what it reads as, and what follows in each phase."""
    head = ("Fault", "Reading", "Reason", *(place.value for place in Place))
    return [head, *(_row(fault) for fault in FAULTS)]


def _row(fault: Fault) -> tuple[str, ...]:
    moves = (fault.meaning.value,) * 3
    return (fault.name, fault.reading.value, fault.reason.value, *moves, "finished all the same")
