"""Knative Routes, as ``kn route list`` shows them: read from Route objects, or made out of a status."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from autocanary.kserve.document_fields import conditions_of, mapping, text, trinary
from autocanary.model.observation import Trinary

__all__ = ["Route", "route_of"]


@dataclass(frozen=True, slots=True)
class Route:
    """``traffic`` is percent by revision, in the route's order."""

    name: str
    url: str
    ready: Trinary
    traffic: tuple[tuple[str, int], ...]


def route_of(document: Mapping[str, Any]) -> Route:
    """A Route object's status, which is what requests meet; shares of one revision are one."""
    status = mapping(document.get("status"))
    return Route(
        name=document["metadata"]["name"],
        url=text(status, "url"),
        ready=trinary(conditions_of(status).get("Ready")),
        traffic=shares_of(status.get("traffic")),
    )


def shares_of(entries: Any) -> tuple[tuple[str, int], ...]:
    """Percent by revision of a traffic list, summed: a revision can have several entries, or one at 0 %."""
    shares: dict[str, int] = {}
    for entry in entries if isinstance(entries, list) else ():
        name = entry.get("revisionName") if isinstance(entry, Mapping) else None
        if isinstance(name, str) and name:
            shares[name] = shares.get(name, 0) + _whole(entry.get("percent"))
    return tuple(shares.items())


def _whole(percent: Any) -> int:
    """A share as a number; whatever is none (a status may have been edited) is no share."""
    if isinstance(percent, bool) or not isinstance(percent, int | float) or not math.isfinite(percent):
        return 0
    return int(percent)
