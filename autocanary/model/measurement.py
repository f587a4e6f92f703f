"""What a metric said, where "it said nothing" has several meanings that must not be confused.

A measurement is not a verdict: an outage of Prometheus says nothing about the canary.

A comparison needs the request counts of both revisions. They are totals since the account began; the comparison
keeps the totals that it has used and takes the difference, so a lost or repeated answer loses and repeats nothing.

Over 300 lines because a query, its measurement and the counts in it are one value with its JSON form.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

__all__ = [
    "CancelledCalls",
    "FailureCounts",
    "Measurement",
    "MeasurementKind",
    "MetricQuery",
    "RequestCounters",
    "RequestTotals",
    "Source",
    "Unit",
    "WebAnswerForm",
    "WebQuestion",
]


@dataclass(frozen=True, slots=True)
class RequestTotals:
    """One revision's requests since the account began, corrected for resets and vanished pods.

    ``errors`` of ``requests`` failed; ``within[i]`` of them succeeded in at most ``bounds[i]`` seconds (of
    the Counters they belong to), so that a fast failure counts as slow.
    """

    requests: float = 0.0
    errors: float = 0.0
    bucket_counts: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class FailureCounts:
    """What the candidate has failed, of its own newest samples: stable's are not waited for.

    ``total`` is since the account ``account_id`` began. ``by_process`` are the raw counters as they stand, by a digest
    of the process's name: from them a difference can be taken over the end of an account.
    """

    account_id: str
    total: float
    by_process: Mapping[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe; ``from_dict`` of it is equal to this value."""
        return {"account_id": self.account_id, "total": self.total, "by_process": dict(self.by_process)}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> FailureCounts:
        return cls(raw["account_id"], raw["total"], dict(raw["by_process"]))


@dataclass(frozen=True, slots=True)
class RequestCounters:
    """Both revisions' totals at one time.

    ``account_id`` names the account: a difference between two accounts means nothing, the later one is only a
    new beginning. ``at`` is the oldest newest sample of the two revisions, in epoch seconds by Prometheus'
    clock: totals with the same ``at`` hold nothing new. ``bounds`` are the upper bounds of the latency
    histogram in seconds, ascending, without infinity; empty when latency was not asked for. ``exact`` is
    False when the totals rest on rate() or increase(): a threshold may use them, a comparison may not.
    ``candidate_current`` and ``stable_current`` say whether the side has a recent sample. A scraped pod that
    serves nothing has one; a side without one says nothing about its requests.
    """

    account_id: str
    at: float
    candidate: RequestTotals
    stable: RequestTotals
    bounds: tuple[float, ...] = ()
    exact: bool = True
    candidate_current: bool = True
    stable_current: bool = True

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe; ``from_dict`` of it is equal to this value."""
        raw: dict[str, Any] = {
            "account_id": self.account_id,
            "at": self.at,
            "candidate": [self.candidate.requests, self.candidate.errors, *self.candidate.bucket_counts],
            "stable": [self.stable.requests, self.stable.errors, *self.stable.bucket_counts],
        }
        if self.bounds:
            raw["bounds"] = list(self.bounds)
        if not self.exact:
            raw["exact"] = False
        if not self.candidate_current:
            raw["candidate_current"] = False
        if not self.stable_current:
            raw["stable_current"] = False
        return raw

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> RequestCounters:
        return cls(
            account_id=raw["account_id"],
            at=raw["at"],
            candidate=_totals(raw["candidate"]),
            stable=_totals(raw["stable"]),
            bounds=tuple(raw.get("bounds", ())),
            exact=raw.get("exact", True),
            candidate_current=raw.get("candidate_current", True),
            stable_current=raw.get("stable_current", True),
        )


def _totals(raw: list[float]) -> RequestTotals:
    return RequestTotals(raw[0], raw[1], tuple(raw[2:]))


class MeasurementKind(str, Enum):
    """The kinds, from the best to the worst."""

    VALUE = "value"  # a finite number, from fresh samples
    TOO_FEW = "too-few-requests"  # a number, from fewer requests than the policy asks for
    NO_SERIES = "no-series"  # Prometheus answered: nothing matches. No traffic, or nothing measures it
    NOT_A_NUMBER = "not-a-number"  # NaN or an infinity: 0/0, an empty histogram
    STALE = "stale"  # a number from old samples: the scrape has stopped
    PARTIAL = "partial"  # a number, with a warning that data is missing from it
    AMBIGUOUS = "ambiguous"  # several series where one was expected; the query must aggregate
    UNSUPPORTED = "unsupported"  # this source cannot give this metric (Triton has no p99)
    REFUSED = "refused"  # Prometheus refuses the query itself
    OUTAGE = "outage"  # no answer at all


class Source(str, Enum):
    """Who measures the requests of a revision; ``AUTO`` finds out which one has data for the service."""

    AUTO = "auto"
    KNATIVE = "knative"
    KNATIVE_OTEL = "knative-otel"
    ISTIO = "istio"
    KOURIER = "kourier"
    KSERVE = "kserve"
    VLLM = "vllm"
    TRITON = "triton"
    TENSORFLOW_SERVING = "tensorflow-serving"
    TORCHSERVE = "torchserve"
    MLSERVER = "mlserver"


class CancelledCalls(str, Enum):
    """What a call is whose client went away before the answer, in every source that can tell it."""

    IGNORE = "ignore"  # neither a request nor a failure
    FAILURE = "failure"  # a failed request


class Unit(str, Enum):
    """What the number counts, so that it can be printed and compared without guessing."""

    PERCENT = "percent"
    SECONDS = "seconds"
    REQUESTS = "requests"
    RATIO = "ratio"  # 0..1, e.g. KV-cache usage of a custom query
    NUMBER = "number"  # custom PromQL: whatever the query says


class WebAnswerForm(str, Enum):
    """What the service behind a web metric answers about one revision."""

    VALUE = "value"  # {"value": 0.97}: a number over the window that it was asked for
    COUNTS = "counts"  # {"bad": 3, "total": 240}: since the revision began; they only grow


@dataclass(frozen=True, slots=True)
class WebQuestion:
    """The GET of a web metric; ``stable_url`` is empty unless stable is asked about, too.

    ``timeout`` is for each answer, in seconds; ``credentials`` names some that the operator has configured.
    """

    url: str
    stable_url: str
    form: WebAnswerForm
    timeout: float
    credentials: str = ""


@dataclass(frozen=True, slots=True)
class MetricQuery:
    """One thing to ask about one revision.

    ``metric`` is a preset's name, or empty when ``web`` is asked, or when ``query`` holds PromQL (placeholders
    already filled and escaped) of ``query_type``, as ``policy.Metric`` has it. ``window`` is the range of rate() and
    increase(), in seconds; where it ``follows_scrapes`` it is the least, and grows with the scrape interval seen.
    ``query_template`` is then the query with its window left open. ``counters`` asks for the raw counts of both
    revisions beside the value, as a comparison needs them, and ``failures`` for what the candidate has failed.
    ``server`` names one of the Prometheus servers that the operator has configured; empty is the main one. The hash
    is worked out once, because each query is looked up several times at every evaluation.
    """

    namespace: str
    service: str
    component: str
    revision: str
    stable: str
    source: Source
    window: float
    metric: str = ""
    quantile: float | None = None
    query: str = ""
    query_type: str = ""
    counters: bool = False
    failures: bool = False
    server: str = ""
    cancelled: CancelledCalls = CancelledCalls.IGNORE
    follows_scrapes: bool = False
    query_template: str = ""
    web: WebQuestion | None = None
    _hash: int = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        identity = (self.server, self.namespace, self.service, self.component, self.revision, self.metric, self.query)
        object.__setattr__(self, "_hash", hash((*identity, self.window, self.quantile, self.web)))

    def __hash__(self) -> int:
        return self._hash


@dataclass(frozen=True, slots=True)
class Measurement:
    """The answer to a query.

    ``value`` is in ``unit`` (percent and seconds are already normalised) and is None unless a number was
    seen; ``requests`` is how many requests the revision completed within the window, None if unknown;
    ``age`` is the age of the newest sample in seconds, by Prometheus' clock; ``source`` is the one that
    answered (never AUTO), None for custom PromQL; ``detail`` says in words what was wrong. ``counters`` are
    the raw counts of both revisions where the question asked for them and the source has them, and ``failures`` what
    the candidate has failed. ``exporter`` names
    the series that were read and the labels by which they belong to a revision; ``window`` is the range in
    seconds and ``scrape_interval`` the time between two of their samples, None where it is not known yet.
    ``sample_at`` is the time of the newest sample in epoch seconds, by Prometheus' clock: a measurement with the same
    ``sample_at`` holds nothing new. None where the source does not say it, as for custom PromQL.
    """

    kind: MeasurementKind
    value: float | None = None
    unit: Unit = Unit.NUMBER
    requests: float | None = None
    age: float | None = None
    source: Source | None = None
    detail: str = ""
    counters: RequestCounters | None = None
    failures: FailureCounts | None = None
    exporter: str = ""
    window: float | None = None
    scrape_interval: float | None = None
    sample_at: float | None = None

    @property
    def is_value(self) -> bool:
        return self.kind is MeasurementKind.VALUE

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe; None and empty members are left out."""
        return dict(self._members())

    def _members(self) -> Iterator[tuple[str, Any]]:
        yield "kind", self.kind.value
        if self.value is not None and abs(self.value) != float("inf") and self.value == self.value:
            yield "value", self.value
        yield "unit", self.unit.value
        if self.requests is not None:
            yield "requests", self.requests
        if self.age is not None:
            yield "age", self.age
        if self.source is not None:
            yield "source", self.source.value
        if self.detail:
            yield "detail", self.detail
        if self.counters is not None:
            yield "counters", self.counters.to_dict()
        if self.failures is not None:
            yield "failures", self.failures.to_dict()
        if self.exporter:
            yield "exporter", self.exporter
        if self.window is not None:
            yield "window", self.window
        if self.scrape_interval is not None:
            yield "scrapeInterval", self.scrape_interval
        if self.sample_at is not None:
            yield "sampleAt", self.sample_at

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Measurement:
        return cls(
            kind=MeasurementKind(raw["kind"]),
            value=raw.get("value"),
            unit=Unit(raw.get("unit", Unit.NUMBER.value)),
            requests=raw.get("requests"),
            age=raw.get("age"),
            source=Source(raw["source"]) if raw.get("source") else None,
            detail=raw.get("detail", ""),
            counters=RequestCounters.from_dict(raw["counters"]) if raw.get("counters") else None,
            failures=FailureCounts.from_dict(raw["failures"]) if raw.get("failures") else None,
            exporter=raw.get("exporter", ""),
            window=raw.get("window"),
            scrape_interval=raw.get("scrapeInterval"),
            sample_at=raw.get("sampleAt"),
        )
