"""Knative Routes, as ``kn route list`` shows them: read from Route objects, or made out of a status."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from autocanary.kserve.document_fields import as_mapping, condition_status, conditions_by_type, string_field
from autocanary.model.observation import ConditionStatus

__all__ = ["Route", "parse_route"]


@dataclass(frozen=True, slots=True)
class Route:
    """``traffic`` is percent by revision, in the route's order."""

    name: str
    url: str
    ready: ConditionStatus
    traffic: tuple[tuple[str, int], ...]


def parse_route(document: Mapping[str, Any]) -> Route:
    """A Route object's status, which is what requests meet; shares of one revision are one."""
    status = as_mapping(document.get("status"))
    return Route(
        name=document["metadata"]["name"],
        url=string_field(status, "url"),
        ready=condition_status(conditions_by_type(status).get("Ready")),
        traffic=traffic_by_revision(status.get("traffic")),
    )


def traffic_by_revision(entries: Any) -> tuple[tuple[str, int], ...]:
    """Percent by revision of a traffic list, summed: a revision can have several entries, or one at 0 %."""
    shares: dict[str, int] = {}
    for entry in entries if isinstance(entries, list) else ():
        name = entry.get("revisionName") if isinstance(entry, Mapping) else None
        if isinstance(name, str) and name:
            shares[name] = shares.get(name, 0) + _as_percent(entry.get("percent"))
    return tuple(shares.items())


def _as_percent(percent: Any) -> int:
    """A share as a number; whatever is none (a status may have been edited) is no share."""
    if isinstance(percent, bool) or not isinstance(percent, int | float) or not math.isfinite(percent):
        return 0
    return int(percent)
