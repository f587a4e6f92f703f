"""How good a revision is: its errors and its latency, which may change with time and with its share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from autocanary.simulator.pod_behaviour import storage_uri

__all__ = [
    "GOOD",
    "Quality",
    "QualityOf",
    "Tokens",
    "TrafficMoment",
    "ValueOverTime",
    "by_uri",
    "from_revision_age",
    "from_traffic_weight",
    "value_at",
]


class TrafficMoment(NamedTuple):
    """When and under which load a revision is read: epoch seconds, seconds since its creation, its share."""

    at: float
    age: float
    weight: int


ValueOverTime = float | Callable[[TrafficMoment], float]
"""A number, or how it changes."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a language-model server measures besides: medians in seconds, and its cache's fill in percent."""

    first_seconds: float = 0.3
    each_seconds: float = 0.03
    queue_seconds: float = 0.02
    cache_percent: float = 40.0
    spread: float = 0.4


@dataclass(frozen=True, slots=True)
class Quality:
    """``error_percent`` of the requests are answered 5xx; ``latency_seconds`` is the median of a lognormal
    whose logarithm has the standard deviation ``spread``."""

    error_percent: ValueOverTime = 0.1
    latency_seconds: ValueOverTime = 0.08
    spread: float = 0.5
    tokens: Tokens | None = None


GOOD = Quality()
QualityOf = Callable[[Mapping[str, Any]], Quality]
"""The quality of the revision made from a component's spec."""


def value_at(value: ValueOverTime, moment: TrafficMoment) -> float:
    return value(moment) if callable(value) else value


def from_traffic_weight(weight: int, bad: float, good: float) -> ValueOverTime:
    """A late onset: ``bad`` from this share of the traffic on, ``good`` below it."""
    return lambda moment: bad if moment.weight >= weight else good


def from_revision_age(seconds: float, bad: float, good: float) -> ValueOverTime:
    """A slow decay: ``bad`` once the revision is this old, ``good`` before."""
    return lambda moment: bad if moment.age >= seconds else good


def by_uri(qualities: Mapping[str, Quality], otherwise: Quality = GOOD) -> QualityOf:
    """Finds the quality by the model's place; the mapping may grow while the world runs."""
    return lambda spec: qualities.get(storage_uri(spec), otherwise)
