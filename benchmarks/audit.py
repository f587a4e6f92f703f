"""The API server's audit log: which requests a user made, and when a weight of 0 was accepted."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

__all__ = ["ApiRequest", "AuditLog", "count_by_kind"]


@dataclass(frozen=True, slots=True)
class ApiRequest:
    """One request; a watch is one when it begins. Times are epoch seconds.

    ``weight`` is the canaryTrafficPercent of an accepted patch, None of anything else.
    """

    at: float
    verb: str
    resource: str
    name: str
    code: int
    weight: int | None = None

    @property
    def reads(self) -> bool:
        return self.verb in ("get", "list")

    @property
    def writes(self) -> bool:
        return self.verb in ("create", "update", "patch", "delete")


class AuditLog:
    """Reads on from where it stopped; keeps the calls of one user."""

    def __init__(self, path: Path, user: str) -> None:
        self._path, self._user, self._offset = path, user, 0
        self.calls: list[ApiRequest] = []

    def read(self) -> list[ApiRequest]:
        """All calls so far."""
        if self._path.exists():
            with self._path.open("rb") as log:
                log.seek(self._offset)
                whole, newline, _ = log.read().rpartition(b"\n")  # the last line may not be whole yet
            self._offset += len(whole) + len(newline)
            self.calls += _calls(whole.splitlines(), self._user)
        return self.calls


def _calls(lines: Iterable[bytes], user: str) -> Iterator[ApiRequest]:
    for line in lines:
        if user.encode() not in line:
            continue
        event = json.loads(line)
        verb = event["verb"]
        if event["user"]["username"] != user:
            continue
        if event["stage"] != ("ResponseStarted" if verb == "watch" else "ResponseComplete"):
            continue
        where = event.get("objectRef", {})
        resource = where.get("resource", event.get("requestURI", ""))
        if where.get("subresource"):
            resource += f"/{where['subresource']}"
        code = event.get("responseStatus", {}).get("code", 0)
        weight = None
        if verb == "patch" and code == 200:
            predictor = event.get("requestObject", {}).get("spec", {}).get("predictor", {})
            weight = predictor.get("canaryTrafficPercent")
        yield ApiRequest(_epoch(event["stageTimestamp"]), verb, resource, where.get("name", ""), code, weight)


def count_by_kind(calls: Iterable[ApiRequest]) -> Counter[str]:
    """How many of each verb and resource."""
    return Counter(f"{call.verb} {call.resource}" for call in calls)


def _epoch(text: str) -> float:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
