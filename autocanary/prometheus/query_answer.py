"""What Prometheus answered, as values: the JSON of /api/v1/query read once and strictly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["MalformedResponseError", "NativeHistogram", "QueryResponse", "VectorSample", "parse_response"]


class MalformedResponseError(ValueError):
    """JSON, but not what Prometheus' query API answers; the text says what is odd about it."""


@dataclass(frozen=True, slots=True)
class NativeHistogram:
    """``buckets`` are (lower bound, upper bound, observations), those with observations alone, not cumulative."""

    count: float
    buckets: tuple[tuple[float, float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class VectorSample:
    """One series at one instant. ``value`` is None for a native ``histogram``, which is no single number."""

    labels: Mapping[str, str]
    value: float | None
    timestamp: float
    histogram: NativeHistogram | None = None


@dataclass(frozen=True)  # without slots: the client keeps a weak reference
class QueryResponse:
    """``kind`` is Prometheus' resultType: vector, scalar, matrix or string.

    ``samples`` holds a vector's series, or a scalar as one series without labels; a matrix or a string has
    none. ``warnings`` say that the answer may be incomplete; remarks on the query's style are not among
    them. ``server_time`` is when the server sent the answer, by its own clock (HTTP's Date, whole seconds).
    """

    samples: tuple[VectorSample, ...]
    warnings: tuple[str, ...] = ()
    kind: str = "vector"
    server_time: float | None = None


def parse_response(payload: Any, server_time: float | None = None) -> QueryResponse:
    """The answer in a decoded body whose status is "success"; else MalformedResponseError."""
    result = _member(_member(payload, "data", dict), "result", list)
    kind = _member(payload["data"], "resultType", str)
    if kind == "vector":
        samples = tuple(_sample(row) for row in result)
    elif kind == "scalar":
        timestamp, value = _pair(result)
        samples = (VectorSample({}, value, timestamp),)
    else:
        samples = ()
    return QueryResponse(samples, _warnings(payload), kind, server_time)


def _warnings(payload: Mapping[str, Any]) -> tuple[str, ...]:
    """Everything that says the answer may be incomplete, in any of the servers' forms.

    VictoriaMetrics sets ``isPartial``; Thanos, Mimir and Cortex write among the warnings, or the infos.
    Remarks on the query itself begin with "PromQL info", in Prometheus 2.48 to 2.52 among the warnings. That
    one process began again and another did not is no flaw of a sum of native histograms either.
    """
    texts = [
        str(text)
        for name in ("warnings", "infos")
        for text in _optional_list(payload, name)
        if not str(text).startswith(("PromQL info", "PromQL warning: conflicting counter resets"))
    ]
    if payload.get("isPartial") not in (None, False, "false"):
        texts.insert(0, "the server marks its answer as partial (isPartial): a part of its storage did not answer")
    return tuple(dict.fromkeys(texts))


def _optional_list(payload: Mapping[str, Any], name: str) -> list[Any]:
    given = payload.get(name) or []
    if not isinstance(given, list):
        raise MalformedResponseError(f"{name} is not a list")
    return given


def _sample(row: Any) -> VectorSample:
    labels = _member(row, "metric", dict)
    for value in labels.values():
        if type(value) is not str:
            raise MalformedResponseError("a label is not a string")
    if "value" in row:
        timestamp, value = _pair(row["value"])
        return VectorSample(labels, value, timestamp)
    histogram = _member(row, "histogram", list)
    try:
        timestamp, given = histogram
        return VectorSample(labels, None, float(timestamp), _native_histogram(given))
    except (AttributeError, KeyError, TypeError, ValueError):
        raise MalformedResponseError("a histogram is not [timestamp, {count, buckets}]") from None


def _native_histogram(given: Any) -> NativeHistogram:
    """From [boundary rule, lower, upper, observations] for each bucket that is not empty."""
    buckets = tuple([(float(low), float(high), float(count)) for _, low, high, count in given.get("buckets") or ()])
    return NativeHistogram(float(given["count"]), buckets)


def _pair(pair: Any) -> tuple[float, float]:
    try:
        timestamp, value = pair
        return float(timestamp), float(value)  # "NaN" and "+Inf" are numbers to float(), too
    except (TypeError, ValueError):
        raise MalformedResponseError("a value is not [timestamp, number]") from None


def _member(owner: Any, name: str, kind: type) -> Any:
    found = owner.get(name) if isinstance(owner, dict) else None
    if not isinstance(found, kind):
        raise MalformedResponseError(f"{name} is missing or not what it should be")
    return found
